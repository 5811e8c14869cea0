"""Exact answers by dense linear algebra in float64: the oracle of all samplers."""

import dataclasses

import numpy as np
from scipy import stats
import tensorflow as tf

from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import spectra


def problem(spectrum, shear_map, *, dtype=tf.float64):
  """Returns the posterior of a map with 30 % of its noise, under a Gaussian prior."""
  shear_map = dataclasses.replace(shear_map, noise_std=shear_map.noise_std * 0.3)
  likelihood = likelihood_lib.ShearLikelihood(shear_map, dtype=dtype)
  prior = priors.GaussianPrior.from_spectrum(spectrum, shear_map.grid, dtype=dtype)
  return posterior_lib.Posterior(likelihood, prior)


def matrix(operator, shape, *, dtype=tf.float64):
  """Returns the matrix of a linear operator on maps, from its value at unit pixels."""
  size = int(np.prod(shape))
  basis = tf.reshape(tf.eye(size, dtype=dtype), [size, *shape])
  return np.reshape(operator(basis), [size, -1]).T


def moments(likelihood, variance):
  """Returns mean and covariance of the posterior of a Gaussian prior.

  Args:
    likelihood: Linear likelihood, float64.
    variance: Prior variance of the modes, `[ny, nx // 2 + 1]`.
  """
  precision = np.array(matrix(likelihood.precision, likelihood.shape))
  precision += matrix(
    lambda x: spectra.fourier_filter(x, 1 / variance), likelihood.shape
  )
  covariance = np.linalg.inv(precision)
  return covariance @ likelihood.weighted_data().numpy().ravel(), covariance


def whiten(samples, mean, covariance):
  """Returns samples in units in which the exact posterior is a unit normal."""
  flat = np.asarray(samples, np.float64).reshape(len(samples), -1) - mean
  return np.linalg.solve(np.linalg.cholesky(covariance), flat.T).T


def assert_unit_normal(white):
  """Tests mean, variance and shape of whitened samples.

  The total chi^2, the largest mean, and the extreme variances over directions of the
  sample covariance (the edges of Marchenko and Pastur, with 10 %). The false-alarm rate
  is about 1 in 2,000.
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
