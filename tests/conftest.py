"""Shared fixtures. Tests that need the real data skip when it is absent."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from astropy import units as u
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import devices
from tfp_massmap import geometry
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import spectra

# Two logical devices, for the tests of sharded states.
tf.config.set_logical_device_configuration(
  tf.config.list_physical_devices("CPU")[0],
  [tf.config.LogicalDeviceConfiguration()] * 2,
)


def pytest_collection_modifyitems(items):
  """Marks the tests that need real data, so that `-m "not data"` leaves them out."""
  for item in items:
    if {"cosmos_data", "kappatng_data"} & set(item.fixturenames):
      item.add_marker(pytest.mark.data)


@pytest.fixture(scope="session")
def two_devices():
  """One strategy for a process: TensorFlow confuses the sums of a second with its own."""
  cpus = tf.config.list_logical_devices("CPU")
  if len(cpus) < 2:
    pytest.skip("needs two logical CPU devices; conftest.py could not make them")
  return tf.distribute.MirroredStrategy([d.name for d in cpus[:2]])


def _real_data(subfolder):
  folder = os.environ.get("TFP_MASSMAP_DATA")
  if folder is None:
    pytest.skip("needs the real data: TFP_MASSMAP_DATA is not set")
  path = pathlib.Path(folder) / subfolder
  if not path.is_dir():
    pytest.skip(f"needs the real data: TFP_MASSMAP_DATA has no folder {subfolder}/")
  return path


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
def without_xla(monkeypatch):
  """Leaves out XLA where no option asks for it: it compiles for longer than a test runs.

  This is for tests of names, files and messages; others compile the same samplers.
  """
  monkeypatch.setattr(devices, "resolve_jit_compile", lambda *_, **__: False)


@pytest.fixture
def make_shear_map():
  """Returns a function of shape and seed: a masked map of uneven noise."""

  def make(shape, seed=0, pixel_scale=1.0, masked=0.3):
    rng = np.random.default_rng(seed)
    grid = geometry.PixelGrid(shape, pixel_scale * u.arcmin)
    noise_std = rng.uniform(0.05, 0.2, [2, *shape])
    mask = rng.uniform(size=shape) > masked
    shear = noise_std * rng.standard_normal(noise_std.shape)
    return shear_map_lib.ShearMap(shear, noise_std, mask=mask, grid=grid)

  return make
