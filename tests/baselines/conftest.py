"""A small survey, its prior and its truths, shared by the tests of the baselines."""

from astropy import units as u
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import priors
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.baselines import noise_propagation

SIZE = 40


@pytest.fixture(scope="session")
def grid():
  return geometry.PixelGrid((SIZE, SIZE), 1.0 * u.arcmin)


@pytest.fixture(scope="session")
def prior(fiducial, grid):
  return priors.GaussianPrior.from_spectrum(fiducial, grid)


@pytest.fixture(scope="session")
def survey(grid):
  """No signal, with gaps and uneven noise, low enough for every method to find some."""
  rng = np.random.default_rng(3)
  mask = rng.uniform(size=grid.shape) > 0.1
  mask[5:13, 20:30] = False
  noise_std = 0.02 * rng.uniform(0.6, 1.8, [2, *grid.shape])
  shear = np.zeros([2, *grid.shape])
  return shear_map_lib.ShearMap(shear, noise_std, mask=mask, grid=grid)


@pytest.fixture(scope="session")
def haloes(grid):
  """Three peaks with the profile of a softened isothermal sphere."""
  rows, columns = np.indices(grid.shape)
  kappa = np.zeros(grid.shape)
  for row, column, height in ((12, 10, 0.25), (28, 32, 0.3), (33, 12, 0.2)):
    kappa += height / (1 + ((rows - row) ** 2 + (columns - column) ** 2) / 2)
  return kappa


@pytest.fixture(scope="session")
def gaussian_mock(prior, survey):
  """A Gaussian field that is observed with the survey."""
  return simulate.observe_like(prior.sample(seed=(1, 2)).numpy(), survey, seed=0)


@pytest.fixture(scope="session")
def dense_filter(prior, survey, grid):
  """`(S^-1 + A' N^-1 A)^-1` and `A' N^-1/2` of the survey, as matrices."""
  identity = np.eye(SIZE**2).reshape(-1, *grid.shape)
  operator = lensing.shear_from_convergence(tf.constant(identity)).numpy()
  inverse_variance = 1 / tf.cast(prior.mode_variance, tf.float64)
  precision = spectra.fourier_filter(tf.constant(identity), inverse_variance).numpy()
  weighted = (operator * survey.mask / survey.noise_std).reshape(SIZE**2, -1)
  inverse = precision.reshape(SIZE**2, -1) + weighted @ weighted.T
  return np.linalg.inv(inverse), weighted


@pytest.fixture(scope="session")
def assert_batch_is_its_maps(prior, survey, haloes):
  """Function of an estimator: compares a batch of three maps with each alone."""
  shears = []
  for truth in (haloes, 2 * haloes[::-1], prior.sample(seed=(1, 2)).numpy()):
    shear_map = simulate.observe_like(truth, survey, seed=len(shears))
    shears.append(noise_propagation.weighted_data(shear_map)[0])

  def check(reconstruct, *, tolerance):
    batch = reconstruct(tf.stack(shears)).numpy()
    alone = np.concatenate([reconstruct(shear[tf.newaxis]) for shear in shears])
    difference = np.std(batch - alone, axis=(1, 2))
    np.testing.assert_array_less(difference, tolerance * np.std(alone, axis=(1, 2)))

  return check
