"""Priors of the convergence map: smoothed scores and denoisers.

A prior smoothed by white noise of standard deviation sigma has the score s(x, sigma),
and its denoiser is Tweedie's D(x, sigma) = x + sigma^2 s(x, sigma) (paper Eq. 18, 19).
"""

import numpy as np
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import spectra


class GaussianPrior:
  """Gaussian random field with a known power spectrum (paper Eq. 12).

  Smoothed by sigma it is Gaussian with mode variance S + sigma^2, so that score,
  denoiser (a Wiener filter) and density are exact at every sigma, 0 included.

  The mean of the map, k = 0, is a mode like the others, of prior variance S(0):
  shear says nothing of it, so the posterior has exactly this variance there.
  `spectra.PowerSpectrum.mode_variance` chooses it.

  Args:
    mode_variance: S, positive, `[ny, nx // 2 + 1]` (layout of `rfft2`).
    shape: `(ny, nx)`.
    dtype: float32 or float64.

  Raises:
    ValueError: for a wrong shape, or a variance that is not positive and finite.
  """

  def __init__(self, mode_variance, shape, dtype=tf.float32):
    mode_variance = np.asarray(mode_variance, np.float64)
    shape = tuple(int(n) for n in shape)
    wanted = (shape[0], shape[1] // 2 + 1)
    if mode_variance.shape != wanted:
      raise ValueError(
          f"mode_variance must have the layout of rfft2, {wanted} for a map of shape"
          f" {shape}; got {mode_variance.shape}. PowerSpectrum.mode_variance(grid)"
          " makes it."
      )
    bad = ~(np.isfinite(mode_variance) & (mode_variance > 0))
    if bad.any():
      row, column = np.argwhere(bad)[0]
      raise ValueError(
          f"mode_variance must be positive and finite; {bad.sum()} modes are not, the"
          f" first at [{row}, {column}] ({mode_variance[row, column]})."
      )
    self.dtype = tf.as_dtype(dtype)
    self.shape = shape
    self.mode_variance = tf.constant(mode_variance, self.dtype)
    self._multiplicity = tf.constant(
        geometry.half_plane_multiplicity(shape), self.dtype
    )

  @classmethod
  def from_spectrum(cls, spectrum, grid, mean_variance=None, dtype=tf.float32):
    """Prior on the maps of `grid`, from a `spectra.PowerSpectrum`."""
    return cls(spectrum.mode_variance(grid, mean_variance), grid.shape, dtype)

  def smoothed_variance(self, sigma=0.0):
    """S + sigma^2, `[ny, nx // 2 + 1]`, with the axes of `sigma` in front."""
    sigma = tf.convert_to_tensor(sigma, self.dtype)
    return self.mode_variance + tf.square(sigma)[..., tf.newaxis, tf.newaxis]

  def score(self, x, sigma=0.0):
    """Score of the smoothed prior, -(S + sigma^2)^-1 x.

    Args:
      x: `[..., ny, nx]`.
      sigma: float, broadcasts with the leading axes of `x`.

    Returns:
      Shape of `x`.
    """
    return -spectra.fourier_filter(x, 1 / self.smoothed_variance(sigma))

  def denoise(self, x, sigma):
    """E[kappa | kappa + sigma noise = x] = S / (S + sigma^2) x, shape of `x`."""
    transfer = self.mode_variance / self.smoothed_variance(sigma)
    return spectra.fourier_filter(x, transfer)

  def log_prob(self, x, sigma=0.0):
    """Normalised log-density of the smoothed prior, shape of the leading axes."""
    variance = self.smoothed_variance(sigma)
    log_det = tf.reduce_sum(
        self._multiplicity * tf.math.log(2 * np.pi * variance), axis=(-2, -1)
    )
    return 0.5 * (tf.reduce_sum(x * self.score(x, sigma), axis=(-2, -1)) - log_det)

  def sample(self, sample_shape=(), seed=None):
    """Exact draws, `[*sample_shape, ny, nx]`, from a stateless TFP seed."""
    return spectra.gaussian_field(self.mode_variance, self.shape, sample_shape, seed)
