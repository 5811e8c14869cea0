"""Surveys: footprint, galaxy density, shape noise and holes around bright stars.

Another footprint is an outline of a `Survey`, and a function such as
`cosmos_like_survey` that makes it.
"""

import dataclasses

from astropy import units as u
import numpy as np

from tfp_massmap import geometry

# Corners, as fractions of a 1.74 deg field, of an outline like that of the ACS mosaic
# of COSMOS: a square of 1.3 deg with stepped sides, tilted against the pixel axes.
_COSMOS_OUTLINE = (
  (0.13, 0.17),
  (0.32, 0.14),
  (0.32, 0.11),
  (0.70, 0.10),
  (0.70, 0.13),
  (0.86, 0.13),
  (0.87, 0.36),
  (0.90, 0.36),
  (0.90, 0.72),
  (0.87, 0.72),
  (0.87, 0.87),
  (0.66, 0.88),
  (0.66, 0.91),
  (0.30, 0.91),
  (0.30, 0.88),
  (0.13, 0.88),
  (0.13, 0.66),
  (0.10, 0.66),
  (0.10, 0.32),
  (0.13, 0.32),
)


@dataclasses.dataclass(frozen=True)
class Survey:
  """The properties of a survey that set the noise and the mask of a shear map.

  Attributes:
    density: Mean number of galaxies per solid angle.
    sigma_e: Standard deviation of an ellipticity component.
    outline: Corners (x, y) of the footprint as fractions of the field; None for the
      whole field. Where it crosses itself, the even-odd rule decides.
    hole_density: Mean number of star holes per solid angle.
    hole_radius: Smallest and largest radius of a hole, angles, between which radii are
      drawn uniformly.

  Raises:
    ValueError: If density, sigma_e or a radius is not positive, the density of holes is
      negative, or an outline has fewer than three corners.
  """

  density: u.Quantity
  sigma_e: float
  _: dataclasses.KW_ONLY
  outline: tuple[tuple[float, float], ...] | None = None
  hole_density: u.Quantity = 0 / u.deg**2
  hole_radius: tuple[u.Quantity, u.Quantity] = (0.5 * u.arcmin, 2.0 * u.arcmin)

  def __post_init__(self) -> None:
    if not self.density.to_value(u.arcmin**-2) > 0:
      raise ValueError(f"density must be positive; got {self.density}.")
    if not self.sigma_e > 0:
      raise ValueError(f"sigma_e must be positive; got {self.sigma_e}.")
    if self.hole_density.to_value(u.arcmin**-2) < 0:
      raise ValueError(f"hole_density must not be negative; got {self.hole_density}.")
    low, high = (radius.to_value(u.arcmin) for radius in self.hole_radius)
    if not 0 < low <= high:
      raise ValueError(
        f"hole_radius must be (smallest, largest), positive; got {self.hole_radius}."
      )
    if self.outline is not None and len(self.outline) < 3:
      raise ValueError(
        f"An outline needs at least three corners; got {len(self.outline)}."
      )

  def footprint(self, grid: geometry.PixelGrid, rng: np.random.Generator) -> np.ndarray:
    """Returns where galaxies can be observed, bool `[ny, nx]`.

    Args:
      grid: Grid of the map.
      rng: Generator of the places and radii of the holes.
    """
    observed = np.ones(grid.shape, bool)
    ny, nx = grid.shape
    y, x = np.mgrid[:ny, :nx]
    if self.outline is not None:
      observed &= _inside(self.outline, (x + 0.5) / nx, (y + 0.5) / ny)
    height, width = grid.extent
    num_holes = rng.poisson((self.hole_density * height * width).to_value(u.one))
    low, high = ((r / grid.pixel_scale).to_value(u.one) for r in self.hole_radius)
    for _ in range(num_holes):
      column, row = rng.uniform(0, nx), rng.uniform(0, ny)
      observed &= np.hypot(x - column, y - row) > rng.uniform(low, high)
    return observed

  def galaxy_counts(
    self, grid: geometry.PixelGrid, rng: np.random.Generator
  ) -> np.ndarray:
    """Returns a Poisson number of galaxies in every pixel, int `[ny, nx]`.

    Args:
      grid: Grid of the map.
      rng: Generator of the numbers and the holes.
    """
    mean = (self.density * grid.pixel_scale**2).to_value(u.one)
    return rng.poisson(mean, grid.shape) * self.footprint(grid, rng)


def cosmos_like_survey() -> Survey:
  """Returns a survey like the HST/ACS COSMOS catalogue of Schrabback et al. (2010).

  It has 64.2 galaxies per square arcmin of the observed area and sigma_e = 0.305, a
  stepped outline, and holes around bright stars, on a field of 1.74 deg. As in the
  released maps, about 53 % of the field is observed.
  """
  return Survey(
    density=64.2 / u.arcmin**2,
    sigma_e=0.305,
    outline=_COSMOS_OUTLINE,
    hole_density=45 / u.deg**2,
  )


def uniform_survey(density: u.Quantity, sigma_e: float) -> Survey:
  """Returns a survey of the whole field, without holes.

  Args:
    density: Mean number of galaxies per solid angle.
    sigma_e: Standard deviation of an ellipticity component.
  """
  return Survey(density=density, sigma_e=sigma_e)


def _inside(outline, x, y):
  """Returns which points lie inside a polygon, by the even-odd rule.

  A point is inside if a ray from it along x crosses the outline an odd number of times.
  Rounding decides for points on the outline itself.
  """
  inside = np.zeros(np.shape(x), bool)
  for (x0, y0), (x1, y1) in zip(outline, (*outline[1:], outline[0])):
    ends_above = y1 >= y
    crosses = (y0 >= y) != ends_above
    # Whether the crossing lies beyond x, multiplied out to avoid a division by zero.
    beyond = ((y1 - y) * (x0 - x1) >= (x1 - x) * (y0 - y1)) == ends_above
    inside ^= crosses & beyond
  return inside
