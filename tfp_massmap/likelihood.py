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
  def typical_noise_std(self) -> float:
    """Standard deviation of the noise of a typical measured pixel."""
    ...

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

  def sample_noise(
    self, sample_shape: typing.Sequence[int] = (), seed: typing.Any = None
  ) -> tf.Tensor:
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
  def typical_noise_std(self) -> float:
    """Noise of a typical measured pixel, from the mean inverse variance."""
    noise_std = self.shear_map.noise_std[:, self.shear_map.mask]
    return float(np.mean(noise_std**-2.0) ** -0.5)

  def noise_std_quantiles(self, shares: typing.Sequence[float]) -> np.ndarray:
    """Returns quantiles of the noise of all measured pixels and components."""
    return np.quantile(self.shear_map.noise_std[:, self.shear_map.mask], shares)

  def inverse_variance(self, sigma: tf.Tensor | float = 0.0) -> tf.Tensor:
    """Returns the inverse noise variance at temperature sigma^2.

    Args:
      sigma: `[]` or `[batch]`.

    Returns:
      `[2, ny, nx]` or `[batch, 2, ny, nx]`; zero in masked pixels.
    """
    temperature = tf.square(tf.convert_to_tensor(sigma, self.dtype))
    temperature = temperature[..., tf.newaxis, tf.newaxis, tf.newaxis]
    return self._measured / (self._variance + temperature)

  def mean_inverse_variance(self, sigma: tf.Tensor | float = 0.0) -> tf.Tensor:
    """Returns the mean of `inverse_variance` over the map, of the shape of `sigma`.

    It is the Fourier-diagonal approximation of A' N^-1 A, for preconditioning.
    """
    mean = tf.reduce_mean(self.inverse_variance(sigma), axis=(-3, -2, -1))
    return tf.reshape(mean, tf.shape(tf.convert_to_tensor(sigma, self.dtype)))

  def log_prob(self, kappa: tf.Tensor, sigma: tf.Tensor | float = 0.0) -> tf.Tensor:
    """Returns log p(gamma | kappa) over the measured pixels, normalised over gamma.

    Args:
      kappa: `[..., ny, nx]`.
      sigma: Broadcasts with the leading axes of `kappa`.

    Returns:
      The shape of the leading axes of `kappa`.
    """
    weight = self.inverse_variance(sigma)
    residual = self.residual(kappa)
    log_norm = tf.math.log(tf.where(weight > 0, weight / (2 * np.pi), 1))
    return 0.5 * tf.reduce_sum(
      log_norm - weight * tf.square(residual), axis=(-3, -2, -1)
    )

  def score(self, kappa: tf.Tensor, sigma: tf.Tensor | float = 0.0) -> tf.Tensor:
    """Returns A' N^-1 (gamma - A kappa), the gradient of `log_prob`.

    Args:
      kappa: `[..., ny, nx]`.
      sigma: Broadcasts with the leading axes of `kappa`.

    Returns:
      The shape of `kappa`.
    """
    return self.adjoint(self.inverse_variance(sigma) * self.residual(kappa))

  def equivalent_shear(self, kappa: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the data and their inverse variance, whatever `kappa`."""
    del kappa
    return self.shear, self.inverse_variance()

  def linearised(
    self, kappa: tf.Tensor | None = None
  ) -> "ShearLikelihood | _LinearisedLikelihood":
    """Returns this likelihood, which is linear."""
    del kappa
    return self

  def precision(self, kappa: tf.Tensor, sigma: tf.Tensor | float = 0.0) -> tf.Tensor:
    """Returns A' N^-1 A kappa, of the shape of `kappa`."""
    shear = lensing.shear_from_convergence(kappa)
    return self.adjoint(self.inverse_variance(sigma) * shear)

  def precision_modes(self, modes: tf.Tensor) -> tf.Tensor:
    """Returns the modes of A' N^-1 A kappa from those of kappa (layout of `rfft2`)."""
    shear = lensing.shear_from_modes(modes, self.shape)
    return lensing.modes_from_shear(self.inverse_variance() * shear)

  def residual(self, kappa: tf.Tensor) -> tf.Tensor:
    """Returns data minus model, gamma - A kappa, `[..., 2, ny, nx]`."""
    return self.shear - self.model(kappa)

  def model(self, kappa: tf.Tensor) -> tf.Tensor:
    """Returns A kappa, `[..., 2, ny, nx]`."""
    return lensing.shear_from_convergence(kappa)

  def adjoint(self, shear: tf.Tensor) -> tf.Tensor:
    """Returns A' shear, `[..., ny, nx]`."""
    return lensing.convergence_from_shear(shear)[0]

  def weighted_data(self, shear: tf.Tensor | None = None) -> tf.Tensor:
    """Returns A' N^-1 shear, of the data or of another shear `[..., 2, ny, nx]`."""
    shear = self.shear if shear is None else shear
    return self.adjoint(self.inverse_variance() * shear)

  def sample_noise(
    self, sample_shape: typing.Sequence[int] = (), seed: typing.Any = None
  ) -> tf.Tensor:
    """Returns noise of the shear map, `[*sample_shape, 2, ny, nx]`.

    Args:
      sample_shape: Leading shape of the result.
      seed: Stateless TFP seed.
    """
    white = tf.random.stateless_normal(
      [*sample_shape, 2, *self.shape], seed=seed, dtype=self.dtype
    )
    return self._measured * tf.sqrt(self._variance) * white


class ReducedShearLikelihood(ShearLikelihood):
  """Likelihood of the reduced shear, g = A kappa / (1 - kappa).

  Its model is not linear; samplers linearise it around their current estimate at every
  step (`linearised`). Convergences must stay below 1: there may be no critical curves.

  Args:
    shear_map, dtype, masked_variance: As `ShearLikelihood`; the shear is reduced.
  """

  is_linear = False

  def model(self, kappa: tf.Tensor) -> tf.Tensor:
    """Returns A kappa / (1 - kappa), `[..., 2, ny, nx]`."""
    return super().model(kappa) / (1 - kappa[..., tf.newaxis, :, :])

  def score(self, kappa: tf.Tensor, sigma: tf.Tensor | float = 0.0) -> tf.Tensor:
    """Returns the gradient of `log_prob`, of the shape of `kappa`."""
    return self.linearised(kappa).score(kappa, sigma)

  def equivalent_shear(self, kappa: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns (1 - kappa) g and its inverse variance, `[..., 2, ny, nx]`."""
    lens = 1 - tf.convert_to_tensor(kappa, self.dtype)[..., tf.newaxis, :, :]
    return lens * self.shear, self.inverse_variance() / tf.square(lens)

  def linearised(
    self, kappa: tf.Tensor | None = None
  ) -> "ShearLikelihood | _LinearisedLikelihood":
    """Returns the likelihood with the derivative of the model at `kappa` (None for 0)."""
    if kappa is None:
      return ShearLikelihood(
        self.shear_map, dtype=self.dtype, masked_variance=self.masked_variance
      )
    return _LinearisedLikelihood(self, tf.convert_to_tensor(kappa, self.dtype))


class _LinearisedLikelihood:
  """Likelihood with the model g(kappa_0) + J (kappa - kappa_0); a `LinearLikelihood`.

  J u = (A u + g u) / (1 - kappa_0). Every map of a batch of kappa_0 has its own J.
  """

  def __init__(self, likelihood, kappa):
    self._full = likelihood
    self._kappa = kappa
    self._lens = 1 / (1 - kappa[..., tf.newaxis, :, :])
    self._reduced = likelihood.model(kappa)
    self.shape = likelihood.shape
    self.inverse_variance = likelihood.inverse_variance
    self.mean_inverse_variance = likelihood.mean_inverse_variance
    self.sample_noise = likelihood.sample_noise

  def model(self, kappa):
    """Returns J kappa."""
    shear = lensing.shear_from_convergence(kappa)
    return self._lens * (shear + self._reduced * kappa[..., tf.newaxis, :, :])

  def adjoint(self, shear):
    """Returns J' shear."""
    shear = self._lens * shear
    direct = tf.reduce_sum(self._reduced * shear, axis=-3)
    return lensing.convergence_from_shear(shear)[0] + direct

  def residual(self, kappa):
    """Returns the data minus g(kappa_0) - J (kappa - kappa_0)."""
    return self._full.shear - self._reduced - self.model(kappa - self._kappa)

  def score(self, kappa, sigma=0.0):
    """Returns J' N^-1 residual."""
    return self.adjoint(self.inverse_variance(sigma) * self.residual(kappa))

  def weighted_data(self, shear):
    """Returns J' N^-1 shear."""
    return self.adjoint(self.inverse_variance() * shear)

  def precision_modes(self, modes):
    """Returns the modes of J' N^-1 J kappa from those of kappa."""
    kappa = tf.signal.irfft2d(modes, fft_length=list(self.shape))
    shear = self.inverse_variance() * self.model(kappa)
    return tf.signal.rfft2d(self.adjoint(shear))
