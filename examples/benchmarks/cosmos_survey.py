"""Noise and mask of the released COSMOS maps, or of a survey like it."""

import pathlib

from astropy.io import fits
import numpy as np

from tfp_massmap import geometry
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate


def find(data: pathlib.Path, name: str) -> pathlib.Path:
  """Returns the first file of a name in a folder or below.

  Raises:
    FileNotFoundError: If there is no such file.
  """
  paths = sorted(data.rglob(name))
  if not paths:
    raise FileNotFoundError(f"There is no {name} in {data} or below.")
  return paths[0]


def released_maps(
  data: pathlib.Path | None, grid: geometry.PixelGrid
) -> shear_map_lib.ShearMap:
  """Returns a survey without signal, for `simulate.observe_like`.

  Args:
    data: Folder that holds `std1.fits`, `std2.fits` and
      `cosmos_full_mask_0.29arcmin360.fits` of the released maps, there or below; None
      for a mock survey.
    grid: `geometry.PixelGrid`, of 360 x 360 pixels with `data`.

  Raises:
    FileNotFoundError: If one of the files is missing.
  """
  if data is None:
    return simulate.mock_observation(
      np.zeros(grid.shape), grid, survey=simulate.cosmos_like_survey(), seed=1
    )
  mask = fits.getdata(find(data, "cosmos_full_mask_0.29arcmin360.fits")) > 0
  noise_std = np.stack(
    [fits.getdata(find(data, f"std{i}.fits")).astype(np.float64) for i in (1, 2)]
  )
  return shear_map_lib.ShearMap(
    np.zeros_like(noise_std), noise_std, mask=mask, grid=grid
  )


def center(survey: shear_map_lib.ShearMap, size: int) -> shear_map_lib.ShearMap:
  """Returns the `size` x `size` pixels in the middle of a survey."""
  rows, columns = ((side - size) // 2 for side in survey.grid.shape)
  return survey.crop((rows, columns), shape=(size, size))
