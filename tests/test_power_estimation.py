"""The power spectrum from masked shear: recovery, use in a filter, errors."""

import dataclasses

from astropy import units as u
import numpy as np
import pytest

from tfp_massmap import geometry
from tfp_massmap import power_estimation
from tfp_massmap import priors
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap import summary
from tfp_massmap.baselines import wiener

GRID = geometry.PixelGrid((96, 96), 1.0 * u.arcmin)


def _observed(truth, seed):
  """A mock of `truth` with a hole of 30 x 40 pixels."""
  survey = simulate.uniform_survey(300 / u.arcmin**2, 0.3)
  mock = simulate.mock_observation(truth, GRID, survey=survey, seed=seed)
  mask = mock.mask.copy()
  mask[20:50, 30:70] = False
  return dataclasses.replace(mock, mask=mask)


def test_estimated_power_is_that_of_the_field(fiducial):
  """The field has twice the power: three nodes lie within four of their errors."""
  doubled = spectra.PowerSpectrum(fiducial.ell, 2 * fiducial.c_ell)
  truth = priors.GaussianPrior.from_spectrum(doubled, GRID).sample(seed=(3, 4))
  found = power_estimation.estimate(_observed(truth.numpy(), 1), fiducial, num_nodes=4)
  error = np.sqrt(np.diag(found.covariance))
  assert found.last_step < 0.01
  # Random simulations of the model add 1/8 to the variance.
  np.testing.assert_array_less(
    np.abs(found.log_ratio - np.log(2))[1:], 4 * np.sqrt(9 / 8) * error[1:] + 0.03
  )
  assert error[1:3].max() < 0.3
  found.spectrum.mode_variance(GRID)


def test_a_wiener_filter_with_it_is_that_with_the_true_power(fiducial):
  """The spectrum that the estimate starts from gives a far larger error."""
  weak = spectra.PowerSpectrum(fiducial.ell, 0.3 * fiducial.c_ell)
  prior = priors.GaussianPrior.from_spectrum(weak, GRID)
  truth = prior.sample(seed=(0, 4)).numpy()
  mock = _observed(truth, 0)
  found = power_estimation.estimate(mock, fiducial).spectrum
  best, before, after = (
    summary.root_mean_square_error(
      wiener.estimate(mock, priors.GaussianPrior.from_spectrum(s, GRID)).kappa,
      truth,
      mask=mock.mask,
    )
    for s in (weak, fiducial, found)
  )
  assert after < 1.01 * best and before > 1.1 * best


def test_steps_that_did_not_converge_are_an_error(fiducial):
  truth = priors.GaussianPrior.from_spectrum(fiducial, GRID).sample(seed=(1, 2))
  weak = spectra.PowerSpectrum(fiducial.ell, 0.3 * fiducial.c_ell)
  with pytest.raises(RuntimeError, match=r"node .* above tolerance = 0.1"):
    power_estimation.estimate(_observed(truth.numpy(), 0), weak, num_iterations=1)


def test_a_filter_that_did_not_converge_is_an_error(fiducial):
  grid = geometry.PixelGrid((64, 64), 1.0 * u.arcmin)
  uneven = np.random.default_rng(0).choice([1e-6, 1.0], [2, *grid.shape])
  shear = uneven * np.random.default_rng(1).standard_normal(uneven.shape)
  mask = np.ones(grid.shape, bool)
  shear_map = shear_map_lib.ShearMap(shear, uneven, mask=mask, grid=grid)
  with pytest.raises(RuntimeError, match="Wiener filter stopped after 500"):
    power_estimation.estimate(shear_map, fiducial, num_simulations=2)


def test_impossible_arguments(make_shear_map, fiducial):
  shear_map = make_shear_map((16, 16))
  with pytest.raises(TypeError, match=r"needs a shear_map.ShearMap.* got ndarray"):
    power_estimation.estimate(shear_map.shear, fiducial)
  for name, value in (("num_nodes", 1), ("num_iterations", 0), ("num_simulations", 1)):
    with pytest.raises(ValueError, match=f"{name} must be at least"):
      power_estimation.estimate(shear_map, fiducial, **{name: value})
