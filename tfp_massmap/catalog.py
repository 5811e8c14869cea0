"""Shape catalogues: read, validate, project and bin them into a
`shear_map.ShearMap`.

Shapes are taken as calibrated estimates of the reduced shear, <e> = g, in the weak
limit g = gamma. `docs/conventions.md` says what the signs mean.
"""

import dataclasses
import logging
import pathlib

from astropy import units as u
from astropy.io import fits
from astropy.table import Table
import numpy as np
import scipy.fft

from tfp_massmap import geometry
from tfp_massmap import shear_map

_LOG = logging.getLogger(__name__)

# Names that survey releases use, compared without regard to case.
COLUMN_GUESSES = {
    "ra": ("ra", "ra_deg", "alpha_j2000", "raj2000", "ra_gal", "ra_j2000"),
    "dec": ("dec", "dec_deg", "delta_j2000", "dej2000", "dec_gal", "dec_j2000"),
    "e1": ("e1", "e_1", "g1", "g_1", "gamma1", "shear1", "shear_1"),
    "e2": ("e2", "e_2", "g2", "g_2", "gamma2", "shear2", "shear_2"),
    "weight": (
        "w", "weight", "weights", "shape_weight", "shear_weight", "lensfit_weight",
        "weight_lensfit", "nhweight",
    ),
}

# Below this the scatter of the catalogue's own shapes is no measure of sigma_e.
_MIN_GALAXIES_FOR_SIGMA_E = 30

# Larger maps come from a wrong pixel scale or size, not from a survey on a plane.
_MAX_PIXELS = 20_000**2

# Above this fraction of |e| > 1 the shapes are in other units, not a noisy tail:
# the COSMOS catalogue, with its calibration factors applied, has 0.1 %.
_MAX_FRACTION_BEYOND_ONE = 0.05


@dataclasses.dataclass(frozen=True, eq=False)
class ShearCatalogue:
  """Galaxy positions and shapes.

  Attributes:
    ra, dec: degrees, float64 `[n]`.
    e1, e2: ellipticity components, float64 `[n]`.
    weight: non-negative, float64 `[n]`. Galaxies of weight zero count for nothing.
    columns: names of the columns the values come from, by role; for headers.

  Raises:
    ValueError: if it is empty; a column is not finite; a declination is outside
      [-90, 90]; more than 5 % of the galaxies with weight have |e| > 1; a weight is
      negative or all are zero.
  """

  ra: np.ndarray
  dec: np.ndarray
  e1: np.ndarray
  e2: np.ndarray
  weight: np.ndarray
  columns: dict = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    columns = {}
    for name in COLUMN_GUESSES:
      columns[name] = np.asarray(getattr(self, name), np.float64)
      object.__setattr__(self, name, columns[name])
    _validate(columns)

  def __len__(self):
    return len(self.ra)

  def ellipticity_std(self):
    """Standard deviation of e1 and e2 of the galaxies that have weight, `[2]`.

    Raises:
      ValueError: if there are fewer than 30 of them, or all have the same shape.
    """
    used = self.weight > 0
    std = np.array([np.std(self.e1[used]), np.std(self.e2[used])])
    if used.sum() < _MIN_GALAXIES_FOR_SIGMA_E or not (std > 0).all():
      raise ValueError(
          f"sigma_e cannot be measured from {used.sum()} galaxies with the scatter"
          f" {std}; at least {_MIN_GALAXIES_FOR_SIGMA_E} different ones are needed."
          " Give it: sigma_e=0.3, for example (--sigma-e on the command line)."
      )
    return std


def read_catalogue(path, columns=None, drop_invalid=False):
  """Reads a shape catalogue in any table format that astropy reads.

  Args:
    path: FITS, CSV, ECSV, Parquet, ... file.
    columns: dict from "ra", "dec", "e1", "e2", "weight" to column names; what it
      leaves out is guessed from `COLUMN_GUESSES`. Without a weight column all
      weights are 1.
    drop_invalid: leave out the rows that have a NaN, an infinity or a masked value
      in a used column, with a warning that counts them, instead of raising.

  Returns:
    A `ShearCatalogue`.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if astropy cannot read it, a column is missing or ambiguous, or a
      value is invalid.
  """
  return catalogue_from_table(read_table(path), columns, drop_invalid)


