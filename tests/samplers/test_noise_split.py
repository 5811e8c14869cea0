"""The noise split and the posterior of the noisy map, against dense algebra."""

import dataclasses

import dense_gaussian
import numpy as np
import tensorflow as tf

from tfp_massmap import lensing
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import spectra
from tfp_massmap.samplers import noise_split

SHAPE = (10, 12)


def _split(posterior, x, rho, **options):
  return noise_split.split(
    posterior.likelihood,
    tf.constant(x),
    rho=tf.constant(rho, tf.float64),
    seed=(3, 4),
    **options,
  )


def test_noisy_maps_are_drawn_from_the_exact_posterior(posterior, least_noise):
  """Exact draws stay exact: split, a new noisy map given the rest, the map given it.

  4,000 draws. Each of 120 whitened means exceeds 4.5 standard errors by chance once in
  150,000 runs, the total variance (120 x 4,000 squares: 0.2 %) 5 once in 1.7 million.
  """
  likelihood, prior = posterior.likelihood, posterior.prior
  rng = np.random.default_rng(0)
  mean, covariance = dense_gaussian.moments(likelihood, prior.mode_variance)
  start = rng.multivariate_normal(mean, covariance, 4000)
  rho = 0.8 * least_noise
  parts = _split(posterior, start.reshape(-1, *SHAPE), rho, margin=1.5)
  assert not np.any(parts.extra)
  target = noise_split.NoisyPosterior(prior, parts)
  center, _ = target.gaussian_mean(rtol=1e-10)
  noise_std = np.sqrt(likelihood.shear_map.noise_std**2 - rho**2)
  rest = likelihood_lib.ShearLikelihood(
    dataclasses.replace(likelihood.shear_map, noise_std=noise_std), dtype=tf.float64
  )
  smoothed = prior.smoothed_variance(rho)
  _, left = dense_gaussian.moments(rest, smoothed)
  noisy = rng.multivariate_normal(np.zeros(len(mean)), left, 4000)
  noisy = tf.constant(noisy.reshape(-1, *SHAPE)) + center
  x = prior.denoise(noisy, tf.constant(rho, tf.float64)).numpy()
  white = tf.constant(rng.standard_normal(x.shape))
  error = tf.sqrt(prior.mode_variance * rho**2 / smoothed)
  x += spectra.fourier_filter(white, error).numpy()
  whitened = dense_gaussian.whiten(x, mean, covariance)
  assert np.abs(whitened.mean(axis=0)).max() < 4.5 / np.sqrt(4000)
  assert abs(np.mean(whitened**2) - 1) < 5 * np.sqrt(2 / whitened.size)
  # The draws moved.
  flat = x.reshape(4000, -1) - mean
  assert np.mean(flat * (start - mean)) / np.mean(flat**2) < 0.8


def test_score_is_the_gradient_of_the_log_density(posterior, least_noise):
  rng = np.random.default_rng(1)
  parts = _split(posterior, rng.standard_normal([3, *SHAPE]), 0.5 * least_noise)
  target = noise_split.NoisyPosterior(posterior.prior, parts)
  noisy = tf.constant(0.1 * rng.standard_normal([3, *SHAPE]))
  with tf.GradientTape() as tape:
    tape.watch(noisy)
    total = tf.reduce_sum(target.analytic_log_prob(noisy))
  np.testing.assert_allclose(
    target.score(noisy), tape.gradient(total, noisy), rtol=1e-9, atol=1e-9
  )
  center, _ = target.gaussian_mean(rtol=1e-12)
  np.testing.assert_allclose(target.score(center), 0, atol=1e-7)


def test_parts_of_the_data_are_all_of_it(posterior, least_noise):
  """Weights of both parts and of the rest, also with rho above some of the noise."""
  weight = posterior.likelihood.inverse_variance().numpy()
  measured = weight > 0
  for rho in (0.5 * least_noise, 2 * least_noise):
    parts = _split(posterior, np.zeros([1, *SHAPE]), rho, margin=1.5)
    extra = parts.extra.numpy()
    assert np.any(extra) == (1.5**0.5 * rho > least_noise)
    rest = np.broadcast_to(parts.rest_weight, weight.shape)
    assert not rest[~measured].any() and not extra[~measured].any()
    both = 1 / (rho**2 + 1 / rest[measured])
    np.testing.assert_allclose(both + extra[measured], weight[measured], rtol=1e-9)
    # The shear that is removed consists of the white part's B modes.
    taken = parts.shear - parts.rest_shear
    assert np.std(taken) > 0.3 * rho
    np.testing.assert_allclose(lensing.convergence_from_shear(taken)[0], 0, atol=1e-12)
