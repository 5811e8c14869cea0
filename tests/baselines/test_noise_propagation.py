"""Propagated noise against exact noise, and against the scatter of estimates."""

from astropy import units as u
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import lensing
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.baselines import glimpse
from tfp_massmap.baselines import inpainted_kaiser_squires
from tfp_massmap.baselines import kaiser_squires
from tfp_massmap.baselines import mcalens
from tfp_massmap.baselines import noise_propagation


def test_noise_of_a_linear_method_is_its_exact_noise(survey, grid):
  transfer = kaiser_squires.transfer(grid, 2 * u.arcmin).astype(np.float32)
  linear = lambda shear: spectra.fourier_filter(
    lensing.convergence_from_shear(shear)[0], tf.constant(transfer)
  )
  found = noise_propagation.standard_deviation(
    linear, survey, num_realisations=200, seed=0
  )
  exact = kaiser_squires.standard_deviation(survey, 2 * u.arcmin)
  # About 90 independent pixels, each a chi square of 199; 5 standard errors.
  assert abs(np.mean((found / exact) ** 2) - 1) < 5 * np.sqrt(2 / 199 / 90)


@pytest.mark.parametrize("name", ["mcalens", "glimpse", "inpainted_kaiser_squires"])
def test_noise_is_the_scatter_of_estimates(prior, survey, haloes, name):
  """The scatter is that of other mocks of the same map; the noise is reproducible."""
  method, settings = {
    "mcalens": (
      mcalens,
      dict(prior=prior, settings=mcalens.MCALensSettings((3, 3, 3))),
    ),
    "glimpse": (glimpse, dict(settings=glimpse.GlimpseSettings((3, 2, 2)))),
    "inpainted_kaiser_squires": (inpainted_kaiser_squires, dict(num_iterations=10)),
  }[name]
  shear_map = simulate.observe_like(haloes, survey, seed=1)
  truth = method.estimate(shear_map, **settings).kappa
  mocks = [simulate.observe_like(truth, survey, seed=100 + seed) for seed in range(16)]
  estimates = [method.estimate(mock, **settings).kappa for mock in mocks]
  scatter = np.std(estimates, axis=0, ddof=1)
  std = method.standard_deviation(shear_map, **settings)
  assert std.shape == survey.grid.shape
  ratio = np.mean(std[survey.mask] ** 2) / np.mean(scatter[survey.mask] ** 2)
  assert abs(ratio - 1) < 0.15
  again = method.standard_deviation(shear_map, **settings)
  np.testing.assert_array_equal(again, std)


def test_one_draw_is_refused(survey):
  with pytest.raises(ValueError, match=r"at least 2 noise.*num_realisations = 1"):
    glimpse.standard_deviation(
      survey, glimpse.GlimpseSettings((3, 3)), num_realisations=1
    )
