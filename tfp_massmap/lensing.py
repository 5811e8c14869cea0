"""Kaiser-Squires operators between convergence and shear, on the flat sky.

In Fourier space, with k along (columns, rows) (paper Eq. 6 and 7),

  gamma_1 + i gamma_2 = (k1^2 - k2^2 + 2 i k1 k2) / k^2 (kappa_E + i kappa_B).

The operator is an isometry but for k = 0, where it is zero: shear does not know the
mean convergence (mass-sheet degeneracy). Maps are periodic.

On an even side the Nyquist frequency has no sign, so no real field can carry the
part of the multiplier that is odd in it. There the even part is kept and scaled
to unit modulus: maps stay real and P'P = 1 holds for every mode but k = 0.

Source: N. Kaiser and G. Squires 1993, ApJ 404, 441.
"""

import functools

import numpy as np
import tensorflow as tf

from tfp_massmap import geometry


def shear_from_convergence(kappa_e, kappa_b=None):
  """Shear of a convergence map, paper Eq. 7.

  Args:
    kappa_e: float tensor `[..., ny, nx]`, E-mode convergence.
    kappa_b: optional B-mode convergence, same shape and dtype.

  Returns:
    `[..., 2, ny, nx]`: gamma_1 and gamma_2, mean zero.

  Raises:
    ValueError: if the map sides are not statically known.
  """
  kappa_e = tf.convert_to_tensor(kappa_e)
  if kappa_b is None:
    return _shear_of_e_mode(kappa_e)
  kappa_b = tf.convert_to_tensor(kappa_b, dtype=kappa_e.dtype)
  b_shear = _shear_of_e_mode(kappa_b)
  # i (gamma_1 + i gamma_2): a B mode is an E mode turned by 45 degrees.
  rotated = tf.stack([-b_shear[..., 1, :, :], b_shear[..., 0, :, :]], axis=-3)
  return _shear_of_e_mode(kappa_e) + rotated


def convergence_from_shear(shear):
  """E- and B-mode convergence of a shear map, paper Eq. 6 and 7.

  Args:
    shear: float tensor `[..., 2, ny, nx]`.

  Returns:
    `(kappa_e, kappa_b)`, each `[..., ny, nx]`, mean zero.

  Raises:
    ValueError: if the axis before the map sides is not 2, or the sides unknown.
  """
  shear = tf.convert_to_tensor(shear)
  if shear.shape.rank is None or shear.shape.rank < 3 or shear.shape[-3] != 2:
    raise ValueError(
      f"shear must be [..., 2, ny, nx]; got shape {shear.shape}. Stack gamma_1 and"
      " gamma_2 on axis -3."
    )
  rotated = tf.stack([shear[..., 1, :, :], -shear[..., 0, :, :]], axis=-3)
  return _e_mode_of_shear(shear), _e_mode_of_shear(rotated)


def shear_from_modes(kappa_modes, sides):
  """Shear of the Fourier modes of an E-mode convergence map.

  Args:
    kappa_modes: `rfft2` of the map, complex `[..., ny, nx // 2 + 1]`.
    sides: `(ny, nx)`.

  Returns:
    Float `[..., 2, ny, nx]`.
  """
  cos2, sin2 = _multipliers(sides, kappa_modes.dtype.real_dtype)
  return _inverse(
    tf.stack([cos2 * kappa_modes, sin2 * kappa_modes], axis=-3), list(sides)
  )


def modes_from_shear(shear):
  """Fourier modes of the E-mode convergence of a shear map, adjoint of the above.

  Args:
    shear: float `[..., 2, ny, nx]`.

  Returns:
    Complex `[..., ny, nx // 2 + 1]`.
  """
  cos2, sin2 = _multipliers(_static_sides(shear), shear.dtype)
  modes = tf.signal.rfft2d(shear)
  return cos2 * modes[..., 0, :, :] + sin2 * modes[..., 1, :, :]


def tangential_shear(shear, center):
  """Tangential and cross shear about a pixel.

  gamma_t + i gamma_x = -(gamma_1 + i gamma_2) exp(-2 i phi), positive gamma_t
  around an overdensity.

  Args:
    shear: array `[..., 2, ny, nx]`.
    center: `(row, column)` in pixels, fractional allowed.

  Returns:
    `(gamma_t, gamma_x)`, each `[..., ny, nx]`, NumPy.
  """
  shear = np.asarray(shear)
  ny, nx = shear.shape[-2:]
  phi = np.arctan2(np.arange(ny)[:, np.newaxis] - center[0], np.arange(nx) - center[1])
  rotated = -(shear[..., 0, :, :] + 1j * shear[..., 1, :, :]) * np.exp(-2j * phi)
  return rotated.real, rotated.imag


# The two operators are each other's adjoint, so each is the other's gradient: half
# the transforms of differentiating through rfft2d, to every order.
@tf.custom_gradient
def _shear_of_e_mode(kappa):
  sides = _static_sides(kappa)
  return shear_from_modes(tf.signal.rfft2d(kappa), sides), _e_mode_of_shear


@tf.custom_gradient
def _e_mode_of_shear(shear):
  kappa = _inverse(modes_from_shear(shear), _static_sides(shear))
  return kappa, _shear_of_e_mode


def _inverse(modes, sides):
  return tf.signal.irfft2d(modes, fft_length=sides)


def _static_sides(maps):
  sides = maps.shape[-2:].as_list()
  if None in sides:
    raise ValueError(
      f"The map sides must be known when the graph is built; got {maps.shape}."
      " Set them with tf.ensure_shape."
    )
  return sides


def _multipliers(sides, dtype):
  cos2, sin2 = _unit_multipliers(tuple(sides))
  complex_dtype = tf.complex128 if dtype == tf.float64 else tf.complex64
  return tf.constant(cos2, complex_dtype), tf.constant(sin2, complex_dtype)


@functools.lru_cache(maxsize=16)
def _unit_multipliers(sides):
  """cos and sin of twice the angle of k, `[ny, nx // 2 + 1]`."""
  k1, k2 = geometry.fourier_frequencies(sides)
  square = k1**2 + k2**2
  square[0, 0] = 1
  cos2 = (k1**2 - k2**2) / square
  sin2 = 2 * k1 * k2 / square
  self_conjugate = np.zeros(square.shape, bool)
  ny, nx = sides
  if nx % 2 == 0:
    self_conjugate[:, -1] = True
  if ny % 2 == 0:
    self_conjugate[ny // 2, :] = True
  # Only where both frequencies are their own negative is the odd part allowed.
  odd_is_even = np.isclose(np.abs(k1), np.pi) & np.isclose(np.abs(k2), np.pi)
  change = self_conjugate & ~odd_is_even
  cos2 = np.where(change, np.where(cos2 < 0, -1.0, 1.0), cos2)
  sin2 = np.where(change, 0.0, sin2)
  corner = self_conjugate & odd_is_even
  cos2 = np.where(corner, 0.0, cos2)
  sin2 = np.where(corner, 1.0, sin2)
  return cos2, sin2
