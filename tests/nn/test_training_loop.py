"""The training loop on a linear network: steps, averages, interruptions, divergence."""

import dataclasses
import logging
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap.nn import training_folder
from tfp_massmap.nn import training_loop

SETTINGS = training_loop.LoopSettings(
  6,
  lambda step: 0.1 / (1 + step),
  averaging=0.5,
  clip_norm=1e3,
  checkpoint_every=4,
  log_every=3,
)


class _Killed(BaseException):
  """Stands for the end of a process, which leaves no time to save anything."""


def _make(folder, **changes):
  keras.utils.set_random_seed(1)
  network = keras.Sequential([keras.Input([3]), keras.layers.Dense(1)])

  def loss(batch, *, step, replica):
    del replica
    error = network(batch["x"]) - batch["y"]
    figures = dict(largest=tf.reduce_max(tf.abs(error)), step=tf.identity(step))
    return tf.reduce_mean(tf.square(error)), figures

  return training_loop.TrainingLoop(
    network,
    keras.optimizers.SGD(0.1),
    loss=loss,
    folder=training_folder.TrainingFolder(folder, {}, changeable={}),
    settings=dataclasses.replace(SETTINGS, **changes),
  )


def _batches(first):
  for step in range(first, 100):
    x = np.random.default_rng(step).standard_normal([8, 3]).astype(np.float32)
    yield dict(x=tf.constant(x), y=tf.constant(x.sum(axis=1, keepdims=True)))


def _run(loop, **options):
  validate = lambda: dict(bias=float(loop.network.weights[1][0]))
  return loop.run(_batches, progress=False, **{"validate": validate, **options})


def _weights(loop):
  return [np.array(w) for w in loop.network.weights]


def _after(loop, name, act):
  """Calls `act` after each call of a method of the loop."""
  method = getattr(loop, name)

  def wrapped(*args):
    result = method(*args)
    act()
    return result

  setattr(loop, name, wrapped)


def _logged(folder):
  lines = (folder / "log.csv").read_text().splitlines()
  return [line.split(",")[0] for line in lines]


@pytest.fixture(name="whole", scope="module")
def _whole(tmp_path_factory):
  """A training that was never interrupted: loop, validation, folder."""
  folder = tmp_path_factory.mktemp("whole")
  loop = _make(folder)
  return loop, _run(loop), folder


def test_weights_follow_the_gradients_and_their_average_follows_them(whole, tmp_path):
  """Plain descent of a linear model, and the moving average, in NumPy."""
  weights = [w.astype(np.float64) for w in _weights(_make(tmp_path))]
  average = [w.copy() for w in weights]
  losses = []
  for step, batch in zip(range(6), _batches(0)):
    x, y = batch["x"].numpy(), batch["y"].numpy()
    error = x @ weights[0] + weights[1] - y
    losses.append(np.mean(error**2))
    gradients = [2 * x.T @ error / len(x), 2 * error.mean(axis=0)]
    weights = [w - 0.1 / (1 + step) * g for w, g in zip(weights, gradients)]
    decay = min(0.5, (2 + step) / (11 + step))
    average = [decay * a + (1 - decay) * w for a, w in zip(average, weights)]
  loop, validation, _ = whole
  np.testing.assert_allclose(loop.history, losses, rtol=1e-4)
  for found, expected in zip(_weights(loop), weights):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
  with loop.averaged_weights():
    for found, expected in zip(_weights(loop), average):
      np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
  assert validation["bias"] == pytest.approx(average[1][0], rel=1e-4)


def test_the_log_has_mean_figures_and_validations(whole):
  loop, validation, folder = whole
  lines = (folder / "log.csv").read_text().splitlines()
  assert lines[0] == "step,loss,bias" and _logged(folder) == ["step", "3", "6"]
  loss, bias = map(float, lines[2].split(",")[1:])
  assert loss == pytest.approx(np.mean(loop.history[3:]), abs=1e-6)
  assert bias == pytest.approx(validation["bias"], abs=1e-6)


