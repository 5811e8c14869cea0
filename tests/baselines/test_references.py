"""Baselines against closed forms and the figures of Remy et al. (2022)."""

from astropy import units as u
from astropy.io import fits
import numpy as np
import pytest

from tfp_massmap import baselines
from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import priors
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import spectra
from tfp_massmap import summary


def test_kaiser_squires_smooths_a_point_by_a_gaussian():
  grid = geometry.PixelGrid((64, 64), 0.5 * u.arcmin)
  kappa = np.zeros(grid.shape)
  kappa[32, 30] = 1
  shear = lensing.shear_from_convergence(kappa).numpy()
  shear_map = shear_map_lib.ShearMap(
    shear, np.ones(grid.shape), mask=np.ones(grid.shape, bool), grid=grid
  )
  estimate = baselines.kaiser_squires.estimate(shear_map, smoothing=1 * u.arcmin)
  y, x = np.mgrid[:64, :64]
  expected = np.exp(-((x - 30) ** 2 + (y - 32) ** 2) / 8) / (8 * np.pi)
  np.testing.assert_allclose(estimate.kappa, expected - 1 / 64**2, atol=2e-6)


def test_wiener_filter_on_the_mock_of_the_paper(cosmos_data, kappatng_data):
  truth = fits.getdata(kappatng_data / "ktng_kappa360v2.fits").astype(np.float64)
  mask = fits.getdata(cosmos_data / "cosmos_full_mask_0.29arcmin360.fits") > 0
  noise_std = np.stack(
    [fits.getdata(cosmos_data / f"std{i}.fits").astype(np.float64) for i in (1, 2)]
  )
  grid = geometry.PixelGrid(truth.shape, 0.29 * u.arcmin)
  spectrum = spectra.PowerSpectrum(*np.load(kappatng_data / "ktng_PS_theory.npy"))
  prior = priors.GaussianPrior.from_spectrum(spectrum, grid)
  shear = lensing.shear_from_convergence(truth).numpy()
  correlation, error = [], []
  for seed in range(8):
    noise = noise_std * np.random.default_rng(seed).standard_normal(shear.shape)
    shear_map = shear_map_lib.ShearMap(shear + noise, noise_std, mask=mask, grid=grid)
    kappa = baselines.wiener.estimate(shear_map, prior).kappa
    correlation.append(summary.pearson_correlation(kappa, truth, mask=mask))
    error.append(summary.root_mean_square_error(kappa, truth, mask=mask))
  assert np.mean(correlation) == pytest.approx(0.649, abs=0.01)
  assert np.mean(error) == pytest.approx(2.22e-2, abs=0.02e-2)
