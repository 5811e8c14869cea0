"""Kaiser-Squires inversion with Gaussian smoothing (Remy et al. 2022, section 3.1).

The method is that of N. Kaiser and G. Squires 1993, ApJ 404, 441. Masked pixels count
as zero shear.
"""

from astropy import units as u
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.baselines import mass_map
from tfp_massmap.baselines import noise_propagation

# That of Remy et al. (2022, Table 1); `choose_smoothing` finds the best for a survey.
DEFAULT_SMOOTHING = 1 * u.arcmin
# Scales that `choose_smoothing` tries by default: from below the pixel, where smoothing
# has hardly any effect, to 12 pixels or a sixth of the map, in steps of 13 % at most.
# The error is flat at its minimum, and a parabola interpolates between steps.
_SMALLEST_PIXELS = 0.7
_LARGEST_PIXELS = 12
_LARGEST_DIVISOR = 6
_NUM_SCALES = 24


def estimate(
  shear_map: shear_map_lib.ShearMap, smoothing: u.Quantity = DEFAULT_SMOOTHING
) -> mass_map.MassMap:
  """Returns the E-mode convergence smoothed by a Gaussian.

  Args:
    shear_map: Data with their mask.
    smoothing: Standard deviation of the Gaussian, an angle. `choose_smoothing` finds
      the best one on mocks.

  Returns:
    A `MassMap`.

  Raises:
    TypeError: If `shear_map` is not a `ShearMap`.
    ValueError: If the smoothing is negative.
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


def standard_deviation(
  shear_map: shear_map_lib.ShearMap, smoothing: u.Quantity = DEFAULT_SMOOTHING
) -> np.ndarray:
  """Returns the shape noise of the estimate, exact, float32 `[ny, nx]`.

  The signal that smoothing and mask remove is not included. Arguments and errors are
  those of `estimate`.
  """
  mass_map.check_shear_map(shear_map, "Kaiser-Squires")
  variance = np.where(shear_map.mask, shear_map.noise_std, 0) ** 2
  return np.sqrt(
    noise_propagation.filtered_variance(variance, transfer(shear_map.grid, smoothing))
  ).astype(np.float32)


def choose_smoothing(
  shear_map: shear_map_lib.ShearMap,
  truths: npt.ArrayLike,
  *,
  seed: int,
  scales: u.Quantity | None = None,
) -> tuple[u.Quantity, np.ndarray]:
  """Finds the smoothing with the smallest error on mocks with this noise and mask.

  Args:
    shear_map: Data whose noise and mask the mocks get; the shear is not used.
    truths: Convergence maps, simulated or drawn by `GaussianPrior.sample`, `[n, ny,
      nx]`.
    seed: Seed of the noise.
    scales: Standard deviations to try, increasing angles; None for 24 of them from 0.7
      to 12 pixels, or to a sixth of the map if that is less.

  Returns:
    `(smoothing, errors)`: the best smoothing, interpolated by a parabola in log scale,
    and the root mean squared error in the mask, without the mean, at each of `scales`.

  Raises:
    TypeError: If `shear_map` is not a `ShearMap`.
    ValueError: If no truth has the map's shape, or the best scale is the first or the
      last of those tried.
  """
  mass_map.check_shear_map(shear_map, "Kaiser-Squires")
  grid, mask = shear_map.grid, shear_map.mask
  truths = np.asarray(truths)
  if truths.shape[1:] != grid.shape or not len(truths):
    raise ValueError(
      f"truths must be at least one map, of shape [n, {grid.shape[0]},"
      f" {grid.shape[1]}]; got {truths.shape}. GaussianPrior.sample([4], seed=seed)"
      " draws some."
    )
  if scales is None:
    largest = min(_LARGEST_PIXELS, min(grid.shape) / _LARGEST_DIVISOR)
    scales = np.geomspace(_SMALLEST_PIXELS, largest, _NUM_SCALES) * grid.pixel_scale
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
      f" ({scales[0]:.3g} to {scales[-1]:.3g}). Widen them with the argument scales."
    )
  x = np.log(scales.to_value(u.arcmin))[best - 1 : best + 2]
  curve = np.polyfit(x - x[1], squared[best - 1 : best + 2], 2)
  smoothing = np.exp(x[1] - curve[1] / (2 * curve[0])) * u.arcmin
  return smoothing, np.sqrt(squared)


def transfer(grid: geometry.PixelGrid, smoothing: u.Quantity) -> np.ndarray:
  """Returns the transfer function of the Gaussian, float64 `[ny, nx // 2 + 1]`.

  Args:
    grid: Grid of the map.
    smoothing: Standard deviation of the Gaussian, an angle.

  Raises:
    ValueError: If the smoothing is negative.
  """
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
