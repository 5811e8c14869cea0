"""Mock surveys and observations."""

from astropy import units as u
import numpy as np
import pytest

from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import simulate


def _grid():
  return geometry.PixelGrid((360, 360), 0.29 * u.arcmin)


def test_cosmos_like_survey_looks_like_cosmos():
  """COSMOS: 53 % of the field, 417,000 galaxies, 64 per square arcmin seen."""
  survey = simulate.cosmos_like_survey()
  count = survey.galaxy_counts(_grid(), np.random.default_rng(0))
  mask = count > 0
  assert 0.50 < mask.mean() < 0.58
  assert 360_000 < count.sum() < 440_000
  # Pixels of .0841 square arcmin: 5.4 galaxies, 1 in 220 empty inside the footprint.
  assert count[mask].mean() == pytest.approx(5.4, rel=0.02)
  edges = np.concatenate([mask[:20], mask[-20:], mask[:, :20].T, mask[:, -20:].T])
  assert not edges.any()  # a margin all around


def test_star_holes_have_the_density_and_size_asked_for():
  survey = simulate.Survey(
    density=500 / u.arcmin**2,
    sigma_e=0.3,
    hole_density=30 / u.deg**2,
    hole_radius=(1 * u.arcmin, 1 * u.arcmin),
  )
  masked = [
    1 - survey.footprint(_grid(), np.random.default_rng(seed)).mean()
    for seed in range(20)
  ]
  # Overlap apart, the covered fraction is density times area: 2.6 %, +- 3 % of it,
  # for 1,800 holes; the edge of the field loses about 1 % of them.
  area = (30 / u.deg**2 * np.pi * u.arcmin**2).to_value(u.one)
  assert np.mean(masked) == pytest.approx(1 - np.exp(-area), rel=0.12)


def test_mock_shear_is_signal_plus_noise_of_the_stated_size():
  grid = _grid()
  rng = np.random.default_rng(1)
  kappa = rng.standard_normal(grid.shape)
  survey = simulate.uniform_survey(60 / u.arcmin**2, sigma_e=0.3)
  mock = simulate.mock_observation(kappa, grid, survey=survey, seed=5)
  signal = lensing.shear_from_convergence(kappa).numpy()
  white = ((mock.shear - signal) / np.where(mock.mask, mock.noise_std, 1))[:, mock.mask]
  # 2.6e5 unit normals: std known to .0014; 4 sigma.
  assert abs(white.std() - 1) < 0.0056 and abs(white.mean()) < 0.008
  np.testing.assert_allclose(
    mock.noise_std[0][mock.mask], 0.3 / np.sqrt(mock.count[mock.mask])
  )
  assert (mock.shear[:, ~mock.mask] == 0).all()
  again = simulate.mock_observation(kappa, grid, survey=survey, seed=5)
  np.testing.assert_array_equal(again.shear, mock.shear)
  other = simulate.mock_observation(kappa, grid, survey=survey, seed=6)
  assert (other.shear != mock.shear).any()


def test_mocks_of_a_real_survey_have_its_noise_and_mask():
  grid = _grid()
  kappa = np.random.default_rng(1).standard_normal(grid.shape)
  real = simulate.mock_observation(
    kappa, grid, survey=simulate.cosmos_like_survey(), seed=1
  )
  mock = simulate.observe_like(kappa, real, seed=2)
  signal = lensing.shear_from_convergence(kappa).numpy()
  white = ((mock.shear - signal) / np.where(mock.mask, mock.noise_std, 1))[:, mock.mask]
  # More than 1e5 unit normals: std known to .0022; 4 sigma.
  assert abs(white.std() - 1) < 0.009 and abs(white.mean()) < 0.013
  assert mock.mask is real.mask and mock.noise_std is real.noise_std
  assert (mock.shear[:, ~mock.mask] == 0).all() and (mock.shear != real.shear).any()
  with pytest.raises(ValueError, match="kappa must have the shape"):
    simulate.observe_like(kappa[1:], real, seed=2)


@pytest.mark.parametrize(
  "changes, message",
  [
    (dict(density=0 / u.arcmin**2), "density must be positive"),
    (dict(sigma_e=0.0), "sigma_e must be positive"),
    (dict(hole_density=-1 / u.deg**2), "hole_density"),
    (dict(hole_radius=(2 * u.arcmin, 1 * u.arcmin)), "smallest, largest"),
    (dict(outline=((0, 0), (1, 1))), "three corners"),
  ],
)
def test_bad_surveys(changes, message):
  with pytest.raises(ValueError, match=message):
    simulate.Survey(**{"density": 1 / u.arcmin**2, "sigma_e": 0.3, **changes})


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
