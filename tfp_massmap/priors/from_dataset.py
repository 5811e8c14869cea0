"""Convergence maps of a prepared tfds data set, for the training of a prior."""

from collections.abc import Mapping
import dataclasses
import os
import pathlib
import typing

from astropy import units as u
import numpy as np

from tfp_massmap import theory
from tfp_massmap.priors import survey_training
from tfp_massmap.simulate import random_surveys
from tfp_massmap.simulate import source_planes

if typing.TYPE_CHECKING:
  import tensorflow_datasets as tfds


def open_dataset(
  name: str | os.PathLike, data_dir: str | os.PathLike | None = None
) -> "tfds.core.DatasetBuilder":
  """Returns the builder of a tfds data set of maps, which is prepared if necessary.

  Args:
    name: Path of the folder where it was prepared, down to the version; or its name,
      such as "halo_kappa" (which is simulated now if it is absent) or
      "kappatng_cosmos/convergence" (see `datasets/kappatng_cosmos/README.md` for what
      it needs).
    data_dir: None, or the folder of all tfds data sets.

  Raises:
    ValueError: If there is neither such a folder nor such a data set.
  """
  import tensorflow_datasets as tfds

  import tfp_massmap.datasets

  folder = pathlib.Path(name).expanduser()
  if (folder / "dataset_info.json").is_file():
    return tfds.builder_from_directory(str(folder))
  if str(name).split("/")[0] not in tfp_massmap.datasets.__all__:
    raise ValueError(
      f"{name} is neither a prepared data set (no dataset_info.json in it) nor one of"
      f" {tfp_massmap.datasets.__all__}, as NAME or NAME/CONFIGURATION."
    )
  builder = tfds.builder(str(name), data_dir=data_dir)
  builder.download_and_prepare()
  return builder


def read_maps(
  builder: "tfds.core.DatasetBuilder",
) -> tuple[dict[str, np.ndarray], u.Quantity, dict]:
  """Returns the maps of a prepared tfds data set.

  Args:
    builder: Builder from `open_dataset`.

  Returns:
    `(maps, pixel_scale, metadata)`: dict of split to float32 `[n, ny, nx]`, the side of
    a pixel as an angle, and the metadata of the data set, with its full name as
    `dataset` and the sizes of its splits as `splits`.

  Raises:
    ValueError: If it has no maps `kappa`, no splits train and validation, or no pixel
      scale in its metadata.
  """
  import tensorflow_datasets as tfds

  metadata = dict(builder.info.metadata or {})
  _check_splits(builder)
  if "kappa" not in builder.info.features or "pixel_scale_arcmin" not in metadata:
    raise ValueError(
      f"{builder.data_dir} has no maps `kappa` with a pixel scale; prepare halo_kappa"
      " or kappatng_cosmos/convergence."
    )
  maps = {
    split: np.stack(
      [e["kappa"] for e in tfds.as_numpy(builder.as_dataset(split=split))]
    )
    for split in ("train", "validation")
  }
  metadata["dataset"] = builder.info.full_name
  metadata["splits"] = {split: len(kappa) for split, kappa in maps.items()}
  return maps, metadata["pixel_scale_arcmin"] * u.arcmin, metadata


def sources_of(metadata: Mapping) -> theory.SourceRedshifts | None:
  """Returns the n(z) of the maps of a data set; None if it does not say.

  Args:
    metadata: Metadata of the data set: `sources`, as `halo_kappa` has, or
      `plane_weights`, as `kappatng_cosmos` has.
  """
  if metadata.get("sources") is not None:
    return theory.SourceRedshifts.from_card(metadata["sources"])
  if metadata.get("plane_weights") is not None:
    return source_planes.sources(metadata["plane_weights"])
  return None


def is_of_surveys(builder: "tfds.core.DatasetBuilder") -> bool:
  """Returns whether every map of a data set belongs to a survey of its own.

  Args:
    builder: Builder from `open_dataset`.
  """
  return "source_weights" in builder.info.features


def read_surveys(
  builder: "tfds.core.DatasetBuilder",
) -> tuple[dict[str, survey_training.SurveyMaps], random_surveys.SurveyRanges, dict]:
  """Returns the maps of a prepared data set of many surveys, such as `survey_kappa`.

  Args:
    builder: Builder from `open_dataset`.

  Returns:
    `(maps, ranges, metadata)`: dict of split to `survey_training.SurveyMaps`, the
    ranges of the surveys, and the metadata of the data set, with its full name as
    `dataset` and the sizes of its splits as `splits`.

  Raises:
    ValueError: If it has no splits train and validation, or was made by another version
      of `survey_kappa`.
  """
  import tensorflow_datasets as tfds

  metadata = dict(builder.info.metadata or {})
  _check_splits(builder)
  names = [field.name for field in dataclasses.fields(random_surveys.SurveyRanges)]
  missing = [name for name in names if name not in metadata]
  if missing or metadata.get("source_redshifts") != random_surveys.NODES.tolist():
    raise ValueError(
      f"{builder.data_dir} has no ranges of its surveys, or other redshifts than this"
      f" version of survey_kappa (it lacks {missing}). Prepare it again."
    )
  maps = {}
  for split in ("train", "validation"):
    examples = list(tfds.as_numpy(builder.as_dataset(split=split)))
    surveys = [
      random_surveys.Survey(
        float(example["pixel_scale_arcmin"]),
        example["source_weights"],
        theory.Cosmology(example["omega_matter"], example["sigma_8"]),
      )
      for example in examples
    ]
    kappa = [example["kappa"] for example in examples]
    maps[split] = survey_training.SurveyMaps(kappa, surveys)
  ranges = random_surveys.SurveyRanges(**{name: metadata[name] for name in names})
  metadata["dataset"] = builder.info.full_name
  metadata["splits"] = {split: len(some.maps) for split, some in maps.items()}
  return maps, ranges, metadata


def _check_splits(builder):
  missing = {"train", "validation"} - set(builder.info.splits)
  if missing:
    raise ValueError(
      f"{builder.data_dir} has no split {' and '.join(sorted(missing))}; it has"
      f" {sorted(builder.info.splits)}."
    )
