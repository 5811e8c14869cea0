"""Wiener filter (Remy et al. 2022, section 3.2, Eq. 13), by three solvers.

It is the mean of the posterior with a Gaussian prior, the solution x of

  (S^-1 + A' N^-1 A) x = A' N^-1 gamma.

- conjugate_gradients: `gaussian_posterior.solve`, preconditioned; the fastest.
- messenger: Elsner and Wandelt (2013, A&A 549, A111). A field t between signal and data
  has noise of uniform variance tau = min N. x is filtered in Fourier space and t in
  pixel space, in turn. With cooling, tau is multiplied by a factor that falls to 1.
- proximal: forward-backward splitting. A step consists of a gradient step of length tau
  on the data and of the Wiener filter as the prior's proximal operator, with Nesterov's
  momentum and restarts (Beck and Teboulle 2009; O'Donoghue and Candes 2015).

Without cooling and without momentum the last two are the same iteration,
x <- S / (S + tau) (x + tau A' N^-1 (gamma - A x)).
"""

import numpy as np
import tensorflow as tf

from tfp_massmap import gaussian_posterior
from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import priors
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import spectra
from tfp_massmap.baselines import mass_map

# Solvers and their default caps of iterations. On simulated fields of the COSMOS survey
# they take 15, 160 to 270 and 50 to 60 (`examples/benchmarks/baseline_settings.py`).
SOLVERS = {"conjugate_gradients": 500, "messenger": 5000, "proximal": 5000}
# Ratio of successive temperatures of the messenger: slower cooling takes more
# iterations before the first at temperature 1, faster cooling more after it.
_COOLING = 0.8


def estimate(
  shear_map: shear_map_lib.ShearMap,
  prior: priors.GaussianPrior,
  *,
  solver: str = "conjugate_gradients",
  rtol: float = 1e-5,
  max_iterations: int | None = None,
) -> mass_map.MassMap:
  """Returns the Wiener filter, the mean of the posterior with a Gaussian prior.

  Args:
    shear_map: Data with their noise and mask.
    prior: Prior on the same grid. `power_estimation.estimate` measures its spectrum
      from the data.
    solver: One of `SOLVERS`.
    rtol: Residual at which to stop, relative to the right-hand side, in the norm of the
      preconditioner (S^-1 + mean N^-1)^-1 for all solvers. float32 reaches about 1e-6.
    max_iterations: Cap of the iterations, at least 1; None for that in `SOLVERS`.

  Returns:
    A `MassMap`.

  Raises:
    TypeError: If `shear_map` is not a `ShearMap`, or `prior` is not a `GaussianPrior`.
    ValueError: If the prior is for another grid, the solver is unknown, or the cap is
      less than 1.
    RuntimeError: If the cap is reached first.
  """
  _check(shear_map, prior)
  if solver not in SOLVERS:
    raise ValueError(f"solver must be one of {list(SOLVERS)}; got {solver!r}.")
  if max_iterations is None:
    max_iterations = SOLVERS[solver]
  if max_iterations < 1:
    raise ValueError(
      f"max_iterations must be at least 1, or None for {SOLVERS[solver]}; got"
      f" {max_iterations}."
    )
  likelihood = likelihood_lib.ShearLikelihood(shear_map, dtype=prior.dtype)
  if solver == "conjugate_gradients":
    kappa, iterations, residual = gaussian_posterior.mean(
      likelihood, prior, rtol=rtol, max_iterations=max_iterations
    )
  else:
    iterate = _messenger if solver == "messenger" else _proximal
    kappa, iterations, residual = iterate(
      likelihood.shear,
      likelihood.inverse_variance(),
      prior.mode_variance,
      tf.constant(rtol, prior.dtype),
      tf.constant(max_iterations),
    )
    gaussian_posterior.check_converged(
      iterations,
      residual,
      rtol=rtol,
      solver=f"The {solver} iteration",
      advice="Allow more with max_iterations, raise rtol, or use conjugate_gradients.",
    )
  settings = dict(
    solver=solver, iterations=int(iterations), relative_residual=float(residual)
  )
  return mass_map.MassMap(
    kappa.numpy(), shear_map.grid, method="wiener", settings=settings
  )


def standard_deviation(
  shear_map: shear_map_lib.ShearMap,
  prior: priors.GaussianPrior,
  *,
  num_samples: int = 64,
  seed: int = 0,
  batch_size: int = 16,
) -> np.ndarray:
  """Returns the posterior standard deviation with the Gaussian prior, from exact draws.

  Args:
    shear_map: Data with their noise and mask.
    prior: Prior on the same grid.
    num_samples: Number of draws. The relative error of a pixel is (2 num_samples)^-1/2.
    seed: Seed of the draws.
    batch_size: Number of draws at a time.

  Returns:
    `[ny, nx]`, of the dtype of the prior.

  Raises:
    TypeError, RuntimeError: As `estimate`.
    ValueError: As `estimate`, or if there is not at least one draw.
  """
  _check(shear_map, prior)
  if num_samples < 1:
    raise ValueError(f"num_samples must be positive; got {num_samples}.")
  likelihood = likelihood_lib.ShearLikelihood(shear_map, dtype=prior.dtype)
  mean = gaussian_posterior.mean(likelihood, prior)[0].numpy()
  squared = np.zeros(mean.shape)
  for first in range(0, num_samples, batch_size):
    draws = gaussian_posterior.sample(
      likelihood,
      prior,
      num_samples=min(batch_size, num_samples - first),
      seed=(seed, first),
    )
    # The mean is exact, so that it takes no degree of freedom.
    squared += np.sum((draws.numpy() - mean) ** 2, axis=0)
  return np.sqrt(squared / num_samples).astype(mean.dtype)


