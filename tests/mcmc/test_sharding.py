"""States that are sharded over several devices."""

import numpy as np
import pytest
import score_targets
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc
from tfp_massmap.mcmc import kernel_results

tfd = tfp.distributions


def _sharded_kernels():
  """Returns kernels of N(0, 1) whose coordinates lie on several devices."""
  arguments = dict(
    target_score_fn=lambda x: -x,
    step_size=tf.constant(0.9, tf.float64),
    num_leapfrog_steps=3,
    event_ndims=1,
  )
  hmc = mcmc.ScoreHamiltonianMonteCarlo(
    **arguments, experimental_shard_axis_names="space"
  )
  normal = tfd.MultivariateNormalDiag(scale_diag=tf.ones([3], tf.float64))

  def inner(score, sigma):
    del sigma
    return mcmc.ScoreHamiltonianMonteCarlo(**{**arguments, "target_score_fn": score})

  return {
    "hmc": hmc,
    "a momentum distribution": hmc.copy(momentum_distribution=normal),
    "a Sharded one": hmc.copy(
      momentum_distribution=tfp.experimental.distribute.Sharded(normal, "space")
    ),
    "a mass matrix": hmc.copy(
      momentum_distribution=tf.linalg.LinearOperatorDiag(normal.scale.diag_part())
    ),
    # The adaptation makes the kernel keep the momentum distribution in its results.
    "adapted": tfp.mcmc.SimpleStepSizeAdaptation(hmc, num_adaptation_steps=0),
    "langevin": mcmc.ScoreMetropolisAdjustedLangevinAlgorithm(
      lambda x: -x,
      tf.constant(0.9, tf.float64),
      event_ndims=1,
      experimental_shard_axis_names="space",
    ),
    "exchange": mcmc.ScoreReplicaExchangeMC(
      lambda x, sigma: -x / (1 + sigma[..., tf.newaxis] ** 2),
      [0.0, 0.5],
      make_kernel_fn=inner,
      event_ndims=1,
    ).experimental_with_shard_axes("space"),
    "tempered": mcmc.TemperedMC(
      lambda x, sigma: -x, inner, sigmas=[0.2, 0.1]
    ).experimental_with_shard_axes("space"),
  }


def _decision(results):
  """Returns whether chains, or swaps, were accepted, and the log ratios."""
  swaps = kernel_results.find(results, "is_swap_accepted")
  accepted = kernel_results.find(results, "is_accepted") if swaps is None else swaps
  return accepted, kernel_results.find(results, "log_accept_ratio")


@pytest.mark.parametrize(
  "kernel_name",
  [
    "hmc",
    "a momentum distribution",
    "a Sharded one",
    "a mass matrix",
    "adapted",
    "langevin",
    "exchange",
    "tempered",
  ],
)
def test_sharded_states_move_as_one(kernel_name, two_devices):
  """Two devices with half of the coordinates each accept and reject together."""
  kernel = _sharded_kernels()[kernel_name]

  # tf.distribute adds up replicas outside of loops only, hence one step per call.
  @tf.function
  def step(state, seed):
    def one(state):
      end, results = kernel.one_step(state, kernel.bootstrap_results(state), seed=seed)
      return (end, *_decision(results))

    return two_devices.run(one, args=(state,))

  state = two_devices.run(lambda: tf.zeros([200, 3], tf.float64))
  halves, shares = [], []
  for index in range(60):
    state, accepted, ratio = step(state, tf.constant([3, index]))
    for pair in (accepted, ratio):
      np.testing.assert_array_equal(*two_devices.experimental_local_results(pair))
    shares.append(np.mean(two_devices.experimental_local_results(accepted)[0]))
    halves.append(np.stack(two_devices.experimental_local_results(state)))
  assert 0.2 < np.mean(shares) < 0.999
  late = np.stack(halves[20:], axis=1)
  # 200 chains of 3 numbers and 40 steps give 2 % on each device: 4 sigma.
  np.testing.assert_allclose(np.var(late, axis=(1, 2, 3)), 1, rtol=0.12)
  assert abs(np.corrcoef(late.reshape(2, -1))[0, 1]) < 0.08


@pytest.mark.parametrize(
  "kernel",
  [
    score_targets.hmc_of_three_scales(),
    score_targets.hmc_of_three_scales().inner_kernel,
    mcmc.ScoreMetropolisHastings(score_targets.hmc_of_three_scales().inner_kernel),
  ],
)
def test_shard_axes_by_tfps_method(kernel):
  sharded = kernel.experimental_with_shard_axes(["space"])
  assert sharded.experimental_shard_axis_names == ["space"]
  assert kernel.experimental_shard_axis_names is None
