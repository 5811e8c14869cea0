"""Mock shear maps: shear of a convergence map, plus shape noise, in a mask."""

import numpy as np
import tensorflow as tf

from tfp_massmap import lensing
from tfp_massmap import shear_map as shear_map_lib


def mock_observation(kappa, grid, *, survey, seed):
  """Observes a convergence map with a survey (paper section 6.3, Eq. 26).

  Args:
    kappa: convergence `[ny, nx]`.
    grid: `geometry.PixelGrid` of the map.
    survey: `Survey`.
    seed: integer, or `numpy.random.SeedSequence`.

  Returns:
    A `shear_map.ShearMap`: noise sigma_e / sqrt(N) in pixels with N > 0 galaxies, the
    others masked.

  Raises:
    ValueError: if `kappa` is not of the shape of the grid or not finite, or the
      survey sees no galaxy.
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


def observe_like(kappa, shear_map, *, seed):
  """Observes a convergence map with the noise and the mask of a real survey.

  Args:
    kappa: convergence `[ny, nx]`.
    shear_map: `shear_map.ShearMap` whose noise, mask and grid the mock gets.
    seed: integer, or `numpy.random.SeedSequence`.

  Returns:
    A `shear_map.ShearMap`; masked pixels have shear 0.

  Raises:
    ValueError: if `kappa` is not of the shape of the map or not finite.
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
    raise ValueError(f"{(~np.isfinite(kappa)).sum()} pixels of kappa are not finite.")
  return kappa
