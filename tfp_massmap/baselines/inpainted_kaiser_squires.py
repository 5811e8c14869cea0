"""Kaiser-Squires inversion with iterative inpainting of the masked shear.

Pires et al. (2009, MNRAS 395, 1265; 2020, A&A 638, A141), without the latter's
constraint on wavelet variances: the convergence is taken to be sparse in cosines, and
without B modes where nothing is measured. From a threshold above all coefficients down
to none,

  shear <- measured where there is a measurement, A T(kappa) elsewhere;
  kappa <- E mode of the shear,

T the hard threshold of the discrete cosine transform. The result is smoothed.
Noise does not weight the pixels; it only decides how far the threshold falls before it
is dropped.
"""

from astropy import units as u
import tensorflow as tf

from tfp_massmap import lensing
from tfp_massmap import spectra
from tfp_massmap.baselines import kaiser_squires
from tfp_massmap.baselines import mass_map
from tfp_massmap.baselines import noise_propagation


def estimate(
  shear_map, smoothing=kaiser_squires.DEFAULT_SMOOTHING, *, num_iterations=50
):
  """E-mode convergence of the inpainted shear, smoothed by a Gaussian.

  Args:
    shear_map: `shear_map.ShearMap`.
    smoothing: standard deviation of the Gaussian, an angle.
    num_iterations: thresholds on the way down.

  Returns:
    A `MassMap`.

  Raises:
    TypeError, ValueError: for what is no `ShearMap`, a negative smoothing, or less than
      one iteration.
  """
  _check(shear_map, num_iterations)
  shear, weight = noise_propagation.weighted_data(shear_map)
  kappa = _reconstruct(shear_map.grid, smoothing, num_iterations, weight)(shear[None])
  settings = dict(
    smoothing_arcmin=float(u.Quantity(smoothing).to_value(u.arcmin)),
    num_iterations=num_iterations,
  )
  return mass_map.MassMap(
    kappa[0].numpy(),
    shear_map.grid,
    method="inpainted_kaiser_squires",
    settings=settings,
  )


def standard_deviation(
  shear_map,
  smoothing=kaiser_squires.DEFAULT_SMOOTHING,
  *,
  num_iterations=50,
  num_realisations=16,
  seed=0,
):
  """Noise propagated through the method, `[ny, nx]`.

  Args:
    shear_map, smoothing, num_iterations: as `estimate`.
    num_realisations: at least 2; the relative error of a pixel is
      (2 (num_realisations - 1))^-1/2.
    seed: integer.

  Raises:
    TypeError, ValueError: as `estimate`; ValueError for fewer than two realisations.
  """
  _check(shear_map, num_iterations)
  _, weight = noise_propagation.weighted_data(shear_map)
  reconstruct = _reconstruct(shear_map.grid, smoothing, num_iterations, weight)
  return noise_propagation.standard_deviation(
    reconstruct, shear_map, num_realisations=num_realisations, seed=seed
  )


def _check(shear_map, num_iterations):
  mass_map.check_shear_map(shear_map, "Inpainting")
  if num_iterations < 1:
    raise ValueError(f"num_iterations must be positive; got {num_iterations}.")


def _reconstruct(grid, smoothing, num_iterations, weight):
  transfer = tf.constant(kaiser_squires.transfer(grid, smoothing), tf.float32)
  number = tf.constant(num_iterations)
  return lambda shear: spectra.fourier_filter(_inpaint(shear, weight, number), transfer)


@tf.function(autograph=False)
def _inpaint(shear, weight, num_iterations):
  """E mode of inpainted shear, `[batch, ny, nx]` from `[batch, 2, ny, nx]`."""
  measured = weight > 0
  seen = tf.cast(measured, tf.float32)
  lowest = tf.math.rsqrt(tf.reduce_sum(weight) / tf.reduce_sum(seen))
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
  rows = tf.signal.dct(maps, norm="ortho")
  return tf.linalg.matrix_transpose(
    tf.signal.dct(tf.linalg.matrix_transpose(rows), norm="ortho")
  )


def _from_cosines(coefficients):
  rows = tf.signal.idct(coefficients, norm="ortho")
  return tf.linalg.matrix_transpose(
    tf.signal.idct(tf.linalg.matrix_transpose(rows), norm="ortho")
  )
