"""Catalogues and tables from files.

`READERS`, at the end of this file, has one function for each suffix: another input
format is a function and a line there. FITS files are known by their first bytes,
whatever their name is, and astropy recognises some other formats by itself.
"""

from collections.abc import Callable
from collections.abc import Mapping
import contextlib
import logging
import os
import pathlib
import re
import typing

from astropy.io import fits
from astropy.table import Table
from astropy.utils.data import get_readable_fileobj
import numpy as np

from tfp_massmap.catalog import columns as columns_lib
from tfp_massmap.catalog import galaxies

_LOG = logging.getLogger(__name__)

# Files of Schrabback et al. (2010) by role, as published with CosmoStat/jax-lensing.
SCHRABBACK2010_FILES = {
  "ra": "ra.fits",
  "dec": "dec.fits",
  "e1": "e1.fits",
  "e2": "e2.fits",
  "weight": "nhweight_int.fits",
}

# astropy unpacks these by itself, so that the suffix of the format stands before them.
_COMPRESSED = (".bz2", ".gz", ".xz")

# Bytes that are read first: enough for the comments and the first lines of a text.
_HEAD_BYTES = 2**16

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# Separators between the ra, dec, e1 and e2 that a line must have.
_FEWEST_SEPARATORS = 3


def read_catalogue(
  path: str | os.PathLike,
  columns: Mapping[str, str | None] | None = None,
  *,
  drop_invalid: bool = False,
  hdu: int | str | None = None,
) -> galaxies.ShearCatalogue:
  """Reads a shape catalogue from a table.

  Args:
    path: FITS, CSV, ECSV, Parquet or text file, or another that astropy recognises.
    columns: Column names by role: "ra", "dec", "e1", "e2", "weight" and "redshift".
      Those left out are guessed from `COLUMN_GUESSES`. Without a weight column all
      weights are 1, and redshifts are read only if their column is named.
    drop_invalid: Whether to leave out rows with a value that is of no use, with a
      warning that counts them, instead of raising. Such values are a NaN, an infinity
      or a masked value in a used column, and in galaxies with weight an |e| > 10 or a
      redshift that is not positive.
    hdu: Number or name of the table of a FITS file. By default it is the first that has
      the columns.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If the file is not a readable table, a column is missing or ambiguous,
      or a value is invalid.
  """
  return columns_lib.catalogue_from_table(
    read_table(path, hdu, columns=columns), columns, drop_invalid=drop_invalid
  )


def read_schrabback2010(folder: str | os.PathLike) -> galaxies.ShearCatalogue:
  """Reads the COSMOS catalogue of Schrabback et al. (2010) as released.

  Args:
    folder: Folder with `SCHRABBACK2010_FILES`, images of one row each.

  Returns:
    The galaxies. Bin them with `flip_e2=True`, because the x axis of the catalogue runs
    to the west.

  Raises:
    FileNotFoundError: If one of the files is missing.
  """
  folder = pathlib.Path(folder)
  values: dict[str, typing.Any] = {}
  for role, name in SCHRABBACK2010_FILES.items():
    path = folder / name
    if not path.is_file():
      raise FileNotFoundError(
        f"No {name} in {folder}; the catalogue consists of the files"
        f" {', '.join(SCHRABBACK2010_FILES.values())}."
      )
    values[role] = np.asarray(fits.getdata(path), np.float64).ravel()
  return galaxies.ShearCatalogue(**values)


