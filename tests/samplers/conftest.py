"""Posteriors small enough for dense algebra, masked and with uneven noise."""

import dense_gaussian
import mixture_prior
import pytest

SHAPE = (10, 12)


@pytest.fixture(name="posterior")
def _posterior(fiducial, make_shear_map):
  """Posterior of a Gaussian prior, float64, `[10, 12]`."""
  return dense_gaussian.problem(fiducial, make_shear_map(SHAPE, pixel_scale=3.0))


@pytest.fixture(name="mixture")
def _mixture(posterior):
  """Posterior of a mixture of two fields, its exact mean and covariance."""
  return mixture_prior.problem(posterior)


@pytest.fixture(name="least_noise")
def _least_noise(posterior):
  return float(posterior.likelihood.noise_std_quantiles(0.0))
