"""Maps with bumps and shear maps without, for the tests of detection."""

import types

from astropy import units as u
import numpy as np
import pytest

from tfp_massmap import geometry
from tfp_massmap import shear_map as shear_map_lib

GRID = geometry.PixelGrid.tangent((150.1, 2.2), (96, 80), pixel_scale=0.29 * u.arcmin)


def _empty(grid, noise_std=0.1, seed=None):
  """Returns a shear map of noise, or of zeros without a seed."""
  noise = np.zeros([2, *grid.shape])
  if seed is not None:
    noise = noise_std * np.random.default_rng(seed).standard_normal(noise.shape)
  mask = np.ones(grid.shape, bool)
  return shear_map_lib.ShearMap(
    noise, np.full(grid.shape, noise_std), mask=mask, grid=grid
  )


def _bump(center, height=1.0, width=3.0, shape=GRID.shape):
  """Returns a Gaussian bump, `[ny, nx]`."""
  rows, columns = np.ogrid[: shape[0], : shape[1]]
  square = (rows - center[0]) ** 2 + (columns - center[1]) ** 2
  return height * np.exp(-0.5 * square / width**2)


@pytest.fixture(scope="session")
def field():
  """A grid with a WCS, and functions that make maps on it."""
  return types.SimpleNamespace(grid=GRID, empty=_empty, bump=_bump)
