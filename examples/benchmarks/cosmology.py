"""Measures how well the cosmology of a map is known, from mocks of a survey.

    python examples/benchmarks/cosmology.py [--survey COSMOS] [--mocks 512]
        [--cosmology "sigma_8=0.80+-0.10"] [--output DIR]

Each of the first 64 mocks is inferred from all others. Printed are the ranks of the truths
(even if the errors are right), the mean error over that of the prior, the error that
`infer` gives over the true one, and the same for band powers and for peaks alone. It
resumes in DIR.
"""

import argparse
import pathlib

import numpy as np
from scipy import stats
import surveys

from tfp_massmap import cosmology_inference
from tfp_massmap import theory

NUM_TESTED = 64
NUM_PEAKS = 9


def parts(mocks):
  """Yields names and mocks with all statistics, the powers and the peaks alone."""
  chosen = {
    "band powers and peaks": slice(None),
    "band powers": slice(None, -NUM_PEAKS),
    "peaks": slice(-NUM_PEAKS, None),
  }
  for name, columns in chosen.items():
    some = mocks.statistics[:, columns]
    yield name, cosmology_inference.Mocks(mocks.parameters, some, mocks.cosmologies)


def row(mocks, column):
  """Returns cells: ranks, widths and errors of one parameter."""
  ranks, widths, errors = [], [], []
  for index in range(NUM_TESTED):
    truth = mocks.parameters[index]
    found = cosmology_inference.infer(mocks.without(index), mocks.statistics[index])
    mean = getattr(found.mean, cosmology_inference.PARAMETERS[column])
    ranks.append(found.rank(truth)[column])
    widths.append(found.std[column])
    errors.append(mean - truth[column])
  prior = mocks.parameters[:, column].std()
  rms = np.sqrt(np.mean(np.square(errors)))
  inside = np.mean(np.abs(np.array(ranks) - 0.5) < 0.34)
  return (
    f"{stats.kstest(ranks, 'uniform').pvalue:.2f} | {100 * inside:.0f} % |"
    f" {rms / prior:.3f} | {np.sqrt(np.mean(np.square(widths))) / rms:.2f}"
  )


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--survey", default="COSMOS", choices=surveys.SURVEYS)
  parser.add_argument("--mocks", type=int, default=512)
  parser.add_argument("--cosmology", default="sigma_8=0.80+-0.10")
  parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("cosmology"))
  options = parser.parse_args()
  survey = surveys.SURVEYS[options.survey]
  mocks = cosmology_inference.simulate_mocks(
    surveys.observation(survey),
    survey.sources,
    cosmologies=theory.CosmologyPrior.parse(options.cosmology),
    num_mocks=options.mocks,
    folder=options.output / options.survey,
  )
  print(
    "| parameter, statistics | p of ranks | 68 % cover | error / prior | said / true |"
  )
  print("| --- | --- | --- | --- | --- |")
  for column, parameter in enumerate(cosmology_inference.PARAMETERS):
    if np.ptp(mocks.parameters[:, column]) == 0:
      continue
    for name, some in parts(mocks):
      print(f"| {parameter}, {name} | {row(some, column)} |")


if __name__ == "__main__":
  main()
