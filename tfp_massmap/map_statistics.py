"""Statistics that tell one convergence field from another, beyond the power spectrum.

Skewness and kurtosis at several smoothing scales, peak counts, and the l1 norm of
starlet coefficients (Ajani et al. 2021).
"""

from astropy import units as u
import numpy as np
from scipy import ndimage
from scipy import stats

from tfp_massmap import wavelets


def smooth(kappa, grid, *, scale):
  """Maps smoothed by a Gaussian; the edges reflect.

  Args:
    kappa: `[..., ny, nx]`.
    grid: `geometry.PixelGrid`.
    scale: standard deviation of the Gaussian, angle; 0 leaves the maps.
  """
  kappa = np.asarray(kappa, np.float64)
  sigma = (scale / grid.pixel_scale).to_value(u.one)
  return ndimage.gaussian_filter(kappa, sigma, mode="reflect", axes=(-2, -1))


def skewness(kappa):
  """Third standardised moment of each map, `[...]` from `[..., ny, nx]`."""
  return stats.skew(_flat(kappa), axis=-1)


def kurtosis(kappa):
  """Excess kurtosis of each map, `[...]` from `[..., ny, nx]`."""
  return stats.kurtosis(_flat(kappa), axis=-1)


def peak_counts(kappa, edges):
  """Numbers of local maxima by height.

  A peak is a pixel not lower than its eight neighbours; pixels at the map's edge are
  none.

  Args:
    kappa: `[..., ny, nx]`, smoothed beforehand.
    edges: edges of the bins of height, `[n + 1]`, in the maps' units.

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


def starlet_l1_norm(kappa, num_scales):
  """Mean absolute starlet coefficient of each scale, `[..., num_scales]`."""
  kappa = np.asarray(kappa, np.float64)
  coefficients = wavelets.starlet(kappa, num_scales).numpy()[..., :-1, :, :]
  return np.abs(coefficients).mean(axis=(-2, -1))


def _flat(kappa):
  kappa = np.asarray(kappa, np.float64)
  return kappa.reshape([*kappa.shape[:-2], -1])
