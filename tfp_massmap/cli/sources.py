"""The redshifts of the sources and the cosmology, from the options of `reconstruct`.

They decide the spectrum of a Gaussian prior, and a trained prior that serves any survey.
"""

import argparse
from collections.abc import Callable
import logging
import typing

if typing.TYPE_CHECKING:
  from tfp_massmap import catalog
  from tfp_massmap import spectra
  from tfp_massmap import theory

_LOG = logging.getLogger(__name__)

_OPTIONS = ("redshift", "nz", "mean_redshift")
_HOW_TO = (
  "Give --redshift COLUMN, --nz TABLE or --mean-redshift Z, whichever is known of the"
  " galaxies."
)


def check(options: argparse.Namespace) -> None:
  """Refuses options that contradict each other, before anything is read.

  Args:
    options: See `arguments`.

  Raises:
    ValueError: If n(z) is given in two ways, or theory is asked for beside a table.
  """
  values = vars(options)
  given = [name for name in _OPTIONS if values[name] is not None]
  if len(given) > 1:
    names = " and ".join("--" + name.replace("_", "-") for name in given)
    raise ValueError(f"{names} both say what n(z) is. Give one of them.")
  for name in ("cosmology", "truth_cosmology"):
    if values.get(name):
      _parsed(values[name])
  for name in ("cosmology", "small_scales"):
    if values[name] is None:
      continue
    option = "--" + name.replace("_", "-")
    if options.spectrum:
      raise ValueError(
        f"{option} is for a spectrum from theory, and --spectrum is one."
      )
    if name == "small_scales" and options.prior != "gaussian":
      raise ValueError(
        f"{option} is for --prior gaussian: a trained prior has its own small scales."
      )


def check_prior(options: argparse.Namespace, prior: str) -> None:
  """Refuses a cosmology for a trained prior that has its own.

  Args:
    options: See `arguments`.
    prior: Name or path of a trained prior.

  Raises:
    FileNotFoundError: If there is no such prior.
    ValueError: If a cosmology is given and the prior serves one survey alone.
  """
  from tfp_massmap.priors import survey_fit

  if options.cosmology is not None and not survey_fit.serves_any_survey(prior):
    raise ValueError(
      f"--cosmology is for --prior gaussian and for priors of any survey: {prior} has"
      " its own cosmology."
    )


def cosmology_of(options: argparse.Namespace) -> "theory.CosmologyPrior | None":
  """Returns the cosmology that is asked for, with its errors; None for the default one.

  Args:
    options: See `arguments`.

  Raises:
    ValueError: If it is malformed.
  """
  return None if options.cosmology is None else _parsed(options.cosmology)


def _parsed(text):
  from tfp_massmap import theory

  return theory.CosmologyPrior.parse(text)


def for_prior(
  options: argparse.Namespace,
  sources: "theory.SourceRedshifts | None",
  *,
  prior: str,
) -> "theory.SourceRedshifts | None":
  """Returns the n(z) that a trained prior is used with, and warns of unknown redshifts.

  Args:
    options: See `arguments`.
    sources: The n(z) of the galaxies; None if nothing is known of it.
    prior: Name or path of the trained prior.

  Returns:
    `sources`; that of COSMOS for a prior of any survey where nothing is known.
  """
  from tfp_massmap import theory
  from tfp_massmap.priors import survey_fit

  if sources is not None:
    return sources
  if not survey_fit.serves_any_survey(prior):
    warn_of_unknown(prior)
    return None
  return _assume_cosmos(theory)


def _assume_cosmos(theory):
  """Returns the n(z) of COSMOS, with a warning."""
  sources = theory.SourceRedshifts.of_survey("cosmos")
  _LOG.warning(
    "The redshifts of the galaxies are not known: the prior takes the n(z) of COSMOS,"
    " of mean redshift %.2f. Where galaxies are nearer, the signal is weaker than the"
    " prior expects, and noise is taken for structure. %s",
    sources.mean,
    _HOW_TO,
  )
  return sources


def of(
  options: argparse.Namespace, catalogue: "catalog.ShearCatalogue"
) -> "theory.SourceRedshifts | None":
  """Returns the n(z) of the galaxies; None if nothing is known of it.

  Args:
    options: See `arguments`.
    catalogue: The galaxies, with redshifts if `--redshift` names their column.

  Raises:
    FileNotFoundError: If there is neither a table of n(z) nor a survey of the name.
    ValueError: If the redshifts or the table are no n(z).
  """
  from tfp_massmap import theory

  if options.nz in theory.SURVEY_REDSHIFTS:
    return theory.SourceRedshifts.of_survey(options.nz)
  if options.nz is not None:
    return _read_table(theory, options.nz)
  if options.mean_redshift is not None:
    return theory.SourceRedshifts.of_mean(options.mean_redshift)
  if catalogue.redshift is None:
    return None
  return theory.SourceRedshifts.from_galaxies(catalogue.redshift, catalogue.weight)


def _read_table(theory, path):
  try:
    return theory.SourceRedshifts.read(path)
  except FileNotFoundError as error:
    raise FileNotFoundError(
      f"There is no file {path} with an n(z), and no survey of this name; those known"
      f" are {', '.join(theory.SURVEY_REDSHIFTS)}."
    ) from error


def warn_of_unknown(prior: str) -> None:
  """Logs that nothing tells whether a trained prior suits the galaxies.

  Args:
    prior: Name of the trained prior.
  """
  _LOG.warning(
    "The redshifts of the galaxies are not known: whether the prior %s was trained for"
    " them cannot be checked. With other redshifts the map and its errors are wrong. %s",
    prior,
    _HOW_TO,
  )


def gaussian_spectrum(
  options: argparse.Namespace, sources: "theory.SourceRedshifts | None"
) -> "Callable[[theory.Cosmology], spectra.PowerSpectrum]":
  """Returns the spectrum of `--prior gaussian`, from theory, for any cosmology.

  Args:
    options: See `arguments`.
    sources: The n(z); None for that of COSMOS, with a warning.

  Raises:
    ValueError: If the cosmology is malformed, or outside of the tables.
  """
  from tfp_massmap import spectra
  from tfp_massmap import theory

  if sources is None:
    sources = _assume_cosmos(theory)
  return lambda cosmology: spectra.PowerSpectrum.theory(
    sources, cosmology, small_scales=options.small_scales or "halofit"
  )
