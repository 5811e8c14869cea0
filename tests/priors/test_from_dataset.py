"""Maps of tfds data sets, by folder and by name."""

import numpy as np
import pytest

from tfp_massmap import geometry
from tfp_massmap import simulate
from tfp_massmap import theory
from tfp_massmap.datasets.halo_kappa import halo_kappa_dataset_builder as halo_kappa
from tfp_massmap.datasets.survey_kappa import survey_kappa_dataset_builder as surveys
from tfp_massmap.priors import from_dataset
from tfp_massmap.simulate import source_planes


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


def test_maps_of_any_sources_are_simulated_and_known_by_them(tmp_path):
  """Those of a narrow n(z), between two source planes of kappaTNG."""
  narrow = theory.SourceRedshifts([0.51, 0.52], [1.0, 3.0], name="narrow")
  config = halo_kappa.HaloKappaConfig(
    name="narrow", num_maps=(1, 1, 0), shape=(16, 16), sources=narrow
  )
  builder = halo_kappa.Builder(data_dir=str(tmp_path), config=config)
  builder.download_and_prepare()
  maps, pixel_scale, metadata = from_dataset.read_maps(builder)
  simulator = simulate.ConvergenceSimulator(
    geometry.PixelGrid((16, 16), pixel_scale), narrow
  )
  np.testing.assert_array_equal(maps["train"][0], simulator.map(0))
  found = from_dataset.sources_of(metadata)
  assert found.name == "narrow" and found.mean == narrow.mean


def test_planes_are_sources_and_nothing_is_none():
  weights = np.eye(40)[20].tolist()
  found = from_dataset.sources_of(dict(plane_weights=weights))
  assert found.mean == pytest.approx(source_planes.source_redshifts()[20])
  assert from_dataset.sources_of({}) is None


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
