"""The options of the sub-commands: one function adds those of each."""

import argparse
from collections.abc import Callable
from collections.abc import Sequence
import typing

import tfp_massmap
from tfp_massmap.cli import console


class _SubParser(argparse.ArgumentParser):
  """A parser whose options are added when its sub-command is chosen.

  Those of `train` are the fields of a class whose module loads TensorFlow, for which
  the help of the other sub-commands must not wait.
  """

  def __init__(
    self,
    *,
    add_options: Callable[[argparse.ArgumentParser], None],
    **kwargs: typing.Any,
  ) -> None:
    super().__init__(formatter_class=argparse.ArgumentDefaultsHelpFormatter, **kwargs)
    self._add_options = add_options

  def parse_known_args(  # type: ignore[override]  # The overloads add nothing here.
    self,
    args: Sequence[str] | None = None,
    namespace: argparse.Namespace | None = None,
  ) -> tuple[argparse.Namespace, list[str]]:
    """Adds the options, and parses them."""
    self._add_options(self)
    return super().parse_known_args(args, namespace)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
  """Returns the options of a command line.

  Args:
    arguments: Words of the command line, without the name of the command; None for
      those of the process.

  Returns:
    The options; `command` is the name of the sub-command.

  Raises:
    SystemExit: For options that are unknown, missing or malformed, and for `--help`.
  """
  parser = argparse.ArgumentParser(
    prog="tfp-massmap",
    description="Posterior samples of weak-lensing convergence maps.",
  )
  parser.add_argument("--version", action="version", version=tfp_massmap.__version__)
  commands = parser.add_subparsers(
    required=True, metavar="COMMAND", dest="command", parser_class=_SubParser
  )
  commands.add_parser(
    "demo",
    help="sample the posterior of a mock field; needs no data",
    add_options=_add_demo_options,
  )
  commands.add_parser(
    "reconstruct",
    help="sample the posterior of a shape catalogue",
    add_options=_add_reconstruct_options,
  )
  commands.add_parser(
    "calibrate",
    help="test samples on mocks of the survey of a shape catalogue",
    add_options=_add_calibrate_options,
  )
  commands.add_parser(
    "train",
    help="train a prior on convergence maps",
    add_options=_add_train_options,
  )
  return parser.parse_args(arguments)


def _add_demo_options(parser):
  parser.add_argument("-o", "--output", default="demo", help="folder of the products")
  parser.add_argument(
    "--size", type=_positive, default=360, help="number of pixels on a side"
  )
  _add_sampling_options(parser)


def _add_reconstruct_options(parser):
  _add_survey_options(parser)
  parser.add_argument(
    "-o",
    "--output",
    required=True,
    help="folder of the products, or FILE.fits (the figure is then FILE.png)",
  )
  parser.add_argument(
    "--calibration",
    metavar="FOLDER",
    help="folder of `tfp-massmap calibrate` with the same options: its verdict goes into"
    " the headers of the products",
  )
  _add_sampling_options(parser)


def _add_calibrate_options(parser):
  _add_survey_options(parser)
  parser.add_argument(
    "-o",
    "--output",
    required=True,
    help="folder of records, tables and figures; an interrupted run there resumes",
  )
  parser.add_argument(
    "--num-truths", type=_positive, default=16, help="number of mocks"
  )
  parser.add_argument(
    "--window",
    type=_positive,
    default=128,
    metavar="N",
    help="side in pixels of the part of the survey that is mocked, the one with the most"
    " data",
  )
  parser.add_argument(
    "--truth-cosmology",
    metavar="TEXT",
    help="cosmology of the truths, for example sigma_8=0.80, or with errors, one for"
    " each; by default that of the prior",
  )
  parser.add_argument(
    "--num-samples", type=_positive, default=32, help="samples of each mock"
  )
  _add_sampler_options(parser)


def _add_survey_options(parser):
  _add_catalogue_options(parser)
  parser.add_argument(
    "--pixel-scale", type=float, default=0.29, help="side of a pixel in arcmin"
  )
  parser.add_argument(
    "--size",
    type=_positive,
    nargs="+",
    metavar="N",
    help="number of pixels: one number, or rows and columns; by default the catalogue"
    " fits, with a margin of 15 %% of its span on each side",
  )
  parser.add_argument(
    "--spectrum",
    metavar="TABLE",
    help="table with columns ell and c_ell (steradian) of a Gaussian prior; with"
    " --prior gaussian alone, the spectrum follows from n(z) and cosmology",
  )
  _add_theory_options(parser)


