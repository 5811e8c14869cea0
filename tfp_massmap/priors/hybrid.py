"""The prior of Remy et al. (2022, Eq. 19): a Gaussian field, and a network for the rest.

A trained prior is two files, weights and a card (`nn.network_file`).
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import hashlib
import json
import os
import typing

from astropy import units as u
import numpy as np
import tensorflow as tf

from tfp_massmap import devices
from tfp_massmap import geometry
from tfp_massmap import spectra
from tfp_massmap import theory
from tfp_massmap.nn import architectures
from tfp_massmap.nn import network_file
from tfp_massmap.priors import conditions
from tfp_massmap.priors import error_scale as error_scale_lib
from tfp_massmap.priors import gaussian as gaussian_prior
from tfp_massmap.priors import interface
from tfp_massmap.priors import linear_response as linear_response_lib
from tfp_massmap.priors import residual as residual_lib
from tfp_massmap.priors import survey_corrections
from tfp_massmap.priors import survey_fit

_CARD = ("architecture", "sigma_range")


class HybridPrior:
  """A Gaussian component plus a residual denoiser, learnt from simulations.

  It has all members of `priors.Prior`.

  Args:
    gaussian: `priors.GaussianPrior`, float32.
    residual: `priors.residual.ResidualDenoiser`, or any callable
      `fn(noisy, wiener, sigma)` of `[batch, ny, nx]`, `[batch, ny, nx]` and `[batch]`.
    sigma_range: Smallest and largest sigma the residual was trained for.
    card: Dict that says how the residual was made.
    error_scale: None, or `priors.error_scale.ErrorScale` of the denoiser.
    linear_response: None, or `fn(sigma)` of `[batch]` to `[batch, ny, nx // 2 + 1]`: the
      part of the residual to be subtracted (`priors.linear_response`).
    constants: `priors.SamplerConstants`.
    name: Name for headers of products.
    survey: What the residual was told of the survey, for headers and checksums; empty
      for a network of one survey.

  Attributes:
    gaussian, residual, sigma_range, card, error_scale, linear_response, constants: As
      given.
  """

  is_gaussian = False

  def __init__(
    self,
    gaussian: gaussian_prior.GaussianPrior,
    residual: Callable,
    *,
    sigma_range: tuple[float, float] = (0.0, np.inf),
    card: dict | None = None,
    error_scale: error_scale_lib.ErrorScale | None = None,
    linear_response: Callable | None = None,
    constants: interface.SamplerConstants = interface.SamplerConstants(),
    name: str = "hybrid",
    survey: str = "",
  ) -> None:
    self.gaussian = gaussian
    self.residual = residual
    smallest, largest = sigma_range
    self.sigma_range = (float(smallest), float(largest))
    self.card = dict(card or {})
    self.error_scale = error_scale
    self.linear_response = linear_response
    self.constants = constants
    self._name, self._survey = name, survey

  @property
  def shape(self) -> tuple[int, int]:
    """`(ny, nx)` of the maps."""
    return self.gaussian.shape

  @property
  def dtype(self) -> tf.DType:
    """Dtype of the maps."""
    return self.gaussian.dtype

  @property
  def network(self) -> residual_lib.ResidualDenoiser | None:
    """The residual if it is a Keras network; None for another callable."""
    residual = self.residual
    return residual if isinstance(residual, residual_lib.ResidualDenoiser) else None

  @property
  def network_survey(self) -> conditions.NetworkSurvey | None:
    """The survey that a conditional network is told of; None for another one."""
    return None if self.network is None else self.network.survey

  @property
  def compute_dtype(self) -> str | None:
    """Dtype of the network's convolutions; None without a network."""
    return None if self.network is None else self.network.compute_dtype

  @property
  def description(self) -> str:
    """Name, weights and arithmetic, for headers of products."""
    weights = self.card.get("weights_sha256")
    if weights is None:
      return self._name
    parts = [self._name, self._survey, f"weights {weights[:16]}", self.compute_dtype]
    return ", ".join(filter(None, parts))

  def denoise(self, x: tf.Tensor, sigma: tf.Tensor | float) -> tf.Tensor:
    """Returns E[kappa | kappa + sigma noise = x], of the shape of `x`.

    Args:
      x: `[..., ny, nx]`.
      sigma: Broadcasts with the leading axes of `x`.
    """
    sigma = tf.convert_to_tensor(sigma, self.dtype)
    variance = tf.square(sigma)[..., tf.newaxis, tf.newaxis]
    return self.gaussian.denoise(x, sigma) + variance * self.residual_score(x, sigma)

  def score(self, x: tf.Tensor, sigma: tf.Tensor | float) -> tf.Tensor:
    """Returns the score of the smoothed prior, (denoise(x) - x) / sigma^2 (Tweedie).

    Args:
      x: `[..., ny, nx]`.
      sigma: Broadcasts with the leading axes of `x`.
    """
    return self.gaussian.score(x, sigma) + self.residual_score(x, sigma)

  def chain_score(
    self,
    x: tf.Tensor,
    sigma: tf.Tensor | float,
    *,
    residual_error: tf.Tensor | float | None = None,
  ) -> tf.Tensor:
    """Returns the score for chains that stay at one sigma, of the shape of `x`.

    An error e of the denoiser in a Fourier mode adds e / sigma^2 to the score, while the
    Gaussian prior restores the mode with strength 1 / S. When sigma^2 << S the error
    wins: chains drift and form spurious haloes. The true residual score of a mode is of
    order S^-1/2 at most. With errors of variance `constants.residual_error` times
    sigma^2, the Wiener weight of the residual is

      sigma^2 / (sigma^2 + residual_error S).

    Args:
      x: `[..., ny, nx]`.
      sigma: Broadcasts with the leading axes of `x`.
      residual_error: None for that of `constants`.
    """
    if residual_error is None:
      residual_error = self.constants.residual_error
    inside = tf.maximum(tf.convert_to_tensor(sigma, self.dtype), self.sigma_range[0])
    variance = tf.square(inside)[..., tf.newaxis, tf.newaxis]
    error = residual_error * self.gaussian.mode_variance
    weight = variance / (variance + error)
    residual = spectra.fourier_filter(self.residual_score(x, sigma), weight)
    return self.gaussian.score(x, sigma) + residual

  def relative_error(self, denoised: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """Returns the error that `denoise` leaves, over the Wiener filter's.

    Args:
      denoised: `[batch, ny, nx]`.
      sigma: Scalar.

    Returns:
      The shape of `denoised`; a scalar 1 without an `error_scale`.
    """
    if self.error_scale is None:
      return tf.ones([], denoised.dtype)
    return self.error_scale(denoised, sigma)

  def residual_score(self, x: tf.Tensor, sigma: tf.Tensor | float) -> tf.Tensor:
    """Returns what the network adds to the Gaussian score (Remy et al. 2022, Eq. 19).

    Zero above `sigma_range`; held at its lower end below it. Its map mean is removed:
    the noisy map already fixes the mean to sigma / sqrt(num_pixels), so anything the
    network adds is error that no data would correct.

    Args:
      x: `[..., ny, nx]`.
      sigma: Broadcasts with the leading axes of `x`.

    Returns:
      The shape of `x`.
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

  def fingerprint(self) -> str:
    """Returns a checksum of the Gaussian component, the network and what was measured.

    The card's checksum includes those of the weights and of the measured tables; what is
    measured for a survey is part of its description. Without a card the weights
    themselves are read; a callable that is no network is not identified.
    """
    parts = [
      self.gaussian.fingerprint(),
      self.card.get("card_sha256") or self._weights_checksum(),
      self.compute_dtype,
      self.error_scale,
      self.constants,
    ]
    if self._survey:
      parts.append(self._survey)
    return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()

  def _weights_checksum(self) -> str | None:
    if self.network is None:
      return None
    digest = hashlib.sha256()
    for weights in self.network.network.get_weights():
      digest.update(np.ascontiguousarray(weights).tobytes())
    return digest.hexdigest()

  @classmethod
  def load(
    cls,
    path: str | os.PathLike,
    grid: geometry.PixelGrid,
    *,
    compute_dtype: str = "auto",
    sources: theory.SourceRedshifts | None = None,
    cosmology: theory.Cosmology | None = None,
    corrections: bool = True,
    corrected_at: theory.Cosmology | None = None,
    progress: bool = True,
  ) -> "HybridPrior":
    """Reads a trained prior, for one survey.

    Args:
      path: Path of `NAME.json` or `NAME.weights.h5`, or of both without suffix; or the
        name of a prior that ships with the package.
      grid: `geometry.PixelGrid` of the maps.
      compute_dtype: Dtype of the network's convolutions, "float32" or "bfloat16", which
        changes the denoiser by about 1e-3 of its error; maps stay float32. "auto" is
        bfloat16 on processors that have it and float32 elsewhere (`devices`).
      sources: The n(z) of the galaxies. A prior of any survey needs it. One of a single
        survey compares it with that of the training; None leaves it unchecked.
      cosmology: `theory.Cosmology`, for a prior of any survey; None for that of
        kappaTNG.
      corrections: Whether a prior of any survey gets the corrections that are measured
        for this one (`priors.survey_corrections`): at most a minute the first time, then
        read from a cache.
      corrected_at: Cosmology for which they are measured; None for `cosmology`. Priors of
        neighbouring cosmologies can share one measurement.
      progress: Whether to show a progress bar of that on standard error.

    Returns:
      A `HybridPrior`, float32. Pixels, redshifts or a cosmology that the network was not
      trained for give a warning with numbers.

    Raises:
      FileNotFoundError: If one of the two files is missing.
      ValueError: If the card is not one or was changed, the weights are not those of
        the card, or the prior cannot take the n(z) or the cosmology.
    """
    card, weights_path = network_file.find(path, "prior", needed=_CARD)
    fit = survey_fit.fit(card, grid, sources=sources, cosmology=cosmology)
    architecture = architectures.Architecture(**card["architecture"])
    dtype = devices.resolve_compute_dtype(compute_dtype)
    network = architectures.build(architecture, compute_dtype=dtype)
    network.load_weights(weights_path)
    network.trainable = False
    residual = residual_lib.ResidualDenoiser(
      network, architecture, scales=fit.scales, survey=fit.survey
    )
    tables = _Tables.of_card(card)
    if fit.is_of_any_survey and corrections:
      tables = _measured(
        card, residual, grid, fit=fit, cosmology=corrected_at, progress=progress
      )
    return cls(
      gaussian_prior.GaussianPrior.from_spectrum(fit.spectrum, grid),
      residual,
      sigma_range=fit.sigma_range,
      card=card,
      error_scale=tables.error_scale,
      linear_response=tables.linear_response and tables.linear_response.on(grid),
      constants=interface.SamplerConstants(**card.get("constants", {})),
      name=os.path.basename(path),
      survey=tables.describe(fit.describe()),
    )


def shipped() -> list[str]:
  """Returns the names of the priors that ship with the package."""
  return network_file.shipped("prior")


def save(
  path: str | os.PathLike,
  denoiser: residual_lib.ResidualDenoiser,
  *,
  spectrum: spectra.PowerSpectrum,
  pixel_scale: u.Quantity,
  sigma_range: tuple[float, float],
  training: dict,
  sources: theory.SourceRedshifts | None = None,
  overwrite: bool = False,
) -> None:
  """Writes a trained prior, for `HybridPrior.load`.

  Args:
    path: Path of the two files, without suffix.
    denoiser: `priors.residual.ResidualDenoiser`.
    spectrum: `spectra.PowerSpectrum` of the Gaussian component.
    pixel_scale: Side of a pixel, an angle.
    sigma_range: Smallest and largest sigma of the training.
    training: Dict for the card: data, length, validation figures.
    sources: n(z) of the maps; None if it is not known.
    overwrite: Whether existing files may be replaced.

  Raises:
    FileExistsError: If a file exists and `overwrite` is false.
  """
  card = dict(
    kind="prior",
    architecture=dataclasses.asdict(denoiser.architecture),
    scales=dataclasses.asdict(denoiser.scales),
    spectrum=dict(
      ell=spectrum.ell.tolist(), c_ell=spectrum.c_ell.tolist(), name=spectrum.name
    ),
    pixel_scale_arcmin=u.Quantity(pixel_scale).to_value(u.arcmin),
    sigma_range=[float(s) for s in sigma_range],
    sources=None if sources is None else sources.as_card(),
    training=training,
  )
  if denoiser.survey is not None:
    card["network_survey"] = denoiser.survey.as_card()
  network_file.save(path, denoiser.network, card=card, overwrite=overwrite)


def network_checksum(card: Mapping) -> str:
  """Returns a checksum of what decides the residual of a prior for any survey.

  Args:
    card: Card of the prior.
  """
  names = ("weights_sha256", "conditioning", "sigma_range", "small_scales")
  content = json.dumps({name: card[name] for name in names}, sort_keys=True)
  return hashlib.sha256(content.encode()).hexdigest()


class _Tables(typing.NamedTuple):
  """The error scale and the linear response of a network; None where not measured."""

  error_scale: error_scale_lib.ErrorScale | None
  linear_response: linear_response_lib.LinearResponse | None

  def describe(self, survey):
    """Returns the words for a survey, with a checksum of what was measured for it."""
    if not survey or self.error_scale is None:
      return survey
    content = f"{self.error_scale} {self.linear_response}"
    checksum = hashlib.sha256(content.encode()).hexdigest()[:8]
    return f"{survey}, corrections {checksum}"

  @classmethod
  def of_card(cls, card):
    """Returns those of a card."""
    scale, response = (card.get(name) for name in cls._fields)
    return cls(
      None if scale is None else error_scale_lib.ErrorScale(**scale),
      None if response is None else linear_response_lib.LinearResponse(**response),
    )


def _measured(card, residual, grid, *, fit, cosmology, progress):
  """Returns the tables that are measured for a survey, or were before."""
  if cosmology is not None and cosmology != fit.cosmology:
    fit = survey_fit.fit(card, grid, sources=fit.sources, cosmology=cosmology)
    residual = residual_lib.ResidualDenoiser(
      residual.network, residual.architecture, scales=fit.scales, survey=fit.survey
    )
  survey = survey_corrections.Survey(fit.pixel_scale_arcmin, fit.sources, fit.cosmology)
  gaussian = gaussian_prior.GaussianPrior.from_spectrum(fit.spectrum, survey.crop_grid)
  prior = HybridPrior(gaussian, residual, sigma_range=fit.sigma_range)
  found = survey_corrections.get(
    tf.function(
      lambda x, sigma: tf.square(sigma)[:, None, None] * prior.residual_score(x, sigma),
      autograph=False,
    ),
    survey,
    mode_variance=np.asarray(gaussian.mode_variance, np.float64),
    sigma_range=fit.sigma_range,
    network=network_checksum(card),
    compute_dtype=residual.compute_dtype,
    shipped=card.get("corrections", {}),
    progress=progress,
  )
  return _Tables(found.error_scale, found.linear_response)
