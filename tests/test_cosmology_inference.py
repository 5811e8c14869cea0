"""Cosmology from mocks: against exact posteriors, and on Gaussian fields."""

from astropy import units as u
import numpy as np
import pytest
from scipy import stats

from tfp_massmap import cosmology_inference as lib
from tfp_massmap import geometry
from tfp_massmap import priors
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap import theory

WIDE = theory.CosmologyPrior(
  theory.Cosmology(0.3, 0.8), omega_matter_std=0.02, sigma_8_std=0.06
)
STD = np.array([0.02, 0.06])
GRID = geometry.PixelGrid((24, 24), 3.0 * u.arcmin)


def _linear_mocks(num, seed=0):
  """Mocks whose statistics are linear in the cosmology, with normal scatter."""
  rng = np.random.default_rng(seed)
  parameters = np.array([0.3, 0.8]) + STD * rng.standard_normal([num, 2])
  slopes = np.array([[1.0, 0.0, 2.0], [1.0, 3.0, 0.0]]) / STD[:, np.newaxis]
  statistics = parameters @ slopes + 2 * rng.standard_normal([num, 3])
  return lib.Mocks(parameters, statistics, WIDE), slopes


def test_linear_normal_mocks_give_the_exact_posterior():
  """Mean within 0.15 and error within 8 % of the exact ones, with 4,000 mocks."""
  mocks, slopes = _linear_mocks(4000)
  precision = np.diag(1 / STD**2) + slopes @ slopes.T / 4
  covariance = np.linalg.inv(precision)
  for truth in ([0.3, 0.8], [0.32, 0.7]):
    data = truth @ slopes
    center = np.array([0.3, 0.8])
    mean = center + covariance @ slopes @ (data - center @ slopes) / 4
    found = lib.infer(mocks, data)
    exact = np.sqrt(np.diag(covariance))
    offset = np.array([found.mean.omega_matter, found.mean.sigma_8]) - mean
    assert np.abs(offset / exact).max() < 0.15
    np.testing.assert_allclose(found.std, exact, rtol=0.08)


def test_ranks_of_mocks_are_even():
  """Kolmogorov-Smirnov over 300 mocks; a false alarm of each in a thousand."""
  mocks, _ = _linear_mocks(300, seed=1)
  ranks = np.array(
    [
      lib.infer(mocks.without(i), mocks.statistics[i]).rank(mocks.parameters[i])
      for i in range(300)
    ]
  )
  for column in ranks.T:
    assert stats.kstest(column, "uniform").pvalue > 1e-3


def test_draws_have_the_weights():
  mocks, _ = _linear_mocks(400, seed=2)
  found = lib.infer(mocks, mocks.statistics[7])
  assert found.center == WIDE.mean and found.name == f"{WIDE}, inferred with 400 mocks"
  drawn = found.draw(200, seed=1)
  values = np.array([[c.omega_matter, c.sigma_8] for c in drawn])
  middle = np.array([found.mean.omega_matter, found.mean.sigma_8])
  assert np.abs((values.mean(axis=0) - middle) / found.std).max() < 0.2
  np.testing.assert_allclose(values.std(axis=0), found.std, rtol=0.15)
  assert found.draw(200, seed=1) == drawn != found.draw(200, seed=2)
  assert "by the data" in str(found) and found.is_uncertain


def test_draws_of_different_data_share_cosmologies():
  """Rounded values, which stay within the tables."""
  mocks, _ = _linear_mocks(400, seed=2)
  many = [lib.infer(mocks, mocks.statistics[i]).draw(8, seed=i) for i in range(40)]
  assert len({c.sigma_8 for drawn in many for c in drawn}) < 60
  edge = lib.CosmologyPosterior(
    np.array([[0.449, 1.099], [0.4, 1.0]]), np.full(2, 0.5), WIDE
  )
  assert max(c.omega_matter for c in edge.draw(8, seed=0)) <= 0.45


def test_a_parameter_that_is_known_stays():
  mocks, _ = _linear_mocks(200)
  mocks.parameters[:, 0] = 0.3
  found = lib.infer(mocks, mocks.statistics[0])
  np.testing.assert_allclose(found.parameters[:, 0], 0.3, atol=1e-9)
  assert found.std[1] > 0.01


@pytest.fixture(name="survey")
def _survey():
  mask = np.random.default_rng(0).uniform(size=GRID.shape) > 0.2
  noise = np.full([2, *GRID.shape], 0.005)
  return shear_map_lib.ShearMap(0 * noise, noise, mask=mask, grid=GRID)


@pytest.fixture(name="fields")
def _fields(monkeypatch):
  """Gaussian fields of the power of their cosmology stand for simulated maps."""
  made = []

  def truth(grid, sources, cosmology, *, seed):
    made.append(seed)
    spectrum = spectra.PowerSpectrum.theory(sources, cosmology, small_scales="kappatng")
    return priors.GaussianPrior.from_spectrum(spectrum, grid).sample(seed=(seed, 1))

  monkeypatch.setattr(lib, "_truth", truth)
  return made


def test_mocks_tell_the_amplitude(survey, fields, tmp_path):
  """Fields of high and low sigma_8; the mocks resume, and are of one survey."""
  sources = theory.SourceRedshifts.of_mean(0.9)
  prior = theory.CosmologyPrior(sigma_8_std=0.2)
  given = dict(num_mocks=64, folder=tmp_path, progress=False)
  mocks = lib.simulate_mocks(survey, sources, cosmologies=prior, **given)
  assert mocks.statistics.shape == (64, 17) and np.isfinite(mocks.statistics).all()
  assert np.ptp(mocks.parameters[:, 0]) == 0 and np.ptp(mocks.parameters[:, 1]) > 0.4
  assert len(set(fields)) == 64
  again = lib.simulate_mocks(survey, sources, cosmologies=prior, **given)
  np.testing.assert_array_equal(again.statistics, mocks.statistics)
  assert len(fields) == 64
  with pytest.raises(ValueError, match="another run, with num_mocks"):
    lib.simulate_mocks(survey, sources, cosmologies=prior, **{**given, "num_mocks": 65})
  infer = lib.Inference.of_survey(survey, sources, cosmologies=prior, **given)
  assert infer.name == f"{prior}, inferred with 64 mocks" and len(fields) == 64
  found = []
  for sigma_8 in (0.65, 1.0):
    kappa = lib._truth(GRID, sources, theory.Cosmology(sigma_8=sigma_8), seed=3)
    shear_map = simulate.observe_like(kappa.numpy(), survey, seed=4)
    found.append(infer(shear_map))
  low, high = (each.mean.sigma_8 for each in found)
  assert low < 0.78 < 0.86 < high
  assert max(each.std[1] for each in found) < 0.12  # The prior has 0.2, cut at 1.1.


def test_what_cannot_be_inferred(survey):
  mocks, _ = _linear_mocks(64)
  with pytest.raises(ValueError, match="The mocks have 3 statistics; got"):
    lib.infer(mocks, np.zeros(4))
  with pytest.raises(ValueError, match="needs 64 mocks or more; got 63"):
    mocks.without(0)
  with pytest.raises(ValueError, match="Every mock needs a cosmology"):
    lib.Mocks(mocks.parameters[1:], mocks.statistics, WIDE)
