"""The Metropolis test of score-only kernels."""

import numpy as np
import pytest
import score_targets
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc


@pytest.mark.parametrize("rule", score_targets.RULES)
def test_not_a_number_and_infinity_are_rejected(rule):
  """A chain never enters the region where its score breaks down."""

  def score(x):
    bad = tf.where(x > 1.5, np.nan, np.inf) * tf.ones_like(x)
    return tf.where(tf.abs(x) > 1, bad, -x)

  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    score, 0.5, num_leapfrog_steps=4, event_ndims=1, path_integral=rule
  )
  states, (accepted, ratio) = score_targets.run(
    lambda: tfp.mcmc.sample_chain(
      50,
      tf.zeros([20, 1]),
      kernel=kernel,
      trace_fn=score_targets.accepted_and_ratio,
      seed=(1, 2),
    ),
    "graph",
  )
  assert np.abs(states).max() <= 1
  assert not np.isnan(ratio).any()
  assert 0 < np.mean(accepted) < 1


def test_without_the_metropolis_test_the_moments_would_be_wrong():
  """The invariance test can fail: leapfrog alone is off by many sigma."""
  start = tf.random.stateless_normal([20000, 2], (1, 1), dtype=tf.float64)
  kernel = mcmc.ScoreUncalibratedHamiltonianMonteCarlo(
    lambda x: -x, tf.constant(1.5, tf.float64), num_leapfrog_steps=2, event_ndims=1
  )
  with pytest.warns(UserWarning, match="not calibrated"):
    end = tfp.mcmc.sample_chain(40, start, kernel=kernel, trace_fn=None, seed=(3, 4))
  assert np.var(end[-1]) > 1.2


def test_a_kernel_with_a_test_of_its_own_is_refused():
  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    lambda x: -x, 0.1, num_leapfrog_steps=4, event_ndims=1
  )
  with pytest.raises(ValueError, match="must be uncalibrated; ScoreHamiltonianMonte"):
    mcmc.ScoreMetropolisHastings(kernel)


def test_the_test_around_a_proposal_is_the_calibrated_kernel():
  """`ScoreHamiltonianMonteCarlo` and its two pieces take the same step, bit by bit."""
  whole = mcmc.ScoreHamiltonianMonteCarlo(
    lambda x: -x, 1.5, num_leapfrog_steps=2, event_ndims=1
  )
  pieces = mcmc.ScoreMetropolisHastings(
    mcmc.ScoreUncalibratedHamiltonianMonteCarlo(**whole.parameters)
  )
  start = tf.random.stateless_normal([50, 2], (1, 2))
  (state, results), (other, others) = (
    score_targets.one_step(kernel, start) for kernel in (whole, pieces)
  )
  np.testing.assert_array_equal(state, other)
  np.testing.assert_array_equal(results.is_accepted, others.is_accepted)
  assert 0 < np.mean(results.is_accepted) < 1
  rejected = ~results.is_accepted.numpy()
  np.testing.assert_array_equal(state[rejected], start[rejected])
  # A rejected chain keeps its score, but its evaluations are counted.
  np.testing.assert_array_equal(
    results.accepted_results.grads_target_log_prob[0], -state
  )
  np.testing.assert_array_equal(results.num_score_evaluations, [1 + 2 + 3] * 50)