def _add_catalogue_options(parser):
  parser.add_argument(
    "catalogue", help="table of galaxies: FITS, CSV, text, ECSV or Parquet"
  )
  parser.add_argument(
    "--hdu",
    type=_hdu,
    metavar="N_OR_NAME",
    help="table of a FITS file; by default the first that has the columns",
  )
  for role in ("ra", "dec", "e1", "e2", "weight"):
    parser.add_argument(
      f"--{role}",
      metavar="COLUMN",
      help=f"column of {role}; by default guessed from the usual names",
    )
  parser.add_argument(
    "--redshift",
    metavar="COLUMN",
    help="column of redshifts: the n(z) that the prior is made for; a trained prior of"
    " one survey compares it with that of its training",
  )
  parser.add_argument(
    "--flip-e2",
    action="store_true",
    help="change the sign of e2, for shapes whose x axis runs to the west",
  )
  parser.add_argument(
    "--reduced-shear",
    action="store_true",
    help="model the shapes as shear / (1 - kappa), which they measure, instead of"
    " shear; this matters in clusters, and is not available with --method annealed",
  )
  parser.add_argument(
    "--sigma-e",
    type=float,
    help="standard deviation of an ellipticity component; by default it is measured",
  )
  parser.add_argument(
    "--drop-invalid",
    action="store_true",
    help="leave out rows with NaN, infinite or masked values, |e| > 10, or redshifts"
    " that are not positive, instead of stopping",
  )


def _add_theory_options(parser):
  parser.add_argument(
    "--shear-errors",
    metavar="TEXT",
    help="multiplicative bias m of the shear, measured = (1 + m) true, and the noise over"
    " that of the catalogue, for example m=0.010+-0.005,noise=1.00+-0.02: means are"
    " corrected, and samples are shared among draws of the errors",
  )
  parser.add_argument(
    "--nz",
    metavar="TABLE_OR_SURVEY",
    help="n(z) of the galaxies: a table with columns z and nz, or two columns; or a survey"
    " whose n(z) is known: cosmos, euclid, lsst-y10",
  )
  parser.add_argument(
    "--mean-redshift",
    type=float,
    metavar="Z",
    help="mean redshift of the galaxies, for an n(z) like z^2 exp(-(z / z0)^1.5)",
  )
  parser.add_argument(
    "--cosmology",
    metavar="TEXT",
    help="cosmology of --prior gaussian or of a prior for any survey, for example"
    " sigma_8=0.80,Omega_m=0.31, by default that of kappaTNG; with errors, as in"
    " sigma_8=0.80+-0.03, samples are shared among eight cosmologies or more",
  )
  parser.add_argument(
    "--infer-cosmology",
    type=_positive,
    nargs="?",
    const=256,
    metavar="MOCKS",
    help="sample map and cosmology together, within the errors of --cosmology, by"
    " simulated mocks of the survey (256, about two seconds each), which are kept"
    " beside the products",
  )
  parser.add_argument(
    "--small-scales",
    choices=["halofit", "kappatng"],
    help="matter power of --prior gaussian: halofit, the default, or with the baryons of"
    " kappaTNG",
  )


def _add_train_options(parser):
  # The next import loads TensorFlow.
  console.start_tensorflow()
  from tfp_massmap.cli import train_options

  parser.add_argument(
    "--dataset",
    required=True,
    metavar="NAME",
    help="tfds data set of maps: halo_kappa, which is simulated if it is not there, for"
    " a prior of one survey; survey_kappa, likewise, for a prior of any survey;"
    " kappatng_cosmos/convergence; or the folder of any prepared one, down to its"
    " version",
  )
  parser.add_argument("--data-dir", metavar="DIR", help="folder of all tfds data sets")
  parser.add_argument(
    "-o",
    "--output",
    required=True,
    help="folder of the prior, its checkpoints and log.csv; an unfinished training"
    " there is resumed",
  )
  parser.add_argument(
    "--preset",
    default="default",
    choices=["default", "paper"],
    help="architecture of the network; 'paper' is that of Remy et al. (2022)",
  )
  parser.add_argument(
    "--start", metavar="PRIOR", help="a trained prior whose weights to start from"
  )
  parser.add_argument(
    "--spectrum",
    metavar="TABLE",
    help="table with columns ell and c_ell (steradian) of the maps; by default it is"
    " computed by the simulator for the data set's plane weights",
  )
  train_options.add_options(parser)
  parser.add_argument("--quiet", action="store_true", help="show no progress bar")


def _add_sampling_options(parser):
  parser.add_argument(
    "--num-samples", type=_positive, default=8, help="number of posterior samples"
  )
  _add_sampler_options(parser)
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
    "--overwrite", action="store_true", help="replace products that exist"
  )


def _add_sampler_options(parser):
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
    help="a trained prior, by name or path, or 'gaussian'; by default universal, which"
    " is fitted to the n(z), the cosmology and the pixels",
  )
  parser.add_argument(
    "--batch-size",
    type=_positive,
    default=8,
    help="samples drawn together; fewer need less memory, and the samples depend on it"
    " as on the seed",
  )
  parser.add_argument(
    "--seed", type=_seed, default=0, help="seed of all random numbers"
  )
  parser.add_argument("--quiet", action="store_true", help="show no progress bar")


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
