"""MCALens: a Gaussian field plus a sparse one (Starck et al. 2021, A&A 649, A99).

The data are gamma = A (kappa_G + kappa_S) + n: kappa_G has a power spectrum, kappa_S is
sparse in starlets and positive. In turn,

  kappa_G <- Wiener filter of gamma - A kappa_S,
  kappa_S <- [sum_j threshold_j(F_j (kappa_S + D A' N^-1 r))]_+,
  r = gamma - A kappa_G - A kappa_S,

with F_j the starlet scale j and D = S + N the step that makes both fast. Thresholds are
in standard deviations of the coefficient without sparse component, which noise and
Gaussian field make, pixel by pixel.

Starck et al. keep the coefficients that are detected and fit them without penalty; the
error is then least after some iterations, and rises later. Here coefficients are
shrunk (soft thresholds), the iteration converges, and it stops when the fit to the data
stops changing. Thresholds and scales were chosen on 12 simulated fields of pixels of
0.29 arcmin; the minimum is flat.
"""

import numpy as np
import tensorflow as tf

from tfp_massmap import gaussian_posterior
from tfp_massmap import lensing
from tfp_massmap import wavelets
from tfp_massmap.baselines import mass_map
from tfp_massmap.baselines import noise_propagation

DEFAULT_THRESHOLDS = (2.25, 1.75, 1.5, 1.25)
_STEPS_OF_WIENER = 4


def estimate(
  shear_map,
  prior,
  *,
  thresholds=DEFAULT_THRESHOLDS,
  finest_scale=2,
  tolerance=0.003,
  max_iterations=30,
):
  """Sum of the Gaussian and the sparse component.

  Args:
    shear_map: `shear_map.ShearMap`.
    prior: `priors.GaussianPrior` of kappa_G on the same grid; computed in float32.
    thresholds: in standard deviations of a coefficient, one for each starlet scale that
      kappa_S may have; the others belong to kappa_G.
    finest_scale: the first of these scales, of 2^finest_scale pixels.
    tolerance: stops when the model of the shear changes by less, root mean square in
      standard deviations of the noise.
    max_iterations: cap.

  Returns:
    A `MassMap`; `components` separates it.

  Raises:
    TypeError, ValueError: for what is no `ShearMap` or no prior on its grid, thresholds
      that are not positive, or more of them than scales fit into the map.
    RuntimeError: if the cap is reached first.
  """
  gaussian, sparse, iterations = components(
    shear_map,
    prior,
    thresholds=thresholds,
    finest_scale=finest_scale,
    tolerance=tolerance,
    max_iterations=max_iterations,
  )
  settings = dict(
    thresholds=str(tuple(thresholds)),
    finest_scale=finest_scale,
    tolerance=float(tolerance),
    iterations=iterations,
  )
  return mass_map.MassMap(
    gaussian + sparse, shear_map.grid, method="mcalens", settings=settings
  )


def components(
  shear_map,
  prior,
  *,
  thresholds=DEFAULT_THRESHOLDS,
  finest_scale=2,
  tolerance=0.003,
  max_iterations=30,
):
  """`(kappa_G, kappa_S, iterations)`; arguments and errors as `estimate`."""
  separate = _separator(
    shear_map, prior, thresholds, finest_scale, tolerance, max_iterations
  )
  shear, _ = noise_propagation.weighted_data(shear_map)
  gaussian, sparse, iterations = separate(shear[tf.newaxis])
  return gaussian[0].numpy(), sparse[0].numpy(), int(iterations)


def standard_deviation(
  shear_map,
  prior,
  *,
  thresholds=DEFAULT_THRESHOLDS,
  finest_scale=2,
  tolerance=0.003,
  max_iterations=30,
  num_realisations=16,
  seed=0,
):
  """Noise propagated through the method, `[ny, nx]`.

  New noise on the shear of the estimate itself. What shrinkage and filter take from the
  signal is not in it, so intervals made from it are too narrow.

  Args:
    num_realisations: at least 2; the relative error of a pixel is
      (2 (num_realisations - 1))^-1/2.
    seed: integer.
    (the others): as `estimate`.

  Raises:
    TypeError, ValueError, RuntimeError: as `estimate`; ValueError for fewer than two
      realisations.
  """
  separate = _separator(
    shear_map, prior, thresholds, finest_scale, tolerance, max_iterations
  )
  return noise_propagation.standard_deviation(
    lambda shear: tf.add(*separate(shear)[:2]),
    shear_map,
    num_realisations=num_realisations,
    seed=seed,
  )


