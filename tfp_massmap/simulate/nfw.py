"""Convergence and shear of NFW haloes cut off at their outer radius.

Takada & Jain (2003a, MNRAS 340, 580, Eq. 27; 2003b, MNRAS 344, 857, Eq. 16). A halo of
mass M and concentration c ends at the radius r_200 within which its mean density is
200 times that of matter. With x = c r / r_200 and f = 1 / (ln(1 + c) - c / (1 + c)),

  kappa = A F(x),  gamma_t = A G(x),  A = M f c^2 / (2 pi r_200^2) / Sigma_crit.

Lengths are comoving Mpc/h, masses Msun/h.
"""

import numpy as np
from scipy import special

from tfp_massmap.simulate import cosmology

OVERDENSITY = 200


def outer_radius(mass, density=cosmology.MEAN_DENSITY):
  """Comoving radius in Mpc/h within which the mean density is 200 times `density`."""
  return np.cbrt(3 * np.asarray(mass) / (4 * np.pi * OVERDENSITY * density))


def duffy_concentration(mass, redshift):
  """Mean concentration of haloes, Duffy et al. (2008, Table 1, 200 mean, full)."""
  mass = np.asarray(mass)
  return 10.14 * (mass / 2e12) ** -0.081 * (1 + redshift) ** -1.01


def mass_factor(concentration):
  """ln(1 + c) - c / (1 + c), the mass within r_200 in units of 4 pi rho_s r_s^3."""
  return np.log1p(concentration) - concentration / (1 + concentration)


def convergence_shape(x, concentration):
  """F(x) of Takada & Jain; 0 beyond the edge, x > c.

  Args:
    x: radius in scale radii, positive, any shape.
    concentration: c, broadcast against `x`.

  Returns:
    float64 of the broadcast shape.
  """
  x, c = np.broadcast_arrays(np.asarray(x, np.float64), concentration)
  inside = x < c * (1 - 1e-12)
  x = _off_one(np.where(inside, x, 0.5 * c))
  edge = np.sqrt(c**2 - x**2) / (1 + c)
  return np.where(inside, (_arc(x, c) - edge) / (1 - x**2), 0.0)


def shear_shape(x, concentration):
  """G(x) of Takada & Jain; that of a point mass beyond the edge.

  Args:
    x: radius in scale radii, positive, any shape.
    concentration: c, broadcast against `x`.

  Returns:
    float64 of the broadcast shape.
  """
  x, c = np.broadcast_arrays(np.asarray(x, np.float64), concentration)
  inside = x < c * (1 - 1e-12)
  x_in = _off_one(np.where(inside, x, 0.5 * c))
  root = np.sqrt(c**2 - x_in**2)
  mass = root / (1 + c) - c / (1 + c) + np.log(x_in * (1 + c) / (c + root))
  projected = 2 / x_in**2 * (mass + _arc(x_in, c))
  return np.where(
    inside,
    projected - convergence_shape(x_in, c),
    2 * mass_factor(c) / np.maximum(x, 1e-300) ** 2,
  )


def fourier_profile(frequency, concentration):
  """Fourier transform of the halo over its mass (Cooray & Sheth 2002, Eq. 81).

  In projection and in space it is the same function.

  Args:
    frequency: angular frequency times the scale radius, positive, any shape.
    concentration: c, broadcast against `frequency`.

  Returns:
    float64 of the broadcast shape; 1 at frequency 0.
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


def _off_one(x):
  """Keeps x from 1, where F is smooth but its formula is 0 / 0."""
  return np.where(np.abs(x - 1) < 1e-6, 1 - 1e-6, x)


def _arc(x, c):
  """arccosh(u) / sqrt(1 - x^2), or arccos(u) / sqrt(x^2 - 1), u = (x^2 + c)/(x + xc).

  By the half-angle formula, which keeps its digits near x = 1.
  """
  edge = np.sqrt((c - x) / (c + x))
  t = edge * np.sqrt(np.abs(1 - x) / (1 + x))
  inner = np.arctanh(np.where(x < 1, t, 0.0))
  outer = np.arctan(t)
  return 2 * edge / (1 + x) * np.where(x < 1, inner, outer) / t
