"""Laws of sigma: their distributions, ranges and bounds."""

import numpy as np
import pytest
from scipy import stats
import tensorflow as tf

from tfp_massmap.priors import noise_laws


@pytest.mark.parametrize(
  "name, distribution",
  [
    ("log_uniform", stats.loguniform(0.01, 0.2)),
    ("half_normal", stats.halfnorm(scale=0.2)),
  ],
)
def test_draws_follow_the_law(name, distribution):
  """Kolmogorov-Smirnov test of 2,000 draws; false alarm once in 10,000."""
  law = noise_laws.LAWS[name](0.01, 0.2)
  seeds = tf.stack([tf.range(2000), tf.ones(2000, tf.int32)], axis=1)
  sigma = tf.map_fn(law.sample, seeds, fn_output_signature=tf.float32).numpy()
  assert stats.kstest(sigma, distribution.cdf).pvalue > 1e-4
  low, high = law.sigma_range
  assert low == 0.01 and np.mean(sigma < high) > 0.99


@pytest.mark.parametrize("name", sorted(noise_laws.LAWS))
@pytest.mark.parametrize("bounds", [(0, 1), (0.2, 0.1), (-1, 1)])
def test_bounds_that_do_not_rise_are_refused(name, bounds):
  with pytest.raises(ValueError, match="sigma_low must be positive and sigma_high"):
    noise_laws.LAWS[name](*bounds)
