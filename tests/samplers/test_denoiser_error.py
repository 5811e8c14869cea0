"""The model of the covariance that a denoiser leaves."""

import numpy as np
import tensorflow as tf

from tfp_massmap import priors
from tfp_massmap.samplers import denoiser_error


def test_a_gaussian_prior_leaves_the_covariance_of_the_wiener_filter(posterior):
  """1 / (1 / S + 1 / sigma^2) in every mode, the same in every pixel."""
  prior = posterior.prior
  x = tf.constant(np.random.default_rng(0).standard_normal([2, *prior.shape]))
  denoised = denoiser_error.denoise(prior, x, sigma=tf.constant(0.3, x.dtype))
  expected = 1 / (1 / prior.mode_variance + 1 / 0.3**2)
  np.testing.assert_allclose(denoised.variance, expected, rtol=1e-12)
  np.testing.assert_allclose(denoised.mean, prior.denoise(x, 0.3))
  assert denoised.scale.shape == () and float(denoised.scale) == 1


def test_steps_are_exact_for_the_typical_variance(posterior):
  """The variance of the posterior for a Gaussian prior, a part of it for a network."""
  precision = tf.constant([2.0, 4.0])
  network = priors.HybridPrior(
    posterior.prior,
    lambda noisy, wiener, sigma: noisy,
    constants=priors.SamplerConstants(typical_variance=0.5),
  )
  for prior, expected in ((posterior.prior, [0.5, 0.25]), (network, [0.25, 0.125])):
    np.testing.assert_allclose(
      denoiser_error.typical_variance(prior, precision), expected
    )
