"""The folder of a training: which trainings it resumes, and its log."""

import json

from astropy import units as u
import pytest
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import spectra
from tfp_massmap.nn import training_folder

DATA = dict(dataset="halo_kappa/cosmos/1.0.0", seed=0, plane_weights=(0.025,) * 40)
START = dict(name="old/prior", weights_sha256="ab" * 32)
OTHER_START = dict(name="new/prior", weights_sha256="cd" * 32)


def _open(path, *, settings=None, rate=0.1, **origin):
  return training_folder.TrainingFolder(
    path, settings or dict(crop=16, sides=(1, 2)), changeable=dict(rate=rate), **origin
  )


def _save_checkpoint(path):
  checkpoint = tf.train.Checkpoint(step=tf.Variable(1))
  tf.train.CheckpointManager(checkpoint, str(path / "checkpoints"), 1).save()


def test_without_a_checkpoint_the_settings_are_replaced(tmp_path):
  _open(tmp_path, data=DATA)
  _open(tmp_path, settings=dict(crop=32), data=dict(DATA, seed=1))
  settings = json.loads((tmp_path / "settings.json").read_text())
  assert settings["crop"] == 32 and settings["data"]["seed"] == 1


def test_settings_must_agree_but_for_those_that_may_change(tmp_path):
  _open(tmp_path)
  _save_checkpoint(tmp_path)
  _open(tmp_path, rate=0.2)
  with pytest.raises(ValueError, match=r"another batch and crop.*another folder"):
    _open(tmp_path, settings=dict(crop=32, sides=(1, 2), batch=3))


def test_data_and_start_of_a_folder_are_kept(tmp_path):
  """They need not be given again; entries that only one description has are ignored."""
  _open(tmp_path, data=DATA, start=START)
  _save_checkpoint(tmp_path)
  same = dict(DATA, entry_of_a_later_version=1)
  for given in (dict(data=same, start=START), dict(data=DATA), {}):
    origin = _open(tmp_path, **given).origin
    assert origin["start"] == START and origin["data"]["dataset"] == DATA["dataset"]


@pytest.mark.parametrize(
  "given, message",
  [
    (dict(data=dict(DATA, seed=3)), "another data set: seed is 0 there and 3 here"),
    (dict(data=dict(DATA, plane_weights=(0.05,) * 20)), "set: plane_weights differs"),
    (
      dict(start=OTHER_START),
      r"from old/prior \(the weights abab.* not from new/prior \(the weights cdcd"
      ".*leave the start out",
    ),
  ],
)
def test_other_data_and_starts_are_refused(tmp_path, given, message):
  _open(tmp_path, data=DATA, start=START)
  _save_checkpoint(tmp_path)
  with pytest.raises(ValueError, match=message):
    _open(tmp_path, **given)


def test_a_start_for_a_training_that_had_none_is_refused(tmp_path):
  _open(tmp_path)
  _save_checkpoint(tmp_path)
  nameless = dict(START, name=None)
  with pytest.raises(
    ValueError, match="from no other network, not from the weights abab"
  ):
    _open(tmp_path, start=nameless)


def test_checkpoints_without_settings_are_refused(tmp_path):
  _save_checkpoint(tmp_path)
  with pytest.raises(ValueError, match=r"no settings\.json"):
    _open(tmp_path)


def test_lines_of_steps_that_are_repeated_are_cut(tmp_path):
  folder = _open(tmp_path)
  assert folder.cut_log(5) == 0
  for step in (2, 4, 6):
    folder.log(step, dict(loss=0.5, sigma_1=step), learning_rate=0.1)
  assert folder.cut_log(5) == 4
  lines = (tmp_path / "log.csv").read_text().splitlines()
  assert lines == ["step,loss,sigma_1", "2,0.500000,2.000000", "4,0.500000,4.000000"]
  assert folder.cut_log(1) == 0


def test_power_and_pixels_are_described(fiducial):
  grid = geometry.PixelGrid((16, 16), 1.16 * u.arcmin)
  described = training_folder.describe_field(fiducial, grid)
  assert described["pixel_scale_arcmin"] == 1.16
  doubled = spectra.PowerSpectrum(fiducial.ell, 2 * fiducial.c_ell)
  other = training_folder.describe_field(doubled, grid)
  assert other["spectrum"] != described["spectrum"]
