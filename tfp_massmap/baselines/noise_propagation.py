"""Noise of a map that an estimator makes of noisy shear, exact or by random draws.

It is the scatter of an estimator about its own mean. The bias of smoothing and of
thresholds is not included, so that it is smaller than the error.
"""

from collections.abc import Callable
from collections.abc import Sequence
import typing

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfp_massmap import lensing
from tfp_massmap import shear_map as shear_map_lib

# Smallest variance, over the largest of a map: far from any noise the transforms round
# to either sign, at 1e-16 of the largest value.
_LEAST_VARIANCE = 1e-12


def filtered_variance(
  pixel_variance: npt.ArrayLike, transfer: npt.ArrayLike
) -> np.ndarray:
  """Returns the variance of the filtered E-mode convergence of independent noise.

  Args:
    pixel_variance: Variance of gamma_1 and gamma_2, `[2, ny, nx]`.
    transfer: Real transfer function on the modes of `rfft2`, `[..., ny, nx // 2 + 1]`.

  Returns:
    float64 `[..., ny, nx]`, exact.
  """
  pixel_variance = np.asarray(pixel_variance, np.float64)
  sides = pixel_variance.shape[-2:]
  impulse = np.zeros([2, 2, *sides])
  impulse[[0, 1], [0, 1], 0, 0] = 1
  response = lensing.modes_from_shear(tf.constant(impulse)).numpy()
  variance: typing.Any = 0.0
  for modes, noise in zip(response, pixel_variance):
    kernel = np.fft.irfft2(np.asarray(transfer) * modes, s=sides)
    product = np.fft.rfft2(kernel**2) * np.fft.rfft2(noise)
    variance = variance + np.fft.irfft2(product, s=sides)
  least = _LEAST_VARIANCE * variance.max(axis=(-2, -1), keepdims=True)
  return np.maximum(variance, least)


def standard_deviation(
  reconstruct: Callable[[tf.Tensor], tf.Tensor],
  shear_map: shear_map_lib.ShearMap,
  *,
  num_realisations: int,
  seed: int,
) -> np.ndarray:
  """Returns the standard deviation of an estimator by draws of the noise.

  New noise is added to the shear of the estimate itself.

  Args:
    reconstruct: Function of shear, float32 `[batch, 2, ny, nx]`, that returns
      convergence `[batch, ny, nx]`.
    shear_map: Data with their noise and mask.
    num_realisations: Number of draws, at least 2.
    seed: Seed of the draws.

  Returns:
    float32 `[ny, nx]`, with a relative error of (2 (num_realisations - 1))^-1/2 in each
    pixel.

  Raises:
    ValueError: If there are fewer than two draws.
  """
  if num_realisations < 2:
    raise ValueError(
      "A standard deviation needs at least 2 noise realisations; got"
      f" num_realisations = {num_realisations}."
    )
  shear, _ = weighted_data(shear_map)
  kappa = reconstruct(shear[tf.newaxis])[0]
  signal = lensing.shear_from_convergence(kappa).numpy()
  rng = np.random.default_rng(seed)
  maps = []
  for _ in range(num_realisations):
    noise = shear_map.noise_std * rng.standard_normal(signal.shape)
    shear = np.where(shear_map.mask, signal + noise, 0).astype(np.float32)
    maps.append(reconstruct(tf.constant(shear[np.newaxis])).numpy()[0])
  return np.std(maps, axis=0, ddof=1)


def weighted_data(shear_map: shear_map_lib.ShearMap) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns shear and inverse variance, 0 in masked pixels, float32 `[2, ny, nx]`."""
  mask = shear_map.mask
  shear = np.where(mask, shear_map.shear, 0)
  weight = mask / np.where(mask, shear_map.noise_std, 1) ** 2
  return tf.constant(shear, tf.float32), tf.constant(weight, tf.float32)


def checked_thresholds(
  thresholds: Sequence[float], shape: tuple[int, int], *, finest_scale: int = 1
) -> np.ndarray:
  """Returns the thresholds of starlet scales as float64 `[num_scales, 1, 1]`.

  Args:
    thresholds: One positive number for each scale, from fine to coarse.
    shape: `(ny, nx)` of the map.
    finest_scale: Scale of the first threshold, with structure of 2^finest_scale pixels.

  Raises:
    ValueError: If the thresholds are not a sequence of positive numbers, or the
      coarsest scale does not fit into the map.
  """
  factors = np.asarray(thresholds, np.float64)
  if factors.ndim != 1 or not factors.size or not (factors > 0).all():
    raise ValueError(
      "thresholds must be positive numbers, one for each starlet scale from fine to"
      f" coarse, such as (3.25, 2.25, 2.25); got {thresholds!r}."
    )
  most = int(np.log2(min(shape))) - finest_scale + 1
  if len(factors) > most:
    raise ValueError(
      f"{len(factors)} thresholds, for starlet scales of {2**finest_scale} to"
      f" {2 ** (finest_scale + len(factors) - 1)} pixels, do not fit into a map of"
      f" shape {tuple(shape)}, which has room for {max(most, 0)}. Give fewer"
      " thresholds."
    )
  return factors[:, np.newaxis, np.newaxis]
