"""`tfp-massmap reconstruct`: the posterior of a shape catalogue."""

import argparse
import logging
import pathlib
import sys
import typing

from tfp_massmap.cli import console
from tfp_massmap.cli import sampling
from tfp_massmap.cli import sources as sources_lib

if typing.TYPE_CHECKING:
  from tfp_massmap import catalog
  from tfp_massmap import shear_map as shear_map_lib
  from tfp_massmap import sign_check

_LOG = logging.getLogger(__name__)

_SMALL_FIELD = (
  "Are ra and dec in radians? Then declare the unit of their columns, or convert"
  " them to degrees; for a small field, give a smaller --pixel-scale, or --size."
)


def run(options: argparse.Namespace) -> None:
  """Reads and bins a catalogue, checks its signs, and samples the posterior.

  Args:
    options: See `arguments`.
  """
  paths = sampling.product_paths(options.output, options.overwrite)
  size = _checked_size(options)
  sources_lib.check(options)
  console.start_tensorflow()
  from astropy import units as u

  from tfp_massmap import catalog
  from tfp_massmap import sign_check

  prior = sampling.choose_prior(options.prior, options.spectrum)
  columns = _columns(options)
  table = catalog.read_table(options.catalogue, options.hdu, columns=columns)
  catalogue = catalog.catalogue_from_table(
    table, columns, drop_invalid=options.drop_invalid
  )
  sources = sources_lib.of(options, catalogue)
  if prior == "gaussian":
    prior = sources_lib.gaussian_spectrum(options, sources)
  grid = catalog.tangent_grid(catalogue, options.pixel_scale * u.arcmin, size=size)
  sampling.require_size(grid.shape, options.pixel_scale, remedy=_SMALL_FIELD)
  shear_map = catalog.bin_catalogue(
    catalogue, grid, sigma_e=options.sigma_e, flip_e2=options.flip_e2
  )
  _print_data(catalogue, shear_map, sigma_e=options.sigma_e)
  handedness = sign_check.check_handedness(shear_map)
  _print_handedness(handedness, flip_e2=options.flip_e2)
  header = {
    "data": pathlib.Path(options.catalogue).name,
    "handedness": str(handedness),
    "drop_invalid": options.drop_invalid,
    "num_rows_dropped": len(table) - len(catalogue),
  }
  if options.hdu is not None:
    header["hdu"] = options.hdu
  sampling.sample_and_save(
    shear_map,
    prior,
    options=options,
    paths=paths,
    header=header,
    title=pathlib.Path(options.catalogue).name,
    sources=sources,
    reduced_shear=options.reduced_shear,
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
