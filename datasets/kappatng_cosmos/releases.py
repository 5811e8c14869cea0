"""Readers of kappaTNG as it was released, three times in three formats.

  hdf5    LP{001-100}/LP{LLL}_run{RRR}_maps.hdf5, data sets z{01..40}/kappa
  binary  LP{001-100}/run{001-100}/kappa{01..40}.dat: int32 ng, ng^2 float64, int32 ng
  tar     kappaTNGCosmos.tar.gz with kappa{1..10000}.npy: the planes already combined
          for COSMOS (Remy et al. 2022), number = (LP - 1) * 100 + run

One plane of one run is in memory at a time. A file that is not what it should be raises
`CorruptFileError`, which names the file and the plane.
"""

import functools
import io
import re
import tarfile
import zlib

import h5py
import numpy as np

NUM_PLANES = 40
PHYSICS = ("fullphys", "dmonly")
_RUNS_PER_SET = 100
_HDF5 = "LP*/LP*_run*_maps.hdf5"
_BINARY = "LP*/run*/kappa01.dat"
_TAR = "kappaTNGCosmos.tar.gz"


class CorruptFileError(ValueError):
  """A file of the release is damaged or incomplete."""


def find_release(folder, physics, map_size):
  """The release in a folder.

  Args:
    folder: `epath.Path`, with a sub-folder `fullphys/` or `dmonly/`, or, for
      full-physics maps, with the files themselves; a folder `maps/` may be in between.
    physics: "fullphys" or "dmonly".
    map_size: pixels a side.

  Returns:
    A `Hdf5Release`, `BinaryRelease` or `TarRelease`.

  Raises:
    FileNotFoundError: if there is none.
    ValueError: if there are two, so that one would be ignored.
  """
  root = folder / physics
  if not root.exists():
    # Nothing in the files says which physics they are.
    if physics != PHYSICS[0] or any((folder / p).exists() for p in PHYSICS):
      raise FileNotFoundError(f"No folder {root}: put the {physics} maps there.")
    root = folder
  roots = [root, root / "maps"]
  found = [
    kind(base, paths, map_size)
    for base in roots
    for kind, pattern in (
      (Hdf5Release, _HDF5),
      (BinaryRelease, _BINARY),
      (TarRelease, _TAR),
    )
    if (paths := sorted(base.glob(pattern)))
  ]  # pyformat: disable
  if not found:
    looked_for = ", ".join(f"{root}/{p}" for p in (_HDF5, _BINARY, _TAR))
    raise FileNotFoundError(
      f"No kappaTNG maps in {folder}. Looked for {looked_for}, and the same in"
      f" {root}/maps/."
    )
  if len(found) > 1:
    kinds = " and ".join(f"{r.name} ({r.files[0]}, ...)" for r in found)
    raise ValueError(f"Several releases in {root}: {kinds}. Leave one of them there.")
  return found[0]


class Hdf5Release:
  """The release of 2024, one HDF5 file a run."""

  name = "hdf5"
  combined = False

  def __init__(self, base, paths, map_size):
    del base
    self.files = paths
    self._map_size = map_size
    self._paths = {
      _numbers(r"LP(\d+)_run(\d+)_maps", path.name): path for path in paths
    }

  def runs(self):
    """All `(lens_set, run)`, in order."""
    return sorted(self._paths)

  def plane(self, run, number):
    """Convergence of a source plane, 1 to 40, float32 `[n, n]`."""
    path = self._paths[run]
    place = f"{path}, plane {number}"
    try:
      with path.open("rb") as file, h5py.File(file, "r") as maps:
        # By name: other groups may sort before the first plane.
        plane = maps[f"z{number:02d}/kappa"][()]
    except KeyError as error:
      raise CorruptFileError(f"{place}: there is no z{number:02d}/kappa.") from error
    except (OSError, RuntimeError) as error:
      raise CorruptFileError(f"{place}: not readable as HDF5 ({error}).") from error
    return _checked(plane, place, self._map_size)


