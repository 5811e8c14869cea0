"""Statistics of convergence maps beyond the power spectrum.

They are the skewness and kurtosis of smoothed maps, peak counts, and the l1 norm of
starlet coefficients (Ajani et al. 2021).
"""

from collections.abc import Sequence

from astropy import units as u
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy import stats

from tfp_massmap import geometry
from tfp_massmap import wavelets


def smooth(
  kappa: npt.ArrayLike, grid: geometry.PixelGrid, *, scale: u.Quantity
) -> np.ndarray:
  """Returns maps smoothed by a Gaussian, with reflecting edges.

  Args:
    kappa: `[..., ny, nx]`.
    grid: Grid of the maps.
    scale: Standard deviation of the Gaussian, an angle; 0 leaves the maps unchanged.

  Returns:
    float64 `[..., ny, nx]`.
  """
  kappa = np.asarray(kappa, np.float64)
  sigma = (scale / grid.pixel_scale).to_value(u.one)
  return ndimage.gaussian_filter(kappa, sigma, mode="reflect", axes=(-2, -1))


def skewness(kappa: npt.ArrayLike) -> np.ndarray:
  """Returns the third standardised moment of each map, `[...]` from `[..., ny, nx]`."""
  return stats.skew(_flat(kappa), axis=-1)


def kurtosis(kappa: npt.ArrayLike) -> np.ndarray:
  """Returns the excess kurtosis of each map, `[...]` from `[..., ny, nx]`."""
  return stats.kurtosis(_flat(kappa), axis=-1)


def peak_counts(
  kappa: npt.ArrayLike, edges: Sequence[float] | np.ndarray
) -> np.ndarray:
  """Returns the numbers of local maxima in bins of height.

  A peak is a pixel that is not lower than its eight neighbours. Pixels at the edge of
  the map do not count.

  Args:
    kappa: `[..., ny, nx]`, already smoothed.
    edges: Edges of the bins of height, `[n + 1]`, in the maps' units.

  Returns:
    int `[..., n]`.
  """
  kappa = np.asarray(kappa)
  highest = ndimage.maximum_filter(kappa, 3, axes=(-2, -1))
  is_peak = np.zeros(kappa.shape, bool)
  inner = (..., slice(1, -1), slice(1, -1))
  is_peak[inner] = kappa[inner] >= highest[inner]
  flat = zip(
    kappa.reshape(-1, *kappa.shape[-2:]), is_peak.reshape(-1, *kappa.shape[-2:])
  )
  counts = [np.histogram(heights[peaks], edges)[0] for heights, peaks in flat]
  return np.reshape(counts, [*kappa.shape[:-2], len(edges) - 1])


def starlet_l1_norm(kappa: npt.ArrayLike, num_scales: int) -> np.ndarray:
  """Returns the mean absolute starlet coefficient of each scale.

  Args:
    kappa: `[..., ny, nx]`.
    num_scales: Number of wavelet scales, as in `wavelets.starlet`.

  Returns:
    float64 `[..., num_scales]`, from the finest scale.

  Raises:
    ValueError: As `wavelets.starlet`.
  """
  kappa = np.asarray(kappa, np.float64)
  coefficients = wavelets.starlet(kappa, num_scales).numpy()[..., :-1, :, :]
  return np.abs(coefficients).mean(axis=(-2, -1))


def _flat(kappa):
  kappa = np.asarray(kappa, np.float64)
  return kappa.reshape([*kappa.shape[:-2], -1])
