"""Measures a prior on simulated surveys of other pixels, redshifts and depths.

    python examples/benchmarks/surveys.py denoising [--prior NAME ...] [--maps 8]
    python examples/benchmarks/surveys.py posterior [--prior NAME] [--truths 16]
        [--samples 39] [--survey NAME ...] [--cosmology "sigma_8=0.80+-0.06"]
        [--infer-cosmology 256] [--truth-cosmology "sigma_8=0.72"]
        [--truths-of FILE] [--output DIR] [--full]

`denoising` prints the squared error of each prior's denoiser over that of the right
Gaussian prior, at shares of the noise of the survey. `posterior` samples truths of each
survey (192 x 192 pixels, with holes around stars), and prints a row of figures of merit.
It resumes in DIR. `--cosmology` is that of the prior; with errors, samples are shared
among 8 cosmologies, or as many as divide the samples evenly; with `--infer-cosmology`,
cosmologies that each truth's shear map tells, by so many mocks. `--truths-of` takes the
maps of another universe (`glass_universe.py`). `--full` takes 64 truths of 64 samples, for
the limits of `docs/calibration.md`.
"""

import argparse
import pathlib
import typing

from astropy import units as u
import numpy as np
import tensorflow as tf

from tfp_massmap import calibration
from tfp_massmap import cosmology_inference
from tfp_massmap import geometry
from tfp_massmap import prior_choice
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate
from tfp_massmap import theory
from tfp_massmap.calibration import band_powers
from tfp_massmap.calibration import estimates
from tfp_massmap.calibration import statistics
from tfp_massmap.priors import survey_fit

SIDE = 192
SEED = 70_000_000  # No training has it.
SHARES = (0.1, 0.25, 0.5, 1.0, 2.0)
HOLES = 45 / u.deg**2


class Survey(typing.NamedTuple):
  """A survey: density a square arcmin, scale of n(z), pixels in arcmin, sigma_e."""

  density: float
  scale: float | None
  pixel_scale: float
  sigma_e: float

  @property
  def sources(self):
    """The n(z)."""
    if self.scale is None:
      return theory.SourceRedshifts.of_survey("cosmos")
    return theory.SourceRedshifts.smail(self.scale)

  @property
  def grid(self):
    """The grid of its maps."""
    return geometry.PixelGrid((SIDE, SIDE), self.pixel_scale * u.arcmin)

  @property
  def noise(self):
    """Mean standard deviation of the shear in a pixel."""
    return self.sigma_e / (self.density * self.pixel_scale**2) ** 0.5


SURVEYS = {
  "COSMOS": Survey(64, None, 0.29, 0.315),
  "JWST-like": Survey(129, 0.90, 0.15, 0.295),
  "Euclid-like": Survey(30, 0.64, 0.6, 0.257),
  "HSC-like": Survey(18, 0.55, 0.8, 0.275),
  "KiDS-like": Survey(7, 0.40, 1.5, 0.270),
  "DES-like": Survey(6, 0.42, 2.5, 0.263),
}


def choice_of(name, survey, cosmology=None):
  """Returns a prior for a survey; one of a single survey is used as it is."""
  sources = survey.sources if survey_fit.serves_any_survey(name) else None
  return prior_choice.PriorChoice(name, sources=sources, cosmology=cosmology)


def observation(survey):
  """Returns mask and noise of the survey, without a signal."""
  rng = np.random.default_rng(1)
  made = simulate.Survey(
    survey.density / u.arcmin**2, survey.sigma_e, hole_density=HOLES
  )
  mask = made.footprint(survey.grid, rng)
  return shear_map_lib.ShearMap(
    np.zeros([2, *survey.grid.shape]),
    np.full(survey.grid.shape, survey.noise),
    mask=mask,
    grid=survey.grid,
  )


def denoising(options):
  """Prints squared errors over those of the Gaussian prior."""
  print("| survey | prior |", " | ".join(f"{s:g} of the noise" for s in SHARES), "|")
  print("| --- | --- |", " | ".join("---" for _ in SHARES), "|")
  for name in options.survey:
    survey = SURVEYS[name]
    truth = calibration.simulated_truths(survey.grid, survey.sources, seed=SEED)
    maps = np.stack([truth(index) for index in range(options.maps)])
    for prior_name in options.prior:
      prior = choice_of(prior_name, survey).on(survey.grid)
      cells = [
        ratio(prior, maps, share * survey.noise, over=prior.gaussian)
        for share in SHARES
      ]
      print(f"| {name} | {prior_name} |", " | ".join(cells), "|", flush=True)


def ratio(prior, maps, sigma, *, over):
  """Returns the squared error of a denoiser over another one's, as a cell of a table."""
  noisy = maps + sigma * np.random.default_rng(0).standard_normal(maps.shape)
  squares = [
    [
      np.sum((each.denoise(tf.constant(x, tf.float32), sigma) - truth) ** 2)
      for each in (prior, over)
    ]
    for x, truth in zip(noisy, maps)
  ]
  return _with_error(estimates.ratio_of_squares(squares))


