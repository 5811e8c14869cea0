"""Files that are whole or absent, and say how they were made.

Products are FITS with the world coordinate system of their grid, units and
provenance in the primary header, so that DS9 and astropy open them as they are.
"""

import contextlib
import datetime
import json
import os
import pathlib
import tempfile

from astropy.io import fits
import numpy as np

import tfp_massmap

CREATOR = f"tfp_massmap {tfp_massmap.__version__}"


@contextlib.contextmanager
def atomic_path(path, overwrite=False):
  """Yields a temporary name that becomes `path` only if the block succeeds.

  Args:
    path: final name. Its folder is made if absent.
    overwrite: whether an existing file may be replaced.

  Raises:
    FileExistsError: if `path` exists and `overwrite` is false.
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


def check_writable(path, overwrite=False):
  """Says now, rather than after an hour of sampling, that a file cannot be written.

  Raises:
    FileExistsError: if it exists and `overwrite` is false.
    OSError: if it is a folder, or its folder cannot be written or made.
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


def write_fits(path, hdus, *, overwrite=False):
  """Writes a list of HDUs as one FITS file, atomically."""
  with atomic_path(path, overwrite) as temporary:
    fits.HDUList(hdus).writeto(temporary, overwrite=True, checksum=True)


def write_figure(path, figure, *, settings, overwrite=False, dpi=150):
  """Writes a matplotlib figure, atomically; a PNG with its provenance.

  Args:
    path: of the file, `.png` or another format of matplotlib.
    figure: `matplotlib.figure.Figure`.
    settings: dict, for the text chunk `Description` of a PNG, with the versions of
      libraries.
    overwrite: whether an existing file may be replaced.
    dpi: pixels per inch.
  """
  metadata = figure_metadata(path, settings)
  with atomic_path(path, overwrite) as temporary:
    figure.savefig(temporary, dpi=dpi, metadata=metadata)


def figure_metadata(path, settings):
  """What `savefig` shall write into a PNG, see `write_figure`; None for other formats."""
  if not str(path).lower().endswith(".png"):
    return None
  made = json.dumps({**settings, **library_versions()}, default=str)
  return {"Description": made, "Software": CREATOR}


def write_table(path, table, *, settings, overwrite=False):
  """Writes a table as ECSV with its provenance, atomically.

  Args:
    path: of the file, `.ecsv`.
    table: `astropy.table.Table`; its `meta` is kept, and `DATE`, `CREATOR`, `VERSIONS`
      and `SETTINGS` are added.
    settings: dict of names to strings, numbers or booleans; `None` is left out.
    overwrite: whether an existing file may be replaced.
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


def provenance_header(settings):
  """FITS cards that say how a product was made.

  Args:
    settings: dict of names to strings, numbers or booleans; `None` is left out.
      Written as `HIERARCH MASSMAP <name>`.

  Returns:
    An `astropy.io.fits.Header` with the date, the versions of this library and of
    those it computes with, and the settings. Letters beyond ASCII, which FITS does
    not know, are written as backslash escapes.

  Raises:
    ValueError: for a name that no FITS card can hold.
  """
  header = fits.Header()
  header["DATE"] = (_now(), "UTC date of this file")
  header["CREATOR"] = (CREATOR, "software")
  for library, version in library_versions().items():
    header[f"HIERARCH VERSION {library}"] = version
  for name, value in settings.items():
    if value is None:
      continue
    if not (name.isascii() and name.isprintable() and 0 < len(name) <= 40):
      raise ValueError(
        f"The name of a setting must be 1 to 40 ASCII characters; got {name!r}."
      )
    header[f"HIERARCH MASSMAP {name}"] = _card_value(value)
  return header


def read_settings(header):
  """The settings that `provenance_header` wrote; names come back in lower case."""
  start = "MASSMAP "
  return {
    name.removeprefix(start).lower(): header[name]
    for name in header
    if name.startswith(start)
  }


def library_versions():
  """Versions of the libraries that the numbers depend on, a dict of strings."""
  import astropy  # pylint: disable=g-import-not-at-top
  import tensorflow as tf  # pylint: disable=g-import-not-at-top
  import tensorflow_probability as tfp  # pylint: disable=g-import-not-at-top

  return {
    "tensorflow": tf.__version__,
    "tensorflow_probability": tfp.__version__,
    "numpy": np.__version__,
    "astropy": astropy.__version__,
  }


def image_hdu(data, grid, *, name, description, unit=""):
  """Image extension with the WCS of `grid`, of the dtype of the data.

  Args:
    data: `[ny, nx]`, or `[n, ny, nx]` for a cube.
    grid: the `PixelGrid` of the last two axes.
    name: EXTNAME.
    description: comment of BUNIT, in words.
    unit: BUNIT; convergence and shear have none.
  """
  data = np.asarray(data)
  if data.dtype.kind == "b":
    data = data.astype(np.uint8)
  header = grid.to_header()
  header["BUNIT"] = (unit, f"{description}, dimensionless" if not unit else description)
  return fits.ImageHDU(data, header=header, name=name)


def primary_hdu(data, grid, *, description, settings, unit=""):
  """Primary image with the WCS of `grid` and the provenance of the product."""
  image = image_hdu(data, grid, name="PRIMARY", description=description, unit=unit)
  header = image.header
  header.extend(provenance_header(settings))
  return fits.PrimaryHDU(image.data, header=header)


def _card_value(value):
  if isinstance(value, (bool, np.bool_)):
    return bool(value)
  if isinstance(value, (int, np.integer)):
    return int(value)
  if isinstance(value, (float, np.floating)):
    return float(value) if np.isfinite(value) else str(value)
  return str(value).encode("ascii", "backslashreplace").decode("ascii")


def _now():
  return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _umask():
  current = os.umask(0)
  os.umask(current)
  return current
