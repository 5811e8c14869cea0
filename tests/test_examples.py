"""Every example runs without flags beyond its data."""

import os
import pathlib
import subprocess
import sys

import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / "examples"


def _run(script, *arguments, cwd):
  return subprocess.run(
      [sys.executable, str(EXAMPLES / script), *arguments],
      cwd=cwd, capture_output=True, text=True, check=False,
      env={**os.environ, "MPLBACKEND": "Agg"},
  )


def test_reconstruct_cosmos(tmp_path, cosmos_data):
  result = _run(
      "01_reconstruct_cosmos.py", "--data", str(cosmos_data), "--num-samples", "2",
      cwd=tmp_path,
  )
  assert result.returncode == 0, result.stderr
  assert "417117 galaxies" in result.stdout and "consistent" in result.stdout
  assert (tmp_path / "cosmos" / "posterior.fits").stat().st_size > 5e5
  assert (tmp_path / "cosmos" / "posterior.png").stat().st_size > 1e5


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("[0-9]*.py")))
def test_examples_are_short_and_say_what_they_are(script):
  text = script.read_text(encoding="utf-8")
  assert text.startswith("# %% [markdown]\n# # ")
  assert len(text.splitlines()) < 150
