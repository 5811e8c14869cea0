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
  if not options.infer_cosmology:
    return survey.cosmology
  from tfp_massmap import cosmology_inference

  if survey.cosmology is None or not survey.cosmology.is_uncertain:
    raise ValueError(
      "--infer-cosmology needs to know where to look: give --cosmology with errors, for"
      " example sigma_8=0.80+-0.10."
    )
  if survey.sources is None:
    raise ValueError(
      "--infer-cosmology needs the n(z) of the galaxies: give --redshift, --nz or"
      " --mean-redshift."
    )
  statistics = cosmology_inference.make_statistics(
    survey.shear_map, survey.sources, cosmology=survey.cosmology.mean
  )
  mocks = cosmology_inference.simulate_mocks(
    survey.shear_map,
    survey.sources,
    cosmologies=survey.cosmology,
    num_mocks=options.infer_cosmology,
    folder=paths.fits.with_name(f"{paths.fits.stem}_mocks"),
    progress=not options.quiet,
  )
  found = cosmology_inference.infer(mocks, statistics(survey.shear_map))
  print(f"Cosmology within {survey.cosmology}: {found}.")
  return found
