"""The `tfp-massmap` command: thin sub-commands over the library."""

import argparse
import dataclasses
import logging
import os
import pathlib
import signal
import sys
import tempfile
import threading

import tfp_massmap


def main(arguments=None):
  """Runs a sub-command; returns the exit status.

  0 success, 1 bad input (one line on standard error), 130 interrupted.
  """
  logging.basicConfig(format="%(message)s", level=logging.WARNING)
  options = _parser().parse_args(arguments)
  if threading.current_thread() is threading.main_thread():
    # Ended by a batch system, a run cleans up as if interrupted by hand.
    signal.signal(signal.SIGTERM, _interrupt)
  try:
    options.run(options)
  except KeyboardInterrupt:
    print(
        "tfp-massmap: interrupted. What was done of a sampling or training is kept: the"
        " same command goes on; other unfinished files were removed.", file=sys.stderr,
    )
    return 130
  except Exception as error:  # pylint: disable=broad-exception-caught
    message = _one_line(error)
    if message is None:
      raise
    print(f"tfp-massmap: {message}", file=sys.stderr)
    return 1
  return 0


def _interrupt(*_):
  raise KeyboardInterrupt


def _one_line(error):
  """What to tell the user of an error of the input, or None for one of the program."""
  if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
    return (
        "not enough memory. Use a smaller --batch-size or --size, or a larger"
        f" --pixel-scale ({str(error).splitlines()[0] if str(error) else 'no detail'})."
    )
  expected = (ValueError, OSError, RuntimeError, FloatingPointError)
  return str(error) if isinstance(error, expected) else None


def _start_tensorflow():
  """Loads TensorFlow without the lines that its C++ part prints at every start.

  They come before its log level is read. They go to a temporary file, which stays
  behind if the process dies there. Users who set the level see everything.
  """
  if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
    return
  os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
  sys.stderr.flush()
  kept = os.dup(2)
  log, log_path = tempfile.mkstemp(prefix="tfp-massmap-startup-", suffix=".log")
  os.dup2(log, 2)
  try:
    import tensorflow as tf  # pylint: disable=g-import-not-at-top

    tf.config.list_logical_devices()
    from tfp_massmap.nn import devices  # pylint: disable=g-import-not-at-top

    if devices.resolve_compute_dtype("auto") == "bfloat16":
      # It fails on networks in bfloat16, with a line for every graph, and saves no time.
      tf.config.optimizer.set_experimental_options({"remapping": False})
  except BaseException:
    os.dup2(kept, 2)
    print(pathlib.Path(log_path).read_text(encoding="utf-8"), file=sys.stderr)
    raise
  finally:
    os.dup2(kept, 2)
    os.close(kept)
    os.close(log)
    os.remove(log_path)


