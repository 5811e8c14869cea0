"""The Gaussian prior against a dense Gaussian."""

from astropy import units as u
import dense_gaussian
import numpy as np
import pytest
from scipy import stats
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import priors

SHAPES = [(6, 8), (5, 7), (7, 6)]
SIGMAS = [0.0, 0.3]


def _prior(shape, fiducial, dtype=tf.float64):
  grid = geometry.PixelGrid(shape, 1 * u.arcmin)
  return priors.GaussianPrior.from_spectrum(fiducial, grid, dtype=dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_prior_against_a_dense_gaussian(shape, sigma, fiducial):
  prior = _prior(shape, fiducial)
  # D = S (S + 1)^-1 gives S = (D^-1 - 1)^-1.
  denoiser = dense_gaussian.matrix(lambda x: prior.denoise(x, 1.0), shape)
  covariance = np.linalg.inv(np.linalg.inv(denoiser) - np.eye(len(denoiser)))
  covariance += sigma**2 * np.eye(len(denoiser))
  x = 0.1 * np.random.default_rng(0).standard_normal((3, *shape))
  flat = x.reshape(3, -1)
  oracle = stats.multivariate_normal(cov=covariance)
  np.testing.assert_allclose(prior.log_prob(x, sigma), oracle.logpdf(flat), rtol=1e-6)
  score = -np.linalg.solve(covariance, flat.T).T.reshape(x.shape)
  np.testing.assert_allclose(prior.score(x, sigma), score, rtol=1e-6, atol=1e-8)


def test_denoiser_is_tweedies(fiducial):
  prior = _prior((6, 8), fiducial)
  x = np.random.default_rng(0).standard_normal((6, 8))
  np.testing.assert_allclose(
    prior.denoise(x, 0.2), x + 0.2**2 * prior.score(x, 0.2).numpy(), atol=1e-10
  )


def test_prior_draws_have_its_covariance(fiducial):
  prior = _prior((6, 8), fiducial)
  draws = prior.sample([20000], seed=(1, 2)).numpy()
  score = -prior.score(draws).numpy()
  # E[x (S^-1 x)'] = 1: the mean over pixels of 20,000 draws is 1 +- .0015; 5 sigma.
  assert abs(np.mean(np.sum(draws * score, axis=(1, 2))) / 48 - 1) < 0.0075


def test_bad_priors():
  with pytest.raises(ValueError, match="layout of rfft2"):
    priors.GaussianPrior(np.ones((6, 8)), (6, 8))
  variance = np.ones((6, 5))
  variance[2, 3] = 0
  with pytest.raises(ValueError, match=r"1 modes are not, the first at \[2, 3\]"):
    priors.GaussianPrior(variance, (6, 8))
