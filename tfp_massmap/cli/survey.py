"""From the options to a survey: shear map, prior and n(z), with checks of the signs."""

import argparse
import dataclasses
import logging
import pathlib
import sys
import typing

from tfp_massmap.cli import sampling
from tfp_massmap.cli import sources as sources_lib

if typing.TYPE_CHECKING:
  from tfp_massmap import catalog
  from tfp_massmap import prior_choice
  from tfp_massmap import shear_errors as shear_errors_lib
  from tfp_massmap import shear_map as shear_map_lib
  from tfp_massmap import sign_check
  from tfp_massmap import theory

_LOG = logging.getLogger(__name__)

_SMALL_FIELD = (
  "Are ra and dec in radians? Then declare the unit of their columns, or convert"
  " them to degrees; for a small field, give a smaller --pixel-scale, or --size."
)


@dataclasses.dataclass(frozen=True, eq=False)
class Survey:
  """A binned catalogue, and what is assumed of it.

  Attributes:
    shear_map: `shear_map.ShearMap`.
    prior: Name of a trained prior, the spectrum of a Gaussian one, or a function of the
      cosmology to that.
    sources: n(z) of the galaxies, or None.
    cosmology: Cosmology of the prior with its errors; None for the default one, or that
      of its training.
    shear_errors: Bias of the shear and scale of the noise, or None.
    header: Entries for the headers of products.
    title: Name of the file.
  """

  shear_map: "shear_map_lib.ShearMap"
  prior: "prior_choice.Choice"
  _: dataclasses.KW_ONLY
  sources: "theory.SourceRedshifts | None"
  cosmology: "theory.CosmologyDistribution | None"
  shear_errors: "shear_errors_lib.ShearErrors | None"
  header: dict
  title: str

  def corrected(self, shear_map: "shear_map_lib.ShearMap") -> "shear_map_lib.ShearMap":
    """Returns a shear map corrected by the mean errors of the shear.

    Args:
      shear_map: `shear_map.ShearMap` of the survey, or of a part of it.
    """
    if self.shear_errors is None:
      return shear_map
    return self.shear_errors.mean.apply(shear_map)


def check(options: argparse.Namespace) -> None:
  """Refuses options that contradict each other, before anything is read.

  Args:
    options: See `arguments`.

  Raises:
    ValueError: If the size has three numbers or is too small, or as `sources.check`.
  """
  _checked_size(options)
  sources_lib.check(options)


def read(options: argparse.Namespace) -> Survey:
  """Reads and bins a catalogue, checks its signs, and prints what was found.

  Args:
    options: See `arguments`.

  Raises:
    FileNotFoundError: If a file is missing.
    ValueError: If the catalogue cannot be read or binned, or an option does not fit it.
  """
  from astropy import units as u

  from tfp_massmap import catalog
  from tfp_massmap import shear_errors
  from tfp_massmap import sign_check

  errors = None
  if options.shear_errors:
    errors = shear_errors.ShearErrors.parse(options.shear_errors)
  prior: prior_choice.Choice = sampling.choose_prior(options.prior, options.spectrum)
  if isinstance(prior, str) and prior != "gaussian":
    sources_lib.check_prior(options, prior)
  columns = _columns(options)
  table = catalog.read_table(options.catalogue, options.hdu, columns=columns)
  catalogue = catalog.catalogue_from_table(
    table, columns, drop_invalid=options.drop_invalid
  )
  size = _checked_size(options)
  grid = catalog.tangent_grid(catalogue, options.pixel_scale * u.arcmin, size=size)
  sampling.require_size(grid.shape, options.pixel_scale, remedy=_SMALL_FIELD)
  sources = sources_lib.of(options, catalogue)
  if prior == "gaussian":
    prior = sources_lib.gaussian_spectrum(options, sources)
  shear_map = catalog.bin_catalogue(
    catalogue, grid, sigma_e=options.sigma_e, flip_e2=options.flip_e2
  )
  _print_data(catalogue, shear_map, sigma_e=options.sigma_e)
  handedness = sign_check.check_handedness(shear_map)
  _print_handedness(handedness, flip_e2=options.flip_e2)
  if isinstance(prior, str):
    sources = sources_lib.for_prior(options, sources, prior=prior)
  title = pathlib.Path(options.catalogue).name
  header = {
    "data": title,
    "handedness": str(handedness),
    "drop_invalid": options.drop_invalid,
    "num_rows_dropped": len(table) - len(catalogue),
  }
  if options.hdu is not None:
    header["hdu"] = options.hdu
  return Survey(
    shear_map,
    prior,
    sources=sources,
    cosmology=sources_lib.cosmology_of(options),
    shear_errors=errors,
    header=header,
    title=title,
  )


def _checked_size(options):
  """Returns `(ny, nx)` of `--size`, or None."""
  if not options.size:
    return None
  if len(options.size) > 2:
    raise ValueError(f"--size takes one or two numbers; got {len(options.size)}.")
  size = (options.size[0], options.size[-1])
  sampling.require_size(size, options.pixel_scale, remedy="Give a larger --size.")
  return size


def _columns(options):
  """Returns the names of columns that were given, by role; None for the others."""
  columns = dict(
    ra=options.ra,
    dec=options.dec,
    e1=options.e1,
    e2=options.e2,
    weight=options.weight,
    redshift=options.redshift,
  )
  if options.spectrum and options.redshift:
    _LOG.warning("--redshift is ignored: --spectrum says what the prior is.")
    del columns["redshift"]
  return columns


def _print_data(
  catalogue: "catalog.ShearCatalogue",
  shear_map: "shear_map_lib.ShearMap",
  sigma_e: float | None,
) -> None:
  used = ", ".join(f"{role}: {name}" for role, name in catalogue.columns.items())
  unweighted = "" if "weight" in catalogue.columns else "; no weight column, all are 1"
  print(f"Columns {used}{unweighted}.")
  ny, nx = shear_map.grid.shape
  print(
    f"{shear_map.settings['num_galaxies']} galaxies on {ny} x {nx} pixels,"
    f" {shear_map.mask.mean():.0%} of them measured;"
    f" sigma_e {shear_map.settings['sigma_e1']:.4g} (e1),"
    f" {shear_map.settings['sigma_e2']:.4g} (e2),"
    f" {'given' if sigma_e else 'measured'}."
  )


def _print_handedness(handedness: "sign_check.HandednessTest", flip_e2: bool) -> None:
  print(handedness)
  if handedness.verdict == "wrong sign of e2":
    print(
      "WARNING: the E-mode signal is stronger with the other sign of e2. Nothing"
      " was changed; check the catalogue's convention and try"
      f" {'without' if flip_e2 else 'with'} --flip-e2.",
      file=sys.stderr,
    )
