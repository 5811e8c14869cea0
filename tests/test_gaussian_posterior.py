"""Exact means and draws of Gaussian posteriors, against dense algebra."""

import dense_gaussian
import numpy as np
import pytest

from tfp_massmap import baselines
from tfp_massmap import gaussian_posterior

SHAPE = (10, 12)


@pytest.fixture(name="posterior")
def _posterior(fiducial, make_shear_map):
  return dense_gaussian.problem(fiducial, make_shear_map(SHAPE, pixel_scale=3.0))


def test_wiener_filter_is_the_dense_posterior_mean(posterior):
  shear_map, prior = posterior.likelihood.shear_map, posterior.prior
  mean, _ = dense_gaussian.moments(posterior.likelihood, prior.mode_variance)
  estimate = baselines.wiener.estimate(shear_map, prior, rtol=1e-10)
  np.testing.assert_allclose(estimate.kappa.ravel(), mean, atol=1e-8)
  with pytest.raises(RuntimeError, match="stopped after 2 iterations"):
    baselines.wiener.estimate(shear_map, prior, max_iterations=2)


def test_constrained_realisations_have_the_dense_posterior(posterior):
  exact = dense_gaussian.moments(posterior.likelihood, posterior.prior.mode_variance)
  draws = gaussian_posterior.sample(
    posterior.likelihood, posterior.prior, num_samples=3000, seed=(1, 2), rtol=1e-8
  )
  dense_gaussian.assert_unit_normal(dense_gaussian.whiten(draws, *exact))


def test_a_batch_is_solved_to_its_tolerance_map_by_map(posterior):
  """Maps that converge early stay, while the others in the batch continue."""
  model = posterior.likelihood
  variance = posterior.prior.mode_variance
  rng = np.random.default_rng(0)
  right_side = np.fft.rfft2(rng.standard_normal([3, *SHAPE]))
  right_side[1] *= 1e-6
  together, _, residual = gaussian_posterior.solve(
    model, variance, right_side=right_side, rtol=1e-10
  )
  assert residual <= 1e-10
  for modes, alone in zip(together, right_side):
    single, _, _ = gaussian_posterior.solve(
      model, variance, right_side=alone[np.newaxis], rtol=1e-10
    )
    scale = np.abs(single).max()
    np.testing.assert_allclose(modes, single[0], atol=1e-7 * scale)
