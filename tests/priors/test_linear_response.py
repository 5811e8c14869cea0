"""The linear response of a residual, measured and subtracted."""

import dataclasses
import json

from astropy import units as u
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import priors
from tfp_massmap import spectra
from tfp_massmap.priors import linear_response
from tfp_massmap.samplers import probability_flow

GRID = geometry.PixelGrid((30, 36), 1.0 * u.arcmin)
BETA = 0.02


@pytest.fixture(name="gaussian", scope="module")
def _gaussian():
  return priors.GaussianPrior.from_spectrum(
    spectra.PowerSpectrum.fiducial_cosmos(), GRID
  )


def _proportional(x, *more):
  del more
  return BETA * x


def test_known_response_is_found(gaussian):
  """Exactly, for any maps: F = (0.02 + sigma T(ell)) x with T stepwise constant."""
  ell = GRID.multipoles()
  transfer = np.where(ell > 3000, 0.1, -0.05)
  response = linear_response.measure(
    lambda x, sigma: spectra.fourier_filter(x, np.float32(0.02 + sigma[0] * transfer)),
    gaussian.sample([2], seed=(1, 2)).numpy(),
    grid=GRID,
    sigmas=(0.1, 0.4),
  )
  table, multipoles = np.array(response.response), np.array(response.multipoles)
  for row, sigma in zip(table, (0.1, 0.4)):
    low, high = multipoles < 2300, multipoles > 4000
    assert low.any() and high.any()
    np.testing.assert_allclose(row[low], 0.02 - 0.05 * sigma, atol=1e-6)
    np.testing.assert_allclose(row[high], 0.02 + 0.1 * sigma, atol=1e-6)


def test_independent_additions_have_no_response(gaussian):
  """Fields independent of x: beta is 0 within 5 of its standard errors."""
  maps = gaussian.sample([20], seed=(1, 2)).numpy()
  fields = iter(gaussian.sample([40], seed=(3, 4)).numpy())
  response = linear_response.measure(
    lambda x, sigma: tf.constant(next(fields)[None]),
    maps,
    grid=GRID,
    sigmas=(0.05, 0.1),
  )
  ell = GRID.multipoles()
  edges = np.array(response.multipoles)
  modes = (
    40 * np.histogram(ell, np.geomspace(edges[0] / 1.3, edges[-1] * 1.3, 12))[0].min()
  )
  assert np.abs(response.response).max() < 5 / np.sqrt(modes)


def test_interpolation_and_edges():
  response = linear_response.LinearResponse(
    (0.01, 0.1, 1.0), (1000.0, 10000.0), response=((0, 1), (2, 3), (4, 5))
  )
  assert response == linear_response.LinearResponse(
    **{
      name: tuple(map(tuple, value)) if name == "response" else tuple(value)
      for name, value in json.loads(json.dumps(dataclasses.asdict(response))).items()
    }
  )
  ell = GRID.multipoles()
  place = np.clip(np.log10(np.maximum(ell, 1) / 1000), 0, 1)
  sigma = tf.constant([0.01, 0.1**1.5, 0.1, 0.5, 1e-4, 7.0])
  levels = np.array([0, 1, 2, 2 + 2 * np.log10(5), 0, 4])
  expected = levels[:, None, None] + place
  for compiled in (False, True):
    function = tf.function(response.on(GRID), jit_compile=compiled)
    np.testing.assert_allclose(function(sigma), expected, atol=1e-4)


def test_priors_subtract_the_response(gaussian):
  """Without its response, a residual that is proportional to x is zero."""
  plain = priors.HybridPrior(gaussian, _proportional, sigma_range=(1e-3, 2.0))
  response = linear_response.measure(
    _proportional,
    gaussian.sample([2], seed=(1, 2)).numpy(),
    grid=GRID,
    sigmas=np.geomspace(0.003, 1.5, linear_response.NUM_SIGMAS),
  )
  mended = priors.HybridPrior(
    gaussian, _proportional, sigma_range=(1e-3, 2.0), linear_response=response.on(GRID)
  )
  x = tf.random.stateless_normal([3, *GRID.shape], (1, 2))
  sigma = tf.constant([0.01, 0.2, 1.0])
  expected = gaussian.denoise(x, sigma)
  np.testing.assert_allclose(mended.denoise(x, sigma), expected, atol=1e-5)
  assert np.abs(plain.denoise(x, sigma) - expected).max() > 0.05


def test_response_changes_the_power_of_samples_as_predicted(gaussian):
  """The factor is exp(2 int beta dln sigma) from 1 to 0.01, then (1 + beta / 2)^2 to 0.

  The last step is 20 times as long as the one before, too long for the rule to follow
  the change of 1 / sigma^2, which it integrates as constant.
  """
  sigmas = probability_flow.sigma_ladder(1.0, 0.01, num_steps=200)
  prior = priors.HybridPrior(gaussian, _proportional, sigma_range=(1e-3, 2.0))
  draw = lambda p: probability_flow.sample_prior(
    p, 4, seed=(5, 6), sigmas=sigmas
  ).numpy()
  large = GRID.multipoles() < 2000  # S is far above the last sigma squared there.
  power = lambda maps: np.mean(np.abs(np.fft.rfft2(maps)[:, large]) ** 2)
  ratio = power(draw(prior)) / power(draw(_without_residual(gaussian)))
  expected = np.exp(2 * BETA * np.log(100)) * (1 + BETA / 2) ** 2
  assert ratio == pytest.approx(expected, rel=0.01)


def _without_residual(gaussian):
  """Returns the prior with a residual of zero, for the same flow."""
  return priors.HybridPrior(gaussian, lambda x, *_: 0 * x, sigma_range=(1e-3, 2.0))


def test_impossible_tables_and_maps_are_refused():
  for changes in (
    dict(sigmas=(0.1, 0.01)),
    dict(multipoles=(0.0, 1.0)),
    dict(response=((0, 1),)),
    dict(response=((0, np.nan), (1, 2))),
  ):
    options = dict(sigmas=(0.01, 0.1), multipoles=(1.0, 2.0), response=((0, 1), (2, 3)))
    with pytest.raises(ValueError, match="linear response needs"):
      linear_response.LinearResponse(**{**options, **changes})
  with pytest.raises(ValueError, match=r"maps of \(30, 36\) pixels; got 1 of .*30, 30"):
    linear_response.measure(
      _proportional, np.zeros([1, 30, 30]), grid=GRID, sigmas=(0.1, 1.0)
    )
