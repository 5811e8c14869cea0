"""Model of the covariance that a prior's denoiser leaves.

The Wiener filter leaves a Gaussian field the covariance V = S sigma^2 / (S + sigma^2),
diagonal in Fourier space. What another denoiser leaves is modelled by the same V, scaled
in every pixel by the ratio of the two errors (`priors.Prior.relative_error`): several
times as uncertain in haloes, half as uncertain in voids.
"""

import typing

import tensorflow as tf

from tfp_massmap import spectra

if typing.TYPE_CHECKING:
  from tfp_massmap import priors


class Denoised(typing.NamedTuple):
  """A denoised map and the covariance diag(scale) V diag(scale) of its error.

  Attributes:
    mean: `[batch, ny, nx]`.
    variance: V of the modes, `[ny, nx // 2 + 1]`.
    scale: The shape of `mean`, or a scalar.
  """

  mean: tf.Tensor
  variance: tf.Tensor
  scale: tf.Tensor

  def perturbed(self, white: tf.Tensor) -> "Denoised":
    """Returns a draw of the model in the place of the mean, from unit white noise."""
    field = spectra.fourier_filter(white, tf.sqrt(self.variance))
    return self._replace(mean=self.mean + self.scale * field)


def denoise(prior: "priors.Prior", x: tf.Tensor, *, sigma: tf.Tensor) -> Denoised:
  """Returns the denoised maps with the model of their error.

  Args:
    prior: `priors.Prior`.
    x: `[batch, ny, nx]`.
    sigma: Positive scalar.
  """
  mean = prior.denoise(x, sigma)
  power = prior.gaussian.mode_variance
  variance = power * tf.square(sigma)
  variance /= power + tf.square(sigma)
  return Denoised(mean, variance, prior.relative_error(mean, sigma))


def typical_variance(prior: "priors.Prior", precision: tf.Tensor) -> tf.Tensor:
  """Returns the mode variance for which the steps of a flow are exact.

  Any value serves when steps are many. When they are few, the variance of a typical
  pixel serves better than the mean variance, with which voids come out too rough.

  Args:
    prior: `priors.Prior`, whose `constants` hold the ratio of the two.
    precision: Precision of the Gaussian posterior's modes.

  Returns:
    The shape of `precision`.
  """
  return prior.constants.typical_variance / precision
