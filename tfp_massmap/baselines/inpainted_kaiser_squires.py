"""Kaiser-Squires inversion with iterative inpainting of the masked shear.

The method is that of Pires et al. (2009, MNRAS 395, 1265; 2020, A&A 638, A141), without
the constraint on wavelet variances of the latter. The convergence is assumed to be
sparse in cosines, and to have no B modes where nothing is measured. Two steps are
repeated,

  shear <- the measured shear, and A T(kappa) where there is none;
  kappa <- E mode of the shear,

where T is a hard threshold on the coefficients of the discrete cosine transform. The
threshold falls from the largest coefficient to the noise, and is zero in the last step.
The result is smoothed. Noise does not weight the pixels; it only sets where the
threshold stops falling.
"""

from collections.abc import Callable

from astropy import units as u
import numpy as np
import tensorflow as tf

from tfp_massmap import lensing
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import spectra
from tfp_massmap.baselines import kaiser_squires
from tfp_massmap.baselines import mass_map
from tfp_massmap.baselines import noise_propagation

# Thresholds on the way down, in equal steps of their logarithm: enough to fill the
# gaps. The error hardly depends on their number, being 0.8 % lower with 10 and 0.2 %
# higher with 200 on four simulated fields (`examples/benchmarks/baseline_settings.py`).
DEFAULT_NUM_ITERATIONS = 50


def estimate(
  shear_map: shear_map_lib.ShearMap,
  smoothing: u.Quantity = kaiser_squires.DEFAULT_SMOOTHING,
  *,
  num_iterations: int = DEFAULT_NUM_ITERATIONS,
) -> mass_map.MassMap:
  """Returns the E-mode convergence of the inpainted shear, smoothed by a Gaussian.

  Args:
    shear_map: Data with their noise and mask.
    smoothing: Standard deviation of the Gaussian, an angle.
    num_iterations: Number of thresholds on the way down.

  Returns:
    A `MassMap`.

  Raises:
    TypeError: If `shear_map` is not a `ShearMap`.
    ValueError: If the smoothing is negative, or there is not at least one iteration.
  """
  reconstruct = _reconstructor(shear_map, smoothing, num_iterations)
  shear, _ = noise_propagation.weighted_data(shear_map)
  settings = dict(
    smoothing_arcmin=float(u.Quantity(smoothing).to_value(u.arcmin)),
    num_iterations=num_iterations,
  )
  return mass_map.MassMap(
    reconstruct(shear[tf.newaxis])[0].numpy(),
    shear_map.grid,
    method="inpainted_kaiser_squires",
    settings=settings,
  )


def standard_deviation(
  shear_map: shear_map_lib.ShearMap,
  smoothing: u.Quantity = kaiser_squires.DEFAULT_SMOOTHING,
  *,
  num_iterations: int = DEFAULT_NUM_ITERATIONS,
  num_realisations: int = 16,
  seed: int = 0,
) -> np.ndarray:
  """Returns the noise propagated through the method, `[ny, nx]`.

  Args:
    shear_map: Data with their noise and mask.
    smoothing: Standard deviation of the Gaussian, an angle.
    num_iterations: Number of thresholds on the way down.
    num_realisations: Number of noise draws, at least 2. The relative error of a pixel
      is (2 (num_realisations - 1))^-1/2.
    seed: Seed of the draws.

  Raises:
    TypeError: As `estimate`.
    ValueError: As `estimate`, or if there are fewer than two draws.
  """
  return noise_propagation.standard_deviation(
    _reconstructor(shear_map, smoothing, num_iterations),
    shear_map,
    num_realisations=num_realisations,
    seed=seed,
  )


def _reconstructor(
  shear_map, smoothing, num_iterations
) -> Callable[[tf.Tensor], tf.Tensor]:
  """Returns the estimator as a function of shear `[batch, 2, ny, nx]`."""
  mass_map.check_shear_map(shear_map, "Inpainting")
  if num_iterations < 1:
    raise ValueError(f"num_iterations must be positive; got {num_iterations}.")
  _, weight = noise_propagation.weighted_data(shear_map)
  transfer = tf.constant(kaiser_squires.transfer(shear_map.grid, smoothing), tf.float32)
  number = tf.constant(num_iterations)
  return lambda shear: spectra.fourier_filter(_inpaint(shear, weight, number), transfer)


@tf.function(autograph=False)
def _inpaint(shear, weight, num_iterations):
  """Returns the E mode of inpainted shear, `[batch, ny, nx]`."""
  measured = weight > 0
  num_measured = tf.reduce_sum(tf.cast(measured, tf.float32))
  # The lowest threshold is the noise of a coefficient, that of a typical pixel.
  lowest = tf.math.rsqrt(tf.reduce_sum(weight) / num_measured)
  kappa = lensing.convergence_from_shear(shear)[0]
  highest = tf.maximum(tf.reduce_max(tf.abs(_cosines(kappa))), lowest)
  ratio = tf.math.log(lowest / highest)

  def iterate(index, kappa):
    share = tf.cast(index, tf.float32) / tf.cast(num_iterations, tf.float32)
    # The last pass has no threshold.
    threshold = tf.where(index < num_iterations, highest * tf.exp(ratio * share), 0)
    coefficients = _cosines(kappa)
    kept = tf.where(tf.abs(coefficients) > threshold, coefficients, 0)
    model = lensing.shear_from_convergence(_from_cosines(kept))
    filled = tf.where(measured, shear, model)
    return index + 1, lensing.convergence_from_shear(filled)[0]

  _, kappa = tf.while_loop(
    lambda index, kappa: index <= num_iterations, iterate, (1, kappa)
  )
  return kappa


def _cosines(maps):
  return _along_both_axes(tf.signal.dct, maps)


def _from_cosines(coefficients):
  return _along_both_axes(tf.signal.idct, coefficients)


def _along_both_axes(transform, maps):
  rows = transform(maps, norm="ortho")
  return tf.linalg.matrix_transpose(
    transform(tf.linalg.matrix_transpose(rows), norm="ortho")
  )
