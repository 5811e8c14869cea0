"""Annealed HMC and the ODE against exact posteriors."""

import dataclasses

from astropy import units as u
from astropy.io import fits
import numpy as np
import pytest
from scipy import integrate
from scipy import stats
import tensorflow as tf

from tfp_massmap import baselines
from tfp_massmap import gaussian_posterior
from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap import summary
from tfp_massmap.samplers import annealed
from tfp_massmap.samplers import probability_flow

SMALL = (12, 10)


def _small_problem(fiducial, make_shear_map, dtype=tf.float32):
  """A map small enough for dense algebra, masked, with uneven noise."""
  shear_map = make_shear_map(SMALL, pixel_scale=3.0)
  shear_map = dataclasses.replace(shear_map, noise_std=shear_map.noise_std * 0.3)
  prior = priors.GaussianPrior.from_spectrum(fiducial, shear_map.grid, dtype=dtype)
  likelihood = likelihood_lib.ShearLikelihood(shear_map, dtype)
  return shear_map, posterior_lib.Posterior(likelihood, prior)


def _dense_posterior(shear_map, fiducial):
  """Mean and covariance by linear algebra in float64, independent of the solver."""
  ny, nx = SMALL
  size = ny * nx
  variance = fiducial.mode_variance(shear_map.grid)
  basis = np.eye(size).reshape(size, ny, nx)
  prior_precision = np.fft.irfft2(np.fft.rfft2(basis) / variance, s=SMALL).reshape(
    size, size
  )
  operator = lensing.shear_from_convergence(basis).numpy().reshape(size, -1).T
  weight = np.where(shear_map.mask, shear_map.noise_std**-2.0, 0).ravel()
  precision = prior_precision + operator.T @ (weight[:, np.newaxis] * operator)
  covariance = np.linalg.inv(precision)
  data = np.where(shear_map.mask, shear_map.shear, 0).ravel()
  return covariance @ (operator.T @ (weight * data)), covariance


def _whiten(samples, mean, covariance):
  """Samples in units in which the exact posterior is a unit normal."""
  flat = np.asarray(samples, np.float64).reshape(len(samples), -1) - mean
  return np.linalg.solve(np.linalg.cholesky(covariance), flat.T).T


# The smaller the map, the larger the step that is accepted. The smallest noise is .015:
# final_sigma leaves a bias of 2 (.002 / .015)^2 = 3 % in the variance of the best pixel.
_SETTINGS = annealed.AnnealedSettings(
  step_size=0.4, num_leapfrog_steps=4, final_sigma=0.002
)


def _assert_unit_normal(white):
  """Mean, variance and shape of the whitened samples; false alarm about 1 in 2,000.

  The total chi^2, the largest mean, and the extreme variances over directions of the
  sample covariance (Marchenko and Pastur's edges, with 10 %).
  """
  count, size = white.shape
  chi_square = np.sum(white**2)
  assert abs(chi_square - count * size) < 3.5 * np.sqrt(2 * count * size)
  largest = np.abs(white.mean(axis=0)).max() * np.sqrt(count)
  assert largest < stats.norm.isf(1e-4 / size)
  eigenvalues = np.linalg.eigvalsh(white.T @ white / count)
  edge = np.sqrt(size / count)
  assert eigenvalues[0] > 0.9 * (1 - edge) ** 2
  assert eigenvalues[-1] < 1.1 * (1 + edge) ** 2


def test_annealed_samples_have_the_dense_posterior(fiducial, make_shear_map):
  shear_map, posterior = _small_problem(fiducial, make_shear_map)
  mean, covariance = _dense_posterior(shear_map, fiducial)
  result = annealed.sample(
    posterior, 1500, seed=1, settings=_SETTINGS, batch_size=1500, progress=False
  )
  assert result.samples.shape == (1500, *SMALL)
  assert result.acceptance > 0.6
  _assert_unit_normal(_whiten(result.samples, mean, covariance))
  # The mean of the map, which shear leaves free, has its prior variance.
  prior_std = np.sqrt(fiducial.mode_variance(shear_map.grid)[0, 0] / np.prod(SMALL))
  means = result.samples.mean(axis=(1, 2))
  assert abs(np.std(means) / prior_std - 1) < 4 / np.sqrt(2 * 1500)
  assert abs(np.mean(means)) < 4 * prior_std / np.sqrt(1500)


