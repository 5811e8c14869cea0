"""Mock shear maps: the shear of a convergence map plus shape noise, in a mask."""

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap.simulate import survey as survey_lib

# What `numpy.random.default_rng` takes.
Seed = int | list[int] | np.random.SeedSequence


def mock_observation(
  kappa: npt.ArrayLike,
  grid: geometry.PixelGrid,
  *,
  survey: survey_lib.Survey,
  seed: Seed,
) -> shear_map_lib.ShearMap:
  """Observes a convergence map with a survey (Remy et al. 2022, section 6.3, Eq. 26).

  Args:
    kappa: Convergence, `[ny, nx]`.
    grid: Grid of the map.
    survey: Footprint, galaxy density and shape noise.
    seed: Seed of galaxies, holes and noise.

  Returns:
    A `shear_map.ShearMap`. Pixels with N > 0 galaxies have the noise sigma_e / sqrt(N),
    the others are masked.

  Raises:
    ValueError: If `kappa` does not have the shape of the grid or is not finite, or
      there is no galaxy.
  """
  kappa = _checked(kappa, grid)
  rng = np.random.default_rng(seed)
  count = survey.galaxy_counts(grid, rng)
  mask = count > 0
  noise_std = survey.sigma_e / np.sqrt(np.where(mask, count, 1)) * mask
  noise = noise_std * rng.standard_normal([2, *grid.shape])
  shear = lensing.shear_from_convergence(tf.constant(kappa)).numpy()
  return shear_map_lib.ShearMap(
    shear=(shear + noise) * mask,
    noise_std=noise_std,
    mask=mask,
    grid=grid,
    count=count,
    settings=dict(
      num_galaxies=int(count.sum()),
      sigma_e1=float(survey.sigma_e),
      sigma_e2=float(survey.sigma_e),
      noise="unweighted",
    ),
  )


def observe_like(
  kappa: npt.ArrayLike, shear_map: shear_map_lib.ShearMap, *, seed: Seed
) -> shear_map_lib.ShearMap:
  """Observes a convergence map with the noise and the mask of a real survey.

  Args:
    kappa: Convergence, `[ny, nx]`.
    shear_map: Data whose noise, mask and grid the mock gets.
    seed: Seed of the noise.

  Returns:
    A `shear_map.ShearMap`; masked pixels have shear 0.

  Raises:
    ValueError: If `kappa` does not have the shape of the map or is not finite.
  """
  grid = shear_map.grid
  kappa = _checked(kappa, grid)
  shear = lensing.shear_from_convergence(tf.constant(kappa)).numpy()
  noise = np.random.default_rng(seed).standard_normal([2, *grid.shape])
  return shear_map_lib.ShearMap(
    shear=np.where(shear_map.mask, shear + shear_map.noise_std * noise, 0),
    noise_std=shear_map.noise_std,
    mask=shear_map.mask,
    grid=grid,
    count=shear_map.count,
    settings=dict(shear_map.settings, mock_seed=str(seed)),
  )


def _checked(kappa, grid):
  kappa = np.asarray(kappa, np.float64)
  if kappa.shape != grid.shape:
    raise ValueError(
      f"kappa must have the shape {grid.shape} of its grid; got {kappa.shape}."
    )
  if not np.isfinite(kappa).all():
    raise ValueError(
      f"{(~np.isfinite(kappa)).sum()} pixels of kappa are not finite; replace them."
    )
  return kappa
