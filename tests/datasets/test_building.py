"""The builders are found in a checkout and in an installation."""

import os
import pathlib
import subprocess
import sys

import pytest

from tfp_massmap import datasets

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMES = ["cosmos_shear", "halo_kappa", "kappatng_cosmos", "survey_kappa"]
CODE = """
import pathlib
import tensorflow_datasets as tfds
import tfp_massmap.datasets
for name in tfp_massmap.datasets.__all__:
  builder = tfds.builder(name, data_dir="data")
  info = builder.info
  urls = len(builder.url_infos or {})
  print(name, urls, len(info.citation) > 100, len(info.description) > 100)
print(pathlib.Path(tfp_massmap.__file__).parents[1])
"""


def _run(code, cwd, path):
  environment = {**os.environ, "PYTHONPATH": str(path), "TF_CPP_MIN_LOG_LEVEL": "3"}
  result = subprocess.run(
    [sys.executable, "-c", code],
    cwd=cwd,
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  return result.stdout.splitlines()


@pytest.fixture(name="installed", scope="module")
def _installed(tmp_path_factory):
  """A folder with the files of an installation, away from the checkout."""
  folder = tmp_path_factory.mktemp("installed")
  arguments = ["build", "--build-base", str(folder / "b"), "--build-lib", str(folder)]
  subprocess.run(
    [sys.executable, "setup.py", "-q", "egg_info", "-e", str(folder), *arguments],
    cwd=ROOT,
    check=True,
    capture_output=True,
  )
  return folder


@pytest.mark.parametrize("where", ["checkout", "installed"])
def test_builders_are_found_with_their_metadata(where, tmp_path, request):
  path = ROOT if where == "checkout" else request.getfixturevalue("installed")
  *found, root = _run(CODE, tmp_path, path)
  assert pathlib.Path(root) == path
  assert found == [
    f"{name} {urls} True True" for name, urls in zip(NAMES, (5, 0, 3, 0))
  ]


def test_settings_are_the_fields_that_decide_the_data():
  halo_kappa = datasets.halo_kappa.halo_kappa_dataset_builder
  config = halo_kappa.HaloKappaConfig(name="mine", seed=3, num_processes=2)
  settings = config.settings()
  assert settings["seed"] == 3 and settings["num_maps"] == (40, 4, 4)
  assert not {"num_processes", "name", "description"} & set(settings)


def test_no_package_called_datasets_is_installed(installed):
  """The name `datasets` is another library's."""
  assert (installed / "tfp_massmap" / "datasets").is_dir()
  assert not (installed / "datasets").exists()
  assert not (ROOT / "datasets" / "__init__.py").exists()
