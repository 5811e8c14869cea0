"""The criterion of a detection (Remy et al. 2022, Eq. 30), errors of proportions."""

from astropy import units as u
import numpy as np
from scipy import stats

from tfp_massmap import geometry
from tfp_massmap.detection import aperture

# The threshold of Remy et al. (2022), Eq. 30. The radius is five pixels of 0.29 arcmin,
# a little more than the radius within which the filter of the default scale is
# positive.
DEFAULT_RADIUS = 1.5 * u.arcmin
DEFAULT_THRESHOLD = 3.0

_INTERVALS = ("wilson", "clopper-pearson")


def highest_coefficient(
  maps: np.ndarray,
  grid: geometry.PixelGrid,
  *,
  centers: tuple[np.ndarray | float, np.ndarray | float],
  radius: u.Quantity = DEFAULT_RADIUS,
  scale: int = aperture.DEFAULT_SCALE,
) -> np.ndarray:
  """Returns the highest aperture mass near given places.

  A sample detects a cluster where this exceeds a threshold times the standard deviation
  of the background (`background_std`). Remy et al. (2022) take the maximum over the
  whole map. Near a place, the result does not depend on the rest of the map.

  Args:
    maps: Convergence `[num_maps, ny, nx]`; may lie on disk.
    grid: `geometry.PixelGrid`.
    centers: `(row, column)` of the places, numbers or arrays `[n]`, fractional.
    radius: Radius of the search, an angle.
    scale: As `aperture_mass`.

  Returns:
    float64 `[num_maps]`, or `[num_maps, n]` for arrays.

  Raises:
    ValueError: If a place is farther than `radius` from all pixels of the map.
  """
  row, column = np.broadcast_arrays(*(np.asarray(c, float) for c in centers))
  reach = (radius / grid.pixel_scale).to_value(u.one)
  near = [_within(grid.shape, r, c, reach) for r, c in zip(row.ravel(), column.ravel())]
  highest = np.concatenate(
    [
      np.stack([block[:, *place].max(axis=1) for place in near], axis=1)
      for block in aperture.blocks(maps, scale)
    ]
  )
  return highest.reshape(len(maps), *row.shape)


def binomial_interval(
  successes: np.ndarray | int,
  trials: np.ndarray | int,
  *,
  confidence: float = 0.6827,
  method: str = "wilson",
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the interval of a proportion.

  Args:
    successes: Integers, of any shape.
    trials: Positive integers that broadcast with `successes`.
    confidence: In (0, 1); the default is one standard deviation of a Gaussian.
    method: "wilson", whose coverage is close to the confidence on average, or
      "clopper-pearson", whose coverage is never below it.

  Returns:
    `(low, high)`, float64 of the broadcast shape.

  Raises:
    ValueError: If the method is unknown, a number is out of its range, or there are
      more successes than trials.
  """
  if method not in _INTERVALS:
    raise ValueError(f"method must be one of {_INTERVALS}; got {method!r}.")
  k, n = np.broadcast_arrays(np.asarray(successes), np.asarray(trials))
  if np.any(n < 1) or np.any(k < 0) or np.any(k > n) or not 0 < confidence < 1:
    raise ValueError(
      "Successes must lie between 0 and a positive number of trials, the confidence"
      f" in (0, 1); got {successes}, {trials} and {confidence}."
    )
  if method == "wilson":
    z = stats.norm.ppf((1 + confidence) / 2)
    middle = (k + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * np.sqrt(k * (n - k) / n + z**2 / 4)
    # At 0 and n the ends are exactly 0 and 1, which rounding would miss.
    return np.where(k > 0, middle - half, 0.0), np.where(k < n, middle + half, 1.0)
  tail = (1 - confidence) / 2
  # The beta distribution has no parameter 0, where the limits are 0 and 1.
  low = np.where(k > 0, stats.beta.ppf(tail, np.maximum(k, 1), n - k + 1), 0.0)
  high = np.where(k < n, stats.beta.ppf(1 - tail, k + 1, np.maximum(n - k, 1)), 1.0)
  return low, high


def _within(shape, row, column, reach):
  """Returns the pixels of a disc on the flat sky, as an index."""
  rows, columns = np.ogrid[: shape[0], : shape[1]]
  place = np.nonzero(np.hypot(rows - row, columns - column) <= reach)
  if not place[0].size:
    raise ValueError(
      f"No pixel of the map of shape {shape} lies within {reach:.3g} pixels of row"
      f" {row:.4g}, column {column:.4g}. Widen the radius, or leave this place out."
    )
  return place
