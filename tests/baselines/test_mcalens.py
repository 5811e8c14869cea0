"""MCALens: its two components, thresholds and convergence, and what it refuses."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import priors
from tfp_massmap import simulate
from tfp_massmap import summary
from tfp_massmap.baselines import mcalens
from tfp_massmap.baselines import noise_propagation
from tfp_massmap.baselines import wiener

Settings = mcalens.MCALensSettings
# No coefficient exceeds them, so that the sparse component is empty.
UNREACHED = Settings((1e3, 1e3, 1e3))


@pytest.fixture(scope="module")
def noisy_mock(survey, haloes):
  noisy = dataclasses.replace(survey, noise_std=4 * survey.noise_std)
  return simulate.observe_like(haloes, noisy, seed=1)


def test_it_beats_the_wiener_filter_on_haloes(prior, noisy_mock, haloes):
  found = mcalens.estimate(noisy_mock, prior, settings=Settings((3, 3, 3), 1))
  error, reference = (
    summary.root_mean_square_error(kappa, haloes, mask=noisy_mock.mask)
    for kappa in (found.kappa, wiener.estimate(noisy_mock, prior).kappa)
  )
  assert error < 0.96 * reference


def test_a_prior_of_double_precision(prior, survey, haloes):
  shear_map = simulate.observe_like(haloes, survey, seed=0)
  double = priors.GaussianPrior(
    tf.cast(prior.mode_variance, tf.float64), survey.grid.shape, dtype=tf.float64
  )
  kappa, expected = (mcalens.estimate(shear_map, p).kappa for p in (double, prior))
  assert kappa.dtype == np.float32
  np.testing.assert_allclose(kappa, expected, atol=1e-6)


def test_without_detections_it_is_the_wiener_filter(prior, gaussian_mock):
  gaussian, sparse, _ = mcalens.components(gaussian_mock, prior, settings=UNREACHED)
  assert not sparse.any()
  expected = wiener.estimate(gaussian_mock, prior).kappa
  np.testing.assert_allclose(gaussian, expected, atol=2e-4 * np.abs(expected).max())


def test_thresholds_are_those_of_noise_and_gaussian_field(prior, survey):
  """A Gaussian field has coefficients of the assumed scatter, and few detections."""
  _, weight = noise_propagation.weighted_data(survey)
  filters, deviation, step = mcalens._shrinkage(weight, prior, Settings((1, 1, 1), 1))
  squared, exceeding = [], []
  for seed in range(4):
    truth = prior.sample(seed=(seed, 1)).numpy()
    shear_map = simulate.observe_like(truth, survey, seed=seed)
    shear, _ = noise_propagation.weighted_data(shear_map)
    gaussian = tf.constant(wiener.estimate(shear_map, prior).kappa)
    left = lensing.modes_from_shear(
      weight * (shear - lensing.shear_from_convergence(gaussian))
    )
    coefficients = tf.signal.irfft2d(
      tf.cast(filters * step, left.dtype) * left, fft_length=list(survey.grid.shape)
    )
    squared.append((coefficients / deviation).numpy()[:, survey.mask] ** 2)
    _, sparse, _ = mcalens.components(
      shear_map, prior, settings=Settings((4, 4, 4), finest_scale=1)
    )
    exceeding.append(np.mean(sparse > 1e-6))
  scatter = np.sqrt(np.mean(squared, axis=(0, 2)))
  # Coarser scales have fewer independent coefficients.
  np.testing.assert_array_less(np.abs(scatter - 1), [0.03, 0.06, 0.15])
  assert np.mean(exceeding) < 0.01, exceeding


def test_it_converges_or_is_an_error(prior, noisy_mock):
  """The default tolerance leaves hardly any change for more iterations."""
  kappa, limit = (
    mcalens.estimate(noisy_mock, prior, settings=settings).kappa
    for settings in (Settings((3, 2)), Settings((3, 2), tolerance=2e-5))
  )
  assert np.std(kappa - limit) < 0.02 * np.std(limit)
  with pytest.raises(RuntimeError, match="max_iterations"):
    settings = Settings((3, 2), tolerance=1e-5, max_iterations=1)
    mcalens.estimate(noisy_mock, prior, settings=settings)


@pytest.mark.parametrize("shape", [(48, 64), (33, 40)])
def test_any_shape(make_shear_map, fiducial, shape):
  mock = make_shear_map(shape)
  prior = priors.GaussianPrior.from_spectrum(fiducial, mock.grid)
  found = mcalens.estimate(mock, prior, settings=Settings((3, 2)))
  assert found.kappa.shape == shape and found.method == "mcalens"


def test_a_batch_is_its_maps(prior, survey, assert_batch_is_its_maps):
  """All maps are iterated until the last has converged, hence the tolerance."""
  separate = mcalens.separator(survey, prior, settings=Settings((3, 2)))
  assert_batch_is_its_maps(lambda shear: tf.add(*separate(shear)[:2]), tolerance=0.02)


def test_propagated_noise_without_detections_is_exact(prior, survey, dense_filter):
  """The reference is that of the Wiener filter, C A' N^-1, by matrices."""
  covariance, weighted = dense_filter
  exact = np.sqrt(np.sum((covariance @ weighted) ** 2, axis=1))
  exact = exact.reshape(survey.grid.shape)
  std = mcalens.standard_deviation(
    survey, prior, settings=UNREACHED, num_realisations=50
  )
  ratio = np.mean(std[survey.mask] ** 2) / np.mean(exact[survey.mask] ** 2)
  assert abs(ratio - 1) < 0.06
  np.testing.assert_allclose(std, exact, rtol=0.5)


@pytest.mark.parametrize(
  "settings, message",
  [
    (dict(thresholds=5 * (3,)), "5 thresholds.* 4 to 64 pixels.* room for 4"),
    (dict(thresholds=(3,), finest_scale=7), "room for 0"),
    (dict(thresholds=4), "one for each starlet scale"),
    (dict(finest_scale=0), "finest_scale must"),
  ],
)
def test_impossible_settings(prior, survey, settings, message):
  with pytest.raises(ValueError, match=message):
    mcalens.estimate(survey, prior, settings=Settings(**settings))


def test_impossible_arguments(prior, survey, fiducial):
  for function in (mcalens.estimate, mcalens.standard_deviation):
    with pytest.raises(TypeError, match=r"MCALens weights .* noise_std"):
      function(survey.shear, prior)
  other = geometry.PixelGrid((32, 32), survey.grid.pixel_scale)
  with pytest.raises(ValueError, match="periodic maps of shape"):
    mcalens.estimate(survey, priors.GaussianPrior.from_spectrum(fiducial, other))