def _parser():
  parser = argparse.ArgumentParser(prog="tfp-massmap", description=tfp_massmap.__doc__)
  parser.add_argument("--version", action="version", version=tfp_massmap.__version__)
  commands = parser.add_subparsers(required=True, metavar="COMMAND")

  demo = commands.add_parser(
      "demo", help="sample the posterior of a mock field; needs no data",
      formatter_class=argparse.ArgumentDefaultsHelpFormatter,
  )
  demo.set_defaults(run=_demo)
  demo.add_argument("-o", "--output", default="demo", help="folder of the products")
  demo.add_argument("--size", type=_positive, default=360, help="pixels on a side")
  _add_sampling_options(demo)

  reconstruct = commands.add_parser(
      "reconstruct", help="sample the posterior of a shape catalogue",
      formatter_class=argparse.ArgumentDefaultsHelpFormatter,
  )
  reconstruct.set_defaults(run=_reconstruct)
  reconstruct.add_argument(
      "catalogue", help="table of galaxies: FITS, CSV, ECSV or Parquet"
  )
  reconstruct.add_argument(
      "-o", "--output", required=True,
      help="folder of the products, or FILE.fits (the figure is then FILE.png)",
  )
  for role in ("ra", "dec", "e1", "e2", "weight"):
    reconstruct.add_argument(
        f"--{role}", metavar="COLUMN",
        help=f"column of {role}; guessed from the usual names",
    )
  reconstruct.add_argument(
      "--redshift", metavar="COLUMN",
      help="column of redshifts, to be compared with those the prior was trained for",
  )
  reconstruct.add_argument(
      "--pixel-scale", type=float, default=0.29, help="side of a pixel in arcmin"
  )
  reconstruct.add_argument(
      "--size", type=_positive, nargs="+", metavar="N",
      help="pixels: one number, or rows and columns; default: the catalogue, with a"
      " margin of 15 %% of its span on each side",
  )
  reconstruct.add_argument(
      "--flip-e2", action="store_true",
      help="change the sign of e2, for shapes whose x axis runs to the west",
  )
  reconstruct.add_argument(
      "--sigma-e", type=float,
      help="standard deviation of an ellipticity component; measured if not given",
  )
  reconstruct.add_argument(
      "--spectrum", metavar="TABLE",
      help="table with columns ell and c_ell (steradian) of a Gaussian prior; default"
      " with --prior gaussian: the fiducial COSMOS n(z)",
  )
  reconstruct.add_argument(
      "--drop-invalid", action="store_true",
      help="leave out rows with NaN or infinite values instead of stopping",
  )
  _add_sampling_options(reconstruct)

  train = commands.add_parser(
      "train", help="train a prior on convergence maps",
      formatter_class=argparse.ArgumentDefaultsHelpFormatter,
  )
  train.set_defaults(run=_train)
  train.add_argument(
      "--dataset", required=True, metavar="NAME",
      help="tfds data set of maps: halo_kappa, which is simulated if it is not there,"
      " kappatng_cosmos/convergence, or the folder of any prepared one, down to its"
      " version",
  )
  train.add_argument("--data-dir", metavar="DIR", help="folder of all tfds data sets")
  train.add_argument(
      "-o", "--output", required=True,
      help="folder of the prior, its checkpoints and log.csv; a training that is there"
      " goes on",
  )
  train.add_argument("--preset", default="default", choices=["default", "paper"])
  train.add_argument(
      "--start", metavar="PRIOR", help="a trained prior whose weights to start from"
  )
  train.add_argument(
      "--spectrum", metavar="TABLE",
      help="table with columns ell and c_ell (steradian) of the maps; default: that of"
      " the simulator for the data set's plane weights",
  )
  train.add_argument("--num-steps", type=_positive, default=20000)
  train.add_argument("--batch-size", type=_positive, default=8)
  train.add_argument("--crop", type=_positive, default=192, help="pixels of a crop")
  train.add_argument(
      "--sigma-law", default="log_uniform", choices=["log_uniform", "half_normal"],
      help="of the noise: uniform in its logarithm between --sigma-low and --sigma-high,"
      " or the paper's half normal with standard deviation --sigma-high",
  )
  train.add_argument("--sigma-low", type=float, default=0.003)
  train.add_argument("--sigma-high", type=float, default=1.5)
  train.add_argument(
      "--weighting", default="error", choices=["error", "score"],
      help="of the loss: alike at every sigma, or Eq. 24 of the paper",
  )
  train.add_argument("--optimizer", default="muon", choices=["muon", "adam"])
  train.add_argument("--learning-rate", type=float, default=2e-3)
  train.add_argument("--final-learning-rate", type=float, default=1e-5)
  train.add_argument("--warmup-steps", type=int, default=300)
  train.add_argument("--clip-norm", type=float, default=1.0, help="of the gradients")
  train.add_argument(
      "--averaging", type=float, default=0.999,
      help="decay of the moving average of the weights, per step",
  )
  train.add_argument(
      "--gaussian-share", type=float, default=0.1,
      help="of the examples that are Gaussian fields",
  )
  train.add_argument(
      "--gaussian-weight", type=float, default=0.1, help="of those in the loss"
  )
  train.add_argument(
      "--mixed-precision", action="store_true",
      help="convolutions in bfloat16: for processors and GPUs that have it",
  )
  train.add_argument("--seed", type=_seed, default=0)
  train.add_argument("--quiet", action="store_true", help="no progress bar")
  return parser


