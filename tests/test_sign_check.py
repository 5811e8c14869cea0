"""The check of the sign of e2 on mock surveys, on noise alone, and on COSMOS."""

import dataclasses
import functools

from astropy import units as u
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import catalog
from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import sign_check
from tfp_massmap import simulate
from tfp_massmap import spectra


@functools.cache
def _mock(seed):
  grid = geometry.PixelGrid((128, 128), 0.8 * u.arcmin)
  variance = spectra.PowerSpectrum.fiducial_cosmos().mode_variance(grid)
  kappa = spectra.gaussian_field(variance, grid.shape, seed=(seed, 1)).numpy()
  return simulate.mock_observation(
    kappa, grid, survey=simulate.cosmos_like_survey(), seed=seed
  )


def test_handedness_of_mock_surveys():
  for seed in range(3):
    mock = _mock(seed)
    good = sign_check.check_handedness(mock)
    assert good.verdict == "consistent", str(good)
    assert "The sign of e2 is consistent with lensing." in str(good)
    # There are no B modes but those that the mask makes of E modes, 10 to 20 %.
    assert abs(good.b_mode) < 0.25 * good.e_mode
    flip = np.array([1, -1])[:, np.newaxis, np.newaxis]
    wrong = dataclasses.replace(mock, shear=mock.shear * flip)
    bad = sign_check.check_handedness(wrong)
    assert bad.verdict == "wrong sign of e2"
    assert "has the wrong sign of e2." in str(bad)
    assert bad.difference == pytest.approx(-good.difference, rel=1e-4)
    # The map is left as it was.
    np.testing.assert_array_equal(wrong.shear, mock.shear * flip)


def test_handedness_without_signal_is_undecided():
  differences = []
  for seed in range(12):
    mock = _mock(0)
    noise = mock.noise_std * np.random.default_rng(seed).standard_normal(
      mock.shear.shape
    )
    differences.append(
      sign_check.check_handedness(dataclasses.replace(mock, shear=noise)).difference
    )
  # The largest of 12 unit normals is beyond 4 in 1 of 1,300 runs.
  assert np.abs(differences).max() < 4
  assert 0.4 < np.std(differences) < 1.8


def test_a_handful_of_pixels_decides_nothing():
  mock = _mock(0)
  mask = np.zeros(mock.grid.shape, bool)
  mask[60, 60:63] = True
  few = dataclasses.replace(mock, mask=mask, noise_std=np.full(mask.shape, 0.1))
  few = dataclasses.replace(few, shear=np.ones_like(few.shear))
  assert sign_check.check_handedness(few).verdict == "undecided"


def test_pure_b_modes_are_found():
  mock = _mock(1)
  kappa = spectra.gaussian_field(
    spectra.PowerSpectrum.fiducial_cosmos().mode_variance(mock.grid),
    mock.grid.shape,
    seed=(9, 9),
  )
  shear = lensing.shear_from_convergence(tf.zeros_like(kappa), kappa).numpy()
  noise = mock.noise_std * np.random.default_rng(3).standard_normal(shear.shape)
  result = sign_check.check_handedness(dataclasses.replace(mock, shear=shear + noise))
  assert abs(result.e_mode) < 0.25 * result.b_mode and result.b_mode > 20


def test_handedness_of_cosmos(cosmos_data):
  galaxies = catalog.read_schrabback2010(cosmos_data)
  grid = catalog.tangent_grid(galaxies, 0.5 * u.arcmin)
  as_given = sign_check.check_handedness(catalog.bin_catalogue(galaxies, grid))
  assert as_given.verdict == "wrong sign of e2", str(as_given)
  flipped = sign_check.check_handedness(
    catalog.bin_catalogue(galaxies, grid, flip_e2=True)
  )
  assert flipped.verdict == "consistent" and abs(flipped.b_mode) < 4.5
