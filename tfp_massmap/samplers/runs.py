"""Runs of a sampler in batches, in memory or into a FITS cube that survives a kill.

A batch depends on the seed, its number and its size alone. With an output file, each
batch is written to disk when it is done: the cube is `NAME.part` until the last batch, and
`NAME.part.json` beside it records what has been done. The same call resumes there, and
ends with the samples of a run without interruption, bit for bit. A finished file of the
same run is read instead of being made again.
"""

from collections.abc import Callable
import dataclasses
import hashlib
import json
import os
import pathlib
import time
import typing

from astropy.io import fits
import numpy as np
import tqdm.auto

from tfp_massmap import io
from tfp_massmap.samplers import sample_set

if typing.TYPE_CHECKING:
  from tfp_massmap import posterior as posterior_lib

_BLOCK = 2880  # Bytes of a FITS block.

# What users call an entry of a record.
_NAMES = {"posterior": "posterior (data, noise, pixels or prior)"}


@dataclasses.dataclass(frozen=True)
class RunOptions:
  """Options of a run that every method has.

  Attributes:
    batch_size: Samples drawn together; bounds the memory. The samples depend on it.
    output: None, or the name of a FITS cube for the samples, in which an interrupted run
      is resumed.
    overwrite: Whether an output of another run may be replaced, finished or not.
    jit_compile: Whether to compile with XLA; None is the choice of `devices`.
    progress: Whether to show a progress bar.

  Raises:
    ValueError: If the batch size is not positive.
  """

  batch_size: int = 8
  output: str | os.PathLike | None = None
  _: dataclasses.KW_ONLY
  overwrite: bool = False
  jit_compile: bool | None = None
  progress: bool = True

  def __post_init__(self) -> None:
    if self.batch_size < 1:
      raise ValueError(f"batch_size must be positive; got {self.batch_size}.")

  def size_of(self, num_samples: int) -> int:
    """Returns the size of a batch, which is not larger than the number of samples."""
    return max(1, min(self.batch_size, num_samples))


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
  """Samples of a run, and what was measured in each batch.

  Attributes:
    samples: `[num_samples, ny, nx]`.
    diagnostics: Arrays `[num_batches]` by name.
    seconds: Wall time of all batches.
    path: FITS cube that holds the samples, or None.
  """

  samples: np.ndarray
  diagnostics: dict[str, np.ndarray]
  _: dataclasses.KW_ONLY
  seconds: float
  path: pathlib.Path | None

  def mean(self, name: str) -> float:
    """Returns the mean of a diagnostic over the batches."""
    return float(self.diagnostics[name].mean())

  def sample_set(
    self, method: str, *, num_score_evaluations: float, settings: dict
  ) -> sample_set.SampleSet:
    """Returns the samples with how they were drawn.

    Args:
      method: Name of the sampler.
      num_score_evaluations: Evaluations of the prior's score for a sample.
      settings: Settings of the sampler, strings and numbers by name.
    """
    return sample_set.SampleSet(
      self.samples,
      method,
      num_score_evaluations=float(num_score_evaluations),
      seconds=self.seconds,
      settings=settings,
      diagnostics={name: self.mean(name) for name in self.diagnostics},
      path=self.path,
    )


