"""Measures what each number that `universal` is told of a survey is worth.

    python examples/benchmarks/conditions.py [--survey NAME ...] [--maps 8]

Each number in turn is replaced by the middle of its range, as if the network did not know
it. Printed is the squared error of the denoiser over that of the network that knows all,
at a quarter of the noise of the survey, for the six surveys of `surveys.py` and for maps
of sigma_8 = 0.65 and 0.95 with pixels of Euclid.
"""

import argparse
import dataclasses

import numpy as np
import surveys

from tfp_massmap import calibration
from tfp_massmap import theory
from tfp_massmap.priors import conditions

SHARE = 0.25
OTHER = {
  f"sigma_8 = {value}": theory.Cosmology(sigma_8=value) for value in (0.65, 0.95)
}


def cells(survey, cosmology, num_maps):
  """Returns ratios of squared errors, one for each number of `conditions.NAMES`."""
  choice = surveys.choice_of("universal", survey, cosmology)
  known, blind = choice.on(survey.grid), choice.on(survey.grid)
  truth = calibration.simulated_truths(
    survey.grid, survey.sources, cosmology=cosmology, seed=surveys.SEED
  )
  maps = np.stack([truth(index) for index in range(num_maps)])
  for column in range(len(conditions.NAMES)):
    values = known.residual.survey.values.copy()
    values[column] = 0.0
    blind.residual.survey = dataclasses.replace(known.residual.survey, values=values)
    yield surveys.ratio(blind, maps, SHARE * survey.noise, over=known)


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument(
    "--survey", nargs="+", default=list(surveys.SURVEYS), choices=surveys.SURVEYS
  )
  parser.add_argument("--maps", type=int, default=8)
  options = parser.parse_args()
  rows = [(name, surveys.SURVEYS[name], theory.KAPPATNG) for name in options.survey]
  rows += [
    (name, surveys.SURVEYS["Euclid-like"], other) for name, other in OTHER.items()
  ]
  print("| maps |", " | ".join(conditions.NAMES), "|")
  print("| --- |", " | ".join("---" for _ in conditions.NAMES), "|")
  for name, survey, cosmology in rows:
    print(f"| {name} |", " | ".join(cells(survey, cosmology, options.maps)), "|")


if __name__ == "__main__":
  main()
