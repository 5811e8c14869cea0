"""The sub-commands: from options to products."""

import dataclasses
import logging
import pathlib
import re
import sys

from tfp_massmap.cli import console

_LOG = logging.getLogger(__name__)

# Pixels a side; fewer are hardly a map, and the network's convolutions do not fit.
_MIN_SIZE = 16

_DEMO_PIXEL = 0.29  # arcmin


def _demo(options):
  fits_path, png_path = _products(options)
  _require_size((options.size, options.size), _DEMO_PIXEL, "--size")
  console.start_tensorflow()
  from astropy import units as u  # pylint: disable=g-import-not-at-top

  from tfp_massmap import geometry  # pylint: disable=g-import-not-at-top
  from tfp_massmap import simulate  # pylint: disable=g-import-not-at-top

  prior = _prior(options)
  # Placed at the centre of COSMOS, so that its files open like those of a real field.
  grid = geometry.PixelGrid.tangent(
    (150.12, 2.25), (options.size, options.size), pixel_scale=_DEMO_PIXEL * u.arcmin
  )
  simulator = simulate.ConvergenceSimulator(
    geometry.PixelGrid(grid.shape, grid.pixel_scale), seed=options.seed
  )
  truth = next(iter(simulator.maps(1)))
  shear_map = simulate.mock_observation(
    truth, grid, survey=simulate.cosmos_like_survey(), seed=options.seed
  )
  print(
    f"Mock field of {options.size} x {options.size} pixels,"
    f" {shear_map.settings['num_galaxies']} galaxies in"
    f" {shear_map.mask.mean():.0%} of it."
  )
  result = _sample(options, shear_map, prior, truth, {"data": "mock field"}, fits_path)
  _write(options, result, fits_path, png_path, "Mock COSMOS-like field")


def _reconstruct(options):
  fits_path, png_path = _products(options)
  if options.size and len(options.size) > 2:
    raise ValueError(f"--size takes one or two numbers; got {len(options.size)}.")
  size = options.size and (options.size[0], options.size[-1])
  if size:
    _require_size(size, options.pixel_scale, "--size")
  console.start_tensorflow()
  from astropy import units as u  # pylint: disable=g-import-not-at-top

  from tfp_massmap import catalog  # pylint: disable=g-import-not-at-top
  from tfp_massmap import sign_check  # pylint: disable=g-import-not-at-top

  prior = _prior(options)
  roles = ["ra", "dec", "e1", "e2", "weight", "redshift"]
  if options.redshift and not isinstance(prior, str):
    _LOG.warning(
      "--redshift is for a trained prior: with a Gaussian one it is ignored."
    )
    roles.remove("redshift")
  columns = {role: getattr(options, role) for role in roles}
  table = catalog.read_table(options.catalogue, options.hdu, columns=columns)
  num_rows = len(table)
  catalogue = catalog.catalogue_from_table(
    table, columns, drop_invalid=options.drop_invalid
  )
  grid = catalog.tangent_grid(catalogue, options.pixel_scale * u.arcmin, size=size)
  _require_size(grid.shape, options.pixel_scale)
  shear_map = catalog.bin_catalogue(
    catalogue, grid, sigma_e=options.sigma_e, flip_e2=options.flip_e2
  )
  used = ", ".join(f"{role}: {name}" for role, name in catalogue.columns.items())
  unweighted = "" if "weight" in catalogue.columns else "; no weight column, all are 1"
  print(f"Columns {used}{unweighted}.")
  print(
    f"{shear_map.settings['num_galaxies']} galaxies on {grid.shape[0]} x"
    f" {grid.shape[1]} pixels, {shear_map.mask.mean():.0%} of them measured;"
    f" sigma_e {shear_map.settings['sigma_e1']:.4g} (e1),"
    f" {shear_map.settings['sigma_e2']:.4g} (e2),"
    f" {'given' if options.sigma_e else 'measured'}."
  )
  handedness = sign_check.check_handedness(shear_map)
  print(f"{handedness}.")
  if handedness.verdict == "wrong sign of e2":
    print(
      "WARNING: the E-mode signal is stronger with the other sign of e2. Nothing"
      " was changed; check the catalogue's convention and try"
      f" {'without' if options.flip_e2 else 'with'} --flip-e2.",
      file=sys.stderr,
    )
  settings = {
    "data": pathlib.Path(options.catalogue).name,
    "handedness": str(handedness),
    "drop_invalid": options.drop_invalid,
    "num_rows_dropped": num_rows - len(catalogue),
  }
  if options.hdu is not None:
    settings["hdu"] = options.hdu
  result = _sample(options, shear_map, prior, None, settings, fits_path, catalogue)
  _write(options, result, fits_path, png_path, pathlib.Path(options.catalogue).name)


