"""Draws of a smoothed distribution, carried to sigma zero.

The probability flow of white noise of standard deviation sigma,

  dx / dsigma = (x - D(x, sigma)) / sigma,

carries draws at one sigma to draws at another (Song et al. 2021; Karras et al. 2022). A
Gaussian of mean mu and covariance P, diagonal in Fourier space, moves by

  x' = mu + ((P + sigma'^2) / (P + sigma^2))^1/2 (x - mu),
  mu = D + P (D - x) / sigma^2.

`flow` makes steps that are exact for this Gaussian, and takes mu of any other
distribution for the quadratic in log(P + sigma^2) through its last three values: third
order at one call of D a step. With P = 0 it is an exponential integrator of the family of
DPM-Solver++ (Lu et al. 2022); with the P of the distribution it needs far fewer steps.

`finish_by_ode` integrates the same equation from the score, in temperature t = sigma^2,

  dx / dt = -1/2 score(x, sqrt(t))

(Remy et al. 2022, Eq. 22 and B.6), by an adaptive Runge-Kutta method.
"""

from collections.abc import Callable
import math
import typing

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import spectra

if typing.TYPE_CHECKING:
  from tfp_massmap import priors

# Exponent of the ladder: Karras et al. (2022), Eq. 5 and their table 1.
_EXPONENT = 7
# A polynomial is extrapolated no further than this in log(P + sigma^2) / 2, and than this
# many of the steps before it (`_multistep_weights` says why).
_FARTHEST, _FARTHEST_STEPS = 1.0, 2.0
# The last step starts at this fraction of the scale of what is drawn: there the noise has
# 0.1 % of its variance. `examples/benchmarks/sweeps.py --flow-end` varies it.
_END = 0.03


def sigma_ladder(largest: float, smallest: float, *, num_steps: int) -> np.ndarray:
  """Returns falling sigmas, dense at the small end (Karras et al. 2022, Eq. 5).

  Args:
    largest, smallest: First and last sigma.
    num_steps: Number of sigmas, at least 2.

  Returns:
    float64 `[num_steps]`.

  Raises:
    ValueError: Unless largest > smallest > 0 and num_steps >= 2.
  """
  if not largest > smallest > 0 or num_steps < 2:
    raise ValueError(
      "A ladder needs largest > smallest > 0 and two steps or more; got"
      f" {largest}, {smallest} and {num_steps}."
    )
  first, last = np.array([largest, smallest]) ** (1 / _EXPONENT)
  return np.linspace(first, last, num_steps) ** _EXPONENT


def smallest_sigma(prior: "priors.Prior", scale: float) -> float:
  """Returns the sigma of the last step: 0.03 of a scale, or the prior's smallest sigma.

  Args:
    prior: `priors.Prior`.
    scale: Standard deviation of the noise in the draws that the flow starts from.
  """
  return max(_END * scale, prior.sigma_range[0])


def flow(
  denoise_fn: Callable,
  x: tf.Tensor,
  *,
  sigmas: tf.Tensor,
  variance: tf.Tensor | float = 0.0,
  carry: typing.Any = (),
) -> tuple[tf.Tensor, typing.Any]:
  """Carries draws at the first sigma to zero.

  Args:
    denoise_fn: `fn(x, sigma, carry)` that returns the mean of the clean maps and the next
      carry; sigma is a scalar.
    x: Draws of the distribution smoothed by `sigmas[0]`, float `[..., ny, nx]` (of any
      shape for a scalar `variance`).
    sigmas: Falling, `[n]`; each costs one call of `denoise_fn`. Zeros at the end are no
      steps, so that ladders of different lengths can be rows of one tensor.
    variance: P of the modes, `[ny, nx // 2 + 1]` (layout of `rfft2`), or a scalar.
    carry: Structure of tensors that `denoise_fn` hands on, such as counts.

  Returns:
    `(x, carry)`: tensor of the shape of `x`, and the last carry.
  """
  sigmas = tf.convert_to_tensor(sigmas, x.dtype)
  targets = tf.concat([sigmas[1:], [0]], axis=0)
  num_steps = tf.math.count_nonzero(sigmas, dtype=tf.int32)
  variance = tf.convert_to_tensor(variance, x.dtype)

  def step(index, x, previous, carry):
    here, there = sigmas[index], targets[index]
    # The first steps have fewer values before them; any sigma serves in their place.
    before, earlier = (
      tf.where(index >= i, sigmas[tf.maximum(index - i, 0)], (1 + i) * here)
      for i in (1, 2)
    )
    denoised, carry = denoise_fn(x, here, carry)
    mu = denoised + _filtered(denoised - x, variance / tf.square(here))
    x = mu + _filtered(x - mu, _shrinkage(variance, here, there))
    weights = _multistep_weights(variance, there, here, before, earlier, index)
    for value, weight in zip(previous, weights):
      x += _filtered(value - mu, weight)
    return index + 1, x, (mu, previous[0]), carry

  _, x, _, carry = tf.while_loop(
    lambda index, *_: index < num_steps,
    step,
    (0, x, (tf.zeros_like(x),) * 2, carry),
    maximum_iterations=sigmas.shape[0],
  )
  return x, carry


