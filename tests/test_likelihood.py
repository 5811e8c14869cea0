"""Likelihoods of shear and reduced shear: densities, gradients, masks, temperature."""

import dataclasses

from astropy import units as u
import dense_gaussian
import numpy as np
import pytest
from scipy import stats
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import samplers
from tfp_massmap import shear_map as shear_map_lib

SIGMAS = [0.0, 0.3]


def test_likelihood_is_the_density_of_the_data(make_shear_map):
  shear_map = make_shear_map((6, 7))
  likelihood = likelihood_lib.ShearLikelihood(shear_map, dtype=tf.float64)
  kappa = 0.1 * np.random.default_rng(2).standard_normal((6, 7))
  model = lensing.shear_from_convergence(kappa).numpy()
  inside = np.broadcast_to(shear_map.mask, model.shape)
  for sigma in SIGMAS:
    std = np.hypot(shear_map.noise_std, sigma)[inside]
    expected = stats.norm(model[inside], std).logpdf(shear_map.shear[inside]).sum()
    np.testing.assert_allclose(likelihood.log_prob(kappa, sigma), expected)


def test_temperature_is_the_convolution_of_the_paper():
  """p(y | x) smoothed in x has variance sigma_n^2 + sigma^2 (Remy et al. 2022, D)."""
  shape, noise, sigma = (4, 5), 0.2, 0.5
  rng = np.random.default_rng(3)
  grid = geometry.PixelGrid(shape, 1 * u.arcmin)
  shear_map = shear_map_lib.ShearMap(
    rng.standard_normal((2, *shape)),
    np.full(shape, noise),
    mask=np.ones(shape, bool),
    grid=grid,
  )
  likelihood = likelihood_lib.ShearLikelihood(shear_map, dtype=tf.float64)
  # The E modes of the data have covariance noise^2 + sigma^2 after smoothing kappa.
  operator = dense_gaussian.matrix(lensing.shear_from_convergence, shape)
  smoothed = noise**2 * np.eye(len(operator)) + sigma**2 * operator @ operator.T
  kappa = rng.standard_normal(shape)
  difference = shear_map.shear.ravel() - operator @ kappa.ravel()
  exact = operator.T @ np.linalg.solve(smoothed, difference)
  np.testing.assert_allclose(
    likelihood.score(kappa, sigma), exact.reshape(shape), rtol=1e-9, atol=1e-9
  )


def test_masked_pixels_carry_no_information(make_shear_map):
  shear_map = make_shear_map((8, 9))
  likelihood = likelihood_lib.ShearLikelihood(shear_map, dtype=tf.float64)
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
    likelihood_lib.ShearLikelihood(other, dtype=tf.float64).score(kappa, 0.1),
    likelihood.score(kappa, 0.1),
  )


def test_the_masked_variance_of_the_paper(make_shear_map):
  shear_map = make_shear_map((8, 9))
  exact = likelihood_lib.ShearLikelihood(shear_map, dtype=tf.float64)
  paper = likelihood_lib.ShearLikelihood(
    shear_map, dtype=tf.float64, masked_variance=1e10
  )
  kappa = np.random.default_rng(0).standard_normal((8, 9))
  weight = paper.inverse_variance().numpy()
  np.testing.assert_allclose(weight[:, ~shear_map.mask], 1e-10)
  np.testing.assert_allclose(
    paper.score(kappa, 0.2), exact.score(kappa, 0.2), rtol=1e-6, atol=1e-7
  )
  with pytest.raises(ValueError, match="masked_variance must be positive"):
    likelihood_lib.ShearLikelihood(shear_map, masked_variance=0.0)


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
  likelihood = likelihood_lib.ReducedShearLikelihood(shear_map, dtype=tf.float64)
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


def test_guided_samples_tell_reduced_from_true_shear(make_shear_map, fiducial):
  """With little noise 1 - kappa is recovered up to a factor, the mass-sheet degeneracy."""
  kappa, shear_map = _reduced_problem(make_shear_map, noise=5e-3)
  spectrum = dataclasses.replace(fiducial, c_ell=100 * fiducial.c_ell)
  prior = priors.GaussianPrior.from_spectrum(spectrum, shear_map.grid, dtype=tf.float64)
  errors = []
  for kind in (likelihood_lib.ReducedShearLikelihood, likelihood_lib.ShearLikelihood):
    posterior = posterior_lib.Posterior(kind(shear_map, dtype=tf.float64), prior)
    samples = samplers.sample(
      posterior,
      20,
      seed=0,
      settings=samplers.GuidedSettings(max_iterations=300),
      options=samplers.RunOptions(batch_size=20, progress=False, jit_compile=False),
    ).samples
    left = (1 - samples.mean(axis=0)) / np.mean(1 - samples)
    errors.append(np.abs(left - (1 - kappa) / np.mean(1 - kappa)).max())
  assert errors[0] < 0.03 < 0.06 < errors[1]


def test_shear_of_the_same_misfit_as_reduced_shear(make_shear_map):
  """(1 - kappa) g is shear with the misfit of the reduced likelihood."""
  reduced = likelihood_lib.ReducedShearLikelihood(
    make_shear_map((10, 12)), dtype=tf.float64
  )
  kappa = 0.3 * np.random.default_rng(0).standard_normal([2, 10, 12])
  shear, weight = reduced.equivalent_shear(kappa)
  kept = np.broadcast_to(weight, shear.shape) > 0
  expected = (1 - kappa[:, None]) * reduced.shear.numpy()
  np.testing.assert_allclose(shear.numpy()[kept], expected[kept])
  residual = shear - lensing.shear_from_convergence(tf.constant(kappa))
  own = reduced.inverse_variance() * tf.square(reduced.residual(tf.constant(kappa)))
  np.testing.assert_allclose(weight * tf.square(residual), own, rtol=1e-10)