def catalogue_from_table(table, columns=None, drop_invalid=False):
  """`read_catalogue` for an astropy `Table` in memory."""
  names = resolve_columns(table.colnames, columns)
  values = {}
  for role, name in names.items():
    values[role] = _numeric_column(table, name, role)
  values.setdefault("weight", np.ones(len(table)))
  if drop_invalid:
    values = _drop_invalid_rows(values)
  return ShearCatalogue(**values, columns=names)


def resolve_columns(available, columns=None):
  """Which column plays which role.

  Args:
    available: column names of the table.
    columns: dict of names given by the user; `None` values are guessed.

  Returns:
    dict of role to name; without "weight" if none is found.

  Raises:
    ValueError: for a name that is not there, or a role with no or several guesses.
  """
  columns = {k: v for k, v in (columns or {}).items() if v is not None}
  unknown = set(columns) - set(COLUMN_GUESSES)
  if unknown:
    raise ValueError(
        f"Unknown roles {sorted(unknown)}; columns has keys among"
        f" {sorted(COLUMN_GUESSES)}."
    )
  found = f"The columns are: {', '.join(available) or '(none)'}."
  resolved = {}
  for role, guesses in COLUMN_GUESSES.items():
    if role in columns:
      if columns[role] not in available:
        raise ValueError(f"There is no column '{columns[role]}' for {role}. {found}")
      resolved[role] = columns[role]
      continue
    matches = [name for name in available if name.lower() in guesses]
    if len(matches) > 1:
      raise ValueError(
          f"Several columns could be {role}: {', '.join(matches)}. Name the one to"
          f" use (--{role} on the command line). {found}"
      )
    if matches:
      resolved[role] = matches[0]
    elif role != "weight":
      raise ValueError(
          f"No column for {role}: none is called {', '.join(guesses)}. Name it"
          f" (--{role} on the command line). {found}"
      )
  return resolved


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
  return ShearCatalogue(**values)


def tangent_grid(catalogue, pixel_scale, size=None, margin=0.15):
  """Tangent-plane grid that holds a catalogue.

  Args:
    catalogue: `ShearCatalogue`.
    pixel_scale: angle, `Quantity`.
    size: `(ny, nx)` or one number; by default every galaxy and the margin fit, and
      the sides have small prime factors, for fast Fourier transforms.
    margin: empty border on each side, as a fraction of the span of the galaxies:
      maps are periodic, and the border keeps opposite edges of the field apart.

  Returns:
    A `PixelGrid` centred on the catalogue.

  Raises:
    ValueError: if the galaxies span more than a tangent plane shows well (20 deg),
      or the map would have more than 4e8 pixels.
  """
  center = _sky_center(catalogue)
  probe = geometry.PixelGrid.tangent(center, (2, 2), pixel_scale)
  row, column = probe.world_to_pixel(catalogue.ra, catalogue.dec)
  widest = 2 * max(np.abs(row - 0.5).max(), np.abs(column - 0.5).max())
  if not widest * probe.pixel_scale < 20 * u.deg:
    raise ValueError(
        "The galaxies span more than 20 deg, too much for one flat map. Cut the"
        f" catalogue into fields (centre now at ra {center[0]:.3f}, dec"
        f" {center[1]:.3f} deg)."
    )
  if size is None:
    # The centre lies midway in the projected plane, so that no margin is wasted.
    middle = [(x.min() + x.max()) / 2 for x in (row, column)]
    ra, dec = probe.pixel_to_world(*middle)
    center = (float(ra), float(dec))
    size = [
        scipy.fft.next_fast_len(int(np.ceil(np.ptp(x) * (1 + 2 * margin))) + 2, True)
        for x in (row, column)
    ]
  elif np.ndim(size) == 0:
    size = (size, size)
  if np.prod(np.asarray(size, float)) > _MAX_PIXELS:
    raise ValueError(
        f"A map of {size[0]} x {size[1]} pixels is beyond {_MAX_PIXELS:.0e} pixels."
        f" Choose larger pixels (now {probe.pixel_scale:.3g}) or a smaller size."
    )
  return geometry.PixelGrid.tangent(center, size, pixel_scale)


