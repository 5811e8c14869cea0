"""Which column of a table plays which role, and the values of the columns."""

from collections.abc import Mapping
from collections.abc import Sequence
import typing

from astropy import units as u
from astropy.table import Table
import numpy as np

from tfp_massmap.catalog import galaxies

# Names that survey releases use, compared without regard to case.
COLUMN_GUESSES = {
  "ra": ("ra", "ra_deg", "alpha_j2000", "raj2000", "ra_gal", "ra_j2000"),
  "dec": ("dec", "dec_deg", "delta_j2000", "dej2000", "dec_gal", "dec_j2000"),
  "e1": ("e1", "e_1", "g1", "g_1", "gamma1", "shear1", "shear_1"),
  "e2": ("e2", "e_2", "g2", "g_2", "gamma2", "shear2", "shear_2"),
  "weight": (
    "w",
    "weight",
    "weights",
    "shape_weight",
    "shear_weight",
    "lensfit_weight",
    "weight_lensfit",
    "nhweight",
  ),
}

# Redshifts are never guessed: catalogues have several kinds of them.
_ROLES = (*COLUMN_GUESSES, "redshift")
_OPTIONAL = ("weight", "redshift")


def catalogue_from_table(
  table: Table,
  columns: Mapping[str, str | None] | None = None,
  *,
  drop_invalid: bool = False,
) -> galaxies.ShearCatalogue:
  """Returns the galaxies of a table in memory.

  Args:
    table: The table.
    columns: Column names by role, see `files.read_catalogue`.
    drop_invalid: Whether to leave out rows with invalid values, see
      `files.read_catalogue`.

  Raises:
    ValueError: If a column is missing or ambiguous, or a value is invalid.
  """
  names = resolve_columns(table.colnames, columns)
  values = {role: _numeric_column(table, name, role) for role, name in names.items()}
  values.setdefault("weight", np.ones(len(table)))
  if drop_invalid:
    values = galaxies.drop_invalid_rows(values)
  return galaxies.ShearCatalogue(**values, columns=names)


def resolve_columns(
  available: Sequence[str], columns: Mapping[str, str | None] | None = None
) -> dict[str, str]:
  """Returns the name of the column of each role.

  Args:
    available: Column names of the table.
    columns: Names by role, given by the user. Those that are absent or None are
      guessed.

  Returns:
    Names by role. There is no "weight" if none is found, and no "redshift" unless it is
    given.

  Raises:
    ValueError: If a given name is not in the table, a role has no guess or several, or
      a column has two roles.
  """
  given = _given(columns)
  found = f"The columns are: {', '.join(available) or '(none)'}."
  resolved = {}
  for role in _ROLES:
    matches = _candidates(role, available, given)
    if len(matches) > 1:
      raise ValueError(
        f"Several columns could be {role}: {', '.join(matches)}. Name the one to"
        f" use (--{role} on the command line). {found}"
      )
    if matches:
      resolved[role] = matches[0]
    elif role in given:
      raise ValueError(f"There is no column '{given[role]}' for {role}. {found}")
    elif role not in _OPTIONAL:
      raise ValueError(
        f"No column for {role} was found, because none is called"
        f" {', '.join(COLUMN_GUESSES[role])}. Name it (--{role} on the command line)."
        f" {found}"
      )
  for name in resolved.values():
    roles = [role for role, other in resolved.items() if other == name]
    if len(roles) > 1:
      raise ValueError(
        f"Column '{name}' is given for {' and '.join(roles)} at once. Name another"
        f" column for {' or '.join(roles)}. {found}"
      )
  return resolved


def has_columns(
  available: Sequence[str], columns: Mapping[str, str | None] | None = None
) -> bool:
  """Returns whether a table has all columns that `resolve_columns` needs."""
  given = _given(columns)
  needed = (set(_ROLES) - set(_OPTIONAL)) | set(given)
  return all(_candidates(role, available, given) for role in needed)


def is_number(value: typing.Any) -> bool:
  """Returns whether an entry of a table, such as a text, reads as a number."""
  try:
    float(value)
  except (TypeError, ValueError):
    return False
  return True


def _given(columns):
  """Returns the names that a user has given, by role."""
  columns = {k: v for k, v in (columns or {}).items() if v is not None}
  unknown = set(columns) - set(_ROLES)
  if unknown:
    raise ValueError(
      f"Unknown roles {sorted(unknown)}. The keys of columns must be among"
      f" {sorted(_ROLES)}."
    )
  return columns


def _candidates(role, available, given):
  if role in given:
    return [name for name in available if name == given[role]]
  return [name for name in available if name.lower() in COLUMN_GUESSES.get(role, ())]


def _numeric_column(table, name, role):
  """Returns a column as float64 `[n]`, in degrees or without unit; masked is NaN."""
  column = table[name]
  if column.ndim != 1 or column.dtype.kind not in "fiu":
    raise ValueError(
      f"Column '{name}' ({role}) must hold one number a row; {_description(column)}"
    )
  values = np.asarray(np.ma.filled(column.astype(np.float64), np.nan))
  if column.unit is None or role == "weight":
    return values
  wanted = u.deg if role in ("ra", "dec") else u.dimensionless_unscaled
  try:
    return u.Quantity(values, column.unit).to_value(wanted)
  except (u.UnitsError, TypeError, ValueError) as error:
    raise ValueError(
      f"Column '{name}' ({role}) has the unit '{column.unit}', which is not"
      f" {'an angle' if wanted is u.deg else 'dimensionless'} that astropy can read."
      " Correct the unit of the column, or remove it."
    ) from error


def _description(column):
  """Says what a column holds instead of numbers."""
  if column.ndim == 1 and column.dtype.kind in "SUO":
    for row, value in enumerate(column):
      if not (value is np.ma.masked or is_number(value)):
        return f"row {row} holds {str(value)!r}. Leave a missing number empty."
  return f"it has type {column.dtype} and shape {column.shape}."
