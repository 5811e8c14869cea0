"""Summaries and scores, against values by hand."""

import numpy as np
import pytest

from tfp_massmap import summary


def test_mean_and_standard_deviation():
  samples = np.array([[[1.0, 2.0]], [[3.0, 2.0]], [[5.0, 5.0]]])
  result = summary.summarise(samples)
  np.testing.assert_allclose(result.mean, [[3, 3]])
  np.testing.assert_allclose(result.std, [[2, np.sqrt(3)]])
  assert result.num_samples == 3
  assert np.isnan(summary.summarise(samples[:1]).std).all()
  with pytest.raises(ValueError, match="must be"):
    summary.summarise(samples[0])


def test_impossible_levels_are_refused():
  with pytest.raises(ValueError, match=r"Quantiles must lie in \(0, 1\)"):
    summary.check_levels([0.5, 1.0], [])
  with pytest.raises(ValueError, match="Thresholds must be finite"):
    summary.check_levels([], [np.nan])


def test_scores_depend_on_the_mask_alone_and_not_on_the_mean():
  rng = np.random.default_rng(0)
  truth, error = rng.standard_normal((2, 50, 50))
  mask = rng.uniform(size=truth.shape) > 0.5
  estimate = np.where(mask, truth + 0.5 * error + 7, 1e6)
  rmse = summary.root_mean_square_error(estimate, truth, mask=mask)
  assert rmse == pytest.approx(0.5 * np.std(error[mask]))
  correlation = summary.pearson_correlation(estimate, truth, mask=mask)
  oracle = np.corrcoef(estimate[mask], truth[mask])[0, 1]
  assert correlation == pytest.approx(oracle)