@pytest.mark.parametrize("pixel_scale", [5.0, 1.0])
def test_default_settings_suit_any_pixel_scale(pixel_scale, fiducial, caplog):
  """Large pixels have little noise, and need a lower last temperature."""
  grid = geometry.PixelGrid((32, 32), pixel_scale * u.arcmin)
  prior = priors.GaussianPrior.from_spectrum(fiducial, grid)
  shear_map = simulate.mock_observation(
    prior.sample(seed=(1, 2)).numpy(),
    grid,
    survey=simulate.cosmos_like_survey(),
    seed=3,
  )
  posterior = posterior_lib.Posterior(likelihood_lib.ShearLikelihood(shear_map), prior)
  mean = baselines.wiener.estimate(shear_map, prior).kappa
  exact = gaussian_posterior.sample(
    posterior.likelihood, prior, num_samples=600, seed=(5, 6)
  ).numpy()
  result = annealed.sample(posterior, 300, seed=1, batch_size=300, progress=False)
  own = [r for r in caplog.records if r.name.startswith("tfp_massmap")]
  assert not own and result.final_acceptance > 0.4
  edges = spectra.band_edges(grid, 5)
  ratio = np.sqrt(
    spectra.band_power(result.samples - mean, grid, edges=edges).mean(axis=0)
    / spectra.band_power(exact - mean, grid, edges=edges).mean(axis=0)
  )
  # The first band has 4 modes: 300 and 600 samples leave 2.5 %.
  np.testing.assert_allclose(ratio, 1, atol=0.075)
  np.testing.assert_allclose(ratio[2:], 1, atol=0.03)


def test_falling_temperatures_rescale_a_gaussian_posterior_exactly(fiducial):
  """Even noise, no mask: covariances of the next temperature, by dense algebra."""
  grid = geometry.PixelGrid(SMALL, 3 * u.arcmin)
  rng = np.random.default_rng(0)
  shear_map = shear_map_lib.ShearMap(
    0.1 * rng.standard_normal([2, *SMALL]),
    np.full([2, *SMALL], 0.05),
    mask=np.ones(SMALL, bool),
    grid=grid,
  )
  posterior = posterior_lib.Posterior(
    likelihood_lib.ShearLikelihood(shear_map, tf.float64),
    priors.GaussianPrior.from_spectrum(fiducial, grid, dtype=tf.float64),
  )
  size = np.prod(SMALL)
  basis = tf.reshape(tf.eye(size, dtype=tf.float64), [size, *SMALL])
  matrix = lambda fn: np.reshape(fn(basis) - fn(0 * basis), [size, size]).T
  rescale = annealed._rescaling(posterior)
  for sigma, next_sigma in ((1.0, 0.8), (0.05, 0.01)):
    before, after = (
      np.linalg.inv(-matrix(lambda x, s=s: posterior.smoothed_score(x, s)))
      for s in (sigma, next_sigma)
    )
    chains = tf.ones([size], tf.float64)
    move = matrix(lambda x: rescale(x, sigma * chains, next_sigma * chains))
    np.testing.assert_allclose(move @ before @ move.T, after, atol=1e-9 * after.max())
  mean = np.linalg.solve(
    -matrix(posterior.score), np.ravel(posterior.score(np.zeros(SMALL)))
  ).reshape(1, *SMALL)
  np.testing.assert_allclose(rescale(mean, [1.0], [0.1]), mean, atol=1e-6)


def test_bad_schedules_are_reported(fiducial, make_shear_map, caplog):
  _, posterior = _small_problem(fiducial, make_shear_map)
  settings = annealed.AnnealedSettings(step_size=3.0, num_leapfrog_steps=4)
  annealed.sample(
    posterior, 2, seed=1, settings=settings, jit_compile=False, progress=False
  )
  assert "accepted at the last temperature" in caplog.text
  large = annealed.AnnealedSettings(final_sigma=0.5)
  large.resolve(posterior)
  assert "too narrow" not in caplog.text
  paper = posterior_lib.Posterior(
    posterior.likelihood, posterior.prior, smoothing="factors"
  )
  large.resolve(paper)
  assert "will be too narrow" in caplog.text


def test_the_papers_mass_matrix_mixes_the_mean_too(fiducial, make_shear_map):
  shear_map, posterior = _small_problem(fiducial, make_shear_map)
  mean, covariance = _dense_posterior(shear_map, fiducial)
  settings = annealed.AnnealedSettings(
    preconditioner="identity",
    path_integral="straight",
    step_size=0.5,
    final_sigma=0.002,
    num_leapfrog_steps=12,
    cooling=0.9,
    min_steps=4,
    final_steps=40,
  )
  result = annealed.sample(
    posterior, 400, seed=2, settings=settings, batch_size=400, progress=False
  )
  prior_std = np.sqrt(fiducial.mode_variance(shear_map.grid)[0, 0] / np.prod(SMALL))
  assert abs(np.std(result.samples.mean(axis=(1, 2))) / prior_std - 1) < 0.15
  white = _whiten(result.samples, mean, covariance)
  assert abs(np.mean(white**2) - 1) < 0.05


