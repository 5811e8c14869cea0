"""The posterior under a Gaussian prior, exactly: its mean and its draws.

With V the prior's covariance, diagonal in Fourier space, mean and draws solve

  (V^-1 + A' N^-1 A) u = b

by conjugate gradients, preconditioned by the Fourier-diagonal (V^-1 + mean N^-1)^-1.
Unknowns are Fourier modes, so that an iteration costs the transforms of A' N^-1 A only.
A draw is kappa + u for a prior draw kappa and b = A' N^-1 (gamma - A kappa - n) with a
noise draw n (Hoffman and Ribak 1991, ApJ 380, L5).
"""

import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import geometry
from tfp_massmap import lensing


def solve(likelihood, variance, right_side, rtol=1e-5, atol=0.0, max_iterations=500):
  """Solves (V^-1 + A' N^-1 A) u = b.

  Args:
    likelihood: has `precision_modes(modes)`, `mean_inverse_variance()` and `shape`.
    variance: V of the modes, positive, `[ny, nx // 2 + 1]` (layout of `rfft2`), or
      with the batch's axis in front.
    right_side: Fourier modes of b, complex `[batch, ny, nx // 2 + 1]`.
    rtol: stops when every map's residual, in the preconditioner's norm, is below this
      times that of b;
    atol: or when the error of u, as the preconditioner estimates it, is below this
      times the standard deviation of the posterior, in the mean over all modes.
    max_iterations: cap.

  Returns:
    `(u, iterations, relative_residual)`: Fourier modes of the solution, iterations
    done, int32, and the largest relative residual of the batch.
  """
  real = variance.dtype
  count = tf.constant(geometry.half_plane_multiplicity(likelihood.shape), real)
  size = likelihood.shape[0] * likelihood.shape[1]
  precision = 1 / variance
  preconditioner = 1 / (precision + mean_noise(likelihood, real))

  def dot(a, b):
    # Modes of an unnormalised transform: Parseval's sum is `size` times larger.
    product = tf.math.real(a) * tf.math.real(b) + tf.math.imag(a) * tf.math.imag(b)
    return tf.reduce_sum(count * product, axis=(-2, -1), keepdims=True) / size

  def unfinished(squared):
    return tf.reduce_any(squared > goal)

  def iterate(iteration, u, residual, direction, squared):
    applied = likelihood.precision_modes(direction) + _scale(precision, direction)
    # Maps that are done stay, while others in the batch go on.
    going = squared > goal
    alpha = tf.where(going, tf.math.divide_no_nan(squared, dot(direction, applied)), 0)
    u += _scale(alpha, direction)
    residual -= _scale(alpha, applied)
    conditioned = _scale(preconditioner, residual)
    next_squared = tf.where(going, dot(residual, conditioned), squared)
    beta = tf.math.divide_no_nan(next_squared, squared)
    direction = conditioned + _scale(beta, direction)
    return iteration + 1, u, residual, direction, next_squared

  direction = _scale(preconditioner, right_side)
  initial = dot(right_side, direction)
  goal = tf.maximum(rtol**2 * initial, size * tf.constant(atol, real) ** 2)
  iterations, u, _, _, squared = tf.while_loop(
      lambda i, u, r, d, squared: unfinished(squared),
      iterate,
      (0, tf.zeros_like(right_side), right_side, direction, initial),
      maximum_iterations=max_iterations,
  )
  tiny = tf.constant(1e-30, real)
  relative = tf.reduce_max(tf.sqrt(squared / tf.maximum(initial, tiny)))
  return u, iterations, relative


def mean(likelihood, prior, rtol=1e-5, max_iterations=500):
  """Mean of the posterior, the Wiener filter (Remy et al. 2022, Eq. 13).

  Args:
    likelihood: `likelihood.ShearLikelihood`.
    prior: `prior.GaussianPrior` on the same grid.
    rtol, max_iterations: as `solve`.

  Returns:
    `(kappa, iterations, relative_residual)`, kappa `[ny, nx]`.

  Raises:
    RuntimeError: if conjugate gradients do not converge.
  """
  right_side = tf.signal.rfft2d(likelihood.weighted_data())[tf.newaxis]
  solution, iterations, residual = _checked_solve(
      likelihood, prior, right_side, rtol, max_iterations
  )
  return solution[0], iterations, residual


