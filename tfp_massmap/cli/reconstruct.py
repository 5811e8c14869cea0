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
    cosmology=_cosmology(options, survey, paths),
    shear_errors=survey.shear_errors,
    reduced_shear=options.reduced_shear,
    proof=proof,
  )


def _cosmology(options, survey, paths):
  """Returns the cosmology that was given, or what the data say within its errors."""
  from tfp_massmap.cli import inference

  corrected = survey.corrected(survey.shear_map)
  infer = inference.prepare(
    options,
    survey,
    shear_map=corrected,
    folder=paths.fits.with_name(f"{paths.fits.stem}_mocks"),
  )
  if infer is None:
    return survey.cosmology
  found = infer(corrected)
  print(f"Cosmology within {survey.cosmology}: {found}.")
  return found
