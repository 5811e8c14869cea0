"""Langevin kernels and replica exchange from scores, against TFP's and exact answers."""

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


@pytest.mark.parametrize("mode", score_targets.MODES)
@pytest.mark.parametrize("rule", ["straight", "trajectory"])
@pytest.mark.parametrize("volatility_fn", [None, _volatility])
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
  """Exact draws of x = log of a Gamma(3) variable keep their moments."""
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
  """A Gaussian part is exact; a quartic rest costs what it costs by itself."""

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
  result = tfp.mcmc.sample_chain(
    200,
    [tf.zeros([200, 2]), tf.zeros([200, 2, 2])],
    num_burnin_steps=50,
    kernel=kernel,
    seed=(1, 2),
    trace_fn=None,
    return_final_kernel_results=True,
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
  # Euler-Maruyama on a unit normal: variance 1 / (1 - step / 4).
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


_SIGMAS = [0.3, 0.8, 1.6, 3.0]


def _two_wells(x, sigma):
  """Score of an even mixture of N(+-2, 0) smoothed by sigma, in every coordinate."""
  sigma = tf.cast(sigma, x.dtype)
  variance = tf.square(sigma)[..., tf.newaxis]
  return (2 * tf.tanh(2 * x / variance) - x) / variance


def _exchange(**changes):
  arguments = dict(
    target_score_fn=_two_wells,
    sigmas=_SIGMAS,
    make_kernel_fn=lambda score, sigma: mcmc.ScoreHamiltonianMonteCarlo(
      score,
      0.5 * sigma[..., tf.newaxis],
      num_leapfrog_steps=4,
      event_ndims=1,
      path_integral="trajectory",
    ),
    event_ndims=1,
    num_intervals=32,
  )
  return mcmc.ScoreReplicaExchangeMC(**{**arguments, **changes})


@pytest.mark.parametrize("mode", score_targets.MODES)
def test_exchange_lets_chains_cross_the_barrier(mode):
  start = tf.fill([100, 1], tf.constant(2.0))
  num_results = 60 if mode == "eager" else 400
  states, (accepted, proposed) = score_targets.run(
    lambda: tfp.mcmc.sample_chain(
      num_results,
      start,
      kernel=_exchange(),
      seed=(1, 2),
      trace_fn=lambda _, r: (r.is_swap_accepted, r.is_swap_proposed),
    ),
    mode,
  )
  assert states.shape == (num_results, 100, 1)
  np.testing.assert_array_equal(proposed[0], [True] * 4)
  np.testing.assert_array_equal(proposed[1], [False, True, True, False])
  pairs = np.asarray(accepted)
  np.testing.assert_array_equal(pairs[::2, 0], pairs[::2, 1])  # both or none
  assert not pairs[1::2, 0].any()
  assert (np.sign(states[-1]) < 0).any()
  if mode == "eager":
    return
  late = states[100:]
  # 100 chains with some 20 crossings each: the share of a well is known to .011.
  assert abs(np.mean(late > 0) - 0.5) < 0.05
  np.testing.assert_allclose(np.mean(np.square(late)), 4 + 0.3**2, rtol=0.02)


def test_without_exchange_chains_stay_in_their_well():
  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    lambda x: _two_wells(x, tf.constant([0.3])),
    0.15,
    num_leapfrog_steps=4,
    event_ndims=1,
  )
  states = tf.function(
    lambda: tfp.mcmc.sample_chain(
      400, tf.fill([100, 1], 2.0), kernel=kernel, trace_fn=None, seed=(1, 2)
    )
  )()
  assert np.all(states > 0)


def test_exchange_of_gaussians_has_the_acceptance_of_tfps():
  """p_i ~ exp(-beta_i x^2 / 2): the swap ratio in closed form, step by step."""
  betas = [1.0, 0.5, 0.25]
  kernel = mcmc.ScoreReplicaExchangeMC(
    lambda x, beta: -beta[..., tf.newaxis] * x,
    betas,
    make_kernel_fn=lambda score, beta: mcmc.ScoreHamiltonianMonteCarlo(
      score, tf.constant(0.4, tf.float64), num_leapfrog_steps=3, event_ndims=1
    ),
    event_ndims=1,
    path_integral=mcmc.gauss_lobatto(2),
  )
  state = tf.random.stateless_normal([2000, 2], (1, 2), dtype=tf.float64)
  results = kernel.bootstrap_results(state)
  for step in range(6):
    before = results
    state, results = kernel.one_step(state, results, seed=(5, step))
    # Undo the swaps: the states between the inner step and the exchange.
    low = step % 2
    swapped = results.replica_states[0].numpy()
    moved = swapped.copy()
    mask = results.is_swap_accepted.numpy()[low]
    moved[low][mask], moved[low + 1][mask] = (
      swapped[low + 1][mask],
      swapped[low][mask],
    )
    square = np.sum(moved**2, axis=-1)
    exact = 0.5 * (betas[low] - betas[low + 1]) * (square[low] - square[low + 1])
    np.testing.assert_allclose(results.log_accept_ratio[low], exact, atol=1e-9)
    assert before.step_count + 1 == results.step_count
  # 1 at the start; each step 3 + 3 of the inner kernel, 2 for the swaps, 1 after.
  assert results.num_score_evaluations[0] == 3 * (1 + 6 * (6 + 2 + 1))
  for index, beta in enumerate(betas):
    variance = np.var(results.replica_states[0][index])
    # Six steps from unit variance: only the first replica is exact from the start.
    if index == 0:
      np.testing.assert_allclose(variance * beta, 1, rtol=0.12)


def test_exchange_of_a_single_chain_and_of_several_parts():
  kernel = mcmc.ScoreReplicaExchangeMC(
    lambda x, y, beta: [-beta[..., tf.newaxis] * x, -beta[..., tf.newaxis] * y],
    [1.0, 0.3],
    make_kernel_fn=lambda score, beta: mcmc.ScoreHamiltonianMonteCarlo(
      score, 0.5, num_leapfrog_steps=3, event_ndims=1
    ),
    event_ndims=1,
  )
  states = tf.function(
    lambda: tfp.mcmc.sample_chain(
      4000,
      [tf.zeros([2]), tf.zeros([3])],
      kernel=kernel,
      seed=(1, 2),
      trace_fn=None,
    )
  )()
  # Some 3,000 independent draws of 2 and 3 numbers: 2 %; 4 sigma.
  np.testing.assert_allclose(np.var(states[0]), 1, atol=0.09)
  np.testing.assert_allclose(np.var(states[1]), 1, atol=0.09)


def test_exchange_arguments():
  with pytest.raises(ValueError, match="at least two"):
    _exchange(sigmas=[1.0])
  with pytest.raises(ValueError, match="A swap has no trajectory"):
    _exchange(path_integral="trajectory")


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
