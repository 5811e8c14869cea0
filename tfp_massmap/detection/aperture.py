"""Aperture mass by starlets, and the signal-to-noise ratio of a cluster.

A starlet coefficient is the convergence weighted by a compensated, compact filter: an
aperture mass (Leonard, Pires & Starck 2012, MNRAS 423, 3405). Scale j has an aperture
of 2^j pixels; the filter is positive within about half of it and ends at twice it.
"""

from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np

from tfp_massmap import geometry
from tfp_massmap import wavelets

# An aperture of 2.3 arcmin at pixels of 0.29 arcmin.
DEFAULT_SCALE = 3

# Values of a block of maps, filtered together: 16 MiB in float64 for each scale.
_BLOCK_VALUES = 2**21


def aperture_mass(
  maps: np.ndarray | Sequence[np.ndarray], scale: int = DEFAULT_SCALE
) -> np.ndarray:
  """Returns the aperture mass: the starlet coefficients of one scale.

  Args:
    maps: Convergence `[..., ny, nx]`.
    scale: j, from 1; the aperture is 2^j pixels.

  Returns:
    float64, of the shape of `maps`; dimensionless as the convergence.

  Raises:
    ValueError: If the scale does not fit the map, or values are not finite.
  """
  maps = np.asarray(maps, np.float64)
  if bad := np.count_nonzero(~np.isfinite(maps)):
    raise ValueError(
      f"{bad} of {maps.size} values of the maps are not finite: give masked pixels a"
      " value, such as 0, and leave failed samples out."
    )
  return wavelets.starlet(maps, scale)[..., scale - 1, :, :].numpy()


def blocks(
  maps: np.ndarray | Sequence[np.ndarray], scale: int = DEFAULT_SCALE
) -> Iterator[np.ndarray]:
  """Yields the aperture mass of maps that may lie on disk, some at a time.

  Args:
    maps: Convergence `[num_maps, ny, nx]`.
    scale: As `aperture_mass`.

  Yields:
    float64 `[num, ny, nx]`, in the order of the maps.

  Raises:
    ValueError: As `aperture_mass`.
  """
  num = max(1, _BLOCK_VALUES // int(np.prod(np.shape(maps)[1:])))
  for first in range(0, len(maps), num):
    yield aperture_mass(maps[first : first + num], scale)


def background_std(
  background: np.ndarray | Sequence[np.ndarray],
  scale: int = DEFAULT_SCALE,
  *,
  mask: np.ndarray | None = None,
) -> float:
  """Returns the standard deviation of the aperture mass of maps without the cluster.

  Args:
    background: Convergence `[..., ny, nx]`: the field that the cluster is added to, as
      in Remy et al. (2022), or maps of noise.
    scale: As `aperture_mass`.
    mask: Bool `[ny, nx]`, true in the pixels that count; None for all.

  Raises:
    ValueError: As `aperture_mass`, or if the mask is empty or has another shape.
  """
  coefficients = aperture_mass(background, scale)
  if mask is not None:
    mask = geometry.checked_mask(mask, coefficients.shape[-2:])
    coefficients = coefficients[..., mask]
  return float(np.std(coefficients))


def input_snr(
  cluster: np.ndarray, background: float, *, scale: int = DEFAULT_SCALE
) -> np.ndarray:
  """Returns the signal-to-noise ratio of injected clusters (Remy et al. 2022, Eq. 29).

  Args:
    cluster: Convergence of the clusters, without noise, `[..., ny, nx]`.
    background: Result of `background_std` at the same scale.
    scale: As `aperture_mass`.

  Returns:
    Highest aperture mass of a cluster over the standard deviation of the background,
    `[...]`.

  Raises:
    ValueError: As `aperture_mass`.
  """
  return aperture_mass(cluster, scale).max(axis=(-2, -1)) / background