def _separator(shear_map, prior, thresholds, finest_scale, tolerance, max_iterations):
  """Function of shear `[batch, 2, ny, nx]` to both components and the iterations."""
  mass_map.check_shear_map(shear_map, "MCALens")
  mass_map.check_prior(prior, shear_map, method="MCALens")
  _, weight = noise_propagation.weighted_data(shear_map)
  dictionary = _dictionary(weight, prior, thresholds, finest_scale)
  stopping = tf.constant(tolerance, tf.float32), tf.constant(max_iterations)
  variance = tf.cast(prior.mode_variance, tf.float32)

  def separate(shear):
    gaussian, sparse, iterations, change = _separate(
      shear, weight, variance, *dictionary, *stopping
    )
    if not change <= tolerance:
      raise RuntimeError(
        f"MCALens stopped after {int(iterations)} iterations, the model still"
        f" changing by {float(change):.2g} noise standard deviations, above"
        f" tolerance = {tolerance:g}. Allow more with max_iterations, or raise tolerance."
      )
    return gaussian, sparse, iterations

  return separate


def _dictionary(weight, prior, thresholds, finest_scale):
  """Transfer functions of the scales, thresholds of every coefficient, and D."""
  if finest_scale < 1:
    raise ValueError(f"finest_scale must be at least 1; got {finest_scale}.")
  factors = noise_propagation.checked_thresholds(
    thresholds, prior.shape, finest_scale=finest_scale
  )
  num_scales = finest_scale - 1 + len(factors)
  filters = wavelets.fourier_filters(prior.shape, num_scales)[finest_scale - 1 : -1]
  weight = weight.numpy()
  noise = 1 / weight[weight > 0].mean()
  step = prior.mode_variance.numpy().astype(np.float64) + noise
  # What the Wiener filter leaves of noise and Gaussian field has the covariance of
  # noise with the weights for variance, times N / (S + N).
  transfer = filters * step * np.sqrt(noise / step)
  variance = noise_propagation.filtered_variance(weight, transfer)
  limits = factors * np.sqrt(variance)
  return [tf.constant(array, tf.float32) for array in (filters, limits, step)]


@tf.function(autograph=False)
def _separate(
  shear, weight, variance, filters, limits, step, tolerance, max_iterations
):
  weighted = gaussian_posterior.Weighted(weight)
  sides = list(weighted.shape)
  num_data = 2 * tf.reduce_sum(tf.cast(weight[0] > 0, tf.float32))
  inverse = lambda modes: tf.signal.irfft2d(modes, fft_length=sides)
  scaled = lambda factor, modes: tf.cast(factor, modes.dtype) * modes
  data = lensing.modes_from_shear(weight * shear)

  def score(modes):
    return data - weighted.precision_modes(modes)

  def more_of_wiener(modes, sparse, num_steps):
    right_side = score(sparse + modes) - scaled(1 / variance, modes)
    update, _, _ = gaussian_posterior.solve(
      weighted, variance, right_side=right_side, rtol=1e-5, max_iterations=num_steps
    )
    return modes + update

  def iterate(iteration, gaussian, sparse, change):
    del change
    gaussian_next = more_of_wiener(gaussian, sparse, _STEPS_OF_WIENER)
    candidate = sparse + scaled(step, score(gaussian_next + sparse))
    coefficients = inverse(scaled(filters, candidate[:, tf.newaxis]))
    kept = coefficients - tf.clip_by_value(coefficients, -limits, limits)
    sparse_next = tf.signal.rfft2d(tf.nn.relu(tf.reduce_sum(kept, axis=1)))
    moved = lensing.shear_from_modes(
      gaussian_next + sparse_next - gaussian - sparse, sides
    )
    squared = tf.reduce_sum(weight * tf.square(moved), axis=(1, 2, 3)) / num_data
    return iteration + 1, gaussian_next, sparse_next, tf.sqrt(tf.reduce_max(squared))

  zero = tf.zeros_like(data)
  gaussian = more_of_wiener(zero, zero, 2 * _STEPS_OF_WIENER)
  iterations, gaussian, sparse, change = tf.while_loop(
    lambda i, gaussian, sparse, change: change > tolerance,
    iterate,
    (0, gaussian, zero, tf.constant(np.inf, tf.float32)),
    maximum_iterations=max_iterations,
  )
  gaussian = more_of_wiener(gaussian, sparse, 2 * _STEPS_OF_WIENER)
  return inverse(gaussian), inverse(sparse), iterations, change
