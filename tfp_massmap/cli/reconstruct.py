"""`tfp-massmap reconstruct`: the posterior of a shape catalogue."""

import argparse

from tfp_massmap.cli import console
from tfp_massmap.cli import sampling
from tfp_massmap.cli import survey as survey_lib


def run(options: argparse.Namespace) -> None:
  """Reads and bins a catalogue, checks its signs, and samples the posterior.

  Args:
    options: See `arguments`.
  """
  paths = sampling.product_paths(options.output, options.overwrite)
  survey_lib.check(options)
  console.start_tensorflow()
  from tfp_massmap import calibration

  proof = options.calibration and calibration.Proof.read(options.calibration)
  survey = survey_lib.read(options)
  sampling.sample_and_save(
    survey.shear_map,
    survey.prior,
    options=options,
    paths=paths,
    header=survey.header,
    title=survey.title,
    sources=survey.sources,
    cosmology=survey.cosmology,
    reduced_shear=options.reduced_shear,
    proof=proof,
  )
