"""Structures compared with the positions of known objects, and with chance."""

import dataclasses

from astropy import units as u
import numpy as np
from scipy import spatial

from tfp_massmap import geometry

NULLS = ("uniform", "shifted")

# One object in a region that fills a hundredth of its box needs more shifts than this
# once in 10^43 cases.
_MAX_SHIFTS = 10_000


@dataclasses.dataclass(frozen=True)
class Matches:
  """Known objects that have a structure nearby, and the number expected by chance.

  Attributes:
    inside: Whether an object lies in the region, bool `[num_objects]`.
    separation: Distance to the nearest structure, arcmin, `[num_objects]`; infinite if
      there is no structure, or if the grid cannot show the object.
    matched: Whether an object lies inside and has a structure within the radius, bool
      `[num_objects]`.
    num_inside: Number of objects inside.
    num_matched: Number of objects matched.
    expected: Mean number of matches of as many random objects.
    expected_std: Standard deviation of this number.
    p_value: Probability of at least so many random matches, (1 + cases) / (1 + trials).
  """

  inside: np.ndarray
  separation: np.ndarray
  _: dataclasses.KW_ONLY
  matched: np.ndarray
  num_inside: int
  num_matched: int
  expected: float
  expected_std: float
  p_value: float


def match_positions(
  structures: tuple[np.ndarray | float, np.ndarray | float],
  objects: tuple[np.ndarray | float, np.ndarray | float],
  *,
  region: np.ndarray,
  grid: geometry.PixelGrid,
  radius: u.Quantity = 1.5 * u.arcmin,
  null: str = "uniform",
  num_random: int = 10000,
  seed: int = 0,
) -> Matches:
  """Matches objects to structures, on the flat map.

  Args:
    structures: `(row, column)` of the structures, numbers or arrays.
    objects: `(row, column)` of the objects, fractional, numbers or arrays.
    region: Bool `[ny, nx]`, true where both can be.
    grid: `geometry.PixelGrid`.
    radius: Radius of a match, an angle; five pixels of 0.29 arcmin.
    null: "uniform" for random positions in the region, or "shifted" for the objects
      moved together, with opposite edges of the region's box joined, which keeps their
      clustering. A shift that leaves less than half of them in the region is drawn
      again, and the number of matches is scaled to the number of objects inside.
    num_random: Number of random sets, positive. 10,000 resolve p-values of 1e-4.
    seed: Integer.

  Raises:
    ValueError: If the null is unknown, the region has another shape than the grid, no
      object lies in it, no shift keeps half of the objects in it, or a radius or number
      is not positive.
  """
  if null not in NULLS:
    raise ValueError(f"null must be one of {NULLS}; got {null!r}.")
  region = np.asarray(region, bool)
  if region.shape != grid.shape:
    raise ValueError(
      f"region must have the shape {grid.shape} of the grid; got {region.shape}."
    )
  reach = (radius / grid.pixel_scale).to_value(u.one)
  if not reach > 0 or num_random < 1:
    raise ValueError(
      f"radius and num_random must be positive; got {radius} and {num_random}."
    )
  objects = _positions(objects)
  inside = _in_region(objects, region)
  num_inside = int(inside.sum())
  if not num_inside:
    raise ValueError(
      f"None of the {len(objects)} objects lies in the region of {region.sum()} pixels."
    )
  places = _positions(structures)
  separation = _nearest(places, objects)
  matched = inside & (separation <= reach)
  rng = np.random.default_rng(seed)
  draw = _uniform if null == "uniform" else _shifted
  sets = (draw(rng, objects[inside], region) for _ in range(num_random))
  shares = [np.mean(_nearest(places, positions) <= reach) for positions in sets]
  numbers = np.array(shares) * num_inside
  # A margin for the rounding of scaled numbers.
  as_many = np.sum(numbers >= matched.sum() - 1e-9)
  return Matches(
    inside=inside,
    separation=separation * grid.pixel_scale.to_value(u.arcmin),
    matched=matched,
    num_inside=num_inside,
    num_matched=int(matched.sum()),
    expected=float(numbers.mean()),
    expected_std=float(numbers.std()),
    p_value=float((1 + as_many) / (1 + num_random)),
  )


def _positions(coordinates):
  return np.stack([np.atleast_1d(np.asarray(c, float)) for c in coordinates], axis=-1)


def _nearest(places, objects):
  distance = np.full(len(objects), np.inf)
  on_grid = np.isfinite(objects).all(axis=-1)
  if len(places):
    distance[on_grid] = spatial.cKDTree(places).query(objects[on_grid])[0]
  return distance


def _in_region(positions, region):
  pixels = np.rint(np.nan_to_num(positions, nan=-1)).astype(int)
  within = np.all((pixels >= 0) & (pixels < region.shape), axis=-1)
  within[within] = region[tuple(pixels[within].T)]
  return within


def _uniform(rng, objects, region):
  pixels = np.argwhere(region)
  chosen = pixels[rng.integers(len(pixels), size=len(objects))]
  return chosen + rng.uniform(-0.5, 0.5, chosen.shape)


def _shifted(rng, objects, region):
  pixels = np.argwhere(region)
  low, high = pixels.min(axis=0) - 0.5, pixels.max(axis=0) + 0.5
  for _ in range(_MAX_SHIFTS):
    moved = low + (objects - low + rng.uniform(0, high - low)) % (high - low)
    moved = moved[_in_region(moved, region)]
    if len(moved) >= 0.5 * len(objects):
      return moved
  raise ValueError(
    f"None of {_MAX_SHIFTS} shifts left half of the {len(objects)} objects in the"
    f" region, which fills {len(pixels) / np.prod(high - low):.2g} of its box. Widen"
    " the region, or use null='uniform'."
  )
