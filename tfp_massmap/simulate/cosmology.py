"""The flat LCDM cosmology of the kappaTNG simulations (Osato et al. 2021).

Lengths are comoving and in Mpc/h, masses in Msun/h, as usual in simulations.
"""

from astropy import constants
from astropy import cosmology as astropy_cosmology
from astropy import units as u
import numpy as np
import numpy.typing as npt
from scipy import interpolate

HUBBLE = 0.6774
OMEGA_MATTER = 0.3089
OMEGA_BARYON = 0.0486
SPECTRAL_INDEX = 0.9667
SIGMA_8 = 0.8159

BACKGROUND = astropy_cosmology.FlatLambdaCDM(
  H0=100 * HUBBLE, Om0=OMEGA_MATTER, Ob0=OMEGA_BARYON
)

# Mean comoving density of matter, in h^2 Msun/Mpc^3: Omega_m * 3 H0^2 / (8 pi G).
MEAN_DENSITY = OMEGA_MATTER * (
  astropy_cosmology.FlatLambdaCDM(H0=100, Om0=OMEGA_MATTER).critical_density0.to_value(
    u.Msun / u.Mpc**3
  )
)

# c / H0 in Mpc/h.
HUBBLE_DISTANCE = (constants.c / (100 * u.km / u.s / u.Mpc)).to_value(u.Mpc)

# The table of distances reaches far beyond any source, and its splines agree with
# astropy to 1e-9 (tests/simulate/test_cosmology.py).
_MAX_REDSHIFT = 12.0
_REDSHIFT = np.expm1(np.linspace(0, np.log1p(_MAX_REDSHIFT), 1500))
_DISTANCE = BACKGROUND.comoving_distance(_REDSHIFT).to_value(u.Mpc) * HUBBLE
_DISTANCE_SPLINE = interpolate.CubicSpline(_REDSHIFT, _DISTANCE)
_REDSHIFT_SPLINE = interpolate.CubicSpline(_DISTANCE, _REDSHIFT)


def comoving_distance(redshift: npt.ArrayLike) -> np.ndarray:
  """Returns the comoving distance in Mpc/h, of the shape of the redshift.

  Args:
    redshift: Redshifts from 0 to 12, of any shape.

  Raises:
    ValueError: If a redshift lies outside that range.
  """
  return _DISTANCE_SPLINE(_check_range("redshift", redshift, _MAX_REDSHIFT))


def critical_density(redshift: npt.ArrayLike) -> np.ndarray:
  """Returns the comoving critical density in h^2 Msun/Mpc^3.

  Args:
    redshift: Redshifts of any shape.
  """
  dark_energy = (1 - OMEGA_MATTER) / (1 + np.asarray(redshift)) ** 3
  return MEAN_DENSITY * (OMEGA_MATTER + dark_energy) / OMEGA_MATTER


def redshift_at(distance: npt.ArrayLike) -> np.ndarray:
  """Returns the redshift at a comoving distance, the inverse of `comoving_distance`.

  Args:
    distance: Comoving distances in Mpc/h, up to that of redshift 12, of any shape.

  Raises:
    ValueError: If a distance lies outside that range.
  """
  return _REDSHIFT_SPLINE(_check_range("distance", distance, _DISTANCE[-1]))


def _check_range(name, values, upper):
  values = np.asarray(values, np.float64)
  if not ((values >= 0) & (values <= upper)).all():
    raise ValueError(
      f"{name} must lie between 0 and {upper:.4g}; got values from"
      f" {values.min():.4g} to {values.max():.4g}."
    )
  return values
