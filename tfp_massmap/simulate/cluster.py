"""Convergence and shear of one NFW halo on a map, to inject a cluster."""

import dataclasses
import typing

from astropy import units as u
import numpy as np

from tfp_massmap import geometry
from tfp_massmap import theory
from tfp_massmap.simulate import nfw
from tfp_massmap.theory.cosmology import HUBBLE

_DEFINITIONS = ("200m", "200c")
# Distance from the centre, in pixels, within which 8 x 8 points of a pixel are
# averaged: farther out a halo is smooth enough for the centre of the pixel.
_NEAR = 6
_NUM_SUB = 8
# Smallest radius in pixels, where the profile diverges.
_LEAST_RADIUS = 1e-6


def nfw_cluster(
  grid: geometry.PixelGrid,
  mass: u.Quantity,
  *,
  redshift: float,
  concentration: float | None = None,
  source_redshift: float | None = None,
  sources: theory.SourceRedshifts | None = None,
  center: tuple[float, float] | None = None,
  mass_definition: str = "200m",
  cosmology: theory.Cosmology = theory.KAPPATNG,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns convergence and shear of an NFW halo, averaged over pixels.

  The profile is that of Takada and Jain (2003); see `nfw`.

  Args:
    grid: Grid of the maps.
    mass: Mass within the outer radius, in solar masses (not per h).
    redshift: Redshift of the halo, between 0 and that of the sources.
    concentration: Outer over scale radius; None for the relation of Duffy et al.
      (2008).
    source_redshift: One redshift of all sources; or give `sources`.
    sources: The n(z) of the sources, `theory.SourceRedshifts`.
    center: Fractional `(row, column)`; None for the middle of the map.
    mass_definition: "200m" or "200c". The halo ends at the outer radius, within which
      the density is 200 times the mean matter or the critical density of its redshift.
    cosmology: `theory.Cosmology`.

  Returns:
    `(kappa, shear)`: float64 `[ny, nx]` and `[2, ny, nx]`, in the conventions of
    `lensing`.

  Raises:
    ValueError: If mass, redshift or concentration are not positive, the halo is not in
      front of the sources, or the sources are given in no way or in two.
  """
  mass = _positive("mass", mass.to_value(u.Msun)) * HUBBLE
  redshift = _positive("redshift", redshift)
  if mass_definition not in _DEFINITIONS:
    raise ValueError(
      f"mass_definition must be one of {_DEFINITIONS}; got {mass_definition!r}."
    )
  density = cosmology.mean_density
  if mass_definition == "200c":
    density = float(cosmology.critical_density(redshift))
  if concentration is None:
    concentration = float(nfw.duffy_concentration(mass, redshift))
  concentration = _positive("concentration", concentration)
  distance = float(cosmology.comoving_distance(redshift))
  kernel = _lensing_kernel(cosmology, redshift, source_redshift, sources)
  radius = typing.cast(float, nfw.outer_radius(mass, density))  # Of one mass.
  surface_density = mass / (2 * np.pi * radius**2) / nfw.mass_factor(concentration)
  amplitude = kernel * concentration**2 * surface_density / cosmology.mean_density
  scale = radius / concentration / distance / grid.pixel_radians
  ny, nx = grid.shape
  center = ((ny - 1) / 2, (nx - 1) / 2) if center is None else center
  maps = _Profile(scale, concentration).pixel_means(grid.shape, center)
  return amplitude * maps[0], amplitude * maps[1:]


@dataclasses.dataclass(frozen=True)
class _Profile:
  """F, and the two components of -G e^{2 i phi}, on a grid.

  Attributes:
    scale: Scale radius in pixels.
    concentration: c.
  """

  scale: float
  concentration: float

  def pixel_means(self, shape, center):
    """Returns the averages over pixels, `[3, ny, nx]`."""
    rows, columns = (np.arange(n, dtype=np.float64) for n in shape)
    maps = self.at(rows[:, None] - center[0], columns - center[1])
    near_rows = np.flatnonzero(np.abs(rows - center[0]) <= _NEAR)
    near_columns = np.flatnonzero(np.abs(columns - center[1]) <= _NEAR)
    if near_rows.size == 0 or near_columns.size == 0:
      return maps
    within = (np.arange(_NUM_SUB) + 0.5) / _NUM_SUB - 0.5
    fine_rows = (near_rows[:, None] + within).ravel() - center[0]
    fine_columns = (near_columns[:, None] + within).ravel() - center[1]
    fine = self.at(fine_rows[:, None], fine_columns)
    fine = fine.reshape(3, near_rows.size, _NUM_SUB, near_columns.size, _NUM_SUB)
    near = (slice(None), slice(near_rows[0], near_rows[-1] + 1))
    near += (slice(near_columns[0], near_columns[-1] + 1),)
    maps[near] = fine.mean(axis=(2, 4))
    return maps

  def at(self, y, x):
    """Returns the values at offsets from the centre in pixels, `[3, ...]`."""
    radius = np.maximum(np.hypot(x, y), _LEAST_RADIUS)
    tangential = nfw.shear_shape(radius / self.scale, self.concentration)
    return np.stack(
      [
        nfw.convergence_shape(radius / self.scale, self.concentration),
        -tangential * (x**2 - y**2) / radius**2,
        -tangential * 2 * x * y / radius**2,
      ]
    )


def _lensing_kernel(cosmology, redshift, source_redshift, sources):
  """W(chi) at the halo."""
  if (source_redshift is None) == (sources is None):
    raise ValueError(
      "Give either source_redshift, one redshift of all sources, or sources, their n(z)."
    )
  distance = cosmology.comoving_distance(redshift)
  if sources is None:
    if not source_redshift > redshift:
      raise ValueError(
        f"The halo, at redshift {redshift}, must be in front of the sources; they are"
        f" at {source_redshift}."
      )
    reach = 1 - distance / cosmology.comoving_distance(source_redshift)
    return float(cosmology.lensing_prefactor(distance) * reach)
  return float(theory.lensing_kernel(distance, sources, cosmology=cosmology))


def _positive(name, value) -> float:
  value = float(value)
  if not (np.isfinite(value) and value > 0):
    raise ValueError(f"{name} must be positive; got {value}.")
  return value