def sample(likelihood, prior, num_samples, seed, rtol=1e-5, max_iterations=500):
  """Exact draws of the posterior.

  Args:
    likelihood: `likelihood.ShearLikelihood`.
    prior: `prior.GaussianPrior`.
    num_samples: number of draws.
    seed: stateless TFP seed.
    rtol, max_iterations: as `solve`.

  Returns:
    `[num_samples, ny, nx]`.

  Raises:
    RuntimeError: if conjugate gradients do not converge.
  """
  kappa, right_side = perturbed_right_side(likelihood, prior, num_samples, seed)
  update, _, _ = _checked_solve(likelihood, prior, right_side, rtol, max_iterations)
  return kappa + update


def perturbed_right_side(likelihood, prior, num_samples, seed):
  """Prior draws kappa, and the modes of A' N^-1 (gamma - A kappa - n)."""
  prior_seed, noise_seed = tfp.random.split_seed(seed, n=2)
  likelihood = likelihood.linearised()
  kappa = prior.sample([num_samples], seed=prior_seed)
  noise = likelihood.sample_noise([num_samples], seed=noise_seed)
  data = likelihood.residual(kappa) - noise
  return kappa, tf.signal.rfft2d(likelihood.weighted_data(data))


def mean_noise(likelihood, dtype):
  """Mean inverse noise for every mode but k = 0, which shear does not know.

  Args:
    likelihood: as `solve`.
    dtype: of the result.

  Returns:
    `[ny, nx // 2 + 1]`, with the axes of the mean in front.
  """
  ny, nx = likelihood.shape
  is_mean = tf.scatter_nd([[0, 0]], tf.ones([1], dtype), [ny, nx // 2 + 1])
  noise = likelihood.mean_inverse_variance()[..., tf.newaxis, tf.newaxis]
  return (1 - is_mean) * noise


def _checked_solve(likelihood, prior, right_side, rtol, max_iterations):
  solution, iterations, residual = _solve_maps(
      likelihood.inverse_variance(), prior.mode_variance, right_side,
      tf.constant(rtol, prior.dtype), tf.constant(max_iterations),
  )
  if not residual <= rtol:
    raise RuntimeError(
        f"Conjugate gradients stopped after {int(iterations)} iterations at a"
        f" relative residual of {float(residual):.2g}, above rtol = {rtol:g}. Allow"
        " more with max_iterations, or raise rtol (float32 reaches about 1e-6)."
    )
  return solution, iterations, residual


@tf.function(autograph=False)
def _solve_maps(weight, variance, right_side, rtol, max_iterations):
  """`solve` for maps, compiled once for each size: data and noise are arguments."""
  weighted = Weighted(weight)
  modes, iterations, residual = solve(
      weighted, variance, right_side, rtol, max_iterations=max_iterations
  )
  kappa = tf.signal.irfft2d(modes, fft_length=list(weighted.shape))
  return kappa, iterations, residual


class Weighted:
  """What `solve` needs of a linear likelihood, from N^-1 `[..., 2, ny, nx]` alone."""

  def __init__(self, weight):
    self._weight = weight
    self.shape = tuple(weight.shape[-2:])

  def precision_modes(self, modes):
    shear = lensing.shear_from_modes(modes, self.shape)
    return lensing.modes_from_shear(self._weight * shear)

  def mean_inverse_variance(self):
    return tf.reduce_mean(self._weight, axis=(-3, -2, -1))


class Scaled:
  """What `solve` needs of a linear likelihood of u, where kappa = scale u.

  Scale is a tensor, of one number or a map.
  """

  def __init__(self, likelihood, scale):
    self._likelihood, self._scale = likelihood, scale
    self.shape = tuple(likelihood.shape)
    self.mean_inverse_variance = likelihood.mean_inverse_variance

  def precision_modes(self, modes):
    modes = self._scaled(modes)
    return self._scaled(self._likelihood.precision_modes(modes))

  def _scaled(self, modes):
    if not self._scale.shape.rank:
      return tf.cast(self._scale, modes.dtype) * modes
    maps = tf.signal.irfft2d(modes, fft_length=list(self.shape))
    return tf.signal.rfft2d(self._scale * maps)


def _scale(factor, modes):
  """Real factor times complex modes."""
  return tf.cast(factor, modes.dtype) * modes
