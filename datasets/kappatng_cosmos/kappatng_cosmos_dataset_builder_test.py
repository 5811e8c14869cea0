"""The builder reads small releases of every format, and refuses damaged ones."""

import hashlib
import io
import pathlib
import tarfile
import typing

from etils import epath
import h5py
import numpy as np
import pytest
import tensorflow_datasets as tfds

from tfp_massmap import lensing
from tfp_massmap.datasets.kappatng_cosmos import kappatng_cosmos_dataset_builder as lib
from tfp_massmap.datasets.kappatng_cosmos import releases

SIZE = 8
RUNS = [(1, 1), (1, 2), (81, 1), (91, 3)]
DUMMY = pathlib.Path(lib.__file__).parent / "dummy_data"


def _plane(run, number):
  """Returns the plane that a dummy file holds, also those in dummy_data."""
  rng = np.random.default_rng([*run, number])
  return rng.standard_normal([SIZE, SIZE]).astype(np.float32)


def _expected(run, weights):
  planes = [w * _plane(run, n).astype(np.float64) for n, w in enumerate(weights, 1)]
  return np.sum(planes, axis=0)


def _write_hdf5(folder, runs=RUNS):
  for lens_set, run in runs:
    base = folder / "maps" / f"LP{lens_set:03d}"
    base.mkdir(parents=True, exist_ok=True)
    path = base / f"LP{lens_set:03d}_run{run:03d}_maps.hdf5"
    with h5py.File(path, "w", libver="latest") as file:
      file.create_group("config")  # Sorts before z01, as in the release.
      for number in range(1, 41):
        file[f"z{number:02d}/kappa"] = _plane((lens_set, run), number)


def _write_binary(folder, runs=RUNS):
  for lens_set, run in runs:
    base = folder / f"LP{lens_set:03d}" / f"run{run:03d}"
    base.mkdir(parents=True, exist_ok=True)
    for number in range(1, 41):
      end = np.int32(SIZE).astype("<i4").tobytes()
      plane = _plane((lens_set, run), number).astype("<f8").tobytes()
      (base / f"kappa{number:02d}.dat").write_bytes(end + plane + end)


def _write_tar(folder, runs=RUNS):
  folder.mkdir(parents=True, exist_ok=True)
  weights = lib.KappatngConfig(name="any").plane_weights
  with tarfile.open(folder / "kappaTNGCosmos.tar.gz", "w:gz") as archive:
    for lens_set, run in runs:
      content = io.BytesIO()
      np.save(content, _expected((lens_set, run), weights))
      number = (lens_set - 1) * 100 + run
      member = tarfile.TarInfo(f"x/kappaTNG/COSMOS/kappa{number}.npy")
      member.size = len(content.getvalue())
      content.seek(0)
      archive.addfile(member, content)


WRITERS = dict(hdf5=_write_hdf5, binary=_write_binary, tar=_write_tar)


def _config(name="small", **settings):
  return lib.KappatngConfig(name=name, map_size=SIZE, **settings)


class KappatngCosmosTest(tfds.testing.DatasetBuilderTestCase):
  DATASET_CLASS = lib.Builder
  EXAMPLE_DIR = DUMMY
  SPLITS: typing.ClassVar = {"train": 2, "validation": 1, "test": 1}
  BUILDER_CONFIG_NAMES_TO_TEST: typing.ClassVar = [
    _config("small"),
    _config("small_mock", product="mock"),
    _config("small_planes", product="planes"),
  ]


def _prepare(tmp_path, manual, config, **download):
  builder = lib.Builder(data_dir=str(tmp_path / "data"), config=config)
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=str(manual), **download)
  )
  return builder


