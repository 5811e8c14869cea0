"""Runs over many truths, which go on where they were stopped."""

import hashlib
import pathlib

from astropy import units as u
import numpy as np
import tqdm.auto

from tfp_massmap import geometry
from tfp_massmap import resumable
from tfp_massmap import spectra
from tfp_massmap.calibration import ranks as ranks_lib


def run(
  draw,
  num_truths,
  *,
  grid,
  settings=ranks_lib.Settings(),
  folder=None,
  label="",
  progress=True,
):
  """Records of truths 0, 1, ..., one at a time; only records stay in memory.

  Args:
    draw: function of the truth's number to `(truth, samples, mask)`; reproducible, if
      runs shall go on.
    num_truths: how many.
    grid: `geometry.PixelGrid`.
    settings: `Settings`.
    folder: None, or where records are kept, a file each; those of an earlier run are
      read, not made again.
    label: what the run is (data, prior, sampler), to tell folders apart.
    progress: whether to show a progress bar.

  Returns:
    List of `Record`.

  Raises:
    ValueError: if the folder holds records of another run: of other settings, label or
      grid.
  """
  records = []
  for index in tqdm.auto.trange(num_truths, unit="truth", disable=not progress):
    path = None if folder is None else pathlib.Path(folder) / f"truth_{index:05d}.npz"
    if path is not None and path.exists():
      found = ranks_lib.Record.load(path)
      _check_same(path, found, grid, settings, label)
    else:
      truth, samples, mask = draw(index)
      found = ranks_lib.measure(
        samples, truth, grid=grid, mask=mask, settings=settings, seed=index, label=label
      )
      if path is not None:
        found.save(path)
    records.append(found)
  return records


def population(
  maps,
  num_maps,
  *,
  grid,
  mask=None,
  settings=ranks_lib.Settings(),
  folder=None,
  label="",
):
  """Band powers of many maps like the truths, for `population_power`.

  Args:
    maps: function of a number, 0, 1, ..., to `[n, ny, nx]`, independent of those of other
      numbers; sides may be multiples of the grid's, and are cut in pieces.
    num_maps: how many numbers.
    grid, mask, settings: as `ranks.map_band_power`.
    folder: None, or where they are kept as they come, see `resumable.collect`; numbers
      that an earlier run has kept are not made again.
    label: what the maps are, to tell folders apart.

  Returns:
    `[num_maps, settings.num_bands]`, each the mean over the maps of a number.

  Raises:
    ValueError: as `ranks.map_band_power`; for a folder of other maps, by label, grid,
      mask or settings.
  """
  mask = geometry.checked_mask(mask, grid.shape)

  def power_of(index):
    pieces = _pieces(np.asarray(maps(index)), grid.shape)
    return dict(
      power=ranks_lib.map_band_power(pieces, grid, mask=mask, settings=settings).mean(
        axis=0
      )
    )

  given = dict(
    maps=label,
    pixel_arcmin=float(grid.pixel_scale.to_value(u.arcmin)),
    shape=grid.shape,
    mask=hashlib.sha256(mask.tobytes()).hexdigest()[:16],
    num_bands=settings.num_bands,
    remove_mean=settings.remove_mean,
  )  # pyformat: disable
  return resumable.collect(
    power_of, num_maps, folder=folder, label=str(given), unit="map"
  )["power"]


def _pieces(maps, shape):
  """Maps of a shape, `[n, ny, nx]`, out of maps of multiples of it."""
  if maps.ndim != 3 or maps.shape[1] % shape[0] or maps.shape[2] % shape[1]:
    raise ValueError(
      f"maps must be [n, i x {shape[0]}, j x {shape[1]}]; got shape {maps.shape}."
    )
  rows, columns = maps.shape[1] // shape[0], maps.shape[2] // shape[1]
  cut = maps.reshape([-1, rows, shape[0], columns, shape[1]])
  return cut.swapaxes(2, 3).reshape([-1, *shape])


def samples_of_intervals(mean, std, *, num_samples, seed):
  """Samples, independent in every pixel, of a method that gives a mean and an error.

  Good for the tests of pixels only: `Settings(num_bands=0, patch=0)`.

  Args:
    mean: `[ny, nx]`.
    std: `[ny, nx]`, not negative.
    num_samples: how many.
    seed: integer.

  Returns:
    `[num_samples, ny, nx]`.

  Raises:
    ValueError: for shapes that differ, or a negative std.
  """
  mean, std = np.asarray(mean), np.asarray(std)
  if mean.shape != std.shape or not (std >= 0).all():
    raise ValueError(
      "mean and std must have one shape and std must not be negative; got shapes"
      f" {mean.shape} and {std.shape}, smallest std {std.min():g}."
    )
  noise = np.random.default_rng(seed).standard_normal([num_samples, *mean.shape])
  return mean + std * noise


def _check_same(path, found, grid, settings, label):
  if (found.settings, found.label) != (settings, label):
    raise ValueError(
      f"{path} is of another run: label {found.label!r} and {found.settings}, not"
      f" {label!r} and {settings}. Choose another folder, or delete this one."
    )
  if settings.num_bands:
    edges = spectra.band_edges(grid, settings.num_bands)
    if not np.allclose(found.band_edges, edges):
      raise ValueError(
        f"{path} is of maps of another size or pixel scale: its bands reach from ell ="
        f" {found.band_edges[0]:.0f} to {found.band_edges[-1]:.0f}, those of the grid from"
        f" {edges[0]:.0f} to {edges[-1]:.0f}. Choose another folder, or delete this one."
      )
