"""What the Gaussian prior's denoiser misses, by a network (Remy et al. 2022, Eq. 19, 23).

With D_G the Wiener denoiser of the power spectrum and F the network, the denoiser is

  D(y, sigma) = D_G(y, sigma) + c(sigma) F([y / a(sigma), D_G / b(sigma)], sigma),

  a^2 = <S> + sigma^2,  b^2 = <S^2 / (S + sigma^2)>,  c^2 = <S sigma^2 / (S + sigma^2)>,

means over the modes of a reference map: the standard deviations of y, of D_G and of the
error that D_G leaves, so that inputs and target of F have variance one at every sigma.
They belong to the network, whatever map it is used on. The score it adds to the
Gaussian one is c F / sigma^2.
"""

import dataclasses

from astropy import units as u
import keras
import numpy as np
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap.nn import unet

_REFERENCE_PIXELS = 360
_NUM_SIGMAS = 97


@dataclasses.dataclass(frozen=True)
class Scales:
  """Standard deviations a, b and c on a grid of sigma.

  Attributes:
    log_sigma: `[n]`, equally spaced.
    log_input, log_wiener, log_error: logarithms of a, b and c, `[n]`.
  """

  log_sigma: tuple
  log_input: tuple
  _: dataclasses.KW_ONLY
  log_wiener: tuple
  log_error: tuple

  @classmethod
  def from_spectrum(cls, spectrum, pixel_scale, *, low=1e-4, high=10.0):
    """Scales of a map of 360 x 360 pixels.

    Args:
      spectrum: `spectra.PowerSpectrum`.
      pixel_scale: angle.
      low, high: range of sigma.
    """
    grid = geometry.PixelGrid([_REFERENCE_PIXELS] * 2, u.Quantity(pixel_scale))
    variance = spectrum.mode_variance(grid)
    weights = np.broadcast_to(
      geometry.half_plane_multiplicity(grid.shape), variance.shape
    )
    sigma = np.geomspace(low, high, _NUM_SIGMAS)[:, None, None]
    smoothed = variance + sigma**2
    means = [
      np.average(values.reshape(_NUM_SIGMAS, -1), axis=1, weights=weights.ravel())
      for values in (smoothed, variance**2 / smoothed, variance * sigma**2 / smoothed)
    ]
    logs = [tuple((0.5 * np.log(mean)).tolist()) for mean in means]
    log_input, log_wiener, log_error = logs
    return cls(
      tuple(np.log(sigma.ravel()).tolist()),
      log_input,
      log_wiener=log_wiener,
      log_error=log_error,
    )

  def at(self, sigma):
    """a, b and c at sigma, tensors of its shape and dtype."""
    sigma = tf.convert_to_tensor(sigma)
    first, step = self.log_sigma[0], self.log_sigma[1] - self.log_sigma[0]
    place = (tf.math.log(sigma) - first) / step
    place = tf.clip_by_value(place, 0, len(self.log_sigma) - 1.001)
    index = tf.cast(tf.floor(place), tf.int32)
    share = place - tf.cast(index, sigma.dtype)
    values = []
    for table in (self.log_input, self.log_wiener, self.log_error):
      table = tf.constant(table, sigma.dtype)
      low, high = tf.gather(table, index), tf.gather(table, index + 1)
      values.append(tf.exp(low + share * (high - low)))
    return values


class ResidualDenoiser:
  """c F of a network, or sigma^2 times the residual score of the paper's.

  Args:
    network: Keras model of `unet.build`.
    architecture: its `unet.Architecture`. That of the paper sees the noisy map and the
      Gaussian score, in units of 1 / sigma, and gives the residual score (Eq. 23),
      whatever the scales.
    scales: `Scales`.
  """

  def __init__(
    self, network: keras.Model, architecture: unet.Architecture, *, scales: Scales
  ) -> None:
    self.network = network
    self.architecture = architecture
    self.scales = scales

  @property
  def compute_dtype(self) -> str:
    """Dtype of the network's convolutions."""
    return self.network.layers[-1].compute_dtype

  def __call__(self, noisy, wiener, sigma, training=False):
    """What is to be added to the Wiener denoiser.

    Args:
      noisy: `[batch, ny, nx]`.
      wiener: the Gaussian prior's denoiser of it, `[batch, ny, nx]`.
      sigma: `[batch]`, positive.
      training: whether batch statistics are used and updated.

    Returns:
      `[batch, ny, nx]`.
    """
    if self.architecture.kind == "paper":
      std = sigma[:, tf.newaxis, tf.newaxis]
      inputs, scale = [noisy, (wiener - noisy) / std], tf.square(std)
    else:
      a, b, c = (s[:, tf.newaxis, tf.newaxis] for s in self.scales.at(sigma))
      inputs, scale = [noisy / a, wiener / b], c
    output = self.network([tf.stack(inputs, axis=-1), sigma], training=training)
    return scale * tf.cast(output, noisy.dtype)

  def error_std(self, sigma):
    """c, the error of the Wiener denoiser, `[batch]`."""
    return self.scales.at(sigma)[2]