def run(
  draw_fn: Callable,
  num_samples: int,
  *,
  seed: int,
  posterior: "posterior_lib.Posterior",
  record: dict,
  options: RunOptions,
  num_steps: int = 1,
) -> Run:
  """Draws samples in batches.

  Args:
    draw_fn: `fn(seed, bar)` that draws a batch: `(samples, diagnostics)`, `[batch_size,
      ny, nx]` and floats by name; seed is a pair of integers, and `bar.update()` counts
      its steps.
    num_samples: Number of samples; the last batch is cut.
    seed: Integer.
    posterior: `posterior.Posterior`, for the size and the grid of the cube.
    record: Strings and numbers by name of all that decides the samples; they are kept in
      the header, and compared when a run is resumed.
    options: `RunOptions`.
    num_steps: Steps of a batch, for the progress bar.

  Returns:
    A `Run`.

  Raises:
    ValueError: If `num_samples` is not positive, or an unfinished file is of another run
      and has samples.
    FileExistsError: If the output exists and is of another run.
    FloatingPointError: If a sample is not finite.
  """
  if num_samples < 1:
    raise ValueError(f"num_samples must be positive; got {num_samples}.")
  batch_size = options.size_of(num_samples)
  record = dict(
    record, seed=int(seed), num_samples=int(num_samples), batch_size=batch_size
  )
  path = None if options.output is None else pathlib.Path(options.output)
  store = _make_store(path, num_samples, posterior, record, options.overwrite)
  num_batches = -(-num_samples // batch_size)
  done = len(store.batches)
  with tqdm.auto.tqdm(
    total=num_batches * num_steps,
    initial=done * num_steps,
    disable=not options.progress,
    desc="Sampling",
    unit="step",
  ) as bar:
    for batch in range(done, num_batches):
      started = time.perf_counter()
      samples, diagnostics = draw_fn((int(seed), batch), bar)
      _check_finite(samples)
      first = batch * batch_size
      seconds = time.perf_counter() - started
      store.add(first, samples[: num_samples - first], diagnostics, seconds)
  names = [name for name in store.batches[0] if name != "seconds"]
  return Run(
    diagnostics={n: np.array([b[n] for b in store.batches]) for n in names},
    seconds=float(sum(b["seconds"] for b in store.batches)),
    samples=store.finish(),
    path=path,
  )


def _make_store(path, num_samples, posterior, record, overwrite):
  if path is None:
    return _Memory(num_samples, posterior.shape)
  shape, grid = posterior.shape, posterior.likelihood.grid
  return _Cube(path, num_samples, shape, grid, record, overwrite)


def _check_finite(samples):
  if not np.isfinite(samples).all():
    raise FloatingPointError(
      "A sample is not finite. Look for extreme values in the shear or its noise;"
      " smaller steps, or float64, may help."
    )


def record(
  method: str, posterior: "posterior_lib.Posterior", *, settings: dict
) -> dict:
  """Returns what decides the samples of a posterior, flat, for `run`."""
  given = {name: value for name, value in settings.items() if value is not None}
  return {"method": method, "posterior": posterior.fingerprint(), **given}


class _Memory:
  """Keeps the samples in an array."""

  def __init__(self, num_samples, shape):
    self.batches = []
    self._shape = (num_samples, *shape)
    self._samples = None

  def add(self, first, samples, diagnostics, seconds):
    if self._samples is None:
      self._samples = np.empty(self._shape, samples.dtype)
    self._samples[first : first + len(samples)] = samples
    self.batches.append({**diagnostics, "seconds": seconds})

  def finish(self):
    return self._samples


class _Cube:
  """Keeps the samples in a FITS file, big-endian float32, written batch by batch."""

  def __init__(self, path, num_samples, shape, grid, record, overwrite):
    self._path = path
    self._partial = path.with_name(f"{path.name}.part")
    self._log = path.with_name(f"{path.name}.part.json")
    text = json.dumps(record, sort_keys=True, default=str)
    self._record = json.loads(text)
    self._run = hashlib.sha256(text.encode()).hexdigest()[:16]
    self._shape = (num_samples, *shape)
    self.batches = []
    finished = _run_of(path) if path.is_file() else None
    self._drop_log_of(finished)
    self.is_finished = finished == self._run
    if self.is_finished:
      self._read_finished()
      return
    io.check_writable(path, overwrite)
    if not (self._log.exists() and self._resume(overwrite)):
      self._create(grid)
    self._map = np.memmap(
      self._partial, ">f4", "r+", offset=self._offset, shape=self._shape
    )

  def add(self, first, samples, diagnostics, seconds):
    self._map[first : first + len(samples)] = samples
    self._map.flush()
    self.batches.append({**diagnostics, "seconds": seconds})
    self._write_log()

  def finish(self):
    if not self.is_finished:
      del self._map
      # An earlier attempt, killed in this place, may have left bytes behind the cube.
      with open(self._partial, "r+b") as file:
        file.truncate(self._offset + self._padded_size)
      fits.append(self._partial, self._table().data, self._table().header)
      self._partial.replace(self._path)
      self._log.unlink()
    return np.memmap(self._path, ">f4", "r", offset=self._offset, shape=self._shape)

  @property
  def _padded_size(self):
    return -(-4 * int(np.prod(self._shape)) // _BLOCK) * _BLOCK

  def _table(self):
    """Table of the diagnostics and seconds of the batches."""
    names = list(self.batches[0])
    columns = [
      fits.Column(name, "D", array=np.array([b[name] for b in self.batches]))
      for name in names
    ]
    return fits.BinTableHDU.from_columns(columns, name="BATCHES")

  def _drop_log_of(self, finished):
    """Removes the log of a run that was killed after its last batch."""
    if finished is None or not self._log.exists() or self._partial.exists():
      return
    if json.loads(self._log.read_text(encoding="utf-8"))["run"] == finished:
      self._log.unlink()

  def _read_finished(self):
    with fits.open(self._path) as hdus:
      self._offset = hdus[0].fileinfo()["datLoc"]
      table = hdus["BATCHES"].data
      self.batches = [{name: float(row[name]) for name in table.names} for row in table]

  def _create(self, grid):
    self._path.parent.mkdir(parents=True, exist_ok=True)
    header = fits.Header()
    header["SIMPLE"] = True
    header["BITPIX"] = -32
    header["NAXIS"] = 3
    for axis, side in enumerate(reversed(self._shape), start=1):
      header[f"NAXIS{axis}"] = side
    header["EXTEND"] = True
    if grid is not None:
      header.extend(grid.to_header())
    header["BUNIT"] = ("", "convergence samples, dimensionless")
    header.extend(io.provenance_header({**self._record, "run": self._run}))
    text = header.tostring().encode("ascii")
    self._offset = len(text)
    with open(self._partial, "wb") as file:
      file.write(text)
      file.truncate(self._offset + self._padded_size)
    self._write_log()

  def _resume(self, overwrite):
    """Returns whether there is a run to resume; refuses to mix two runs."""
    log = json.loads(self._log.read_text(encoding="utf-8"))
    if log["run"] != self._run:
      if overwrite or not log["batches"]:
        return False
      before = log["record"]
      differ = sorted(
        k for k in {*before, *self._record} if before.get(k) != self._record.get(k)
      )
      raise ValueError(
        f"{self._partial} is an unfinished run of another"
        f" {' and '.join(_NAMES.get(name, name) for name in differ)}, with"
        f" {len(log['batches'])} batches. Choose another output, or the same settings to"
        " go on with it; overwrite starts anew."
      )
    if not self._partial.is_file():
      raise ValueError(
        f"{self._log} is the log of a run whose samples, {self._partial.name}, are gone."
        " Remove it to start anew."
      )
    self.batches, self._offset = log["batches"], log["offset"]
    return True

  def _write_log(self):
    log = dict(
      run=self._run, record=self._record, offset=self._offset, batches=self.batches
    )
    with io.atomic_path(self._log, overwrite=True) as temporary:
      pathlib.Path(temporary).write_text(json.dumps(log), encoding="utf-8")


def _run_of(path):
  """Returns the identity of the run that made a file; None for another file."""
  try:
    return io.read_settings(fits.getheader(path)).get("run")
  except OSError:
    return None
