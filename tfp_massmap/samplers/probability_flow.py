"""Samples of a smoothed distribution carried to sigma zero by its denoiser.

The probability-flow equation of white noise of standard deviation sigma,

  dx / dsigma = (x - D(x, sigma)) / sigma,

takes draws at one sigma to draws at another (Song et al. 2021; Karras et al. 2022). A
Gaussian of mean mu and of covariance P, diagonal in Fourier space, moves by

  x' = mu + ((P + sigma'^2) / (P + sigma^2))^1/2 (x - mu),
  mu = D + P (D - x) / sigma^2,

and so does, over a step, a distribution that is nearly such a Gaussian. The multistep rule
takes mu for the quadratic in log(P + sigma^2) through its last three values, and integrates
the equation of each mode with it: third order, one call of D a step. With P = 0 that is
an exponential integrator of the family of DPM-Solver++ (Lu et al. 2022); with the P of
the distribution at hand far fewer steps are needed.
"""

import math

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import spectra

_EXPONENT = 7
# How far a polynomial is extrapolated: in log(P + sigma^2) / 2, and in steps before.
_FARTHEST, _FARTHEST_STEPS = 1.0, 2.0
# Sigma of the last step, over the scale of what is drawn.
_END = 0.03
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


def smallest_sigma(prior, scale):
  """Where the last step begins: .03 of a scale, or the least sigma of the prior.

  Args:
    prior: perhaps has a `sigma_range`.
    scale: standard deviation of the noise under which the flow's draws are.
  """
  return max(_END * scale, getattr(prior, "sigma_range", (0.0,))[0])


def flow(denoise_fn, x, sigmas, variance=None, integrator="multistep", carry=None):
  """Carries draws at the first sigma to zero.

  Args:
    denoise_fn: `fn(x, sigma)` that gives the mean of the clean maps, sigma a scalar;
      with `carry`, `fn(x, sigma, carry)` that gives that and the next carry.
    x: draws of the distribution smoothed by `sigmas[0]`, float `[..., ny, nx]` (of any
      shape without `variance`).
    sigmas: falling, `[n]`; each costs one call of `denoise_fn`. Zeros at the end are no
      steps, so that ladders of different lengths can be rows of one tensor.
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
  targets = tf.concat([sigmas[1:], [0]], axis=0)
  num_steps = tf.math.count_nonzero(sigmas, dtype=tf.int32)
  variance = tf.convert_to_tensor(0 if variance is None else variance, x.dtype)

  def center(x, sigma, carry):
    """mu, and the next carry."""
    if carry is None:
      denoised = denoise_fn(x, sigma)
    else:
      denoised, carry = denoise_fn(x, sigma, carry)
    return denoised + _filtered(denoised - x, variance / tf.square(sigma)), carry

  def move(x, mu, here, there):
    return mu + _filtered(x - mu, _shrinkage(variance, here, there))

  def multistep(index, x, previous, carry):
    here, there = sigmas[index], targets[index]
    # The first steps have fewer values before them; any sigma does there.
    before, earlier = (
        tf.where(index >= i, sigmas[tf.maximum(index - i, 0)], (1 + i) * here)
        for i in (1, 2)
    )
    mu, carry = center(x, here, carry)
    x = move(x, mu, here, there)
    weights = _multistep_weights(variance, there, here, before, earlier, index)
    for value, weight in zip(previous, weights):
      x += _filtered(value - mu, weight)
    return index + 1, x, (mu, previous[0]), carry

  def heun(index, x, previous, carry):
    here, there = sigmas[index], targets[index]
    mu, carry = center(x, here, carry)
    predicted, carry = center(move(x, mu, here, there), there, carry)
    return index + 1, move(x, 0.5 * (mu + predicted), here, there), previous, carry

  has_carry = carry is not None
  is_multistep = integrator == "multistep"
  # At sigma 0 there is no derivative for the second call of Heun's last step.
  step, looped = (multistep, num_steps) if is_multistep else (heun, num_steps - 1)

  def body(index, x, previous, carry):
    *results, carry = step(index, x, previous, carry if has_carry else None)
    return (*results, carry if has_carry else ())

  loop = (0, x, (tf.zeros_like(x),) * 2, carry if has_carry else ())
  _, x, _, carry = tf.while_loop(
      lambda index, *_: index < looped, body, loop, maximum_iterations=sigmas.shape[0]
  )
  if not is_multistep:
    mu, carry = center(x, sigmas[looped], carry if has_carry else None)
    x = move(x, mu, sigmas[looped], targets[looped])
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


def _shrinkage(variance, here, there):
  """Of a Gaussian's deviations from its mean, from one sigma to another."""
  return tf.sqrt((variance + tf.square(there)) / (variance + tf.square(here)))


def _multistep_weights(variance, there, here, before, earlier, num_before):
  """Of the last two mu, less the present one, in a step from `here` to `there`.

  In u = log(P + sigma^2) / 2, where the equation is dx / du = x - mu, and counted from
  `here`, the step goes to h < 0 and the values before are at a_1 and a_2. With
  mu = mu_0 + c_1 u + c_2 u^2 through all three it adds I_1 c_1 + I_2 c_2 to that of a
  constant mu,

    I_1 = 1 + h - e^h,    I_2 = 2 + 2 h + h^2 - 2 e^h.

  Of fewer than two values before, the polynomial is linear or constant. It is not followed
  beyond h = -1: to sigma 0, h has no end for P = 0, nearly none for small P, and mu comes
  to rest there. Nor beyond twice the step before: from values close to each other, whose
  differences may be the network's noise, it would lead anywhere.
  """
  distance = lambda sigma: 0.5 * tf.math.log1p(
      (tf.square(sigma) - tf.square(here)) / (variance + tf.square(here))
  )
  first, second = distance(before), distance(earlier)
  h = tf.maximum(distance(there), -tf.minimum(_FARTHEST_STEPS * first, _FARTHEST))
  powers = [h**k / math.factorial(k) for k in range(2, 7)]
  is_small = h > -0.2  # there the closed forms cancel
  linear = tf.where(is_small, -sum(powers), 1 + h - tf.exp(h))
  quadratic = tf.where(
      is_small, -2 * sum(powers[1:]), 2 + 2 * h + tf.square(h) - 2 * tf.exp(h)
  )
  curved = (quadratic - linear * first) / (second - first)
  curved = tf.where(num_before > 1, curved, 0)
  return tf.where(num_before > 0, (linear - curved) / first, 0), curved / second


def _filtered(x, transfer):
  """A factor of all modes, or one of each."""
  if not transfer.shape.rank:
    return transfer * x
  return spectra.fourier_filter(x, transfer)
