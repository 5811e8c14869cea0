"""What a training keeps in its folder beside checkpoints: settings, log, events."""

import csv
import hashlib
import importlib.util
import json
import pathlib

from astropy import units as u
import numpy as np
import tensorflow as tf

from tfp_massmap import io

_LONGEST_VALUE = 40  # characters, in a message


def describe_field(spectrum, grid):
  """What a training depends on besides its settings, dict for JSON.

  Args:
    spectrum: `spectra.PowerSpectrum`.
    grid: `geometry.PixelGrid`.
  """
  values = np.concatenate([spectrum.ell, spectrum.c_ell])
  return dict(
    spectrum=hashlib.sha256(values.astype("<f8").tobytes()).hexdigest()[:16],
    pixel_scale_arcmin=grid.pixel_scale.to_value(u.arcmin),
  )


def describe_start(prior, name):
  """Which weights a training starts from, dict for JSON; None for new ones.

  Args:
    prior: None, or a `priors.HybridPrior`, whose card has their checksum.
    name: of the prior; None if it has none.
  """
  if prior is None:
    return None
  card = getattr(prior, "card", {})
  return dict(name=name, weights_sha256=card.get("weights_sha256"))


class TrainingFolder:
  """The folder of a training, refused if it has another one.

  Args:
    path: of the folder, which is made if absent.
    settings: dict for JSON; what a training must share with the one of the folder.
    free: dict for JSON of the settings that may change within a training.
    data: None, or dict for JSON that describes the maps.
    start: None, or dict for JSON that describes the network that it starts from.
    goes_on: whether the folder has a checkpoint to go on from. Without one the settings
      there are of a training that took no step, and give way.

  Attributes:
    path: a `pathlib.Path`.
    origin: dict of `data` and `start` as the folder has them; those that a folder of an
      older version lacks are absent.

  Raises:
    ValueError: if the training to go on with has other settings, data or start.
  """

  def __init__(self, path, settings, *, free, data, start, goes_on):
    self.path = pathlib.Path(path)
    # As JSON gives it back: lists for tuples.
    record = json.loads(json.dumps({**free, **settings, "data": data, "start": start}))
    file = self.path / "settings.json"
    if goes_on and file.exists():
      before = json.loads(file.read_text(encoding="utf-8"))
      self._check_settings(before, {name: record[name] for name in settings})
      self._check_data(before.get("data"), record["data"])
      self._check_start(before, record["start"])
      record = before
    else:
      with io.atomic_path(file, overwrite=True) as temporary:
        text = json.dumps(record, indent=2)
        pathlib.Path(temporary).write_text(text, encoding="utf-8")
    self.origin = {name: record[name] for name in ("data", "start") if name in record}
    self._board = None
    if importlib.util.find_spec("tensorboard"):
      self._board = tf.summary.create_file_writer(str(self.path / "tensorboard"))

  def _check_settings(self, before, settings):
    differ = sorted(name for name in settings if before.get(name) != settings[name])
    if differ:
      raise ValueError(
        f"{self.path} has a training with another {' and '.join(differ)}. Choose"
        " another folder, or what that training has, to go on with it."
      )

  def _check_data(self, before, data):
    """Compares what both descriptions know; undescribed maps are taken on trust."""
    before, data = before or {}, data or {}
    differ = [
      _difference(name, before[name], data[name])
      for name in sorted(data)
      if name in before and before[name] != data[name]
    ]  # pyformat: disable
    if differ:
      raise ValueError(
        f"{self.path} has a training on another data set: {'; '.join(differ)}. Choose"
        " another folder, or the data set of that training, to go on with it."
      )

  def _check_start(self, before, start):
    """A training goes on from its checkpoint, so that a start need not be given again."""
    if start is None or "start" not in before:
      return
    known = before["start"]
    # The name is a path as often as not, and may be written in several ways.
    if known is None or known["weights_sha256"] != start["weights_sha256"]:
      raise ValueError(
        f"{self.path} has a training that started from {_start_in_words(known)}, not"
        f" from {_start_in_words(start)}. Choose another folder, or go on with that"
        " training without naming a start."
      )

  def cut_log(self, done):
    """Takes out the lines of steps after the checkpoint, which come again.

    Args:
      done: step of the checkpoint.

    Returns:
      The last step in the log, 0 for none.
    """
    path = self.path / "log.csv"
    if not path.exists():
      return 0
    title, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if int(line.split(",")[0]) <= done]
    with io.atomic_path(path, overwrite=True) as temporary:
      pathlib.Path(temporary).write_text("".join([title, *kept]), encoding="utf-8")
    return int(kept[-1].split(",")[0]) if kept else 0

  def log(self, step, loss, *, learning_rate, validation):
    """Adds a line to `log.csv`, and events for TensorBoard.

    Args:
      step: number of steps done.
      loss: mean loss of the steps since the last line.
      learning_rate: float, for TensorBoard.
      validation: dict of sigma to validation loss.
    """
    path = self.path / "log.csv"
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
      writer = csv.writer(file)
      if new:
        writer.writerow(["step", "loss", *(f"sigma_{s:g}" for s in validation)])
      writer.writerow([step, f"{loss:.6f}", *(f"{v:.6f}" for v in validation.values())])
    if self._board is None:
      return
    with self._board.as_default(step=step):
      tf.summary.scalar("loss", loss)
      tf.summary.scalar("learning_rate", learning_rate)
      for sigma, value in validation.items():
        tf.summary.scalar(f"validation/sigma_{sigma:g}", value)


def _difference(name, there, here):
  there, here = repr(there), repr(here)
  if max(len(there), len(here)) > _LONGEST_VALUE:
    return f"{name} differs"
  return f"{name} is {there} there and {here} here"


def _start_in_words(start):
  if start is None:
    return "no other network"
  weights = f"the weights {str(start['weights_sha256'])[:12]}"
  return weights if start["name"] is None else f"{start['name']} ({weights})"
