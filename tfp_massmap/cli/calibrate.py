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
  from tfp_massmap import prior_choice
  from tfp_massmap.cli import inference

  survey = survey_lib.read(options)
  shear_map = calibration.densest_window(survey.shear_map, options.window)
  ny, nx = shear_map.grid.shape
  print(
    f"Mocks of {ny} x {nx} pixels, {shear_map.mask.mean():.0%} of them measured; truths"
    f" for {'the n(z) of COSMOS' if survey.sources is None else survey.sources.name}."
  )
  folder = pathlib.Path(options.output)
  folder.mkdir(parents=True, exist_ok=True)
  choice = prior_choice.PriorChoice(
    survey.prior,
    sources=survey.sources,
    cosmology=survey.cosmology,
    progress=not options.quiet,
  )
  truth, cosmology = _truths(survey, shear_map.grid, options)
  infer = inference.prepare(
    options, survey, shear_map=survey.corrected(shear_map), folder=folder / "mocks"
  )
  verdict = calibration.calibrate(
    shear_map,
    **_priors(choice, shear_map.grid, options, infer=infer),
    truth=truth,
    num_truths=options.num_truths,
    num_samples=options.num_samples,
    method=options.method,
    batch_size=options.batch_size,
    folder=folder,
    seed=options.seed,
    label=f"{survey.title}, {shear_map.settings['window']}, {cosmology}",
    subject=choice.subject(
      shear_map.grid,
      calibration.sampler_in_words(options.method, shear_errors=survey.shear_errors),
      distribution=None if infer is None else infer.name,
    ),
    shear_errors=survey.shear_errors,
    progress=not options.quiet,
  )
  verdict.save(folder)
  print(f"{verdict}\nWrote {folder / 'calibration.md'} and figures beside it.")


def _priors(choice, grid, options, *, infer):
  """Returns the priors of the samples: of cosmologies that each mock tells, or of all."""
  central = choice.on(grid)
  given = dict(num_samples=options.num_samples, seed=options.seed)
  if infer is None:
    return dict(prior=choice.several(grid, **given), central=central)
  return dict(prior=central, priors_of=choice.several_of(grid, infer=infer, **given))


def _truths(survey, grid, options):
  """Returns the truths and their cosmology; where it is uncertain, one for each."""
  from tfp_massmap import calibration
  from tfp_massmap import theory

  given = theory.CosmologyPrior()
  if options.truth_cosmology:
    given = theory.CosmologyPrior.parse(options.truth_cosmology)
  elif survey.cosmology is not None:
    given = survey.cosmology
  cosmology = given.mean
  if given.is_uncertain:
    cosmology = given.draw(options.num_truths, options.seed + 1)
  truth = calibration.simulated_truths(grid, survey.sources, cosmology=cosmology)
  return truth, given