def test_gradients_are_clipped(tmp_path):
  """With a rate of 1 weights move by the norm that is allowed."""
  loop = _make(tmp_path, num_steps=1, rate_at=lambda step: 1.0, clip_norm=1e-3)
  before = _weights(loop)
  _run(loop)
  moved = [np.sum((a - b) ** 2) for a, b in zip(_weights(loop), before)]
  assert np.sqrt(sum(moved)) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize(
  "method, step", [("_train_step", 5), ("_exchange_weights", 3), ("_log", 6)]
)
def test_an_interrupted_training_resumes_after_its_last_step(
  method, step, whole, tmp_path
):
  """Averaged weights that are in the network are not saved as its own."""
  loop = _make(tmp_path)

  def interrupt():
    if int(loop.step) == step:
      setattr(loop, method, plain)
      raise KeyboardInterrupt

  plain = getattr(loop, method)
  _after(loop, method, interrupt)
  with pytest.raises(KeyboardInterrupt):
    _run(loop)
  resumed = _make(tmp_path)
  assert int(resumed.step) == step
  expected, validation, _ = whole
  assert _run(resumed) == pytest.approx(validation, rel=1e-6)
  assert resumed.history == expected.history
  for one, other in zip(_weights(expected), _weights(resumed)):
    np.testing.assert_array_equal(one, other)
  assert _logged(tmp_path) == ["step", "3", "6"]


def test_a_killed_training_resumes_from_its_last_checkpoint(whole, tmp_path):
  """Lines of the log after the checkpoint are repeated, and not kept twice."""
  loop = _make(tmp_path, checkpoint_every=2)

  def kill():
    if int(loop.step) == 4:
      raise _Killed

  _after(loop, "_train_step", kill)
  with pytest.raises(_Killed):
    _run(loop)
  assert _logged(tmp_path) == ["step", "3"]
  resumed = _make(tmp_path)
  assert int(resumed.step) == 2
  _run(resumed)
  assert resumed.history == whole[0].history
  assert _logged(tmp_path) == ["step", "3", "6"]


def test_interruptions_that_save_nothing(tmp_path, caplog):
  """Weights that are lost, and machines, each of which is at a step of its own."""
  loop = _make(tmp_path)
  several = mock.Mock(spec=tf.distribute.MultiWorkerMirroredStrategy)
  weight = loop.network.weights[0]

  def interrupt():
    if int(loop.step) == 1:
      loop._strategy = several
      raise KeyboardInterrupt
    if int(loop.step) == 2:
      weight.assign(np.nan * weight)
      raise KeyboardInterrupt

  _after(loop, "_train_step", interrupt)
  one = loop._strategy
  with pytest.raises(KeyboardInterrupt):
    _run(loop)
  loop._strategy = one
  assert not list(tmp_path.glob("checkpoints/*"))
  with caplog.at_level(logging.WARNING), pytest.raises(KeyboardInterrupt):
    _run(loop)
  assert "not saved: The training diverged: weights are not finite" in caplog.text
  assert not list(tmp_path.glob("checkpoints/*"))


def test_diverged_weights_do_not_replace_the_last_checkpoint(tmp_path):
  loop = _make(tmp_path, checkpoint_every=2)

  def diverge():
    if int(loop.step) == 4:
      weight = loop.network.weights[0]
      weight.assign(np.nan * weight)

  _after(loop, "_train_step", diverge)
  message = r"not finite at step 4; .*ckpt-2 is.*smaller learning_rate"
  with pytest.raises(FloatingPointError, match=message):
    _run(loop)
  resumed = _make(tmp_path)
  assert int(resumed.step) == 2
  _run(resumed)
  assert np.isfinite(resumed.history).all()


def test_finished_trainings_are_validated_and_shorter_ones_refused(whole, tmp_path):
  _run(_make(tmp_path))
  assert _run(_make(tmp_path)) == pytest.approx(whole[1], rel=1e-6)
  message = "has 6 steps, and num_steps is 2"
  with pytest.raises(ValueError, match=message):
    _run(_make(tmp_path, num_steps=2))


def test_figures_are_checked_watched_and_kept(tmp_path):
  """Without a validation the log has the watched figure alone."""
  loop = _make(tmp_path, watched="largest")
  steps = []
  assert _run(loop, validate=None, check=lambda f: steps.append(f["step"])) == {}
  assert steps == [0, 1, 2, 3, 4, 5]
  x = next(_batches(0))["x"].numpy()
  first = x @ _weights(_make(tmp_path / "new"))[0] - x.sum(axis=1, keepdims=True)
  assert loop.history[0] == pytest.approx(np.abs(first).max(), rel=1e-4)
  assert (tmp_path / "log.csv").read_text().startswith("step,largest\n3,")


def test_a_check_that_fails_ends_the_training(tmp_path):
  def check(figures):
    raise RuntimeError(f"step {figures['step']:g}")

  with pytest.raises(RuntimeError, match="step 0"):
    _run(_make(tmp_path), check=check)
  assert not list(tmp_path.glob("checkpoints/*"))


def test_batches_must_be_split_evenly():
  training_loop.check_batch_size(3)
  with pytest.raises(ValueError, match="Batches of 3 cannot be split over 2"):
    training_loop.check_batch_size(3, mock.Mock(num_replicas_in_sync=2))
