"""The flow against the exact flow of Gaussian fields, and its order."""

from astropy import units as u
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import priors
from tfp_massmap import spectra
from tfp_massmap.samplers import probability_flow

GRID = geometry.PixelGrid((24, 20), 1 * u.arcmin)


@pytest.fixture(name="prior")
def _prior(fiducial):
  return priors.GaussianPrior.from_spectrum(fiducial, GRID, dtype=tf.float64)


def _flow(denoise_fn, x, sigmas, variance=0.0):
  """Returns the flow of a denoiser without a carry."""
  end, carry = probability_flow.flow(
    lambda x, sigma, carry: (denoise_fn(x, sigma), carry),
    tf.convert_to_tensor(x),
    sigmas=sigmas,
    variance=variance,
  )
  assert carry == ()
  return end


def _noise():
  return np.random.default_rng(0).standard_normal([2, *GRID.shape])


def _exact(prior, x, largest):
  """Each mode of x scales with the root of S + sigma^2."""
  variance = prior.mode_variance.numpy()
  factor = np.sqrt(variance / (variance + largest**2))
  return np.fft.irfft2(np.fft.rfft2(x) * factor, s=GRID.shape)


def _errors(prior, steps, variance=0.0):
  x = 3.0 * _noise()
  expected = _exact(prior, x, 3.0)
  errors = []
  for num_steps in steps:
    sigmas = probability_flow.sigma_ladder(3.0, 1e-4, num_steps=num_steps)
    result = _flow(prior.denoise, x, sigmas, variance)
    errors.append(np.sqrt(np.mean((result - expected) ** 2) / np.mean(expected**2)))
  return errors


def test_flow_of_a_gaussian_field_is_exact_to_third_order(prior):
  errors = _errors(prior, (32, 64, 128))
  # Halving the steps divides the error by eight, in the limit.
  assert errors[0] / errors[1] > 6 and errors[1] / errors[2] > 6
  assert errors[2] < 1e-4


def test_half_the_variance_helps(prior):
  """The flow finds what the model of the variance lacks: all of it, or half."""
  (without,) = _errors(prior, (16,))
  half = _errors(prior, (16, 64), 0.5 * prior.mode_variance)
  assert half[0] < 0.1 * without and half[1] < 1e-4


@pytest.mark.parametrize("compiled", [False, True])
def test_far_too_small_a_variance_does_no_harm(compiled, fiducial):
  """In float32 such a variance is lost beside that of the noise."""
  prior = priors.GaussianPrior.from_spectrum(fiducial, GRID)
  x = 3.0 * _noise()
  sigmas = probability_flow.sigma_ladder(3.0, 0.01, num_steps=16)
  flow = tf.function(
    lambda x, share: _flow(prior.denoise, x, sigmas, share * prior.mode_variance),
    jit_compile=compiled,
  )
  expected = _exact(prior, x, 3.0)
  for share in (0.0, 1e-30, 1e-12, 1e-4, 0.01):
    end = flow(tf.constant(x, tf.float32), tf.constant(share))
    error = np.mean((end - expected) ** 2)
    assert error < 0.06**2 * np.mean(expected**2), share


def test_with_its_variance_a_gaussian_flow_is_exact(prior):
  """Three steps to sigma 0 shrink every mode to the variance of the prior."""
  x = 3.0 * _noise()
  result = _flow(prior.denoise, x, [3.0, 0.4, 0.01], prior.mode_variance)
  np.testing.assert_allclose(result, _exact(prior, x, 3.0), atol=1e-9)


def test_noise_of_a_denoiser_is_not_amplified(prior):
  """Steps of 3 %, then one to sigma 0, which three values close by do not predict."""
  noise = 1e-3

  def denoise(x, sigma):
    seed = tf.cast([tf.round(1e6 * sigma), 1], tf.int32)
    error = tf.random.stateless_normal(x.shape, seed, dtype=x.dtype)
    return prior.denoise(x, sigma) + noise * error

  sigmas = probability_flow.sigma_ladder(1.0, 0.5, num_steps=24)
  noisy, clean = (_flow(fn, _noise(), sigmas) for fn in (denoise, prior.denoise))
  assert np.std(noisy - clean) < 5 * noise


@pytest.mark.parametrize("compiled", [False, True])
def test_zeros_at_the_end_of_a_ladder_are_no_steps(compiled, prior):
  """The carry counts the calls of the denoiser: one for each sigma that is not zero."""
  run = tf.function(
    lambda sigmas: probability_flow.flow(
      lambda x, sigma, calls: (prior.denoise(x, sigma), calls + 1),
      tf.constant(_noise()),
      sigmas=sigmas,
      variance=0.3 * prior.mode_variance,
      carry=tf.constant(0),
    ),
    jit_compile=compiled,
  )
  ladder = probability_flow.sigma_ladder(1.0, 0.1, num_steps=5)
  expected, calls = run(ladder)
  padded, padded_calls = run(np.pad(ladder, [0, 3]))
  assert calls == padded_calls == 5
  np.testing.assert_allclose(padded, expected, rtol=1e-12)


def test_samples_of_a_gaussian_prior_have_its_power(fiducial):
  """Mean square of 400 fields' whitened modes, within 5 standard errors and 1 %."""
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
  *ends, num_steps = arguments
  with pytest.raises(ValueError, match="largest > smallest"):
    probability_flow.sigma_ladder(*ends, num_steps=num_steps)


def test_ends_of_a_ladder():
  ladder = probability_flow.sigma_ladder(10.0, 0.002, num_steps=24)
  np.testing.assert_allclose(ladder[[0, -1]], [10, 0.002])
  assert (np.diff(ladder) < 0).all() and len(ladder) == 24


@pytest.mark.parametrize("jit_compile", [False, True])
def test_ode_against_its_closed_form(fiducial, jit_compile):
  """For a Gaussian prior the ODE scales each mode by sqrt(S / (S + sigma^2))."""
  grid = geometry.PixelGrid((16, 12), 1 * u.arcmin)
  prior = priors.GaussianPrior.from_spectrum(fiducial, grid, dtype=tf.float64)
  x = tf.random.stateless_normal([3, *grid.shape], (1, 2), dtype=tf.float64)
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
