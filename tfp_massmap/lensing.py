"""Kaiser-Squires operators between convergence and shear, on the flat sky.

In Fourier space, with k along (columns, rows) (Remy et al. 2022, Eq. 6 and 7),

  gamma_1 + i gamma_2 = (k1^2 - k2^2 + 2 i k1 k2) / k^2 (kappa_E + i kappa_B).

The operator P is an isometry on all modes except k = 0, where it is zero: shear carries
no information about the mean convergence (mass-sheet degeneracy). Maps are periodic.

On an even side the Nyquist frequency has no sign, so that the multiplier's part that is
odd in it has no counterpart in a real field. There the even part is kept and scaled to
unit modulus. Maps then stay real, and P'P = 1 holds for every mode except k = 0.

Source: N. Kaiser and G. Squires 1993, ApJ 404, 441.
"""

import functools

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfp_massmap import geometry


def shear_from_convergence(
  kappa_e: tf.Tensor | npt.ArrayLike, kappa_b: tf.Tensor | npt.ArrayLike | None = None
) -> tf.Tensor:
  """Returns the shear of a convergence map (Remy et al. 2022, Eq. 7).

  Args:
    kappa_e: E-mode convergence, float `[..., ny, nx]`.
    kappa_b: B-mode convergence of the same shape and dtype, or None for none.

  Returns:
    `[..., 2, ny, nx]`: gamma_1 and gamma_2, of mean zero.

  Raises:
    ValueError: If the map sides are not statically known.
  """
  kappa_e = tf.convert_to_tensor(kappa_e)
  if kappa_b is None:
    return _shear_of_e_mode(kappa_e)
  kappa_b = tf.convert_to_tensor(kappa_b, dtype=kappa_e.dtype)
  b_shear = _shear_of_e_mode(kappa_b)
  # i (gamma_1 + i gamma_2): a B mode is an E mode turned by 45 degrees.
  rotated = tf.stack([-b_shear[..., 1, :, :], b_shear[..., 0, :, :]], axis=-3)
  return _shear_of_e_mode(kappa_e) + rotated


def convergence_from_shear(
  shear: tf.Tensor | npt.ArrayLike,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns the E- and B-mode convergence of a shear map (Remy et al. 2022, Eq. 6, 7).

  Args:
    shear: Float `[..., 2, ny, nx]`.

  Returns:
    `(kappa_e, kappa_b)`, each `[..., ny, nx]`, of mean zero.

  Raises:
    ValueError: If the axis before the map sides is not of length 2, or the sides are
      not statically known.
  """
  shear = tf.convert_to_tensor(shear)
  if shear.shape.rank is None or shear.shape.rank < 3 or shear.shape[-3] != 2:
    raise ValueError(
      f"shear must be [..., 2, ny, nx]; got shape {shear.shape}. Stack gamma_1 and"
      " gamma_2 on axis -3."
    )
  rotated = tf.stack([shear[..., 1, :, :], -shear[..., 0, :, :]], axis=-3)
  return _e_mode_of_shear(shear), _e_mode_of_shear(rotated)


def shear_from_modes(kappa_modes: tf.Tensor, sides: tuple[int, int]) -> tf.Tensor:
  """Returns the shear of an E-mode convergence map that is given by its Fourier modes.

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


def modes_from_shear(shear: tf.Tensor) -> tf.Tensor:
  """Returns the Fourier modes of the E-mode convergence of a shear map.

  It is the adjoint of `shear_from_modes`.

  Args:
    shear: Float `[..., 2, ny, nx]`.

  Returns:
    Complex `[..., ny, nx // 2 + 1]`.

  Raises:
    ValueError: If the map sides are not statically known.
  """
  cos2, sin2 = _multipliers(_static_sides(shear), shear.dtype)
  modes = tf.signal.rfft2d(shear)
  return cos2 * modes[..., 0, :, :] + sin2 * modes[..., 1, :, :]


def tangential_shear(
  shear: npt.ArrayLike, center: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the tangential and cross shear about a pixel.

  gamma_t + i gamma_x = -(gamma_1 + i gamma_2) exp(-2 i phi), so that gamma_t is
  positive around an overdensity.

  Args:
    shear: `[..., 2, ny, nx]`.
    center: Fractional `(row, column)`.

  Returns:
    `(gamma_t, gamma_x)`, each `[..., ny, nx]`.
  """
  shear = np.asarray(shear)
  ny, nx = shear.shape[-2:]
  phi = np.arctan2(np.arange(ny)[:, np.newaxis] - center[0], np.arange(nx) - center[1])
  rotated = -(shear[..., 0, :, :] + 1j * shear[..., 1, :, :]) * np.exp(-2j * phi)
  return rotated.real, rotated.imag


# The two operators are each other's adjoint, so that each is the other's gradient, to
# every order. This takes half the transforms of differentiating through rfft2d.
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
      f"The map sides must be known when the graph is built; got shape {maps.shape}."
      " Set them with tf.ensure_shape."
    )
  return sides


def _multipliers(sides, dtype):
  cos2, sin2 = _unit_multipliers(tuple(sides))
  complex_dtype = tf.complex128 if dtype == tf.float64 else tf.complex64
  return tf.constant(cos2, complex_dtype), tf.constant(sin2, complex_dtype)


@functools.lru_cache(maxsize=16)
def _unit_multipliers(sides):
  """Returns cos and sin of twice the angle of k, `[ny, nx // 2 + 1]`."""
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
  # The odd part survives only where both frequencies are their own negatives.
  odd_is_even = np.isclose(np.abs(k1), np.pi) & np.isclose(np.abs(k2), np.pi)
  change = self_conjugate & ~odd_is_even
  cos2 = np.where(change, np.where(cos2 < 0, -1.0, 1.0), cos2)
  sin2 = np.where(change, 0.0, sin2)
  corner = self_conjugate & odd_is_even
  cos2 = np.where(corner, 0.0, cos2)
  sin2 = np.where(corner, 1.0, sin2)
  return cos2, sin2
