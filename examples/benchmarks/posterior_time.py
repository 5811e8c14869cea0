"""Section `time` of `posterior.py`: seconds a sample and memory with the trained prior.

The map of 360 x 360 pixels is tiled to 720 and, with --full, to 1440 pixels a side. The
time per pixel is given over that at 360.
"""

import argparse
import dataclasses
import resource
import time

import numpy as np
import posterior_setup as setup
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap.samplers import guided

# Pixels a side, and samples in a batch that fits into a few GiB of memory.
_SIZES = ((360, 8), (720, 2), (1440, 1))
_NUM_RUNS = 2


def run(
  options: argparse.Namespace,
  survey: shear_map_lib.ShearMap,
  *,
  prior: priors.HybridPrior,
) -> dict:
  """Prints the section, and returns its figures by number of pixels a side."""
  print(f"\nTime with the trained prior, {prior.compute_dtype}")
  evaluations = guided.GuidedSettings().num_score_evaluations
  figures = {}
  for size, batch_size in _SIZES if options.full else _SIZES[:2]:
    posterior = _tiled_posterior(options, survey, size=size)
    seconds = _seconds_per_sample(posterior, batch_size)
    figures[size] = dict(seconds=seconds)
    first = _SIZES[0][0]
    per_pixel = seconds / figures[first]["seconds"] * (first / size) ** 2
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    figures[size].update(time_per_pixel_ratio=per_pixel, peak_memory_gib=memory)
    print(
      f"{size:6d} pixels a side: {seconds:7.2f} s a sample ({evaluations} evaluations),"
      f" {per_pixel:.2f} times that of {first} per pixel; process at most"
      f" {memory:.2f} GiB",
      flush=True,
    )
  return figures


def _tiled_posterior(options, survey, *, size) -> posterior_lib.Posterior:
  tiles = size // survey.grid.shape[0]
  grid = geometry.PixelGrid((size, size), setup.PIXEL)
  tiled = dataclasses.replace(
    survey,
    shear=np.tile(survey.shear, (1, tiles, tiles)),
    noise_std=np.tile(survey.noise_std, (1, tiles, tiles)),
    mask=np.tile(survey.mask, (tiles, tiles)),
    grid=grid,
    count=None,
  )
  return setup.make_posterior(tiled, priors.HybridPrior.load(options.prior, grid))


def _seconds_per_sample(posterior, batch_size) -> float:
  draw = tf.function(
    lambda seed: guided.draw(posterior, batch_size, seed=seed)[0], autograph=False
  )
  draw(tf.constant([0, 0])).numpy()
  start = time.perf_counter()
  for seed in range(_NUM_RUNS):
    draw(tf.constant([1, seed])).numpy()
  return (time.perf_counter() - start) / _NUM_RUNS / batch_size