class BinaryRelease:
  """The older release, one binary file a plane."""

  name = "binary"
  combined = False

  def __init__(self, base, paths, map_size):
    self.files = paths
    self._base = base
    self._map_size = map_size
    self._folders = {
      _numbers(
        r"LP(\d+)/run(\d+)", f"{path.parent.parent.name}/{path.parent.name}"
      ): path.parent
      for path in paths
    }

  def runs(self):
    """All `(lens_set, run)`, in order."""
    return sorted(self._folders)

  def plane(self, run, number):
    """Convergence of a source plane, 1 to 40, float32 `[n, n]`."""
    path = self._folders[run] / f"kappa{number:02d}.dat"
    place = f"{path}, plane {number}"
    try:
      with path.open("rb") as file:
        content = file.read()
    except FileNotFoundError as error:
      raise CorruptFileError(f"{place}: there is no such file.") from error
    size = self._map_size
    expected = 8 + 8 * size**2
    if len(content) != expected:
      raise CorruptFileError(f"{place}: {len(content)} bytes instead of {expected}.")
    # Both ends hold the number of pixels a side, not a count of bytes.
    for end, four in (("head", content[:4]), ("tail", content[-4:])):
      value = int(np.frombuffer(four, "<i4")[0])
      if value != size:
        raise CorruptFileError(f"{place}: its {end} holds {value} instead of {size}.")
    plane = np.frombuffer(content, "<f8", count=size**2, offset=4)
    return _checked(plane.reshape(size, size), place, size)


class TarRelease:
  """Maps combined for COSMOS, in one compressed archive that is read as a stream."""

  name = "tar"
  combined = True

  def __init__(self, base, paths, map_size):
    del base
    self.files = paths
    self._path = paths[0]
    self._map_size = map_size

  def runs(self):
    """All `(lens_set, run)`, in order; reads through the whole archive."""
    return sorted(run for run, _ in self._members())

  def stream(self, runs):
    """Yields `((lens_set, run), kappa)` for some runs, in the archive's order.

    Args:
      runs: container of `(lens_set, run)`.

    Yields:
      Runs and their float32 maps `[n, n]`.

    Raises:
      CorruptFileError: for a damaged archive or map.
    """
    for run, read in self._members():
      if run in runs:
        yield run, read()

  def _members(self):
    """Yields runs and functions that read their maps, while the archive is there."""
    member = None
    try:
      with self._path.open("rb") as file:
        with tarfile.open(fileobj=file, mode="r|gz") as archive:
          for member in archive:
            match = re.search(r"(?:^|/)kappa(\d+)\.npy$", member.name)
            if member.isfile() and match:
              read = functools.partial(self._read, archive, member)
              yield _run_of(int(match[1])), read
    except CorruptFileError:
      raise
    except (tarfile.ReadError, EOFError, OSError, zlib.error) as error:
      last = f" after {member.name}" if member is not None else ""
      raise CorruptFileError(f"{self._path}: damaged{last} ({error}).") from error

  def _read(self, archive, member):
    place = f"{self._path}, {member.name}"
    try:
      content = io.BytesIO(archive.extractfile(member).read())
      kappa = np.load(content, allow_pickle=False)
    except (ValueError, tarfile.ReadError, EOFError, OSError, zlib.error) as error:
      raise CorruptFileError(f"{place}: not a NumPy array ({error}).") from error
    return _checked(kappa, place, self._map_size)


def combine(release, run, weights):
  """Weighted mean of the source planes of a run, float32 `[n, n]`.

  Args:
    release: `Hdf5Release` or `BinaryRelease`.
    run: `(lens_set, run)`.
    weights: of the 40 planes; planes of weight 0 are not read.
  """
  total = 0.0
  for number, weight in enumerate(weights, start=1):
    if weight > 0:
      total = total + weight * release.plane(run, number).astype(np.float64)
  return total.astype(np.float32)


def _numbers(pattern, text):
  match = re.fullmatch(rf"{pattern}.*", text)
  if match is None:
    raise ValueError(f"{text} is not named like a file of kappaTNG ({pattern}).")
  return int(match[1]), int(match[2])


def _run_of(number):
  lens_set, run = divmod(number - 1, _RUNS_PER_SET)
  return lens_set + 1, run + 1


def _checked(plane, place, map_size):
  if plane.shape != (map_size, map_size):
    raise CorruptFileError(
      f"{place}: shape {plane.shape} instead of {(map_size, map_size)}."
    )
  if plane.dtype.kind != "f":
    raise CorruptFileError(f"{place}: {plane.dtype} instead of floating-point numbers.")
  bad = np.count_nonzero(~np.isfinite(plane))
  if bad:
    raise CorruptFileError(f"{place}: {bad} pixels are NaN or infinite.")
  return plane.astype(np.float32)