def bin_catalogue(
    catalogue, grid, sigma_e=None, noise="weighted", flip_e2=False, settings=None
):
  """Weighted mean shear per pixel, with its noise (paper section 6.3, Eq. 26).

  Shapes are turned from local north to the rows of the grid.

  Args:
    catalogue: `ShearCatalogue`.
    grid: `PixelGrid` with a WCS.
    sigma_e: standard deviation of an ellipticity component, a number or one per
      component; by default measured from the galaxies that have weight.
    noise: "weighted", sigma_e sqrt(sum w^2) / sum w, the error of the weighted
      mean; or "unweighted", sigma_e / sqrt(N), the convention of the paper and of
      the released COSMOS maps.
    flip_e2: change the sign of e2, for catalogues whose x axis runs to the west.
    settings: further entries for `ShearMap.settings`.

  Returns:
    A `shear_map.ShearMap`; `count` is the number of galaxies with weight in a pixel,
    and `mask` is true where there is one. Galaxies outside the grid and those of
    weight zero are counted in `settings`, as `num_outside` and `num_zero_weight`.

  Raises:
    ValueError: if no galaxy with weight falls on the grid, an option is unknown, or
      `settings` has a name that is taken.
  """
  if noise not in ("weighted", "unweighted"):
    raise ValueError(f"noise must be 'weighted' or 'unweighted'; got {noise!r}.")
  sigma_e = catalogue.ellipticity_std() if sigma_e is None else sigma_e
  sigma_e = np.broadcast_to(np.asarray(sigma_e, np.float64), (2,))
  if not (np.isfinite(sigma_e).all() and (sigma_e > 0).all()):
    raise ValueError(f"sigma_e must be positive; got {sigma_e}.")
  pixel = _pixel_index(catalogue, grid)
  weight = catalogue.weight
  on_map = pixel >= 0
  if not on_map.any():
    raise ValueError(_outside_message(catalogue, grid))
  if not on_map.all():
    _LOG.warning(
        "%d of %d galaxies lie outside the map.", (~on_map).sum(), len(catalogue)
    )
  inside = on_map & (weight > 0)
  if not inside.any():
    raise ValueError("Every galaxy on the map has weight zero.")

  def pixel_sum(values):
    total = np.bincount(pixel[inside], values[inside], np.prod(grid.shape))
    return total.reshape(grid.shape)

  count = pixel_sum(np.ones(len(catalogue))).astype(np.int32)
  mask = count > 0
  total = pixel_sum(weight)
  safe = np.where(mask, total, 1)
  shapes = _shapes_on_grid(catalogue, grid, flip_e2)
  shear = np.stack([pixel_sum(weight * shapes.real), pixel_sum(weight * shapes.imag)])
  if noise == "weighted":
    relative = np.sqrt(pixel_sum(weight**2)) / safe
  else:
    relative = 1 / np.sqrt(np.where(mask, count, 1))
  made = dict(
      num_galaxies=int(inside.sum()),
      num_outside=int((~on_map).sum()),
      num_zero_weight=int((on_map & ~inside).sum()),
      sigma_e1=float(sigma_e[0]),
      sigma_e2=float(sigma_e[1]),
      noise=noise,
      flip_e2=flip_e2,
      **{f"column {role}": name for role, name in catalogue.columns.items()},
  )
  taken = set(made) & set(settings or {})
  if taken:
    raise ValueError(f"settings must not name {sorted(taken)}: binning sets them.")
  return shear_map.ShearMap(
      shear=np.where(mask, shear / safe, 0),
      noise_std=np.where(mask, sigma_e[:, np.newaxis, np.newaxis] * relative, 0),
      mask=mask,
      grid=grid,
      count=count,
      settings={**made, **(settings or {})},
  )


