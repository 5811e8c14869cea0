"""Langevin kernels from scores, against TFP's and exact answers."""

import functools

import numpy as np
import pytest
import score_targets
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc

tfd = tfp.distributions


def _volatility(x):
  return 1 / (0.5 + 0.1 * tf.sqrt(1 + tf.square(x)))


# Any two of mode, rule and volatility meet in each of their combinations.
@pytest.mark.parametrize(
  "mode, rule, volatility_fn",
  [
    ("eager", "straight", None),
    ("eager", "trajectory", _volatility),
    ("graph", "straight", _volatility),
    ("graph", "trajectory", None),
    ("xla", "straight", None),
    ("xla", "trajectory", _volatility),
  ],
)
def test_same_chain_as_tfps_langevin_on_a_gaussian(mode, rule, volatility_fn):
  log_prob, score = score_targets.gaussian("float64")
  start = tf.random.stateless_normal([5, 3], (3, 4), dtype=tf.float64)
  step_size = tf.constant(0.4, tf.float64)
  ours = mcmc.ScoreMetropolisAdjustedLangevinAlgorithm(
    score, step_size, event_ndims=1, volatility_fn=volatility_fn, path_integral=rule
  )
  theirs = tfp.mcmc.MetropolisAdjustedLangevinAlgorithm(
    log_prob, step_size, volatility_fn=volatility_fn
  )
  (states, accepted), (tfp_states, tfp_accepted) = (
    score_targets.run(
      functools.partial(
        tfp.mcmc.sample_chain,
        40,
        start,
        kernel=kernel,
        seed=(1, 2),
        trace_fn=lambda _, r: r.is_accepted,
      ),
      mode,
    )
    for kernel in (ours, theirs)
  )
  np.testing.assert_array_equal(accepted, tfp_accepted)
  np.testing.assert_allclose(states, tfp_states, atol=1e-10)
  assert 0.3 < np.mean(accepted) < 1


def test_langevin_keeps_a_skewed_target():
  """Exact draws of the logarithm of a Gamma(3) variable keep their moments."""
  start = tf.math.log(
    tfd.Gamma(tf.constant(3.0, tf.float64), 1.0).sample([20000, 1], seed=(1, 2))
  )
  kernel = mcmc.ScoreMetropolisAdjustedLangevinAlgorithm(
    lambda x: 3 - tf.exp(x),
    tf.constant(0.5, tf.float64),
    event_ndims=1,
    volatility_fn=lambda x: 0.6 + 0.3 * tf.sigmoid(x),
    path_integral="straight",
  )
  end, accepted = tf.function(
    lambda: tfp.mcmc.sample_chain(
      30, start, kernel=kernel, seed=(3, 4), trace_fn=lambda _, r: r.is_accepted
    )
  )()
  assert 0.3 < np.mean(accepted) < 0.98
  moments = np.array([np.mean(end[-1] ** k) for k in (1, 2, 3)])
  reference = np.random.default_rng(0).gamma(3.0, size=4_000_000)
  powers = np.stack([np.log(reference) ** k for k in (1, 2, 3)])
  # Three moments of 20,000 chains: beyond 4 sigma in 1 of 5,000 runs.
  error = powers.std(axis=1) / np.sqrt(20000)
  np.testing.assert_array_less(np.abs(moments - powers.mean(axis=1)), 4 * error)


