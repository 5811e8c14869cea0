"""What noise of the shear becomes in a map: exact for linear filters, else by draws.

The scatter of an estimator about its own mean. It knows nothing of what the estimator
leaves out (the bias of smoothing and of thresholds): it is smaller than the error.
"""

import numpy as np
import tensorflow as tf

from tfp_massmap import lensing


def filtered_variance(pixel_variance, transfer):
  """Variance of the E-mode convergence of independent noise, after a filter.

  Args:
    pixel_variance: of gamma_1 and gamma_2, `[2, ny, nx]`.
    transfer: real transfer function on the modes of `rfft2`, `[..., ny, nx // 2 + 1]`.

  Returns:
    float64 `[..., ny, nx]`, exact.
  """
  pixel_variance = np.asarray(pixel_variance, np.float64)
  sides = pixel_variance.shape[-2:]
  impulse = np.zeros([2, 2, *sides])
  impulse[[0, 1], [0, 1], 0, 0] = 1
  response = lensing.modes_from_shear(tf.constant(impulse)).numpy()
  variance = 0.0
  for modes, noise in zip(response, pixel_variance):
    kernel = np.fft.irfft2(np.asarray(transfer) * modes, s=sides)
    product = np.fft.rfft2(kernel**2) * np.fft.rfft2(noise)
    variance = variance + np.fft.irfft2(product, s=sides)
  # Far from any noise the transforms round to either sign.
  return np.maximum(variance, 1e-12 * variance.max(axis=(-2, -1), keepdims=True))


def standard_deviation(reconstruct, shear_map, *, num_realisations, seed):
  """Standard deviation of any estimator: new noise on the shear of its own estimate.

  Args:
    reconstruct: function of shear `[batch, 2, ny, nx]`, float32, to convergence
      `[batch, ny, nx]`.
    shear_map: `shear_map.ShearMap`.
    num_realisations: how many, at least 2.
    seed: integer.

  Returns:
    `[ny, nx]`, float32; of relative error (2 (num_realisations - 1))^-1/2 a pixel.

  Raises:
    ValueError: for fewer than two realisations.
  """
  if num_realisations < 2:
    raise ValueError(
      "A standard deviation needs at least 2 noise realisations; got"
      f" {num_realisations}."
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


def weighted_data(shear_map):
  """Shear and inverse variance, float32 `[2, ny, nx]`, zero in masked pixels."""
  mask = shear_map.mask
  shear = np.where(mask, shear_map.shear, 0)
  weight = mask / np.where(mask, shear_map.noise_std, 1) ** 2
  return tf.constant(shear, tf.float32), tf.constant(weight, tf.float32)


def checked_thresholds(thresholds, shape, *, finest_scale=1):
  """Thresholds of starlet scales as float64 `[num_scales, 1, 1]`.

  Args:
    thresholds: one for each scale, from fine to coarse.
    shape: `(ny, nx)` of the map.
    finest_scale: the scale of the first threshold, of 2^finest_scale pixels.

  Raises:
    ValueError: if they are not a sequence of positive numbers, or the coarsest scale
      does not fit into the map.
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
      f" shape {tuple(shape)}, which has room for {max(most, 0)}: give fewer thresholds."
    )
  return factors[:, np.newaxis, np.newaxis]
