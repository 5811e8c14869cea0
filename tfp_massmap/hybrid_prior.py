"""The prior of Remy et al. (2022, Eq. 19): a Gaussian field, and a network for the rest.

A trained prior is two files, weights and a card (`nn.network_file`).
"""

import dataclasses
import warnings

from astropy import units as u
import numpy as np
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import prior as prior_lib
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.nn import devices
from tfp_massmap.nn import error_scale as error_scale_lib
from tfp_massmap.nn import linear_response as linear_response_lib
from tfp_massmap.nn import network_file
from tfp_massmap.nn import residual as residual_lib
from tfp_massmap.nn import unet
from tfp_massmap.simulate import source_planes

_CARD = (
    "architecture", "scales", "spectrum", "pixel_scale_arcmin", "sigma_range",
    "plane_weights",
)  # pyformat: disable
_PIXEL_TOLERANCE = 0.02
_POWER_TOLERANCE = 0.05
_POWER_ELL = 1000.0


class HybridPrior:
  """Gaussian prior plus a residual denoiser.

  Args:
    gaussian: `prior.GaussianPrior`, float32.
    residual: `nn.residual.ResidualDenoiser`, or any callable
      `fn(noisy, wiener, sigma)` of `[batch, ny, nx]`, `[batch, ny, nx]` and `[batch]`.
    sigma_range: smallest and largest sigma the residual was trained for.
    card: dict that says how it was made.
    error_scale: None, or `nn.error_scale.ErrorScale` of the denoiser.
    linear_response: None, or `fn(sigma)` of `[batch]` to `[batch, ny, nx // 2 + 1]`, what
      is to be taken out of the residual (`nn.linear_response`).
    residual_error: squared error of the residual in a Fourier mode, over sigma^2; see
      `chain_score`.

  Attributes:
    gaussian, residual, sigma_range, card, error_scale, linear_response, residual_error:
      as given.
    shape, dtype, mode_variance: those of the Gaussian prior.
  """

  def __init__(
      self, gaussian, residual, sigma_range=(0.0, np.inf), card=None, error_scale=None,
      linear_response=None, residual_error=0.01,
  ):
    self.gaussian = gaussian
    self.residual = residual
    self.sigma_range = tuple(float(s) for s in sigma_range)
    self.card = dict(card or {})
    self.error_scale = error_scale
    self.linear_response = linear_response
    self.residual_error = residual_error

  @property
  def shape(self):
    return self.gaussian.shape

  @property
  def dtype(self):
    return self.gaussian.dtype

  @property
  def mode_variance(self):
    return self.gaussian.mode_variance

  @property
  def compute_dtype(self):
    """Dtype of the network's convolutions, a string; None without a network."""
    network = getattr(self.residual, "network", None)
    return None if network is None else network.layers[-1].compute_dtype

  def smoothed_variance(self, sigma=0.0):
    """That of the Gaussian half; for preconditioning."""
    return self.gaussian.smoothed_variance(sigma)

  def denoise(self, x, sigma):
    """E[kappa | kappa + sigma noise = x], shape of `x`.

    Args:
      x: `[..., ny, nx]`.
      sigma: float, broadcasts with the leading axes of `x`.
    """
    sigma = tf.convert_to_tensor(sigma, self.dtype)
    variance = tf.square(sigma)[..., tf.newaxis, tf.newaxis]
    return self.gaussian.denoise(x, sigma) + variance * self.residual_score(x, sigma)

  def score(self, x, sigma):
    """Score of the smoothed prior, (denoise(x) - x) / sigma^2 (Tweedie), shape of `x`.

    Args:
      x: `[..., ny, nx]`.
      sigma: float, broadcasts with the leading axes of `x`.
    """
    return self.gaussian.score(x, sigma) + self.residual_score(x, sigma)

  def chain_score(self, x, sigma):
    """Score for chains that stay at one sigma, shape of `x`.

    A residual that errs by e in a mode pushes chains by e / sigma^2 there, against a
    Gaussian half that holds a mode of variance S by 1 / S: for sigma^2 far below S they
    drift away, and find haloes that are none. The true residual score of a mode is
    S^-1/2 at most, or so. With squared errors of `residual_error` sigma^2 the residual is
    therefore weighted by sigma^2 / (sigma^2 + residual_error S) in each mode, a Wiener
    filter.

    Args:
      x: `[..., ny, nx]`.
      sigma: float, broadcasts with the leading axes of `x`.
    """
    inside = tf.maximum(tf.convert_to_tensor(sigma, self.dtype), self.sigma_range[0])
    variance = tf.square(inside)[..., tf.newaxis, tf.newaxis]
    weight = variance / (variance + self.residual_error * self.mode_variance)
    residual = spectra.fourier_filter(self.residual_score(x, sigma), weight)
    return self.gaussian.score(x, sigma) + residual

  def residual_score(self, x, sigma):
    """What the network adds to the Gaussian score (Eq. 19), shape of `x`.

    Nothing above the range of sigma; below it, down to 0, what it is at its lower end. And
    nothing to the mean of a map: the noisy map tells it to sigma / sqrt(pixels), what a
    network says beyond that is its error, and no data hold it.

    Args:
      x: `[..., ny, nx]`.
      sigma: float, broadcasts with the leading axes of `x`.
    """
    x = tf.convert_to_tensor(x, self.dtype)
    sigma = tf.convert_to_tensor(sigma, self.dtype)
    low, high = self.sigma_range
    batch = tf.reshape(tf.broadcast_to(sigma, tf.shape(x)[:-2]), [-1])
    inside = tf.clip_by_value(batch, low, min(high, self.dtype.max))
    flat = tf.reshape(x, [-1, *self.shape])
    wiener = self.gaussian.denoise(flat, inside)
    added = self.residual(flat, wiener, inside)
    if self.linear_response is not None:
      added -= spectra.fourier_filter(flat, self.linear_response(inside))
    added -= tf.reduce_mean(added, axis=(-2, -1), keepdims=True)
    score = added / tf.square(inside)[:, None, None]
    score = tf.where((batch <= high)[:, tf.newaxis, tf.newaxis], score, 0)
    return tf.reshape(score, tf.shape(x))

  @classmethod
  def load(
      cls, path, grid, compute_dtype="auto", source_redshifts=None, source_counts=None
  ):
    """Reads a trained prior.

    Args:
      path: of `NAME.json` or `NAME.weights.h5`, or both without suffix; or the name of
        a prior that ships with the package.
      grid: `geometry.PixelGrid` of the maps.
      compute_dtype: of the network's convolutions, "float32" or "bfloat16", which
        changes the denoiser by some 1e-3 of its error; maps stay float32. "auto" is
        bfloat16 on processors that have it (1.7 times as fast there), float32
        elsewhere.
      source_redshifts: None, or redshifts of the galaxies, to be compared with those
        the prior was trained for.
      source_counts: weight of each galaxy; None counts each once.

    Returns:
      A `HybridPrior`, float32. A pixel scale or redshifts that the network was not
      trained for give a warning with numbers.

    Raises:
      FileNotFoundError: if one of the two files is missing.
      ValueError: for a card that is not one or was changed, or weights that are not the
        card's.
    """
    card, weights_path = network_file.find(path, "prior", _CARD)
    _check_pixel_scale(card, grid)
    if source_redshifts is not None:
      _check_redshifts(card, grid, source_redshifts, source_counts)
    spectrum = spectra.PowerSpectrum(**card["spectrum"])
    architecture = unet.Architecture(**card["architecture"])
    network = unet.build(architecture, devices.resolve_compute_dtype(compute_dtype))
    network.load_weights(weights_path)
    network.trainable = False
    scales = residual_lib.Scales(**{k: tuple(v) for k, v in card["scales"].items()})
    return cls(
        prior_lib.GaussianPrior.from_spectrum(spectrum, grid),
        residual_lib.ResidualDenoiser(network, architecture, scales),
        card["sigma_range"],
        card,
        _error_scale(card),
        _linear_response(card, grid),
    )


