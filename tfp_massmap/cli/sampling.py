"""The steps that `demo` and `reconstruct` share, from a shear map to products."""

import argparse
import dataclasses
import os
import pathlib
import re
import typing

if typing.TYPE_CHECKING:
  import numpy as np

  from tfp_massmap import calibration
  from tfp_massmap import prior_choice
  from tfp_massmap import shear_errors as shear_errors_lib
  from tfp_massmap import shear_map as shear_map_lib
  from tfp_massmap import spectra
  from tfp_massmap import theory

# Pixels a side. Fewer are hardly a map, and the network's convolutions do not fit.
MIN_SIZE = 16

# The trained prior of any survey.
DEFAULT_PRIOR = "universal"

_COMPRESSED_FITS = re.compile(r"(.+)\.(fits?\.(gz|bz2|xz|zip|fz)|fts)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Paths:
  """Names of the products.

  Attributes:
    fits: FITS file of the summary.
    figure: PNG beside it.
    samples: FITS cube of the samples.
  """

  fits: pathlib.Path
  figure: pathlib.Path
  _: dataclasses.KW_ONLY
  samples: pathlib.Path


def product_paths(output: str | os.PathLike, overwrite: bool) -> Paths:
  """Returns the names of the products, which are refused now if they exist.

  Args:
    output: A folder, or the name of the FITS file of the summary.
    overwrite: Whether existing products may be replaced.

  Raises:
    ValueError: If `output` has the suffix of compressed FITS.
    FileExistsError: If a product exists and `overwrite` is false.
    OSError: If a product cannot be written.
  """
  from tfp_massmap import io

  output = pathlib.Path(output)
  compressed = _COMPRESSED_FITS.fullmatch(output.name)
  if compressed:
    raise ValueError(
      f"-o {output} is neither FILE.fits nor a folder. Give"
      f" -o {output.with_name(compressed[1] + '.fits')}, or the name of a folder."
    )
  if output.suffix.lower() in (".fits", ".fit"):
    fits_path = output
    samples = output.with_name(f"{output.stem}_samples.fits")
  else:
    fits_path = output / "posterior.fits"
    samples = output / "samples.fits"
  paths = Paths(fits_path, fits_path.with_suffix(".png"), samples=samples)
  for path in (paths.fits, paths.figure):
    io.check_writable(path, overwrite)
  return paths


def choose_prior(
  name: str | None, spectrum: str | None = None
) -> "str | spectra.PowerSpectrum":
  """Returns the name of the prior, or the spectrum of a table for a Gaussian one.

  Args:
    name: `--prior`: name or path of a trained prior, "gaussian", or None.
    spectrum: `--spectrum`: table with the spectrum of a Gaussian prior, or None.

  Raises:
    ValueError: If both name a prior, or the name is that of a folder.
  """
  from tfp_massmap import spectra

  if spectrum and name not in (None, "gaussian"):
    raise ValueError(
      f"--spectrum is for a Gaussian prior, and --prior is {name}. Give one of the two."
    )
  if spectrum:
    return spectra.PowerSpectrum.read(spectrum)
  if name and name != "gaussian":
    require_no_folder("--prior", name)
  return name or DEFAULT_PRIOR


def require_no_folder(option: str, path: str) -> None:
  """Refuses the folder of a prior, which is easily taken for its name.

  Args:
    option: Name of the option that has this value.
    path: Value of the option.

  Raises:
    ValueError: If the path is a folder that holds a prior.
  """
  from tfp_massmap import priors

  inside = pathlib.Path(path) / "prior"
  if path not in priors.shipped() and inside.with_suffix(".json").is_file():
    raise ValueError(
      f"{option} {path} is a folder, and the prior is in it. Give {option} {inside}."
    )


def require_size(shape: tuple[int, int], pixel_scale: float, *, remedy: str) -> None:
  """Refuses a map that is too small for its neighbourhoods and scales.

  Args:
    shape: `(ny, nx)`.
    pixel_scale: Side of a pixel in arcmin.
    remedy: What to do about it, in a sentence.

  Raises:
    ValueError: If a side has fewer than 16 pixels.
  """
  if min(shape) >= MIN_SIZE:
    return
  raise ValueError(
    f"The map would have {shape[0]} x {shape[1]} pixels of {pixel_scale:g} arcmin,"
    f" {shape[0] * pixel_scale:.3g} x {shape[1] * pixel_scale:.3g} arcmin; at"
    f" least {MIN_SIZE} pixels a side are needed. {remedy}"
  )


def sample_and_save(
  shear_map: "shear_map_lib.ShearMap",
  prior: "prior_choice.Choice",
  *,
  options: argparse.Namespace,
  paths: Paths,
  header: dict,
  title: str,
  truth: "np.ndarray | None" = None,
  sources: "theory.SourceRedshifts | None" = None,
  cosmology: "theory.CosmologyDistribution | None" = None,
  shear_errors: "shear_errors_lib.ShearErrors | None" = None,
  reduced_shear: bool = False,
  proof: "calibration.Proof | None" = None,
) -> None:
  """Samples the posterior of a shear map, and writes the products.

  Args:
    shear_map: The data.
    prior: As `reconstruction.reconstruct`.
    options: Options of sampling, see `arguments`.
    paths: Names of the products.
    header: Further entries for the headers of the products.
    title: Title of the figure.
    truth: Convergence of a mock, `[ny, nx]`, or None.
    sources: n(z) of the galaxies, or None.
    cosmology: Cosmology of a prior that takes one, or None.
    shear_errors: Multiplicative bias and scale of the noise, or None.
    reduced_shear: Whether the shapes measure the reduced shear.
    proof: Verdict of a calibration for the headers, or None.
  """
  from tfp_massmap import reconstruction

  result = reconstruction.reconstruct(
    shear_map,
    prior,
    num_samples=options.num_samples,
    seed=options.seed,
    sampler=reconstruction.Sampler(
      method=options.method, batch_size=options.batch_size
    ),
    products=reconstruction.Products(
      samples_path=paths.samples,
      overwrite=options.overwrite,
      quantiles=tuple(options.quantiles),
      thresholds=tuple(options.thresholds),
      header=header,
      proof=proof,
    ),
    sources=sources,
    cosmology=cosmology,
    shear_errors=shear_errors,
    truth=truth,
    reduced_shear=reduced_shear,
    progress=not options.quiet,
  )
  result.save_products(
    paths.fits, paths.figure, overwrite=options.overwrite, title=title
  )
  print(_report(result.sample_set, options.num_samples))
  print(f"Wrote {paths.fits}, {paths.samples.name} and {paths.figure.name}.")


def _report(samples, num_samples):
  """Returns the cost of the samples, and the acceptance of chains, in a line."""
  accepted = ""
  if samples.acceptance is not None:
    accepted = (
      f"; acceptance {samples.acceptance:.2f}, {samples.final_acceptance:.2f} at the"
      " last temperature"
    )
  return (
    f"{num_samples} samples, {samples.num_score_evaluations:.0f} score evaluations"
    f" each, {samples.seconds:.0f} s{accepted}."
  )
