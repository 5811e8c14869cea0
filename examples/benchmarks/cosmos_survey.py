"""Noise and mask of the released COSMOS maps, or of a survey like it."""

import dataclasses

from astropy.io import fits
import numpy as np

from tfp_massmap import geometry
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate


def find(data, name):
  """A file of that name in `data` or below."""
  paths = sorted(data.rglob(name))
  if not paths:
    raise FileNotFoundError(f"No {name} in {data} or below.")
  return paths[0]


def released_maps(data, grid):
  """`ShearMap` without signal: what `simulate.observe_like` needs of a survey.

  Args:
    data: None, for a mock survey; or a folder with `std1.fits`, `std2.fits` and
      `cosmos_full_mask_0.29arcmin360.fits` of the released maps, there or below.
    grid: `geometry.PixelGrid`, of 360 x 360 pixels with `data`.
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


def center(survey, size):
  """The `size` pixels a side in the middle of a `ShearMap`."""
  rows, columns = ((side - size) // 2 for side in survey.grid.shape)
  inner = (..., slice(rows, rows + size), slice(columns, columns + size))
  return dataclasses.replace(
    survey,
    shear=survey.shear[inner],
    noise_std=survey.noise_std[inner],
    mask=survey.mask[inner],
    count=None,
    grid=geometry.PixelGrid((size, size), survey.grid.pixel_scale),
  )