def shipped():
  """Names of the priors that ship with the package."""
  return network_file.shipped("prior")


def save(path, denoiser, spectrum, pixel_scale, sigma_range, training,
         plane_weights=None, overwrite=False):
  """Writes a trained prior, for `HybridPrior.load`.

  Args:
    path: of the two files, without suffix.
    denoiser: `nn.residual.ResidualDenoiser`.
    spectrum: `spectra.PowerSpectrum` of the Gaussian half.
    pixel_scale: angle.
    sigma_range: smallest and largest sigma of the training.
    training: dict for the card: data, length, validation figures.
    plane_weights: n(z) of the maps as weights of the source planes, see
      `simulate.source_planes`; None if it is not known.
    overwrite: whether existing files may be replaced.

  Raises:
    FileExistsError: if a file exists and `overwrite` is false.
  """
  if plane_weights is not None:
    plane_weights = np.asarray(plane_weights, float).tolist()
  card = dict(
      kind="prior",
      architecture=dataclasses.asdict(denoiser.architecture),
      scales=dataclasses.asdict(denoiser.scales),
      spectrum=dict(
          ell=spectrum.ell.tolist(), c_ell=spectrum.c_ell.tolist(), name=spectrum.name
      ),
      pixel_scale_arcmin=u.Quantity(pixel_scale).to_value(u.arcmin),
      sigma_range=[float(s) for s in sigma_range],
      plane_weights=plane_weights,
      mean_source_redshift=(
          None if plane_weights is None else source_planes.mean_redshift(plane_weights)
      ),
      training=training,
  )
  network_file.save(path, denoiser.network, card, overwrite)


