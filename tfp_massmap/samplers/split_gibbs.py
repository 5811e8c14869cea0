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

import typing

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import gaussian_posterior
from tfp_massmap import lensing
from tfp_massmap import spectra
from tfp_massmap.samplers import denoiser_error
from tfp_massmap.samplers import noise_split
from tfp_massmap.samplers import probability_flow

if typing.TYPE_CHECKING:
  from tfp_massmap import posterior as posterior_lib
  from tfp_massmap import priors

# The flow starts at this multiple of rho. There the noisy map fixes x to within 3 % of the
# flow's own noise (rho^2 / (rho^2 + sigma^2)), so the start hardly matters; a larger
# multiple spends steps on it. `examples/benchmarks/sweeps.py` varies it.
_START = 4.0


def sigma_ladder(prior: "priors.Prior", rho: float, *, num_steps: int) -> np.ndarray:
  """Returns the sigmas of a sweep's flow, `[num_steps]`."""
  smallest = probability_flow.smallest_sigma(prior, rho)
  return probability_flow.sigma_ladder(_START * rho, smallest, num_steps=num_steps)


class Counts(typing.NamedTuple):
  """Conjugate-gradient iterations, and solutions that reached their cap; int32."""

  iterations: tf.Tensor
  num_capped: tf.Tensor

  def plus(self, iterations: tf.Tensor, max_iterations: int) -> "Counts":
    """Returns the counts with those of one more solution."""
    capped = tf.cast(iterations >= max_iterations, tf.int32)
    return Counts(self.iterations + iterations, self.num_capped + capped)


def sweep(
  posterior: "posterior_lib.Posterior",
  x: tf.Tensor,
  *,
  rho: tf.Tensor,
  sigmas: tf.Tensor,
  seed: typing.Any,
  counts: Counts,
  tolerance: float = 5e-4,
  max_iterations: int = 60,
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
    tolerance, max_iterations: Of the conjugate gradients, see `guided.GuidedSettings`.

  Returns:
    `(x, counts)`: `[batch, ny, nx]`, and the counts with those of the sweep.
  """
  rho = tf.convert_to_tensor(rho, x.dtype)
  split_seed, *seeds = tfp.random.split_seed(seed, n=3, salt="sweep")
  parts = noise_split.split(posterior.likelihood, x, rho=rho, seed=split_seed)
  return draw(
    posterior.prior,
    parts,
    sigmas=sigmas,
    seeds=seeds,
    counts=counts,
    tolerance=tolerance,
    max_iterations=max_iterations,
  )


def draw(
  prior: "priors.Prior",
  parts: noise_split.Split,
  *,
  sigmas: tf.Tensor,
  seeds: typing.Sequence,
  counts: Counts,
  tolerance: float = 5e-4,
  max_iterations: int = 60,
) -> tuple[tf.Tensor, Counts]:
  """Draws x given the white part and the data.

  Args:
    prior: `priors.Prior`.
    parts: `noise_split.Split`; its `noisy` may have moved since the split.
    sigmas: As `sweep`.
    seeds: Two stateless TFP seeds.
    counts, tolerance, max_iterations: As `sweep`.

  Returns:
    As `sweep`.
  """
  observed, extra, rho = parts.noisy, parts.extra, parts.rho
  sigmas = tf.convert_to_tensor(sigmas, observed.dtype)
  start_seed, noise_seed = seeds

  def update(denoised, data, counts):
    """Adds the second measurement of x, of weight `extra`."""
    change, iterations = _data_update(
      denoised, data, extra=extra, tolerance=tolerance, max_iterations=max_iterations
    )
    return denoised.mean + change, counts.plus(iterations, max_iterations)

  def step(x, sigma, counts):
    denoised = _denoise_given_white(prior, x, sigma, observed=observed, rho=rho)
    return update(denoised, extra * _residual(parts, denoised.mean), counts)

  denoised, data = _perturbed_start(prior, parts, start_seed)
  x, counts = update(denoised, data, counts)
  x += sigmas[0] * noise_split.normal(x, noise_seed)
  mean_extra = tf.reduce_mean(extra, axis=(-3, -2, -1))[..., tf.newaxis, tf.newaxis]
  precision = 1 / prior.gaussian.mode_variance + 1 / tf.square(rho) + mean_extra
  variance = denoiser_error.typical_variance(prior, precision)
  return probability_flow.flow(step, x, sigmas=sigmas, variance=variance, carry=counts)


def _denoise_given_white(prior, x, sigma, *, observed, rho):
  """Returns D_s with the model of its error."""
  left = 1 / (1 / tf.square(sigma) + 1 / tf.square(rho))
  seen = left * (x / tf.square(sigma) + observed / tf.square(rho))
  return denoiser_error.denoise(prior, seen, sigma=tf.sqrt(left))


def _perturbed_start(prior, parts, seed):
  """Returns a draw around D at rho, and the data of a draw's normal equations."""
  field_seed, shear_seed = tfp.random.split_seed(seed, n=2)
  denoised = denoiser_error.denoise(prior, parts.noisy, sigma=parts.rho)
  error = noise_split.normal(denoised.mean, field_seed)
  field = spectra.fourier_filter(error, tf.sqrt(denoised.variance))
  denoised = denoised._replace(mean=denoised.mean + denoised.scale * field)
  data = parts.extra * _residual(parts, denoised.mean)
  data -= tf.sqrt(parts.extra) * noise_split.normal(data, shear_seed)
  return denoised, data


def _data_update(denoised, data, *, extra, tolerance, max_iterations):
  """Returns the change of the denoised map that weighted data ask for; zero mean."""
  weighted = gaussian_posterior.Weighted(extra)
  convergence = lensing.convergence_from_shear(data)[0]
  modes, iterations, _ = gaussian_posterior.solve(
    gaussian_posterior.Scaled(weighted, denoised.scale),
    denoised.variance,
    right_side=tf.signal.rfft2d(denoised.scale * convergence),
    rtol=0.0,
    atol=tolerance,
    max_iterations=max_iterations,
  )
  sides = list(denoised.mean.shape[-2:])
  change = denoised.scale * tf.signal.irfft2d(modes, fft_length=sides)
  change -= tf.reduce_mean(change, axis=(-2, -1), keepdims=True)
  return change, iterations


def _residual(parts, clean):
  return parts.shear - lensing.shear_from_convergence(clean)
