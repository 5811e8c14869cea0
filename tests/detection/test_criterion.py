"""Highest coefficients near a place, and intervals of proportions."""

from astropy import units as u
import numpy as np
import pytest
from scipy import stats

from tfp_massmap import detection


def test_highest_coefficient_near_a_place(field):
  maps = np.random.default_rng(5).standard_normal([4, *field.grid.shape])
  coefficients = detection.aperture_mass(maps, 2)
  found = detection.highest_coefficient(
    maps, field.grid, centers=([30, 60.5], [40, 10.5]), radius=1 * u.arcmin, scale=2
  )
  rows, columns = np.ogrid[: field.grid.shape[0], : field.grid.shape[1]]
  for index, (row, column) in enumerate([(30, 40), (60.5, 10.5)]):
    near = np.hypot(rows - row, columns - column) <= 1 / 0.29
    np.testing.assert_array_equal(found[:, index], coefficients[:, near].max(axis=1))
  one = detection.highest_coefficient(
    maps, field.grid, centers=(30, 40), radius=1 * u.arcmin, scale=2
  )
  np.testing.assert_array_equal(one, found[:, 0])
  with pytest.raises(ValueError, match="Widen the radius"):
    detection.highest_coefficient(maps, field.grid, centers=(-10, 0))


@pytest.mark.parametrize(
  "name, oracle",
  [
    ("wilson", "wilson"),
    ("clopper-pearson", "exact"),
  ],
)
def test_binomial_intervals_against_scipy(name, oracle):
  successes = np.array([0, 1, 7, 19, 20])
  low, high = detection.binomial_interval(successes, 20, confidence=0.9, method=name)
  for k, *ends in zip(successes, low, high):
    expected = stats.binomtest(k, 20).proportion_ci(0.9, oracle)
    np.testing.assert_allclose(ends, expected, atol=1e-9)
    assert ends[0] <= k / 20 <= ends[1]
  with pytest.raises(ValueError, match="number of trials"):
    detection.binomial_interval(3, 2)
  with pytest.raises(ValueError, match="method"):
    detection.binomial_interval(1, 2, method="wald")
