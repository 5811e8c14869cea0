"""Summaries and scores, by hand."""

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


def test_scores_see_only_the_mask_and_not_the_mean():
  rng = np.random.default_rng(0)
  truth, error = rng.standard_normal((2, 50, 50))
  mask = rng.uniform(size=truth.shape) > 0.5
  estimate = np.where(mask, truth + 0.5 * error + 7, 1e6)
  rmse = summary.root_mean_square_error(estimate, truth, mask=mask)
  assert rmse == pytest.approx(0.5 * np.std(error[mask]))
  oracle = np.corrcoef(estimate[mask], truth[mask])[0, 1]
  assert summary.pearson_correlation(estimate, truth, mask=mask) == pytest.approx(
    oracle
  )
