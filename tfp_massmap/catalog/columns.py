"""Catalogues from tables: which column plays which role, and its values."""

from astropy import units as u
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

_ROLES = (*COLUMN_GUESSES, "redshift")
_OPTIONAL = ("weight", "redshift")


def catalogue_from_table(table, columns=None, *, drop_invalid=False):
  """`read_catalogue` for an astropy `Table` in memory."""
  names = resolve_columns(table.colnames, columns)
  values = {}
  for role, name in names.items():
    values[role] = _numeric_column(table, name, role)
  values.setdefault("weight", np.ones(len(table)))
  if drop_invalid:
    values = galaxies.drop_invalid_rows(values)
  return galaxies.ShearCatalogue(**values, columns=names)


def resolve_columns(available, columns=None):
  """Which column plays which role.

  Args:
    available: column names of the table.
    columns: dict of names given by the user; `None` values are guessed.

  Returns:
    dict of role to name; without "weight" if none is found, and without "redshift"
    unless it is named.

  Raises:
    ValueError: for a name that is not there, a role with no or several guesses, or a
      column with two roles.
  """
  columns = _named(columns)
  found = f"The columns are: {', '.join(available) or '(none)'}."
  resolved = {}
  for role in _ROLES:
    matches = _candidates(role, available, columns)
    if len(matches) > 1:
      raise ValueError(
        f"Several columns could be {role}: {', '.join(matches)}. Name the one to"
        f" use (--{role} on the command line). {found}"
      )
    if matches:
      resolved[role] = matches[0]
    elif role in columns:
      raise ValueError(f"There is no column '{columns[role]}' for {role}. {found}")
    elif role not in _OPTIONAL:
      raise ValueError(
        f"No column for {role}: none is called {', '.join(COLUMN_GUESSES[role])}. Name"
        f" it (--{role} on the command line). {found}"
      )
  for name in resolved.values():
    roles = [role for role, other in resolved.items() if other == name]
    if len(roles) > 1:
      raise ValueError(
        f"Column '{name}' cannot be {' and '.join(roles)} at once. Name another column"
        f" for {' or '.join(roles)}. {found}"
      )
  return resolved


def has_columns(available, columns=None):
  """Whether every column that `resolve_columns` needs is there, perhaps twice."""
  columns = _named(columns)
  needed = (set(_ROLES) - set(_OPTIONAL)) | set(columns)
  return all(_candidates(role, available, columns) for role in needed)


def is_number(value):
  """Whether a text, or what else a table holds, reads as a number."""
  try:
    float(value)
  except (TypeError, ValueError):
    return False
  return True


def _named(columns):
  columns = {k: v for k, v in (columns or {}).items() if v is not None}
  unknown = set(columns) - set(_ROLES)
  if unknown:
    raise ValueError(
      f"Unknown roles {sorted(unknown)}; columns has keys among {sorted(_ROLES)}."
    )
  return columns


def _candidates(role, available, columns):
  if role in columns:
    return [name for name in available if name == columns[role]]
  return [name for name in available if name.lower() in COLUMN_GUESSES.get(role, ())]


def _numeric_column(table, name, role):
  column = table[name]
  if column.ndim != 1 or column.dtype.kind not in "fiu":
    raise ValueError(
      f"Column '{name}' ({role}) must hold one number a row; {_what_it_holds(column)}"
    )
  unit = getattr(column, "unit", None)
  values = column.astype(np.float64)
  values = np.asarray(values.filled(np.nan) if hasattr(values, "filled") else values)
  if unit is None or role == "weight":
    return values
  wanted = u.deg if role in ("ra", "dec") else u.dimensionless_unscaled
  try:
    return u.Quantity(values, unit).to_value(wanted)
  except (u.UnitsError, TypeError, ValueError) as error:
    raise ValueError(
      f"Column '{name}' ({role}) has the unit '{unit}', which is not"
      f" {'an angle' if wanted is u.deg else 'dimensionless'} that astropy can read."
      " Correct the unit of the column, or remove it."
    ) from error


def _what_it_holds(column):
  if column.ndim == 1 and column.dtype.kind in "SUO":
    for row, value in enumerate(column):
      if not (value is np.ma.masked or is_number(value)):
        return f"row {row} holds {str(value)!r}. Leave a missing number empty."
  return f"it has type {column.dtype} and shape {column.shape}."
