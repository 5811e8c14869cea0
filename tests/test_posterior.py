"""Likelihood, Gaussian prior, posterior: gradients, dense algebra, masks."""

import dataclasses

from astropy import units as u
import numpy as np
import pytest
from scipy import stats
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap.samplers import guided

SHAPES = [(6, 8), (5, 7), (7, 6)]
SIGMAS = [0.0, 0.3]


def _dense(operator, shape, dtype=tf.float64):
  """Matrix of a linear operator on maps: its value for every unit pixel."""
  basis = tf.reshape(tf.eye(int(np.prod(shape)), dtype=dtype), [-1, *shape])
  columns = operator(basis)
  return tf.transpose(tf.reshape(columns, [basis.shape[0], -1])).numpy()


def _prior(shape, fiducial, dtype=tf.float64):
  grid = geometry.PixelGrid(shape, 1 * u.arcmin)
  return priors.GaussianPrior.from_spectrum(fiducial, grid, dtype=dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_prior_against_a_dense_gaussian(shape, sigma, fiducial):
  prior = _prior(shape, fiducial)
  # D = S (S + 1)^-1 gives S = (D^-1 - 1)^-1.
  denoiser = _dense(lambda x: prior.denoise(x, 1.0), shape)
  covariance = np.linalg.inv(np.linalg.inv(denoiser) - np.eye(len(denoiser)))
  covariance += sigma**2 * np.eye(len(denoiser))
  x = 0.1 * np.random.default_rng(0).standard_normal((3, *shape))
  flat = x.reshape(3, -1)
  oracle = stats.multivariate_normal(cov=covariance)
  np.testing.assert_allclose(prior.log_prob(x, sigma), oracle.logpdf(flat), rtol=1e-6)
  score = -np.linalg.solve(covariance, flat.T).T.reshape(x.shape)
  np.testing.assert_allclose(prior.score(x, sigma), score, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_scores_are_gradients_of_the_log_densities(
  shape, sigma, fiducial, make_shear_map
):
  likelihood = likelihood_lib.ShearLikelihood(make_shear_map(shape), tf.float64)
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
    posterior.smoothed_score(x, sigma), tape.gradient(value, x), rtol=1e-9, atol=1e-9
  )
  together = likelihood.score(x, sigma) + prior.score(x, sigma)
  np.testing.assert_allclose(posterior.score(x, sigma), together)
  paper = posterior_lib.Posterior(likelihood, prior, smoothing="factors")
  np.testing.assert_allclose(paper.smoothed_score(x, sigma), together)


@pytest.mark.parametrize("share, accuracy", [(0.25, 0.01), (1.0, 0.03)])
def test_a_gaussian_posterior_is_smoothed_as_it_should_be(
  share, accuracy, fiducial, make_shear_map
):
  """With mask and uneven noise: the same mean, and sigma^2 more variance everywhere.

  The paper's factors (Eq. 25) are off by ten times as much.
  """
  shape = (10, 12)
  shear_map = make_shear_map(shape, pixel_scale=0.29)
  likelihood = likelihood_lib.ShearLikelihood(shear_map, tf.float64)
  prior = priors.GaussianPrior.from_spectrum(fiducial, shear_map.grid, dtype=tf.float64)
  sigma = share * likelihood.typical_noise_std

  def moments(sigma, smoothing="posterior"):
    target = posterior_lib.Posterior(likelihood, prior, smoothing=smoothing)
    at_zero = target.smoothed_score(np.zeros(shape), sigma).numpy()
    basis = np.eye(120).reshape([120, *shape])
    jacobian = target.smoothed_score(basis, sigma) - at_zero
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
  likelihood = likelihood_lib.ShearLikelihood(make_shear_map((6, 7)), tf.float64)
  with pytest.raises(ValueError, match="smoothing must be one of"):
    posterior_lib.Posterior(likelihood, _prior((6, 7), fiducial), smoothing="none")


def test_likelihood_is_the_density_of_the_data(make_shear_map):
  shear_map = make_shear_map((6, 7))
  likelihood = likelihood_lib.ShearLikelihood(shear_map, tf.float64)
  kappa = 0.1 * np.random.default_rng(2).standard_normal((6, 7))
  model = lensing.shear_from_convergence(kappa).numpy()
  inside = np.broadcast_to(shear_map.mask, model.shape)
  for sigma in SIGMAS:
    std = np.hypot(shear_map.noise_std, sigma)[inside]
    expected = stats.norm(model[inside], std).logpdf(shear_map.shear[inside]).sum()
    np.testing.assert_allclose(likelihood.log_prob(kappa, sigma), expected)


def test_temperature_is_the_convolution_of_the_paper():
  """Paper Appendix D: p(y | x) smoothed in x has variance sigma_n^2 + sigma^2."""
  shape, noise, sigma = (4, 5), 0.2, 0.5
  rng = np.random.default_rng(3)
  grid = geometry.PixelGrid(shape, 1 * u.arcmin)
  shear_map = shear_map_lib.ShearMap(
    rng.standard_normal((2, *shape)),
    np.full(shape, noise),
    mask=np.ones(shape, bool),
    grid=grid,
  )
  likelihood = likelihood_lib.ShearLikelihood(shear_map, tf.float64)
  # The E modes of the data have covariance noise^2 + sigma^2 after smoothing kappa.
  operator = _dense(lensing.shear_from_convergence, shape)
  smoothed = noise**2 * np.eye(len(operator)) + sigma**2 * operator @ operator.T
  kappa = rng.standard_normal(shape)
  difference = shear_map.shear.ravel() - operator @ kappa.ravel()
  exact = operator.T @ np.linalg.solve(smoothed, difference)
  np.testing.assert_allclose(
    likelihood.score(kappa, sigma), exact.reshape(shape), rtol=1e-9, atol=1e-9
  )


def test_masked_pixels_carry_no_information(make_shear_map):
  shear_map = make_shear_map((8, 9))
  likelihood = likelihood_lib.ShearLikelihood(shear_map, tf.float64)
  weight = likelihood.inverse_variance(tf.constant([0.0, 0.5], tf.float64)).numpy()
  assert weight.shape == (2, 2, 8, 9)
  assert (weight[..., ~shear_map.mask] == 0).all()
  assert (weight[..., shear_map.mask] > 0).all()
  shear = shear_map.shear.copy()
  shear[:, ~shear_map.mask] = np.nan
  noise_std = shear_map.noise_std.copy()
  noise_std[:, ~shear_map.mask] = 0
  other = dataclasses.replace(shear_map, shear=shear, noise_std=noise_std)
  kappa = np.random.default_rng(0).standard_normal((8, 9))
  np.testing.assert_array_equal(
    likelihood_lib.ShearLikelihood(other, tf.float64).score(kappa, 0.1),
    likelihood.score(kappa, 0.1),
  )


def test_the_masked_variance_of_the_paper(make_shear_map):
  shear_map = make_shear_map((8, 9))
  exact = likelihood_lib.ShearLikelihood(shear_map, tf.float64)
  paper = likelihood_lib.ShearLikelihood(shear_map, tf.float64, masked_variance=1e10)
  kappa = np.random.default_rng(0).standard_normal((8, 9))
  weight = paper.inverse_variance().numpy()
  np.testing.assert_allclose(weight[:, ~shear_map.mask], 1e-10)
  np.testing.assert_allclose(
    paper.score(kappa, 0.2), exact.score(kappa, 0.2), rtol=1e-6, atol=1e-7
  )
  with pytest.raises(ValueError, match="masked_variance must be positive"):
    likelihood_lib.ShearLikelihood(shear_map, masked_variance=0.0)


def test_sigma_broadcasts_over_chains(fiducial, make_shear_map):
  shape = (6, 8)
  posterior = posterior_lib.Posterior(
    likelihood_lib.ShearLikelihood(make_shear_map(shape), tf.float64),
    _prior(shape, fiducial),
  )
  x = np.random.default_rng(0).standard_normal((3, *shape))
  sigma = np.array([0.0, 0.1, 2.0])
  together = posterior.smoothed_score(x, sigma)
  precision = posterior.fourier_precision(sigma)
  for i in range(3):
    np.testing.assert_allclose(together[i], posterior.smoothed_score(x[i], sigma[i]))
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
    likelihood_lib.ShearLikelihood(shear_map, tf.float64), _prior(shape, fiducial)
  )
  x = np.random.default_rng(0).standard_normal(shape)
  modes = np.fft.rfft2(x) * posterior.fourier_precision(sigma).numpy()
  expected = -np.fft.irfft2(modes, s=shape)
  np.testing.assert_allclose(
    posterior.smoothed_score(x, sigma), expected, rtol=1e-8, atol=1e-8
  )


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


