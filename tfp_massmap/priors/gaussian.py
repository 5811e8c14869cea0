"""Gaussian prior of the convergence map: a random field with a known power spectrum."""

import hashlib
import typing

import numpy as np
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import spectra
from tfp_massmap.priors import interface


class GaussianPrior:
  """Gaussian random field with a known power spectrum (Remy et al. 2022, Eq. 12).

  Smoothed by sigma it is Gaussian with mode variance S + sigma^2, so that score,
  denoiser (a Wiener filter) and density are exact at every sigma, including 0. It has
  all members of `priors.Prior`, and is its own Gaussian component.

  The mean of the map, k = 0, is a mode like the others, of prior variance S(0). Shear
  carries no information about it, so the posterior has exactly this variance there.
  `spectra.PowerSpectrum.mode_variance` chooses it.

  Args:
    mode_variance: S, positive, `[ny, nx // 2 + 1]` (layout of `rfft2`).
    shape: `(ny, nx)`.
    dtype: float32 or float64.
    description: Name of the power spectrum, for headers of products.

  Attributes:
    description: "Gaussian", and the name of the power spectrum.
    mode_variance: S, tensor `[ny, nx // 2 + 1]`.

  Raises:
    ValueError: If a shape is wrong, or a variance is not positive and finite.
  """

  is_gaussian = True
  sigma_range = (0.0, np.inf)
  constants = interface.EXACT

  def __init__(
    self,
    mode_variance: np.ndarray,
    shape: tuple[int, int],
    *,
    dtype: tf.DType = tf.float32,
    description: str = "Gaussian",
  ) -> None:
    mode_variance = np.asarray(mode_variance, np.float64)
    ny, nx = shape
    shape = (int(ny), int(nx))
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
    self.description = description
    self.dtype = tf.as_dtype(dtype)
    self.shape = shape
    self.mode_variance = tf.constant(mode_variance, self.dtype)
    self._multiplicity = tf.constant(
      geometry.half_plane_multiplicity(shape), self.dtype
    )

  @classmethod
  def from_spectrum(
    cls,
    spectrum: spectra.PowerSpectrum,
    grid: geometry.PixelGrid,
    *,
    mean_variance: float | None = None,
    dtype: tf.DType = tf.float32,
  ) -> "GaussianPrior":
    """Returns the prior on the maps of a grid.

    Args:
      spectrum: `spectra.PowerSpectrum`.
      grid: `geometry.PixelGrid`.
      mean_variance: S(0), as `spectra.PowerSpectrum.mode_variance` takes it.
      dtype: float32 or float64.
    """
    variance = spectrum.mode_variance(grid, mean_variance=mean_variance)
    description = f"Gaussian, {spectrum.name}"
    return cls(variance, grid.shape, dtype=dtype, description=description)

  @property
  def gaussian(self) -> "GaussianPrior":
    """The Gaussian component: the prior itself."""
    return self

  def smoothed_variance(self, sigma: tf.Tensor | float = 0.0) -> tf.Tensor:
    """Returns S + sigma^2, `[ny, nx // 2 + 1]`, with the axes of `sigma` in front."""
    sigma = tf.convert_to_tensor(sigma, self.dtype)
    return self.mode_variance + tf.square(sigma)[..., tf.newaxis, tf.newaxis]

  def score(self, x: tf.Tensor, sigma: tf.Tensor | float = 0.0) -> tf.Tensor:
    """Returns the score of the smoothed prior, -(S + sigma^2)^-1 x, of the shape of `x`.

    Args:
      x: `[..., ny, nx]`.
      sigma: Broadcasts with the leading axes of `x`.
    """
    return -spectra.fourier_filter(x, 1 / self.smoothed_variance(sigma))

  def chain_score(self, x: tf.Tensor, sigma: tf.Tensor | float = 0.0) -> tf.Tensor:
    """Returns `score`, which is exact."""
    return self.score(x, sigma)

  def denoise(self, x: tf.Tensor, sigma: tf.Tensor | float) -> tf.Tensor:
    """Returns E[kappa | kappa + sigma noise = x] = S / (S + sigma^2) x."""
    transfer = self.mode_variance / self.smoothed_variance(sigma)
    return spectra.fourier_filter(x, transfer)

  def relative_error(self, denoised: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """Returns a scalar 1: the error of the Wiener filter is the same in every pixel."""
    del sigma
    return tf.ones([], denoised.dtype)

  def log_prob(self, x: tf.Tensor, sigma: tf.Tensor | float = 0.0) -> tf.Tensor:
    """Returns the normalised log-density of the smoothed prior.

    Args:
      x: `[..., ny, nx]`.
      sigma: Broadcasts with the leading axes of `x`.

    Returns:
      The shape of the leading axes of `x`.
    """
    variance = self.smoothed_variance(sigma)
    log_det = tf.reduce_sum(
      self._multiplicity * tf.math.log(2 * np.pi * variance), axis=(-2, -1)
    )
    return 0.5 * (tf.reduce_sum(x * self.score(x, sigma), axis=(-2, -1)) - log_det)

  def sample(
    self, sample_shape: typing.Sequence[int] = (), seed: typing.Any = None
  ) -> tf.Tensor:
    """Returns exact draws, `[*sample_shape, ny, nx]`, from a stateless TFP seed."""
    return spectra.gaussian_field(
      self.mode_variance, self.shape, sample_shape=sample_shape, seed=seed
    )

  def fingerprint(self) -> str:
    """Returns a checksum of the mode variance."""
    variance = np.ascontiguousarray(self.mode_variance)
    return hashlib.sha256(variance.tobytes()).hexdigest()