def _read(builder):
  return {
    (int(e["lens_set"]), int(e["run"])): e
    for split in builder.info.splits
    for e in tfds.as_numpy(builder.as_dataset(split=split))
  }


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_gives_the_same_maps(tmp_path, kind):
  manual = tmp_path / "manual"
  WRITERS[kind](manual / "fullphys")
  builder = _prepare(tmp_path, manual, _config())
  examples = _read(builder)
  assert sorted(examples) == RUNS
  for run, example in examples.items():
    expected = _expected(run, builder.builder_config.plane_weights)
    np.testing.assert_allclose(example["kappa"], expected, atol=1e-6)
  splits = {n: s.num_examples for n, s in builder.info.splits.items()}
  assert splits == {"train": 2, "validation": 1, "test": 1}
  assert builder.info.metadata["physics"] == "fullphys"


def test_prepared_data_need_no_builder(tmp_path):
  builder = _prepare(tmp_path, DUMMY, _config())
  again = tfds.builder_from_directory(builder.data_dir)
  assert len(list(again.as_dataset(split="train"))) == 2
  assert tfds.builder("kappatng_cosmos", data_dir=tmp_path).name == "kappatng_cosmos"


def test_own_weights_and_dark_matter(tmp_path):
  _write_hdf5(tmp_path / "manual" / "dmonly", RUNS[:1])
  weights = np.arange(40.0)
  config = _config(plane_weights=tuple(weights), physics="dmonly")
  examples = _read(_prepare(tmp_path, tmp_path / "manual", config))
  expected = _expected((1, 1), weights / weights.sum())
  np.testing.assert_allclose(examples[1, 1]["kappa"], expected, atol=1e-6)


def test_planes(tmp_path):
  config = _config(product="planes", planes=(40, 3))
  examples = _read(_prepare(tmp_path, DUMMY, config))
  np.testing.assert_array_equal(examples[1, 2]["kappa"][1], _plane((1, 2), 3))
  np.testing.assert_array_equal(examples[1, 2]["kappa"][0], _plane((1, 2), 40))


def test_mock_is_the_shear_of_a_crop_with_noise(tmp_path):
  """The noise over its standard deviation has the chi^2 of 100 values, to 5 sigma."""
  builder = _prepare(tmp_path, DUMMY, _config(product="mock"))
  examples = _read(builder)
  chi2, number = 0.0, 0
  for run, example in examples.items():
    row, column = example["corner"]
    full = _expected(run, builder.builder_config.plane_weights)
    crop = full[row : row + 6, column : column + 6]
    np.testing.assert_allclose(example["kappa"], crop, atol=1e-6)
    mask, std = example["mask"], example["noise_std"]
    shear = lensing.shear_from_convergence(example["kappa"]).numpy()
    residual = (example["shear"] - shear)[:, mask] / std[:, mask]
    chi2, number = chi2 + (residual**2).sum(), number + residual.size
    assert (example["shear"][:, ~mask] == 0).all() and (std[:, ~mask] == 0).all()
    assert 0 < mask.sum() < mask.size
  assert abs(chi2 - number) < 5 * np.sqrt(2 * number)
  again = _read(_prepare(tmp_path / "again", DUMMY, _config(product="mock")))
  other = _read(_prepare(tmp_path / "other", DUMMY, _config(product="mock", seed=1)))
  np.testing.assert_array_equal(again[1, 2]["shear"], examples[1, 2]["shear"])
  assert not np.array_equal(other[1, 2]["shear"], examples[1, 2]["shear"])


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
def test_damaged_files_are_named_and_leave_nothing(tmp_path, kind, damage, words):
  manual = tmp_path / "manual"
  WRITERS[kind](manual / "fullphys")
  damage(manual)
  with pytest.raises(Exception, match=words):
    _prepare(tmp_path, manual, _config())
  left = [p for p in (tmp_path / "data").rglob("*") if p.is_file()]
  assert not [p for p in left if "kappatng" in p.name or "tfrecord" in p.name]


def test_arrays_of_objects_are_refused(tmp_path):
  """Such arrays are pickles, which run code."""
  content = io.BytesIO()
  np.save(content, np.array([{}], dtype=object), allow_pickle=True)
  folder = tmp_path / "manual" / "fullphys"
  folder.mkdir(parents=True)
  with tarfile.open(folder / "kappaTNGCosmos.tar.gz", "w:gz") as archive:
    member = tarfile.TarInfo("kappa1.npy")
    member.size = len(content.getvalue())
    content.seek(0)
    archive.addfile(member, content)
  release = releases.find_release(
    epath.Path(tmp_path / "manual"), "fullphys", map_size=SIZE
  )
  with pytest.raises(
    releases.CorruptFileError, match=r"kappa1\.npy: not a NumPy array"
  ):
    list(release.stream({(1, 1)}))


