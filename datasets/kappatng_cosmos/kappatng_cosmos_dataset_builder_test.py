"""The builder makes maps, mocks and planes of small releases."""

import hashlib
import pathlib
import typing

import h5py
import numpy as np
import pytest
import tensorflow_datasets as tfds

from tfp_massmap import lensing
from tfp_massmap.datasets.kappatng_cosmos import kappatng_cosmos_dataset_builder as lib

SIZE = 8
RUNS = [(1, 1), (1, 2), (81, 1), (91, 3)]
DUMMY = pathlib.Path(lib.__file__).parent / "dummy_data"


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


@pytest.mark.parametrize("kind", ["hdf5", "tar"])
def test_splits_hold_the_maps_of_the_release(tmp_path, kind, write_release, combined):
  manual = tmp_path / "manual"
  write_release(kind, manual / "fullphys")
  builder = _prepare(tmp_path, manual, _config())
  examples = _read(builder)
  assert sorted(examples) == RUNS
  for run, example in examples.items():
    np.testing.assert_allclose(example["kappa"], combined(run), atol=1e-6)
  splits = {n: s.num_examples for n, s in builder.info.splits.items()}
  assert splits == {"train": 2, "validation": 1, "test": 1}
  assert builder.info.metadata["physics"] == "fullphys"


def test_prepared_data_need_no_builder(tmp_path):
  builder = _prepare(tmp_path, DUMMY, _config())
  again = tfds.builder_from_directory(builder.data_dir)
  assert len(list(again.as_dataset(split="train"))) == 2
  assert tfds.builder("kappatng_cosmos", data_dir=tmp_path).name == "kappatng_cosmos"


def test_own_weights_and_dark_matter(tmp_path, write_release, combined):
  write_release("hdf5", tmp_path / "manual" / "dmonly", RUNS[:1])
  weights = np.arange(40.0)
  config = _config(plane_weights=tuple(weights), physics="dmonly")
  examples = _read(_prepare(tmp_path, tmp_path / "manual", config))
  expected = combined((1, 1), weights / weights.sum())
  np.testing.assert_allclose(examples[1, 1]["kappa"], expected, atol=1e-6)


def test_planes(tmp_path, plane):
  config = _config(product="planes", planes=(40, 3))
  examples = _read(_prepare(tmp_path, DUMMY, config))
  np.testing.assert_array_equal(examples[1, 2]["kappa"][1], plane((1, 2), 3))
  np.testing.assert_array_equal(examples[1, 2]["kappa"][0], plane((1, 2), 40))


def test_mock_is_the_shear_of_a_crop_with_noise(tmp_path, combined):
  """The noise over its standard deviation has the chi^2 of 100 values, to 5 sigma."""
  builder = _prepare(tmp_path, DUMMY, _config(product="mock"))
  examples = _read(builder)
  chi2, number = 0.0, 0
  for run, example in examples.items():
    row, column = example["corner"]
    full = combined(run)
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


def test_damaged_files_leave_nothing(tmp_path, write_release):
  manual = tmp_path / "manual"
  write_release("hdf5", manual / "fullphys")
  with h5py.File(next(manual.rglob("LP081*.hdf5")), "a") as file:
    del file["z17/kappa"]
  with pytest.raises(Exception, match=r"LP081_run001.*plane 17.*no z17"):
    _prepare(tmp_path, manual, _config())
  left = [p for p in (tmp_path / "data").rglob("*") if p.is_file()]
  assert not [p for p in left if "kappatng" in p.name or "tfrecord" in p.name]


def test_combined_maps_have_no_planes(tmp_path, write_release):
  write_release("tar", tmp_path / "manual" / "fullphys")
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


def test_beam_makes_the_same_examples(tmp_path, write_release):
  beam = pytest.importorskip("apache_beam", reason="needs the extra `beam`")
  options = beam.options.pipeline_options.PipelineOptions()
  write_release("tar", tmp_path / "tar" / "fullphys")
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
