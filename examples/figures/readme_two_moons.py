"""Makes the second figure of the README: two moons sampled from their score.

    python examples/figures/readme_two_moons.py

It runs `examples/02_score_hmc.py` and writes its second figure, in a small size, as
`two_moons.png`.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import small_png

from tfp_massmap import io

EXAMPLE = pathlib.Path(__file__).resolve().parents[1] / "02_score_hmc.py"


def main():
  parser = argparse.ArgumentParser(description="Draws the README's two moons.")
  parser.add_argument("--output", default=pathlib.Path("."), type=pathlib.Path)
  parser.add_argument("--overwrite", action="store_true")
  options = parser.parse_args()
  path = options.output / "two_moons.png"
  io.check_writable(path, overwrite=options.overwrite)
  with tempfile.TemporaryDirectory() as folder:
    subprocess.run([sys.executable, str(EXAMPLE), "--output", folder], check=True)
    source = pathlib.Path(folder) / "two_moons_annealing.png"
    with io.atomic_path(path, overwrite=options.overwrite) as temporary:
      small_png.shrink(source, temporary, width=640)
  print(f"Wrote {path}")


if __name__ == "__main__":
  main()
