"""The folder of a training: settings, checkpoints, log and TensorBoard events."""

from collections.abc import Mapping
import csv
import hashlib
import importlib.util
import json
import os
import pathlib

from astropy import units as u
import numpy as np
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import io
from tfp_massmap import spectra

_LONGEST_VALUE = 40  # Longer values, in characters, are not repeated in messages.
_SHOWN_DIGITS = 12  # Hexadecimal digits of a checksum in messages: enough to compare.


def describe_field(spectrum: spectra.PowerSpectrum, grid: geometry.PixelGrid) -> dict:
  """Returns the power and the pixels that a training depends on, for its settings."""
  values = np.concatenate([spectrum.ell, spectrum.c_ell])
  return dict(
    spectrum=hashlib.sha256(values.astype("<f8").tobytes()).hexdigest()[:16],
    pixel_scale_arcmin=grid.pixel_scale.to_value(u.arcmin),
  )


def earlier(path: str | os.PathLike) -> dict:
  """Returns the settings of a training that can be resumed; empty without one.

  Args:
    path: Path of the folder.
  """
  folder = pathlib.Path(path)
  file = folder / "settings.json"
  if not file.is_file() or not tf.train.latest_checkpoint(str(folder / "checkpoints")):
    return {}
  return json.loads(file.read_text(encoding="utf-8"))


class TrainingFolder:
  """The folder of a training, refused if it holds another training.

  If the folder has checkpoints, the training there must have the same settings, data
  and start. If it has none, the settings there are those of a training that took no
  step, and are replaced.

  Args:
    path: Path of the folder, which is made if absent.
    settings: Dict for JSON of all that may not change within a training.
    changeable: Dict for JSON of the settings that may change.
    data: None, or a dict for JSON that describes the maps. Only entries that both
      descriptions have are compared: maps without a description are taken on trust.
    start: None, or a dict for JSON with the `name` and `weights_sha256` of the network
      that a new training starts from. It need not be given again to resume.

  Attributes:
    path: A `pathlib.Path`.
    origin: Dict of `data` and `start` as the folder has them.

  Raises:
    ValueError: If the training in the folder has other settings, data or start, or
      checkpoints without settings.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    settings: Mapping,
    *,
    changeable: Mapping,
    data: Mapping | None = None,
    start: Mapping | None = None,
  ) -> None:
    self.path = pathlib.Path(path)
    # Through JSON, as the file is read: tuples become lists.
    record = json.loads(
      json.dumps({**changeable, **settings, "data": data, "start": start})
    )
    file = self.path / "settings.json"
    if tf.train.latest_checkpoint(str(self.checkpoints)):
      record = self._compared(file, record, settings)
    else:
      with io.atomic_path(file, overwrite=True) as temporary:
        text = json.dumps(record, indent=2)
        pathlib.Path(temporary).write_text(text, encoding="utf-8")
    self.origin = {name: record[name] for name in ("data", "start")}
    self._board = None
    if importlib.util.find_spec("tensorboard"):
      self._board = tf.summary.create_file_writer(str(self.path / "tensorboard"))

  @property
  def checkpoints(self) -> pathlib.Path:
    """Path of the folder of checkpoints."""
    return self.path / "checkpoints"

  def _compared(self, file, record, names):
    """Returns the record of the training to resume; ValueError if it is another one."""
    if not file.exists():
      raise ValueError(
        f"{self.path} has checkpoints but no settings.json that describes their"
        " training. Choose another folder."
      )
    before = json.loads(file.read_text(encoding="utf-8"))
    differ = sorted(name for name in names if before.get(name) != record[name])
    if differ:
      raise ValueError(
        f"{self.path} has a training with another {' and '.join(differ)}. To resume it,"
        " give the same values; for a new training, choose another folder."
      )
    self._check_data(before["data"] or {}, record["data"] or {})
    self._check_start(before["start"], record["start"])
    return before

  def _check_data(self, before, data):
    differ = [
      _difference(name, before[name], data[name])
      for name in sorted(data)
      if name in before and before[name] != data[name]
    ]
    if differ:
      raise ValueError(
        f"{self.path} has a training on another data set: {'; '.join(differ)}. To"
        " resume it, give its data set; for a new training, choose another folder."
      )

  def _check_start(self, before, start):
    """Compares weights alone: a name is often a path, which has several spellings."""
    if start is None:
      return
    if before is None or before["weights_sha256"] != start["weights_sha256"]:
      raise ValueError(
        f"{self.path} has a training that started from {_start_in_words(before)}, not"
        f" from {_start_in_words(start)}. To resume it, leave the start out; for a new"
        " training, choose another folder."
      )

  def cut_log(self, done: int) -> int:
    """Removes the lines of steps after the checkpoint, which will be repeated.

    Args:
      done: Step of the checkpoint.

    Returns:
      The last step in the log, 0 if there is none.
    """
    path = self.path / "log.csv"
    if not path.exists():
      return 0
    title, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if int(line.split(",")[0]) <= done]
    with io.atomic_path(path, overwrite=True) as temporary:
      pathlib.Path(temporary).write_text("".join([title, *kept]), encoding="utf-8")
    return int(kept[-1].split(",")[0]) if kept else 0

  def log(
    self, step: int, figures: Mapping[str, float], *, learning_rate: float
  ) -> None:
    """Adds a line to `log.csv`, and events for TensorBoard if it is installed.

    Args:
      step: Number of steps done.
      figures: Figures by name, the columns of the log, the same in every line.
      learning_rate: Learning rate, for TensorBoard.
    """
    path = self.path / "log.csv"
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
      writer = csv.writer(file)
      if is_new:
        writer.writerow(["step", *figures])
      writer.writerow([step, *(f"{value:.6f}" for value in figures.values())])
    if self._board is None:
      return
    with self._board.as_default(step=step):
      for name, value in {**figures, "learning_rate": learning_rate}.items():
        tf.summary.scalar(name, value)


def _difference(name, there, here):
  there, here = repr(there), repr(here)
  if max(len(there), len(here)) > _LONGEST_VALUE:
    return f"{name} differs"
  return f"{name} is {there} there and {here} here"


def _start_in_words(start):
  if start is None:
    return "no other network"
  weights = f"the weights {str(start['weights_sha256'])[:_SHOWN_DIGITS]}"
  return weights if start["name"] is None else f"{start['name']} ({weights})"
