"""Annealed HMC against exact posteriors."""

from astropy import units as u
import dense_gaussian
import numpy as np
import pytest
from scipy import integrate
import tensorflow as tf

from tfp_massmap import baselines
from tfp_massmap import gaussian_posterior
from tfp_massmap import geometry
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import samplers
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.samplers import annealed
from tfp_massmap.samplers import probability_flow

SHAPE = (10, 12)

# The smaller the map, the larger the step that is accepted. The smallest noise is 0.015:
# final_sigma leaves a bias of 2 (0.002 / 0.015)^2 = 3 % in the variance of the best pixel.
_SETTINGS = annealed.AnnealedSettings(
  step_size=0.4, num_leapfrog_steps=4, final_sigma=0.002
)

QUIET = samplers.RunOptions(progress=False, jit_compile=False)


def _batch(size):
  return samplers.RunOptions(batch_size=size, progress=False)


@pytest.fixture(name="single")
def _single(fiducial, make_shear_map):
  """The posterior of the other fixture, in float32."""
  shear_map = make_shear_map(SHAPE, pixel_scale=3.0)
  return dense_gaussian.problem(fiducial, shear_map, dtype=tf.float32)


def _prior_std_of_the_mean(posterior):
  return float(np.sqrt(posterior.prior.mode_variance[0, 0] / np.prod(SHAPE)))


def test_annealed_samples_have_the_dense_posterior(single, posterior):
  exact = dense_gaussian.moments(posterior.likelihood, posterior.prior.mode_variance)
  result = annealed.sample(
    single, 1500, seed=1, settings=_SETTINGS, options=_batch(1500)
  )
  assert result.samples.shape == (1500, *SHAPE)
  assert result.acceptance > 0.6
  dense_gaussian.assert_unit_normal(dense_gaussian.whiten(result.samples, *exact))
  # The mean of the map, which shear does not constrain, has its prior variance.
  prior_std = _prior_std_of_the_mean(posterior)
  means = result.samples.mean(axis=(1, 2))
  assert abs(np.std(means) / prior_std - 1) < 4 / np.sqrt(2 * 1500)
  assert abs(np.mean(means)) < 4 * prior_std / np.sqrt(1500)


def test_posterior_of_a_mixture_is_reached(mixture):
  """With a residual score, states are rescaled and only the residual is integrated.

  Total variance and mean of 600 draws. The last sigma takes up to
  2 (0.002 / 0.015)^2 = 3.5 % of the variance of the best pixels; 5 % of the total are 4
  standard errors beyond 1 %. The largest of 120 offsets exceeds 4 by chance once in 130
  runs; the seed is fixed.
  """
  posterior, mean, exact = mixture
  result = annealed.sample(
    posterior,
    600,
    seed=1,
    settings=annealed.AnnealedSettings(final_sigma=0.002),
    options=samplers.RunOptions(batch_size=600, progress=False, jit_compile=True),
  )
  assert result.settings["rescale"] and result.final_acceptance > 0.7
  flat = result.samples.reshape(600, -1) - mean
  assert abs(np.mean(np.sum(flat**2, axis=1)) / np.trace(exact) - 1) < 0.05
  offset = flat.mean(axis=0) / np.sqrt(np.diag(exact)) * np.sqrt(600)
  assert np.abs(offset).max() < 4


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
  result = annealed.sample(posterior, 300, seed=1, options=_batch(300))
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
  grid = geometry.PixelGrid(SHAPE, 3 * u.arcmin)
  rng = np.random.default_rng(0)
  shear_map = shear_map_lib.ShearMap(
    0.1 * rng.standard_normal([2, *SHAPE]),
    np.full([2, *SHAPE], 0.05),
    mask=np.ones(SHAPE, bool),
    grid=grid,
  )
  posterior = posterior_lib.Posterior(
    likelihood_lib.ShearLikelihood(shear_map, dtype=tf.float64),
    priors.GaussianPrior.from_spectrum(fiducial, grid, dtype=tf.float64),
  )

  def matrix(function):
    """Returns the matrix of an affine function."""
    return dense_gaussian.matrix(lambda x: function(x) - function(0 * x), SHAPE)

  rescale = annealed._rescaling(posterior)
  for sigma, next_sigma in ((1.0, 0.8), (0.05, 0.01)):
    before, after = (
      np.linalg.inv(-matrix(lambda x, s=s: posterior.score(x, s)))
      for s in (sigma, next_sigma)
    )
    chains = tf.ones([np.prod(SHAPE)], tf.float64)
    # The lambda is called within this turn of the loop.
    scales = sigma * chains, next_sigma * chains
    move = matrix(lambda x, scales=scales: rescale(x, *scales))
    np.testing.assert_allclose(move @ before @ move.T, after, atol=1e-9 * after.max())
  mean = np.linalg.solve(
    -matrix(posterior.score), np.ravel(posterior.score(np.zeros(SHAPE)))
  ).reshape(1, *SHAPE)
  np.testing.assert_allclose(rescale(mean, [1.0], [0.1]), mean, atol=1e-6)


