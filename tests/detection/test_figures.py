"""Figures of detections show all that they are given."""

import numpy as np
import pytest

from tfp_massmap import detection
from tfp_massmap.detection import figures


def test_rate_of_several_fields_has_their_scatter():
  """Samples of a field that detects all do not predict a field that detects none."""
  share, low, high = figures.pooled_rate([40, 0, 40, 0, 0, 40], 40)
  error = np.std([1, 0, 1, 0, 0, 1], ddof=1) / np.sqrt(6)
  np.testing.assert_allclose([share, low, high], [0.5, 0.5 - error, 0.5 + error])
  # Equal fields, and one field, have the binomial interval.
  binomial = detection.binomial_interval(120, 240)
  np.testing.assert_allclose(figures.pooled_rate([20] * 6, 40)[1:], binomial)
  np.testing.assert_allclose(figures.pooled_rate(120, 240)[1:], binomial)
  # One sample of all detects it, in one field: the interval ends at zero.
  assert figures.pooled_rate([0, 0, 1], 40)[1] == 0


def test_histogram_shows_coefficients_beyond_the_usual():
  values = np.array([3.0, 20.0, 20.0, 20.0])
  noise = np.array([-1.0, 0.0, 1.0])
  _, axes = figures.plot_coefficients(
    {"noise": noise}, {"cluster": values}, threshold=3
  )
  filled = axes.patches[-1].get_xy()
  assert axes.get_xlim()[1] > 20
  # Three of four values, in a bin of half a standard deviation.
  assert filled[filled[:, 0] > 15, 1].max() == pytest.approx(0.75 / 0.5)