def read_table(path):
  """An astropy `Table` from a file, its format known by the suffix.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if astropy cannot read it.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f"No catalogue at {path}.")
  # Text formats are named, since astropy's guess among them would take minutes for a
  # large file.
  formats = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".parquet": "parquet"}
  try:
    return Table.read(path, format=formats.get(path.suffix.lower()))
  except ImportError as error:
    raise ValueError(
        f"Reading {path} needs a package that is not here ({error}). For Parquet:"
        " pip install pyarrow pandas."
    ) from error
  except Exception as error:
    raise ValueError(
        f"astropy cannot read {path} as a table ({type(error).__name__}: {error})."
        " Give it the suffix of its format: .fits, .csv, .ecsv or .parquet."
    ) from error


def _numeric_column(table, name, role):
  column = table[name]
  if column.ndim != 1 or column.dtype.kind not in "fiu":
    raise ValueError(
        f"Column '{name}' ({role}) must hold one number a row; it has type"
        f" {column.dtype} and shape {column.shape}."
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


def _drop_invalid_rows(values):
  keep = np.logical_and.reduce([np.isfinite(v) for v in values.values()])
  if not keep.all():
    _LOG.warning("Dropped %d of %d rows with invalid values.", (~keep).sum(), len(keep))
  return {name: value[keep] for name, value in values.items()}


def _validate(columns):
  shapes = {name: value.shape for name, value in columns.items()}
  if len(set(shapes.values())) > 1 or columns["ra"].ndim != 1:
    raise ValueError(f"The columns must be vectors of one length; got {shapes}.")
  num_rows = columns["ra"].size
  if num_rows == 0:
    raise ValueError("The catalogue is empty: it has no rows.")
  for name, value in columns.items():
    _require_rows(
        np.isfinite(value), name, "NaN or infinite",
        "Remove those rows, or have them dropped with drop_invalid=True"
        " (--drop-invalid on the command line).",
    )
  _require_rows(
      np.abs(columns["dec"]) <= 90, "dec", "outside [-90, 90] deg",
      "Are right ascension and declination exchanged, or in other units?",
  )
  _require_rows(
      columns["weight"] >= 0, "weight", "negative", "Remove them, or set them to 0."
  )
  if not columns["weight"].any():
    raise ValueError("Every weight is zero; leave out the weight column to use none.")
  used = columns["weight"] > 0
  beyond = (np.hypot(columns["e1"], columns["e2"]) > 1) & used
  if beyond.sum() > _MAX_FRACTION_BEYOND_ONE * used.sum():
    raise ValueError(
        f"{beyond.sum()} of {used.sum()} galaxies have |e| > 1 in e1, e2, the first in"
        f" row {np.argmax(beyond)}. Shapes must be ellipticities or shears, not"
        " percentages, pixel moments or significances."
    )


def _require_rows(good, name, fault, remedy):
  if not good.all():
    raise ValueError(
        f"Column {name} is {fault} in {(~good).sum()} of {good.size} rows, the first"
        f" in row {int(np.argmin(good))}. {remedy}"
    )


def _sky_center(catalogue):
  ra, dec = np.deg2rad(catalogue.ra), np.deg2rad(catalogue.dec)
  mean = [
      np.mean(np.cos(dec) * np.cos(ra)),
      np.mean(np.cos(dec) * np.sin(ra)),
      np.mean(np.sin(dec)),
  ]
  return (
      float(np.rad2deg(np.arctan2(mean[1], mean[0])) % 360),
      float(np.rad2deg(np.arctan2(mean[2], np.hypot(mean[0], mean[1])))),
  )


def _pixel_index(catalogue, grid):
  """Row-major index of the pixel of each galaxy, -1 outside the grid."""
  row, column = grid.world_to_pixel(catalogue.ra, catalogue.dec)
  ny, nx = grid.shape
  with np.errstate(invalid="ignore"):
    inside = (row >= -0.5) & (row < ny - 0.5) & (column >= -0.5) & (column < nx - 0.5)
  row = np.floor(np.where(inside, row, 0) + 0.5).astype(np.int64)
  column = np.floor(np.where(inside, column, 0) + 0.5).astype(np.int64)
  return np.where(inside, row * nx + column, -1)


def _shapes_on_grid(catalogue, grid, flip_e2):
  """e1 + i e2 with respect to columns and rows of the grid."""
  shapes = catalogue.e1 + 1j * np.where(flip_e2, -catalogue.e2, catalogue.e2)
  angle = grid.north_angle(catalogue.ra, catalogue.dec)
  return shapes * np.exp(2j * np.where(np.isfinite(angle), angle, 0))


def _outside_message(catalogue, grid):
  ny, nx = grid.shape
  ra, dec = grid.pixel_to_world((ny - 1) / 2, (nx - 1) / 2)
  height, width = (side.to_value(u.deg) for side in grid.extent)
  return (
      f"None of the {len(catalogue)} galaxies falls on the map, which is centred on"
      f" ra {float(ra):.4f}, dec {float(dec):.4f} deg and is {width:.3f} x"
      f" {height:.3f} deg. The catalogue covers ra {catalogue.ra.min():.4f} to"
      f" {catalogue.ra.max():.4f} and dec {catalogue.dec.min():.4f} to"
      f" {catalogue.dec.max():.4f} deg. Move or enlarge the map."
  )
