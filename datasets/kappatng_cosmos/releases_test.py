"""Releases of every format give the same maps, and damaged ones are refused."""

import io
import tarfile

from etils import epath
import h5py
import numpy as np
import pytest

from tfp_massmap.datasets.kappatng_cosmos import releases
from tfp_massmap.simulate import source_planes

SIZE = 8
RUNS = [(1, 1), (1, 2), (81, 1), (91, 3)]


def _find(folder):
  return releases.find_release(epath.Path(folder), "fullphys", map_size=SIZE)


def _read_all(release):
  """Returns the combined maps of a release, by run."""
  runs = release.runs()
  if release.combined:
    return dict(release.stream(set(runs)))
  weights = source_planes.COSMOS_WEIGHTS
  return {run: releases.combine(release, run, weights=weights) for run in runs}


@pytest.mark.parametrize("kind", [each.name for each in releases.FORMATS])
def test_every_format_gives_the_same_maps(tmp_path, kind, write_release, combined):
  write_release(kind, tmp_path / "fullphys")
  release = _find(tmp_path)
  assert release.name == kind and release.runs() == RUNS
  for run, kappa in _read_all(release).items():
    assert kappa.dtype == np.float32
    np.testing.assert_allclose(kappa, combined(run), atol=1e-6)


@pytest.mark.parametrize("kind", ["hdf5", "binary"])
def test_planes_are_those_of_the_files(tmp_path, kind, write_release, plane):
  write_release(kind, tmp_path / "fullphys")
  release = _find(tmp_path)
  for number in (1, 17, 40):
    np.testing.assert_array_equal(
      release.plane((81, 1), number), plane((81, 1), number)
    )


def _damage_hdf5_plane(folder):
  with h5py.File(next(folder.rglob("LP081*.hdf5")), "a") as file:
    del file["z17/kappa"]


def _damage_hdf5_nan(folder):
  with h5py.File(next(folder.rglob("LP081*.hdf5")), "a") as file:
    file["z17/kappa"][2, 3] = np.nan


def _truncate(pattern):
  def damage(folder):
    path = next(folder.rglob(pattern))
    path.write_bytes(path.read_bytes()[:-700])

  return damage


def _overwrite(pattern, start, content):
  def damage(folder):
    path = next(folder.rglob(pattern))
    data = bytearray(path.read_bytes())
    data[start : start + len(content) if start >= 0 else None] = content
    path.write_bytes(data)

  return damage


def _damage_tar_member(folder):
  with tarfile.open(folder / "fullphys" / "kappaTNGCosmos.tar.gz", "w:gz") as archive:
    member = tarfile.TarInfo("kappa8001.npy")
    member.size = 5
    archive.addfile(member, io.BytesIO(b"hello"))


@pytest.mark.parametrize(
  "kind, damage, words",
  [
    ("hdf5", _damage_hdf5_plane, "LP081_run001.*plane 17.*no z17"),
    ("hdf5", _damage_hdf5_nan, "LP081_run001.*plane 17.*1 pixels are NaN"),
    ("hdf5", _truncate("LP081*.hdf5"), "LP081_run001.*plane 1.*not readable"),
    (
      "binary",
      _truncate("LP081/run001/kappa05.dat"),
      "kappa05.dat, plane 5: -?[0-9]+ bytes instead of 520",
    ),
    (
      "binary",
      _overwrite("LP081/run001/kappa05.dat", 0, b"\1\0\0\0"),
      "kappa05.dat, plane 5: its head holds 1 instead of 8",
    ),
    (
      "binary",
      _overwrite("LP081/run001/kappa05.dat", -4, b"\2\0\0\0"),
      "kappa05.dat, plane 5: its tail holds 2 instead of 8",
    ),
    (
      "binary",
      lambda f: next(f.rglob("LP081/run001/kappa05.dat")).unlink(),
      "kappa05.dat, plane 5: there is no such file",
    ),
    ("tar", _truncate("*.tar.gz"), "kappaTNGCosmos.tar.gz: damaged"),
    ("tar", _damage_tar_member, "kappa8001.npy: not a NumPy array"),
  ],
)
def test_damaged_files_are_named(tmp_path, kind, damage, words, write_release):
  write_release(kind, tmp_path / "fullphys")
  damage(tmp_path)
  with pytest.raises(releases.CorruptFileError, match=words):
    _read_all(_find(tmp_path))


def test_arrays_of_objects_are_refused(tmp_path):
  """Such arrays are pickles, which run code."""
  content = io.BytesIO()
  np.save(content, np.array([{}], dtype=object), allow_pickle=True)
  folder = tmp_path / "fullphys"
  folder.mkdir()
  with tarfile.open(folder / "kappaTNGCosmos.tar.gz", "w:gz") as archive:
    member = tarfile.TarInfo("kappa1.npy")
    member.size = len(content.getvalue())
    content.seek(0)
    archive.addfile(member, content)
  with pytest.raises(releases.CorruptFileError, match=r"kappa1\.npy: not a NumPy"):
    list(_find(tmp_path).stream({(1, 1)}))


def test_missing_and_double_releases(tmp_path, write_release):
  (tmp_path / "else").mkdir()
  with pytest.raises(FileNotFoundError, match=r"Looked for .*hdf5.*dat.*tar\.gz"):
    _find(tmp_path)
  with pytest.raises(FileNotFoundError, match="dmonly"):
    releases.find_release(epath.Path(tmp_path), "dmonly", map_size=SIZE)
  write_release("hdf5", tmp_path, RUNS[:1])
  assert _find(tmp_path).runs() == [(1, 1)]
  write_release("binary", tmp_path, RUNS[:1])
  with pytest.raises(ValueError, match=r"Several releases.*Leave one"):
    _find(tmp_path)
  (tmp_path / "dmonly").mkdir()
  with pytest.raises(FileNotFoundError, match="fullphys"):
    _find(tmp_path)
