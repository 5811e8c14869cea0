"""Catalogues and tables from files, of the formats that astropy reads."""

import contextlib
import logging
import pathlib
import re

from astropy.io import fits
from astropy.table import Table
from astropy.utils.data import get_readable_fileobj
import numpy as np

from tfp_massmap.catalog import columns as columns_lib
from tfp_massmap.catalog import galaxies

_LOG = logging.getLogger(__name__)

# Others are known to astropy by name or content.
_FORMATS = {".ecsv": "ascii.ecsv", ".parquet": "parquet"}
_TEXT = (".csv", ".dat", ".tsv", ".txt")
_COMPRESSED = (".bz2", ".gz", ".xz")

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_catalogue(path, columns=None, *, drop_invalid=False, hdu=None):
  """Reads a shape catalogue in any table format that astropy reads.

  Args:
    path: FITS, CSV, ECSV, Parquet, text, ... file.
    columns: dict from "ra", "dec", "e1", "e2", "weight", "redshift" to column names;
      what it leaves out is guessed from `COLUMN_GUESSES`. Without a weight column all
      weights are 1; redshifts are read only if their column is named.
    drop_invalid: leave out the rows with a value that cannot be used, with a warning
      that counts them, instead of raising: a NaN, an infinity or a masked value in a
      used column, or with weight an |e| > 10 or a redshift that is not positive.
    hdu: number or name of the table of a FITS file; by default the first that has
      the columns.

  Returns:
    A `ShearCatalogue`.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if astropy cannot read it, a column is missing or ambiguous, or a
      value is invalid.
  """
  return columns_lib.catalogue_from_table(
    read_table(path, hdu, columns=columns), columns, drop_invalid=drop_invalid
  )


def read_schrabback2010(folder):
  """Reads the COSMOS catalogue of Schrabback et al. (2010) as released.

  Args:
    folder: holds `ra`, `dec`, `e1`, `e2` and `nhweight_int` `.fits`, one image of
      one row each, as published with CosmoStat/jax-lensing.

  Returns:
    A `ShearCatalogue`. Bin it with `flip_e2=True`: its e2 is for an x axis to the
    west.
  """
  folder = pathlib.Path(folder)
  files = dict(ra="ra", dec="dec", e1="e1", e2="e2", weight="nhweight_int")
  values = {}
  for role, name in files.items():
    path = folder / f"{name}.fits"
    if not path.is_file():
      raise FileNotFoundError(
        f"No {path.name} in {folder}; the catalogue is the files"
        f" {', '.join(f + '.fits' for f in files.values())}."
      )
    values[role] = np.asarray(fits.getdata(path), np.float64).ravel()
  return galaxies.ShearCatalogue(**values)


def read_table(path, hdu=None, *, columns=None):
  """An astropy `Table` from a file, its format known by suffix and first bytes.

  Args:
    path: of the file.
    hdu, columns: as in `read_catalogue`: which table of a FITS file to read.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if astropy cannot read it, or it has no such HDU.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f"No catalogue at {path}.")
  suffixes = [s for s in path.suffixes if s.lower() not in _COMPRESSED]
  suffix = suffixes[-1].lower() if suffixes else ""
  with _astropy_errors(path):
    with get_readable_fileobj(path, encoding="binary") as file:
      head = file.read(2**16)
  if head.startswith(b"SIMPLE"):
    hdu = _choose_hdu(path, hdu, columns)
    with _astropy_errors(path):
      return Table.read(path, format="fits", hdu=hdu)
  if hdu is not None:
    raise ValueError(
      f"{path} is not FITS: it has no HDU {hdu!r}. Leave out hdu (--hdu)."
    )
  with _astropy_errors(path):
    if suffix in _TEXT:
      return _read_text(path, suffix, head)
    return Table.read(path, format=_FORMATS.get(suffix))


def _choose_hdu(path, hdu, columns):
  with _astropy_errors(path), fits.open(path) as hdus:
    tables = {
      index: (each.name, each.columns.names)
      for index, each in enumerate(hdus)
      if isinstance(each, (fits.BinTableHDU, fits.TableHDU))
      and not isinstance(each, fits.CompImageHDU)
    }
  if not tables:
    raise ValueError(f"{path} has no table, only images. Give a file with a table.")
  listing = ", ".join(f"{i} {name!r}" for i, (name, _) in tables.items())
  if hdu is not None:
    for index, (name, _) in tables.items():
      if index == hdu or name and name.lower() == str(hdu).lower():
        return index
    raise ValueError(f"{path} has no table in HDU {hdu!r}. Its tables are {listing}.")
  if len(tables) == 1:
    return min(tables)
  for index, (_, names) in tables.items():
    if columns_lib.has_columns(names, columns):
      _LOG.warning(
        "%s has the tables %s; the one read is %d, the first with all columns needed.",
        path,
        listing,
        index,
      )
      return index
  raise ValueError(
    f"None of the tables of {path} ({listing}) has all columns needed. Name the columns,"
    " or the table with hdu (--hdu on the command line) to see what it has."
  )


def _read_text(path, suffix, head):
  """Columns separated by commas, semicolons, tabs or spaces, under comments or not."""
  lines = [line.strip() for line in head.decode("utf-8-sig", "replace").splitlines()]
  lines = [line for line in lines if line]
  start = next((i for i, line in enumerate(lines) if not line.startswith("#")), 0)
  first = lines[start] if lines else ""
  delimiter = max(",;\t", key=first.count)
  # Four columns at least; astropy knows many more formats than these, but not where
  # comments come before the names.
  if suffix == ".csv" or first.count(delimiter) >= 3:
    options = dict(format="ascii.csv", delimiter=delimiter, comment="#")
    if columns_lib.is_number(first.split(delimiter)[0].strip("\"' ")):
      options["format"] = "ascii.no_header"
  else:
    options = dict(format="ascii")
  source = path
  if head.startswith(_BYTE_ORDER_MARK):
    with get_readable_fileobj(path, encoding="utf-8-sig") as file:
      source = file.read()
  table = Table.read(source, **options)
  if start and table.colnames[0] == "col1":
    names = re.split(r"[\s,;]+", lines[start - 1].lstrip("# \t"))
    if len(names) == len(table.colnames):
      table.rename_columns(table.colnames, names)
  return table


@contextlib.contextmanager
def _astropy_errors(path):
  try:
    yield
  except ImportError as error:
    raise ValueError(
      f"Reading {path} needs a package that is not here ({error}). For Parquet:"
      " pip install pyarrow pandas."
    ) from error
  except Exception as error:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[0].rstrip(".:") if lines else "no detail"
    raise ValueError(
      f"astropy cannot read {path} as a table ({type(error).__name__}: {reason}). Give"
      " it the suffix of its format: .fits, .csv, .txt, .ecsv or .parquet."
    ) from error
