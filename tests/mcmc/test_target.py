"""Targets known by their score, and the log-densities that are refused."""

import numpy as np
import pytest
import score_targets
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc

tfb = tfp.bijectors


def test_stand_in_has_the_score_as_gradient_and_no_value():
  """The gradient reaches all parts, and is scaled by what a wrapper computes."""
  stand_in = mcmc.ScoreAsLogProb(lambda x, y: [-x, 3 * y], [1, 0])
  parts = [tf.ones([4, 2]), tf.fill([4], 2.0)]
  value, gradient = tfp.math.value_and_gradient(lambda x, y: 2 * stand_in(x, y), parts)
  np.testing.assert_array_equal(value, np.full(4, np.nan))
  np.testing.assert_array_equal(gradient[0], np.full([4, 2], -2.0))
  np.testing.assert_array_equal(gradient[1], np.full(4, 12.0))


def test_scores_of_wrong_shapes_are_refused():
  start = tf.zeros([5, 3])

  def bootstrap(score):
    kernel = mcmc.ScoreHamiltonianMonteCarlo(
      score, 0.1, num_leapfrog_steps=4, event_ndims=1
    )
    return kernel.bootstrap_results(start)

  with pytest.raises(ValueError, match=r"For a log-density use tfp\.mcmc"):
    bootstrap(lambda x: -0.5 * tf.reduce_sum(x**2, axis=-1))
  with pytest.raises(ValueError, match="one score per state part"):
    bootstrap(lambda x: [x, x])


def test_tfps_replica_exchange_is_refused():
  def make_with(argument):
    return lambda log_prob: mcmc.ScoreHamiltonianMonteCarlo(
      **{argument: log_prob}, step_size=0.5, num_leapfrog_steps=3, event_ndims=1
    )

  for argument in ("target_score_fn", "target_log_prob_fn"):
    kernel = tfp.mcmc.ReplicaExchangeMC(
      lambda x: -0.5 * tf.reduce_sum(x**2, axis=-1),
      inverse_temperatures=[1.0, 0.5],
      make_kernel_fn=make_with(argument),
    )
    with pytest.raises(ValueError, match="ScoreReplicaExchangeMC"):
      kernel.bootstrap_results(tf.zeros([5, 2]))


def test_a_log_density_is_refused():
  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    target_log_prob_fn=lambda x: -tf.reduce_sum(x**2),
    step_size=0.5,
    num_leapfrog_steps=3,
    event_ndims=1,
  )
  with pytest.raises(ValueError, match="Give target_score_fn, or use"):
    kernel.bootstrap_results(tf.zeros([2]))


@pytest.mark.parametrize("name", ["hmc", "langevin"])
def test_analytic_parts_that_would_be_taken_at_wrong_places_are_refused(name):
  def make(**changes):
    arguments = dict(
      target_score_fn=lambda x: 2 / x - 1,
      step_size=0.3,
      event_ndims=1,
      analytic_log_prob_fn=lambda x: -tf.reduce_sum(x, axis=-1),
      **changes,
    )
    if name == "langevin":
      return mcmc.ScoreMetropolisAdjustedLangevinAlgorithm(**arguments)
    return mcmc.ScoreHamiltonianMonteCarlo(num_leapfrog_steps=2, **arguments)

  kernel = make()
  with pytest.raises(ValueError, match="leaves the analytic part in the old"):
    tfp.mcmc.TransformedTransitionKernel(kernel, bijector=tfb.Exp())
  with pytest.raises(ValueError, match="does not work with experimental_shard"):
    make(experimental_shard_axis_names="space")


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_scores_of_distributions_survive_the_cache_of_bijectors(mode):
  """`LogNormal` finds the inverse of `Exp.forward` in a cache, without a gradient."""
  log_prob = lambda x: tfp.distributions.LogNormal(0.0, 1.0).log_prob(x) - 0.1 * x
  score = lambda x: tfp.math.value_and_gradient(log_prob, x)[1]
  start = tf.constant([0.3, 1.0, 4.0])
  ratios = []
  for inner in (
    tfp.mcmc.HamiltonianMonteCarlo(log_prob, 0.3, 3),
    mcmc.ScoreHamiltonianMonteCarlo(
      score, 0.3, num_leapfrog_steps=3, event_ndims=0, num_intervals=64
    ),
  ):
    kernel = tfp.mcmc.TransformedTransitionKernel(inner, tfb.Exp())
    _, results = score_targets.run(
      lambda kernel=kernel: score_targets.one_step(kernel, start), mode
    )
    ratios.append(results.inner_results.log_accept_ratio)
  np.testing.assert_allclose(ratios[1], ratios[0], atol=1e-5)


def test_kernels_that_decide_by_values_stand_still():
  """They would accept by made-up values; now nothing is accepted."""
  stand_in = mcmc.ScoreAsLogProb(lambda x: -4 * x, 1)
  start = tf.ones([8, 3])
  for kernel in (
    tfp.mcmc.HamiltonianMonteCarlo(stand_in, 0.5, 3),
    tfp.mcmc.MetropolisAdjustedLangevinAlgorithm(stand_in, 0.1),
    tfp.mcmc.RandomWalkMetropolis(stand_in),
    tfp.mcmc.NoUTurnSampler(stand_in, 0.3),
  ):
    states, results = score_targets.one_step(kernel, start)
    np.testing.assert_array_equal(states, start)
    assert not np.any(results.is_accepted)
