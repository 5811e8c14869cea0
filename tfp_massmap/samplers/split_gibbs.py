"""Split Gibbs sampling: posterior samples refreshed by conditional draws.

Every measurement of the shear is split in two: one with white noise of standard deviation
rho in every pixel, and the rest (`noise_split`),

  s = A x + rho n,    gamma = s + (N - rho^2)^1/2 n'    where N > rho^2.

x and s are drawn in turn, each given the other and the data (Vono, Dobigeon & Chainais
2019; Coeurdoux et al. 2024 have no second part, and pay for rho with a bias). Given x,
every pixel of s is an independent Gaussian, masked or not. Given s, x is a map seen under
white noise, because A' s = x + rho n. Its posterior smoothed by sigma has the denoiser

  D_s(x_sigma) = D(t^2 (x_sigma / sigma^2 + A' s / rho^2), t),    t^-2 = sigma^-2 + rho^-2,

where D is the denoiser of the prior. The likelihood is not approximated, and the
probability flow of D_s draws x: a sweep leaves the posterior invariant, whatever the
prior, if D is perfect, rho is below all noise and the steps of the flow are many.

In pixels with less noise than rho, s = gamma, and the remaining weight N^-1 - rho^-2 is a
second measurement of x. It enters by conjugate gradients, with a model of the covariance
that D leaves at t (`denoiser_error`). A larger rho therefore forgets more of the start,
and relies more on that model. In masked pixels a mode of power S forgets a fraction
rho^2 / (S + rho^2) of the start: large structures stay, which are Gaussian and correct
from the start.

Shear carries no information about the mean convergence, so the data update is projected
to zero mean. Without the projection the covariance model, which is widest at haloes,
would raise the mean whenever a halo is added.
"""

import dataclasses
import typing

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import gaussian_posterior
from tfp_massmap import lensing
from tfp_massmap.samplers import denoiser_error
from tfp_massmap.samplers import noise_split
from tfp_massmap.samplers import probability_flow

if typing.TYPE_CHECKING:
  from tfp_massmap import posterior as posterior_lib
  from tfp_massmap import priors

# The flow starts at this multiple of rho. There the noisy map has 16 / 17 of the weight in
# what the denoiser sees, so the start hardly matters; a larger multiple spends steps on
# it. `examples/benchmarks/sweeps.py --flow-start` varies it.
_START = 4.0


@dataclasses.dataclass(frozen=True)
class Solver:
  """Settings of the conjugate gradients.

  Attributes:
    tolerance: Error of a solution, in standard deviations of the posterior, in the mean
      over all modes.
    max_iterations: Cap of the iterations of a solution.
  """

  tolerance: float = 5e-4
  max_iterations: int = 60


class Counts(typing.NamedTuple):
  """Conjugate-gradient iterations, and solutions that reached their cap; int32."""

  iterations: tf.Tensor
  num_capped: tf.Tensor

  def plus(self, iterations: tf.Tensor, max_iterations: int) -> "Counts":
    """Returns the counts with those of one more solution."""
    capped = tf.cast(iterations >= max_iterations, tf.int32)
    return Counts(self.iterations + iterations, self.num_capped + capped)


def sigma_ladder(prior: "priors.Prior", rho: float, *, num_steps: int) -> np.ndarray:
  """Returns the sigmas of a sweep's flow, `[num_steps]`.

  Args:
    prior: `priors.Prior`.
    rho: Standard deviation of the white part.
    num_steps: Number of sigmas, at least 2.
  """
  smallest = probability_flow.smallest_sigma(prior, rho)
  return probability_flow.sigma_ladder(_START * rho, smallest, num_steps=num_steps)


def ladders(
  posterior: "posterior_lib.Posterior",
  quantiles: typing.Sequence[float],
  *,
  num_evaluations: typing.Sequence[int],
) -> tuple[np.ndarray, np.ndarray]:
  """Returns rho of each sweep, `[n]`, and the sigmas of its flow, `[n, steps]`.

  A flow has one step less than evaluations; shorter ladders end with zeros.

  Args:
    posterior: `posterior.Posterior`.
    quantiles: Quantile of the noise of the measured pixels that is rho of each sweep.
    num_evaluations: Evaluations of the prior's denoiser in each sweep.
  """
  rhos = posterior.likelihood.noise_std_quantiles(quantiles)
  rows = np.zeros([len(rhos), max(num_evaluations) - 1])
  for row, rho, num in zip(rows, rhos, num_evaluations):
    row[: num - 1] = sigma_ladder(posterior.prior, rho, num_steps=num - 1)
  return rhos, rows


