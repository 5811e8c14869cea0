"""Reliability of shares of few samples is not biased."""

import numpy as np
import pytest

from tfp_massmap import detection


def test_reliability_with_few_samples_is_not_biased():
  """Three samples of each of 4,000 cases are enough: one false alarm in 500 seeds."""
  rng = np.random.default_rng(0)
  probability = rng.uniform(size=4000)[:, np.newaxis]
  cases = rng.uniform(size=[4000, 4]) < probability
  result = detection.reliability(
    cases[:, 1:], cases[:, 0], edges=np.linspace(-0.1, 1.1, 6)
  )
  np.testing.assert_allclose(result.predicted, np.arange(5) / 4, atol=1e-9)
  assert abs(result.z) < 3.3 and result.p_value > 1e-3
  error = np.sqrt(result.predicted * (1 - result.predicted) / result.count)
  assert np.all(np.abs(result.observed - result.predicted) <= 4 * error)
  with pytest.raises(ValueError, match="nothing to compare"):
    detection.reliability(np.ones([5, 3]), np.ones(5))
  with pytest.raises(ValueError, match="num_cases"):
    detection.reliability(np.ones([5, 3]), np.ones(4))
  with pytest.raises(ValueError, match=r"samples must be true or false; got .* 0\.4"):
    detection.reliability(np.full([5, 3], 0.4), np.ones(5))
  with pytest.raises(ValueError, match="edges must increase from 0 to 1"):
    detection.reliability(cases[:, 1:], cases[:, 0], edges=[0.2, 0.8])


def test_reliability_has_shares_on_an_edge_in_the_bin_above():
  """Among tenths, `linspace` rounds 0.3, 0.6 and 0.7 otherwise than division does."""
  cases = np.arange(10) < np.arange(1, 10)[:, np.newaxis]
  result = detection.reliability(cases[:, 1:], cases[:, 0])
  np.testing.assert_array_equal(result.count, np.ones(9))
  np.testing.assert_allclose(result.predicted, np.arange(1, 10) / 10)
