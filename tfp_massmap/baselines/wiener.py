"""Wiener filter (Remy et al. 2022, section 3.2, Eq. 13), by three solvers.

The mean of the posterior with a Gaussian prior, (S^-1 + A' N^-1 A) x = A' N^-1 gamma.

conjugate_gradients: `gaussian_posterior`, preconditioned; the fastest.
messenger: Elsner and Wandelt (2013, A&A 549, A111). A field t between signal and data
  has noise of uniform variance tau = min N; x and t are filtered in turn, in Fourier
  and in pixel space. Cooling: tau counts lambda times, and lambda falls to 1.
proximal: forward-backward splitting, a gradient step of length tau on the data and the
  Wiener filter as the prior's proximal operator, with Nesterov's momentum and restarts
  (Beck and Teboulle 2009; O'Donoghue and Candes 2015).

Without cooling and without momentum the last two are the same iteration,
x <- S / (S + tau) (x + tau A' N^-1 (gamma - A x)).
"""

import numpy as np
import tensorflow as tf

from tfp_massmap import gaussian_posterior
from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap.baselines import mass_map

SOLVERS = {"conjugate_gradients": 500, "messenger": 5000, "proximal": 5000}


def estimate(
  shear_map, prior, *, solver="conjugate_gradients", rtol=1e-5, max_iterations=None
):
  """Wiener filter: the mean of the posterior with a Gaussian prior.

  Args:
    shear_map: `shear_map.ShearMap`.
    prior: `priors.GaussianPrior` on the same grid; `power_estimation.estimate` measures
      its spectrum from the data.
    solver: one of `SOLVERS`.
    rtol: residual at which to stop, relative to the right-hand side, in the norm of the
      preconditioner (S^-1 + mean N^-1)^-1, for all solvers.
    max_iterations: cap of the iterations, at least 1; by default that in `SOLVERS`.

  Returns:
    A `MassMap`.

  Raises:
    TypeError, ValueError: for what is no `ShearMap` or no prior on its grid, another
      solver, or no iteration.
    RuntimeError: if the cap is reached first.
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
    if not residual <= rtol:
      raise RuntimeError(
        f"The {solver} iteration stopped after {int(iterations)} steps at a relative"
        f" residual of {float(residual):.2g}, above rtol = {rtol:g}. Allow more with"
        " max_iterations, raise rtol, or use conjugate_gradients."
      )
  settings = dict(
    solver=solver, iterations=int(iterations), relative_residual=float(residual)
  )
  return mass_map.MassMap(
    kappa.numpy(), shear_map.grid, method="wiener", settings=settings
  )


def standard_deviation(shear_map, prior, *, num_samples=64, seed=0, batch_size=16):
  """Posterior standard deviation with the Gaussian prior, from exact draws, `[ny, nx]`.

  Args:
    shear_map: `shear_map.ShearMap`.
    prior: `priors.GaussianPrior` on the same grid.
    num_samples: draws; the relative error of a pixel is (2 num_samples)^-1/2.
    seed: integer.
    batch_size: draws at a time.

  Raises:
    As `estimate`; ValueError for less than one draw.
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
    # The mean is known, so that no degree of freedom is lost to it.
    squared += np.sum((draws.numpy() - mean) ** 2, axis=0)
  return np.sqrt(squared / num_samples).astype(mean.dtype)


def _check(shear_map, prior):
  mass_map.check_shear_map(shear_map, "The Wiener filter")
  mass_map.check_prior(prior, shear_map, method="The Wiener filter")


class _NormalEquations:
  """Residuals of the normal equations, and their norm; in Fourier modes."""

  def __init__(self, shear, weight, variance):
    self.shape = tuple(shear.shape[-2:])
    self._shear, self._weight, self.variance = shear, weight, variance
    real = variance.dtype
    self._count = tf.constant(geometry.half_plane_multiplicity(self.shape), real)
    self._preconditioner = 1 / (1 / variance + tf.reduce_mean(weight))
    self.right_side = lensing.modes_from_shear(weight * shear)

  def score(self, modes, weight=None):
    """A' N^-1 (gamma - A x)."""
    weight = self._weight if weight is None else weight
    residual = self._shear - lensing.shear_from_modes(modes, self.shape)
    return lensing.modes_from_shear(weight * residual)

  def norm(self, modes):
    square = tf.square(tf.math.real(modes)) + tf.square(tf.math.imag(modes))
    return tf.sqrt(tf.reduce_sum(self._count * self._preconditioner * square))

  def forward_backward(self, modes, tau, weight=None):
    """S / (S + tau) (x + tau A' N^-1 (gamma - A x)), and the residual at x."""
    score = self.score(modes, weight)
    stepped = _scale(self.variance / (self.variance + tau), modes + _scale(tau, score))
    return stepped, score - _scale(1 / self.variance, modes)

  def relative(self, size):
    """Norm of a residual over that of the right-hand side; 0 if shear is 0."""
    return tf.math.divide_no_nan(size, self.norm(self.right_side))

  def kappa(self, modes):
    return tf.signal.irfft2d(modes, fft_length=list(self.shape))


@tf.function(autograph=False)
def _messenger(shear, weight, variance, rtol, max_iterations, cooling=0.8):
  equations = _NormalEquations(shear, weight, variance)
  tau = 1 / tf.reduce_max(weight)
  zero = tf.zeros_like(equations.right_side)
  goal = rtol * equations.norm(equations.right_side)
  # N_bar = N - tau takes lambda tau in the place of tau.
  measured = weight > 0
  rest = tf.where(measured, 1 / tf.where(measured, weight, 1) - tau, 0)

  def iterate(iteration, modes, size, cold):
    noise = rest + cold * tau
    warm = tf.where(measured, 1 / tf.where(measured, noise, 1), 0)
    modes, residual = equations.forward_backward(modes, cold * tau, warm)
    size = tf.where(cold > 1, tf.constant(np.inf, rtol.dtype), equations.norm(residual))
    return iteration + 1, modes, size, tf.maximum(cold * cooling, 1)

  hot = tf.maximum(tf.reduce_max(variance) / tau, 1)
  start = (0, zero, tf.constant(np.inf, rtol.dtype), hot)
  iterations, modes, size, _ = tf.while_loop(
    lambda i, modes, size, cold: size > goal,
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
    ahead = stepped + _scale((momentum - 1) / following, move)
    return iteration + 1, stepped, ahead, following, equations.norm(residual)

  start = (0, zero, zero, tf.ones([], rtol.dtype), tf.constant(np.inf, rtol.dtype))
  iterations, modes, _, _, size = tf.while_loop(
    lambda i, modes, ahead, momentum, size: size > goal,
    iterate,
    start,
    maximum_iterations=max_iterations,
  )
  return equations.kappa(modes), iterations, equations.relative(size)


def _scale(factor, modes):
  return tf.cast(factor, modes.dtype) * modes