def test_annealed_samples_do_not_depend_on_chunks(fiducial, make_shear_map):
  _, posterior = _small_problem(fiducial, make_shear_map)
  first, second = (
    annealed.sample(
      posterior,
      4,
      seed=3,
      settings=_SETTINGS,
      chunk_steps=chunk,
      jit_compile=False,
      progress=False,
    ).samples
    for chunk in (5, 16)
  )
  np.testing.assert_allclose(first, second, atol=1e-5)


def test_seeds_and_batches(fiducial, make_shear_map):
  _, posterior = _small_problem(fiducial, make_shear_map)

  def run(num_samples, seed):
    return annealed.sample(
      posterior,
      num_samples,
      seed=seed,
      settings=_SETTINGS,
      batch_size=4,
      jit_compile=False,
      progress=False,
    ).samples

  samples = run(6, 1)
  assert samples.shape[0] == 6
  np.testing.assert_array_equal(samples, run(6, 1))
  np.testing.assert_array_equal(samples[:4], run(4, 1))
  flat = samples.reshape(6, -1)
  assert len(np.unique(flat, axis=0)) == 6
  assert np.abs(samples - run(6, 2)).min() > 0


def test_bad_settings(fiducial, make_shear_map):
  _, posterior = _small_problem(fiducial, make_shear_map)
  with pytest.raises(ValueError, match="at most initial_sigma"):
    annealed.AnnealedSettings(final_sigma=2.0)
  with pytest.raises(ValueError, match="step_size must be positive"):
    annealed.AnnealedSettings(step_size=-1.0)
  with pytest.raises(ValueError, match="final_steps not negative"):
    annealed.AnnealedSettings(final_steps=-1)
  with pytest.raises(ValueError, match="'fourier' or 'identity'"):
    annealed.AnnealedSettings(preconditioner="none")
  with pytest.raises(ValueError, match="must be positive"):
    annealed.sample(posterior, 0, seed=1)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_ode_against_its_closed_form(fiducial, jit_compile):
  """For a Gaussian prior the ODE scales each mode by sqrt(S / (S + sigma^2))."""
  grid = geometry.PixelGrid((16, 12), 1 * u.arcmin)
  prior = priors.GaussianPrior.from_spectrum(fiducial, grid, dtype=tf.float64)
  x = tf.random.stateless_normal([3, 16, 12], (1, 2), dtype=tf.float64)
  finish = tf.function(
    lambda x: probability_flow.finish_by_ode(
      prior.score, x, sigma=0.1, rtol=1e-6, atol=1e-8
    ),
    jit_compile=jit_compile,
  )
  end, evaluations = finish(x)
  expected = spectra.fourier_filter(
    x, tf.sqrt(prior.mode_variance / (prior.mode_variance + 0.01))
  )
  np.testing.assert_allclose(end, expected, atol=1e-5)
  assert 20 < evaluations < 2000


def test_ode_against_scipy(fiducial, make_shear_map):
  _, posterior = _small_problem(fiducial, make_shear_map, tf.float64)
  x = 0.05 * np.random.default_rng(0).standard_normal(SMALL)

  def derivative(time, state):
    score = posterior.score(state.reshape(SMALL), np.sqrt(max(time, 0.0)))
    return -0.5 * score.numpy().ravel()

  oracle = integrate.solve_ivp(
    derivative, (0.03**2, 0.0), x.ravel(), method="DOP853", rtol=1e-8, atol=1e-10
  )
  assert oracle.success
  end, _ = probability_flow.finish_by_ode(
    posterior.score, x, sigma=0.03, rtol=1e-6, atol=1e-8
  )
  np.testing.assert_allclose(end, oracle.y[:, -1].reshape(SMALL), atol=1e-5)


def test_wiener_filter_is_the_dense_posterior_mean(fiducial, make_shear_map):
  shear_map, posterior = _small_problem(fiducial, make_shear_map, tf.float64)
  mean, _ = _dense_posterior(shear_map, fiducial)
  estimate = baselines.wiener.estimate(shear_map, posterior.prior, rtol=1e-10)
  np.testing.assert_allclose(estimate.kappa.ravel(), mean, atol=1e-8)
  with pytest.raises(RuntimeError, match="stopped after 2 iterations"):
    baselines.wiener.estimate(shear_map, posterior.prior, max_iterations=2)


def test_constrained_realisations_have_the_dense_posterior(fiducial, make_shear_map):
  shear_map, posterior = _small_problem(fiducial, make_shear_map, tf.float64)
  mean, covariance = _dense_posterior(shear_map, fiducial)
  draws = gaussian_posterior.sample(
    posterior.likelihood, posterior.prior, num_samples=3000, seed=(1, 2), rtol=1e-8
  )
  _assert_unit_normal(_whiten(draws, mean, covariance))