def test_bad_schedules_are_reported(single, caplog):
  settings = annealed.AnnealedSettings(step_size=3.0, num_leapfrog_steps=4)
  annealed.sample(single, 2, seed=1, settings=settings, options=QUIET)
  assert "accepted at the last temperature" in caplog.text
  large = annealed.AnnealedSettings(final_sigma=0.5)
  large.resolve(single)
  assert "too narrow" not in caplog.text
  paper = posterior_lib.Posterior(single.likelihood, single.prior, smoothing="factors")
  large.resolve(paper)
  assert "will be too narrow" in caplog.text


def test_the_mass_matrix_of_the_paper_mixes_the_mean_too(single, posterior):
  """Total variance of 400 samples of 120 pixels, 0.6 %, within 5 %; the seed is fixed."""
  exact = dense_gaussian.moments(posterior.likelihood, posterior.prior.mode_variance)
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
  result = annealed.sample(single, 400, seed=2, settings=settings, options=_batch(400))
  means = result.samples.mean(axis=(1, 2))
  assert abs(np.std(means) / _prior_std_of_the_mean(posterior) - 1) < 0.15
  white = dense_gaussian.whiten(result.samples, *exact)
  assert abs(np.mean(white**2) - 1) < 0.05


def test_samples_depend_on_the_seed_and_not_on_batches_or_chunks(single, monkeypatch):
  """Each run is compiled anew, so that equal samples are those of two programs."""
  options = samplers.RunOptions(batch_size=4, progress=False, jit_compile=False)

  def run(num_samples, seed):
    return annealed.sample(
      single, num_samples, seed=seed, settings=_SETTINGS, options=options
    ).samples

  samples = run(6, 1)
  assert samples.shape[0] == 6
  np.testing.assert_array_equal(samples[:4], run(4, 1))
  assert len(np.unique(samples.reshape(6, -1), axis=0)) == 6
  assert np.abs(samples[:4] - run(4, 2)).min() > 0
  monkeypatch.setattr(annealed, "_CHUNK_STEPS", 5)
  np.testing.assert_allclose(run(6, 1), samples, atol=1e-5)


@pytest.mark.parametrize(
  "settings, message",
  [
    (dict(final_sigma=2.0), "at most initial_sigma"),
    (dict(step_size=-1.0), "step_size must be positive"),
    (dict(final_steps=-1), "final_steps not negative"),
    (dict(preconditioner="none"), "'fourier' or 'identity'"),
  ],
)
def test_settings_out_of_range_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    annealed.AnnealedSettings(**settings)


def test_ode_against_scipy(posterior):
  x = tf.constant(0.05 * np.random.default_rng(0).standard_normal(SHAPE))
  score = tf.function(posterior.score)

  def derivative(time, state):
    state = tf.constant(state.reshape(SHAPE))
    sigma = tf.constant(np.sqrt(max(time, 0.0)))
    return -0.5 * score(state, sigma).numpy().ravel()

  oracle = integrate.solve_ivp(
    derivative, (0.03**2, 0.0), np.ravel(x), method="DOP853", rtol=1e-8, atol=1e-10
  )
  assert oracle.success
  finish = tf.function(
    lambda x: probability_flow.finish_by_ode(
      posterior.score, x, sigma=0.03, rtol=1e-6, atol=1e-8
    )
  )
  end, _ = finish(x)
  np.testing.assert_allclose(end, oracle.y[:, -1].reshape(SHAPE), atol=1e-5)


def _cosmos_like_problem(fiducial):
  """A mock survey of 128 x 128 pixels, and its exact posterior."""
  grid = geometry.PixelGrid((128, 128), 0.29 * u.arcmin)
  prior = priors.GaussianPrior.from_spectrum(fiducial, grid)
  truth = prior.sample(seed=(1, 2)).numpy()
  shear_map = simulate.mock_observation(
    truth, grid, survey=simulate.cosmos_like_survey(), seed=3
  )
  likelihood = likelihood_lib.ShearLikelihood(shear_map)
  return shear_map, posterior_lib.Posterior(likelihood, prior)


def test_annealed_samples_of_a_survey_against_conjugate_gradients(fiducial):
  """Bands of a 128 x 128 map: mean within 3 errors, standard deviation within 5 %.

  8 chains; the three widest bands have a Monte-Carlo error of their own of 8, 3 and 2 %,
  so they are compared within 3 of those errors; the others have 0.9 % at most.
  `examples/benchmarks/annealed.py --full` does it with 64 chains of 360 x 360 pixels.
  """
  shear_map, posterior = _cosmos_like_problem(fiducial)
  grid, num_samples = shear_map.grid, 8
  mean = baselines.wiener.estimate(shear_map, posterior.prior).kappa
  exact = gaussian_posterior.sample(
    posterior.likelihood, posterior.prior, num_samples=32, seed=(5, 6)
  ).numpy()
  options = samplers.RunOptions(
    batch_size=num_samples, jit_compile=True, progress=False
  )
  result = annealed.sample(posterior, num_samples, seed=7, options=options)
  edges = spectra.band_edges(grid, 6)

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
