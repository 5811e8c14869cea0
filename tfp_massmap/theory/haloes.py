"""Numbers and bias of dark-matter haloes, for the cosmologies of the tables.

The variance of the linear density in spheres that hold a mass M on average,

  sigma^2(M, z) = D(z)^2 int dk / k k^3 P(k) / (2 pi^2) W(k R)^2,   M = 4 pi / 3 rho R^3,

decides both: the mass function of Tinker et al. (2008) and the bias of Tinker et al.
(2010), for masses within 200 times the mean density of matter. They agree with pyccl to
0.5 % (tests/theory/test_haloes.py). Masses are in Msun/h, lengths comoving in Mpc/h.
"""

import functools
import typing

import numpy as np
import numpy.typing as npt
from scipy import interpolate

from tfp_massmap.theory import cosmology as cosmology_lib
from tfp_massmap.theory import matter_power

# Critical overdensity of the linear field at which a sphere has collapsed.
_COLLAPSE = 1.686
_OVERDENSITY = 200
MASSES = (1e10, 1e16)  # Range of masses, Msun/h.
_NUM_MASSES = 241
# Tinker et al. (2008), Table 2 and Eq. 5 to 8, for 200 times the mean density.
_AMPLITUDE, _SLOPE, _SCALE, _CUTOFF = 0.186, 1.47, 2.57, 1.19


class HaloStatistics:
  """Abundance and bias of the haloes of one cosmology.

  Args:
    cosmology: `theory.Cosmology` within the tables of the matter power.

  Attributes:
    cosmology: As given.

  Raises:
    ValueError: If the cosmology lies outside the tables.
  """

  def __init__(
    self, cosmology: cosmology_lib.Cosmology = cosmology_lib.KAPPATNG
  ) -> None:
    self.cosmology = cosmology
    linear = matter_power.LinearPower(cosmology)
    self._growth = linear.growth
    log_mass = np.linspace(np.log(MASSES[0]), np.log(MASSES[1]), _NUM_MASSES)
    radius = np.cbrt(3 * np.exp(log_mass) / (4 * np.pi * cosmology.mean_density))
    self._log_sigma = interpolate.CubicSpline(log_mass, np.log(_sigma(linear, radius)))
    self._log_mass = interpolate.CubicSpline(-self._log_sigma(log_mass), log_mass)

  def sigma(self, mass: npt.ArrayLike, redshift: float) -> np.ndarray:
    """Returns the standard deviation of the linear density in spheres of a mass.

    Args:
      mass: Masses in Msun/h from 1e10 to 1e16, of any shape.
      redshift: Redshift from 0 to 6.
    """
    return np.exp(self._log_sigma(_log_of(mass))) * self._growth(redshift)

  def abundance(self, mass: npt.ArrayLike, redshift: float) -> np.ndarray:
    """Returns dn/dlnM in (Mpc/h)^-3, of the shape of the mass.

    The source is Tinker et al. (2008, ApJ 688, 709).

    Args:
      mass: Masses in Msun/h from 1e10 to 1e16.
      redshift: Redshift from 0 to 6.
    """
    sigma = self.sigma(mass, redshift)
    slope = self._log_sigma(_log_of(mass), 1)
    a = 1 + redshift
    decline = 10 ** -((0.75 / np.log10(_OVERDENSITY / 75)) ** 1.2)
    amplitude, power = _AMPLITUDE * a**-0.14, _SLOPE * a**-0.06
    scale = _SCALE * a**-decline
    fraction = amplitude * ((sigma / scale) ** -power + 1) * np.exp(-_CUTOFF / sigma**2)
    return -fraction * slope * self.cosmology.mean_density / np.asarray(mass)

  def bias(self, mass: npt.ArrayLike, redshift: float) -> np.ndarray:
    """Returns the linear bias, of the shape of the mass.

    The source is Tinker et al. (2010, ApJ 724, 878, Eq. 6 and Table 2).

    Args:
      mass: Masses in Msun/h from 1e10 to 1e16.
      redshift: Redshift from 0 to 6.
    """
    height = _COLLAPSE / self.sigma(mass, redshift)
    y = np.log10(_OVERDENSITY)
    decay = np.exp(-((4 / y) ** 4))
    power = 0.44 * y - 0.88
    low = (1 + 0.24 * y * decay) * height**power / (height**power + _COLLAPSE**power)
    high = 0.183 * height**1.5 + (0.019 + 0.107 * y + 0.19 * decay) * height**2.4
    return 1 - low + high

  def mass_of(self, sigma: npt.ArrayLike, redshift: float) -> np.ndarray:
    """Returns the mass in Msun/h whose spheres have a standard deviation.

    Args:
      sigma: Standard deviations, of any shape; masses are held within 1e10 and 1e16.
      redshift: Redshift from 0 to 6.
    """
    at_zero = np.log(np.asarray(sigma) / self._growth(redshift))
    inside = np.clip(-at_zero, self._log_mass.x[0], self._log_mass.x[-1])
    return np.exp(self._log_mass(inside))


@functools.cache
def kappatng_haloes() -> HaloStatistics:
  """Returns the haloes of the cosmology of kappaTNG."""
  return HaloStatistics()


def _sigma(linear, radius):
  """The standard deviation in spheres at redshift 0, of the shape of the radius."""
  x = linear.wavenumber * radius[:, np.newaxis]
  # Below 1e-2 the difference of sine and cosine cancels; the window is 1 - x^2 / 10.
  window = np.where(
    x < 1e-2, 1 - x**2 / 10, 3 * (np.sin(x) - x * np.cos(x)) / np.maximum(x, 1e-2) ** 3
  )
  power = linear.power * linear.wavenumber**3 / (2 * np.pi**2)
  step = np.log(linear.wavenumber[1] / linear.wavenumber[0])
  return np.sqrt(np.trapezoid(power * window**2, dx=step, axis=-1))


def _log_of(mass: npt.ArrayLike) -> typing.Any:
  mass = np.asarray(mass, np.float64)
  if not ((mass >= MASSES[0] * (1 - 1e-9)) & (mass <= MASSES[1] * (1 + 1e-9))).all():
    raise ValueError(
      f"Masses of haloes must lie between {MASSES[0]:g} and {MASSES[1]:g} Msun/h; got"
      f" values from {mass.min():.3g} to {mass.max():.3g}."
    )
  return np.log(mass)
