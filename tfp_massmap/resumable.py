"""Long work in numbered steps that resumes where it was interrupted.

Each step is kept in a file of its own as soon as it is done, together with a record of
what made it. Steps of the same work are read instead of being made again; those of
other work are refused.
"""

from collections.abc import Callable
from collections.abc import Mapping
import json
import os
import pathlib
import typing
import zipfile

import numpy as np
import tqdm.auto

from tfp_massmap import io

_MADE = "made by"

Arrays = dict[str, np.ndarray]


def collect(
  step: Callable[[int], Mapping[str, typing.Any]],
  num_steps: int,
  *,
  folder: str | os.PathLike | None = None,
  label: str | Mapping[str, typing.Any] = "",
  unit: str = "step",
  progress: bool = True,
) -> Arrays:
  """Returns the results of all steps, stacked.

  Args:
    step: As `run_steps`; its arrays have the same names and shapes at every step.
    num_steps: Number of steps, positive.
    folder: As `run_steps`.
    label: As `run_steps`.
    unit: As `run_steps`.
    progress: As `run_steps`.

  Returns:
    Arrays by name, `[num_steps, ...]` each.

  Raises:
    ValueError: As `run_steps`, or if a step differs from the first one in the names or
      shapes of its arrays.
    TypeError: As `run_steps`.
  """
  results = run_steps(
    step, num_steps, folder=folder, label=label, unit=unit, progress=progress
  )
  shapes = [{name: a.shape for name, a in arrays.items()} for arrays in results]
  for index, found in enumerate(shapes):
    if found != shapes[0]:
      raise ValueError(
        f"All steps must give arrays of the same names and shapes; step {index} gives"
        f" {found}, step 0 {shapes[0]}."
      )
  return {name: np.stack([r[name] for r in results]) for name in results[0]}


def run_steps(
  step: Callable[[int], Mapping[str, typing.Any]],
  num_steps: int,
  *,
  folder: str | os.PathLike | None = None,
  label: str | Mapping[str, typing.Any] = "",
  unit: str = "step",
  progress: bool = True,
) -> list[Arrays]:
  """Returns the result of each step, made now or read from an earlier run.

  Args:
    step: Function of a number, 0, 1, ..., that returns a mapping of names to arrays. It
      must depend on nothing but the number and what `label` describes.
    num_steps: Number of steps, positive.
    folder: None, or the folder in which results are kept, an `.npz` file for each step.
    label: All that decides the results: settings, seeds, checksums, as a text or as a
      mapping that `json` can write. The version of this library is added.
    unit: Name of a step in the progress bar.
    progress: Whether to show the progress bar.

  Returns:
    A list of arrays by name, one entry for each step.

  Raises:
    ValueError: If `num_steps` is not positive, or the folder has a step of another run
      or a file that is not a step.
    TypeError: If a step returns Python objects, which only a pickle could keep.
  """
  if num_steps < 1:
    raise ValueError(f"num_steps must be positive; got {num_steps}.")
  label = {"label": label} if isinstance(label, str) else dict(label)
  made = _as_read({**label, "version": io.CREATOR})
  results = []
  for index in tqdm.auto.trange(num_steps, unit=unit, disable=not progress):
    path = None if folder is None else pathlib.Path(folder) / f"step_{index:05d}.npz"
    if path is not None and path.exists():
      results.append(_load(path, made))
      continue
    arrays: dict[str, typing.Any] = {
      name: np.asarray(value) for name, value in step(index).items()
    }
    objects = [name for name, array in arrays.items() if array.dtype.hasobject]
    if objects:
      raise TypeError(f"A step must give arrays of numbers or text; {objects} are not.")
    if path is not None:
      with io.atomic_path(path) as temporary, open(temporary, "wb") as file:
        note: dict[str, typing.Any] = {_MADE: np.array(json.dumps(made))}
        np.savez_compressed(file, **arrays, **note)
    results.append(arrays)
  return results


def _load(path, made):
  try:
    with np.load(path, allow_pickle=False) as file:
      arrays = dict(file)
    found = dict(json.loads(str(arrays.pop(_MADE))))
  except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
    raise ValueError(
      f"{path} is not a step that was kept ({error}): delete it, or choose another"
      " folder."
    ) from error
  check_same_run(path, found, made=made)
  return arrays


def check_same_run(
  path: str | os.PathLike,
  found: Mapping[str, typing.Any],
  *,
  made: Mapping[str, typing.Any],
) -> None:
  """Checks that a file was made by this run.

  Args:
    path: Name of the file, for the message.
    found: What made the file, as the `label` of `run_steps`.
    made: What makes the run.

  Raises:
    ValueError: If an entry differs; the message names all that do.
  """
  found, made = _as_read(found), _as_read(made)
  differences = [
    f"{name} {found.get(name)!r}, not {made.get(name)!r}"
    for name in {**made, **found}
    if found.get(name) != made.get(name)
  ]
  if differences:
    raise ValueError(
      f"{path} is of another run, with {'; '.join(differences)}. Choose another name"
      " for this run, or delete the other one."
    )


def _as_read(made):
  """Returns a mapping as `json` reads it again, with lists for tuples."""
  return json.loads(json.dumps(made, default=str))
