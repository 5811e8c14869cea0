"""The posterior under a Gaussian prior, exactly: its mean and its draws.

With V the prior's covariance, diagonal in Fourier space, mean and draws solve

  (V^-1 + A' N^-1 A) u = b

by conjugate gradients, preconditioned by the Fourier-diagonal (V^-1 + mean N^-1)^-1.
Unknowns are Fourier modes, so that an iteration costs the transforms of A' N^-1 A only.
A draw is kappa + u for a prior draw kappa and b = A' N^-1 (gamma - A kappa - n) with a
noise draw n (Hoffman and Ribak 1991, ApJ 380, L5).
"""

import typing

import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import geometry
from tfp_massmap import lensing

if typing.TYPE_CHECKING:
  from tfp_massmap import likelihood as likelihood_lib
  from tfp_massmap import priors


class LinearModel(typing.Protocol):
  """A linear model of the data with Gaussian noise: all that `solve` needs.

  `Weighted`, `Scaled` and the linear likelihoods of `likelihood` are the ones here.

  Attributes:
    shape: `(ny, nx)` of the maps.
  """

  shape: tuple[int, int]

  def precision_modes(self, modes: tf.Tensor) -> tf.Tensor:
    """Returns the Fourier modes of A' N^-1 A u.

    Args:
      modes: Modes of u, complex `[..., ny, nx // 2 + 1]` (layout of `rfft2`).
    """
    ...

  def mean_inverse_variance(self) -> tf.Tensor:
    """Returns the mean of N^-1 over pixels and components, `[]` or `[batch]`."""
    ...


