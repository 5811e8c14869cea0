"""Fourier components of the observed part of maps, and the distance from its gaps."""

import itertools

import numpy as np
from scipy import ndimage

from tfp_massmap import geometry

# Pixels over which maps fade towards a gap. Without, its edges would leak power from
# large scales, which have most of it, to all others.
_FADE = 4


def gap_distance(mask: np.ndarray, pixel_arcmin: float = 1.0) -> np.ndarray:
  """Returns the distance of each pixel from the nearest gap, on periodic maps.

  Groups of unobserved pixels too small to contain a block of 3 x 3 are holes in the
  sampling by galaxies. They are not counted as gaps.

  Args:
    mask: Bool `[ny, nx]`, true where there are data.
    pixel_arcmin: Side of a pixel, in the unit of the result.

  Returns:
    float64 `[ny, nx]`; infinite if there is no gap.
  """
  margin = [(n // 2, n // 2) for n in mask.shape]
  gaps = ndimage.binary_opening(np.pad(~mask, margin, mode="wrap"), np.ones([3, 3]))
  if not gaps.any():
    return np.full(mask.shape, np.inf)
  (top, _), (left, _) = margin
  inner = np.s_[top : top + mask.shape[0], left : left + mask.shape[1]]
  return ndimage.distance_transform_edt(~gaps)[inner] * pixel_arcmin


def modes(
  maps: np.ndarray,
  mask: np.ndarray,
  *,
  grid: geometry.PixelGrid,
  edges: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns the Fourier components of the observed part of maps.

  Args:
    maps: `[M, ny, nx]`.
    mask: Bool `[ny, nx]`; maps fade over four pixels towards its gaps.
    grid: `geometry.PixelGrid`.
    edges: Multipoles between bands, `[num_bands + 1]`.

  Returns:
    `(values, bands, power)`: real and imaginary parts of all modes, each once,
    `[M, ny nx]`; the band of each, -1 for the mean, `[ny nx]`; and C_ell of the bands,
    `[M, num_bands]`.

  Raises:
    ValueError: If a band contains no mode.
  """
  window = np.minimum(gap_distance(mask) / _FADE, 1)
  window /= np.sqrt(np.mean(window**2))
  complex_modes = np.fft.rfft2(window * maps, norm="ortho")
  real, imaginary = _independent_parts(grid.shape)
  values = np.concatenate(
    [complex_modes.real[:, real], complex_modes.imag[:, imaginary]], axis=1
  )
  ell = grid.multipoles()
  ell = np.concatenate([ell[real], ell[imaginary]])
  bands = np.digitize(ell, edges) - 1
  bands[ell == 0] = -1
  if not np.isin(np.arange(len(edges) - 1), bands).all():
    ny, nx = grid.shape
    raise ValueError(
      f"A band of multipoles has no mode on a map of {ny} x {nx} pixels: num_bands ="
      f" {len(edges) - 1} is too many."
    )
  power = [np.mean(values[:, bands == b] ** 2, axis=1) for b in range(len(edges) - 1)]
  return values, bands, 2 * np.stack(power, axis=1) * grid.pixel_radians**2


def band_names(edges: np.ndarray) -> list[str]:
  """Returns the names of bands with these edges, `[num_bands + 1]`."""
  return [f"ell {low:.0f} to {high:.0f}" for low, high in itertools.pairwise(edges)]


def _independent_parts(shape):
  """Returns which real and imaginary parts of `rfft2` occur once, `[ny, nx // 2 + 1]`.

  In the columns k1 = 0 and Nyquist's, the lower half repeats the upper one, and the
  modes that are their own mirror images are real.
  """
  ny, nx = shape
  real = np.ones([ny, nx // 2 + 1], bool)
  mirrored_columns = (0, nx // 2) if nx % 2 == 0 else (0,)
  real_rows = (0, ny // 2) if ny % 2 == 0 else (0,)
  for column in mirrored_columns:
    real[ny // 2 + 1 :, column] = False
  imaginary = real.copy()
  for column in mirrored_columns:
    imaginary[list(real_rows), column] = False
  return real, imaginary
