"""`tfp-massmap calibrate`: is the posterior right on mocks of the user's own survey?"""

import argparse
import pathlib

from tfp_massmap.cli import console
from tfp_massmap.cli import survey as survey_lib


def run(options: argparse.Namespace) -> None:
  """Reads a catalogue, and tests samples on mocks with its mask and noise.

  Args:
    options: See `arguments`.

  Raises:
    ValueError: If the catalogue or an option is refused, or the folder holds another
      run.
  """
  survey_lib.check(options)
  if options.reduced_shear:
    raise ValueError("--reduced-shear is not for mocks: their shapes are of the shear.")
  console.start_tensorflow()
  from tfp_massmap import calibration
  from tfp_massmap import theory

  survey = survey_lib.read(options)
  shear_map = calibration.densest_window(survey.shear_map, options.window)
  ny, nx = shear_map.grid.shape
  print(
    f"Mocks of {ny} x {nx} pixels, {shear_map.mask.mean():.0%} of them measured; truths"
    f" for {'the n(z) of COSMOS' if survey.sources is None else survey.sources.name}."
  )
  assumed = survey.cosmology or theory.CosmologyPrior()
  cosmology = assumed.mean
  if options.truth_cosmology:
    cosmology = theory.Cosmology.parse(options.truth_cosmology)
  folder = pathlib.Path(options.output)
  folder.mkdir(parents=True, exist_ok=True)
  made, name = _priors(survey, shear_map.grid, options)
  verdict = calibration.calibrate(
    shear_map,
    made,
    truth=calibration.simulated_truths(
      shear_map.grid, survey.sources, cosmology=cosmology
    ),
    num_truths=options.num_truths,
    num_samples=options.num_samples,
    method=options.method,
    batch_size=options.batch_size,
    folder=folder,
    seed=options.seed,
    label=f"{survey.title}, {shear_map.settings['window']}, {cosmology}",
    prior_name=name,
    progress=not options.quiet,
  )
  verdict.save(folder)
  print(f"{verdict}\nWrote {folder / 'calibration.md'} and figures beside it.")


def _priors(survey, grid, options):
  """Returns the priors and their name: one, or where cosmology is uncertain, several."""
  from tfp_massmap import reconstruction

  uncertain = survey.cosmology is not None and survey.cosmology.is_uncertain
  central = None if survey.cosmology is None else survey.cosmology.mean
  make = lambda cosmology: reconstruction.make_prior(
    survey.prior,
    grid,
    sources=survey.sources,
    cosmology=cosmology,
    corrected_at=central,
    progress=not options.quiet,
  )
  prior = make(central)
  name = reconstruction.describe_prior(prior, survey.cosmology)
  if not uncertain:
    return prior, name
  num_batches = max(1, options.num_samples // options.batch_size)
  return [make(c) for c in survey.cosmology.draw(num_batches, options.seed)], name