def _train(options):
  console.start_tensorflow()
  from tfp_massmap import devices  # pylint: disable=g-import-not-at-top
  from tfp_massmap import geometry  # pylint: disable=g-import-not-at-top
  from tfp_massmap import priors  # pylint: disable=g-import-not-at-top
  from tfp_massmap import simulate  # pylint: disable=g-import-not-at-top
  from tfp_massmap import spectra  # pylint: disable=g-import-not-at-top
  from tfp_massmap.priors import from_dataset  # pylint: disable=g-import-not-at-top
  from tfp_massmap.priors import training  # pylint: disable=g-import-not-at-top
  from tfp_massmap.priors import training_settings  # pylint: disable=g-import-not-at-top

  builder = from_dataset.open_dataset(options.dataset, options.data_dir)
  maps, pixel_scale, metadata = from_dataset.read_maps(builder)
  if not options.spectrum and "plane_weights" not in metadata:
    raise ValueError(
      f"{options.dataset} does not say which source planes its maps are of. Give their"
      " power with --spectrum TABLE."
    )
  spectrum = (
    spectra.PowerSpectrum.read(options.spectrum)
    if options.spectrum
    else simulate.convergence_spectrum(metadata["plane_weights"])
  )
  start = None
  if options.start:
    _require_no_folder("--start", options.start)
    grid = geometry.PixelGrid((options.crop, options.crop), pixel_scale)
    start = priors.HybridPrior.load(options.start, grid)
  names = {f.name for f in dataclasses.fields(training_settings.TrainingSettings)}
  prior = training.train(
    maps["train"],
    maps["validation"],
    pixel_scale=pixel_scale,
    spectrum=spectrum,
    folder=options.output,
    architecture=options.preset,
    settings=training_settings.TrainingSettings(
      **{name: value for name, value in vars(options).items() if name in names}
    ),
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


def _products(options):
  """Paths of the products, refused now if they exist."""
  from tfp_massmap import io  # pylint: disable=g-import-not-at-top

  output = pathlib.Path(options.output)
  compressed = re.fullmatch(
    r"(.+)\.(fits?\.(gz|bz2|xz|zip|fz)|fts)", output.name, re.IGNORECASE
  )
  if compressed:
    raise ValueError(
      f"-o {output} is neither FILE.fits nor a folder. Give"
      f" -o {output.with_name(compressed[1] + '.fits')}, or the name of a folder."
    )
  if output.suffix.lower() in (".fits", ".fit"):
    fits_path = output
  else:
    fits_path = output / "posterior.fits"
  png_path = fits_path.with_suffix(".png")
  for path in (fits_path, png_path):
    io.check_writable(path, options.overwrite)
  return fits_path, png_path


def _prior(options):
  """Name of a trained prior, or the spectrum of a Gaussian one."""
  from tfp_massmap import spectra  # pylint: disable=g-import-not-at-top

  table = getattr(options, "spectrum", None)
  if table and options.prior not in (None, "gaussian"):
    raise ValueError(
      f"--spectrum is for a Gaussian prior, and --prior is {options.prior}. Give one of"
      " the two."
    )
  if table:
    return spectra.PowerSpectrum.read(table)
  if options.prior == "gaussian":
    return spectra.PowerSpectrum.fiducial_cosmos()
  if options.prior:
    _require_no_folder("--prior", options.prior)
  return options.prior or "cosmos-halo"


def _require_no_folder(option, path):
  """Refuses the folder of a prior, which is easily taken for its name."""
  from tfp_massmap import priors  # pylint: disable=g-import-not-at-top

  inside = pathlib.Path(path) / "prior"
  if path not in priors.shipped() and inside.with_suffix(".json").is_file():
    raise ValueError(
      f"{option} {path} is a folder, and the prior is in it. Give {option} {inside}."
    )


def _require_size(shape, pixel_scale, option=None):
  """Refuses a map too small for its neighbourhoods and scales.

  Args:
    shape: pixels, `(ny, nx)`.
    pixel_scale: arcmin.
    option: what set the shape; None for the extent of the catalogue.
  """
  if min(shape) >= _MIN_SIZE:
    return
  if option:
    remedy = f"Give a larger {option}."
  else:
    remedy = (
      "Are ra and dec in radians? Then declare the unit of their columns, or convert"
      " them to degrees; for a small field, give a smaller --pixel-scale, or --size."
    )
  raise ValueError(
    f"The map would have {shape[0]} x {shape[1]} pixels of {pixel_scale:g} arcmin,"
    f" {shape[0] * pixel_scale:.3g} x {shape[1] * pixel_scale:.3g} arcmin; at"
    f" least {_MIN_SIZE} pixels a side are needed. {remedy}"
  )


def _sample(options, shear_map, prior, truth, settings, fits_path, catalogue=None):
  from tfp_massmap import reconstruction  # pylint: disable=g-import-not-at-top

  sources = None
  if catalogue is not None and catalogue.redshift is not None:
    sources = reconstruction.Sources(catalogue.redshift, catalogue.weight)
  return reconstruction.reconstruct(
    shear_map,
    prior,
    num_samples=options.num_samples,
    seed=options.seed,
    sampler=reconstruction.Sampler(
      method=options.method, batch_size=options.batch_size
    ),
    products=reconstruction.Products(
      samples_path=_samples_path(fits_path),
      overwrite=options.overwrite,
      quantiles=tuple(options.quantiles),
      thresholds=tuple(options.thresholds),
      header=settings,
    ),
    sources=sources,
    truth=truth,
    reduced_shear=options.command == "reconstruct" and options.reduced_shear,
    progress=not options.quiet,
  )


def _samples_path(fits_path):
  if fits_path.name == "posterior.fits":
    return fits_path.with_name("samples.fits")
  return fits_path.with_name(f"{fits_path.stem}_samples.fits")


def _write(options, result, fits_path, png_path, title):
  result.save_products(fits_path, png_path, overwrite=options.overwrite, title=title)
  samples = result.sample_set
  accepted = ""
  if samples.acceptance is not None:
    accepted = (
      f"; acceptance {samples.acceptance:.2f}, {samples.final_acceptance:.2f} at the"
      " last temperature"
    )
  print(
    f"{options.num_samples} samples,"
    f" {samples.num_score_evaluations:.0f} score evaluations each,"
    f" {samples.seconds:.0f} s{accepted}.\n"
    f"Wrote {fits_path}, {samples.path.name} and {png_path.name}."
  )


COMMANDS = {"demo": _demo, "reconstruct": _reconstruct, "train": _train}