def _check(shear_map, prior):
  mass_map.check_shear_map(shear_map, "The Wiener filter")
  mass_map.check_prior(prior, shear_map, method="The Wiener filter")


class _NormalEquations:
  """The residuals of the normal equations and their norm, in Fourier modes."""

  def __init__(self, shear, weight, variance):
    self.shape = tuple(shear.shape[-2:])
    self._shear, self._weight, self.variance = shear, weight, variance
    real = variance.dtype
    self._count = tf.constant(geometry.half_plane_multiplicity(self.shape), real)
    self._preconditioner = 1 / (1 / variance + tf.reduce_mean(weight))
    self.right_side = lensing.modes_from_shear(weight * shear)

  def score(self, modes, weight=None):
    """Returns A' N^-1 (gamma - A x)."""
    weight = self._weight if weight is None else weight
    residual = self._shear - lensing.shear_from_modes(modes, self.shape)
    return lensing.modes_from_shear(weight * residual)

  def norm(self, modes):
    """Returns the norm of the preconditioner."""
    square = tf.square(tf.math.real(modes)) + tf.square(tf.math.imag(modes))
    return tf.sqrt(tf.reduce_sum(self._count * self._preconditioner * square))

  def forward_backward(self, modes, tau, weight=None):
    """Returns S / (S + tau) (x + tau A' N^-1 (gamma - A x)), and the residual at x."""
    score = self.score(modes, weight)
    stepped = spectra.scale_modes(
      self.variance / (self.variance + tau), modes + spectra.scale_modes(tau, score)
    )
    return stepped, score - spectra.scale_modes(1 / self.variance, modes)

  def relative(self, size):
    """Returns the norm over that of the right-hand side, or 0 if the shear is 0."""
    return tf.math.divide_no_nan(size, self.norm(self.right_side))

  def kappa(self, modes):
    """Returns the map of the modes."""
    return tf.signal.irfft2d(modes, fft_length=list(self.shape))


@tf.function(autograph=False)
def _messenger(shear, weight, variance, rtol, max_iterations):
  equations = _NormalEquations(shear, weight, variance)
  tau = 1 / tf.reduce_max(weight)
  zero = tf.zeros_like(equations.right_side)
  goal = rtol * equations.norm(equations.right_side)
  # The noise between t and the data is N - tau; `temperature` multiplies tau.
  measured = weight > 0
  rest = tf.where(measured, 1 / tf.where(measured, weight, 1) - tau, 0)

  def iterate(iteration, modes, size, temperature):
    noise = rest + temperature * tau
    warm = tf.where(measured, 1 / tf.where(measured, noise, 1), 0)
    modes, residual = equations.forward_backward(modes, temperature * tau, warm)
    size = tf.where(
      temperature > 1, tf.constant(np.inf, rtol.dtype), equations.norm(residual)
    )
    return iteration + 1, modes, size, tf.maximum(temperature * _COOLING, 1)

  hot = tf.maximum(tf.reduce_max(variance) / tau, 1)
  start = (0, zero, tf.constant(np.inf, rtol.dtype), hot)
  iterations, modes, size, _ = tf.while_loop(
    lambda i, modes, size, temperature: size > goal,
    iterate,
    start,
    maximum_iterations=max_iterations,
  )
  return equations.kappa(modes), iterations, equations.relative(size)


@tf.function(autograph=False)
def _proximal(shear, weight, variance, rtol, max_iterations):
  equations = _NormalEquations(shear, weight, variance)
  tau = 1 / tf.reduce_max(weight)
  zero = tf.zeros_like(equations.right_side)
  goal = rtol * equations.norm(equations.right_side)

  def iterate(iteration, modes, ahead, momentum, size):
    del size
    stepped, residual = equations.forward_backward(ahead, tau)
    move = stepped - modes
    turned = tf.reduce_sum(tf.math.real((ahead - stepped) * tf.math.conj(move))) > 0
    momentum = tf.where(turned, tf.ones_like(momentum), momentum)
    following = (1 + tf.sqrt(1 + 4 * momentum**2)) / 2
    ahead = stepped + spectra.scale_modes((momentum - 1) / following, move)
    return iteration + 1, stepped, ahead, following, equations.norm(residual)

  start = (0, zero, zero, tf.ones([], rtol.dtype), tf.constant(np.inf, rtol.dtype))
  iterations, modes, _, _, size = tf.while_loop(
    lambda i, modes, ahead, momentum, size: size > goal,
    iterate,
    start,
    maximum_iterations=max_iterations,
  )
  return equations.kappa(modes), iterations, equations.relative(size)
