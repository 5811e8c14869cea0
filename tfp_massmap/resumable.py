"""Long work in numbered steps that goes on where it was stopped."""

import pathlib
import zipfile

import numpy as np
import tqdm.auto

from tfp_massmap import io

_LABEL = "label of the run"


def collect(step, num_steps, *, folder=None, label="", unit="step", progress=True):
  """What each of many steps gives, kept as it comes.

  Args:
    step: function of a number, 0, 1, ..., to a dict of arrays, of the same names and
      shapes at every step; must depend on nothing but the number and what `label` tells.
    num_steps: how many, 1 or more.
    folder: None, or where results are kept, an `.npz` file a step; those of an earlier
      run with this label are read, not made again.
    label: all that decides the results: settings, seeds, checksums; the version of this
      library is added.
    unit: what the progress bar counts.
    progress: whether to show it.

  Returns:
    Dict of NumPy arrays, `[num_steps, ...]` each.

  Raises:
    ValueError: if the folder holds steps of another run, or a file that is no step; for
      steps of other names or shapes than the first one's.
    TypeError: if a step gives Python objects, which could be kept only as pickles.
  """
  label = f"{label} by {io.CREATOR}"
  results = []
  for index in tqdm.auto.trange(num_steps, unit=unit, disable=not progress):
    path = None if folder is None else pathlib.Path(folder) / f"step_{index:05d}.npz"
    if path is not None and path.exists():
      results.append(_load(path, label))
      continue
    arrays = {name: np.asarray(value) for name, value in step(index).items()}
    objects = [name for name, array in arrays.items() if array.dtype.hasobject]
    if objects:
      raise TypeError(f"A step must give arrays of numbers or text; {objects} are not.")
    if path is not None:
      with io.atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays, **{_LABEL: np.array(label)})
    results.append(arrays)
  return _stack(results)


def _stack(results):
  shapes = [{n: a.shape for n, a in arrays.items()} for arrays in results]
  for index, found in enumerate(shapes):
    if found != shapes[0]:
      raise ValueError(f"Step {index} gives {found}, step 0 {shapes[0]}.")
  return {name: np.stack([r[name] for r in results]) for name in results[0]}


def _load(path, label):
  try:
    with np.load(path, allow_pickle=False) as file:
      arrays = dict(file)
    found = str(arrays.pop(_LABEL))
  except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
    raise ValueError(
      f"{path} is not a step that was kept ({error}): delete it, or choose another"
      " folder."
    ) from error
  if found != label:
    raise ValueError(
      f"{path} is of another run, {found!r}, not {label!r}: choose another folder, or"
      " delete this one."
    )
  return arrays
