"""Readers of kappaTNG, which was released three times in three formats.

  hdf5    LP{001-100}/LP{LLL}_run{RRR}_maps.hdf5, data sets z{01..40}/kappa
  binary  LP{001-100}/run{001-100}/kappa{01..40}.dat: int32 ng, ng^2 float64, int32 ng
  tar     kappaTNGCosmos.tar.gz with kappa{1..10000}.npy: the planes already combined
          for COSMOS (Remy et al. 2022), number = (LP - 1) * 100 + run

A run is `(lens_set, run)`, two numbers from 1 to 100. One plane of one run is in memory
at a time. A damaged file raises `CorruptFileError`, which names the file and the plane.
"""

from collections.abc import Callable
from collections.abc import Container
from collections.abc import Iterator
from collections.abc import Sequence
import functools
import io
import re
import tarfile
import typing
import zlib

from etils import epath
import h5py
import numpy as np

NUM_PLANES = 40
PHYSICS = ("fullphys", "dmonly")
_RUNS_PER_SET = 100


class CorruptFileError(ValueError):
  """A file of the release is damaged or incomplete."""


class Release:
  """Files of one format.

  Args:
    paths: Those files of the release that match `pattern`.
    map_size: Pixels a side.

  Attributes:
    name: Name of the format.
    pattern: Pattern by which files of the format are found.
    combined: Whether the planes are already combined, so that there is a `stream` of
      maps and no `plane`.
    files: The paths.
  """

  name: typing.ClassVar[str]
  pattern: typing.ClassVar[str]
  combined: typing.ClassVar[bool] = False

  def __init__(self, paths: Sequence[epath.Path], map_size: int) -> None:
    self.files = paths
    self._map_size = map_size

  def runs(self) -> list[tuple[int, int]]:
    """Returns all runs, in order."""
    raise NotImplementedError

  def plane(self, run: tuple[int, int], number: int) -> np.ndarray:
    """Returns the convergence of a source plane, float32 `[n, n]`.

    Args:
      run: `(lens_set, run)`.
      number: Number of the plane, 1 to 40.

    Raises:
      CorruptFileError: If the file is damaged or has no such plane.
    """
    raise NotImplementedError

  def stream(
    self, runs: Container[tuple[int, int]]
  ) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """Yields runs and their combined maps, float32 `[n, n]`, in the archive's order.

    Args:
      runs: The runs that are wanted.

    Raises:
      CorruptFileError: If the archive or a map is damaged.
    """
    raise NotImplementedError


class Hdf5Release(Release):
  """The release of 2024, with one HDF5 file for each run."""

  name = "hdf5"
  pattern = "LP*/LP*_run*_maps.hdf5"

  def __init__(self, paths: Sequence[epath.Path], map_size: int) -> None:
    super().__init__(paths, map_size)
    self._paths = {
      _numbers(r"LP(\d+)_run(\d+)_maps", path.name): path for path in paths
    }

  def runs(self) -> list[tuple[int, int]]:
    """Returns all runs, in order."""
    return sorted(self._paths)

  def plane(self, run: tuple[int, int], number: int) -> np.ndarray:
    """Returns the convergence of a source plane, see `Release`."""
    path = self._paths[run]
    place = f"{path}, plane {number}"
    try:
      with path.open("rb") as file, h5py.File(file, "r") as maps:
        # By name, because other groups may sort before the first plane.
        plane = maps[f"z{number:02d}/kappa"][()]
    except KeyError as error:
      raise CorruptFileError(f"{place}: there is no z{number:02d}/kappa.") from error
    except (OSError, RuntimeError) as error:
      raise CorruptFileError(f"{place}: not readable as HDF5 ({error}).") from error
    return _checked(plane, place, map_size=self._map_size)


