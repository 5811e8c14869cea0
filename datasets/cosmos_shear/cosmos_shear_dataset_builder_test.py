"""The builder reads a small catalogue, and the published one when it is at hand."""

import hashlib
import os
import pathlib
import shutil
import typing

from astropy.io import fits
from etils import epath
import numpy as np
import pytest
import tensorflow_datasets as tfds

from tfp_massmap.catalog import files
from tfp_massmap.datasets.cosmos_shear import cosmos_shear_dataset_builder as lib

FOLDER = pathlib.Path(lib.__file__).parent


class CosmosShearTest(tfds.testing.DatasetBuilderTestCase):
  DATASET_CLASS = lib.Builder
  EXAMPLE_DIR = FOLDER / "dummy_data"
  DL_EXTRACT_RESULT: typing.ClassVar = {
    role: f"downloads/{name}" for role, name in files.SCHRABBACK2010_FILES.items()
  }
  BUILDER_CONFIG_NAMES_TO_TEST: typing.ClassVar = ["galaxies"]
  SPLITS: typing.ClassVar = {"train": 40}


class CosmosShearMapsTest(CosmosShearTest):
  BUILDER_CONFIG_NAMES_TO_TEST: typing.ClassVar = ["maps"]
  SPLITS: typing.ClassVar = {"train": 1}


@pytest.fixture(name="published")
def _published():
  default = pathlib.Path(__file__).resolve().parents[2].parent / "shared" / "data"
  folder = pathlib.Path(os.environ.get("TFP_MASSMAP_DATA", default)) / "cosmos"
  if not folder.is_dir():
    pytest.skip("needs the real data: no folder cosmos/ under TFP_MASSMAP_DATA")
  return folder


def _prepare(data_dir, manual, config):
  builder = lib.Builder(data_dir=str(data_dir), config=config)
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=str(manual))
  )
  return builder


def test_published_maps_offline(tmp_path, published):
  """The binned maps are those that were released with the catalogue."""
  config = lib.CosmosShearConfig(name="own", product="maps", noise="unweighted")
  builder = _prepare(tmp_path, published, config)
  (example,) = tfds.as_numpy(builder.as_dataset(split="train"))
  for index in (1, 2):
    released = fits.getdata(published / f"cosmos_full_e{index}_0.29arcmin360.fits")
    np.testing.assert_allclose(example["shear"][index - 1], released, atol=2e-7)
    std = fits.getdata(published / f"std{index}.fits")
    np.testing.assert_allclose(example["noise_std"][index - 1], std, atol=1e-7)
  mask = fits.getdata(published / "cosmos_full_mask_0.29arcmin360.fits") > 0
  np.testing.assert_array_equal(example["mask"], mask)
  assert example["count"][~mask].sum() == 0 and example["count"].sum() > 4e5


def test_checksums_are_those_of_the_published_files(published):
  for url, info in lib.Builder.url_infos.items():
    content = (published / url.rsplit("/", 1)[1]).read_bytes()
    assert len(content) == info.size
    assert hashlib.sha256(content).hexdigest() == info.checksum


def test_galaxies_are_the_rows_of_the_files(tmp_path):
  manual = FOLDER / "dummy_data" / "downloads"
  builder = lib.Builder(data_dir=str(tmp_path), config="galaxies")
  paths = {r: epath.Path(manual / n) for r, n in files.SCHRABBACK2010_FILES.items()}
  rows = list(builder._generate_examples(paths))
  assert [key for key, _ in rows] == list(range(40))
  for role, path in paths.items():
    column = fits.getdata(path).ravel()
    np.testing.assert_array_equal([row[role] for _, row in rows], column)


def test_other_files_in_manual_dir_are_refused(tmp_path):
  manual = tmp_path / "manual"
  shutil.copytree(FOLDER / "dummy_data" / "downloads", manual)
  with pytest.raises(ValueError, match=r"ra\.fits is not the published file"):
    _prepare(tmp_path / "data", manual, "galaxies")
  (manual / "e2.fits").unlink()
  with pytest.raises((FileNotFoundError, ValueError), match=r"published|No .*e2\.fits"):
    _prepare(tmp_path / "data", manual, "galaxies")
  assert not list((tmp_path / "data").rglob("*tfrecord*"))


def test_impossible_configuration():
  with pytest.raises(ValueError, match="galaxies or maps"):
    lib.CosmosShearConfig(name="own", product="shear")


if __name__ == "__main__":
  tfds.testing.test_main()
