"""Kaiser-Squires inversion with Gaussian smoothing (paper section 3.1, Eq. 10, 11).

N. Kaiser and G. Squires 1993, ApJ 404, 441. Masked pixels count as zero shear.
"""

from astropy import units as u
import numpy as np
import tensorflow as tf

from tfp_massmap import lensing
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.baselines import mass_map
from tfp_massmap.baselines import noise_propagation

DEFAULT_SMOOTHING = 1 * u.arcmin


def estimate(shear_map, smoothing=DEFAULT_SMOOTHING):
  """E-mode convergence smoothed by a Gaussian.

  Args:
    shear_map: `shear_map.ShearMap`.
    smoothing: standard deviation of the Gaussian, an angle; `choose_smoothing` finds
      the best one on mocks.

  Returns:
    A `MassMap`.

  Raises:
    TypeError, ValueError: for what is no `ShearMap`, or a negative smoothing.
  """
  mass_map.check_shear_map(shear_map, "Kaiser-Squires")
  kappa = _smoothed(shear_map, [transfer(shear_map.grid, smoothing)])[0]
  arcmin = u.Quantity(smoothing).to_value(u.arcmin)
  return mass_map.MassMap(
    kappa,
    shear_map.grid,
    method="kaiser_squires",
    settings=dict(smoothing_arcmin=float(arcmin)),
  )


def standard_deviation(shear_map, smoothing=DEFAULT_SMOOTHING):
  """Shape noise of the map that `estimate` makes, exact, `[ny, nx]`.

  Signal that smoothing and mask take away is not in it.

  Raises:
    TypeError, ValueError: as `estimate`.
  """
  mass_map.check_shear_map(shear_map, "Kaiser-Squires")
  variance = np.where(shear_map.mask, shear_map.noise_std, 0) ** 2
  return np.sqrt(
    noise_propagation.filtered_variance(variance, transfer(shear_map.grid, smoothing))
  ).astype(np.float32)


def choose_smoothing(shear_map, truths, *, seed, scales=None):
  """Smoothing of the least squared error on mocks with this noise and mask.

  Args:
    shear_map: `shear_map.ShearMap`; its shear is not looked at.
    truths: simulated convergence maps, or Gaussian ones (`GaussianPrior.sample`),
      `[n, ny, nx]`.
    seed: integer, of the noise.
    scales: standard deviations to try, increasing angles; by default 24 from .7 to 12
      pixels, or to a sixth of the map if that is less.

  Returns:
    `(smoothing, errors)`: the best, interpolated by a parabola in log scale, and the
    root mean squared error in the mask, mean removed, at each of `scales`.

  Raises:
    TypeError: for what is no `ShearMap`.
    ValueError: if there is no truth of the map's shape, or the best scale is the first
      or the last that was tried.
  """
  mass_map.check_shear_map(shear_map, "Kaiser-Squires")
  grid, mask = shear_map.grid, shear_map.mask
  truths = np.asarray(truths)
  if truths.shape[1:] != grid.shape or not len(truths):
    raise ValueError(
      f"truths must be at least one map, of shape [n, {grid.shape[0]},"
      f" {grid.shape[1]}]; got {truths.shape}. GaussianPrior.sample([4], seed) draws"
      " some."
    )
  if scales is None:
    largest = min(12, min(grid.shape) / 6)
    scales = np.geomspace(0.7, largest, 24) * grid.pixel_scale
  scales = u.Quantity(scales)
  transfers = [transfer(grid, scale) for scale in scales]
  squared = np.zeros(len(scales))
  for index, truth in enumerate(truths):
    mock = simulate.observe_like(truth, shear_map, seed=[seed, index])
    difference = (_smoothed(mock, transfers) - truth)[:, mask]
    squared += difference.var(axis=1) / len(truths)
  best = int(np.argmin(squared))
  if best in (0, len(scales) - 1):
    raise ValueError(
      f"The error is least at {scales[best]:.3g}, an end of the scales tried"
      f" ({scales[0]:.3g} to {scales[-1]:.3g}): widen them with scales=."
    )
  x = np.log(scales.to_value(u.arcmin))[best - 1 : best + 2]
  curve = np.polyfit(x - x[1], squared[best - 1 : best + 2], 2)
  smoothing = np.exp(x[1] - curve[1] / (2 * curve[0])) * u.arcmin
  return smoothing, np.sqrt(squared)


def transfer(grid, smoothing):
  """Transfer function of the Gaussian, `[ny, nx // 2 + 1]`."""
  sigma = u.Quantity(smoothing).to_value(u.rad)
  if not sigma >= 0:
    raise ValueError(f"smoothing must not be negative; got {smoothing}.")
  return np.exp(-0.5 * (grid.multipoles() * sigma) ** 2)


def _smoothed(shear_map, transfers):
  shear = np.where(shear_map.mask, shear_map.shear, 0)
  kappa = lensing.convergence_from_shear(tf.constant(shear, tf.float32))[0]
  return spectra.fourier_filter(
    kappa[tf.newaxis], tf.constant(np.stack(transfers), tf.float32)
  ).numpy()