def test_kaiser_squires_smooths_a_point_by_a_gaussian():
  grid = geometry.PixelGrid((64, 64), 0.5 * u.arcmin)
  kappa = np.zeros(grid.shape)
  kappa[32, 30] = 1
  shear = lensing.shear_from_convergence(kappa).numpy()
  shear_map = shear_map_lib.ShearMap(
    shear, np.ones(grid.shape), mask=np.ones(grid.shape, bool), grid=grid
  )
  estimate = baselines.kaiser_squires.estimate(shear_map, smoothing=1 * u.arcmin)
  y, x = np.mgrid[:64, :64]
  expected = np.exp(-((x - 30) ** 2 + (y - 32) ** 2) / 8) / (8 * np.pi)
  np.testing.assert_allclose(estimate.kappa, expected - 1 / 64**2, atol=2e-6)


def _cosmos_like_problem(fiducial):
  """A mock survey of 240 x 240 pixels, and its exact posterior."""
  grid = geometry.PixelGrid((240, 240), 0.29 * u.arcmin)
  prior = priors.GaussianPrior.from_spectrum(fiducial, grid)
  truth = prior.sample(seed=(1, 2)).numpy()
  shear_map = simulate.mock_observation(
    truth, grid, survey=simulate.cosmos_like_survey(), seed=3
  )
  likelihood = likelihood_lib.ShearLikelihood(shear_map)
  return shear_map, posterior_lib.Posterior(likelihood, prior)


def test_annealed_samples_of_a_survey_against_conjugate_gradients(fiducial):
  """Bands of a 240 x 240 map: mean within 3 errors, standard deviation within 5 %.

  8 chains; the three widest bands have a Monte-Carlo error of their own of 11, 6 and
  3 %, so they are compared within 3 of those errors. `examples/benchmarks/annealed.py
  --full` does it with 64 chains of 360 x 360 pixels.
  """
  shear_map, posterior = _cosmos_like_problem(fiducial)
  grid, num_samples = shear_map.grid, 8
  mean = baselines.wiener.estimate(shear_map, posterior.prior).kappa
  exact = gaussian_posterior.sample(
    posterior.likelihood, posterior.prior, num_samples=32, seed=(5, 6)
  ).numpy()
  result = annealed.sample(
    posterior, num_samples, seed=7, batch_size=num_samples, progress=False
  )
  edges = spectra.band_edges(grid, 8)

  def powers(samples):
    return spectra.band_power(samples - mean, grid, edges=edges)

  exact_power, sampled_power = powers(exact), powers(result.samples)
  std_ratio = np.sqrt(sampled_power.mean(axis=0) / exact_power.mean(axis=0))
  scatter = np.std(exact_power, axis=0, ddof=1) / exact_power.mean(axis=0) / 2
  error = scatter * np.sqrt(1 / num_samples + 1 / len(exact))
  assert (np.abs(std_ratio - 1) < np.maximum(0.05, 3 * error)).all(), std_ratio
  assert (np.abs(std_ratio[3:] - 1) < 0.05).all(), std_ratio
  # The power of (sample mean - exact mean) is that of one sample over num_samples.
  mean_power = powers(result.samples.mean(axis=0)) / exact_power.mean(axis=0)
  ratio = mean_power * num_samples
  assert (np.abs(ratio - 1) < 3 * np.maximum(2 * scatter, 0.05)).all(), ratio


def test_wiener_filter_on_the_mock_of_the_paper(cosmos_data, kappatng_data):
  truth = fits.getdata(kappatng_data / "ktng_kappa360v2.fits").astype(np.float64)
  mask = fits.getdata(cosmos_data / "cosmos_full_mask_0.29arcmin360.fits") > 0
  noise_std = np.stack(
    [fits.getdata(cosmos_data / f"std{i}.fits").astype(np.float64) for i in (1, 2)]
  )
  grid = geometry.PixelGrid(truth.shape, 0.29 * u.arcmin)
  spectrum = spectra.PowerSpectrum(*np.load(kappatng_data / "ktng_PS_theory.npy"))
  prior = priors.GaussianPrior.from_spectrum(spectrum, grid)
  shear = lensing.shear_from_convergence(truth).numpy()
  correlation, error = [], []
  for seed in range(8):
    noise = noise_std * np.random.default_rng(seed).standard_normal(shear.shape)
    shear_map = shear_map_lib.ShearMap(shear + noise, noise_std, mask=mask, grid=grid)
    kappa = baselines.wiener.estimate(shear_map, prior).kappa
    correlation.append(summary.pearson_correlation(kappa, truth, mask=mask))
    error.append(summary.root_mean_square_error(kappa, truth, mask=mask))
  assert np.mean(correlation) == pytest.approx(0.649, abs=0.01)
  assert np.mean(error) == pytest.approx(2.22e-2, abs=0.02e-2)
