"""The flow against the exact one of Gaussian fields, and its order."""

from astropy import units as u
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import priors
from tfp_massmap.samplers import probability_flow

GRID = geometry.PixelGrid((24, 20), 1 * u.arcmin)


def _exact(prior, x, largest):
  """Mode by mode x scales with the root of S + sigma^2."""
  variance = prior.mode_variance.numpy()
  factor = np.sqrt(variance / (variance + largest**2))
  return np.fft.irfft2(np.fft.rfft2(x) * factor, s=GRID.shape)


def _errors(prior, steps, variance=None):
  x = 3.0 * np.random.default_rng(0).standard_normal([2, *GRID.shape])
  expected = _exact(prior, x, 3.0)
  errors = []
  for num_steps in steps:
    sigmas = probability_flow.sigma_ladder(3.0, 1e-4, num_steps=num_steps)
    result = probability_flow.flow(prior.denoise, tf.constant(x), sigmas=sigmas, variance=variance)
    errors.append(np.sqrt(np.mean((result - expected) ** 2) / np.mean(expected**2)))
  return errors


def test_flow_of_a_gaussian_field_is_exact_to_third_order(fiducial):
  prior = priors.GaussianPrior.from_spectrum(fiducial, GRID, dtype=tf.float64)
  errors = _errors(prior, (32, 64, 128))
  # An eighth each time, in the limit.
  assert errors[0] / errors[1] > 6 and errors[1] / errors[2] > 6
  assert errors[2] < 1e-4


def test_half_the_variance_helps(fiducial):
  """The flow finds what the model of the variance lacks: none, half of it."""
  prior = priors.GaussianPrior.from_spectrum(fiducial, GRID, dtype=tf.float64)
  (without,) = _errors(prior, (16,))
  half = _errors(prior, (16, 64), 0.5 * prior.mode_variance)
  assert half[0] < 0.1 * without and half[1] < 1e-4


@pytest.mark.parametrize("share", [0.0, 1e-30, 1e-12, 1e-4, 0.01])
@pytest.mark.parametrize("compiled", [False, True])
def test_far_too_small_a_variance_does_no_harm(share, compiled, fiducial):
  """In float32, where such a variance is lost beside that of the noise."""
  prior = priors.GaussianPrior.from_spectrum(fiducial, GRID)
  x = 3.0 * np.random.default_rng(0).standard_normal([2, *GRID.shape])
  sigmas = probability_flow.sigma_ladder(3.0, 0.01, num_steps=16)
  flow = tf.function(
      lambda x: probability_flow.flow(
          prior.denoise, x, sigmas=sigmas, variance=share * prior.mode_variance
      ),
      jit_compile=compiled,
  )
  expected = _exact(prior, x, 3.0)
  error = np.mean((flow(tf.constant(x, tf.float32)) - expected) ** 2)
  assert error < 0.06**2 * np.mean(expected**2)


@pytest.mark.parametrize("integrator", ["multistep", "heun"])
def test_with_its_variance_a_gaussian_flow_is_exact(integrator, fiducial):
  """Three steps, to sigma 0: every mode shrinks to the variance of the prior."""
  prior = priors.GaussianPrior.from_spectrum(fiducial, GRID, dtype=tf.float64)
  x = 3.0 * np.random.default_rng(0).standard_normal([2, *GRID.shape])
  result = probability_flow.flow(
      prior.denoise, tf.constant(x), sigmas=[3.0, 0.4, 0.01], variance=prior.mode_variance, carry=integrator
  )
  variance = prior.mode_variance.numpy()
  factor = np.sqrt(variance / (variance + 9))
  expected = np.fft.irfft2(np.fft.rfft2(x) * factor, s=GRID.shape)
  np.testing.assert_allclose(result, expected, atol=1e-9)
  with pytest.raises(ValueError, match="got 'euler'"):
    probability_flow.flow(prior.denoise, tf.constant(x), sigmas=[1.0, 0.1], integrator="euler")