def _add_sampling_options(parser):
  parser.add_argument("--num-samples", type=_positive, default=8)
  parser.add_argument(
      "--method", default="guided", choices=["guided", "guided+hmc", "annealed"],
      help="sampler: the fast one, the same with Metropolis-corrected steps, or that of"
      " Remy et al. (2022)",
  )
  parser.add_argument(
      "--prior", metavar="NAME",
      help="a trained prior, by name or path, or 'gaussian'; default: cosmos-halo",
  )
  parser.add_argument(
      "--quantiles", type=float, nargs="+", default=[], metavar="Q",
      help="levels in (0, 1) of quantile maps",
  )
  parser.add_argument(
      "--thresholds", type=float, nargs="+", default=[], metavar="KAPPA",
      help="convergences whose probability to be exceeded is mapped",
  )
  parser.add_argument("--batch-size", type=_positive, default=8,
                      help="samples drawn together; fewer need less memory")
  parser.add_argument("--seed", type=_seed, default=0)
  parser.add_argument("--overwrite", action="store_true",
                      help="replace products that exist")
  parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _positive(text):
  if not text.isdecimal() or int(text) < 1:
    raise argparse.ArgumentTypeError(f"must be a positive whole number; got {text!r}")
  return int(text)


def _seed(text):
  if not text.isdecimal() or int(text) >= 2**31:
    raise argparse.ArgumentTypeError(
        f"must be a whole number from 0 to {2**31 - 1}; got {text!r}"
    )
  return int(text)


def _demo(options):
  fits_path, png_path = _products(options)
  _start_tensorflow()
  from astropy import units as u  # pylint: disable=g-import-not-at-top
  from tfp_massmap import geometry  # pylint: disable=g-import-not-at-top
  from tfp_massmap import simulate  # pylint: disable=g-import-not-at-top

  # Placed at the centre of COSMOS, so that its files open like those of a real field.
  grid = geometry.PixelGrid.tangent(
      (150.12, 2.25), (options.size, options.size), 0.29 * u.arcmin
  )
  simulator = simulate.ConvergenceSimulator(
      geometry.PixelGrid(grid.shape, grid.pixel_scale), seed=options.seed
  )
  truth = next(iter(simulator.maps(1)))
  shear_map = simulate.mock_observation(
      truth, grid, simulate.cosmos_like_survey(), seed=options.seed
  )
  print(
      f"Mock field of {options.size} x {options.size} pixels,"
      f" {shear_map.settings['num_galaxies']} galaxies in"
      f" {shear_map.mask.mean():.0%} of it."
  )
  result = _sample(
      options, shear_map, _prior(options), truth, {"data": "mock field"}, fits_path
  )
  _write(options, result, fits_path, png_path, "Mock COSMOS-like field")


