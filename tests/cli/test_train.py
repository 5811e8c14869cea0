"""The options and the data set of `train` reach the library."""

import types

from astropy import units as u
import numpy as np
import pytest

from tfp_massmap import cli
from tfp_massmap import spectra
from tfp_massmap import theory
from tfp_massmap.nn import network_file
from tfp_massmap.priors import from_dataset
from tfp_massmap.priors import survey_training
from tfp_massmap.priors import training
from tfp_massmap.priors import training_settings
from tfp_massmap.simulate import random_surveys
from tfp_massmap.simulate import source_planes

MAPS = {"train": np.zeros((2, 32, 32)), "validation": np.ones((1, 32, 32))}
SCALE = 0.5 * u.arcmin


@pytest.fixture(name="metadata")
def _metadata():
  """The metadata of the data set, which a test may change."""
  return dict(plane_weights=source_planes.COSMOS_WEIGHTS, periodic=True)


@pytest.fixture(name="given")
def _given(monkeypatch, metadata):
  """The arguments of `training.train`, which returns at once."""
  given = {}

  def train(maps, validation_maps, **arguments):
    given.update(arguments, maps=maps, validation_maps=validation_maps)
    return types.SimpleNamespace(card=dict(training=dict(validation_loss={"0.1": 0.5})))

  monkeypatch.setattr(from_dataset, "open_dataset", lambda *_: None)
  monkeypatch.setattr(from_dataset, "is_of_surveys", lambda _: False)
  monkeypatch.setattr(from_dataset, "read_maps", lambda _: (MAPS, SCALE, metadata))
  monkeypatch.setattr(training, "train", train)
  return given


def _train(tmp_path, *options):
  return cli.main(["train", "--dataset", "x", "-o", str(tmp_path / "run"), *options])


def test_settings_and_data_reach_the_training(tmp_path, capsys, given, metadata):
  assert _train(tmp_path, "--num-steps", "7", "--crop", "16", "--quiet") == 0
  assert given["settings"] == training_settings.TrainingSettings(num_steps=7, crop=16)
  assert given["maps"] is MAPS["train"]
  assert given["validation_maps"] is MAPS["validation"]
  assert given["pixel_scale"] == SCALE and given["periodic"] is True
  assert given["data"] == metadata and given["folder"] == str(tmp_path / "run")
  assert given["start"] is None and given["progress"] is False
  expected = spectra.PowerSpectrum.theory(
    source_planes.sources(), small_scales="kappatng"
  )
  np.testing.assert_array_equal(given["spectrum"].c_ell, expected.c_ell)
  out = capsys.readouterr().out
  assert "sigma 0.1: mean squared error 0.5000" in out and "prior.json" in out


def test_the_power_is_that_of_the_cosmology_of_the_maps(tmp_path, given, metadata):
  metadata |= dict(omega_matter=0.25, sigma_8=0.9)
  assert _train(tmp_path) == 0
  expected = spectra.PowerSpectrum.theory(
    source_planes.sources(), theory.Cosmology(0.25, 0.9), small_scales="kappatng"
  )
  np.testing.assert_array_equal(given["spectrum"].c_ell, expected.c_ell)


def test_the_power_may_be_given(tmp_path, capsys, given, metadata):
  del metadata["plane_weights"]
  assert _train(tmp_path) == 1
  assert "Give their power with --spectrum TABLE" in capsys.readouterr().err
  table = tmp_path / "power.csv"
  table.write_text("ell,c_ell\n10,1e-8\n100,1e-9\n100000,1e-13\n")
  assert _train(tmp_path, "--spectrum", str(table)) == 0
  assert isinstance(given["spectrum"], spectra.PowerSpectrum)


def test_the_folder_of_a_prior_is_no_start(tmp_path, capsys, given):
  (tmp_path / "prior.json").touch()
  assert _train(tmp_path, "--start", str(tmp_path)) == 1
  assert f"Give --start {tmp_path / 'prior'}" in capsys.readouterr().err
  assert not given


def test_maps_of_many_surveys_train_a_prior_of_any(tmp_path, capsys, monkeypatch):
  """A dataset of the surveys themselves, to the training that takes them."""
  given = {}
  ranges = random_surveys.SurveyRanges(sigma_8=(0.7, 0.9))

  def train(maps, validation, **arguments):
    given.update(arguments, maps=maps, validation=validation)
    return tmp_path / "prior"

  card = dict(training=dict(validation_loss={"0.1": 0.25}))
  for module, name, value in (
    (from_dataset, "open_dataset", lambda *_: None),
    (from_dataset, "is_of_surveys", lambda _: True),
    (
      from_dataset,
      "read_surveys",
      lambda _: (MAPS, ranges, dict(seed=3, periodic=True)),
    ),
    (survey_training, "train", train),
    (network_file, "find", lambda *_, **__: (card, None)),
  ):
    monkeypatch.setattr(module, name, value)
  assert _train(tmp_path, "--num-steps", "7", "--start", "cosmos-halo") == 0
  assert given["settings"] == training_settings.TrainingSettings(num_steps=7)
  assert given["maps"] is MAPS["train"] and given["validation"] is MAPS["validation"]
  assert given["ranges"] == ranges and given["data"]["seed"] == 3
  assert given["start"] == "cosmos-halo" and given["periodic"] is True
  assert "sigma 0.1: mean squared error 0.2500" in capsys.readouterr().out
  assert _train(tmp_path, "--spectrum", "a.csv") == 1
  assert "--spectrum is for maps of one survey" in capsys.readouterr().err
  assert _train(tmp_path, "--preset", "paper") == 1
  assert "--preset paper cannot be told" in capsys.readouterr().err
