"""Runs over many truths, which resume where they were interrupted, and their files."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import typing
import zipfile

from astropy import units as u
import numpy as np

from tfp_massmap import geometry
from tfp_massmap import io
from tfp_massmap import resumable
from tfp_massmap import spectra
from tfp_massmap.calibration import ranks

# Array of the file of a run with the names of the arrays of each truth, in order, or
# once if all truths have the same. Truths with other masks have other tests.
_NAMES = "names of the arrays"


def run(
  draw: Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray | None]],
  num_truths: int,
  *,
  grid: geometry.PixelGrid,
  settings: ranks.Settings = ranks.Settings(),
  path: str | os.PathLike | None = None,
  label: str = "",
  progress: bool = True,
) -> list[ranks.Record]:
  """Returns the records of truths 0, 1, ..., which are drawn one at a time.

  Only records stay in memory. With a path, each is kept as it comes in the folder
  `PATH.part`, from which an interrupted run resumes. The finished run is one file. The
  same call reads it, and a call with more truths adds to it.

  Args:
    draw: Function of the number of a truth to `(truth, samples, mask)`. It must give
      the same for the same number, for runs to be resumed.
    num_truths: Number of truths, positive.
    grid: `geometry.PixelGrid`.
    settings: `ranks.Settings`.
    path: None, or the name of the file of the finished run, `.npz`, see `save_run`.
    label: Description of the run: data, prior, sampler. Runs of other labels are not
      resumed.
    progress: Whether to show a progress bar.

  Raises:
    ValueError: If the file or the folder is of another run: of another label, grid or
      settings.
  """
  found = load_run(path) if path is not None and os.path.exists(path) else []
  if found:
    _check_finished(path, found[0], label, settings, grid)
  if len(found) >= num_truths:
    return found[:num_truths]

  def step(index):
    if index < len(found):
      return found[index].to_arrays()
    truth, samples, mask = draw(index)
    return ranks.measure(
      samples, truth, grid=grid, mask=mask, settings=settings, seed=index, label=label
    ).to_arrays()

  kept = resumable.run_steps(
    step,
    num_truths,
    folder=_folder_of(path),
    label=dict(label=label, **_made_on(grid), **dataclasses.asdict(settings)),
    unit="truth",
    progress=progress,
  )
  records = [ranks.Record.from_arrays(arrays) for arrays in kept]
  if path is not None:
    save_run(path, records, overwrite=True)
    shutil.rmtree(_folder_of(path))
  return records


def population(
  maps: Callable[[int], np.ndarray],
  num_maps: int,
  *,
  grid: geometry.PixelGrid,
  mask: np.ndarray | None = None,
  settings: ranks.Settings = ranks.Settings(),
  path: str | os.PathLike | None = None,
  label: str = "",
) -> np.ndarray:
  """Returns the band powers of many maps like the truths, for `population_power`.

  Args:
    maps: Function of a number, 0, 1, ..., to maps `[n, ny, nx]`, independent of those
      of other numbers. Their sides may be multiples of the grid's; such maps are cut.
    num_maps: How many numbers, positive.
    grid: `geometry.PixelGrid`.
    mask: Bool `[ny, nx]`, true where there are data; None for everywhere.
    settings: `ranks.Settings`, of which `remove_mean` and `num_bands` are used.
    path: None, or the name of the file of all band powers, `.npz`; it is written, and
      read again, as that of `run`.
    label: Description of the maps. Runs of other labels are not resumed.

  Returns:
    `[num_maps, settings.num_bands]`, each the mean over the maps of a number.

  Raises:
    ValueError: As `ranks.map_band_power`, or if the file or the folder is of other
      maps: of another label, grid, mask or settings.
  """
  mask = geometry.checked_mask(mask, grid.shape)
  made = dict(
    maps=label,
    **_made_on(grid),
    mask=hashlib.sha256(mask.tobytes()).hexdigest()[:16],
    num_bands=settings.num_bands,
    remove_mean=settings.remove_mean,
  )
  found: Sequence[np.ndarray] | np.ndarray = []
  if path is not None and os.path.exists(path):
    found, made_found = _load_population(path)
    resumable.check_same_run(path, made_found, made=made)
  if len(found) >= num_maps:
    return np.asarray(found[:num_maps])

  def step(index):
    if index < len(found):
      return dict(power=found[index])
    pieces = _pieces(np.asarray(maps(index)), grid.shape)
    power = ranks.map_band_power(pieces, grid, mask=mask, settings=settings)
    return dict(power=power.mean(axis=0))

  kept = resumable.collect(
    step, num_maps, folder=_folder_of(path), label=made, unit="map"
  )
  if path is not None:
    _save(path, dict(kept, made=np.array(json.dumps(made))), overwrite=True)
    shutil.rmtree(_folder_of(path))
  return kept["power"]


def load_population(path: str | os.PathLike) -> np.ndarray:
  """Returns the band powers that `population` wrote, `[num_maps, num_bands]`.

  Raises:
    ValueError: If the file is not one of `population`.
    FileNotFoundError: If it does not exist.
  """
  return _load_population(path)[0]


def save_run(
  path: str | os.PathLike,
  records: Sequence[ranks.Record],
  *,
  overwrite: bool = False,
) -> None:
  """Writes the records of a finished run as one compressed file without pickles.

  Args:
    path: Name of the file, `.npz`.
    records: Records of one run, of one label and `ranks.Settings`.
    overwrite: Whether an existing file may be replaced.

  Raises:
    ValueError: If there is no record, or labels or settings differ.
    FileExistsError: If the file exists and `overwrite` is false.
  """
  if len({(record.label, record.settings) for record in records}) != 1:
    raise ValueError(
      f"A run has records of one label and one Settings; got {len(records)} records of"
      f" the labels {sorted({record.label for record in records})}. Write one file for"
      " each run."
    )
  truths = [record.to_arrays() for record in records]
  names = [list(arrays) for arrays in truths]
  stacked = {}
  for name in dict.fromkeys(name for each in names for name in each):
    values = np.stack([arrays[name] for arrays in truths if name in arrays])
    if name.startswith("ranks/"):
      # Counts are small: the smallest type saves an eighth of the compressed file.
      values = values.astype(np.min_scalar_type(values.max()))
    stacked[name] = values
  is_same = all(each == names[0] for each in names)
  stacked[_NAMES] = np.array(json.dumps(names[:1] if is_same else names))
  _save(path, stacked, overwrite=overwrite)


def load_run(path: str | os.PathLike) -> list[ranks.Record]:
  """Returns the records that `save_run` wrote, the same to the last bit.

  Raises:
    ValueError: If the file is not one of `save_run`.
    FileNotFoundError: If it does not exist.
  """
  stacked = _load(path, (_NAMES, "header"), made_by="save_run")
  names = json.loads(str(stacked.pop(_NAMES)))
  if len(names) == 1:
    names *= len(stacked["header"])
  following = {
    name: iter(values.astype(np.int32) if name.startswith("ranks/") else values)
    for name, values in stacked.items()
  }
  return [
    ranks.Record.from_arrays({name: next(following[name]) for name in each})
    for each in names
  ]


def samples_of_intervals(
  mean: np.ndarray, std: np.ndarray, *, num_samples: int, seed: int
) -> np.ndarray:
  """Returns samples, independent in every pixel, of a mean map and its error.

  They allow the tests of pixels only: `Settings(num_bands=0, patch=0)`.

  Args:
    mean: `[ny, nx]`.
    std: Standard deviation, `[ny, nx]`, not negative.
    num_samples: Number of samples.
    seed: Integer.

  Returns:
    `[num_samples, ny, nx]`.

  Raises:
    ValueError: If shapes differ, or a standard deviation is negative.
  """
  mean, std = np.asarray(mean), np.asarray(std)
  if mean.shape != std.shape or not (std >= 0).all():
    raise ValueError(
      "mean and std must have one shape and std must not be negative; got shapes"
      f" {mean.shape} and {std.shape}, smallest std {std.min():g}."
    )
  noise = np.random.default_rng(seed).standard_normal([num_samples, *mean.shape])
  return mean + std * noise


def _save(path, arrays, *, overwrite):
  with io.atomic_path(path, overwrite) as temporary, open(temporary, "wb") as file:
    np.savez_compressed(file, **arrays)


def _load(path, needed, *, made_by):
  try:
    with np.load(path, allow_pickle=False) as file:
      arrays = dict(file)
    missing = [name for name in needed if name not in arrays]
  except (ValueError, TypeError, zipfile.BadZipFile) as error:
    raise ValueError(f"{path} was not written by `{made_by}` ({error}).") from error
  if missing:
    raise ValueError(f"{path} was not written by `{made_by}`: it lacks {missing}.")
  return arrays


def _load_population(path):
  """Returns band powers, and the record of what made them."""
  arrays = _load(path, ("power", "made"), made_by="population")
  return arrays["power"], json.loads(str(arrays["made"]))


def _folder_of(path):
  """Returns the folder of a run that is going on, None for None."""
  if path is None:
    return None
  path = pathlib.Path(path)
  return path.with_name(f"{path.name}.part")


def _check_finished(path, record, label, settings, grid):
  resumable.check_same_run(
    path,
    dict(label=record.label, **dataclasses.asdict(record.settings)),
    made=dict(label=label, **dataclasses.asdict(settings)),
  )
  if settings.num_bands:
    edges, found = spectra.band_edges(grid, settings.num_bands), record.band_edges
    if not np.allclose(found, edges):
      raise ValueError(
        f"{path} is of another run, with maps of another size or pixel scale: its bands"
        f" reach from ell = {found[0]:.0f} to {found[-1]:.0f}, those of the grid from"
        f" {edges[0]:.0f} to {edges[-1]:.0f}. Choose another name for this run, or"
        " delete the other one."
      )


def _made_on(grid: geometry.PixelGrid) -> dict[str, typing.Any]:
  pixel_arcmin = float(grid.pixel_scale.to_value(u.arcmin))
  return dict(shape=grid.shape, pixel_arcmin=pixel_arcmin)


def _pieces(maps, shape):
  """Returns maps of a shape, `[n, ny, nx]`, cut out of maps of multiples of it."""
  if maps.ndim != 3 or maps.shape[1] % shape[0] or maps.shape[2] % shape[1]:
    raise ValueError(
      f"maps must be [n, i x {shape[0]}, j x {shape[1]}]; got shape {maps.shape}."
    )
  rows, columns = maps.shape[1] // shape[0], maps.shape[2] // shape[1]
  cut = maps.reshape([-1, rows, shape[0], columns, shape[1]])
  return cut.swapaxes(2, 3).reshape([-1, *shape])