def test_noise_of_a_denoiser_is_not_blown_up(fiducial):
  """Steps of 3 %, then one to sigma 0, which three values close by do not foretell."""
  prior = priors.GaussianPrior.from_spectrum(fiducial, GRID, dtype=tf.float64)
  noise = 1e-3

  def denoise(x, sigma):
    seed = tf.cast([tf.round(1e6 * sigma), 1], tf.int32)
    error = tf.random.stateless_normal(x.shape, seed, dtype=x.dtype)
    return prior.denoise(x, sigma) + noise * error

  x = np.random.default_rng(0).standard_normal([2, *GRID.shape])
  sigmas = probability_flow.sigma_ladder(1.0, 0.5, num_steps=24)
  results = [
      probability_flow.flow(fn, tf.constant(x), sigmas=sigmas) for fn in (denoise, prior.denoise)
  ]
  assert np.std(results[0] - results[1]) < 5 * noise


def test_what_is_carried_along_counts_the_calls(fiducial):
  prior = priors.GaussianPrior.from_spectrum(fiducial, GRID)
  count = lambda x, sigma, calls: (prior.denoise(x, sigma), calls + 1)
  for integrator, calls in (("multistep", 5), ("heun", 9)):
    ladder = probability_flow.sigma_ladder(1.0, 0.1, num_steps=5)
    x, carry = probability_flow.flow(
        count, tf.ones(GRID.shape), sigmas=ladder, integrator=integrator, carry=tf.constant(0)
    )
    assert carry == calls
    np.testing.assert_array_equal(
        x, probability_flow.flow(
            prior.denoise, tf.ones(GRID.shape), sigmas=ladder, integrator=integrator
        )
    )


@pytest.mark.parametrize("integrator", ["multistep", "heun"])
@pytest.mark.parametrize("compiled", [False, True])
def test_zeros_at_the_end_of_a_ladder_are_no_steps(integrator, compiled, fiducial):
  prior = priors.GaussianPrior.from_spectrum(fiducial, GRID, dtype=tf.float64)
  count = lambda x, sigma, calls: (prior.denoise(x, sigma), calls + 1)
  x = tf.constant(np.random.default_rng(0).standard_normal([2, *GRID.shape]))
  run = tf.function(
      lambda sigmas: probability_flow.flow(
          count, x, sigmas=sigmas, variance=0.3 * prior.mode_variance, carry=integrator, tf.constant(0)
      ),
      jit_compile=compiled,
  )
  ladder = probability_flow.sigma_ladder(1.0, 0.1, num_steps=5)
  expected, calls = run(ladder)
  padded, padded_calls = run(np.pad(ladder, [0, 3]))
  assert calls == padded_calls == (5 if integrator == "multistep" else 9)
  np.testing.assert_allclose(padded, expected, rtol=1e-12)


def test_samples_of_a_gaussian_prior_have_its_power(fiducial):
  """Mean square of 400 fields' whitened modes, 5 standard errors."""
  prior = priors.GaussianPrior.from_spectrum(fiducial, GRID)
  sigmas = probability_flow.sigma_ladder(3.0, 1e-3, num_steps=40)
  sample = tf.function(
      lambda: probability_flow.sample_prior(prior, 400, seed=(1, 2), sigmas=sigmas),
      jit_compile=True,
  )
  modes = np.abs(np.fft.rfft2(sample().numpy(), norm="ortho")) ** 2
  ratio = (modes / prior.mode_variance.numpy()).reshape(400, -1).mean(axis=1)
  assert abs(ratio.mean() - 1) < 5 * ratio.std() / 20 + 0.01


@pytest.mark.parametrize("arguments", [(0.1, 1.0, 8), (1.0, 0.0, 8), (1.0, 0.1, 1)])
def test_impossible_ladders(arguments):
  with pytest.raises(ValueError, match="largest > smallest"):
    probability_flow.sigma_ladder(*arguments)


def test_ladder_ends_where_it_should():
  ladder = probability_flow.sigma_ladder(10.0, 0.002, num_steps=24)
  np.testing.assert_allclose(ladder[[0, -1]], [10, 0.002])
  assert (np.diff(ladder) < 0).all() and len(ladder) == 24
