"""One NFW halo on a map, convergence and shear, as when injecting a cluster."""

from astropy import units as u
import numpy as np

from tfp_massmap.simulate import cosmology
from tfp_massmap.simulate import nfw
from tfp_massmap.simulate import shells
from tfp_massmap.simulate import source_planes

_DEFINITIONS = ("200m", "200c")
_NEAR = 6  # pixels from the centre within which a pixel is averaged over
_NUM_SUB = 8


def nfw_cluster(
  grid,
  mass,
  *,
  redshift,
  concentration=None,
  source_redshift=None,
  plane_weights=None,
  center=None,
  mass_definition="200m",
):
  """Convergence and shear of an NFW halo (Takada & Jain 2003), averaged over pixels.

  Args:
    grid: `geometry.PixelGrid`.
    mass: mass within the outer radius, `Quantity` in solar masses (not per h).
    redshift: that of the halo, between 0 and the sources'.
    concentration: outer over scale radius; None for the relation of Duffy et al. (2008).
    source_redshift: one redshift for all sources; or give `plane_weights`.
    plane_weights: weights of the 40 source planes of kappaTNG, `[40]`.
    center: fractional `(row, column)`; None for the middle of the map.
    mass_definition: "200m" or "200c": the outer radius holds 200 times the mean matter
      or the critical density of the halo's redshift. The halo ends there.

  Returns:
    `(kappa, shear)`: float64 `[ny, nx]` and `[2, ny, nx]`, in the conventions of
    `lensing`.

  Raises:
    ValueError: for a mass, redshift or concentration that is not positive, a halo not
      in front of the sources, or not exactly one way of placing the sources.
  """
  mass = _positive("mass", mass.to_value(u.Msun)) * cosmology.HUBBLE
  redshift = _positive("redshift", redshift)
  if mass_definition not in _DEFINITIONS:
    raise ValueError(
      f"mass_definition must be one of {_DEFINITIONS}; got {mass_definition!r}."
    )
  density = cosmology.MEAN_DENSITY
  if mass_definition == "200c":
    density = cosmology.critical_density(redshift)
  if concentration is None:
    concentration = nfw.duffy_concentration(mass, redshift)
  concentration = _positive("concentration", concentration)
  distance = float(cosmology.comoving_distance(redshift))
  kernel = _lensing_kernel(distance, redshift, source_redshift, plane_weights)
  radius = nfw.outer_radius(mass, density)
  surface_density = mass / (2 * np.pi * radius**2) / nfw.mass_factor(concentration)
  amplitude = kernel * concentration**2 * surface_density / cosmology.MEAN_DENSITY
  scale = radius / concentration / distance / grid.pixel_radians
  ny, nx = grid.shape
  center = ((ny - 1) / 2, (nx - 1) / 2) if center is None else center
  maps = _pixel_means(grid.shape, center, scale, concentration)
  return amplitude * maps[0], amplitude * maps[1:]


def _pixel_means(shape, center, scale, concentration):
  """F, and the two components of -G e^{2 i phi}, averaged over pixels, `[3, ny, nx]`."""
  rows, columns = (np.arange(n, dtype=np.float64) for n in shape)
  maps = _components(
    rows[:, None] - center[0], columns - center[1], scale, concentration
  )
  near_rows = np.flatnonzero(np.abs(rows - center[0]) <= _NEAR)
  near_columns = np.flatnonzero(np.abs(columns - center[1]) <= _NEAR)
  if near_rows.size == 0 or near_columns.size == 0:
    return maps
  within = (np.arange(_NUM_SUB) + 0.5) / _NUM_SUB - 0.5
  fine_rows = (near_rows[:, None] + within).ravel() - center[0]
  fine_columns = (near_columns[:, None] + within).ravel() - center[1]
  fine = _components(fine_rows[:, None], fine_columns, scale, concentration)
  fine = fine.reshape(3, near_rows.size, _NUM_SUB, near_columns.size, _NUM_SUB)
  maps[:, near_rows[0] : near_rows[-1] + 1, near_columns[0] : near_columns[-1] + 1] = (
    fine.mean(axis=(2, 4))
  )
  return maps


def _components(y, x, scale, concentration):
  radius = np.maximum(np.hypot(x, y), 1e-6)
  tangential = nfw.shear_shape(radius / scale, concentration)
  return np.stack(
    [
      nfw.convergence_shape(radius / scale, concentration),
      -tangential * (x**2 - y**2) / radius**2,
      -tangential * 2 * x * y / radius**2,
    ]
  )


def _lensing_kernel(distance, redshift, source_redshift, plane_weights):
  if (source_redshift is None) == (plane_weights is None):
    raise ValueError("Give either source_redshift or plane_weights.")
  if plane_weights is not None:
    weights = source_planes.check_weights(plane_weights)
    return float(shells.lensing_kernel(distance, weights))
  if not source_redshift > redshift:
    raise ValueError(
      f"The halo, at redshift {redshift}, must be in front of the sources; they are at"
      f" {source_redshift}."
    )
  reach = 1 - distance / float(cosmology.comoving_distance(source_redshift))
  return shells.kernel_prefactor(distance) * reach


def _positive(name, value):
  value = float(value)
  if not (np.isfinite(value) and value > 0):
    raise ValueError(f"{name} must be positive; got {value}.")
  return value