class BinaryRelease(Release):
  """The older release, with one binary file for each plane."""

  name = "binary"
  pattern = "LP*/run*/kappa01.dat"

  def __init__(self, paths: Sequence[epath.Path], map_size: int) -> None:
    super().__init__(paths, map_size)
    self._folders = {
      _numbers(
        r"LP(\d+)/run(\d+)", f"{path.parent.parent.name}/{path.parent.name}"
      ): path.parent
      for path in paths
    }

  def runs(self) -> list[tuple[int, int]]:
    """Returns all runs, in order."""
    return sorted(self._folders)

  def plane(self, run: tuple[int, int], number: int) -> np.ndarray:
    """Returns the convergence of a source plane, see `Release`."""
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
    return _checked(plane.reshape(size, size), place, map_size=size)


class TarRelease(Release):
  """Maps combined for COSMOS, in one compressed archive that is read as a stream."""

  name = "tar"
  pattern = "kappaTNGCosmos.tar.gz"
  combined = True

  def runs(self) -> list[tuple[int, int]]:
    """Returns all runs, in order; this reads the whole archive."""
    return sorted(run for run, _ in self._members())

  def stream(
    self, runs: Container[tuple[int, int]]
  ) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """Yields runs and their combined maps, see `Release`."""
    for run, read in self._members():
      if run in runs:
        yield run, read()

  def _members(self) -> Iterator[tuple[tuple[int, int], Callable[[], np.ndarray]]]:
    """Yields runs and functions that read their maps before the next is asked for."""
    path = self.files[0]
    member = None
    try:
      with path.open("rb") as file:
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
      raise CorruptFileError(f"{path}: damaged{last} ({error}).") from error

  def _read(self, archive, member):
    place = f"{self.files[0]}, {member.name}"
    try:
      content = io.BytesIO(archive.extractfile(member).read())
      kappa = np.load(content, allow_pickle=False)
    except (ValueError, tarfile.ReadError, EOFError, OSError, zlib.error) as error:
      raise CorruptFileError(f"{place}: not a NumPy array ({error}).") from error
    return _checked(kappa, place, map_size=self._map_size)


# Another format of the release is a class and a name here.
FORMATS: tuple[type[Release], ...] = (Hdf5Release, BinaryRelease, TarRelease)


def find_release(folder: epath.Path, physics: str, *, map_size: int) -> Release:
  """Returns the release in a folder.

  Args:
    folder: Folder with a sub-folder `fullphys/` or `dmonly/`, or, for full-physics
      maps, with the files themselves. A folder `maps/` may be in between.
    physics: "fullphys" or "dmonly".
    map_size: Pixels a side.

  Raises:
    FileNotFoundError: If there is none.
    ValueError: If there are two, so that one would be ignored.
  """
  root = folder / physics
  if not root.exists():
    # Nothing in the files shows which physics they have.
    if physics != PHYSICS[0] or any((folder / p).exists() for p in PHYSICS):
      raise FileNotFoundError(f"No folder {root}: put the {physics} maps there.")
    root = folder
  found = [
    kind(paths, map_size)
    for base in (root, root / "maps")
    for kind in FORMATS
    if (paths := sorted(base.glob(kind.pattern)))
  ]
  if not found:
    looked_for = ", ".join(f"{root}/{kind.pattern}" for kind in FORMATS)
    raise FileNotFoundError(
      f"No kappaTNG maps in {folder}. Looked for {looked_for}, and the same in"
      f" {root}/maps/."
    )
  if len(found) > 1:
    kinds = " and ".join(f"{r.name} ({r.files[0]}, ...)" for r in found)
    raise ValueError(f"Several releases in {root}: {kinds}. Leave one of them there.")
  return found[0]


def combine(
  release: Release, run: tuple[int, int], *, weights: Sequence[float]
) -> np.ndarray:
  """Returns the weighted sum of the source planes of a run, float32 `[n, n]`.

  Args:
    release: A release with single planes.
    run: `(lens_set, run)`.
    weights: Weights of the 40 planes; planes of weight 0 are not read.

  Raises:
    CorruptFileError: If a file is damaged.
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
  """Returns a map as float32, if its shape, type and values are right."""
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
