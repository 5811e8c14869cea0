"""Runs a sampler batch by batch, in memory or into a FITS cube that outlives a kill.

A batch depends on the seed, its number and its size alone. With an output file, each
goes to disk when it is done: the cube is `NAME.part` until the last batch, and
`NAME.part.json` beside it says what has been done. The same call goes on from there, and
ends with the samples of a run without interruption, bit for bit. A finished file of the
same run is read, not made again.
"""

import dataclasses
import hashlib
import json
import pathlib
import time

from astropy.io import fits
import numpy as np
import tqdm.auto

from tfp_massmap import io

_BLOCK = 2880  # bytes, of FITS

# What users know an entry of a record by.
_NAMES = {"posterior": "posterior (data, noise, pixels or prior)"}


def run(draw_fn, num_samples, batch_size, shape, seed, record, output=None, grid=None,
        overwrite=False, num_steps=1, progress=True):
  """Draws samples in batches.

  Args:
    draw_fn: `fn(seed, bar)` that draws a batch: `(samples, diagnostics)`, `[batch_size,
      ny, nx]` and a dict of floats; seed is a pair of integers, `bar.update()` counts
      its steps.
    num_samples: how many in all; the last batch is cut.
    batch_size: samples in a batch.
    shape: `(ny, nx)`.
    seed: integer.
    record: dict, strings and numbers, of all that decides the samples; kept in the
      header, and compared when a run goes on.
    output: None, or name of the FITS cube.
    grid: `geometry.PixelGrid` of the cube.
    overwrite: whether an output of another run may be replaced, finished or not.
    num_steps: of a batch, for the progress bar.
    progress: whether to show a progress bar.

  Returns:
    `(samples, diagnostics, seconds)`: `[num_samples, ny, nx]`, a dict of arrays
    `[num_batches]`, and the wall time of all batches.

  Raises:
    ValueError: for numbers that are not positive, or an unfinished file of another run
      that has samples.
    FileExistsError: if the output exists and is of another run.
    FloatingPointError: if a sample is not finite.
  """
  if num_samples < 1 or batch_size < 1:
    raise ValueError(
        "num_samples and batch_size must be positive; got"
        f" {num_samples} and {batch_size}."
    )
  record = dict(
      record, seed=int(seed), num_samples=int(num_samples), batch_size=int(batch_size)
  )
  if output is None:
    store = _Memory(num_samples, shape)
  else:
    path = pathlib.Path(output)
    store = _Cube(path, num_samples, shape, grid, record, overwrite)
  num_batches = -(-num_samples // batch_size)
  done = len(store.batches)
  with tqdm.auto.tqdm(
      total=num_batches * num_steps, initial=done * num_steps, disable=not progress,
      desc="Sampling", unit="step",
  ) as bar:
    for batch in range(done, num_batches):
      started = time.perf_counter()
      samples, diagnostics = draw_fn((int(seed), batch), bar)
      if not np.isfinite(samples).all():
        raise FloatingPointError(
            "A sample is not finite. Look for extreme values in the shear or its noise;"
            " smaller steps, or float64, may help."
        )
      first = batch * batch_size
      seconds = time.perf_counter() - started
      store.add(first, samples[: num_samples - first], diagnostics, seconds)
  names = [name for name in store.batches[0] if name != "seconds"]
  diagnostics = {n: np.array([b[n] for b in store.batches]) for n in names}
  seconds = float(sum(b["seconds"] for b in store.batches))
  return store.finish(), diagnostics, seconds


def record(method, posterior, settings):
  """What decides the samples of a posterior, flat, for `run`."""
  return {
      "method": method,
      "posterior": posterior.fingerprint(),
      **{name: value for name, value in dataclasses.asdict(settings).items()
         if value is not None},
  }


def grid_of(posterior):
  """`geometry.PixelGrid` of the data, or None."""
  shear_map = getattr(posterior.likelihood, "shear_map", None)
  return None if shear_map is None else shear_map.grid


class _Memory:
  """Samples in an array."""

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
  """Samples in a FITS file, big-endian float32, that fills up batch by batch."""

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
    if not (self._log.exists() and self._go_on(overwrite)):
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
      # What a kill in this very place may have left behind the cube.
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
    """Diagnostics and seconds of the batches."""
    names = list(self.batches[0])
    columns = [
        fits.Column(name, "D", array=np.array([b[name] for b in self.batches]))
        for name in names
    ]
    return fits.BinTableHDU.from_columns(columns, name="BATCHES")

  def _drop_log_of(self, finished):
    """Removes what a kill left between the last batch and the end of a run."""
    if finished is None or not self._log.exists() or self._partial.exists():
      return
    if json.loads(self._log.read_text(encoding="utf-8"))["run"] == finished:
      self._log.unlink()

  def _read_finished(self):
    with fits.open(self._path) as hdus:
      self._offset = hdus[0].fileinfo()["datLoc"]
      table = hdus["BATCHES"].data
      self.batches = [
          {name: float(row[name]) for name in table.names} for row in table
      ]

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

  def _go_on(self, overwrite):
    """Whether there is a run to go on with."""
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
          f"{self._log} speaks of a run whose samples, {self._partial.name}, are gone."
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
  """Identity of the run that made a file, or None for a file of something else."""
  try:
    return io.read_settings(fits.getheader(path)).get("run")
  except OSError:
    return None
