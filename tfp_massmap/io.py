"""Files that are whole or absent, and say how they were made.

Products are FITS with the world coordinate system of their grid, units and provenance
in the primary header, so that DS9 and astropy open them as they are.

The functions here make single HDUs. Where a product is saved, its HDUs are listed: for
another extension of the posterior's FITS file add an `image_hdu` in
`reconstruction.Reconstruction._extensions`; for one of a shear map, in `ShearMap.save` and
`ShearMap.load`.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import datetime
import json
import os
import pathlib
import tempfile
import typing

from astropy import table as astropy_table
from astropy.io import fits
import numpy as np
import numpy.typing as npt

import tfp_massmap
from tfp_massmap import geometry

if typing.TYPE_CHECKING:
  from matplotlib import figure as mpl_figure

CREATOR = f"tfp_massmap {tfp_massmap.__version__}"

# A FITS card has 80 characters; HIERARCH MASSMAP and a number need half of them.
_LONGEST_NAME = 40


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike, overwrite: bool = False) -> Iterator[str]:
  """Yields a temporary name that becomes `path` only if the block succeeds.

  Args:
    path: Final name. Its folder is made if it does not exist.
    overwrite: Whether an existing file may be replaced.

  Raises:
    FileExistsError: If `path` exists and `overwrite` is false.
    OSError: If `path` is a folder, or its folder is not writable.
  """
  path = pathlib.Path(path)
  check_writable(path, overwrite)
  path.parent.mkdir(parents=True, exist_ok=True)
  handle, temporary = tempfile.mkstemp(
    dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix
  )
  os.close(handle)
  try:
    yield temporary
    os.chmod(temporary, 0o666 & ~_umask())
    os.replace(temporary, path)
  finally:
    if os.path.exists(temporary):
      os.remove(temporary)


def check_writable(path: str | os.PathLike, overwrite: bool = False) -> None:
  """Checks now, rather than after an hour of sampling, that a file can be written.

  Args:
    path: Name of the file; neither it nor its folder is made.
    overwrite: Whether an existing file may be replaced.

  Raises:
    FileExistsError: If the file exists and `overwrite` is false.
    OSError: If it is a folder, or its folder cannot be written or made.
  """
  path = pathlib.Path(path)
  if path.is_dir():
    raise IsADirectoryError(f"{path} is a folder; name a file.")
  if path.exists() and not overwrite:
    raise FileExistsError(
      f"{path} exists. Choose another name, or allow its replacement with"
      " overwrite=True (--overwrite on the command line)."
    )
  folder = path.absolute().parent
  while not folder.exists():
    folder = folder.parent
  try:
    with tempfile.TemporaryFile(dir=folder):
      pass
  except OSError as error:
    raise type(error)(
      f"{path} cannot be written: {folder} is not a folder one may write to"
      f" ({error.strerror})."
    ) from error


def write_fits(
  path: str | os.PathLike, hdus: Sequence[typing.Any], *, overwrite: bool = False
) -> None:
  """Writes HDUs as one FITS file with checksums, atomically.

  Args:
    path: Name of the file.
    hdus: astropy HDUs, a primary one first.
    overwrite: Whether an existing file may be replaced.

  Raises:
    FileExistsError: If the file exists and `overwrite` is false.
  """
  with atomic_path(path, overwrite) as temporary:
    fits.HDUList(hdus).writeto(temporary, overwrite=True, checksum=True)


def write_figure(
  path: str | os.PathLike,
  figure: "mpl_figure.Figure",
  *,
  settings: Mapping[str, typing.Any],
  overwrite: bool = False,
  dpi: float = 150,
) -> None:
  """Writes a matplotlib figure, atomically; a PNG with its provenance.

  Args:
    path: Name of the file, with the suffix `.png` or another format of matplotlib.
    figure: The figure.
    settings: How it was made, for the text chunk `Description` of a PNG, to which the
      versions of libraries are added.
    overwrite: Whether an existing file may be replaced.
    dpi: Pixels per inch.

  Raises:
    FileExistsError: If the file exists and `overwrite` is false.
  """
  metadata = figure_metadata(path, settings)
  with atomic_path(path, overwrite) as temporary:
    figure.savefig(temporary, dpi=dpi, metadata=metadata)


def figure_metadata(
  path: str | os.PathLike, settings: Mapping[str, typing.Any]
) -> dict[str, str] | None:
  """Returns the metadata that `savefig` writes into a PNG; None for other formats.

  Args:
    path: Name of the file.
    settings: As in `write_figure`.
  """
  if not str(path).lower().endswith(".png"):
    return None
  made = json.dumps({**settings, **library_versions()}, default=str)
  return {"Description": made, "Software": CREATOR}


def write_table(
  path: str | os.PathLike,
  table: astropy_table.Table,
  *,
  settings: Mapping[str, typing.Any],
  overwrite: bool = False,
) -> None:
  """Writes a table as ECSV with its provenance, atomically.

  Args:
    path: Name of the file, with the suffix `.ecsv`.
    table: The table; its `meta` is kept, and `DATE`, `CREATOR`, `VERSIONS` and
      `SETTINGS` are added.
    settings: Strings, numbers or booleans by name; None is left out.
    overwrite: Whether an existing file may be replaced.

  Raises:
    FileExistsError: If the file exists and `overwrite` is false.
  """
  table = table.copy()
  table.meta.update(
    DATE=_now(),
    CREATOR=CREATOR,
    VERSIONS=library_versions(),
    SETTINGS={k: _card_value(v) for k, v in settings.items() if v is not None},
  )
  with atomic_path(path, overwrite) as temporary:
    table.write(temporary, format="ascii.ecsv", overwrite=True)


def provenance_header(settings: Mapping[str, typing.Any]) -> fits.Header:
  """Returns FITS cards that say how a product was made.

  They are the date, the versions of this library and of those it computes with, and the
  settings, as `HIERARCH MASSMAP <name>`. FITS allows ASCII only, so other letters are
  written as backslash escapes.

  Args:
    settings: Strings, numbers or booleans by name; None is left out.

  Raises:
    ValueError: For a name that no FITS card can hold.
  """
  header = fits.Header()
  header["DATE"] = (_now(), "UTC date of this file")
  header["CREATOR"] = (CREATOR, "software")
  for library, version in library_versions().items():
    header[f"HIERARCH VERSION {library}"] = version
  for name, value in settings.items():
    if value is None:
      continue
    if not (name.isascii() and name.isprintable() and 0 < len(name) <= _LONGEST_NAME):
      raise ValueError(
        f"The name of a setting must be 1 to {_LONGEST_NAME} ASCII characters; got"
        f" {name!r}."
      )
    header[f"HIERARCH MASSMAP {name}"] = _card_value(value)
  return header


def read_settings(header: fits.Header) -> dict[str, str | int | float | bool]:
  """Returns the settings that `provenance_header` wrote, with names in lower case."""
  start = "MASSMAP "
  return {
    name.removeprefix(start).lower(): header[name]
    for name in header
    if name.startswith(start)
  }


def library_versions() -> dict[str, str]:
  """Returns the versions, by name, of the libraries that the numbers depend on."""
  # TensorFlow takes seconds to load, and many users of this module do not need it.
  import astropy
  import tensorflow as tf
  import tensorflow_probability as tfp

  return {
    "tensorflow": tf.__version__,
    "tensorflow_probability": tfp.__version__,
    "numpy": np.__version__,
    "astropy": astropy.__version__,
  }


def image_hdu(
  data: npt.ArrayLike,
  grid: geometry.PixelGrid,
  *,
  name: str,
  description: str,
  unit: str = "",
) -> fits.ImageHDU:
  """Returns an image extension with the WCS of a grid, of the dtype of the data.

  Args:
    data: `[ny, nx]`, or `[n, ny, nx]` for a cube; booleans become uint8.
    grid: Grid of the last two axes.
    name: EXTNAME.
    description: Comment of BUNIT, in words.
    unit: BUNIT; convergence and shear have none.
  """
  data = np.asarray(data)
  if data.dtype.kind == "b":
    data = data.astype(np.uint8)
  header = grid.to_header()
  header["BUNIT"] = (unit, f"{description}, dimensionless" if not unit else description)
  return fits.ImageHDU(data, header=header, name=name)


def primary_hdu(
  data: npt.ArrayLike,
  grid: geometry.PixelGrid,
  *,
  description: str,
  settings: Mapping[str, typing.Any],
  unit: str = "",
) -> fits.PrimaryHDU:
  """Returns a primary image with the WCS of a grid and the provenance of the product.

  Args:
    data: As in `image_hdu`.
    grid: As in `image_hdu`.
    description: As in `image_hdu`.
    settings: As in `provenance_header`.
    unit: As in `image_hdu`.

  Raises:
    ValueError: For the name of a setting that no FITS card can hold.
  """
  image = image_hdu(data, grid, name="PRIMARY", description=description, unit=unit)
  header = image.header
  header.extend(provenance_header(settings))
  return fits.PrimaryHDU(image.data, header=header)


def _card_value(value):
  """Returns a value that a FITS card can hold."""
  if isinstance(value, (bool, np.bool_)):
    return bool(value)
  if isinstance(value, (int, np.integer)):
    return int(value)
  if isinstance(value, (float, np.floating)):
    return float(value) if np.isfinite(value) else str(value)
  return str(value).encode("ascii", "backslashreplace").decode("ascii")


def _now():
  return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _umask():
  # There is no way to read the mask without setting it.
  current = os.umask(0)
  os.umask(current)
  return current
