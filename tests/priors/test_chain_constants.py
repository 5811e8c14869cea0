"""Constants of chains, measured with chains of known targets."""

import logging

import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import priors
from tfp_massmap.priors import chain_constants


@pytest.fixture(name="gaussian")
def _gaussian(toys, fiducial):
  return priors.GaussianPrior.from_spectrum(fiducial, toys.grid)


def _maps(gaussian):
  return gaussian.sample([16], seed=(3, 4)).numpy()


def test_exact_scores_stay_and_three_in_four_proposals_are_accepted(
  gaussian, monkeypatch
):
  """Residuals of zero: a change beyond 5 % and 2 errors is no drift, but chance."""
  monkeypatch.setattr(chain_constants, "SHARES", (0.4, 0.1))
  monkeypatch.setattr(chain_constants, "RESIDUAL_ERRORS", (0.01,))
  prior = priors.HybridPrior(gaussian, lambda noisy, wiener, sigma: 0 * noisy)
  found = chain_constants.measure(prior, _maps(gaussian))
  assert found.last_sigma == found.last_sigma_of_factors == 0.1
  assert found.residual_error == 0.01
  step = found.step_size * (360 / 32) ** 0.5
  again = chain_constants._make_run(prior, _maps(gaussian), step, 1)(0.1, 0.01)
  assert again.acceptance == pytest.approx(0.75, abs=0.05)
  assert found.typical_variance == prior.constants.typical_variance


def test_scores_that_feed_structures_do_not_stay(gaussian, monkeypatch, caplog):
  """The residual adds a third of the signal; at small sigma it wins."""
  monkeypatch.setattr(chain_constants, "SHARES", (0.4, 0.15))
  monkeypatch.setattr(chain_constants, "RESIDUAL_ERRORS", (1e-4, 1e-5))
  growing = lambda noisy, wiener, sigma: 0.5 * wiener
  prior = priors.HybridPrior(gaussian, growing)
  with caplog.at_level(logging.WARNING):
    found = chain_constants.measure(prior, _maps(gaussian))
  assert "do not stay on their target at 0.4 of the noise" in caplog.text
  assert found.last_sigma == 0.4 and found.last_sigma_of_factors == 0.25


def test_the_better_residual_error_is_chosen(gaussian, monkeypatch):
  """A residual of pure noise, the same at each call, needs the larger weight."""
  monkeypatch.setattr(chain_constants, "SHARES", (0.15,))
  monkeypatch.setattr(chain_constants, "RESIDUAL_ERRORS", (1e-6, 0.03))

  def wrong(noisy, wiener, sigma):
    del wiener
    white = tf.random.stateless_normal(noisy.shape[1:], (1, 2), dtype=noisy.dtype)
    return 0.17 * sigma[:, None, None] * white

  found = chain_constants.measure(priors.HybridPrior(gaussian, wrong), _maps(gaussian))
  assert found.residual_error == 0.03


def test_large_changes_are_none_of_chance():
  """A change that is not finite is a drift, too."""
  stays = lambda change, error: (
    chain_constants.Outcome(np.array([0.0, change]), np.array([0.0, error]), 0.8).stays
  )
  assert stays(0.04, 0.0) and stays(-0.2, 0.1)
  assert not stays(0.06, 0.0) and not stays(0.3, 0.2) and not stays(np.nan, np.nan)
  bad = chain_constants.Outcome(np.array([np.nan]), np.array([np.nan]), 0.0)
  assert bad.size == np.inf


def test_acceptance_follows_from_the_square_of_the_step():
  """Phi(-s / 2) with s = 0.637 is accepted three times in four."""
  step = chain_constants._accepted_step
  assert step(0.1, 0.75) == pytest.approx(0.1)
  assert step(0.1, 0.9) > 0.1 > step(0.1, 0.5)
  error = lambda rate: -2 * chain_constants.stats.norm.ppf(rate / 2)
  assert step(0.1, 0.9) == pytest.approx(0.1 * np.sqrt(error(0.75) / error(0.9)))


def test_one_map_is_not_enough(gaussian):
  prior = priors.HybridPrior(gaussian, lambda noisy, wiener, sigma: 0 * noisy)
  with pytest.raises(ValueError, match="two or more maps; got 1"):
    chain_constants.measure(prior, _maps(gaussian)[:1])
