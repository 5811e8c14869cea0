"""Aperture mass by starlets, and the signal-to-noise ratio it gives a cluster.

A starlet coefficient is the convergence weighted by a compensated, compact filter: an
aperture mass (Leonard, Pires & Starck 2012, MNRAS 423, 3405). Scale j has an aperture
of 2^j pixels; the filter is positive within about half of that and ends at twice that.
"""

import numpy as np

from tfp_massmap import geometry
from tfp_massmap import wavelets

DEFAULT_SCALE = 3

_BLOCK_VALUES = 2**21


def aperture_mass(maps, scale=DEFAULT_SCALE):
  """Aperture-mass map: the starlet coefficients of one scale.

  Args:
    maps: convergence `[..., ny, nx]`.
    scale: j, from 1; the aperture is 2^j pixels.

  Returns:
    float64, shape of `maps`; dimensionless as the convergence.

  Raises:
    ValueError: for a scale that does not fit the map, or values that are not finite.
  """
  maps = np.asarray(maps, np.float64)
  if bad := np.count_nonzero(~np.isfinite(maps)):
    raise ValueError(
      f"{bad} of {maps.size} values of the maps are not finite: give masked pixels a"
      " value, such as 0, and leave failed samples out."
    )
  return wavelets.starlet(maps, scale)[..., scale - 1, :, :].numpy()


def blocks(maps, scale=DEFAULT_SCALE):
  """Aperture mass of maps that may lie on disk, some at a time.

  Args:
    maps: `[num_maps, ny, nx]`.
    scale: as `aperture_mass`.

  Yields:
    float64 `[num, ny, nx]`, in the order of the maps.

  Raises:
    ValueError: as `aperture_mass`.
  """
  num = max(1, _BLOCK_VALUES // int(np.prod(np.shape(maps)[1:])))
  for first in range(0, len(maps), num):
    yield aperture_mass(maps[first : first + num], scale)


def background_std(background, scale=DEFAULT_SCALE, *, mask=None):
  """Standard deviation of the aperture mass of maps without the cluster.

  Args:
    background: convergence `[..., ny, nx]`: the field that the cluster is added to, as
      in the paper, or maps of noise.
    scale: of the filter.
    mask: bool `[ny, nx]`, the pixels that count; None for all.

  Returns:
    A float.

  Raises:
    ValueError: as `aperture_mass`; for a mask of another shape than the maps, or empty.
  """
  coefficients = aperture_mass(background, scale)
  if mask is not None:
    coefficients = coefficients[
      ..., geometry.checked_mask(mask, coefficients.shape[-2:])
    ]
  return float(np.std(coefficients))


def input_snr(cluster, background, *, scale=DEFAULT_SCALE, mask=None):
  """Signal-to-noise ratio of an injected cluster (paper Eq. 29).

  Args:
    cluster: its convergence, without noise, `[..., ny, nx]`.
    background: as `background_std`.
    scale: of the filter.
    mask: of the background.

  Returns:
    Highest aperture mass of the cluster over the standard deviation of the
    background's, `[...]`.

  Raises:
    ValueError: as `background_std`.
  """
  highest = aperture_mass(cluster, scale).max(axis=(-2, -1))
  return highest / background_std(background, scale, mask=mask)