def _reconstruct(options):
  fits_path, png_path = _products(options)
  if options.size and len(options.size) > 2:
    raise ValueError(f"--size takes one or two numbers; got {len(options.size)}.")
  _start_tensorflow()
  from astropy import units as u  # pylint: disable=g-import-not-at-top
  from tfp_massmap import b_modes  # pylint: disable=g-import-not-at-top
  from tfp_massmap import catalog  # pylint: disable=g-import-not-at-top

  prior = _prior(options)
  columns = {k: getattr(options, k) for k in ("ra", "dec", "e1", "e2", "weight")}
  table = catalog.read_table(options.catalogue)
  num_rows = len(table)
  redshifts = _column(table, options.redshift) if options.redshift else None
  catalogue = catalog.catalogue_from_table(table, columns, options.drop_invalid)
  size = options.size
  grid = catalog.tangent_grid(
      catalogue, options.pixel_scale * u.arcmin,
      size=size[0] if size and len(size) == 1 else size,
  )
  shear_map = catalog.bin_catalogue(
      catalogue, grid, sigma_e=options.sigma_e, flip_e2=options.flip_e2
  )
  used = ", ".join(f"{role}: {name}" for role, name in catalogue.columns.items())
  unweighted = "" if "weight" in catalogue.columns else "; no weight column, all are 1"
  print(f"Columns {used}{unweighted}.")
  print(
      f"{shear_map.settings['num_galaxies']} galaxies on {grid.shape[0]} x"
      f" {grid.shape[1]} pixels, {shear_map.mask.mean():.0%} of them measured."
  )
  handedness = b_modes.check_handedness(shear_map)
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
      "num_rows_dropped": num_rows - len(catalogue),
  }
  result = _sample(options, shear_map, prior, None, settings, fits_path, redshifts)
  _write(options, result, fits_path, png_path, pathlib.Path(options.catalogue).name)


def _train(options):
  _start_tensorflow()
  from tfp_massmap import geometry  # pylint: disable=g-import-not-at-top
  from tfp_massmap import hybrid_prior  # pylint: disable=g-import-not-at-top
  from tfp_massmap import prior_training  # pylint: disable=g-import-not-at-top
  from tfp_massmap import spectra  # pylint: disable=g-import-not-at-top
  from tfp_massmap.nn import training  # pylint: disable=g-import-not-at-top

  builder = prior_training.open_dataset(options.dataset, options.data_dir)
  maps, pixel_scale, metadata = prior_training.read_maps(builder)
  if not options.spectrum and "plane_weights" not in metadata:
    raise ValueError(
        f"{options.dataset} does not say which source planes its maps are of. Give their"
        " power with --spectrum TABLE."
    )
  spectrum = (
      spectra.PowerSpectrum.read(options.spectrum) if options.spectrum
      else prior_training.simulator_spectrum(pixel_scale, metadata["plane_weights"])
  )
  start = None
  if options.start:
    grid = geometry.PixelGrid((options.crop, options.crop), pixel_scale)
    start = hybrid_prior.HybridPrior.load(options.start, grid)
  names = {f.name for f in dataclasses.fields(training.TrainingSettings)}
  prior = prior_training.train(
      maps["train"], maps["validation"], pixel_scale, spectrum, options.output,
      architecture=options.preset,
      settings=training.TrainingSettings(
          **{name: value for name, value in vars(options).items() if name in names}
      ),
      periodic=bool(metadata.get("periodic", False)),
      data=metadata, start=start, strategy=prior_training.choose_strategy(),
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
  return options.prior or "cosmos-halo"


def _column(table, name):
  if name not in table.colnames:
    raise ValueError(
        f"The catalogue has no column {name!r}. The columns are:"
        f" {', '.join(table.colnames)}."
    )
  return table[name]


def _sample(options, shear_map, prior, truth, settings, fits_path, redshifts=None):
  from tfp_massmap import reconstruction  # pylint: disable=g-import-not-at-top

  return reconstruction.reconstruct(
      shear_map, prior, options.num_samples, options.seed, options.method, truth=truth,
      settings=settings, batch_size=options.batch_size,
      samples_path=_samples_path(fits_path), overwrite=options.overwrite,
      quantiles=options.quantiles, thresholds=options.thresholds,
      source_redshifts=redshifts,
      progress=not options.quiet,
  )


def _samples_path(fits_path):
  if fits_path.name == "posterior.fits":
    return fits_path.with_name("samples.fits")
  return fits_path.with_name(f"{fits_path.stem}_samples.fits")


def _write(options, result, fits_path, png_path, title):
  result.save_products(fits_path, png_path, options.overwrite, title=title)
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


if __name__ == "__main__":
  sys.exit(main())
