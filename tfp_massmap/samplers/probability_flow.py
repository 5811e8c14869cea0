"""Samples of a smoothed distribution carried to sigma near zero by its denoiser.

The probability-flow equation of white noise of standard deviation sigma,

  dx / dsigma = (x - D(x, sigma)) / sigma,

takes draws at one sigma to draws at another (Song et al. 2021; Karras et al. 2022). The
second-order multistep rule in log sigma (DPM-Solver++ 2M, Lu et al. 2022) needs one
denoiser a step: with h_i = log(s_i / s_{i+1}) and r = h_{i-1} / h_i,

  D' = D_i + (D_i - D_{i-1}) / (2 r),
  x_{i+1} = (s_{i+1} / s_i) x_i + (1 - s_{i+1} / s_i) D'.

The last denoiser is the sample, the mean of the distribution around the last x.
"""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

_EXPONENT = 7


def sigma_ladder(largest, smallest, num_steps):
  """Falling sigmas, dense at the small end (Karras et al. 2022, Eq. 5), `[num_steps]`.

  Raises:
    ValueError: unless largest > smallest > 0 and num_steps >= 2.
  """
  if not largest > smallest > 0 or num_steps < 2:
    raise ValueError(
        "A ladder needs largest > smallest > 0 and two steps or more; got"
        f" {largest}, {smallest} and {num_steps}."
    )
  ends = np.array([largest, smallest]) ** (1 / _EXPONENT)
  return np.linspace(*ends, num_steps) ** _EXPONENT


def flow(denoise_fn, x, sigmas):
  """Carries draws at the first sigma to the last, and denoises them.

  Args:
    denoise_fn: `fn(x, sigma)` that gives the mean of the clean maps, sigma a scalar.
    x: draws of the distribution smoothed by `sigmas[0]`, float tensor of any shape.
    sigmas: falling, `[n]`; each costs one call of `denoise_fn`.

  Returns:
    Tensor of the shape of `x`.
  """
  sigmas = tf.convert_to_tensor(sigmas, x.dtype)
  num_steps = sigmas.shape[0]

  def step(index, x, previous):
    here, there = sigmas[index], sigmas[index + 1]
    denoised = denoise_fn(x, here)
    before = sigmas[tf.maximum(index - 1, 0)]
    ratio = tf.math.log(here / there) / tf.math.log(before / here)
    share = tf.where(index > 0, 0.5 * ratio, tf.zeros_like(ratio))
    # The first step has no predecessor, and a ratio that is infinite.
    share = tf.where(tf.math.is_finite(share), share, tf.zeros_like(share))
    extrapolated = denoised + share * (denoised - previous)
    x = (there / here) * x + (1 - there / here) * extrapolated
    return index + 1, x, denoised

  _, x, _ = tf.while_loop(
      lambda index, *_: index < num_steps - 1, step, (0, x, tf.zeros_like(x)),
      maximum_iterations=num_steps - 1,
  )
  return denoise_fn(x, sigmas[-1])


def sample_prior(prior, num_samples, seed, sigmas):
  """Draws of a prior, from white noise smoothed by the largest sigma.

  At that sigma the prior must be Gaussian: its own Gaussian half starts the flow.

  Args:
    prior: has `gaussian`, a `prior.GaussianPrior`, and `denoise`; or is one.
    num_samples: how many.
    seed: stateless TFP seed.
    sigmas: falling, `[n]`, see `sigma_ladder`.

  Returns:
    `[num_samples, ny, nx]`.
  """
  gaussian = getattr(prior, "gaussian", prior)
  field_seed, noise_seed = tfp.random.split_seed(seed, n=2, salt="sample_prior")
  clean = gaussian.sample([num_samples], seed=field_seed)
  noise = tf.random.stateless_normal(clean.shape, noise_seed, dtype=clean.dtype)
  start = clean + tf.cast(sigmas[0], clean.dtype) * noise
  return flow(prior.denoise, start, sigmas)
