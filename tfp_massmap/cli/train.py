"""`tfp-massmap train`: a prior from convergence maps."""

import argparse
import pathlib

from tfp_massmap.cli import console
from tfp_massmap.cli import sampling


def run(options: argparse.Namespace) -> None:
  """Trains a prior on the maps of a data set, or resumes its training.

  Args:
    options: See `arguments`.
  """
  console.start_tensorflow()
  from tfp_massmap import devices
  from tfp_massmap import geometry
  from tfp_massmap import priors
  from tfp_massmap.cli import train_options
  from tfp_massmap.priors import from_dataset
  from tfp_massmap.priors import training

  settings = train_options.settings_from(options)
  builder = from_dataset.open_dataset(options.dataset, options.data_dir)
  maps, pixel_scale, metadata = from_dataset.read_maps(builder)
  spectrum = _spectrum(options, metadata)
  start = None
  if options.start:
    sampling.require_no_folder("--start", options.start)
    grid = geometry.PixelGrid((settings.crop, settings.crop), pixel_scale)
    start = priors.HybridPrior.load(options.start, grid)
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
  losses = prior.card["training"]["validation_loss"]
  for sigma, loss in losses.items():
    print(f"sigma {sigma}: mean squared error {loss:.4f} of the Gaussian prior's")
  print(f"Wrote {pathlib.Path(options.output) / 'prior.json'}.")


def _spectrum(options, metadata):
  """Returns the power spectrum of the maps."""
  from tfp_massmap import spectra
  from tfp_massmap import theory
  from tfp_massmap.simulate import source_planes

  if options.spectrum:
    return spectra.PowerSpectrum.read(options.spectrum)
  if "plane_weights" not in metadata:
    raise ValueError(
      f"The metadata of {options.dataset} have no plane_weights, by which the power of"
      " its maps would be computed. Give their power with --spectrum TABLE."
    )
  sources = source_planes.sources(metadata["plane_weights"])
  # Data sets of kappaTNG have its cosmology, and need not say so.
  given = {n: metadata[n] for n in ("omega_matter", "sigma_8") if n in metadata}
  cosmology = theory.Cosmology(**given)
  return spectra.PowerSpectrum.theory(sources, cosmology, small_scales="kappatng")
