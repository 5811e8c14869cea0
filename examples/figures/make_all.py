"""Remakes the figures of Remy et al. (2022), and further ones.

    python examples/figures/make_all.py --output figures [--full] [--data DIR]
        [--only SCRIPT ...]

Each figure is an example of its own, which this script runs with a folder under
--output. The file `log.txt` there holds what the example prints. DIR holds the COSMOS
catalogue and the kappaTNG field of the paper's mocks, there or below. Without them,
figures that need the real field are left out, and mocks are simulated. When an example
fails, the others still run. A folder that is complete is kept unless --overwrite is
given, and one that was made with other options is not replaced.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import time

import paper_mock

EXAMPLES = pathlib.Path(__file__).resolve().parents[1]

# Title, script, and the data it takes: d, the folder of all data; c, the folder of the
# COSMOS catalogue; s, the samples that 01_reconstruct_cosmos.py has made. A capital
# letter marks data that the script cannot do without.
FIGURES = (
  ("Fig. 1, 2: two moons", "02_score_hmc.py", ""),
  ("Fig. 3: hybrid denoiser", "figures/hybrid_denoiser.py", "d"),
  ("Fig. 5: Gaussian prior", "figures/gaussian_validation.py", "d"),
  ("Fig. 6, 7: posterior samples", "figures/posterior_samples.py", "d"),
  ("Table 1, Fig. G.1: methods", "07_compare_methods.py", "d"),
  ("Fig. 8, 9, F.1: clusters", "09_detect_clusters.py", ""),
  ("reliability of detections", "10_detection_reliability.py", ""),
  ("Fig. 10: COSMOS", "01_reconstruct_cosmos.py", "C"),
  ("Fig. 11: power of COSMOS", "figures/cosmos_power.py", "DS"),
  ("structures of COSMOS", "11_cosmos_structures.py", "CS"),
  ("Fig. C.1: spectral norms", "05_spectral_normalisation.py", ""),
  ("Fig. E.1: signal to noise", "figures/signal_to_noise.py", "d"),
)


def arguments_of(needs: str, options: argparse.Namespace) -> list[str] | None:
  """Returns the options of a script, or None if data that it needs are missing."""
  catalogue = options.data and paper_mock.find(options.data, "nhweight_int.fits")
  samples = options.output / "01_reconstruct_cosmos" / "samples.fits"
  given = dict(
    d=("--data", options.data),
    c=("--data", catalogue and catalogue.parent),
    s=("--samples", samples if samples.is_file() else None),
  )
  arguments = []
  for letter in needs:
    name, value = given[letter.lower()]
    if value is not None:
      arguments += [name, str(value)]
    elif letter.isupper():
      return None
  return arguments


def run(
  script: str,
  arguments: list[str],
  *,
  folder: pathlib.Path,
  options: argparse.Namespace,
) -> str:
  """Runs one example, and returns its outcome in words."""
  folder.mkdir(parents=True, exist_ok=True)
  complete, how = folder / "complete", " ".join(["--full"] * options.full + arguments)
  if complete.is_file() and not options.overwrite:
    if complete.read_text(encoding="utf-8") == how:
      return "there already"
    return "FAILED: made with other options; give --overwrite, or another --output"
  complete.unlink(missing_ok=True)
  flags = ["--full"] * options.full + ["--overwrite"] * options.overwrite
  command = [sys.executable, str(EXAMPLES / script), "--output", str(folder)]
  start = time.monotonic()
  with open(folder / "log.txt", "w", encoding="utf-8") as log:
    code = subprocess.run(
      command + flags + arguments,
      stdout=log,
      stderr=subprocess.STDOUT,
      check=False,
      env={**os.environ, "MPLBACKEND": "Agg"},
    ).returncode
  if code:
    return f"FAILED, see {folder / 'log.txt'}"
  complete.write_text(how, encoding="utf-8")
  return f"{time.monotonic() - start:.0f} s"


def parse() -> argparse.Namespace:
  """Returns the options of the command line."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--output", default=pathlib.Path("figures"), type=pathlib.Path)
  parser.add_argument("--data", type=pathlib.Path)
  parser.add_argument("--full", action="store_true", help="the size of the paper")
  parser.add_argument("--overwrite", action="store_true")
  names = [pathlib.Path(script).stem for _, script, _ in FIGURES]
  parser.add_argument(
    "--only", nargs="+", choices=names, default=names, metavar="SCRIPT"
  )
  return parser.parse_args()


def main() -> int:
  """Makes the figures, and returns 1 if one of them failed."""
  options = parse()
  failed = False
  for title, script, needs in FIGURES:
    name = pathlib.Path(script).stem
    if name not in options.only:
      continue
    folder = options.output / name
    arguments = arguments_of(needs, options)
    if arguments is None:
      missing = "--data" if options.data is None else "its data, or samples of COSMOS"
      outcome = f"left out: needs {missing}"
    else:
      outcome = run(script, arguments, folder=folder, options=options)
      failed |= outcome.startswith("FAILED")
    print(f"{title:32s} {outcome}", flush=True)
    for picture in sorted(folder.glob("*.png")):
      print(f"{'':32s} {picture}", flush=True)
  return int(failed)


if __name__ == "__main__":
  sys.exit(main())