def test_what_is_missing_or_double(tmp_path):
  folder = epath.Path(tmp_path)
  (tmp_path / "else").mkdir()
  with pytest.raises(FileNotFoundError, match=r"Looked for .*hdf5.*dat.*tar\.gz"):
    releases.find_release(folder, "fullphys", map_size=SIZE)
  with pytest.raises(FileNotFoundError, match="dmonly"):
    releases.find_release(folder, "dmonly", map_size=SIZE)
  _write_hdf5(tmp_path, RUNS[:1])
  assert releases.find_release(folder, "fullphys", map_size=SIZE).runs() == [(1, 1)]
  _write_binary(tmp_path, RUNS[:1])
  with pytest.raises(ValueError, match=r"Several releases.*Leave one"):
    releases.find_release(folder, "fullphys", map_size=SIZE)
  (tmp_path / "dmonly").mkdir()
  with pytest.raises(FileNotFoundError, match="fullphys"):
    releases.find_release(folder, "fullphys", map_size=SIZE)


def test_combined_maps_have_no_planes(tmp_path):
  _write_tar(tmp_path / "manual" / "fullphys")
  for settings in (dict(product="planes"), dict(plane_weights=(1.0,) * 40)):
    with pytest.raises(ValueError, match="already combined"):
      _prepare(tmp_path, tmp_path / "manual", _config(**settings))


@pytest.mark.parametrize(
  "settings, message",
  [
    (dict(product="shear"), "product"),
    (dict(physics="dark"), "physics"),
    (dict(planes=(0,)), "1 to 40"),
    (dict(plane_weights=(1.0,)), "40"),
  ],
)
def test_impossible_configurations(settings, message):
  with pytest.raises(ValueError, match=message):
    _config(**settings)


def test_prepared_data_of_other_settings_are_not_taken_for_these(tmp_path):
  _prepare(tmp_path, DUMMY, _config())
  with pytest.raises(ValueError, match="prepared with another plane_weights"):
    _prepare(tmp_path, DUMMY, _config(plane_weights=(1.0,) * 40))
  with pytest.raises(ValueError, match="Cannot name"):
    lib.Builder(data_dir=str(tmp_path), config=_config("convergence"))


def test_weights_may_be_a_redshift_density():
  config = _config(plane_weights=lambda z: np.exp(-(((z - 1) / 0.1) ** 2)))
  assert 15 <= int(np.argmax(config.plane_weights)) + 1 <= 25
  assert sum(config.plane_weights) == pytest.approx(1)


def test_beam_makes_the_same_examples(tmp_path):
  beam = pytest.importorskip("apache_beam", reason="needs the extra `beam`")
  options = beam.options.pipeline_options.PipelineOptions()
  _write_tar(tmp_path / "tar" / "fullphys")
  for number, (manual, config) in enumerate(
    [(DUMMY, _config(product="mock")), (tmp_path / "tar", _config())]
  ):
    alone = _prepare(tmp_path / f"alone{number}", manual, config)
    beamed = _prepare(tmp_path / f"beam{number}", manual, config, beam_options=options)
    assert _checksum(alone) == _checksum(beamed)
    assert set(_read(alone)) == set(_read(beamed)) == set(RUNS)


def _checksum(builder):
  """Returns the sum of the hashes of all examples, in whatever order."""
  total = 0
  for run, example in _read(builder).items():
    content = repr(run).encode()
    content += b"".join(example[name].tobytes() for name in sorted(example))
    total += int.from_bytes(hashlib.sha256(content).digest(), "big")
  return total % 2**256


if __name__ == "__main__":
  tfds.testing.test_main()
