"""The wheel holds all that users without the repository need; dependencies have bounds."""

import importlib.metadata
import os
import pathlib
import shutil
import subprocess
import sys

from astropy.io import fits
import oldest_versions
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def _run(command, folder, *, path=None):
  """Runs a command in a folder, with one folder of packages before all others."""
  environment = {**os.environ, "MPLBACKEND": "Agg"}
  environment.pop("PYTHONPATH", None)
  if path is not None:
    environment["PYTHONPATH"] = str(path)
  result = subprocess.run(
    [str(word) for word in command],
    cwd=folder,
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stdout + result.stderr
  return result.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
  """Returns the folder of the packages that the wheel installs."""
  # Looking for the module pip would change the import system of this process.
  for name in ("pip", "setuptools", "wheel"):
    try:
      importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      pytest.skip(f"needs {name} to build a wheel without the network")
  folder = tmp_path_factory.mktemp("wheel")
  # A build leaves files in the tree, so it gets a copy of what it needs.
  tree = folder / "tree"
  tree.mkdir()
  for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
    shutil.copy(ROOT / name, tree)
  ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
  for name in ("tfp_massmap", "datasets"):
    shutil.copytree(ROOT / name, tree / name, ignore=ignored)
  options = ["--no-deps", "--no-build-isolation", "--quiet"]
  _run([*PIP, "wheel", *options, "--wheel-dir", folder, "."], tree)
  (wheel,) = folder.glob("*.whl")
  target = folder / "packages"
  _run([*PIP, "install", "--no-deps", "--quiet", "--target", target, wheel], folder)
  return target


def test_wheel_holds_data_and_types(installed):
  package = installed / "tfp_massmap"
  source = ROOT / "tfp_massmap"
  wanted = [source / "py.typed"]
  for pattern in ("tables/*.ecsv", "tables/*.npz", "pretrained/*.json"):
    wanted += source.glob(pattern)
  wanted += source.glob("pretrained/*.weights.h5")
  assert len(wanted) >= 7
  for path in wanted:
    copy = package / path.relative_to(source)
    assert copy.read_bytes() == path.read_bytes()
  # `datasets` is the import name of another project, and tests are not for users.
  assert not {"datasets", "tests", "examples"} & {p.name for p in installed.iterdir()}


def test_wheel_makes_the_demo_and_has_the_data_sets(installed, tmp_path):
  """Runs in a folder without the repository, with the wheel before all else."""
  code = (
    "import tfp_massmap.cli, tfp_massmap.datasets.halo_kappa as halo_kappa;"
    "print(tfp_massmap.__file__, halo_kappa.__file__, sep='\\n');"
    "raise SystemExit(tfp_massmap.cli.main())"
  )
  command = ["demo", "--size", "32", "--num-samples", "1", "--output", "made"]
  output = _run([sys.executable, "-c", code, *command], tmp_path, path=installed)
  for line in output.splitlines()[:2]:
    assert pathlib.Path(line).is_relative_to(installed)
  made = tmp_path / "made"
  with fits.open(made / "posterior.fits") as hdus:
    assert hdus[0].data.shape == (32, 32)
    assert "TRUTH" in {hdu.name for hdu in hdus}
  assert fits.getdata(made / "samples.fits").shape == (1, 32, 32)
  assert (made / "posterior.png").stat().st_size > 1e4


def test_every_dependency_has_an_oldest_version():
  pins = oldest_versions.oldest(oldest_versions.declared())
  assert "numpy==1.26" in pins and len(pins) > 20
  with pytest.raises(ValueError, match="give 'numpy' one lower bound"):
    oldest_versions.oldest(["numpy"])
