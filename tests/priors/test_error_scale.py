"""The error of a denoiser by what it finds, measured where it is known."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import priors
from tfp_massmap.priors import error_scale


def test_the_known_error_of_a_denoiser_is_found():
  """The denoiser gives +-0.3 for maps that differ by a known scatter from that; 5 %."""
  shape = (64, 64)
  gaussian = priors.GaussianPrior(np.full([64, 33], 0.01), shape)
  gaussian.denoise = lambda x, sigma: tf.where(x > 0, 0.3, -0.3)
  rng = np.random.default_rng(0)
  is_high = rng.uniform(size=[16, *shape]) < 0.5
  scatter = np.where(is_high, 0.02, 0.01) * rng.standard_normal(is_high.shape)
  sigmas = (0.01, 0.05)
  scale = error_scale.measure(
    gaussian, np.where(is_high, 0.3, -0.3) + scatter, sigmas=sigmas
  )
  places = tf.constant([[-0.3, 0.3, 5.0, -5.0]])
  rows = []
  for sigma in sigmas:
    wiener_std = np.sqrt(0.01 * sigma**2 / (0.01 + sigma**2))
    rows.append(scale(places, sigma))
    expected = np.array([[0.01, 0.02, 0.02, 0.01]]) / wiener_std
    np.testing.assert_allclose(rows[-1], expected, rtol=0.05)
  middle = scale(places, np.sqrt(np.prod(sigmas)))
  np.testing.assert_allclose(middle, np.sqrt(rows[0] * rows[1]), rtol=1e-4)
  copy = error_scale.ErrorScale(**json.loads(json.dumps(dataclasses.asdict(scale))))
  np.testing.assert_array_equal(copy(places, 0.03), scale(places, 0.03))


@pytest.mark.parametrize(
  "options",
  [
    dict(sigmas=(0.1,), kappas=(0.0, 1.0), log_scale=((0.0, 0.0),)),
    dict(sigmas=(0.1, 0.2), kappas=(1.0, 0.0), log_scale=((0.0, 0.0),) * 2),
    dict(sigmas=(0.1, 0.2), kappas=(0.0, 1.0), log_scale=((0.0, np.nan),) * 2),
  ],
)
def test_impossible_tables_are_refused(options):
  with pytest.raises(ValueError, match="rising sigmas"):
    error_scale.ErrorScale(**options)


def test_maps_that_are_too_few_or_of_another_shape_are_refused():
  prior = priors.GaussianPrior(np.full([8, 5], 0.01), (8, 8))
  with pytest.raises(ValueError, match="640 pixels are too few"):
    error_scale.measure(prior, np.zeros([10, 8, 8]))
  with pytest.raises(ValueError, match=r"Expected maps \[n, 8, 8\]; got \(3, 4, 4\)"):
    error_scale.measure(prior, np.zeros([3, 4, 4]))
