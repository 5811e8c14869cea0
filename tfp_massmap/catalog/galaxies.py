"""`ShearCatalogue`: positions and shapes of galaxies, and the checks of the values."""

import dataclasses
import logging

import numpy as np

_LOG = logging.getLogger(__name__)

_ROLES = ("ra", "dec", "e1", "e2", "weight")

# The scatter of fewer shapes is no measure of sigma_e: 30 give it to 13 %.
_MIN_GALAXIES_FOR_SIGMA_E = 30

# Above this fraction of |e| > 1 the shapes are in other units, and not a noisy tail.
# The COSMOS catalogue, with its calibration factors applied, has 0.1 %.
_MAX_FRACTION_BEYOND_ONE = 0.05

# No measurement is this large. It is a mark, such as -99, of one that failed.
_LARGEST_ELLIPTICITY = 10

# By chance next to no galaxy repeats another, even with positions in single precision.
_MAX_FRACTION_REPEATED = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class ShearCatalogue:
  """Galaxy positions and shapes.

  A warning is logged if more than 1 % of the galaxies repeat another, or any has
  |e| > 1.

  Attributes:
    ra: Right ascensions in degrees, float64 `[n]`.
    dec: Declinations in degrees, float64 `[n]`.
    e1: First component of the ellipticities, float64 `[n]`.
    e2: Second component of the ellipticities, float64 `[n]`.
    weight: Weights, not negative, float64 `[n]`. Galaxies of weight zero are left out
      of all that is computed.
    columns: Names, by role, of the columns that the values come from, for headers.
    redshift: None, or float64 `[n]`.

  Raises:
    ValueError: If the catalogue is empty; a value is not finite; a declination is
      outside [-90, 90]; a galaxy with weight has |e| > 10 or a redshift that is not
      positive; more than 5 % of the galaxies with weight have |e| > 1; a weight is
      negative, or all are zero.
  """

  ra: np.ndarray
  dec: np.ndarray
  _: dataclasses.KW_ONLY
  e1: np.ndarray
  e2: np.ndarray
  weight: np.ndarray
  columns: dict[str, str] = dataclasses.field(default_factory=dict)
  redshift: np.ndarray | None = None

  def __post_init__(self) -> None:
    values = {}
    for role in (*_ROLES, *(() if self.redshift is None else ("redshift",))):
      values[role] = np.asarray(getattr(self, role), np.float64)
      object.__setattr__(self, role, values[role])
    _validate(values, self.columns)

  def __len__(self) -> int:
    return len(self.ra)

  def ellipticity_std(self) -> np.ndarray:
    """Returns the standard deviations of e1 and e2 of the galaxies with weight, `[2]`.

    Raises:
      ValueError: If there are fewer than 30 of them, or all have the same shape.
    """
    used = self.weight > 0
    std = np.array([np.std(self.e1[used]), np.std(self.e2[used])])
    if used.sum() < _MIN_GALAXIES_FOR_SIGMA_E or not (std > 0).all():
      raise ValueError(
        f"sigma_e cannot be measured from {used.sum()} galaxies with the scatter"
        f" {std}; at least {_MIN_GALAXIES_FOR_SIGMA_E} different ones are needed."
        " Give it, for example sigma_e=0.3 (--sigma-e on the command line)."
      )
    return std


