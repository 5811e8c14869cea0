"""Wiener filter and exact constrained realisations (paper section 3.2, Eq. 13).

Mean and draws of the posterior with a Gaussian prior solve

  (S^-1 + A' N^-1 A) u = A' N^-1 d,

by conjugate gradients, preconditioned by the Fourier-diagonal (S^-1 + mean N^-1)^-1.
A draw is kappa + u for a prior draw kappa and d = gamma - A kappa - n with a noise
draw n (Hoffman and Ribak 1991, ApJ 380, L5).
"""

import functools

import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import lensing
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import spectra
from tfp_massmap.baselines import mass_map


def estimate(shear_map, prior, rtol=1e-5, max_iterations=500):
  """Wiener filter: the mean of the posterior with a Gaussian prior.

  Args:
    shear_map: `shear_map.ShearMap`.
    prior: `prior.GaussianPrior` on the same grid.
    rtol: residual at which to stop, relative to the right-hand side.
    max_iterations: cap of the iterations.

  Returns:
    A `MassMap`.

  Raises:
    RuntimeError: if the cap is reached first.
  """
  likelihood = likelihood_lib.ShearLikelihood(shear_map, dtype=prior.dtype)
  kappa, iterations, residual = _checked_solve(
      likelihood, prior, likelihood.weighted_data()[tf.newaxis], rtol, max_iterations
  )
  settings = dict(iterations=int(iterations), relative_residual=float(residual))
  return mass_map.MassMap(kappa[0].numpy(), shear_map.grid, "wiener", settings)


def constrained_realisations(likelihood, prior, num_samples, seed, rtol=1e-5,
                             max_iterations=500):
  """Exact draws of the posterior with a Gaussian prior.

  Args:
    likelihood: `likelihood.ShearLikelihood`.
    prior: `prior.GaussianPrior`.
    num_samples: number of draws.
    seed: stateless TFP seed.
    rtol, max_iterations: as `estimate`.

  Returns:
    `[num_samples, ny, nx]`.

  Raises:
    RuntimeError: if conjugate gradients do not converge.
  """
  prior_seed, noise_seed = tfp.random.split_seed(seed, n=2)
  kappa = prior.sample([num_samples], seed=prior_seed)
  noise = likelihood.sample_noise([num_samples], seed=noise_seed)
  data = likelihood.shear - lensing.shear_from_convergence(kappa) - noise
  update, _, _ = _checked_solve(
      likelihood, prior, likelihood.weighted_data(data), rtol, max_iterations
  )
  return kappa + update


def solve(likelihood, prior, right_side, rtol=1e-5, max_iterations=500):
  """Solves (S^-1 + A' N^-1 A) u = b by preconditioned conjugate gradients.

  Args:
    likelihood: has `precision(x)` and `mean_inverse_variance()`.
    prior: has `score(x)` and `mode_variance`.
    right_side: b, `[batch, ny, nx]`.
    rtol: stops when every map's residual, in the preconditioner's norm, is below
      this times that of b.
    max_iterations: cap.

  Returns:
    `(u, iterations, relative_residual)`: solution, iterations done, and the largest
    relative residual in the batch.
  """
  preconditioner = 1 / (1 / prior.mode_variance + likelihood.mean_inverse_variance())

  def dot(a, b):
    return tf.reduce_sum(a * b, axis=(-2, -1), keepdims=True)

  def residual_norm(squared):
    return tf.reduce_max(tf.sqrt(squared / tf.maximum(initial, tiny)))

  def iterate(iteration, u, residual, direction, squared):
    applied = likelihood.precision(direction) - prior.score(direction)
    alpha = tf.math.divide_no_nan(squared, dot(direction, applied))
    u += alpha * direction
    residual -= alpha * applied
    conditioned = spectra.fourier_filter(residual, preconditioner)
    next_squared = dot(residual, conditioned)
    beta = tf.math.divide_no_nan(next_squared, squared)
    return iteration + 1, u, residual, conditioned + beta * direction, next_squared

  direction = spectra.fourier_filter(right_side, preconditioner)
  initial = dot(right_side, direction)
  tiny = tf.constant(1e-30, right_side.dtype)
  iterations, u, _, _, squared = tf.while_loop(
      lambda i, u, r, d, squared: residual_norm(squared) > rtol,
      iterate,
      (0, tf.zeros_like(right_side), right_side, direction, initial),
      maximum_iterations=max_iterations,
  )
  return u, iterations, residual_norm(squared)


def _checked_solve(likelihood, prior, right_side, rtol, max_iterations):
  compiled = tf.function(
      functools.partial(solve, likelihood, prior, rtol=rtol,
                        max_iterations=max_iterations),
      jit_compile=True,
  )
  solution, iterations, residual = compiled(right_side)
  if not residual <= rtol:
    raise RuntimeError(
        f"Conjugate gradients stopped after {int(iterations)} iterations at a"
        f" relative residual of {float(residual):.2g}, above rtol = {rtol:g}. Allow"
        " more with max_iterations, or raise rtol (float32 reaches about 1e-6)."
    )
  return solution, iterations, residual
