"""Split Gibbs sampling: posterior samples refreshed by conditional draws.

Every measurement of the shear is cut in two: one with white noise of standard deviation
rho everywhere, and the rest. With s the white part,

  s = A x + rho n,    gamma = s + (N - rho^2)^1/2 n'    where N > rho^2,

x and s are drawn in turn, each given the other and the data (Vono, Dobigeon & Chainais
2019; Coeurdoux et al. 2024, who have no second part and pay for rho with a bias). Given x,
every pixel of s is a Gaussian of its own (`white_part.split`), masked or not. Given s,
x is a map seen through white noise, for A' s = x + rho n: its posterior smoothed by sigma
has the denoiser

  D_s(x_sigma) = D(t^2 (x_sigma / sigma^2 + A' s / rho^2), t),    t^-2 = sigma^-2 + rho^-2,

D that of the prior, with no approximation of the likelihood, and the probability flow
draws from it: a sweep leaves the posterior as it is, whatever the prior.

Pixels with less noise than rho have s = gamma, and are measured once more with what is
left, N^-1 - rho^-2. That part of the data, none for rho below all noise, enters as in
`guided`: by conjugate gradients, with the covariance that D leaves at t, for which there
is only a model. A larger rho forgets more of the start and leans more on the model. In
masked pixels the start is forgotten by a share rho^2 / (S + rho^2) of a mode of power S:
large structures stay, which are Gaussian and right from the start. Data do not move the
mean of a map, which they do not see: a model in which haloes are the most uncertain would
raise it with every halo that the start had not.
"""

import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import gaussian_posterior
from tfp_massmap import lensing
from tfp_massmap import spectra
from tfp_massmap.samplers import probability_flow
from tfp_massmap.samplers import white_part

# Sigma over rho where the flow begins.
_START = 4.0
# Variance that most pixels are left with, over the mean one, which haloes make.
_TYPICAL = 0.5


def sigma_ladder(prior, rho, num_steps):
  """Sigmas of a sweep's flow, `[num_steps]`."""
  smallest = probability_flow.smallest_sigma(prior, rho)
  return probability_flow.sigma_ladder(_START * rho, smallest, num_steps)


def sweep(posterior, x, rho, sigmas, seed, tolerance=5e-4, max_iterations=60):
  """Draws s given x and the data, and x given both.

  Args:
    posterior: has `likelihood` and `prior`.
    x: posterior samples, `[batch, ny, nx]`.
    rho: standard deviation of the white part, scalar.
    sigmas: falling, `[n]`, of the flow that draws x, see `sigma_ladder`; n + 1
      evaluations of the prior's denoiser. Zeros at the end are no steps.
    seed: stateless TFP seed.
    tolerance, max_iterations: of the conjugate gradients, see `guided.GuidedSettings`.

  Returns:
    `(x, iterations, num_capped)`: `[batch, ny, nx]`; conjugate-gradient iterations in
    all, and steps in which they reached their cap, int32.
  """
  rho = tf.convert_to_tensor(rho, x.dtype)
  split_seed, *seeds = tfp.random.split_seed(seed, n=3, salt="sweep")
  parts = white_part.split(posterior.likelihood, x, rho, split_seed)
  return draw(posterior.prior, parts, sigmas, seeds, tolerance, max_iterations)


def draw(prior, parts, sigmas, seeds, tolerance=5e-4, max_iterations=60):
  """Draws x given the white part and the data.

  Args:
    prior: has `denoise` and `mode_variance`, and perhaps an `error_scale`.
    parts: `white_part.Split`; `noisy` may have moved since.
    sigmas: as `sweep`.
    seeds: two stateless TFP seeds.
    tolerance, max_iterations, and what is returned: as `sweep`.
  """
  observed, shear, extra, rho = parts.noisy, parts.shear, parts.extra, parts.rho
  sigmas = tf.convert_to_tensor(sigmas, observed.dtype)
  start_seed, noise_seed = seeds
  field_seed, shear_seed = tfp.random.split_seed(start_seed, n=2)
  weighted = gaussian_posterior.Weighted(extra)

  def denoise(x, sigma):
    """D_s, its covariance, and its error scale."""
    left = 1 / (1 / tf.square(sigma) + 1 / tf.square(rho))
    seen = left * (x / tf.square(sigma) + observed / tf.square(rho))
    return with_error(prior, seen, tf.sqrt(left))

  def update(clean, variance, scale, data):
    modes, iterations, _ = gaussian_posterior.solve(
        gaussian_posterior.Scaled(weighted, scale), variance,
        tf.signal.rfft2d(scale * lensing.convergence_from_shear(data)[0]), rtol=0.0,
        atol=tolerance, max_iterations=max_iterations,
    )
    moves = scale * tf.signal.irfft2d(modes, fft_length=list(observed.shape[-2:]))
    moves -= tf.reduce_mean(moves, axis=(-2, -1), keepdims=True)
    return clean + moves, iterations, tf.cast(iterations >= max_iterations, tf.int32)

  def residual(clean):
    return shear - lensing.shear_from_convergence(clean)

  def start():
    clean, variance, scale = with_error(prior, observed, rho)
    error = white_part.normal(clean, field_seed)
    clean += scale * spectra.fourier_filter(error, tf.sqrt(variance))
    data = extra * residual(clean)
    data -= tf.sqrt(extra) * white_part.normal(data, shear_seed)
    return update(clean, variance, scale, data)

  def step(x, sigma, counts):
    clean, variance, scale = denoise(x, sigma)
    mean, *more = update(clean, variance, scale, extra * residual(clean))
    return mean, tuple(a + b for a, b in zip(counts, more))

  x, *counts = start()
  x += sigmas[0] * white_part.normal(x, noise_seed)
  mean_extra = tf.reduce_mean(extra, axis=(-3, -2, -1))[..., tf.newaxis, tf.newaxis]
  precision = 1 / prior.mode_variance + 1 / tf.square(rho) + mean_extra
  variance = typical_variance(prior, precision)
  x, counts = probability_flow.flow(step, x, sigmas, variance, carry=tuple(counts))
  return (x, *counts)


def with_error(prior, x, sigma):
  """Denoised map, and the model of the covariance that is left.

  Args:
    prior: has `denoise` and `mode_variance`, and perhaps an `error_scale`.
    x: `[batch, ny, nx]`.
    sigma: scalar.

  Returns:
    `(denoised, variance, scale)`: the covariance is diag(scale) V diag(scale), V of
    modes, `[ny, nx // 2 + 1]`; scale has the shape of `x`, or is a scalar 1.
  """
  denoised = prior.denoise(x, sigma)
  variance = prior.mode_variance * tf.square(sigma)
  variance /= prior.mode_variance + tf.square(sigma)
  error_scale = getattr(prior, "error_scale", None)
  one = tf.ones([], x.dtype)
  return denoised, variance, one if error_scale is None else error_scale(denoised, sigma)


def typical_variance(prior, precision):
  """Variance of the modes for the flow's steps, shape of `precision`.

  Any will do when steps are many. With few, that of most pixels does better than the
  mean one: steps of the mean one leave voids too rough.

  Args:
    prior: a Gaussian one, or one with an `error_scale`.
    precision: that of the Gaussian posterior.
  """
  share = 1 if getattr(prior, "error_scale", None) is None else _TYPICAL
  return share / precision
