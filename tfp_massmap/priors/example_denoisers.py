"""The denoiser of training examples: of one survey, or of a survey for each example."""

from collections.abc import Sequence
import typing

import keras
import numpy as np
import tensorflow as tf

from tfp_massmap import spectra
from tfp_massmap.priors import conditions
from tfp_massmap.priors import gaussian as gaussian_prior
from tfp_massmap.priors import residual
from tfp_massmap.priors import sigma_table

Batch = dict[str, tf.Tensor]


class ExampleDenoiser(typing.Protocol):
  """A denoiser of training examples, as their loss takes it.

  Batches have `noisy` `[batch, ny, nx]` and `sigma` `[batch]`, and `survey` `[batch]`,
  the number of the map, where surveys differ.
  """

  def wiener(self, batch: Batch) -> tf.Tensor:
    """Returns the noisy maps denoised by the Gaussian component, `[batch, ny, nx]`."""

  def residual(self, batch: Batch, wiener: tf.Tensor, *, training: bool) -> tf.Tensor:
    """Returns what the network adds to that, `[batch, ny, nx]`."""

  def error_std(self, batch: Batch) -> tf.Tensor:
    """Returns the standard deviation of the Wiener filter's error, `[batch]`."""

  def gaussian_fields(self, batch: Batch, seed: tf.Tensor) -> tf.Tensor:
    """Returns draws of the Gaussian component, `[batch, ny, nx]`."""


class OneSurvey:
  """The denoiser of maps of one survey, an `ExampleDenoiser`.

  Args:
    denoiser: `residual.ResidualDenoiser`.
    gaussian: `priors.GaussianPrior` of the crops.
  """

  def __init__(
    self,
    denoiser: residual.ResidualDenoiser,
    gaussian: gaussian_prior.GaussianPrior,
  ) -> None:
    self._denoiser, self._gaussian = denoiser, gaussian

  def wiener(self, batch: Batch) -> tf.Tensor:
    """As `ExampleDenoiser.wiener`."""
    return self._gaussian.denoise(batch["noisy"], batch["sigma"])

  def residual(self, batch: Batch, wiener: tf.Tensor, *, training: bool) -> tf.Tensor:
    """As `ExampleDenoiser.residual`."""
    return self._denoiser(batch["noisy"], wiener, batch["sigma"], training)

  def error_std(self, batch: Batch) -> tf.Tensor:
    """As `ExampleDenoiser.error_std`."""
    return self._denoiser.error_std(batch["sigma"])

  def gaussian_fields(self, batch: Batch, seed: tf.Tensor) -> tf.Tensor:
    """As `ExampleDenoiser.gaussian_fields`."""
    return self._gaussian.sample([batch["clean"].shape[0]], seed)


class ManySurveys:
  """The denoiser of maps each of which has a survey of its own, an `ExampleDenoiser`.

  Args:
    network: Conditional Keras model of `architectures.build`.
    mode_variance: S of the crops of each survey, float `[n, ny, nx // 2 + 1]`.
    scales: `residual.Scales` of each survey, `[n]`, at the same sigmas.
    surveys: `conditions.NetworkSurvey` of each survey, `[n]`.
  """

  def __init__(
    self,
    network: keras.Model,
    *,
    mode_variance: np.ndarray,
    scales: Sequence[residual.Scales],
    surveys: Sequence[conditions.NetworkSurvey],
  ) -> None:
    self._network = network
    self._shape = (mode_variance.shape[1],) * 2  # Crops are square.
    self._mode_variance = tf.constant(mode_variance, tf.float32)
    logs = [[s.log_input, s.log_wiener, s.log_error] for s in scales]
    # Sigma leads, as in every table over it: [sigmas, 3, n].
    self._log_scales = sigma_table.SigmaTable(
      scales[0].log_sigma, np.transpose(logs, (2, 1, 0)), is_even=True
    )
    self._values = tf.constant(np.stack([s.values for s in surveys]), tf.float32)
    self._factors = tf.constant([s.sigma_factor for s in surveys], tf.float32)

  def wiener(self, batch: Batch) -> tf.Tensor:
    """As `ExampleDenoiser.wiener`."""
    variance = tf.gather(self._mode_variance, batch["survey"])
    noise = tf.square(batch["sigma"])[:, tf.newaxis, tf.newaxis]
    return spectra.fourier_filter(batch["noisy"], variance / (variance + noise))

  def residual(self, batch: Batch, wiener: tf.Tensor, *, training: bool) -> tf.Tensor:
    """As `ExampleDenoiser.residual`."""
    a, b, c = (s[:, tf.newaxis, tf.newaxis] for s in self._scales(batch))
    survey = batch["survey"]
    output = self._network(
      [
        tf.stack([batch["noisy"] / a, wiener / b], axis=-1),
        batch["sigma"] * tf.gather(self._factors, survey),
        tf.gather(self._values, survey),
      ],
      training=training,
    )
    return c * tf.cast(output, wiener.dtype)

  def error_std(self, batch: Batch) -> tf.Tensor:
    """As `ExampleDenoiser.error_std`."""
    return self._scales(batch)[2]

  def gaussian_fields(self, batch: Batch, seed: tf.Tensor) -> tf.Tensor:
    """As `ExampleDenoiser.gaussian_fields`."""
    variance = tf.gather(self._mode_variance, batch["survey"])
    return spectra.gaussian_field(
      variance, self._shape, sample_shape=batch["survey"].shape, seed=seed
    )

  def _scales(self, batch):
    """Returns a, b and c of `priors.residual`, `[batch]` each."""
    rows = self._log_scales(batch["sigma"])
    return tf.unstack(
      tf.exp(tf.gather(rows, batch["survey"], axis=2, batch_dims=1)), axis=1
    )
