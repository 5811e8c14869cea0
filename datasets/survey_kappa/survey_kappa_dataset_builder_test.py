"""The builder makes the maps of random surveys, here of coarse pixels."""

import pathlib
import typing

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tfp_massmap.datasets.survey_kappa import survey_kappa_dataset_builder as lib
from tfp_massmap.simulate import random_surveys


def _config(**settings):
  defaults = dict(
    num_maps=(2, 1, 1), pixel_scale_arcmin=(0.3, 0.5), mode="fast", cosmos_share=0.0
  )
  return lib.SurveyKappaConfig(name="small", **{**defaults, **settings})


class SurveyKappaTest(tfds.testing.DatasetBuilderTestCase):
  DATASET_CLASS = lib.Builder
  EXAMPLE_DIR = pathlib.Path(lib.__file__).parent  # Nothing is read.
  BUILDER_CONFIG_NAMES_TO_TEST: typing.ClassVar = [_config()]
  SPLITS: typing.ClassVar = {"train": 2, "validation": 1, "test": 1}


def test_examples_have_their_survey(tmp_path):
  config = _config(num_maps=(2, 0, 0), seed=3)
  builder = lib.Builder(data_dir=str(tmp_path), config=config)
  builder.download_and_prepare()
  simulator = config.simulator()
  examples = list(tfds.as_numpy(builder.as_dataset(split="train")))
  assert sorted(int(e["index"]) for e in examples) == [0, 1]
  for example in examples:
    survey = simulator.survey(int(example["index"]))
    # tfds keeps scalars in single precision.
    for name, value in dict(
      pixel_scale_arcmin=survey.pixel_scale_arcmin,
      omega_matter=survey.cosmology.omega_matter,
      sigma_8=survey.cosmology.sigma_8,
    ).items():
      assert example[name] == pytest.approx(value, rel=1e-6)
    np.testing.assert_array_equal(example["source_weights"], survey.source_weights)
    assert example["kappa"].shape == survey.grid.shape
  np.testing.assert_array_equal(
    examples[0]["kappa"], simulator.map(int(examples[0]["index"]))
  )
  metadata = tfds.builder_from_directory(builder.data_dir).info.metadata
  assert metadata["source_redshifts"] == random_surveys.NODES.tolist()
  assert metadata["periodic"] and metadata["seed"] == 3


@pytest.mark.parametrize(
  "settings, message",
  [
    (dict(num_maps=(1, 2)), "num_maps"),
    (dict(num_maps=(1, -2, 1)), "num_maps"),
    (dict(sigma_8=(0.4, 0.8)), "sigma_8 from 0.5"),
    (dict(seed=-1), "seed must not be negative"),
  ],
)
def test_impossible_configurations(settings, message):
  with pytest.raises(ValueError, match=message):
    _config(**settings)


if __name__ == "__main__":
  tfds.testing.test_main()
