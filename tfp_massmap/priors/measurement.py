"""Numbers that belong to a trained network, for its card.

The linear response, the error scale and the typical variance are measured on validation
maps. The other constants of samplers are not: those of chains are found with chains,
which stand after priors, and of the residual's error `examples/benchmarks/prior.py`
measures a lower bound. A new card gets the defaults of these, and `constants_source` says
where each comes from.
"""

from collections.abc import Sequence
import dataclasses
import os

from astropy import units as u
import numpy as np
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap.nn import network_file
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

_DEFAULT_SOURCE = dict(
  residual_error=(
    "default, the value of cosmos-halo; examples/benchmarks/prior.py measures a lower"
    " bound"
  ),
  typical_variance=(
    "default, steps exact for the mean variance, as no validation maps measured it;"
    " examples/benchmarks/sweeps.py --reference 40 shows what few steps do"
  ),
  last_sigma="default, the value of cosmos-halo; examples/benchmarks/posterior.py"
  " calibration tests samples",
  last_sigma_of_factors="default, the value of cosmos-halo, as last_sigma",
  step_size="default, the value of cosmos-halo; annealed samples report the acceptance",
)


def default_constants() -> dict:
  """Returns `constants` and `constants_source`, the entries of a new card."""
  constants = dataclasses.asdict(interface.SamplerConstants())
  return dict(constants=constants, constants_source=dict(_DEFAULT_SOURCE))


def measure_card(
  path: str | os.PathLike,
  maps: Sequence[np.ndarray],
  *,
  side: int,
  most: int = MOST_CROPS,
) -> None:
  """Measures linear response, error scale and typical variance, for the card of a prior.

  Args:
    path: Path of the card, the weights, or both without suffix.
    maps: `[n, ny, nx]` of the prior's pixel scale, if possible none of its training.
    side: Side of the crops that are denoised, in pixels.
    most: Largest number of crops.

  Raises:
    FileNotFoundError: If a file of the prior is missing.
    ValueError: If the prior cannot be read, or the crops have too few pixels.
  """
  card, _ = network_file.find(path, "prior", needed=())
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
  typical = typical_variance(hybrid.HybridPrior.load(path, grid), crops[:_MOST_TYPICAL])
  card = default_constants() | card
  card["constants"] = {**card["constants"], "typical_variance": round(typical, 4)}
  card["constants_source"] = {
    **card["constants_source"],
    "typical_variance": "measured by priors.measurement.typical_variance",
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