def finish_by_ode(
  score_fn: Callable,
  x: tf.Tensor,
  *,
  sigma: float,
  rtol: float = 1e-4,
  atol: float = 1e-5,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Integrates the probability flow from `sigma` to 0 (Remy et al. 2022, Eq. 22).

  Args:
    score_fn: `fn(x, sigma)`, the score of the smoothed target, finite at sigma = 0.
    x: Samples at `sigma`, `[..., ny, nx]`.
    sigma: Positive scalar.
    rtol, atol: Tolerances of `tfp.math.ode.DormandPrince`, `atol` in the units of x.

  Returns:
    `(samples, num_score_evaluations)`: samples at temperature zero, of the shape of
    `x`, and the number of evaluations of `score_fn`, int32.
  """
  x = tf.convert_to_tensor(x)
  start = tf.square(tf.convert_to_tensor(sigma, x.dtype))

  # The solver runs forwards: its time is what has been removed from the temperature.
  def derivative(removed, state):
    temperature = tf.maximum(start - removed, 0)
    return 0.5 * score_fn(state, tf.sqrt(temperature))

  solution = tfp.math.ode.DormandPrince(rtol=rtol, atol=atol).solve(
    derivative,
    initial_time=tf.zeros_like(start),
    initial_state=x,
    solution_times=start[tf.newaxis],
  )
  evaluations = solution.diagnostics.num_ode_fn_evaluations
  return tf.ensure_shape(solution.states[0], x.shape), evaluations


def sample_prior(
  prior: "priors.Prior", num_samples: int, *, seed: typing.Any, sigmas: np.ndarray
) -> tf.Tensor:
  """Returns draws of a prior, `[num_samples, ny, nx]`.

  They start at the largest sigma from draws of the Gaussian component, to which the
  smoothed prior must be equal there.

  Args:
    prior: `priors.Prior`.
    num_samples: Number of draws.
    seed: Stateless TFP seed.
    sigmas: Falling, `[n]`, see `sigma_ladder`.
  """
  gaussian = prior.gaussian
  field_seed, noise_seed = tfp.random.split_seed(seed, n=2, salt="sample_prior")
  clean = gaussian.sample([num_samples], seed=field_seed)
  noise = tf.random.stateless_normal(clean.shape, noise_seed, dtype=clean.dtype)
  start = clean + tf.cast(sigmas[0], clean.dtype) * noise
  samples, _ = flow(
    lambda x, sigma, carry: (prior.denoise(x, sigma), carry),
    start,
    sigmas=sigmas,
    variance=gaussian.mode_variance,
  )
  return samples


def _shrinkage(variance, here, there):
  """Factor of a Gaussian's deviations from its mean, from one sigma to another."""
  return tf.sqrt((variance + tf.square(there)) / (variance + tf.square(here)))


def _multistep_weights(variance, there, here, before, earlier, num_before):
  """Weights of the last two mu, minus the present one, in a step to `there`.

  In u = log(P + sigma^2) / 2 the equation is dx / du = x - mu. Counted from `here`, the
  step ends at h < 0 and the values before it are at a_1 and a_2. With the polynomial
  mu = mu_0 + c_1 u + c_2 u^2 through all three values the step adds I_1 c_1 + I_2 c_2 to
  the step of a constant mu,

    I_1 = 1 + h - e^h,    I_2 = 2 + 2 h + h^2 - 2 e^h.

  With fewer than two values before it, the polynomial is linear or constant. It is
  extrapolated to h = -1 at most: on the way to sigma 0, h is unbounded for P = 0 and
  large for small P, where mu no longer changes. Nor is it extrapolated beyond twice the
  step before: the difference of two values close to each other may be the network's
  noise.
  """

  def distance(sigma):
    change = tf.square(sigma) - tf.square(here)
    return 0.5 * tf.math.log1p(change / (variance + tf.square(here)))

  first, second = distance(before), distance(earlier)
  h = tf.maximum(distance(there), -tf.minimum(_FARTHEST_STEPS * first, _FARTHEST))
  powers = [h**k / math.factorial(k) for k in range(2, 7)]
  is_small = h > -0.2  # There the closed forms cancel.
  linear = tf.where(is_small, -sum(powers), 1 + h - tf.exp(h))
  quadratic = tf.where(
    is_small, -2 * sum(powers[1:]), 2 + 2 * h + tf.square(h) - 2 * tf.exp(h)
  )
  curved = (quadratic - linear * first) / (second - first)
  curved = tf.where(num_before > 1, curved, 0)
  return tf.where(num_before > 0, (linear - curved) / first, 0), curved / second


def _filtered(x, transfer):
  """Multiplies by one factor for all modes, or by one of each."""
  if not transfer.shape.rank:
    return transfer * x
  return spectra.fourier_filter(x, transfer)
