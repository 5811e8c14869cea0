"""Numbers that belong to a trained network, for its card.

`measure_card` measures all of them on validation maps: the linear response, the error
scale and the typical variance by denoising, the constants of chains by chains that start
at exact draws of their target (`chain_constants`). `constants_source` says so in the
card. A prior without enough validation maps gets the defaults.
"""

from collections.abc import Sequence
import dataclasses
import os

from astropy import units as u
import numpy as np
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap.nn import network_file
from tfp_massmap.priors import chain_constants
from tfp_massmap.priors import error_scale
from tfp_massmap.priors import hybrid
from tfp_massmap.priors import interface
from tfp_massmap.priors import linear_response

# Noise levels of `typical_variance`: those of the flows of samplers on data whose noise is
# 0.02 to 0.3 a pixel.
_TYPICAL_SIGMAS = tuple(np.geomspace(0.02, 0.3, 7))
_MOST_TYPICAL = 8  # Maps of 192 x 192 pixels fix a median to 1 %.

# With 192 x 192 pixels each, 4.7 million pixels: a few minutes of one core.
MOST_CROPS = 128

_DEFAULT = "default: no validation maps measured it"
_SOURCES = dict(
  residual_error="chain_constants",
  typical_variance="measurement.typical_variance",
  last_sigma="chain_constants",
  last_sigma_of_factors="chain_constants",
  step_size="chain_constants",
)


def default_constants() -> dict:
  """Returns `constants` and `constants_source`, the entries of a new card."""
  constants = dataclasses.asdict(interface.SamplerConstants())
  return dict(constants=constants, constants_source=dict.fromkeys(constants, _DEFAULT))


def measure_card(
  path: str | os.PathLike,
  maps: Sequence[np.ndarray],
  *,
  side: int,
  most: int = MOST_CROPS,
  progress: bool = False,
) -> None:
  """Measures what samplers need to know of a network, and completes its card.

  It takes some minutes for the tables, and about 20 for the constants of chains.

  Args:
    path: Path of the card, the weights, or both without suffix.
    maps: `[n, ny, nx]` of the prior's pixel scale, if possible none of its training.
    side: Side of the crops that are denoised, in pixels.
    most: Largest number of crops.
    progress: Whether to show a progress bar of the chains on standard error.

  Raises:
    FileNotFoundError: If a file of the prior is missing.
    ValueError: If the prior cannot be read, or the crops have too few pixels.
  """
  card, _ = network_file.find(path, "prior", needed=())
  if "conditioning" in card:
    raise ValueError(
      f"{path} serves any survey: its tables are measured for each when it is loaded"
      " (priors.survey_corrections)."
    )
  for name in ("linear_response", "error_scale"):
    card.pop(name, None)
  network_file.rewrite_card(path, card)
  grid = geometry.PixelGrid((side, side), card["pixel_scale_arcmin"] * u.arcmin)
  crops = crops_of(maps, side, most=most)
  prior = hybrid.HybridPrior.load(path, grid)
  residual_fn = tf.function(
    lambda x, sigma: tf.square(sigma)[:, None, None] * prior.residual_score(x, sigma),
    autograph=False,
  )
  sigmas = np.geomspace(*prior.sigma_range, linear_response.NUM_SIGMAS)
  response = linear_response.measure(residual_fn, crops, grid=grid, sigmas=sigmas)
  card["linear_response"] = dataclasses.asdict(response)
  network_file.rewrite_card(path, card)
  # The error is that of the denoiser without its linear response.
  prior = hybrid.HybridPrior.load(path, grid)
  card["error_scale"] = dataclasses.asdict(error_scale.measure(prior, crops))
  network_file.rewrite_card(path, card)
  prior = hybrid.HybridPrior.load(path, grid)
  constants = dataclasses.replace(
    chain_constants.measure(prior, crops, progress=progress),
    typical_variance=round(typical_variance(prior, crops[:_MOST_TYPICAL]), 4),
  )
  card["constants"] = dataclasses.asdict(constants)
  card["constants_source"] = {
    name: f"measured by priors.{source}" for name, source in _SOURCES.items()
  }
  network_file.rewrite_card(path, card)


def typical_variance(
  prior: interface.Prior,
  maps: Sequence[np.ndarray],
  *,
  sigmas: Sequence[float] = _TYPICAL_SIGMAS,
  seed: int = 0,
) -> float:
  """Returns the median over pixels of the squared relative error of a denoiser.

  It is the variance that the denoiser leaves in a typical pixel, over the mean variance
  of the Gaussian component: the median over pixels at each noise level, and over levels.

  Args:
    prior: `priors.Prior`.
    maps: `[n, ny, nx]`, of the shape of the prior.
    sigmas: Noise levels.
    seed: Integer, of the noise.
  """
  denoise = tf.function(prior.denoise, autograph=False)
  medians = []
  for index, sigma in enumerate(np.asarray(sigmas, np.float32)):
    squares = []
    for number, kappa in enumerate(maps):
      rng = np.random.default_rng([seed, index, number])
      noisy = kappa + sigma * rng.standard_normal(np.shape(kappa), np.float32)
      denoised = denoise(
        tf.constant(noisy[np.newaxis], prior.dtype), tf.constant(sigma)
      )
      error = prior.relative_error(denoised, tf.constant(sigma))
      squares.append(np.square(np.broadcast_to(error, denoised.shape)))
    medians.append(np.median(squares))
  return float(np.median(medians))


def crops_of(
  maps: Sequence[np.ndarray], side: int, *, most: int = MOST_CROPS
) -> list[np.ndarray]:
  """Returns crops side by side, at most `most`, the first one of each map first.

  Args:
    maps: `[n, ny, nx]`.
    side: Side of a crop, in pixels.
    most: Largest number of crops.
  """
  size = min(np.shape(maps)[1:])
  corners = [
    (row, column)
    for row in range(0, size - side + 1, side)
    for column in range(0, size - side + 1, side)
  ]
  return [
    kappa[row : row + side, column : column + side]
    for row, column in corners
    for kappa in maps
  ][:most]
