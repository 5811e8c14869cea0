"""Shared fixtures: a shape catalogue in a file, and the settings in headers."""

from astropy import units as u
from astropy.io import fits
from astropy.table import Table
import numpy as np
import pytest

from tfp_massmap import geometry
from tfp_massmap import io
from tfp_massmap import lensing
from tfp_massmap import spectra


@pytest.fixture(scope="session")
def catalogue_columns():
  """Columns of a field at declination 60: shapes lensed by a Gaussian field."""
  grid = geometry.PixelGrid.tangent((30.0, 60.0), (48, 48), pixel_scale=1.5 * u.arcmin)
  variance = spectra.PowerSpectrum.fiducial_cosmos().mode_variance(grid)
  kappa = spectra.gaussian_field(variance, grid.shape, seed=(1, 2))
  shear = lensing.shear_from_convergence(kappa).numpy()
  rng = np.random.default_rng(0)
  row, column = rng.uniform(6, 41, (2, 60000))
  ra, dec = grid.pixel_to_world(row, column)
  pixel = np.rint(row).astype(int), np.rint(column).astype(int)
  e1, e2 = shear[:, pixel[0], pixel[1]] + 0.1 * rng.standard_normal((2, 60000))
  return dict(RA=ra, DEC=dec, e1=e1, e2=e2, w=rng.uniform(0.5, 1, 60000))


@pytest.fixture
def catalogue(tmp_path, catalogue_columns):
  """The name of a FITS file with the columns."""
  path = tmp_path / "shapes.fits"
  Table(catalogue_columns).write(path)
  return path


@pytest.fixture
def header_settings():
  """A function that reads the settings from the header of a FITS file."""
  return lambda path: io.read_settings(fits.getheader(path))
