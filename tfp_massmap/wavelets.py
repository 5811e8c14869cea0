"""Starlet transform: isotropic undecimated wavelets on the B3 spline.

Following Starck, Fadili and Murtagh (2007), c_0 is the map, and c_{j+1} is c_j smoothed
in both directions by the kernel [1, 4, 6, 4, 1] / 16 with 2^j - 1 zeros between its
coefficients. The wavelet coefficients of scale j + 1 are w_{j+1} = c_j - c_{j+1}. The
map is the sum of all w_j and of the last c_J. Scale j has structure of about 2^j
pixels.
"""

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfp_massmap import geometry

_B3_SPLINE = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def starlet(maps: tf.Tensor | npt.ArrayLike, num_scales: int) -> tf.Tensor:
  """Returns the starlet coefficients of maps, with reflecting edges.

  Args:
    maps: float32 or float64 `[..., ny, nx]`.
    num_scales: Number of wavelet scales, J; 2^J pixels must fit into the map.

  Returns:
    `[..., J + 1, ny, nx]` of the maps' dtype: w_1 to w_J, then c_J. Their sum over the
    axis of scales is the map.

  Raises:
    ValueError: If `num_scales` is not positive, or too large for the map.
  """
  maps = tf.convert_to_tensor(maps)
  _check_num_scales(maps.shape[-2:], num_scales)
  smooth, scales = maps, []
  for scale in range(num_scales):
    smoother = _smooth(_smooth(smooth, scale, axis=-1), scale, axis=-2)
    scales.append(smooth - smoother)
    smooth = smoother
  return tf.stack([*scales, smooth], axis=-3)


def fourier_filters(shape: tuple[int, int], num_scales: int) -> np.ndarray:
  """Returns the transfer functions of the starlet scales of a periodic map.

  They add up to 1. Applied to `rfft2` modes, all scales cost one inverse transform
  each. Away from the edges the coefficients are those of `starlet`.

  Args:
    shape: `(ny, nx)`.
    num_scales: J, as in `starlet`.

  Returns:
    float64 `[J + 1, ny, nx // 2 + 1]`: w_1 to w_J, then c_J.

  Raises:
    ValueError: As `starlet`.
  """
  _check_num_scales(shape, num_scales)
  frequencies = geometry.fourier_frequencies(shape)
  smooth = np.ones([shape[0], shape[1] // 2 + 1])
  filters = []
  for scale in range(num_scales):
    smoother = smooth
    for k in frequencies:
      centre, near, far = _B3_SPLINE[2], _B3_SPLINE[3], _B3_SPLINE[4]
      cosines = near * np.cos(2**scale * k) + far * np.cos(2 * 2**scale * k)
      smoother = smoother * (centre + 2 * cosines)
    filters.append(smooth - smoother)
    smooth = smoother
  return np.stack([*filters, smooth])


def coefficients_of_modes(
  modes: tf.Tensor, filters: tf.Tensor, *, shape: tuple[int, int]
) -> tf.Tensor:
  """Returns the wavelet coefficients of maps that are given by their Fourier modes.

  Args:
    modes: `rfft2` of the maps, complex `[batch, ny, nx // 2 + 1]`.
    filters: Transfer functions, float `[num_scales, ny, nx // 2 + 1]`.
    shape: `(ny, nx)`.

  Returns:
    Float `[batch, num_scales, ny, nx]`.
  """
  filtered = tf.cast(filters, modes.dtype) * modes[:, tf.newaxis]
  return tf.signal.irfft2d(filtered, fft_length=list(shape))


def _check_num_scales(shape, num_scales):
  most = int(np.log2(min(shape)))
  if not 1 <= num_scales <= most:
    raise ValueError(
      f"num_scales must lie between 1 and {most} for maps of shape"
      f" {tuple(shape)}; got {num_scales}."
    )


def _smooth(maps, scale, axis):
  size = maps.shape[axis]
  total = 0.0
  for offset, weight in zip(range(-2, 3), _B3_SPLINE):
    places = _reflect(np.arange(size) + offset * 2**scale, size)
    total += weight * tf.gather(maps, places, axis=axis)
  return total


def _reflect(places, size):
  """Returns the indices of a signal that is mirrored at its first and last samples."""
  period = 2 * (size - 1)
  places = np.abs(places) % period
  return np.minimum(places, period - places)
