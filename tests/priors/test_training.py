"""Trainings that were interrupted or failed, and what their folders and cards know."""

import dataclasses
import json
import logging
from unittest import mock

from astropy import units as u
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import priors
from tfp_massmap import spectra
from tfp_massmap.nn import network_file
from tfp_massmap.nn import unet
from tfp_massmap.priors import error_scale
from tfp_massmap.priors import training
from tfp_massmap.priors import training_settings

TINY = unet.Architecture(channels=(4, 4), num_blocks=(1, 1))
GRID = geometry.PixelGrid((16, 16), 1.16 * u.arcmin)
SETTINGS = training_settings.TrainingSettings(
  num_steps=6,
  batch_size=2,
  crop=16,
  warmup_steps=2,
  validate_every=3,
  num_validation=2,
  checkpoint_every=4,
)  # pyformat: disable
HALO = dict(
  dataset="halo_kappa/cosmos/1.0.0", seed=0, shape=(24, 24), plane_weights=(0.025,) * 40
)
START = dict(name="old/prior", weights_sha256="ab" * 32)


def _maps(num, seed):
  field = np.random.default_rng(seed).standard_normal([num, 24, 24])
  return np.exp(3 * field).astype(np.float32) / 1000


def _trainer(folder, start=None, **changes):
  names = [f.name for f in dataclasses.fields(training_settings.TrainingSettings)]
  settings = {n: changes.pop(n) for n in list(changes) if n in names}
  settings = dataclasses.replace(SETTINGS, **settings)
  grid = geometry.PixelGrid((settings.crop, settings.crop), GRID.pixel_scale)
  spectrum = spectra.PowerSpectrum.fiducial_cosmos()
  return training.Trainer(
    spectrum,
    grid,
    architecture=TINY,
    settings=settings,
    folder=folder,
    start=start,
    **changes,
  )


def _train(trainer):
  return trainer.train(_maps(3, 0), _maps(2, 1), progress=False)


def _wrap(trainer, name, act):
  """Calls `act` after each call of a method of the trainer."""
  method = getattr(trainer, name)

  def wrapped(*args):
    result = method(*args)
    act()
    return result

  setattr(trainer, name, wrapped)


def _logged(folder):
  lines = (folder / "log.csv").read_text().splitlines()
  return [line.split(",")[0] for line in lines]


@pytest.fixture(name="whole", scope="module")
def _whole(tmp_path_factory):
  trainer = _trainer(tmp_path_factory.mktemp("whole"))
  return trainer, _train(trainer)


@pytest.mark.parametrize(
  "method, step",
  [("_train_step", 5), ("_exchange_weights", 3), ("_validation_step", 6)],
)
def test_an_interrupted_training_goes_on_after_its_last_step(
  method, step, whole, tmp_path
):
  """Also when the averaged weights are in the network, not to be saved as its own."""
  trainer = _trainer(tmp_path)

  def interrupt():
    if int(trainer.step) == step:
      setattr(trainer, method, plain)
      raise KeyboardInterrupt

  plain = getattr(trainer, method)
  _wrap(trainer, method, interrupt)
  with pytest.raises(KeyboardInterrupt):
    _train(trainer)
  resumed = _trainer(tmp_path)
  assert int(resumed.step) == step
  expected, losses = whole
  assert _train(resumed) == pytest.approx(losses, rel=1e-5)
  for one, other in zip(
    expected.denoiser.network.weights, resumed.denoiser.network.weights
  ):
    np.testing.assert_allclose(one, other, atol=1e-6)
  assert _logged(tmp_path) == ["step", "3", "6"]


def test_interruptions_that_save_nothing(tmp_path, caplog):
  """Lost weights; and machines, each of which would go on from a step of its own."""
  trainer = _trainer(tmp_path)
  weight = trainer.denoiser.network.weights[0]
  several = mock.Mock(spec=tf.distribute.MultiWorkerMirroredStrategy)

  def interrupt():
    if int(trainer.step) == 1:
      trainer._strategy = several  # pylint: disable=protected-access
      raise KeyboardInterrupt
    if int(trainer.step) == 2:
      weight.assign(np.nan * weight)
      raise KeyboardInterrupt

  _wrap(trainer, "_train_step", interrupt)
  one = trainer._strategy  # pylint: disable=protected-access
  with pytest.raises(KeyboardInterrupt):
    _train(trainer)
  assert not list(tmp_path.glob("checkpoints/*"))
  trainer._strategy = one  # pylint: disable=protected-access
  with caplog.at_level(logging.WARNING), pytest.raises(KeyboardInterrupt):
    _train(trainer)
  assert (
    "not saved: The training diverged: weights are not finite at step 2" in caplog.text
  )
  assert not list(tmp_path.glob("checkpoints/*"))