def solve(
  model: LinearModel,
  variance: tf.Tensor,
  *,
  right_side: tf.Tensor,
  rtol: float = 1e-5,
  atol: float = 0.0,
  max_iterations: int = 500,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """Solves (V^-1 + A' N^-1 A) u = b.

  Args:
    model: `LinearModel`.
    variance: V of the modes, positive, `[ny, nx // 2 + 1]` (layout of `rfft2`), or
      with the batch's axis in front.
    right_side: Fourier modes of b, complex `[batch, ny, nx // 2 + 1]`.
    rtol: Iterations stop when every map's residual, in the preconditioner's norm, is
      below this times that of b.
    atol: They also stop when the error of u, as the preconditioner estimates it, is
      below this times the standard deviation of the posterior, in the mean over all
      modes.
    max_iterations: Cap of the iterations.

  Returns:
    `(u, iterations, relative_residual)`: Fourier modes of the solution, iterations
    done, int32, and the largest relative residual of the batch.
  """
  real = variance.dtype
  count = tf.constant(geometry.half_plane_multiplicity(model.shape), real)
  size = model.shape[0] * model.shape[1]
  precision = 1 / variance
  preconditioner = 1 / (precision + mean_noise(model, real))

  def dot(a, b):
    # The transform is not normalised: Parseval's sum is `size` times larger.
    product = tf.math.real(a) * tf.math.real(b) + tf.math.imag(a) * tf.math.imag(b)
    return tf.reduce_sum(count * product, axis=(-2, -1), keepdims=True) / size

  def unfinished(squared):
    return tf.reduce_any(squared > goal)

  def iterate(iteration, u, residual, direction, squared):
    applied = model.precision_modes(direction) + _scale(precision, direction)
    # Maps that have converged stay, while others in the batch continue.
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


def mean(
  likelihood: "likelihood_lib.ShearLikelihood",
  prior: "priors.GaussianPrior",
  *,
  rtol: float = 1e-5,
  max_iterations: int = 500,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """Returns the mean of the posterior, the Wiener filter (Remy et al. 2022, Eq. 13).

  Args:
    likelihood: `likelihood.ShearLikelihood`.
    prior: `priors.GaussianPrior` on the same grid.
    rtol, max_iterations: As `solve`.

  Returns:
    `(kappa, iterations, relative_residual)`, kappa `[ny, nx]`.

  Raises:
    RuntimeError: If conjugate gradients do not converge.
  """
  right_side = tf.signal.rfft2d(likelihood.weighted_data())[tf.newaxis]
  solution, iterations, residual = _checked_solve(
    likelihood, prior, right_side, rtol, max_iterations
  )
  return solution[0], iterations, residual


def sample(
  likelihood: "likelihood_lib.ShearLikelihood",
  prior: "priors.GaussianPrior",
  *,
  num_samples: int,
  seed: typing.Any,
  rtol: float = 1e-5,
  max_iterations: int = 500,
) -> tf.Tensor:
  """Returns exact draws of the posterior, `[num_samples, ny, nx]`.

  Args:
    likelihood: `likelihood.ShearLikelihood`.
    prior: `priors.GaussianPrior` on the same grid.
    num_samples: Number of draws.
    seed: Stateless TFP seed.
    rtol, max_iterations: As `solve`.

  Raises:
    RuntimeError: If conjugate gradients do not converge.
  """
  kappa, right_side = perturbed_right_side(
    likelihood.linearised(), prior, num_samples=num_samples, seed=seed
  )
  update, _, _ = _checked_solve(likelihood, prior, right_side, rtol, max_iterations)
  return kappa + update


def perturbed_right_side(
  likelihood: "likelihood_lib.LinearLikelihood",
  prior: "priors.GaussianPrior",
  *,
  num_samples: int,
  seed: typing.Any,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns prior draws kappa, and the modes of A' N^-1 (gamma - A kappa - n).

  The solution u of the normal equations with this right-hand side makes kappa + u an
  exact draw of the posterior.

  Args:
    likelihood: `likelihood.LinearLikelihood`.
    prior: `priors.GaussianPrior` on the same grid.
    num_samples: Number of draws.
    seed: Stateless TFP seed.

  Returns:
    `[num_samples, ny, nx]`, and complex `[num_samples, ny, nx // 2 + 1]`.
  """
  prior_seed, noise_seed = tfp.random.split_seed(seed, n=2)
  kappa = prior.sample([num_samples], seed=prior_seed)
  noise = likelihood.sample_noise([num_samples], seed=noise_seed)
  data = likelihood.residual(kappa) - noise
  return kappa, tf.signal.rfft2d(likelihood.weighted_data(data))


def mean_noise(model: LinearModel, dtype: tf.DType) -> tf.Tensor:
  """Returns the mean inverse noise of every mode; 0 for k = 0.

  Shear carries no information about the mean convergence, k = 0.

  Args:
    model: `LinearModel`.
    dtype: Dtype of the result.

  Returns:
    `[ny, nx // 2 + 1]`, with the axes of the mean in front.
  """
  ny, nx = model.shape
  is_mean = tf.scatter_nd([[0, 0]], tf.ones([1], dtype), [ny, nx // 2 + 1])
  noise = model.mean_inverse_variance()[..., tf.newaxis, tf.newaxis]
  return (1 - is_mean) * noise


def check_converged(
  iterations: tf.Tensor | int,
  residual: tf.Tensor | float,
  *,
  rtol: float,
  solver: str,
  advice: str,
) -> None:
  """Refuses a solution whose residual is above the tolerance, or NaN.

  Args:
    iterations: Number of iterations that were done.
    residual: Largest relative residual of the solution.
    rtol: Largest residual that is allowed.
    solver: Name of the solver, which begins the message.
    advice: Sentences that end the message: what to do.

  Raises:
    RuntimeError: If the residual is not at most `rtol`.
  """
  if not residual <= rtol:
    raise RuntimeError(
      f"{solver} stopped after {int(iterations)} iterations at a relative residual of"
      f" {float(residual):.2g}, above rtol = {float(rtol):g}. {advice}"
    )


def _checked_solve(likelihood, prior, right_side, rtol, max_iterations):
  solution, iterations, residual = _solve_maps(
    likelihood.inverse_variance(),
    prior.mode_variance,
    right_side,
    tf.constant(rtol, prior.dtype),
    tf.constant(max_iterations),
  )
  check_converged(
    iterations,
    residual,
    rtol=rtol,
    solver="Conjugate gradients",
    advice="Allow more with max_iterations, or raise rtol (float32 reaches about"
    " 1e-6).",
  )
  return solution, iterations, residual


@tf.function(autograph=False)
def _solve_maps(weight, variance, right_side, rtol, max_iterations):
  """Solves for maps; compiled once for each size, as data and noise are arguments."""
  weighted = Weighted(weight)
  modes, iterations, residual = solve(
    weighted, variance, right_side=right_side, rtol=rtol, max_iterations=max_iterations
  )
  kappa = tf.signal.irfft2d(modes, fft_length=list(weighted.shape))
  return kappa, iterations, residual


class Weighted:
  """The linear model of shear with a given noise; a `LinearModel`.

  Args:
    weight: N^-1, `[..., 2, ny, nx]`.
  """

  def __init__(self, weight: tf.Tensor) -> None:
    self._weight = weight
    self.shape = tuple(weight.shape[-2:])

  def precision_modes(self, modes: tf.Tensor) -> tf.Tensor:
    """Returns the modes of A' N^-1 A u."""
    shear = lensing.shear_from_modes(modes, self.shape)
    return lensing.modes_from_shear(self._weight * shear)

  def mean_inverse_variance(self) -> tf.Tensor:
    """Returns the mean of N^-1 over pixels and components."""
    return tf.reduce_mean(self._weight, axis=(-3, -2, -1))


class Scaled:
  """A linear model of u, where kappa = scale u; a `LinearModel`.

  Args:
    model: `LinearModel` of kappa.
    scale: Scalar tensor, or maps `[batch, ny, nx]`.
  """

  def __init__(self, model: LinearModel, scale: tf.Tensor) -> None:
    self._model, self._scale = model, scale
    self.shape = tuple(model.shape)
    self.mean_inverse_variance = model.mean_inverse_variance

  def precision_modes(self, modes: tf.Tensor) -> tf.Tensor:
    """Returns the modes of scale A' N^-1 A (scale u)."""
    modes = self._scaled(modes)
    return self._scaled(self._model.precision_modes(modes))

  def _scaled(self, modes):
    if not self._scale.shape.rank:
      return tf.cast(self._scale, modes.dtype) * modes
    maps = tf.signal.irfft2d(modes, fft_length=list(self.shape))
    return tf.signal.rfft2d(self._scale * maps)


def _scale(factor, modes):
  """Multiplies complex modes by a real factor."""
  return tf.cast(factor, modes.dtype) * modes
