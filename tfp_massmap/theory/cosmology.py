"""Flat LCDM cosmologies in which Omega_m and sigma_8 vary.

Weak lensing measures hardly more than these two. The Hubble parameter, the density of
baryons and the spectral index are those of the kappaTNG simulations (Osato et al. 2021).
Lengths are comoving and in Mpc/h, masses in Msun/h, as usual in simulations.
"""

import dataclasses
import functools
import re
import typing

from astropy import constants
from astropy import cosmology as astropy_cosmology
from astropy import units as u
import numpy as np
import numpy.typing as npt
from scipy import interpolate

HUBBLE = 0.6774
OMEGA_BARYON = 0.0486
SPECTRAL_INDEX = 0.9667

# c / H0 in Mpc/h.
HUBBLE_DISTANCE = (constants.c / (100 * u.km / u.s / u.Mpc)).to_value(u.Mpc)

# Splines of distances reach far beyond any source, and agree with astropy to 1e-9
# (tests/theory/test_cosmology.py).
_MAX_REDSHIFT = 12.0
_REDSHIFT = np.expm1(np.linspace(0, np.log1p(_MAX_REDSHIFT), 1500))

# Names of the two in texts, in small letters, and of the fields they stand for.
NAMES = {"omega_m": "omega_matter", "omega_matter": "omega_matter"}
NAMES |= {"sigma_8": "sigma_8", "sigma8": "sigma_8"}


@dataclasses.dataclass(frozen=True)
class Cosmology:
  """A flat LCDM cosmology; the defaults are those of kappaTNG.

  Attributes:
    omega_matter: Density of matter today, over the critical density.
    sigma_8: Standard deviation today of the linear density in spheres of 8 Mpc/h.

  Raises:
    ValueError: If there is less matter than baryons, or more than in a universe without
      dark energy, or sigma_8 is not positive.
  """

  omega_matter: float = 0.3089
  sigma_8: float = 0.8159

  def __post_init__(self) -> None:
    object.__setattr__(self, "omega_matter", float(self.omega_matter))
    object.__setattr__(self, "sigma_8", float(self.sigma_8))
    if not OMEGA_BARYON < self.omega_matter <= 1:
      raise ValueError(
        f"omega_matter must be above {OMEGA_BARYON}, the baryons', and at most 1; got"
        f" {self.omega_matter}."
      )
    if not 0 < self.sigma_8 < np.inf:
      raise ValueError(f"sigma_8 must be positive; got {self.sigma_8}.")

  def __str__(self) -> str:
    return f"Omega_m={self.omega_matter:g}, sigma_8={self.sigma_8:g}"

  @classmethod
  def parse(cls, text: str) -> typing.Self:
    """Reads a cosmology such as "sigma_8=0.80,Omega_m=0.31".

    Args:
      text: Names and values; what is left out has its default.

    Raises:
      ValueError: If a name is unknown or given twice, or a value is not a number or out
        of its range.
    """
    values: dict[str, float] = {}
    for part in filter(None, re.split(r"[,\s]+", text.strip())):
      name, equals, value = part.partition("=")
      field = NAMES.get(name.lower())
      if field is None or not equals or field in values:
        raise ValueError(
          f"A cosmology has the form sigma_8=0.80,Omega_m=0.31; got {text!r}, in which"
          f" {part!r} is not one of the two, or is a second value."
        )
      try:
        values[field] = float(value)
      except ValueError:
        raise ValueError(f"{value!r} in {text!r} is not a number.") from None
    return cls(**values)

  @functools.cached_property
  def mean_density(self) -> float:
    """Mean comoving density of matter in h^2 Msun/Mpc^3: Omega_m 3 H0^2 / (8 pi G)."""
    critical = self._background.critical_density0.to_value(u.Msun / u.Mpc**3)
    return self.omega_matter * critical

  def comoving_distance(self, redshift: npt.ArrayLike) -> np.ndarray:
    """Returns the comoving distance in Mpc/h, of the shape of the redshift.

    Args:
      redshift: Redshifts from 0 to 12, of any shape.

    Raises:
      ValueError: If a redshift lies outside that range.
    """
    forward, _ = self._splines
    return forward(_check_range("redshift", redshift, _MAX_REDSHIFT))

  def redshift_at(self, distance: npt.ArrayLike) -> np.ndarray:
    """Returns the redshift at a comoving distance, the inverse of `comoving_distance`.

    Args:
      distance: Comoving distances in Mpc/h, up to that of redshift 12, of any shape.

    Raises:
      ValueError: If a distance lies outside that range.
    """
    _, inverse = self._splines
    return inverse(_check_range("distance", distance, inverse.x[-1]))

  def critical_density(self, redshift: npt.ArrayLike) -> np.ndarray:
    """Returns the comoving critical density in h^2 Msun/Mpc^3.

    Args:
      redshift: Redshifts of any shape.
    """
    dark_energy = (1 - self.omega_matter) / (1 + np.asarray(redshift)) ** 3
    return self.mean_density * (self.omega_matter + dark_energy) / self.omega_matter

  def lensing_prefactor(self, distance: npt.ArrayLike) -> np.ndarray:
    """Returns the lensing kernel W(chi) for sources infinitely far, in h/Mpc.

    Args:
      distance: Comoving distances in Mpc/h, of any shape.
    """
    distance = np.asarray(distance, np.float64)
    prefactor = 1.5 * self.omega_matter / HUBBLE_DISTANCE**2
    return prefactor * (1 + self.redshift_at(distance)) * distance

  @functools.cached_property
  def _background(self):
    # With H0 = 100 km/s/Mpc, a Mpc is a Mpc/h.
    return astropy_cosmology.FlatLambdaCDM(
      H0=100, Om0=self.omega_matter, Ob0=OMEGA_BARYON
    )

  @functools.cached_property
  def _splines(self):
    distance = self._background.comoving_distance(_REDSHIFT).to_value(u.Mpc)
    forward = interpolate.CubicSpline(_REDSHIFT, distance)
    return forward, interpolate.CubicSpline(distance, _REDSHIFT)


KAPPATNG = Cosmology()


def _check_range(name, values, upper):
  values = np.asarray(values, np.float64)
  if not ((values >= 0) & (values <= upper)).all():
    raise ValueError(
      f"{name} must lie between 0 and {upper:.4g}; got values from"
      f" {values.min():.4g} to {values.max():.4g}."
    )
  return values
