"""Replica exchange from scores, against closed forms."""

import numpy as np
import pytest
import score_targets
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc

tfb = tfp.bijectors

_SIGMAS = [0.3, 0.8, 1.6, 3.0]


def _two_wells(x, sigma):
  """Returns the score of two points at +-2 smoothed by sigma, in every coordinate."""
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


@pytest.mark.parametrize("mode", ["eager", "graph"])
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
  # 100 chains with about 20 crossings each give the share of a well to 0.011.
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
  """For p_i proportional to exp(-beta_i x^2 / 2) the swap ratio is known."""
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
    # Undoing the swaps gives the states between the inner step and the exchange.
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
  # One at the start; each step 3 + 3 of the inner kernel, 2 for the swaps, 1 after.
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
  # About 3,000 independent draws of 2 and 3 numbers give it to 2 %: 4 sigma.
  np.testing.assert_allclose(np.var(states[0]), 1, atol=0.09)
  np.testing.assert_allclose(np.var(states[1]), 1, atol=0.09)


def test_exchange_of_transformed_kernels_counts_their_evaluations():
  """A Gamma(3) target is sampled in log x, inside replica exchange in x."""
  kernel = mcmc.ScoreReplicaExchangeMC(
    lambda x, sigma: (2 / x - 1) / (1 + sigma[..., tf.newaxis]),
    [0.0, 1.0],
    make_kernel_fn=lambda score, sigma: tfp.mcmc.TransformedTransitionKernel(
      score_targets.hmc_of_three_scales(target_score_fn=score), tfb.Exp()
    ),
    event_ndims=1,
    path_integral=mcmc.gauss_lobatto(4),
  )
  state = tf.random.stateless_gamma([500, 1], (1, 2), 3.0)
  results = kernel.bootstrap_results(state)
  state, results = kernel.one_step(state, results, seed=(3, 4))
  # Each of two replicas: 1 at the start, 4 leapfrog, 2 + 2 in the swap, 1 after it.
  np.testing.assert_array_equal(results.num_score_evaluations, [2 * 10] * 500)
  log_prob = lambda x: tf.reduce_sum(2 * tf.math.log(x) - x, axis=-1)
  low, high = results.replica_states[0]
  change = 0.5 * (log_prob(low) - log_prob(high))
  swapped = results.is_swap_accepted[0]
  exact = np.where(swapped, change, -change)
  # Four nodes are not exact for 2 / x, least of all near the origin.
  assert np.median(np.abs(results.log_accept_ratio[0] - exact)) < 1e-3
  assert 0.3 < np.mean(swapped) < 0.99


def test_exchange_arguments():
  with pytest.raises(ValueError, match="at least two"):
    _exchange(sigmas=[1.0])
  with pytest.raises(ValueError, match="A swap has no trajectory"):
    _exchange(path_integral="trajectory")


def test_acceptance_of_the_inner_kernel_is_reported():
  """After a swap the next step starts anew, but the last one keeps its diagnostics."""
  kernel = mcmc.ScoreReplicaExchangeMC(
    lambda x, beta: -x * beta[..., tf.newaxis],
    [1.0, 0.9],
    make_kernel_fn=lambda score, _: mcmc.ScoreHamiltonianMonteCarlo(
      score, 2.2, num_leapfrog_steps=3, event_ndims=1
    ),
    event_ndims=1,
  )
  start = tf.random.stateless_normal([8, 3], (3, 4))
  results = kernel.bootstrap_results(start)
  for step in range(3):
    before = results.replica_states[0]
    start, results = kernel.one_step(start, results, seed=(step, 1))
    inner = results.pre_swap_replica_results
    # The step is unstable, and hardly anything is accepted.
    assert np.mean(inner.is_accepted) < 0.3 and np.any(inner.log_accept_ratio < -1)
    unmoved = ~np.asarray(inner.is_accepted | results.is_swap_accepted)
    np.testing.assert_array_equal(
      results.replica_states[0].numpy()[unmoved], before.numpy()[unmoved]
    )
  assert np.any(results.is_swap_accepted)


def test_inner_kernels_need_not_count():
  kernel = mcmc.ScoreReplicaExchangeMC(
    lambda x, beta: -x * beta[..., tf.newaxis],
    [1.0, 0.5],
    make_kernel_fn=lambda score, _: tfp.mcmc.UncalibratedLangevin(
      mcmc.ScoreAsLogProb(score, 1), 0.01
    ),
    event_ndims=1,
  )
  _, results = score_targets.one_step(kernel, tf.zeros([4, 3]))
  assert results.num_score_evaluations.shape == (4,)


def test_a_ladder_may_be_a_tensor_of_a_function():
  @tf.function
  def step(ladder):
    _, results = score_targets.one_step(_exchange(sigmas=ladder), tf.ones([5, 1]))
    return results.sigmas

  np.testing.assert_allclose(step(tf.constant(_SIGMAS)), _SIGMAS, rtol=1e-6)
