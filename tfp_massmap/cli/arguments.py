"""The options of the sub-commands."""

import argparse

import tfp_massmap


def parse(arguments=None):
  """The options of a command line; `command` is the name of the sub-command."""
  parser = argparse.ArgumentParser(prog="tfp-massmap", description=tfp_massmap.__doc__)
  parser.add_argument("--version", action="version", version=tfp_massmap.__version__)
  commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")

  demo = commands.add_parser(
    "demo",
    help="sample the posterior of a mock field; needs no data",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
  )
  demo.add_argument("-o", "--output", default="demo", help="folder of the products")
  demo.add_argument("--size", type=_positive, default=360, help="pixels on a side")
  _add_sampling_options(demo)

  reconstruct = commands.add_parser(
    "reconstruct",
    help="sample the posterior of a shape catalogue",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
  )
  reconstruct.add_argument(
    "catalogue", help="table of galaxies: FITS, CSV, text, ECSV or Parquet"
  )
  reconstruct.add_argument(
    "-o",
    "--output",
    required=True,
    help="folder of the products, or FILE.fits (the figure is then FILE.png)",
  )
  reconstruct.add_argument(
    "--hdu",
    type=_hdu,
    metavar="N_OR_NAME",
    help="table of a FITS file; default: the first that has the columns",
  )
  for role in ("ra", "dec", "e1", "e2", "weight"):
    reconstruct.add_argument(
      f"--{role}",
      metavar="COLUMN",
      help=f"column of {role}; guessed from the usual names",
    )
  reconstruct.add_argument(
    "--redshift",
    metavar="COLUMN",
    help="column of redshifts, to be compared with those the prior was trained for",
  )
  reconstruct.add_argument(
    "--pixel-scale", type=float, default=0.29, help="side of a pixel in arcmin"
  )
  reconstruct.add_argument(
    "--size",
    type=_positive,
    nargs="+",
    metavar="N",
    help="pixels: one number, or rows and columns; default: the catalogue, with a"
    " margin of 15 %% of its span on each side",
  )
  reconstruct.add_argument(
    "--flip-e2",
    action="store_true",
    help="change the sign of e2, for shapes whose x axis runs to the west",
  )
  reconstruct.add_argument(
    "--reduced-shear",
    action="store_true",
    help="take shapes for shear / (1 - kappa), which they measure, instead of shear:"
    " it matters in clusters; not with --method annealed",
  )
  reconstruct.add_argument(
    "--sigma-e",
    type=float,
    help="standard deviation of an ellipticity component; measured if not given",
  )
  reconstruct.add_argument(
    "--spectrum",
    metavar="TABLE",
    help="table with columns ell and c_ell (steradian) of a Gaussian prior; default"
    " with --prior gaussian: the fiducial COSMOS n(z)",
  )
  reconstruct.add_argument(
    "--drop-invalid",
    action="store_true",
    help="leave out rows with NaN, infinite or masked values, |e| > 10, or redshifts"
    " that are not positive, instead of stopping",
  )
  _add_sampling_options(reconstruct)

  train = commands.add_parser(
    "train",
    help="train a prior on convergence maps",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
  )
  train.add_argument(
    "--dataset",
    required=True,
    metavar="NAME",
    help="tfds data set of maps: halo_kappa, which is simulated if it is not there,"
    " kappatng_cosmos/convergence, or the folder of any prepared one, down to its"
    " version",
  )
  train.add_argument("--data-dir", metavar="DIR", help="folder of all tfds data sets")
  train.add_argument(
    "-o",
    "--output",
    required=True,
    help="folder of the prior, its checkpoints and log.csv; a training that is there"
    " goes on",
  )
  train.add_argument("--preset", default="default", choices=["default", "paper"])
  train.add_argument(
    "--start", metavar="PRIOR", help="a trained prior whose weights to start from"
  )
  train.add_argument(
    "--spectrum",
    metavar="TABLE",
    help="table with columns ell and c_ell (steradian) of the maps; default: that of"
    " the simulator for the data set's plane weights",
  )
  train.add_argument("--num-steps", type=_positive, default=20000)
  train.add_argument("--batch-size", type=_positive, default=8)
  train.add_argument("--crop", type=_positive, default=192, help="pixels of a crop")
  train.add_argument(
    "--sigma-law",
    default="log_uniform",
    choices=["log_uniform", "half_normal"],
    help="of the noise: uniform in its logarithm between --sigma-low and --sigma-high,"
    " or the paper's half normal with standard deviation --sigma-high",
  )
  train.add_argument("--sigma-low", type=float, default=0.003)
  train.add_argument("--sigma-high", type=float, default=1.5)
  train.add_argument(
    "--weighting",
    default="error",
    choices=["error", "score"],
    help="of the loss: alike at every sigma, or Eq. 24 of the paper",
  )
  train.add_argument("--optimizer", default="muon", choices=["muon", "adam"])
  train.add_argument("--learning-rate", type=float, default=2e-3)
  train.add_argument("--final-learning-rate", type=float, default=1e-5)
  train.add_argument("--warmup-steps", type=int, default=300)
  train.add_argument("--clip-norm", type=float, default=1.0, help="of the gradients")
  train.add_argument(
    "--averaging",
    type=float,
    default=0.999,
    help="decay of the moving average of the weights, per step",
  )
  train.add_argument(
    "--gaussian-share",
    type=float,
    default=0.1,
    help="of the examples that are Gaussian fields",
  )
  train.add_argument(
    "--gaussian-weight", type=float, default=0.1, help="of those in the loss"
  )
  train.add_argument(
    "--mixed-precision",
    action="store_true",
    help="convolutions in bfloat16: for processors and GPUs that have it",
  )
  train.add_argument("--seed", type=_seed, default=0)
  train.add_argument("--quiet", action="store_true", help="no progress bar")
  return parser.parse_args(arguments)


def _add_sampling_options(parser):
  parser.add_argument("--num-samples", type=_positive, default=8)
  parser.add_argument(
    "--method",
    default="guided",
    choices=["guided", "guided+hmc", "annealed"],
    help="sampler: the fast one, the same with Metropolis-corrected steps, or that of"
    " Remy et al. (2022)",
  )
  parser.add_argument(
    "--prior",
    metavar="NAME",
    help="a trained prior, by name or path, or 'gaussian'; default: cosmos-halo",
  )
  parser.add_argument(
    "--quantiles",
    type=float,
    nargs="+",
    default=[],
    metavar="Q",
    help="levels in (0, 1) of quantile maps",
  )
  parser.add_argument(
    "--thresholds",
    type=float,
    nargs="+",
    default=[],
    metavar="KAPPA",
    help="convergences whose probability to be exceeded is mapped",
  )
  parser.add_argument(
    "--batch-size",
    type=_positive,
    default=8,
    help="samples drawn together; fewer need less memory. The samples depend on it, as"
    " on the seed",
  )
  parser.add_argument("--seed", type=_seed, default=0)
  parser.add_argument(
    "--overwrite", action="store_true", help="replace products that exist"
  )
  parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _positive(text):
  if not text.isdecimal() or int(text) < 1:
    raise argparse.ArgumentTypeError(f"must be a positive whole number; got {text!r}")
  return int(text)


def _hdu(text):
  return int(text) if text.isdecimal() else text


def _seed(text):
  if not text.isdecimal() or int(text) >= 2**31:
    raise argparse.ArgumentTypeError(
      f"must be a whole number from 0 to {2**31 - 1}; got {text!r}"
    )
  return int(text)
