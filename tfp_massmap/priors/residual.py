"""The part of the denoiser that the Gaussian prior misses, given by a network.

Remy et al. (2022, Eq. 19 and 23). With D_G the Wiener denoiser of the power spectrum
and F the network, the denoiser is

  D(y, sigma) = D_G(y, sigma) + c(sigma) F([y / a(sigma), D_G / b(sigma)], sigma),

  a^2 = <S> + sigma^2,  b^2 = <S^2 / (S + sigma^2)>,  c^2 = <S sigma^2 / (S + sigma^2)>.

The means are over the modes of a reference map: a, b and c are the standard deviations
of y, of D_G and of the error that D_G leaves, so that the inputs and the target of F
have unit variance at every sigma. They belong to the network, whatever map it is used
on. The score that F adds to the Gaussian one is c F / sigma^2.
"""

import dataclasses

from astropy import units as u
import keras
import numpy as np
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import spectra
from tfp_massmap.nn import architectures
from tfp_massmap.priors import conditions
from tfp_massmap.priors import sigma_table

# The map over whose modes the means are taken: the 360 x 360 pixels of Remy et al.
_REFERENCE_PIXELS = 360
# With 97 points over five decades, the error of the interpolation is below 1e-3.
_NUM_SIGMAS = 97


@dataclasses.dataclass(frozen=True)
class Scales:
  """Standard deviations a, b and c, tabulated over sigma.

  Attributes:
    log_sigma: Natural logarithms of sigma, `[n]`, equally spaced.
    log_input: Natural logarithms of a, `[n]`.
    log_wiener: Natural logarithms of b, `[n]`.
    log_error: Natural logarithms of c, `[n]`.
  """

  log_sigma: tuple[float, ...]
  log_input: tuple[float, ...]
  _: dataclasses.KW_ONLY
  log_wiener: tuple[float, ...]
  log_error: tuple[float, ...]

  @classmethod
  def from_spectrum(
    cls,
    spectrum: spectra.PowerSpectrum,
    pixel_scale: u.Quantity,
    *,
    low: float = 1e-4,
    high: float = 10.0,
  ) -> "Scales":
    """Returns the scales of a map of 360 x 360 pixels.

    Args:
      spectrum: `spectra.PowerSpectrum`.
      pixel_scale: Side of a pixel, an angle.
      low: Smallest sigma of the table; smaller than in any training by default.
      high: Largest sigma of the table, likewise.
    """
    grid = geometry.PixelGrid(
      (_REFERENCE_PIXELS, _REFERENCE_PIXELS), u.Quantity(pixel_scale)
    )
    # Modes of one multipole share their variance: a tenth of them is left.
    _, first, mode = np.unique(
      grid.multipoles(), return_index=True, return_inverse=True
    )
    variance = spectrum.mode_variance(grid).ravel()[first]
    count = np.broadcast_to(
      geometry.half_plane_multiplicity(grid.shape), grid.multipoles().shape
    )
    weights = np.bincount(mode.ravel(), count.ravel())
    sigma = np.geomspace(low, high, _NUM_SIGMAS)[:, None]
    smoothed = variance + sigma**2
    means = [
      np.average(values, axis=1, weights=weights)
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

  @property
  def map_std(self) -> float:
    """Standard deviation of the map in a pixel: a without noise."""
    return float(np.exp(self.log_input[0]))

  def at(self, sigma: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns a, b and c at sigma, tensors of its shape and dtype."""
    sigma = tf.convert_to_tensor(sigma)
    a, b, c = (
      tf.exp(sigma_table.SigmaTable(self.log_sigma, logs, is_even=True)(sigma))
      for logs in (self.log_input, self.log_wiener, self.log_error)
    )
    return a, b, c


class ResidualDenoiser:
  """The residual c F of the denoiser, in terms of a network F.

  For an architecture that returns a score (that of Remy et al. 2022), it is sigma^2
  times the residual score. The inputs of the network are then the noisy map and the
  Gaussian score in units of 1 / sigma (Eq. 23), and the scales are not used.

  Args:
    network: Keras model of `architectures.build`.
    architecture: Its `architectures.Architecture`.
    scales: `Scales`.
    survey: `conditions.NetworkSurvey` for a conditional network; None for another one.

  Raises:
    ValueError: If the network has conditions and there is no survey, or vice versa.
  """

  def __init__(
    self,
    network: keras.Model,
    architecture: architectures.Architecture,
    *,
    scales: Scales,
    survey: conditions.NetworkSurvey | None = None,
  ) -> None:
    if bool(architecture.num_conditions) != (survey is not None):
      raise ValueError(
        f"A network with {architecture.num_conditions} conditions needs"
        f" {'a' if architecture.num_conditions else 'no'} survey."
      )
    self.network = network
    self.architecture = architecture
    self.scales = scales
    self.survey = survey

  @property
  def compute_dtype(self) -> str:
    """Dtype of the network's convolutions."""
    return self.network.layers[-1].compute_dtype

  def __call__(
    self,
    noisy: tf.Tensor,
    wiener: tf.Tensor,
    sigma: tf.Tensor,
    training: bool = False,
  ) -> tf.Tensor:
    """Returns the residual, to be added to the Wiener denoiser, `[batch, ny, nx]`.

    Args:
      noisy: Noisy maps, `[batch, ny, nx]`.
      wiener: Their denoised maps by the Gaussian prior, `[batch, ny, nx]`.
      sigma: `[batch]`, positive.
      training: Whether batch statistics are used and updated.
    """
    if self.architecture.returns_score:
      std = sigma[:, tf.newaxis, tf.newaxis]
      inputs, scale = [noisy, (wiener - noisy) / std], tf.square(std)
    else:
      a, b, c = (s[:, tf.newaxis, tf.newaxis] for s in self.scales.at(sigma))
      inputs, scale = [noisy / a, wiener / b], c
    about = [sigma] if self.survey is None else self.survey.network_inputs(sigma)
    output = self.network([tf.stack(inputs, axis=-1), *about], training=training)
    return scale * tf.cast(output, noisy.dtype)

  def error_std(self, sigma: tf.Tensor) -> tf.Tensor:
    """Returns c, the standard deviation of the Wiener denoiser's error, `[batch]`."""
    return self.scales.at(sigma)[2]
