"""Shared fixtures. Tests that need the real data skip when it is absent."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# pylint: disable=g-import-not-at-top
from astropy import units as u
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import spectra

# Two logical devices, for the tests of sharded states.
tf.config.set_logical_device_configuration(
  tf.config.list_physical_devices("CPU")[0],
  [tf.config.LogicalDeviceConfiguration()] * 2,
)


@pytest.fixture(scope="session")
def two_devices():
  """One strategy a process: TensorFlow takes a second one's sums for the first one's."""
  cpus = tf.config.list_logical_devices("CPU")
  if len(cpus) < 2:
    pytest.skip("needs two logical CPU devices; conftest.py could not make them")
  return tf.distribute.MirroredStrategy([d.name for d in cpus[:2]])


ROOT = pathlib.Path(__file__).resolve().parents[1]


def _real_data(subfolder):
  default = ROOT.parent / "shared" / "data"
  folder = pathlib.Path(os.environ.get("TFP_MASSMAP_DATA", default)) / subfolder
  if not folder.is_dir():
    pytest.skip(f"needs the real data: no folder {subfolder}/ under TFP_MASSMAP_DATA")
  return folder


@pytest.fixture(scope="session")
def cosmos_data():
  return _real_data("cosmos")


@pytest.fixture(scope="session")
def kappatng_data():
  return _real_data("kappatng")


@pytest.fixture(scope="session")
def fiducial():
  return spectra.PowerSpectrum.fiducial_cosmos()


@pytest.fixture
def make_shear_map():
  """Function of (shape, seed): a masked map of noise with a gradient of density."""

  def make(shape, seed=0, pixel_scale=1.0, masked=0.3):
    rng = np.random.default_rng(seed)
    grid = geometry.PixelGrid(shape, pixel_scale * u.arcmin)
    noise_std = rng.uniform(0.05, 0.2, [2, *shape])
    mask = rng.uniform(size=shape) > masked
    shear = noise_std * rng.standard_normal(noise_std.shape)
    return shear_map_lib.ShearMap(shear, noise_std, mask=mask, grid=grid)

  return make
