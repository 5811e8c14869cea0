"""Measures guided posterior samples: exactness, time, errors, calibration.

    python examples/benchmarks/posterior.py [SECTION ...] [--data DIR] [--full]
        [--prior NAME] [--size N] [--seeds N] [--samples DIR] [--json FILE]
        [--sigmas S ...] [--num-steps N] [--step-size E] [--num-leapfrog-steps N]
        [--num-flow-steps N]

Maps have 360 x 360 pixels of 0.29 arcmin. Mask and noise are those of the released
COSMOS maps with --data, else those of a survey like it. `calibration` and `refine` take
the N x N pixels in the middle. --samples keeps the samples of `genuine`, 33 MB a seed,
and the results of `calibration` and `refine`; the same command then resumes an
interrupted run. Sections, each in a file `posterior_SECTION.py`, by default all:

  gaussian     Gaussian prior: samples against exact ones.
  time         Seconds a sample and memory with the trained prior, on maps of 3 sizes.
  genuine      Errors of the posterior mean on the kappaTNG field of Remy et al. (2022);
               needs --data.
  calibration  The tests of `calibration`, on simulated truths that no training used.
  refine       guided against guided+hmc, on simulated truths. The options from --sigmas
               on are the settings of guided+hmc (`samplers.GuidedHmcSettings`).
"""

import argparse
import json
import pathlib

import cosmos_survey
import posterior_calibration
import posterior_gaussian
import posterior_genuine
import posterior_refine
import posterior_setup
import posterior_time

from tfp_massmap import priors

SECTIONS = dict(
  gaussian=posterior_gaussian.run,
  time=posterior_time.run,
  genuine=posterior_genuine.run,
  calibration=posterior_calibration.run,
  refine=posterior_refine.run,
)


def parse() -> argparse.Namespace:
  """Returns the options of the command line."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], metavar="SECTION")
  parser.add_argument("--data", type=pathlib.Path)
  parser.add_argument("--prior", default="cosmos-halo")
  parser.add_argument("--full", action="store_true", help="more seeds, truths, samples")
  largest = posterior_setup.GRID.shape[0]
  parser.add_argument(
    "--size", type=int, default=largest, help="pixels a side of calibration and refine"
  )
  parser.add_argument("--seeds", type=int, help="noise seeds of genuine: 2, --full 8")
  parser.add_argument("--samples", type=pathlib.Path, help="folder to keep results in")
  parser.add_argument("--json", type=pathlib.Path)
  posterior_refine.add_options(parser)
  options = parser.parse_args()
  if not 32 <= options.size <= largest:
    parser.error(f"--size must be from 32 to {largest}; got {options.size}")
  if options.seeds is not None and options.seeds < 1:
    parser.error(f"--seeds must be 1 or more; got {options.seeds}")
  return options


def main() -> None:
  options = parse()
  survey = cosmos_survey.released_maps(options.data, posterior_setup.GRID)
  prior = priors.HybridPrior.load(options.prior, posterior_setup.GRID)
  figures = {
    name: SECTIONS[name](options, survey, prior=prior)
    for name in options.sections or SECTIONS
  }
  if options.json:
    text = json.dumps(figures, indent=2, default=float)
    options.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
  main()
