"""The smoothed posterior: gradients, exact moments, preconditioner."""

from astropy import units as u
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import shear_map as shear_map_lib

SHAPES = [(6, 8), (5, 7), (7, 6)]
SIGMAS = [0.0, 0.3]


def _prior(shape, fiducial, dtype=tf.float64):
  grid = geometry.PixelGrid(shape, 1 * u.arcmin)
  return priors.GaussianPrior.from_spectrum(fiducial, grid, dtype=dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_scores_are_gradients_of_the_log_densities(
  shape, sigma, fiducial, make_shear_map
):
  likelihood = likelihood_lib.ShearLikelihood(make_shear_map(shape), dtype=tf.float64)
  prior = _prior(shape, fiducial)
  posterior = posterior_lib.Posterior(likelihood, prior)
  x = tf.constant(0.1 * np.random.default_rng(1).standard_normal((2, *shape)))
  for part in (likelihood, prior):
    with tf.GradientTape() as tape:
      tape.watch(x)
      value = part.log_prob(x, sigma)
    np.testing.assert_allclose(
      part.score(x, sigma), tape.gradient(value, x), rtol=1e-9, atol=1e-9
    )
  with tf.GradientTape() as tape:
    tape.watch(x)
    value = posterior.analytic_log_prob(x, sigma)
  np.testing.assert_allclose(
    posterior.score(x, sigma), tape.gradient(value, x), rtol=1e-9, atol=1e-9
  )
  together = likelihood.score(x, sigma) + prior.score(x, sigma)
  paper = posterior_lib.Posterior(likelihood, prior, smoothing="factors")
  np.testing.assert_allclose(paper.score(x, sigma), together)


@pytest.mark.parametrize("share, accuracy", [(0.25, 0.01), (1.0, 0.03)])
def test_a_gaussian_posterior_is_smoothed_as_it_should_be(
  share, accuracy, fiducial, make_shear_map
):
  """With mask and uneven noise: the same mean, and sigma^2 more variance everywhere.

  The factors of Remy et al. (2022, Eq. 25) are off by ten times as much.
  """
  shape = (10, 12)
  shear_map = make_shear_map(shape, pixel_scale=0.29)
  likelihood = likelihood_lib.ShearLikelihood(shear_map, dtype=tf.float64)
  prior = priors.GaussianPrior.from_spectrum(fiducial, shear_map.grid, dtype=tf.float64)
  sigma = share * likelihood.typical_noise_std

  def moments(sigma, smoothing="posterior"):
    target = posterior_lib.Posterior(likelihood, prior, smoothing=smoothing)
    at_zero = target.score(np.zeros(shape), sigma).numpy()
    basis = np.eye(120).reshape([120, *shape])
    jacobian = target.score(basis, sigma) - at_zero
    covariance = np.linalg.inv(-jacobian.numpy().reshape([120, 120]))
    return covariance @ at_zero.ravel(), covariance

  mean, covariance = moments(0.0)
  exact = covariance + sigma**2 * np.eye(120)
  errors = []
  for smoothing in posterior_lib.SMOOTHINGS:
    found, smoothed = moments(sigma, smoothing)
    ratios = np.linalg.eigvals(np.linalg.solve(exact, smoothed)).real
    offset = np.sqrt(np.mean((found - mean) ** 2 / np.diag(exact)))
    errors.append((max(abs(ratios - 1)), offset))
  assert max(errors[0]) < accuracy
  assert min(np.divide(errors[1], errors[0])) > 10


def test_other_smoothings_are_refused(fiducial, make_shear_map):
  likelihood = likelihood_lib.ShearLikelihood(make_shear_map((6, 7)), dtype=tf.float64)
  with pytest.raises(ValueError, match="smoothing must be one of"):
    posterior_lib.Posterior(likelihood, _prior((6, 7), fiducial), smoothing="none")


def test_sigma_broadcasts_over_chains(fiducial, make_shear_map):
  shape = (6, 8)
  posterior = posterior_lib.Posterior(
    likelihood_lib.ShearLikelihood(make_shear_map(shape), dtype=tf.float64),
    _prior(shape, fiducial),
  )
  x = np.random.default_rng(0).standard_normal((3, *shape))
  sigma = np.array([0.0, 0.1, 2.0])
  together = posterior.score(x, sigma)
  precision = posterior.fourier_precision(sigma)
  for i in range(3):
    np.testing.assert_allclose(together[i], posterior.score(x[i], sigma[i]))
    np.testing.assert_allclose(precision[i], posterior.fourier_precision(sigma[i]))


def test_fourier_precision_is_exact_without_mask_and_with_even_noise(fiducial):
  shape, noise, sigma = (6, 7), 0.3, 0.1
  shear_map = shear_map_lib.ShearMap(
    np.zeros((2, *shape)),
    np.full(shape, noise),
    mask=np.ones(shape, bool),
    grid=geometry.PixelGrid(shape, 1 * u.arcmin),
  )
  posterior = posterior_lib.Posterior(
    likelihood_lib.ShearLikelihood(shear_map, dtype=tf.float64), _prior(shape, fiducial)
  )
  x = np.random.default_rng(0).standard_normal(shape)
  modes = np.fft.rfft2(x) * posterior.fourier_precision(sigma).numpy()
  expected = -np.fft.irfft2(modes, s=shape)
  np.testing.assert_allclose(posterior.score(x, sigma), expected, rtol=1e-8, atol=1e-8)


def test_mismatched_parts_are_refused(fiducial, make_shear_map):
  likelihood = likelihood_lib.ShearLikelihood(make_shear_map((6, 8)))
  with pytest.raises(ValueError, match=r"shape \(6, 8\), the prior for \(5, 7\)"):
    posterior_lib.Posterior(likelihood, _prior((5, 7), fiducial))
  with pytest.raises(ValueError, match="dtype float32, the prior float64"):
    posterior_lib.Posterior(likelihood, _prior((6, 8), fiducial))
