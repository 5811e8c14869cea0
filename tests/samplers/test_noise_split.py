"""The posterior of the noisy map, against dense algebra."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import lensing
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import spectra
from tfp_massmap.samplers import guided_hmc
from tfp_massmap.samplers import noise_split

SHAPE = (10, 12)
SIZE = SHAPE[0] * SHAPE[1]


@pytest.fixture(name="posterior")
def _posterior(fiducial, make_shear_map):
  """Masked, with noise that differs from pixel to pixel and between the components."""
  shear_map = make_shear_map(SHAPE, pixel_scale=3.0)
  shear_map = dataclasses.replace(shear_map, noise_std=shear_map.noise_std * 0.3)
  prior = priors.GaussianPrior.from_spectrum(fiducial, shear_map.grid, dtype=tf.float64)
  return posterior_lib.Posterior(
    likelihood_lib.ShearLikelihood(shear_map, tf.float64), prior
  )


def _least(posterior):
  return float(posterior.likelihood.noise_std_quantiles(0.0))


def _matrix(operator):
  basis = tf.reshape(tf.eye(SIZE, dtype=tf.float64), [SIZE, *SHAPE])
  return tf.reshape(operator(basis), [SIZE, -1]).numpy().T


def _split(posterior, x, rho, **options):
  return noise_split.split(
    posterior.likelihood,
    tf.constant(x),
    rho=tf.constant(rho, tf.float64),
    seed=(3, 4),
    **options,
  )


def test_noisy_maps_are_drawn_as_the_posterior_has_them(posterior):
  """Split, a new noisy map given the other part, the map given it: exact draws stay that.

  4,000 draws. Each of 120 whitened means has 4.5 standard errors by chance once in 150,000,
  the total variance (120 x 4,000 squares: .2 %) 5 once in 1.7 million.
  """
  likelihood, prior = posterior.likelihood, posterior.prior
  rng = np.random.default_rng(0)
  precision = _matrix(likelihood.precision)
  precision += _matrix(lambda x: spectra.fourier_filter(x, 1 / prior.mode_variance))
  covariance = np.linalg.inv(precision)
  mean = covariance @ likelihood.weighted_data().numpy().ravel()
  start = rng.multivariate_normal(mean, covariance, 4000)
  rho = 0.8 * _least(posterior)
  parts = _split(posterior, start.reshape(-1, *SHAPE), rho, margin=1.5)
  assert not np.any(parts.extra)
  target = noise_split.NoisyPosterior(prior, parts)
  center, _ = target.gaussian_mean(rtol=1e-10)
  rest = likelihood_lib.ShearLikelihood(
    dataclasses.replace(
      likelihood.shear_map,
      noise_std=np.sqrt(likelihood.shear_map.noise_std**2 - rho**2),
    ),
    tf.float64,
  )
  smoothed = prior.smoothed_variance(rho)
  precision = _matrix(rest.precision)
  precision += _matrix(lambda x: spectra.fourier_filter(x, 1 / smoothed))
  noisy = rng.multivariate_normal(np.zeros(SIZE), np.linalg.inv(precision), 4000)
  noisy = tf.constant(noisy.reshape(-1, *SHAPE)) + center
  x = prior.denoise(noisy, tf.constant(rho, tf.float64)).numpy()
  left = prior.mode_variance * rho**2 / smoothed
  white = tf.constant(rng.standard_normal(x.shape))
  x += spectra.fourier_filter(white, tf.sqrt(left)).numpy()
  flat = x.reshape(4000, -1) - mean
  whitened = np.linalg.solve(np.linalg.cholesky(covariance), flat.T).T
  assert np.abs(whitened.mean(axis=0)).max() < 4.5 / np.sqrt(4000)
  assert abs(np.mean(whitened**2) - 1) < 5 * np.sqrt(2 / whitened.size)
  # Not because nothing moved.
  assert np.mean(flat * (start - mean)) / np.mean(flat**2) < 0.8


def test_score_is_the_gradient_of_the_log_density(posterior):
  rng = np.random.default_rng(1)
  parts = _split(posterior, rng.standard_normal([3, *SHAPE]), 0.5 * _least(posterior))
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


def test_parts_of_the_data_are_all_of_it(posterior):
  """Weights of both parts and what is beyond; with rho above some of the noise, too."""
  weight = posterior.likelihood.inverse_variance().numpy()
  measured = weight > 0
  for rho in (0.5 * _least(posterior), 2 * _least(posterior)):
    parts = _split(posterior, np.zeros([1, *SHAPE]), rho, margin=1.5)
    extra = parts.extra.numpy()
    assert np.any(extra) == (1.5**0.5 * rho > _least(posterior))
    rest = np.broadcast_to(parts.rest_weight, weight.shape)
    assert not rest[~measured].any() and not extra[~measured].any()
    both = 1 / (rho**2 + 1 / rest[measured])
    np.testing.assert_allclose(both + extra[measured], weight[measured], rtol=1e-9)
    # What is taken from the shear is the white part's B modes.
    taken = parts.shear - parts.rest_shear
    assert np.std(taken) > 0.3 * rho
    np.testing.assert_allclose(lensing.convergence_from_shear(taken)[0], 0, atol=1e-12)


def test_sigma_of_the_chains_and_its_warning(posterior, caplog):
  """.8 of the least noise, at most .4 and at least .25 of the typical one."""
  shear_map = posterior.likelihood.shear_map
  row, column = np.argwhere(shear_map.mask)[0]

  def with_least(least):
    noise_std = np.full(shear_map.noise_std.shape, 0.2)
    noise_std[:, row, column] = least
    changed = dataclasses.replace(shear_map, noise_std=noise_std)
    likelihood = likelihood_lib.ShearLikelihood(changed, tf.float64)
    return posterior_lib.Posterior(likelihood, posterior.prior)

  settings = guided_hmc.RefineSettings(num_steps=2, num_leapfrog_steps=2)
  for least, by_typical, by_least in ((0.2, 0.4, 0), (0.08, 0, 0.8), (0.02, 0.25, 0)):
    changed = with_least(least)
    (sigma,) = settings.resolve(changed).sigmas
    typical = changed.likelihood.typical_noise_std
    assert sigma == pytest.approx(by_typical * typical + by_least * least)
    caplog.clear()
    result = changed.sample(
      2, 0, seed="guided+hmc", rtol=settings, progress=False, jit_compile=False
    )
    assert np.isfinite(result.samples).all()
    assert ("The least noise of a pixel is 0.02" in caplog.text) == (least == 0.02)
  given = guided_hmc.RefineSettings(sigmas=(0.02, 0.01))
  assert given.resolve(posterior) == given