def read_table(
  path: str | os.PathLike,
  hdu: int | str | None = None,
  *,
  columns: Mapping[str, str | None] | None = None,
) -> Table:
  """Reads an astropy table; its format is known by suffix and first bytes.

  Args:
    path: Name of the file.
    hdu: Number or name of the table of a FITS file; None for the first that has the
      columns.
    columns: Column names by role, as in `read_catalogue`.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If the file is not a readable table, or has no such HDU.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f"No catalogue at {path}.")
  with _plain_errors(path), get_readable_fileobj(path, encoding="binary") as file:
    head = file.read(_HEAD_BYTES)
  if head.startswith(b"SIMPLE"):
    hdu = _choose_hdu(path, hdu, columns)
    with _plain_errors(path):
      return Table.read(path, format="fits", hdu=hdu)
  if hdu is not None:
    raise ValueError(
      f"{path} is not FITS, and has no HDU {hdu!r}. Leave out hdu (--hdu)."
    )
  suffixes = [s.lower() for s in path.suffixes if s.lower() not in _COMPRESSED]
  read = READERS.get(suffixes[-1] if suffixes else "", _read_recognised)
  with _plain_errors(path):
    return read(path, head)


def _choose_hdu(path, hdu, columns):
  """Returns the number of the table to read of a FITS file."""
  with _plain_errors(path), fits.open(path) as hdus:
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
      if index == hdu or (name and name.lower() == str(hdu).lower()):
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
    f"None of the tables of {path} ({listing}) has all columns needed. Name the"
    " columns, or the table with hdu (--hdu on the command line) to see which columns"
    " it has."
  )


def _read_recognised(path, head):
  del head
  return Table.read(path)


def _read_ecsv(path, head):
  del head
  return Table.read(path, format="ascii.ecsv")


def _read_parquet(path, head):
  del head
  return Table.read(path, format="parquet")


def _read_text(path, head):
  """Reads columns separated by commas, semicolons, tabs or spaces."""
  lines, start = _lines(head)
  first = lines[start] if lines else ""
  if max(first.count(delimiter) for delimiter in ",;\t") >= _FEWEST_SEPARATORS:
    return _read_separated(path, head)
  return _with_names(Table.read(_text_source(path, head), format="ascii"), lines, start)


def _read_separated(path, head):
  """Reads columns separated by commas, semicolons or tabs.

  astropy recognises many more formats than these, but not the names of the columns when
  comments come before them.
  """
  lines, start = _lines(head)
  first = lines[start] if lines else ""
  delimiter = max(",;\t", key=first.count)
  has_names = not columns_lib.is_number(first.split(delimiter)[0].strip("\"' "))
  table = Table.read(
    _text_source(path, head),
    format="ascii.csv" if has_names else "ascii.no_header",
    delimiter=delimiter,
    comment="#",
  )
  return _with_names(table, lines, start)


def _lines(head):
  """Returns the first lines, and the index of the first that is not a comment."""
  lines = [line.strip() for line in head.decode("utf-8-sig", "replace").splitlines()]
  lines = [line for line in lines if line]
  return lines, next((i for i, x in enumerate(lines) if not x.startswith("#")), 0)


def _text_source(path, head):
  """Returns a path for astropy, or the text itself if it has a byte-order mark."""
  if not head.startswith(_BYTE_ORDER_MARK):
    return path
  with get_readable_fileobj(path, encoding="utf-8-sig") as file:
    return file.read()


def _with_names(table, lines, start):
  """Names the columns after the last comment, if the table has no names of its own."""
  if start and table.colnames[0] == "col1":
    names = re.split(r"[\s,;]+", lines[start - 1].lstrip("# \t"))
    if len(names) == len(table.colnames):
      table.rename_columns(table.colnames, names)
  return table


@contextlib.contextmanager
def _plain_errors(path):
  """Turns the errors of astropy into one line that says what to do."""
  try:
    yield
  except ImportError as error:
    raise ValueError(
      f"Reading {path} needs a package that is not installed ({error}). For Parquet:"
      " pip install pyarrow pandas."
    ) from error
  except Exception as error:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[0].rstrip(".:") if lines else "no detail"
    raise ValueError(
      f"astropy cannot read {path} as a table ({type(error).__name__}: {reason}). Give"
      f" the file the suffix of its format: .fits, {', '.join(READERS)}."
    ) from error


# By suffix, a function of the path and the first bytes of the unpacked file.
READERS: dict[str, Callable[[pathlib.Path, bytes], Table]] = {
  ".csv": _read_separated,
  ".dat": _read_text,
  ".ecsv": _read_ecsv,
  ".parquet": _read_parquet,
  ".tsv": _read_text,
  ".txt": _read_text,
}