def sweeps(
  posterior: "posterior_lib.Posterior",
  x: tf.Tensor,
  *,
  quantiles: typing.Sequence[float],
  num_evaluations: typing.Sequence[int],
  seed: typing.Any,
  counts: Counts,
  solver: Solver = Solver(),
) -> tuple[tf.Tensor, Counts]:
  """Makes one sweep after the other; can be traced by `tf.function` and XLA.

  Args:
    posterior: `posterior.Posterior`.
    x: Posterior samples, or the maps to start from, `[batch, ny, nx]`.
    quantiles, num_evaluations: As `ladders`.
    seed: Stateless TFP seed.
    counts: `Counts` so far.
    solver: `Solver`.

  Returns:
    `(x, counts)`: `[batch, ny, nx]`, and the counts with those of the sweeps.
  """
  rhos, rows = (
    tf.constant(values, x.dtype)
    for values in ladders(posterior, quantiles, num_evaluations=num_evaluations)
  )
  num_sweeps = len(quantiles)
  seeds = tf.random.split(seed, num_sweeps)

  def body(index, x, counts):
    x, counts = sweep(
      posterior,
      x,
      rho=rhos[index],
      sigmas=rows[index],
      seed=seeds[index],
      counts=counts,
      solver=solver,
    )
    return index + 1, x, counts

  _, x, counts = tf.while_loop(
    lambda index, *_: index < num_sweeps,
    body,
    (0, x, counts),
    maximum_iterations=num_sweeps,
  )
  return x, counts


def sweep(
  posterior: "posterior_lib.Posterior",
  x: tf.Tensor,
  *,
  rho: tf.Tensor | float,
  sigmas: tf.Tensor,
  seed: typing.Any,
  counts: Counts,
  solver: Solver = Solver(),
) -> tuple[tf.Tensor, Counts]:
  """Draws s given x and the data, then x given both.

  Args:
    posterior: `posterior.Posterior`.
    x: Posterior samples, `[batch, ny, nx]`.
    rho: Standard deviation of the white part, scalar.
    sigmas: Falling sigmas `[n]` of the flow that draws x, see `sigma_ladder`; they cost
      n + 1 evaluations of the prior's denoiser. Zeros at the end are no steps.
    seed: Stateless TFP seed.
    counts: `Counts` so far.
    solver: `Solver`.

  Returns:
    `(x, counts)`: `[batch, ny, nx]`, and the counts with those of the sweep.
  """
  rho = tf.convert_to_tensor(rho, x.dtype)
  split_seed, *seeds = tfp.random.split_seed(seed, n=3, salt="sweep")
  parts = noise_split.split(posterior.likelihood, x, rho=rho, seed=split_seed)
  return draw(
    posterior.prior, parts, sigmas=sigmas, seeds=seeds, counts=counts, solver=solver
  )


def draw(
  prior: "priors.Prior",
  parts: noise_split.Split,
  *,
  sigmas: tf.Tensor,
  seeds: typing.Sequence,
  counts: Counts,
  solver: Solver = Solver(),
) -> tuple[tf.Tensor, Counts]:
  """Draws x given the white part and the data.

  Args:
    prior: `priors.Prior`.
    parts: `noise_split.Split`; its `noisy` may have moved since the split.
    sigmas: As `sweep`.
    seeds: Two stateless TFP seeds.
    counts, solver: As `sweep`.

  Returns:
    As `sweep`.
  """
  sigmas = tf.convert_to_tensor(sigmas, parts.noisy.dtype)
  start_seed, noise_seed = seeds

  def update(denoised, data, counts):
    """Adds the second measurement of x, of weight `parts.extra`."""
    change, iterations = _data_update(denoised, data, parts.extra, solver)
    return denoised.mean + change, counts.plus(iterations, solver.max_iterations)

  def step(x, sigma, counts):
    denoised = _denoise_given_white(prior, parts, x, sigma)
    return update(denoised, parts.extra * parts.residual(denoised.mean), counts)

  denoised, data = _perturbed_start(prior, parts, start_seed)
  x, counts = update(denoised, data, counts)
  x += sigmas[0] * noise_split.normal(x, noise_seed)
  variance = denoiser_error.typical_variance(prior, parts.precision(prior))
  return probability_flow.flow(step, x, sigmas=sigmas, variance=variance, carry=counts)


def _denoise_given_white(prior, parts, x, sigma):
  """D_s at sigma, with the model of its error."""
  variance = tf.square(parts.rho)
  left = 1 / (1 / tf.square(sigma) + 1 / variance)
  seen = left * (x / tf.square(sigma) + parts.noisy / variance)
  return denoiser_error.denoise(prior, seen, sigma=tf.sqrt(left))


def _perturbed_start(prior, parts, seed):
  """A draw around D at rho, and the weighted data of a draw's normal equations."""
  field_seed, shear_seed = tfp.random.split_seed(seed, n=2)
  denoised = denoiser_error.denoise(prior, parts.noisy, sigma=parts.rho)
  denoised = denoised.perturbed(noise_split.normal(denoised.mean, field_seed))
  data = parts.extra * parts.residual(denoised.mean)
  data -= tf.sqrt(parts.extra) * noise_split.normal(data, shear_seed)
  return denoised, data


def _data_update(denoised, data, extra, solver):
  """The change of the denoised map that weighted data ask for, of zero mean."""
  convergence = lensing.convergence_from_shear(data)[0]
  modes, iterations, _ = gaussian_posterior.solve(
    gaussian_posterior.Scaled(gaussian_posterior.Weighted(extra), denoised.scale),
    denoised.variance,
    right_side=tf.signal.rfft2d(denoised.scale * convergence),
    rtol=0.0,
    atol=solver.tolerance,
    max_iterations=solver.max_iterations,
  )
  sides = list(denoised.mean.shape[-2:])
  change = denoised.scale * tf.signal.irfft2d(modes, fft_length=sides)
  change -= tf.reduce_mean(change, axis=(-2, -1), keepdims=True)
  return change, iterations
