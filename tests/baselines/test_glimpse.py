"""GLIMPSE: its minimum, re-weighting and positivity, and what it refuses."""

import dataclasses

from astropy import units as u
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import lensing
from tfp_massmap import simulate
from tfp_massmap import summary
from tfp_massmap.baselines import glimpse
from tfp_massmap.baselines import kaiser_squires
from tfp_massmap.baselines import noise_propagation
from tfp_massmap.baselines import wiener

Settings = glimpse.GlimpseSettings


@pytest.fixture(scope="module")
def mock(haloes, survey):
  return simulate.observe_like(haloes, survey, seed=1)


def test_it_beats_the_wiener_filter_on_haloes(prior, survey, haloes):
  noisy = dataclasses.replace(survey, noise_std=4 * survey.noise_std)
  shear_map = simulate.observe_like(haloes, noisy, seed=1)
  sparse = glimpse.estimate(shear_map, Settings((3.25, 2.25, 2.25, 2.25)))
  error, reference = (
    summary.root_mean_square_error(found.kappa, haloes, mask=survey.mask)
    for found in (sparse, wiener.estimate(shear_map, prior))
  )
  assert error < 0.9 * reference


@pytest.mark.parametrize("num_reweightings", [0, 1])
def test_it_reaches_its_minimum(mock, num_reweightings):
  """No small step to either side lowers the objective, re-weighted or not."""
  shear, weight = noise_propagation.weighted_data(mock)
  filters, limits = glimpse.penalty(weight.numpy(), np.full([3, 1, 1], 3.0))
  shape = mock.grid.shape

  def minimum(number):
    settings = Settings((3, 3, 3), 3000, num_reweightings=number, positive=False)
    return glimpse.estimate(mock, settings).kappa.astype(np.float64)

  def coefficients(kappa):
    return np.fft.irfft2(filters * np.fft.rfft2(kappa), s=shape)

  before = minimum(0)
  if num_reweightings:
    typical_weight = weight.numpy()[weight > 0].mean()
    size = np.abs(coefficients(before)) * typical_weight / limits
    limits = limits / (1 + size)

  def objective(kappa):
    residual = shear - lensing.shear_from_convergence(tf.constant(kappa, tf.float32))
    penalty = np.sum(limits * np.abs(coefficients(kappa)))
    return 0.5 * np.sum(weight * residual**2) + penalty

  found = minimum(num_reweightings)
  least = objective(found)
  if num_reweightings:
    # A stronger or weaker re-weighting would have ended at one of these.
    for step in (-0.2, 0.2):
      assert objective(found + step * (before - found)) > least
  rng = np.random.default_rng(0)
  for scale in (0.5, 2.0, 4.0):
    bump = np.fft.irfft2(
      np.fft.rfft2(rng.standard_normal(shape))
      * kaiser_squires.transfer(mock.grid, scale * u.arcmin),
      s=shape,
    )
    for step in (-0.03, 0.03):
      moved = found + step * np.abs(found).max() * bump / np.abs(bump).max()
      assert objective(moved) > least


def test_reweighting_restores_peaks(mock, haloes):
  truth = haloes - haloes.mean()
  lost = [
    (truth - glimpse.estimate(mock, Settings((3, 2, 2), num_reweightings=n)).kappa)[
      [12, 28, 33], [10, 32, 12]
    ]
    for n in (0, 1)
  ]
  np.testing.assert_array_less(lost[1] + 0.02, lost[0])


def test_positivity_is_a_floor(mock):
  """Many pixels lie on it, and it is above the least value of the free map."""
  maps = [
    glimpse.estimate(mock, Settings((3, 2, 2), positive=positive)).kappa
    for positive in (False, True)
  ]
  free, positive = (np.sum(kappa < kappa.min() + 1e-6) for kappa in maps)
  assert free == 1 and positive > 10
  assert 0.6 * maps[0].min() < maps[1].min() < 0


@pytest.mark.parametrize("shape", [(48, 64), (33, 40)])
def test_any_shape(make_shear_map, shape):
  mock = make_shear_map(shape)
  assert glimpse.estimate(mock, Settings((3, 2, 2), 5)).kappa.shape == shape


def test_a_batch_is_its_maps(prior, survey, haloes, assert_batch_is_its_maps):
  reconstruct = glimpse.reconstructor(survey, Settings((3, 2)))
  assert_batch_is_its_maps(reconstruct, tolerance=1e-5)


def test_impossible_arguments(survey):
  for function in (glimpse.estimate, glimpse.standard_deviation):
    with pytest.raises(TypeError, match=r"GLIMPSE weights .* noise_std"):
      function(survey.shear)
  with pytest.raises(ValueError, match="thresholds must be positive"):
    glimpse.estimate(survey, Settings((3, 0)))
  with pytest.raises(ValueError, match=r"6 thresholds.* 2 to 64 pixels.* room for 5"):
    glimpse.estimate(survey)
  with pytest.raises(ValueError, match="num_iterations must be positive"):
    Settings(num_iterations=0)
  with pytest.raises(ValueError, match="num_reweightings not negative"):
    Settings(num_reweightings=-1)
