"""Trainings of a prior: resumed, from other weights, on two devices; their cards."""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
from unittest import mock

from astropy import units as u
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import priors
from tfp_massmap import spectra
from tfp_massmap.nn import architectures
from tfp_massmap.nn import network_file
from tfp_massmap.priors import error_scale
from tfp_massmap.priors import trainer as trainer_lib
from tfp_massmap.priors import training

HERE = pathlib.Path(__file__).parent
TINY_PAPER = architectures.Architecture(
  kind="paper", channels=(6, 8, 8), num_blocks=(1, 1, 1), spectral_bound=1.0
)
DATA = dict(
  dataset="halo_kappa/cosmos/1.0.0", seed=0, shape=(24, 24), plane_weights=(0.025,) * 40
)


def _train(toys, trainer):
  return trainer.train(toys.make_maps(), toys.make_maps(seed=5), progress=False)


def _start(toys, sha256="ab" * 32):
  """A prior of new weights."""
  denoiser = mock.Mock(architecture=toys.tiny, network=architectures.build(toys.tiny))
  return priors.HybridPrior(None, denoiser, card=dict(weights_sha256=sha256))


@pytest.fixture(name="whole", scope="module")
def _whole(toys, tmp_path_factory):
  """A training of the paper's network, whose spectral bounds have their own state.

  With a copy of its folder after five of six steps: what a killed process would leave.
  """
  folder, killed = (tmp_path_factory.mktemp(name) for name in ("whole", "killed"))
  trainer = toys.make_trainer(folder, architecture=TINY_PAPER)
  step = trainer.loop._train_step

  def wrapped(batch):
    if int(trainer.loop.step) == 5:
      shutil.copytree(folder, killed, dirs_exist_ok=True)
    return step(batch)

  trainer.loop._train_step = wrapped
  return trainer, _train(toys, trainer), folder, killed


@pytest.fixture(name="short", scope="module")
def _short(toys, tmp_path_factory):
  """The losses of three steps on one device, and the weights before and after them."""
  trainer = toys.make_short_trainer(tmp_path_factory.mktemp("short"))
  before = [np.array(w) for w in trainer.denoiser.network.weights]
  losses = _train(toys, trainer)
  return losses, before, [np.array(w) for w in trainer.denoiser.network.weights]


def test_a_killed_training_resumes_where_its_checkpoint_is(whole, toys):
  expected, losses, *folders = whole
  resumed = toys.make_trainer(folders[1], architecture=TINY_PAPER)
  assert int(resumed.loop.step) == 4  # The last checkpoint.
  assert _train(toys, resumed) == pytest.approx(losses, rel=1e-5)
  for one, other in zip(
    expected.denoiser.network.weights, resumed.denoiser.network.weights
  ):
    np.testing.assert_allclose(one, other, atol=1e-6)
  logs = [(f / "log.csv").read_text().splitlines() for f in folders]
  assert logs[0] == logs[1] and len(logs[0]) == 3
  assert logs[0][0].startswith("step,loss,sigma_0.01")


def test_another_training_of_the_folder_is_refused(whole, toys, fiducial):
  folder = whole[2]
  doubled = spectra.PowerSpectrum(fiducial.ell, 2 * fiducial.c_ell)
  for changes, message in (
    (dict(crop=16), "crop"),
    (dict(grid=geometry.PixelGrid((32, 32), 1 * u.arcmin)), "pixel_scale_arcmin"),
    (dict(spectrum=doubled), "spectrum"),
    (dict(architecture=toys.tiny), "architecture"),
  ):
    with pytest.raises(ValueError, match=f"another {message}"):
      toys.make_trainer(folder, **{"architecture": TINY_PAPER, **changes})


def test_grids_and_batches_that_do_not_fit_are_refused(toys, tmp_path):
  with pytest.raises(ValueError, match="must have 32 x 32 pixels, as the crops"):
    toys.make_trainer(tmp_path, grid=geometry.PixelGrid((16, 16), 1 * u.arcmin))
  with pytest.raises(ValueError, match="presets"):
    toys.make_trainer(tmp_path, architecture="large")


def test_optimizers_move_the_weights(short, toys, tmp_path):
  """Muon, the default, and Adam."""
  _, before, after = short
  assert toys.settings.optimizer == "muon"
  assert any(np.abs(a - b).max() > 1e-5 for a, b in zip(after, before))
  trainer = toys.make_trainer(tmp_path, num_steps=2, optimizer="adam")
  before = [np.array(w) for w in trainer.denoiser.network.weights]
  _train(toys, trainer)
  after = trainer.denoiser.network.weights
  assert any(np.abs(a - b).max() > 1e-5 for a, b in zip(after, before))


def test_training_learns_what_is_not_gaussian(toys, tmp_path):
  """Lognormal maps: below the Wiener filter's error, which is 1 in the loss."""
  changes = dict(
    num_steps=120,
    batch_size=8,
    validate_every=120,
    checkpoint_every=120,
    sigma_low=0.01,
    sigma_high=0.05,
    num_validation=32,
    warmup_steps=10,
    learning_rate=4e-3,
    averaging=0.9,
  )
  trainer = toys.make_trainer(tmp_path, **changes)
  validation_maps = toys.make_maps(num=32, seed=7)
  examples = training.validation_examples(
    validation_maps, trainer._settings, periodic=False
  )
  untrained = trainer.validate({0.02: examples[0.02]})
  losses = trainer.train(toys.make_maps(num=32), validation_maps, progress=False)
  assert losses[0.02] < 0.93 * untrained[0.02]


