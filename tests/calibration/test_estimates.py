"""Errors by the jackknife and p-values by permutation, against closed forms."""

import numpy as np
import pytest
from scipy import stats

from tfp_massmap.calibration import estimates


def test_jackknife_of_a_mean_is_its_standard_error():
  values = np.random.default_rng(0).standard_normal([30, 3])
  error = estimates.jackknife(lambda s, n: s / n, values, np.ones_like(values))
  np.testing.assert_allclose(error, stats.sem(values, axis=0))
  one = estimates.jackknife(lambda s, n: s / n, values[:1], np.ones([1, 3]))
  assert np.isnan(one).all()


def test_p_value_is_the_share_of_members_as_extreme():
  """One truth, the second highest of eight members: p is a quarter.

  The 20,000 permutations have a standard error of 0.003; 4.5 of them are allowed.
  """
  members = np.array([6.0, 0, 1, 2, 3, 4, 5, 7]).reshape(1, 8, 1)
  found = estimates.against_chance(
    members, lambda total: total[..., 0], num_permutations=20_000, seed=0
  )
  assert found.value == 6
  assert found.p_value == pytest.approx(0.25, abs=0.014)
  assert found.expected == pytest.approx(3.5, abs=0.08)
  assert found.error == pytest.approx(np.arange(8).std(), rel=0.03)


def test_scalars_of_an_estimate():
  both = estimates.Estimate(
    np.array([1.0, 2.0]), np.array([0.1, 0.2]), expected=np.array([3.0, 4.0])
  )
  second = both.scalars()[1]
  assert (second.value, second.error, second.expected) == (2.0, 0.2, 4.0)
  one = estimates.Estimate(np.float64(1), np.nan, expected=0.0, p_value=0.5)
  assert [each.p_value for each in one.scalars()] == [0.5]
