"""Numbers that belong to a trained network, measured on validation maps, for its card."""

import dataclasses

from astropy import units as u
import numpy as np
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap.nn import network_file
from tfp_massmap.priors import error_scale
from tfp_massmap.priors import hybrid
from tfp_massmap.priors import linear_response

MOST_CROPS = 128


def measure_card(path, maps, *, side, most=MOST_CROPS):
  """Measures the linear response and the error scale of a prior, for its card.

  Args:
    path: of the card, the weights, or both without ending.
    maps: `[n, ny, nx]` of the prior's pixel scale; best not of its training.
    side: of the crops that are denoised, in pixels.
    most: number of crops.

  Raises:
    As `priors.HybridPrior.load` and `priors.error_scale.measure`.
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
  sigmas = np.geomspace(*prior.sigma_range, 12)
  response = linear_response.measure(residual_fn, crops, grid=grid, sigmas=sigmas)
  card["linear_response"] = dataclasses.asdict(response)
  network_file.rewrite_card(path, card)
  prior = hybrid.HybridPrior.load(path, grid)
  card["error_scale"] = dataclasses.asdict(error_scale.measure(prior, crops))
  network_file.rewrite_card(path, card)


def crops_of(maps, side, *, most=MOST_CROPS):
  """Crops side by side, at most `most`, first one of each map."""
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
