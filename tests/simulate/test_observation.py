"""Mock observations: signal, noise of the stated size, and mask."""

from astropy import units as u
import numpy as np
import pytest

from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import simulate

GRID = geometry.PixelGrid((360, 360), 0.29 * u.arcmin)


def test_mock_shear_is_signal_plus_noise_of_the_stated_size():
  rng = np.random.default_rng(1)
  kappa = rng.standard_normal(GRID.shape)
  survey = simulate.uniform_survey(60 / u.arcmin**2, sigma_e=0.3)
  mock = simulate.mock_observation(kappa, GRID, survey=survey, seed=5)
  signal = lensing.shear_from_convergence(kappa).numpy()
  white = ((mock.shear - signal) / np.where(mock.mask, mock.noise_std, 1))[:, mock.mask]
  # 2.6e5 unit normals: std known to 0.0014; 4 sigma.
  assert abs(white.std() - 1) < 0.0056 and abs(white.mean()) < 0.008
  np.testing.assert_allclose(
    mock.noise_std[0][mock.mask], 0.3 / np.sqrt(mock.count[mock.mask])
  )
  assert (mock.shear[:, ~mock.mask] == 0).all()
  again = simulate.mock_observation(kappa, GRID, survey=survey, seed=5)
  np.testing.assert_array_equal(again.shear, mock.shear)
  other = simulate.mock_observation(kappa, GRID, survey=survey, seed=6)
  assert (other.shear != mock.shear).any()


def test_mocks_of_a_real_survey_have_its_noise_and_mask():
  kappa = np.random.default_rng(1).standard_normal(GRID.shape)
  real = simulate.mock_observation(
    kappa, GRID, survey=simulate.cosmos_like_survey(), seed=1
  )
  mock = simulate.observe_like(kappa, real, seed=2)
  signal = lensing.shear_from_convergence(kappa).numpy()
  white = ((mock.shear - signal) / np.where(mock.mask, mock.noise_std, 1))[:, mock.mask]
  # More than 1e5 unit normals: std known to 0.0022; 4 sigma.
  assert abs(white.std() - 1) < 0.009 and abs(white.mean()) < 0.013
  assert mock.mask is real.mask and mock.noise_std is real.noise_std
  assert (mock.shear[:, ~mock.mask] == 0).all() and (mock.shear != real.shear).any()
  with pytest.raises(ValueError, match="kappa must have the shape"):
    simulate.observe_like(kappa[1:], real, seed=2)


def test_bad_convergence_maps():
  grid = geometry.PixelGrid((8, 8), 1 * u.arcmin)
  survey = simulate.uniform_survey(60 / u.arcmin**2, 0.3)
  with pytest.raises(ValueError, match="shape"):
    simulate.mock_observation(np.zeros((8, 9)), grid, survey=survey, seed=0)
  with pytest.raises(ValueError, match="1 pixels of kappa are not finite"):
    kappa = np.zeros((8, 8))
    kappa[0, 0] = np.nan
    simulate.mock_observation(kappa, grid, survey=survey, seed=0)
  tiny = simulate.uniform_survey(1e-9 / u.arcmin**2, 0.3)
  with pytest.raises(ValueError, match="mask is empty"):
    simulate.mock_observation(np.zeros((8, 8)), grid, survey=tiny, seed=0)
