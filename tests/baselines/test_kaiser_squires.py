"""Kaiser-Squires against lenspack, its noise against matrices, its best smoothing."""

from astropy import units as u
from lenspack.image import inversion
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import lensing
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap import summary
from tfp_massmap.baselines import kaiser_squires


def test_against_lenspack(survey, grid):
  shear_map = simulate.observe_like(np.zeros(grid.shape), survey, seed=0)
  plain = kaiser_squires.estimate(shear_map, 0 * u.arcmin).kappa
  expected, _ = inversion.ks93(*shear_map.shear)
  # They differ at the Nyquist frequencies, where the operator has no unique value.
  modes, wanted = (np.fft.rfft2(kappa) for kappa in (plain, expected))
  inner = np.ones(modes.shape, bool)
  inner[grid.shape[0] // 2], inner[:, -1] = False, False
  tolerance = 1e-5 * np.abs(wanted).max()
  np.testing.assert_allclose(modes[inner], wanted[inner], atol=tolerance)


@pytest.mark.parametrize("smoothing", [0.0, 1.5])
def test_noise_is_exact(survey, grid, smoothing):
  """The reference is the matrix of the filter."""
  ny, nx = grid.shape
  impulses = np.eye(ny * nx, dtype=np.float32).reshape(-1, ny, nx)
  transfer = kaiser_squires.transfer(grid, smoothing * u.arcmin).astype(np.float32)
  variance = 0.0
  for component in range(2):
    shear = np.zeros([ny * nx, 2, ny, nx], np.float32)
    shear[:, component] = impulses
    kappa = lensing.convergence_from_shear(tf.constant(shear))[0]
    response = spectra.fourier_filter(kappa, tf.constant(transfer)).numpy()
    noise = (survey.noise_std[component] * survey.mask).ravel()[:, None, None]
    variance = variance + np.sum((response * noise) ** 2, axis=0)
  std = kaiser_squires.standard_deviation(survey, smoothing * u.arcmin)
  np.testing.assert_allclose(std, np.sqrt(variance), rtol=1e-4)


def test_best_smoothing_is_best_and_an_end_is_refused(prior, survey):
  truths = prior.sample([4], seed=(5, 6)).numpy()
  scales = np.geomspace(0.3, 3, 7) * u.arcmin
  best, errors = kaiser_squires.choose_smoothing(survey, truths, seed=0, scales=scales)
  place = int(np.argmin(errors))
  assert scales[place - 1] < best < scales[place + 1]
  mocks = [simulate.observe_like(t, survey, seed=[0, i]) for i, t in enumerate(truths)]
  direct = np.mean(
    [
      summary.root_mean_square_error(
        kaiser_squires.estimate(mock, scales[place]).kappa, truth, mask=survey.mask
      )
      ** 2
      for mock, truth in zip(mocks, truths)
    ]
  )
  np.testing.assert_allclose(errors[place], np.sqrt(direct), rtol=1e-5)
  with pytest.raises(ValueError, match="an end of the scales"):
    kaiser_squires.choose_smoothing(survey, truths, seed=0, scales=[5, 6, 7] * u.arcmin)


def test_impossible_arguments(survey, grid):
  for function in (kaiser_squires.estimate, kaiser_squires.standard_deviation):
    with pytest.raises(TypeError, match=r"Kaiser-Squires weights .* noise_std"):
      function(survey.shear)
  choose = kaiser_squires.choose_smoothing
  with pytest.raises(TypeError, match="Kaiser-Squires weights"):
    choose(survey.shear, np.zeros([1, *grid.shape]), seed=0)
  with pytest.raises(ValueError, match="not be negative"):
    kaiser_squires.estimate(survey, -1 * u.arcmin)
  with pytest.raises(ValueError, match="at least one map"):
    choose(survey, [], seed=0)
  with pytest.raises(ValueError, match=r"truths must be .* got \(2, 8, 8\)"):
    choose(survey, np.zeros([2, 8, 8]), seed=0)