def test_fine_tuning_starts_from_the_weights_given(toys, tmp_path):
  toys.save_prior(tmp_path / "prior")
  start = priors.HybridPrior.load(tmp_path / "prior", toys.grid)
  origin = trainer_lib.Origin(start=trainer_lib.Start.of_prior(start))
  trainer = toys.make_trainer(tmp_path / "run", origin=origin)
  for one, other in zip(
    trainer.denoiser.network.weights, start.residual.network.weights
  ):
    np.testing.assert_array_equal(one, other)
  with pytest.raises(ValueError, match="another architecture"):
    toys.make_trainer(tmp_path / "other", origin=origin, architecture=TINY_PAPER)


def test_two_devices_train_as_one(short, toys, tmp_path, two_devices):
  """Each takes half of every batch; only the order of sums differs."""
  together = toys.short_training(tmp_path / "two", two_devices)
  assert together == pytest.approx(short[0], rel=1e-3)
  with pytest.raises(ValueError, match="cannot be split over 2"):
    toys.make_trainer(tmp_path / "three", batch_size=3, strategy=two_devices)


def test_two_machines_train_as_one(short, tmp_path):
  """Two processes that meet over the network, as on two machines."""
  ports = []
  for _ in range(2):
    with socket.socket() as free:
      free.bind(("localhost", 0))
      ports.append(free.getsockname()[1])
  workers = [f"localhost:{port}" for port in ports]
  code = (
    "import pathlib, sys, tensorflow as tf;"
    "strategy = tf.distribute.MultiWorkerMirroredStrategy();"
    "import conftest;"
    "losses = conftest.short_training(pathlib.Path(sys.argv[1]), strategy);"
    "print('LOSSES', list(losses.values()))"
  )
  processes = []
  for index in range(2):
    task = dict(cluster=dict(worker=workers), task=dict(type="worker", index=index))
    processes.append(
      subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / str(index))],
        env={**os.environ, "TF_CONFIG": json.dumps(task), "PYTHONPATH": str(HERE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
      )
    )
  outputs = [process.communicate(timeout=240) for process in processes]
  found = [re.search(r"LOSSES (\[.*\])", out) for out, _ in outputs]
  assert all(found), outputs[0][1][-2000:]
  losses = [json.loads(match[1]) for match in found]
  assert losses[0] == pytest.approx(losses[1], rel=1e-5)
  assert losses[0] == pytest.approx(list(short[0].values()), rel=1e-3)


def test_mixed_precision_stays_close(short, toys, tmp_path):
  """bfloat16 has 8 bits: losses of three steps agree to some per cent."""
  trainer = toys.make_short_trainer(tmp_path, mixed_precision=True)
  losses = _train(toys, trainer)
  assert losses == pytest.approx(short[0], rel=0.05) and losses != short[0]
  assert trainer.denoiser.network.layers[-1].compute_dtype == "bfloat16"
  assert all(w.dtype == "float32" for w in trainer.denoiser.network.weights)


def test_validation_examples_have_their_sigma(toys):
  """Other noise levels scale the same noise on the same crops."""
  examples = training.validation_examples(
    toys.make_maps(), toys.settings, periodic=False
  )
  assert list(examples) == list(trainer_lib.VALIDATION_SIGMAS)
  small, large = examples[0.1][0], examples[1.0][0]
  np.testing.assert_array_equal(small["clean"], large["clean"])
  np.testing.assert_allclose(small["sigma"], 0.1 * tf.ones(4))
  noise = [b["noisy"] - b["clean"] for b in (small, large)]
  np.testing.assert_allclose(noise[0], 0.1 * noise[1], atol=1e-6)


def test_cards_name_their_data_start_and_constants(toys, tmp_path, caplog, fiducial):
  """A training on too few validation maps warns of what its prior lacks."""
  name = priors.shipped()[0]
  card, _ = network_file.find(name, "prior", needed=())
  maps = toys.make_maps(num=40, size=32)
  settings = dict(num_steps=1, validate_every=1, batch_size=2, num_validation=2)

  def train(num_validation, **given):
    caplog.clear()
    return training.train(
      maps,
      maps[:num_validation],
      pixel_scale=toys.grid.pixel_scale,
      spectrum=fiducial,
      folder=tmp_path,
      architecture=toys.tiny,
      settings=toys.make_settings(**settings),
      progress=False,
      **given,
    ).card

  assert 10 * 32**2 < error_scale.FEWEST_PIXELS < 40 * 32**2
  written = train(10, data=DATA, start=_start(toys, card["weights_sha256"]))
  found = dict(name=name, weights_sha256=card["weights_sha256"])
  assert written["training"]["start"] == found
  assert "error_scale" not in written and "linear_response" not in written
  assert set(written["constants"]) == set(written["constants_source"])
  assert "have 10240 pixels in crops of 32 x 32, and 20000 are needed" in caplog.text
  written = train(40)
  assert written["training"]["start"] == found
  assert written["training"]["data"]["dataset"] == DATA["dataset"]
  assert "error_scale" in written and "linear_response" in written
  assert "constants_source" in written
  assert "linear_response" not in caplog.text
