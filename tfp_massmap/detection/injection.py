"""Clusters added to observed or mock shear."""

import dataclasses

from astropy import units as u
import numpy as np

from tfp_massmap import simulate


def inject_cluster(
  shear_map, mass, *, redshift=0.5, concentration=1.0, source_redshift=1.0, center=None
):
  """Adds the shear of an NFW halo to a shear map (paper section 7.3).

  Args:
    shear_map: `shear_map.ShearMap`.
    mass: `Quantity` in solar masses, within 200 times the mean density of matter.
    redshift: that of the halo.
    concentration: 1, as in the paper; None for the relation of Duffy et al. (2008).
    source_redshift: that of all galaxies.
    center: fractional `(row, column)`, possibly outside of the map; None for its middle.

  Returns:
    `(shear_map, kappa)`: a new `ShearMap`, whose settings list the clusters it was given,
    and this cluster's convergence `[ny, nx]`.

  Raises:
    ValueError: as `simulate.nfw_cluster`.
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
    concentration="Duffy et al. 2008"
    if concentration is None
    else float(concentration),
    source_redshift=float(source_redshift),
    center="middle" if center is None else f"{center[0]:g}, {center[1]:g}",
  )  # pyformat: disable
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
