"""`tfp-massmap train`: a prior from convergence maps."""

import argparse
import pathlib

from tfp_massmap.cli import console
from tfp_massmap.cli import sampling

_OF_SURVEYS = "survey_kappa"  # The data set whose maps are of a survey each.


def run(options: argparse.Namespace) -> None:
  """Trains a prior on the maps of a data set, or resumes its training.

  Args:
    options: See `arguments`.
  """
  console.start_tensorflow()
  from tfp_massmap.cli import train_options
  from tfp_massmap.priors import from_dataset

  settings = train_options.settings_from(options)
  if options.start:
    sampling.require_no_folder("--start", options.start)
  if options.dataset.partition("/")[0] == _OF_SURVEYS:
    _check_for_surveys(options)  # Before hours of simulation.
  builder = from_dataset.open_dataset(options.dataset, options.data_dir)
  if from_dataset.is_of_surveys(builder):
    losses = _train_for_surveys(options, settings, builder)
  else:
    losses = _train_for_one(options, settings, builder)
  for sigma, loss in losses.items():
    print(f"sigma {sigma}: mean squared error {loss:.4f} of the Gaussian prior's")
  print(f"Wrote {pathlib.Path(options.output) / 'prior.json'}.")


def _train_for_one(options, settings, builder):
  """Trains a prior of one survey; returns its validation losses."""
  from tfp_massmap import devices
  from tfp_massmap import geometry
  from tfp_massmap import priors
  from tfp_massmap.priors import from_dataset
  from tfp_massmap.priors import training

  maps, pixel_scale, metadata = from_dataset.read_maps(builder)
  spectrum = _spectrum(options, metadata)
  start = None
  if options.start:
    grid = geometry.PixelGrid((settings.crop, settings.crop), pixel_scale)
    about = _about_maps(options, metadata)
    start = priors.HybridPrior.load(options.start, grid, corrections=False, **about)
  prior = training.train(
    maps["train"],
    maps["validation"],
    pixel_scale=pixel_scale,
    spectrum=spectrum,
    folder=options.output,
    architecture=options.preset,
    settings=settings,
    periodic=bool(metadata.get("periodic", False)),
    data=metadata,
    start=start,
    start_name=options.start,
    strategy=devices.choose_strategy(),
    progress=not options.quiet,
  )
  return prior.card["training"]["validation_loss"]


def _about_maps(options, metadata):
  """Returns what a start that serves any survey needs to know of the maps."""
  from tfp_massmap.priors import survey_fit

  if not survey_fit.serves_any_survey(options.start):
    return {}
  return dict(sources=_sources(options, metadata), cosmology=_cosmology(metadata))


def _check_for_surveys(options):
  from tfp_massmap.nn import architectures

  if options.spectrum:
    raise ValueError(
      f"--spectrum is for maps of one survey; those of {options.dataset} have a survey"
      " each, whose power follows from its n(z) and cosmology."
    )
  kind = architectures.resolve(options.preset).kind
  if not architectures.KINDS[kind].takes_conditions:
    raise ValueError(
      f"--preset {options.preset} cannot be told of the surveys of {options.dataset};"
      " leave it out."
    )


def _train_for_surveys(options, settings, builder):
  """Trains a prior of any survey; returns its validation losses."""
  from tfp_massmap import devices
  from tfp_massmap.nn import network_file
  from tfp_massmap.priors import from_dataset
  from tfp_massmap.priors import survey_training

  _check_for_surveys(options)
  maps, ranges, metadata = from_dataset.read_surveys(builder)
  path = survey_training.train(
    maps["train"],
    maps["validation"],
    ranges=ranges,
    folder=options.output,
    architecture=options.preset,
    settings=settings,
    periodic=bool(metadata.get("periodic", False)),
    data=metadata,
    start=options.start,
    strategy=devices.choose_strategy(),
    progress=not options.quiet,
  )
  card, _ = network_file.find(path, "prior", needed=("training",))
  return card["training"]["validation_loss"]


def _spectrum(options, metadata):
  """Returns the power spectrum of the maps."""
  from tfp_massmap import spectra

  if options.spectrum:
    return spectra.PowerSpectrum.read(options.spectrum)
  return spectra.PowerSpectrum.theory(
    _sources(options, metadata), _cosmology(metadata), small_scales="kappatng"
  )


def _sources(options, metadata):
  """Returns the n(z) of the maps."""
  from tfp_massmap.priors import from_dataset

  sources = from_dataset.sources_of(metadata)
  if sources is None:
    raise ValueError(
      f"The metadata of {options.dataset} have no n(z) (sources or plane_weights), by"
      " which the power of its maps would be computed. Give their power with --spectrum"
      " TABLE."
    )
  return sources


def _cosmology(metadata):
  from tfp_massmap import theory

  # Data sets of kappaTNG have its cosmology, and need not say so.
  given = {n: metadata[n] for n in ("omega_matter", "sigma_8") if n in metadata}
  return theory.Cosmology(**given)
