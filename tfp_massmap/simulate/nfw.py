"""Convergence and shear of NFW haloes that end at their outer radius.

The source is Takada and Jain (2003a, MNRAS 340, 580, Eq. 27; 2003b, MNRAS 344, 857,
Eq. 16). A halo of mass M and concentration c ends at the radius r_200 within which its
mean density is 200 times that of matter. With x = c r / r_200 and
f = 1 / (ln(1 + c) - c / (1 + c)),

  kappa = A F(x),  gamma_t = A G(x),  A = M f c^2 / (2 pi r_200^2) / Sigma_crit.

Lengths are comoving and in Mpc/h, masses in Msun/h.
"""

import numpy as np
import numpy.typing as npt
from scipy import special

OVERDENSITY = 200
# Fraction of the outer radius by which its edge is rounded, so that x = c, which
# several expressions can round to, is outside.
_EDGE = 1e-12
# Distance that is kept from x = 1, where F is smooth but its formula is 0 / 0.
_LEAST_DISTANCE = 1e-6


def outer_radius(mass: npt.ArrayLike, density: npt.ArrayLike) -> np.ndarray:
  """Returns the radius within which the mean density is 200 times `density`.

  Args:
    mass: Masses in Msun/h, of any shape.
    density: Comoving density in h^2 Msun/Mpc^3, broadcasts with the masses.

  Returns:
    Comoving radii in Mpc/h.
  """
  return np.cbrt(3 * np.asarray(mass) / (4 * np.pi * OVERDENSITY * np.asarray(density)))


def duffy_concentration(mass: npt.ArrayLike, redshift: float) -> np.ndarray:
  """Returns the mean concentration of haloes.

  The source is Duffy et al. (2008, MNRAS 390, L64, Table 1, full sample, 200 mean).

  Args:
    mass: Masses in Msun/h, of any shape.
    redshift: Redshift of the haloes.
  """
  mass = np.asarray(mass)
  return 10.14 * (mass / 2e12) ** -0.081 * (1 + redshift) ** -1.01


def mass_factor(concentration: float | np.ndarray) -> np.ndarray:
  """Returns ln(1 + c) - c / (1 + c), the mass in units of 4 pi rho_s r_s^3."""
  return np.log1p(concentration) - concentration / (1 + concentration)


def convergence_shape(x: npt.ArrayLike, concentration: npt.ArrayLike) -> np.ndarray:
  """Returns F(x) of Takada and Jain, 0 beyond the edge, x > c.

  Args:
    x: Radius in scale radii, positive, of any shape.
    concentration: c, broadcasts with `x`.

  Returns:
    float64 of the broadcast shape.
  """
  x_inside, c, _, inside = _split(x, concentration)
  edge = np.sqrt(c**2 - x_inside**2) / (1 + c)
  return np.where(inside, (_arc(x_inside, c) - edge) / (1 - x_inside**2), 0.0)


def shear_shape(x: npt.ArrayLike, concentration: npt.ArrayLike) -> np.ndarray:
  """Returns G(x) of Takada and Jain, that of a point mass beyond the edge.

  Args:
    x: Radius in scale radii, positive, of any shape.
    concentration: c, broadcasts with `x`.

  Returns:
    float64 of the broadcast shape.
  """
  x_inside, c, x, inside = _split(x, concentration)
  root = np.sqrt(c**2 - x_inside**2)
  mass = root / (1 + c) - c / (1 + c) + np.log(x_inside * (1 + c) / (c + root))
  projected = 2 / x_inside**2 * (mass + _arc(x_inside, c))
  return np.where(
    inside,
    projected - convergence_shape(x_inside, c),
    2 * mass_factor(c) / np.maximum(x, 1e-300) ** 2,
  )


def fourier_profile(
  frequency: npt.ArrayLike, concentration: npt.ArrayLike
) -> np.ndarray:
  """Returns the Fourier transform of a halo over its mass.

  It is the same function in projection and in space. The source is Cooray and Sheth
  (2002, Eq. 81).

  Args:
    frequency: Angular frequency times the scale radius, positive, of any shape.
    concentration: c, broadcasts with `frequency`.

  Returns:
    float64 of the broadcast shape, 1 at frequency 0.
  """
  q, c = np.broadcast_arrays(np.asarray(frequency, np.float64), concentration)
  sine_outer, cosine_outer = special.sici((1 + c) * q)
  sine_inner, cosine_inner = special.sici(q)
  total = (
    np.sin(q) * (sine_outer - sine_inner)
    - np.sin(c * q) / ((1 + c) * q)
    + np.cos(q) * (cosine_outer - cosine_inner)
  )
  return total / mass_factor(c)


def _split(x, concentration):
  """Returns x moved to where the formulas hold, c, x, and whether x is inside the halo.

  All four have the broadcast shape.
  """
  x, c = np.broadcast_arrays(np.asarray(x, np.float64), concentration)
  inside = x < c * (1 - _EDGE)
  x_inside = np.where(inside, x, 0.5 * c)
  near_one = np.abs(x_inside - 1) < _LEAST_DISTANCE
  return np.where(near_one, 1 - _LEAST_DISTANCE, x_inside), c, x, inside


def _arc(x, c):
  """Returns arccosh(v) / sqrt(1 - x^2), or arccos(v) / sqrt(x^2 - 1) for x > 1.

  Here v = (x^2 + c) / (x + x c). The half-angle formula keeps its digits near x = 1.
  """
  edge = np.sqrt((c - x) / (c + x))
  t = edge * np.sqrt(np.abs(1 - x) / (1 + x))
  inner = np.arctanh(np.where(x < 1, t, 0.0))
  outer = np.arctan(t)
  return 2 * edge / (1 + x) * np.where(x < 1, inner, outer) / t
