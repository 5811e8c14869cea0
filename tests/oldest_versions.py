"""Runs the tests with the oldest versions that `setup.py` allows.

    python3.11 tests/oldest_versions.py ENVIRONMENT [PYTEST ARGUMENT ...]

ENVIRONMENT is the folder of a virtual environment. Unless it exists, it is created with
the Python that runs this script, and the packages are installed from PyPI. The bounds
are read from `setup.py`: `numpy>=1.26` there is `numpy==1.26` here. Only the oldest
supported Python, 3.11, has wheels of all these versions.
"""

import argparse
import pathlib
import runpy
import subprocess
import sys
import tempfile
from unittest import mock
import venv

ROOT = pathlib.Path(__file__).resolve().parents[1]


def declared() -> list[str]:
  """Returns the requirements that `setup.py` declares, with those of the tests."""
  # A stand-in: setuptools refuses to load where another module has loaded distutils.
  setuptools = mock.MagicMock()
  with mock.patch.dict(sys.modules, {"setuptools": setuptools}):
    runpy.run_path(str(ROOT / "setup.py"))
  arguments = setuptools.setup.call_args.kwargs
  return [*arguments["install_requires"], *arguments["extras_require"]["test"]]


def oldest(requirements: list[str]) -> list[str]:
  """Returns constraints that pin each requirement to its lower bound.

  Args:
    requirements: Strings such as "numpy>=1.26".

  Raises:
    ValueError: If a requirement is without a lower bound.
  """
  pins = []
  for requirement in requirements:
    versions, _, marker = requirement.partition(";")
    name, found, bound = versions.partition(">=")
    if not found or "," in bound:
      raise ValueError(
        f"setup.py must give {requirement!r} one lower bound, as NAME>=VERSION."
      )
    # Constraints take no extras.
    pins.append(f"{name.partition('[')[0]}=={bound.strip()};{marker}".rstrip(";"))
  return pins


def create(folder: pathlib.Path) -> None:
  """Creates the virtual environment, with this project in it for editing."""
  venv.create(folder, with_pip=True)
  pip = [folder / "bin" / "python", "-m", "pip"]
  with tempfile.TemporaryDirectory() as temporary:
    constraints = pathlib.Path(temporary) / "constraints.txt"
    constraints.write_text("\n".join(oldest(declared())) + "\n", encoding="utf-8")
    print(constraints.read_text(encoding="utf-8"), flush=True)
    command = [*pip, "install", "--constraint", constraints, "-e", f"{ROOT}[test]"]
    subprocess.run(command, check=True)
  subprocess.run([*pip, "freeze", "--exclude-editable"], check=True)


def main() -> int:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("environment", type=pathlib.Path)
  options, arguments = parser.parse_known_args()
  if not (options.environment / "bin" / "pytest").is_file():
    create(options.environment)
  python = options.environment.absolute() / "bin" / "python"
  return subprocess.run(
    [python, "-m", "pytest", *arguments], cwd=ROOT, check=False
  ).returncode


if __name__ == "__main__":
  sys.exit(main())
