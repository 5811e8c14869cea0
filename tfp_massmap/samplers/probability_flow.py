"""Samples of a smoothed distribution carried to sigma zero by its denoiser.

The probability-flow equation of white noise of standard deviation sigma,

  dx / dsigma = (x - D(x, sigma)) / sigma,

takes draws at one sigma to draws at another (Song et al. 2021; Karras et al. 2022). A
Gaussian of mean mu and of covariance P, diagonal in Fourier space, moves by

  x' = mu + ((P + sigma'^2) / (P + sigma^2))^1/2 (x - mu),
  mu = D + P (D - x) / sigma^2,

and so does, over a step, a distribution that is nearly such a Gaussian. The second-order
multistep rule extrapolates mu to the middle of the step in log(P + sigma^2). With P = 0
that is DPM-Solver++ 2M (Lu et al. 2022), and the last denoiser is the sample; with the P
of the distribution at hand far fewer steps are needed.
"""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import spectra

_EXPONENT = 7
INTEGRATORS = ("multistep", "heun")


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


def flow(denoise_fn, x, sigmas, variance=None, integrator="multistep", carry=None):
  """Carries draws at the first sigma to zero.

  Args:
    denoise_fn: `fn(x, sigma)` that gives the mean of the clean maps, sigma a scalar;
      with `carry`, `fn(x, sigma, carry)` that gives that and the next carry.
    x: draws of the distribution smoothed by `sigmas[0]`, float `[..., ny, nx]` (of any
      shape without `variance`).
    sigmas: falling, `[n]`; each costs one call of `denoise_fn`.
    variance: P of the modes, `[ny, nx // 2 + 1]` (layout of `rfft2`); None for 0.
    integrator: "multistep"; or "heun", which calls `denoise_fn` at both ends of a step, so
      that n sigmas cost 2 n - 1 calls.
    carry: tensor or structure of tensors that `denoise_fn` hands on, such as counts.

  Returns:
    Tensor of the shape of `x`; with `carry`, that and the last carry.
  """
  if integrator not in INTEGRATORS:
    raise ValueError(f"integrator must be one of {INTEGRATORS}; got {integrator!r}.")
  sigmas = tf.convert_to_tensor(sigmas, x.dtype)
  num_steps = sigmas.shape[0]
  variance = None if variance is None else tf.convert_to_tensor(variance, x.dtype)

  def center(x, sigma, carry):
    """mu, and the next carry."""
    if carry is None:
      denoised = denoise_fn(x, sigma)
    else:
      denoised, carry = denoise_fn(x, sigma, carry)
    if variance is None:
      return denoised, carry
    return denoised + _filtered(denoised - x, variance / tf.square(sigma)), carry

  def move(x, mu, here, there):
    if variance is None:
      return mu + (there / here) * (x - mu)
    ratio = (variance + tf.square(there)) / (variance + tf.square(here))
    return mu + _filtered(x - mu, tf.sqrt(ratio))

  def multistep(index, x, previous, carry):
    here, there = sigmas[index], sigmas[index + 1]
    mu, carry = center(x, here, carry)
    before = sigmas[tf.maximum(index - 1, 0)]
    # The first step has no predecessor.
    share = tf.where(index > 0, _middle(variance, before, here, there), 0)
    middle = mu + _filtered(mu - previous, share)
    return index + 1, move(x, middle, here, there), mu, carry

  def heun(index, x, previous, carry):
    here, there = sigmas[index], sigmas[index + 1]
    mu, carry = center(x, here, carry)
    predicted, carry = center(move(x, mu, here, there), there, carry)
    return index + 1, move(x, 0.5 * (mu + predicted), here, there), previous, carry

  has_carry = carry is not None
  loop = (0, x, tf.zeros_like(x), carry if has_carry else ())
  step = multistep if integrator == "multistep" else heun

  def body(index, x, previous, carry):
    *results, carry = step(index, x, previous, carry if has_carry else None)
    return (*results, carry if has_carry else ())

  _, x, _, carry = tf.while_loop(
      lambda index, *_: index < num_steps - 1, body, loop,
      maximum_iterations=num_steps - 1,
  )
  last = sigmas[-1]
  mu, carry = center(x, last, carry if has_carry else None)
  # Without a variance the step to zero is the denoiser, whatever `move` makes of 0 / 0.
  x = mu if variance is None else move(x, mu, last, tf.zeros_like(last))
  return (x, carry) if has_carry else x


def sample_prior(prior, num_samples, seed, sigmas):
  """Draws of a prior, from white noise smoothed by the largest sigma.

  At that sigma the prior must be Gaussian: its own Gaussian half starts the flow, and
  gives the variance of the modes on the way.

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
  return flow(prior.denoise, start, sigmas, gaussian.mode_variance)


def _middle(variance, before, here, there):
  """Half the ratio of two steps in log(P + sigma^2), 0 for a first step of none."""
  if variance is None:
    variance = tf.zeros_like(here)
  before, here, there = (tf.math.log(variance + s**2) for s in (before, here, there))
  return 0.5 * tf.math.divide_no_nan(here - there, before - here)


def _filtered(x, transfer):
  """A factor of all modes, or one of each."""
  if not transfer.shape.rank:
    return transfer * x
  return spectra.fourier_filter(x, transfer)