def _error_scale(card):
  if "error_scale" not in card:
    return None
  return error_scale_lib.ErrorScale(**card["error_scale"])


def _linear_response(card, grid):
  if "linear_response" not in card:
    return None
  return linear_response_lib.LinearResponse(**card["linear_response"]).on(grid)


def _check_pixel_scale(card, grid):
  trained = card["pixel_scale_arcmin"]
  given = grid.pixel_scale.to_value(u.arcmin)
  if abs(given / trained - 1) > _PIXEL_TOLERANCE:
    warnings.warn(
        f"The prior was trained on pixels of {trained:.4g} arcmin and is used on pixels"
        f" of {given:.4g} arcmin, {given / trained:.3g} times as large: what the network"
        " learnt of shapes does not hold there. Resample the map, or train a prior.",
        stacklevel=3,
    )


def _check_redshifts(card, grid, redshifts, counts):
  """Compares the power that the galaxies see with that of the training."""
  if card["plane_weights"] is None:
    warnings.warn(
        "The prior does not say for which source redshifts it was trained: they cannot"
        " be compared with those of the galaxies.", stacklevel=3,
    )
    return
  weights = source_planes.weights_from_redshifts(redshifts, counts)
  powers = [
      simulate.ConvergenceSimulator(
          geometry.PixelGrid((32, 32), grid.pixel_scale), planes, mode="fast"
      ).wanted_power(np.array([_POWER_ELL]))[0]
      for planes in (weights, np.array(card["plane_weights"]))
  ]
  ratio = powers[0] / powers[1]
  if abs(ratio - 1) > _POWER_TOLERANCE:
    warnings.warn(
        "The prior was trained for sources of mean redshift"
        f" {source_planes.mean_redshift(card['plane_weights']):.2f} and is used for"
        f" {source_planes.mean_redshift(weights):.2f}: at ell = {_POWER_ELL:.0f} the"
        f" power of their convergence is {ratio:.2f} times that of the training. Train"
        " a prior for them: halo_kappa takes their redshifts.",
        stacklevel=3,
    )
