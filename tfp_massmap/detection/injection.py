"""Clusters added to observed or mock shear."""

import dataclasses

from astropy import units as u
import numpy as np

from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate


def inject_cluster(
  shear_map: shear_map_lib.ShearMap,
  mass: u.Quantity,
  *,
  redshift: float = 0.5,
  concentration: float | None = 1.0,
  source_redshift: float = 1.0,
  center: tuple[float, float] | None = None,
) -> tuple[shear_map_lib.ShearMap, np.ndarray]:
  """Adds the shear of an NFW halo to a shear map (Remy et al. 2022, section 7.3).

  The defaults are those of Remy et al. (2022).

  Args:
    shear_map: `shear_map.ShearMap`.
    mass: Mass in solar masses, within 200 times the mean density of matter.
    redshift: Redshift of the halo.
    concentration: Concentration; None for the relation of Duffy et al. (2008).
    source_redshift: Redshift of all galaxies.
    center: Fractional `(row, column)`, possibly outside the map; None for its middle.

  Returns:
    `(shear_map, kappa)`: a new `ShearMap`, whose settings list all clusters added to
    it, and the convergence of this cluster, `[ny, nx]`.

  Raises:
    ValueError: As `simulate.nfw_cluster`.
  """
  kappa, shear = simulate.nfw_cluster(
    shear_map.grid,
    mass,
    redshift=redshift,
    concentration=concentration,
    source_redshift=source_redshift,
    center=center,
  )
  given = dict(
    mass_msun=float(mass.to_value(u.Msun)),
    redshift=float(redshift),
    concentration=(
      "Duffy et al. 2008" if concentration is None else float(concentration)
    ),
    source_redshift=float(source_redshift),
    center="middle" if center is None else f"{center[0]:g}, {center[1]:g}",
  )
  number = 1 + sum(
    name.startswith("cluster") and name.endswith("_mass_msun")
    for name in shear_map.settings
  )
  prefix = "cluster" if number == 1 else f"cluster{number}"
  settings = dict(
    shear_map.settings, **{f"{prefix}_{name}": value for name, value in given.items()}
  )
  total = np.where(shear_map.mask, shear_map.shear + shear, 0)
  return dataclasses.replace(shear_map, shear=total, settings=settings), kappa
