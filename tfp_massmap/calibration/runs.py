"""Runs over many truths, which go on where they were stopped."""

import pathlib

import numpy as np

from tfp_massmap.calibration import record as record_lib


def run(draw, num_truths, grid, settings=record_lib.Settings(), folder=None, label="",
        progress=None):
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
    progress: None, or called with the number of the truth after each.

  Returns:
    List of `Record`.

  Raises:
    ValueError: if the folder holds records of another run.
  """
  records = []
  for index in range(num_truths):
    path = None if folder is None else pathlib.Path(folder) / f"truth_{index:05d}.npz"
    if path is not None and path.exists():
      found = record_lib.Record.load(path)
      _check_same(path, found, settings, label)
    else:
      truth, samples, mask = draw(index)
      found = record_lib.measure(samples, truth, grid, mask, settings, index, label)
      if path is not None:
        found.save(path)
    records.append(found)
    if progress is not None:
      progress(index)
  return records


def samples_of_intervals(mean, std, num_samples, seed):
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


def _check_same(path, found, settings, label):
  if (found.settings, found.label) != (settings, label):
    raise ValueError(
        f"{path} is of another run: label {found.label!r} and {found.settings}, not"
        f" {label!r} and {settings}. Choose another folder, or delete this one."
    )