@pytest.mark.parametrize("rule", ["straight", mcmc.gauss_lobatto(2)])
def test_analytic_part_of_langevin_leaves_only_the_rest(rule):
  """A known Gaussian part is exact, and the error is that of the quartic rest."""

  def known(x):
    return -0.5 * tf.reduce_sum(score_targets.PRECISION[0, 0] * x**2, axis=-1)

  def rest(x):
    return -0.1 * tf.reduce_sum(x**4, axis=-1)

  def log_prob(x):
    return known(x) + rest(x)

  start = tf.random.stateless_normal([200, 3], (5, 6), dtype=tf.float64)
  differences = {}
  for analytic in (None, log_prob, known):
    kernel = mcmc.ScoreUncalibratedLangevin(
      lambda x: tfp.math.value_and_gradient(log_prob, x)[1],
      tf.constant(0.3, tf.float64),
      event_ndims=1,
      path_integral=rule,
      analytic_log_prob_fn=analytic,
    )
    end, results = kernel.one_step(start, kernel.bootstrap_results(start), seed=(1, 2))
    differences[analytic] = results.log_prob_difference
  exact = log_prob(end) - log_prob(start)
  np.testing.assert_allclose(differences[log_prob], exact, rtol=1e-10)
  # The trapezium of two nodes is exact for the Gaussian part anyway.
  np.testing.assert_allclose(differences[known], differences[None], rtol=1e-9)
  error = np.abs(differences[None] - exact).max()
  assert error < 1e-10 if rule == "straight" else error > 1e-3


def test_langevin_of_several_parts_counts_its_evaluations():
  kernel = mcmc.ScoreMetropolisAdjustedLangevinAlgorithm(
    lambda x, y: [-x, -4 * y],
    [0.5, 0.1],
    event_ndims=[1, 2],
    path_integral=mcmc.gauss_lobatto(4),
  )
  result = score_targets.run(
    lambda: tfp.mcmc.sample_chain(
      200,
      [tf.zeros([200, 2]), tf.zeros([200, 2, 2])],
      num_burnin_steps=50,
      kernel=kernel,
      seed=(1, 2),
      trace_fn=None,
      return_final_kernel_results=True,
    ),
    "graph",
  )
  evaluations = result.final_kernel_results.num_score_evaluations
  np.testing.assert_array_equal(evaluations, [1 + 250 * 3] * 200)
  np.testing.assert_allclose(np.var(result.all_states[0]), 1, rtol=0.06)
  np.testing.assert_allclose(np.var(result.all_states[1]), 0.25, rtol=0.06)


def test_langevin_without_the_test_is_biased():
  kernel = mcmc.ScoreUncalibratedLangevin(
    lambda x: -x, tf.constant(0.8, tf.float64), event_ndims=1
  )
  state = tf.random.stateless_normal([20000, 1], (1, 2), dtype=tf.float64)
  results = kernel.bootstrap_results(state)
  for step in range(20):
    state, results = kernel.one_step(state, results, seed=(3, step))
  # Euler-Maruyama on a unit normal has the variance 1 / (1 - step / 4).
  np.testing.assert_allclose(np.var(state), 1 / (1 - 0.2), rtol=0.04)


def test_langevin_arguments():
  with pytest.raises(ValueError, match="step_size is missing"):
    mcmc.ScoreUncalibratedLangevin(lambda x: -x, event_ndims=1)
  with pytest.raises(ValueError, match="number of axes of one event"):
    mcmc.ScoreUncalibratedLangevin(lambda x: -x, 0.1)
  kernel = mcmc.ScoreMetropolisAdjustedLangevinAlgorithm(
    lambda x: -x, 0.1, event_ndims=1
  )
  assert kernel.copy(step_size=0.3).parameters["step_size"] == 0.3


def test_the_number_of_chains_and_the_shape_of_the_step_may_be_unknown():
  @tf.function(
    input_signature=[tf.TensorSpec([None, 3]), tf.TensorSpec(None, tf.float32)]
  )
  def sample(start, step_size):
    kernel = mcmc.ScoreMetropolisAdjustedLangevinAlgorithm(
      lambda x: -x, step_size, event_ndims=1, volatility_fn=_volatility
    )
    return tfp.mcmc.sample_chain(3, start, kernel=kernel, seed=(1, 2), trace_fn=None)

  start = tf.ones([5, 3])
  found = sample(start, tf.constant(0.1))
  kernel = mcmc.ScoreMetropolisAdjustedLangevinAlgorithm(
    lambda x: -x, 0.1, event_ndims=1, volatility_fn=_volatility
  )
  expected = tfp.mcmc.sample_chain(3, start, kernel=kernel, seed=(1, 2), trace_fn=None)
  np.testing.assert_allclose(found, expected, atol=1e-6)