def drop_invalid_rows(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Leaves out the rows whose values `ShearCatalogue` refuses, and warns of them.

  Args:
    values: Columns by role, float64 `[n]`.

  Returns:
    The columns with fewer rows.
  """
  keep = np.logical_and.reduce([good for _, _, good, _, _ in _row_faults(values)])
  if not keep.all():
    _LOG.warning("Dropped %d of %d rows with invalid values.", (~keep).sum(), len(keep))
  return {role: value[keep] for role, value in values.items()}


def _row_faults(values):
  """Finds faults of single rows, so that the other rows can be used.

  Yields:
    `(what, value, good, fault, remark)`: the quantity and its values, `[n]`; the rows
    where they are good; the fault of the others, and what may cause it, in words.
  """
  for role, value in values.items():
    yield role, value, np.isfinite(value), "NaN or infinite", ""
  unused = ~(values["weight"] > 0)
  size = np.hypot(values["e1"], values["e2"])
  yield (
    "|e|",
    size,
    (size <= _LARGEST_ELLIPTICITY) | unused,
    f"above {_LARGEST_ELLIPTICITY}",
    " Values like -99 mark failed measurements; shapes must be ellipticities or"
    " shears, not percentages.",
  )
  if "redshift" in values:
    redshift = values["redshift"]
    yield "redshift", redshift, (redshift > 0) | unused, "not positive", ""


def _validate(values, columns):
  """Raises an error for values that cannot be used, and warns of those in doubt."""
  shapes = {role: value.shape for role, value in values.items()}
  if len(set(shapes.values())) > 1 or values["ra"].ndim != 1:
    raise ValueError(f"The columns must be vectors of one length; got {shapes}.")
  if values["ra"].size == 0:
    raise ValueError("The catalogue is empty: it has no rows. Give one with galaxies.")

  def label(role):
    if role == "|e|":
      return f"{role} of columns {columns.get('e1', 'e1')}, {columns.get('e2', 'e2')}"
    name = columns.get(role, role)
    return f"Column {role}" if name == role else f"Column {role} ('{name}')"

  for role, value, good, fault, remark in _row_faults(values):
    _require_rows(
      value,
      good,
      label(role),
      fault,
      "Remove those rows, or have them dropped with drop_invalid=True"
      f" (--drop-invalid on the command line).{remark}",
    )
  _require_rows(
    values["dec"],
    np.abs(values["dec"]) <= 90,
    label("dec"),
    "outside [-90, 90] deg",
    "Are right ascension and declination exchanged, or in other units?",
  )
  weight = values["weight"]
  _require_rows(
    weight, weight >= 0, label("weight"), "negative", "Remove them, or set them to 0."
  )
  if not weight.any():
    raise ValueError(
      "Every weight is zero. Leave out the weight column to weight all galaxies alike."
    )
  _check_ellipticities(np.hypot(values["e1"], values["e2"]) > 1, weight > 0)
  _warn_of_repetition({role: value[weight > 0] for role, value in values.items()})


def _check_ellipticities(beyond, used):
  beyond = beyond & used
  if beyond.sum() > _MAX_FRACTION_BEYOND_ONE * used.sum():
    raise ValueError(
      f"{beyond.sum()} of {used.sum()} galaxies have |e| > 1 in e1, e2, the first in"
      f" row {np.argmax(beyond)}. Shapes must be ellipticities or shears, not"
      " percentages, pixel moments or significances."
    )
  if beyond.any():
    _LOG.warning(
      "%d of %d galaxies have |e| > 1, and are used.", beyond.sum(), used.sum()
    )


def _warn_of_repetition(used):
  allowed = _MAX_FRACTION_REPEATED * used["ra"].size
  # One sorted column mostly shows it, in a tenth of the time of sorting whole rows.
  if (np.diff(np.sort(used["ra"])) == 0).sum() <= allowed:
    return
  rows = np.stack([used[role] for role in ("ra", "dec", "e1", "e2")])
  rows = rows[:, np.lexsort(rows)]
  repeated = (rows[:, 1:] == rows[:, :-1]).all(axis=0).sum()
  if repeated > allowed:
    _LOG.warning(
      "%d of %d galaxies repeat another in ra, dec, e1 and e2. A galaxy that counts"
      " twice makes the noise too small: remove the repetitions.",
      repeated,
      rows.shape[1],
    )


def _require_rows(value, good, subject, fault, remedy):
  if not good.all():
    first = int(np.argmin(good))
    raise ValueError(
      f"{subject} is {fault} in {(~good).sum()} of {good.size} rows, the first in row"
      f" {first} ({value[first]:.6g}). {remedy}"
    )