def test_mismatched_parts_are_refused(fiducial, make_shear_map):
  likelihood = likelihood_lib.ShearLikelihood(make_shear_map((6, 8)))
  with pytest.raises(ValueError, match=r"shape \(6, 8\), the prior for \(5, 7\)"):
    posterior_lib.Posterior(likelihood, _prior((5, 7), fiducial))
  with pytest.raises(ValueError, match="dtype float32, the prior float64"):
    posterior_lib.Posterior(likelihood, _prior((6, 8), fiducial))


def test_bad_priors():
  with pytest.raises(ValueError, match="layout of rfft2"):
    priors.GaussianPrior(np.ones((6, 8)), (6, 8))
  variance = np.ones((6, 5))
  variance[2, 3] = 0
  with pytest.raises(ValueError, match=r"1 modes are not, the first at \[2, 3\]"):
    priors.GaussianPrior(variance, (6, 8))


def _reduced_problem(make_shear_map, noise=1e-3):
  """A map of large convergence, its reduced shear, and its likelihood."""
  shear_map = make_shear_map((12, 16), masked=0.0)
  rng = np.random.default_rng(5)
  y, x = np.mgrid[:12, :16]
  kappa = 0.5 * np.exp(-((x - 8) ** 2 + (y - 6) ** 2) / 8)
  shear = lensing.shear_from_convergence(kappa).numpy() / (1 - kappa)
  noise_std = np.full_like(shear, noise)
  shear_map = dataclasses.replace(
    shear_map,
    shear=shear + noise * rng.standard_normal(shear.shape),
    noise_std=noise_std,
  )
  return kappa, shear_map


