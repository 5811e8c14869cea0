"""Shear likelihood: Gaussian pixel noise, exact masks, any temperature.

  log p(gamma | kappa) = -1/2 (gamma - A kappa)' N^-1 (gamma - A kappa) + constant

(Remy et al. 2022, Eq. 9), with A the Kaiser-Squires operator of `lensing`. At
temperature sigma^2 the noise variance of a pixel grows to sigma_n^2 + sigma^2 (Eq. 25).

Galaxy shapes measure the reduced shear g = gamma / (1 - kappa). The model of
`ReducedShearLikelihood` is A kappa / (1 - kappa) instead of A kappa.
"""

import typing

import numpy as np
import tensorflow as tf

from tfp_massmap import gaussian_posterior
from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import shear_map as shear_map_lib


class Likelihood(typing.Protocol):
  """Density of a shear map given its convergence, with independent Gaussian noise.

  Samplers, `posterior.Posterior` and `calibration` ask for nothing else.

  Attributes:
    grid: `geometry.PixelGrid` of the maps.
    shape: `(ny, nx)` of the maps.
    dtype: Dtype of the maps.
    shear: The data, `[2, ny, nx]`; 0 in masked pixels.
    is_linear: Whether the model of the data is linear in the convergence.
    typical_noise_std: Standard deviation of the noise of a typical measured pixel.
  """

  grid: geometry.PixelGrid
  shape: tuple[int, int]
  dtype: tf.DType
  shear: tf.Tensor
  is_linear: bool

  @property
  def typical_noise_std(self) -> float: ...

  def noise_std_quantiles(self, shares: typing.Sequence[float]) -> np.ndarray:
    """Returns quantiles of the noise of all measured pixels and components."""
    ...

  def inverse_variance(self, sigma: tf.Tensor | float = 0.0) -> tf.Tensor:
    """Returns the inverse noise variance at temperature sigma^2; 0 in masked pixels.

    Args:
      sigma: `[]` or `[batch]`.

    Returns:
      `[2, ny, nx]` or `[batch, 2, ny, nx]`.
    """
    ...

  def mean_inverse_variance(self, sigma: tf.Tensor | float = 0.0) -> tf.Tensor:
    """Returns the mean of `inverse_variance` over the map, of the shape of `sigma`."""
    ...

  def log_prob(self, kappa: tf.Tensor, sigma: tf.Tensor | float = 0.0) -> tf.Tensor:
    """Returns log p(gamma | kappa), of the shape of the leading axes of `kappa`."""
    ...

  def score(self, kappa: tf.Tensor, sigma: tf.Tensor | float = 0.0) -> tf.Tensor:
    """Returns the gradient of `log_prob` with respect to `kappa`."""
    ...

  def equivalent_shear(self, kappa: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the shear and inverse variance of the linear model nearest at `kappa`.

    The data constrain kappa near `kappa` as if this shear had been measured with this
    inverse variance. Both broadcast to `[..., 2, ny, nx]`.
    """
    ...

  def linearised(self, kappa: tf.Tensor | None = None) -> "LinearLikelihood":
    """Returns the linear likelihood that agrees with this one at `kappa` (None for 0)."""
    ...


class LinearLikelihood(gaussian_posterior.LinearModel, typing.Protocol):
  """A linear model with its data: all that exact draws and means need."""

  def residual(self, kappa: tf.Tensor) -> tf.Tensor:
    """Returns data minus model, `[..., 2, ny, nx]`."""
    ...

  def weighted_data(self, shear: tf.Tensor) -> tf.Tensor:
    """Returns A' N^-1 shear, `[..., ny, nx]`."""
    ...

  def sample_noise(self, sample_shape=(), seed=None) -> tf.Tensor:
    """Returns noise of the data, `[*sample_shape, 2, ny, nx]`; 0 in masked pixels."""
    ...


class ShearLikelihood:
  """Likelihood of a convergence map given a `ShearMap`; it is a `Likelihood`.

  Masked pixels have inverse variance zero at every temperature. With
  `masked_variance` they have that variance instead; Remy et al. (2022) use 1e10.

  Args:
    shear_map: `shear_map.ShearMap`.
    dtype: Dtype of the maps, float32 or float64.
    masked_variance: None, or the noise variance of masked pixels.

  Raises:
    ValueError: If `masked_variance` is not positive.
  """

  is_linear = True

  def __init__(
    self,
    shear_map: shear_map_lib.ShearMap,
    *,
    dtype: tf.DType = tf.float32,
    masked_variance: float | None = None,
  ) -> None:
    if masked_variance is not None and not masked_variance > 0:
      raise ValueError(f"masked_variance must be positive; got {masked_variance}.")
    mask = np.broadcast_to(shear_map.mask, shear_map.shear.shape)
    self.dtype = tf.as_dtype(dtype)
    self.grid = shear_map.grid
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

  def noise_std_quantiles(self, shares):
    """Quantiles of the noise of the measured pixels and components, a NumPy array."""
    return np.quantile(self.shear_map.noise_std[:, self.shear_map.mask], shares)

  def equivalent_shear(self, kappa):
    """Shear and inverse variance whose likelihood is N(shear; A kappa), at `kappa`.

    Returns:
      Two tensors that broadcast to `[..., 2, ny, nx]`: the data, here.
    """
    del kappa
    return self.shear, self.inverse_variance()

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
    residual = self.residual(kappa)
    log_norm = tf.math.log(tf.where(weight > 0, weight / (2 * np.pi), 1))
    return 0.5 * tf.reduce_sum(
      log_norm - weight * tf.square(residual), axis=(-3, -2, -1)
    )

  def score(self, kappa, sigma=0.0):
    """Gradient of `log_prob` with respect to kappa, A' N^-1 (gamma - A kappa).

    Args and shapes as `log_prob`; returns the shape of `kappa`.
    """
    return self.adjoint(self.inverse_variance(sigma) * self.residual(kappa))

  def precision(self, kappa, sigma=0.0):
    """A' N^-1 A kappa, shape of `kappa`."""
    shear = lensing.shear_from_convergence(kappa)
    return self.adjoint(self.inverse_variance(sigma) * shear)

  def precision_modes(self, modes):
    """Modes of A' N^-1 A kappa, from those of kappa, complex `[..., ny, nx // 2 + 1]`."""
    shear = lensing.shear_from_modes(modes, self.shape)
    return lensing.modes_from_shear(self.inverse_variance() * shear)

  def linearised(self, kappa=None):
    """The linear likelihood next to this one at `kappa`, by default 0: itself, here."""
    del kappa
    return self

  def residual(self, kappa):
    """gamma - A kappa, `[..., 2, ny, nx]`."""
    return self.shear - self.model(kappa)

  def model(self, kappa):
    """A kappa, `[..., 2, ny, nx]`."""
    return lensing.shear_from_convergence(kappa)

  def adjoint(self, shear):
    """A' gamma, `[..., ny, nx]`."""
    return lensing.convergence_from_shear(shear)[0]

  def weighted_data(self, shear=None):
    """A' N^-1 gamma, of the data or of another `[..., 2, ny, nx]` shear."""
    shear = self.shear if shear is None else shear
    return self.adjoint(self.inverse_variance() * shear)

  def sample_noise(self, sample_shape=(), seed=None):
    """Noise of the shear map, zero in masked pixels, `[*sample_shape, 2, ny, nx]`."""
    white = tf.random.stateless_normal(
      [*sample_shape, 2, *self.shape], seed=seed, dtype=self.dtype
    )
    return self._measured * tf.sqrt(self._variance) * white


class ReducedShearLikelihood(ShearLikelihood):
  """Likelihood of the reduced shear, g = A kappa / (1 - kappa).

  Its model is not linear; samplers take it as linear around their current estimate
  (`linearised`), step by step. Convergences must stay below 1: no critical curves.

  Args:
    shear_map, dtype, masked_variance: as `ShearLikelihood`; the shear is reduced.
  """

  is_linear = False

  def model(self, kappa):
    """A kappa / (1 - kappa), `[..., 2, ny, nx]`."""
    return super().model(kappa) / (1 - kappa[..., tf.newaxis, :, :])

  def score(self, kappa, sigma=0.0):
    """Gradient of `log_prob` with respect to kappa, shape of `kappa`."""
    return self.linearised(kappa).score(kappa, sigma)

  def equivalent_shear(self, kappa):
    """(1 - kappa) g, and its inverse variance."""
    lens = 1 - tf.convert_to_tensor(kappa, self.dtype)[..., tf.newaxis, :, :]
    return lens * self.shear, self.inverse_variance() / tf.square(lens)

  def linearised(self, kappa=None):
    """The likelihood with the model's derivative at `kappa`, by default 0."""
    if kappa is None:
      return ShearLikelihood(
        self.shear_map, dtype=self.dtype, masked_variance=self.masked_variance
      )
    return _Linearised(self, tf.convert_to_tensor(kappa, self.dtype))


class _Linearised:
  """g(kappa_0) + J (kappa - kappa_0), J u = (A u + g u) / (1 - kappa_0).

  One linear model a map, where kappa_0 has a batch.
  """

  is_linear = True

  def __init__(self, likelihood, kappa):
    self._full = likelihood
    self._kappa = kappa
    self._lens = 1 / (1 - kappa[..., tf.newaxis, :, :])
    self._reduced = likelihood.model(kappa)
    self.shape, self.dtype = likelihood.shape, likelihood.dtype
    self.inverse_variance = likelihood.inverse_variance
    self.mean_inverse_variance = likelihood.mean_inverse_variance
    self.sample_noise = likelihood.sample_noise

  def model(self, kappa):
    """J kappa."""
    shear = lensing.shear_from_convergence(kappa)
    return self._lens * (shear + self._reduced * kappa[..., tf.newaxis, :, :])

  def adjoint(self, shear):
    """J' shear."""
    shear = self._lens * shear
    direct = tf.reduce_sum(self._reduced * shear, axis=-3)
    return lensing.convergence_from_shear(shear)[0] + direct

  def residual(self, kappa):
    """Data minus g(kappa_0) - J (kappa - kappa_0)."""
    return self._full.shear - self._reduced - self.model(kappa - self._kappa)

  def score(self, kappa, sigma=0.0):
    return self.adjoint(self.inverse_variance(sigma) * self.residual(kappa))

  def weighted_data(self, shear):
    return self.adjoint(self.inverse_variance() * shear)

  def precision_modes(self, modes):
    kappa = tf.signal.irfft2d(modes, fft_length=list(self.shape))
    shear = self.inverse_variance() * self.model(kappa)
    return tf.signal.rfft2d(self.adjoint(shear))