def test_a_training_without_a_step_does_not_keep_its_folder(tmp_path):
  trainer = _trainer(tmp_path, crop=32, data=HALO)
  with pytest.raises(ValueError, match="do not fit"):
    _train(trainer)
  trainer = _trainer(tmp_path, batch_size=1, data=dict(HALO, seed=1))
  settings = json.loads((tmp_path / "settings.json").read_text())
  assert (settings["crop"], settings["batch_size"], settings["data"]["seed"]) == (
    16,
    1,
    1,
  )
  _save(trainer)
  with pytest.raises(ValueError, match="another batch_size and crop"):
    _trainer(tmp_path, crop=32)


def _save(trainer):
  trainer._manager.save(checkpoint_number=1)  # pylint: disable=protected-access


def _start(sha256=START["weights_sha256"]):
  """A prior of new weights."""
  denoiser = mock.Mock(architecture=TINY, network=unet.build(TINY))
  return priors.HybridPrior(None, denoiser, card=dict(weights_sha256=sha256))


def test_folders_know_their_data_and_start(tmp_path):
  start = dict(start=_start(), start_name="old/prior")
  _save(_trainer(tmp_path, data=HALO, **start))
  same = dict(HALO, new_name_of_a_later_version=1)
  for given in (dict(data=same, **start), dict(data=HALO), {}):
    found = _trainer(tmp_path, **given).origin
    assert found["start"] == START and found["data"]["dataset"] == HALO["dataset"]
  for given, message in (
    (dict(data=dict(HALO, seed=3)), "another data set: seed is 0 there and 3 here"),
    (dict(data=dict(HALO, plane_weights=(0.05,) * 20)), "set: plane_weights differs"),
    (
      dict(start=_start("cd" * 32), start_name="new/prior"),
      r"from old/prior \(the weights abab.* not from new/prior \(the weights cdcd"
      ".*without naming a start",
    ),
  ):
    with pytest.raises(ValueError, match=message):
      _trainer(tmp_path, **given)


def test_a_start_for_a_training_that_had_none(tmp_path):
  _save(_trainer(tmp_path))
  with pytest.raises(
    ValueError, match="from no other network, not from the weights abab"
  ):
    _trainer(tmp_path, start=_start())


def test_folders_of_older_versions_go_on(tmp_path):
  """They say neither what their data are nor where they started."""
  _save(_trainer(tmp_path, data=HALO))
  path = tmp_path / "settings.json"
  settings = json.loads(path.read_text())
  del settings["data"], settings["start"]
  path.write_text(json.dumps(settings))
  trainer = _trainer(tmp_path, data=dict(HALO, seed=3), start=_start())
  assert not trainer.origin
  assert json.loads(path.read_text()) == settings


def test_cards_say_which_shipped_prior_was_the_start(tmp_path, caplog):
  """And a training on too few maps says what its prior lacks."""
  name = priors.shipped()[0]
  card, _ = network_file.find(name, "prior", needed=())
  start = _start(card["weights_sha256"])
  maps = _maps(80, 1)
  spectrum = spectra.PowerSpectrum.fiducial_cosmos()

  def train(num_validation, **given):
    caplog.clear()
    settings = dataclasses.replace(SETTINGS, num_steps=1)
    return training.train(
      maps,
      maps[:num_validation],
      pixel_scale=GRID.pixel_scale,
      spectrum=spectrum,
      folder=tmp_path,
      architecture=TINY,
      settings=settings,
      progress=False,
      **given,
    ).card  # pyformat: disable

  # 40 maps have pixels enough, their crops have not.
  assert maps[:40].size > error_scale.FEWEST_PIXELS > 40 * 16**2
  written = train(40, data=HALO, start=start)
  found = dict(name=name, weights_sha256=card["weights_sha256"])
  assert written["training"]["start"] == found
  assert "error_scale" not in written and "linear_response" not in written
  assert "have 10240 pixels in crops of 16 x 16, and 20000 are needed" in caplog.text
  written = train(80)
  assert written["training"]["start"] == found
  assert written["training"]["data"]["dataset"] == HALO["dataset"]
  assert "error_scale" in written and "linear_response" in written
  assert not caplog.text
