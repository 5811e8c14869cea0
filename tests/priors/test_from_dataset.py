"""Maps of tfds data sets, by folder and by name."""

import numpy as np
import pytest

from tfp_massmap.datasets.halo_kappa import halo_kappa_dataset_builder as halo_kappa
from tfp_massmap.datasets.survey_kappa import survey_kappa_dataset_builder as surveys
from tfp_massmap.priors import from_dataset


def test_prepared_data_sets_are_read(tmp_path):
  config = halo_kappa.HaloKappaConfig(name="few", num_maps=(1, 2, 0), shape=(16, 16))
  builder = halo_kappa.Builder(data_dir=str(tmp_path), config=config)
  builder.download_and_prepare()
  found = from_dataset.open_dataset(builder.data_dir)
  maps, pixel_scale, metadata = from_dataset.read_maps(found)
  assert maps["train"].shape == (1, 16, 16) and maps["validation"].shape == (2, 16, 16)
  assert np.isfinite(maps["train"]).all()
  assert pixel_scale.to_value("arcmin") == metadata["pixel_scale_arcmin"]
  assert metadata["splits"] == dict(train=1, validation=2)
  assert metadata["dataset"] == "halo_kappa/few/1.0.0"


def test_names_of_no_data_set_are_refused(tmp_path):
  message = r"no dataset_info\.json in it.*halo_kappa"
  with pytest.raises(ValueError, match=message):
    from_dataset.open_dataset(tmp_path)


def test_maps_of_many_surveys_come_with_them(tmp_path):
  config = surveys.SurveyKappaConfig(
    name="few", num_maps=(2, 1, 0), pixel_scale_arcmin=(0.3, 0.5), mode="fast"
  )
  builder = surveys.Builder(data_dir=str(tmp_path), config=config)
  builder.download_and_prepare()
  assert from_dataset.is_of_surveys(builder)
  maps, ranges, metadata = from_dataset.read_surveys(builder)
  assert ranges == config.simulator().ranges
  assert metadata["splits"] == dict(train=2, validation=1)
  assert metadata["dataset"] == "survey_kappa/few/1.0.0"
  (kappa,), (survey,) = maps["validation"].maps, maps["validation"].surveys
  expected = config.simulator().survey(10**9)
  np.testing.assert_array_equal(kappa, config.simulator().map(10**9))
  np.testing.assert_array_equal(survey.source_weights, expected.source_weights)
  # tfds keeps scalars in single precision.
  assert survey.cosmology.sigma_8 == pytest.approx(expected.cosmology.sigma_8, 1e-6)
  assert survey.pixel_scale_arcmin == pytest.approx(expected.pixel_scale_arcmin, 1e-6)


def test_other_data_sets_are_of_one_survey(tmp_path):
  builder = halo_kappa.Builder(data_dir=str(tmp_path))
  assert not from_dataset.is_of_surveys(builder)