def posterior(options):
  """Samples truths of each survey, and prints a row of each."""
  num_truths = 64 if options.full else options.truths
  num_samples = 64 if options.full else options.samples
  print(
    "| survey | error over the Gaussian prior's | std / error | covers 68, 95 % |"
    " highest 1 % | power | TARP |"
  )
  print("| --- | --- | --- | --- | --- | --- | --- |")
  for name in options.survey:
    survey = SURVEYS[name]
    for prior_name in options.prior:
      folder = options.output and options.output / _folder(name, prior_name, options)
      verdict = calibration.calibrate(
        observation(survey),
        **priors_of(name, prior_name, num_samples, options),
        truth=truth_of(survey, options),
        num_truths=num_truths,
        num_samples=num_samples,
        batch_size=max(n for n in range(1, 17) if num_samples % n == 0),
        folder=folder,
        label=f"{name}, truths of {options.truths_of or f'seed {SEED}'}",
      )
      print(f"| {name}, {prior_name} | {row(verdict)} |", flush=True)
      if folder:
        verdict.save(folder)


def truth_of(survey, options):
  """Returns the function of a number to a truth."""
  if options.truths_of is None:
    return calibration.simulated_truths(
      survey.grid, survey.sources, cosmology=options.truth_cosmology, seed=SEED
    )
  with np.load(options.truths_of) as file:
    kappa = file["kappa"]
  return kappa.__getitem__


def priors_of(name, prior_name, num_samples, options):
  """Returns the arguments of `calibrate` for the priors of the samples."""
  survey = SURVEYS[name]
  choice = choice_of(prior_name, survey, options.cosmology)
  grid, central = survey.grid, choice.on(survey.grid)
  if not options.infer_cosmology:
    return dict(prior=choice.several(grid, num_samples, seed=0), central=central)
  infer = cosmology_inference.Inference.of_survey(
    observation(survey),
    survey.sources,
    cosmologies=options.cosmology,
    num_mocks=options.infer_cosmology,
    folder=options.output / f"{name}-mocks_at_{options.cosmology}".replace(" ", "_"),
  )
  several = choice.several_of(grid, num_samples, infer=infer, seed=0)
  return dict(prior=central, priors_of=several)


def row(verdict):
  """Returns the figures of a verdict as cells of a table."""
  records = verdict.records
  cells = [_with_error(verdict.error_over_wiener)]
  observed, *rest = statistics.names(records)
  cells.append(_with_error(statistics.std_over_error(records, observed)))
  highest = next(n for n in rest if n.startswith("pixels: posterior mean, highest"))
  for region in (observed, highest):
    covered = statistics.coverage(records, region).scalars()
    cells.append(
      ", ".join(f"{100 * c.value:.1f} +- {100 * c.error:.1f}" for c in covered)
    )
  power = band_powers.band_power(records)
  powers = zip(power.value, power.error)
  cells.append(", ".join(f"{value:.2f} +- {error:.2f}" for value, error in powers))
  _, _, tarp = statistics.tarp(records)
  cells.append(f"{tarp.value:.3f} ({tarp.expected:.3f})")
  return " | ".join(cells)


def _with_error(estimate):
  return f"{estimate.value:.3f} +- {estimate.error:.3f}"


def _folder(name, prior_name, options):
  """Returns the name of the folder of a run."""
  words = [name, str(prior_name).strip("/").replace("/", "_")]
  if options.cosmology is not None:
    words.append(f"at {options.cosmology}")
  if options.truth_cosmology != theory.KAPPATNG:
    words.append(f"truths at {options.truth_cosmology}")
  if options.truths_of is not None:
    words.append(f"truths of {options.truths_of.stem}")
  if options.infer_cosmology:
    words.append(f"inferred with {options.infer_cosmology} mocks")
  return "-".join(words).replace(" ", "_")


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("what", choices=("denoising", "posterior"))
  parser.add_argument("--prior", nargs="+", default=["universal"])
  parser.add_argument("--survey", nargs="+", default=list(SURVEYS), choices=SURVEYS)
  parser.add_argument("--cosmology", type=theory.CosmologyPrior.parse)
  parser.add_argument("--infer-cosmology", type=int, metavar="MOCKS")
  parser.add_argument(
    "--truth-cosmology", type=theory.Cosmology.parse, default=theory.KAPPATNG
  )
  parser.add_argument("--truths-of", type=pathlib.Path, metavar="FILE")
  parser.add_argument("--maps", type=int, default=8)
  parser.add_argument("--truths", type=int, default=16)
  parser.add_argument("--samples", type=int, default=39)
  parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("surveys"))
  parser.add_argument("--full", action="store_true")
  options = parser.parse_args()
  {"denoising": denoising, "posterior": posterior}[options.what](options)


if __name__ == "__main__":
  main()
