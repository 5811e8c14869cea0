"""The Wiener filter against matrices, by all of its solvers."""

import numpy as np
import pytest

from tfp_massmap import geometry
from tfp_massmap import priors
from tfp_massmap import simulate
from tfp_massmap.baselines import wiener


def test_solvers_and_spread_against_matrices(prior, gaussian_mock, dense_filter):
  """The solution is (S^-1 + A' N^-1 A)^-1 A' N^-1 gamma, the spread its covariance."""
  covariance, weighted = dense_filter
  shape = gaussian_mock.grid.shape
  data = np.where(gaussian_mock.mask, gaussian_mock.shear, 0) / gaussian_mock.noise_std
  mean = (covariance @ (weighted @ data.ravel())).reshape(shape)
  std = np.sqrt(np.diag(covariance)).reshape(shape)
  for solver in wiener.SOLVERS:
    estimate = wiener.estimate(gaussian_mock, prior, solver=solver)
    np.testing.assert_allclose(
      estimate.kappa, mean, atol=3e-4 * np.abs(mean).max(), err_msg=solver
    )
    assert estimate.settings["relative_residual"] <= 1e-5
  num = 100
  ratio = (
    wiener.standard_deviation(gaussian_mock, prior, num_samples=num, batch_size=50)
    / std
  )
  # 1600 correlated pixels; the mean square of each has a relative error sqrt(2 / num).
  assert abs(np.mean(ratio**2) - 1) < 0.1 and 0.6 < ratio.min() and ratio.max() < 1.4


@pytest.mark.parametrize("solver", wiener.SOLVERS)
def test_a_solver_that_did_not_converge_is_an_error(prior, gaussian_mock, solver):
  with pytest.raises(RuntimeError, match=r"stopped after 2 iterations.*max_iterations"):
    wiener.estimate(gaussian_mock, prior, solver=solver, max_iterations=2)


def test_no_shear_gives_no_convergence(prior, survey, haloes):
  for solver in wiener.SOLVERS:
    estimate = wiener.estimate(survey, prior, solver=solver)
    assert not estimate.kappa.any()
    assert estimate.settings["relative_residual"] == 0
  with pytest.raises(RuntimeError, match="above rtol = 0"):
    shear_map = simulate.observe_like(haloes, survey, seed=0)
    wiener.estimate(shear_map, prior, solver="proximal", rtol=0.0, max_iterations=50)


def test_impossible_arguments(prior, survey, fiducial):
  for function in (wiener.estimate, wiener.standard_deviation):
    with pytest.raises(TypeError, match=r"The Wiener filter weights .* noise_std"):
      function(survey.shear, prior)
  with pytest.raises(TypeError, match=r"needs a priors.GaussianPrior"):
    wiener.estimate(survey, fiducial)
  lopsided = prior.mode_variance.numpy()
  lopsided[1, 0] *= 3
  with pytest.raises(ValueError, match="not that of a real periodic field"):
    wiener.estimate(survey, priors.GaussianPrior(lopsided, survey.grid.shape))
  other = geometry.PixelGrid((32, 32), survey.grid.pixel_scale)
  with pytest.raises(ValueError, match="periodic maps of shape"):
    wiener.estimate(survey, priors.GaussianPrior.from_spectrum(fiducial, other))
  with pytest.raises(ValueError, match="solver must be one of"):
    wiener.estimate(survey, prior, solver="newton")
  with pytest.raises(ValueError, match="at least 1, or None"):
    wiener.estimate(survey, prior, max_iterations=0)
  with pytest.raises(ValueError, match="num_samples"):
    wiener.standard_deviation(survey, prior, num_samples=0)
