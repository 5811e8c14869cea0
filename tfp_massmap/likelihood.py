"""Shear likelihood: Gaussian pixel noise, exact masks, any temperature.

  log p(gamma | kappa) = -1/2 (gamma - A kappa)' N^-1 (gamma - A kappa) + constant

(paper Eq. 9), with A the Kaiser-Squires operator of `lensing`. At temperature
sigma^2 the noise variance of a pixel grows to sigma_n^2 + sigma^2 (paper Eq. 25).
"""

import numpy as np
import tensorflow as tf

from tfp_massmap import lensing


class ShearLikelihood:
  """Likelihood of a convergence map given a `ShearMap`.

  Masked pixels have inverse variance zero at every temperature. With
  `masked_variance` they get that variance instead, as in the paper, which uses 1e10.

  Args:
    shear_map: `shear_map.ShearMap`.
    dtype: dtype of the maps, float32 or float64.
    masked_variance: None, or the noise variance of masked pixels.
  """

  def __init__(self, shear_map, dtype=tf.float32, masked_variance=None):
    if masked_variance is not None and not masked_variance > 0:
      raise ValueError(f"masked_variance must be positive; got {masked_variance}.")
    mask = np.broadcast_to(shear_map.mask, shear_map.shear.shape)
    self.dtype = tf.as_dtype(dtype)
    self.shape = shear_map.grid.shape
    self.shear_map = shear_map
    self.masked_variance = masked_variance
    masked = 1.0 if masked_variance is None else masked_variance
    self.shear = tf.constant(np.where(mask, shear_map.shear, 0), self.dtype)
    self._variance = tf.constant(
        np.where(mask, shear_map.noise_std, np.sqrt(masked)) ** 2, self.dtype
    )
    measured = mask if masked_variance is None else np.ones_like(mask)
    self._measured = tf.constant(measured, self.dtype)

  @property
  def typical_noise_std(self):
    """Noise of a measured pixel, by the mean inverse variance; a float."""
    noise_std = self.shear_map.noise_std[:, self.shear_map.mask]
    return float(np.mean(noise_std**-2.0) ** -0.5)

  def inverse_variance(self, sigma=0.0):
    """Inverse noise variance at temperature sigma^2.

    Args:
      sigma: float, `[]` or `[batch]`.

    Returns:
      `[2, ny, nx]` or `[batch, 2, ny, nx]`; zero in masked pixels.
    """
    temperature = tf.square(tf.convert_to_tensor(sigma, self.dtype))
    temperature = temperature[..., tf.newaxis, tf.newaxis, tf.newaxis]
    return self._measured / (self._variance + temperature)

  def mean_inverse_variance(self, sigma=0.0):
    """Mean of `inverse_variance` over pixels and components, shape of `sigma`.

    The Fourier-diagonal approximation of A' N^-1 A, for preconditioning.
    """
    mean = tf.reduce_mean(self.inverse_variance(sigma), axis=(-3, -2, -1))
    return tf.reshape(mean, tf.shape(tf.convert_to_tensor(sigma, self.dtype)))

  def log_prob(self, kappa, sigma=0.0):
    """log p(gamma | kappa) over the unmasked pixels, normalised over gamma.

    Args:
      kappa: `[..., ny, nx]`.
      sigma: float, broadcasts with the leading axes of `kappa`.

    Returns:
      Float, shape of the leading axes.
    """
    weight = self.inverse_variance(sigma)
    residual = self.shear - lensing.shear_from_convergence(kappa)
    log_norm = tf.math.log(tf.where(weight > 0, weight / (2 * np.pi), 1))
    return 0.5 * tf.reduce_sum(
        log_norm - weight * tf.square(residual), axis=(-3, -2, -1)
    )

  def score(self, kappa, sigma=0.0):
    """Gradient of `log_prob` with respect to kappa, A' N^-1 (gamma - A kappa).

    Args and shapes as `log_prob`; returns the shape of `kappa`.
    """
    residual = self.shear - lensing.shear_from_convergence(kappa)
    return self._adjoint(self.inverse_variance(sigma) * residual)

  def precision(self, kappa, sigma=0.0):
    """A' N^-1 A kappa, shape of `kappa`."""
    shear = lensing.shear_from_convergence(kappa)
    return self._adjoint(self.inverse_variance(sigma) * shear)

  def weighted_data(self, shear=None):
    """A' N^-1 gamma, of the data or of another `[..., 2, ny, nx]` shear."""
    shear = self.shear if shear is None else shear
    return self._adjoint(self.inverse_variance() * shear)

  def sample_noise(self, sample_shape=(), seed=None):
    """Noise of the shear map, zero in masked pixels, `[*sample_shape, 2, ny, nx]`."""
    white = tf.random.stateless_normal(
        [*sample_shape, 2, *self.shape], seed=seed, dtype=self.dtype
    )
    return self._measured * tf.sqrt(self._variance) * white

  def _adjoint(self, shear):
    return lensing.convergence_from_shear(shear)[0]
