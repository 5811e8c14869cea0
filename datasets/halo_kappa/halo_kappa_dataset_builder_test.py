"""The builder makes the maps of the simulator, here small ones."""

import pathlib
import typing

from astropy import units as u
import numpy as np
import pytest
import tensorflow_datasets as tfds

from tfp_massmap import geometry
from tfp_massmap import simulate
from tfp_massmap import theory
from tfp_massmap.datasets.halo_kappa import halo_kappa_dataset_builder as lib


def _config(**settings):
  defaults = dict(num_maps=(3, 1, 2), shape=(32, 24), pixel_scale_arcmin=2.0)
  return lib.HaloKappaConfig(name="small", **{**defaults, **settings})


class HaloKappaTest(tfds.testing.DatasetBuilderTestCase):
  DATASET_CLASS = lib.Builder
  EXAMPLE_DIR = pathlib.Path(lib.__file__).parent  # Nothing is read.
  BUILDER_CONFIG_NAMES_TO_TEST: typing.ClassVar = [_config()]
  SPLITS: typing.ClassVar = {"train": 3, "validation": 1, "test": 2}


def _prepare(data_dir, config):
  builder = lib.Builder(data_dir=str(data_dir), config=config)
  builder.download_and_prepare()
  return builder


def test_maps_are_the_simulators(tmp_path):
  builder = _prepare(tmp_path, _config(seed=3, sigma_8=0.7))
  examples = {
    int(e["index"]): e["kappa"]
    for split in ("train", "validation", "test")
    for e in tfds.as_numpy(builder.as_dataset(split=split))
  }
  simulator = simulate.ConvergenceSimulator(
    geometry.PixelGrid((32, 24), 2 * u.arcmin),
    cosmology=theory.Cosmology(sigma_8=0.7),
    seed=3,
  )
  assert len(examples) == 6
  for index, kappa in examples.items():
    np.testing.assert_array_equal(kappa, simulator.map(index))
  metadata = tfds.builder_from_directory(builder.data_dir).info.metadata
  assert metadata["sigma_8"] == 0.7
  assert metadata["seed"] == 3 and metadata["pixel_scale_arcmin"] == 2


def test_other_settings_under_the_same_name_are_refused(tmp_path):
  _prepare(tmp_path, _config(num_maps=(1, 0, 0)))
  with pytest.raises(ValueError, match="another num_maps and seed"):
    _prepare(tmp_path, _config(num_maps=(2, 0, 0), seed=1))


@pytest.mark.parametrize(
  "settings, message",
  [
    (dict(num_maps=(1, 2)), "num_maps"),
    (dict(num_maps=(1, -2, 1)), "num_maps"),
    (dict(sources=lambda z: -z), "must be finite and not negative"),
    (dict(sigma_8=2.0), "sigma_8 from 0.5 to 1.1; got 2"),
  ],
)
def test_impossible_configurations(settings, message):
  with pytest.raises(ValueError, match=message):
    _config(**settings)


if __name__ == "__main__":
  tfds.testing.test_main()
