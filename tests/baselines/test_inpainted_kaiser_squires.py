"""Inpainting: nothing to do without gaps, and a smaller error with them."""

import dataclasses

from astropy import units as u
import numpy as np
import pytest

from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap import summary
from tfp_massmap.baselines import inpainted_kaiser_squires
from tfp_massmap.baselines import kaiser_squires


def test_without_gaps_it_is_kaiser_squires_and_it_fills_gaps(prior, survey, grid):
  smooth = spectra.fourier_filter(
    prior.sample(seed=(7, 8)),
    kaiser_squires.transfer(grid, 3 * u.arcmin).astype(np.float32),
  ).numpy()
  whole = dataclasses.replace(
    survey, mask=np.ones(grid.shape, bool), noise_std=1e-4 * survey.noise_std
  )
  shear_map = simulate.observe_like(smooth, whole, seed=0)
  expected = kaiser_squires.estimate(shear_map, 0.5 * u.arcmin).kappa
  found = inpainted_kaiser_squires.estimate(
    shear_map, 0.5 * u.arcmin, num_iterations=3
  ).kappa
  np.testing.assert_allclose(found, expected, atol=1e-6)
  gaps = dataclasses.replace(whole, mask=survey.mask)
  shear_map = simulate.observe_like(smooth, gaps, seed=0)
  errors = [
    summary.root_mean_square_error(method.kappa, smooth, mask=survey.mask)
    for method in (
      inpainted_kaiser_squires.estimate(shear_map, 0 * u.arcmin),
      kaiser_squires.estimate(shear_map, 0 * u.arcmin),
    )
  ]
  assert errors[0] < 0.5 * errors[1], errors


def test_impossible_arguments(survey):
  method = inpainted_kaiser_squires
  for function in (method.estimate, method.standard_deviation):
    with pytest.raises(TypeError, match=r"Inpainting weights .* noise_std"):
      function(survey.shear)
  with pytest.raises(ValueError, match="num_iterations must be positive"):
    method.estimate(survey, num_iterations=0)
