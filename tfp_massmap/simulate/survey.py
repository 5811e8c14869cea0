"""Surveys: footprint, galaxy density, shape noise and holes around bright stars."""

import dataclasses

from astropy import units as u
from matplotlib import path as mpl_path
import numpy as np

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
)  # pyformat: disable


@dataclasses.dataclass(frozen=True)
class Survey:
  """What decides the noise and the mask of a shear map.

  Attributes:
    density: mean number of galaxies per solid angle, `Quantity`.
    sigma_e: standard deviation of an ellipticity component.
    outline: corners of the footprint, pairs (x, y) as fractions of the field; None
      for the whole field.
    hole_density: mean number of star holes per solid angle, `Quantity`.
    hole_radius: smallest and largest radius of a hole, angles; radii are drawn
      uniformly in between.

  Raises:
    ValueError: for a density, sigma_e or radius that is not positive, or an outline
      of fewer than three corners.
  """

  density: u.Quantity
  sigma_e: float
  _: dataclasses.KW_ONLY
  outline: tuple | None = None
  hole_density: u.Quantity = 0 / u.deg**2
  hole_radius: tuple = (0.5 * u.arcmin, 2.0 * u.arcmin)

  def __post_init__(self):
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
      raise ValueError(f"An outline needs three corners; got {len(self.outline)}.")

  def footprint(self, grid, rng):
    """True where galaxies can be seen, bool `[ny, nx]`.

    Args:
      grid: `geometry.PixelGrid`.
      rng: `numpy.random.Generator`, for the places of the holes.
    """
    seen = np.ones(grid.shape, bool)
    ny, nx = grid.shape
    y, x = np.mgrid[:ny, :nx]
    if self.outline is not None:
      centers = np.stack([(x.ravel() + 0.5) / nx, (y.ravel() + 0.5) / ny], axis=-1)
      inside = mpl_path.Path(self.outline).contains_points(centers)
      seen &= inside.reshape(grid.shape)
    height, width = grid.extent
    num_holes = rng.poisson((self.hole_density * height * width).to_value(u.one))
    low, high = ((r / grid.pixel_scale).to_value(u.one) for r in self.hole_radius)
    for _ in range(num_holes):
      column, row = rng.uniform(0, nx), rng.uniform(0, ny)
      seen &= np.hypot(x - column, y - row) > rng.uniform(low, high)
    return seen

  def galaxy_counts(self, grid, rng):
    """Poisson number of galaxies in every pixel, int `[ny, nx]`."""
    mean = (self.density * grid.pixel_scale**2).to_value(u.one)
    return rng.poisson(mean, grid.shape) * self.footprint(grid, rng)


def cosmos_like_survey():
  """Like the HST/ACS COSMOS catalogue of Schrabback et al. (2010).

  64 galaxies per square arcmin of the seen area, sigma_e = 0.305, stepped outline,
  and holes around bright stars, on a field of 1.74 deg.
  """
  return Survey(
    density=64.2 / u.arcmin**2,
    sigma_e=0.305,
    outline=_COSMOS_OUTLINE,
    hole_density=45 / u.deg**2,
  )


def uniform_survey(density, sigma_e):
  """No outline, no holes."""
  return Survey(density=density, sigma_e=sigma_e)