def test_reduced_shear_is_the_derivative_of_its_density(make_shear_map):
  _, shear_map = _reduced_problem(make_shear_map)
  likelihood = likelihood_lib.ReducedShearLikelihood(shear_map, tf.float64)
  x = tf.constant(0.2 * np.random.default_rng(1).standard_normal((2, 12, 16)))
  for sigma in SIGMAS:
    with tf.GradientTape() as tape:
      tape.watch(x)
      value = likelihood.log_prob(x, sigma)
    np.testing.assert_allclose(
      likelihood.score(x, sigma), tape.gradient(value, x), rtol=1e-8, atol=1e-8
    )
  local = likelihood.linearised(x)
  step = 1e-6 * np.random.default_rng(2).standard_normal((2, 12, 16))
  change = likelihood.model(x + step) - likelihood.model(x - step)
  np.testing.assert_allclose(local.model(step), change / 2, rtol=1e-6, atol=1e-11)
  shear = tf.constant(np.random.default_rng(3).standard_normal((2, 2, 12, 16)))
  forward = tf.reduce_sum(local.model(x) * shear)
  np.testing.assert_allclose(forward, tf.reduce_sum(x * local.adjoint(shear)))
  np.testing.assert_allclose(local.residual(x), likelihood.residual(x))
  modes = local.precision_modes(tf.signal.rfft2d(x))
  weighted = local.adjoint(local.inverse_variance() * local.model(x))
  np.testing.assert_allclose(modes, tf.signal.rfft2d(weighted), atol=1e-4)


def test_guided_samples_know_reduced_from_true_shear(make_shear_map, fiducial):
  """With little noise 1 - kappa comes back up to a factor (the mass-sheet degeneracy)."""
  kappa, shear_map = _reduced_problem(make_shear_map, noise=5e-3)
  spectrum = dataclasses.replace(fiducial, c_ell=100 * fiducial.c_ell)
  prior = priors.GaussianPrior.from_spectrum(spectrum, shear_map.grid, dtype=tf.float64)
  errors = []
  for kind in (likelihood_lib.ReducedShearLikelihood, likelihood_lib.ShearLikelihood):
    posterior = posterior_lib.Posterior(kind(shear_map, tf.float64), prior)
    samples = posterior.sample(
      20,
      0,
      settings=guided.GuidedSettings(max_iterations=300),
      progress=False,
      batch_size=20,
      jit_compile=False,
    ).samples
    left = (1 - samples.mean(axis=0)) / np.mean(1 - samples)
    errors.append(np.abs(left - (1 - kappa) / np.mean(1 - kappa)).max())
  assert errors[0] < 0.03 < 0.06 < errors[1]
  posterior = posterior_lib.Posterior(
    likelihood_lib.ReducedShearLikelihood(shear_map, tf.float64), prior
  )
  with pytest.raises(ValueError, match="reduced shear is singular"):
    posterior.sample(1, 0, seed="annealed")
