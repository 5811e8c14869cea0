"""Small releases of kappaTNG in every format."""

import io
import tarfile

import h5py
import numpy as np
import pytest

from tfp_massmap.simulate import source_planes

SIZE = 8
RUNS = [(1, 1), (1, 2), (81, 1), (91, 3)]


def _plane(run, number):
  rng = np.random.default_rng([*run, number])
  return rng.standard_normal([SIZE, SIZE]).astype(np.float32)


def _combined(run, weights=source_planes.COSMOS_WEIGHTS):
  planes = [w * _plane(run, n).astype(np.float64) for n, w in enumerate(weights, 1)]
  return np.sum(planes, axis=0)


def _write_hdf5(folder, runs):
  for lens_set, run in runs:
    base = folder / "maps" / f"LP{lens_set:03d}"
    base.mkdir(parents=True, exist_ok=True)
    path = base / f"LP{lens_set:03d}_run{run:03d}_maps.hdf5"
    with h5py.File(path, "w", libver="latest") as file:
      file.create_group("config")  # It sorts before z01, as in the release.
      for number in range(1, 41):
        file[f"z{number:02d}/kappa"] = _plane((lens_set, run), number)


def _write_binary(folder, runs):
  for lens_set, run in runs:
    base = folder / f"LP{lens_set:03d}" / f"run{run:03d}"
    base.mkdir(parents=True, exist_ok=True)
    for number in range(1, 41):
      end = np.int32(SIZE).astype("<i4").tobytes()
      plane = _plane((lens_set, run), number).astype("<f8").tobytes()
      (base / f"kappa{number:02d}.dat").write_bytes(end + plane + end)


def _write_tar(folder, runs):
  folder.mkdir(parents=True, exist_ok=True)
  with tarfile.open(folder / "kappaTNGCosmos.tar.gz", "w:gz") as archive:
    for lens_set, run in runs:
      content = io.BytesIO()
      np.save(content, _combined((lens_set, run)))
      number = (lens_set - 1) * 100 + run
      member = tarfile.TarInfo(f"x/kappaTNG/COSMOS/kappa{number}.npy")
      member.size = len(content.getvalue())
      content.seek(0)
      archive.addfile(member, content)


@pytest.fixture(scope="session")
def plane():
  """A function of run and number: the plane in the files, also those of dummy_data."""
  return _plane


@pytest.fixture(scope="session")
def combined():
  """A function of run and weights (those of COSMOS by default): the combined map."""
  return _combined


@pytest.fixture(scope="session")
def write_release():
  """A function of format, folder and runs, which writes a release."""
  writers = dict(hdf5=_write_hdf5, binary=_write_binary, tar=_write_tar)

  def write(kind, folder, runs=RUNS):
    writers[kind](folder, runs)

  return write
