"""Replica exchange (parallel tempering) from scores alone.

Replicas of the chain run at a ladder of sigmas. Two neighbours i and j at x_i and x_j
swap their states with probability min(1, a),

  log a = [log p_i(x_j) - log p_i(x_i)] - [log p_j(x_j) - log p_j(x_i)]
        = integral from x_i to x_j of (score_i - score_j) . dx,

on the straight line, so that the unknown constants of the densities cancel.

Reference:
  R. Swendsen and J.-S. Wang 1986, Phys. Rev. Lett. 57, 2607.
"""

import collections.abc
import typing

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap.mcmc import base
from tfp_massmap.mcmc import kernel_results
from tfp_massmap.mcmc import metropolis
from tfp_massmap.mcmc import path_integral as path_integral_lib
from tfp_massmap.mcmc import state_parts
from tfp_massmap.mcmc import target as target_lib


class ScoreReplicaExchangeMCResults(typing.NamedTuple):
  """Results of `ScoreReplicaExchangeMC`, with R the number of replicas.

  Attributes:
    replica_states: List of state parts, `[R, chains, event]`.
    pre_swap_replica_results: Results of the inner step, with replicas as the leading
      axis: acceptance and other diagnostics of the inner kernel are here.
    post_swap_replica_results: The same for the states after the swap, from which the
      next step starts; bootstrapped anew if any chain was swapped.
    log_accept_ratio: Log acceptance ratio of the swap with the partner, `[R, chains]`; 0
      for a replica without a partner.
    is_swap_proposed: Bool, `[R]`.
    is_swap_accepted: Bool, `[R, chains]`.
    sigmas: The ladder, `[R]`.
    step_count: Number of steps taken, int32 scalar.
    num_score_evaluations: Evaluations since `bootstrap_results`, summed over the
      replicas, int32, shape of the chains.
    seed: Seed of the step.
  """

  replica_states: state_parts.Parts
  pre_swap_replica_results: typing.Any
  post_swap_replica_results: typing.Any
  log_accept_ratio: tf.Tensor
  is_swap_proposed: tf.Tensor
  is_swap_accepted: tf.Tensor
  sigmas: tf.Tensor
  step_count: tf.Tensor
  num_score_evaluations: tf.Tensor
  seed: tf.Tensor


class ScoreReplicaExchangeMC(base.KernelOfSigma):
  """Replica exchange whose swaps are decided by path integrals of scores.

  It takes the place of `tfp.mcmc.ReplicaExchangeMC`, which needs values of the
  log-density and would be wrong with a score-only inner kernel. Even and odd pairs of
  neighbours are proposed in turn. The state of the chain is that of replica 0.

  Args:
    target_score_fn: `fn(*state_parts, sigma)`, the score of the target of each replica.
      Parts are `[R, chains, event]`. Sigma is `[R, 1, ...]`, with one axis per axis of
      the chains, or `[R]` for a single chain. It may be any label of the replicas: the
      smoothing of a prior, or an inverse temperature.
    sigmas: The ladder, `[R]`, with at least two values. The first is the target that is
      wanted.
    make_kernel_fn: `fn(target_score_fn, sigma)` that returns the inner kernel for
      `target_score_fn(*state_parts)`, with sigma as above. The results of the inner
      kernel may depend on nothing but its target, because they are bootstrapped anew
      after a swap.
    event_ndims: Number of trailing axes of a state part that make one event, an integer,
      or a list of them.
    path_integral: "straight", or a rule such as `mcmc.gauss_lobatto(4)`.
    num_intervals: Even number of intervals of the "straight" rule. The default is twice
      that of the Hamiltonian kernel, because the path between two replicas is longer than
      a trajectory.
    experimental_shard_axis_names: None, or for each part the name(s) of the axes it is
      sharded over. They are handed on to the inner kernel.
    name: Prefix of op names.

  Raises:
    ValueError: If the ladder is not a vector of at least two values, or the path integral
      is "trajectory", which a swap does not have.

  Example:
  >>> kernel = ScoreReplicaExchangeMC(
  ...     target_score_fn=lambda x, sigma: -x / (1 + sigma**2)[..., tf.newaxis],
  ...     sigmas=[0.0, 1.0, 3.0],
  ...     make_kernel_fn=lambda score, sigma: ScoreHamiltonianMonteCarlo(
  ...         score, 0.5, num_leapfrog_steps=4, event_ndims=1),
  ...     event_ndims=1)
  >>> samples = tfp.mcmc.sample_chain(
  ...     10, current_state=tf.zeros([8, 3]), kernel=kernel, trace_fn=None, seed=(1, 2))
  >>> samples.shape
  TensorShape([10, 8, 3])
  """

  calibrated = True

  def __init__(
    self,
    target_score_fn: target_lib.ScoreFn,
    sigmas: collections.abc.Sequence[float] | np.ndarray | tf.Tensor,
    *,
    make_kernel_fn: collections.abc.Callable[..., tfp.mcmc.TransitionKernel],
    event_ndims: int | collections.abc.Sequence[int],
    path_integral: path_integral_lib.PathIntegral = "straight",
    num_intervals: int = 8,
    experimental_shard_axis_names: base.ShardAxisNames = None,
    name: str | None = None,
  ) -> None:
    state_parts.check_event_ndims(event_ndims)
    length = tf.convert_to_tensor(sigmas).shape
    if length.rank != 1 or (length[0] or 0) < 2:
      raise ValueError(
        f"sigmas must be a vector of at least two, of known length; got {sigmas!r}. For"
        " one temperature use the inner kernel by itself."
      )
    rule = path_integral_lib.resolve(path_integral, num_intervals)
    if rule is None:
      raise ValueError(
        "A swap has no trajectory: path_integral must be 'straight' or a rule such"
        " as mcmc.gauss_lobatto(4)."
      )
    self._rule = rule
    super().__init__(
      dict(
        target_score_fn=target_score_fn,
        sigmas=sigmas,
        make_kernel_fn=make_kernel_fn,
        event_ndims=event_ndims,
        path_integral=path_integral,
        num_intervals=num_intervals,
        experimental_shard_axis_names=experimental_shard_axis_names,
        name=name or "score_remc",
      )
    )

  @property
  def num_replicas(self) -> int:
    """The length of the ladder."""
    return int(tf.convert_to_tensor(self._parameters["sigmas"]).shape[0])

  def one_step(
    self,
    current_state: base.State,
    previous_kernel_results: ScoreReplicaExchangeMCResults,
    seed: typing.Any = None,
  ) -> tuple[base.State, ScoreReplicaExchangeMCResults]:
    """Takes one inner step of all replicas, then proposes one set of swaps."""
    with tf.name_scope(f"{self._parameters['name']}/one_step"):
      previous = previous_kernel_results
      _, unflatten = state_parts.as_parts(current_state)
      seed = tfp.random.sanitize_seed(seed)
      inner_seed, swap_seed = tfp.random.split_seed(seed)
      sigma = self._sigma(previous.sigmas, previous.replica_states)
      kernel = self.inner_kernel_at(sigma)
      moved, results = kernel.one_step(
        state_parts.as_state(previous.replica_states),
        previous.post_swap_replica_results,
        seed=inner_seed,
      )
      moved, _ = state_parts.as_parts(moved)
      partner = self._partners(previous.step_count)
      ratio = self._log_accept_ratio(moved, partner, sigma)
      accepted = self._decide(ratio, partner, swap_seed)
      swapped = state_parts.choose(
        accepted, [tf.gather(part, partner) for part in moved], old=moved
      )
      # Stored scores belong to one state and one sigma: a swap invalidates them.
      any_swap = tf.reduce_any(accepted)
      next_results = tf.cond(
        any_swap, lambda: _refreshed(kernel, swapped, results), lambda: results
      )
      count = kernel_results.num_score_evaluations
      # A replica evaluates its score at both ends of the path, and after a swap.
      spent = 2 + self._rule.num_score_evaluations + tf.where(any_swap, 1, 0)
      spent += count(results) - count(previous.post_swap_replica_results)
      # An inner kernel that counts nothing has no shape of the chains to count for.
      spent += tf.zeros_like(ratio, tf.int32)
      return unflatten([part[0] for part in swapped]), ScoreReplicaExchangeMCResults(
        replica_states=swapped,
        pre_swap_replica_results=results,
        post_swap_replica_results=next_results,
        log_accept_ratio=ratio,
        is_swap_proposed=tf.not_equal(partner, tf.range(self.num_replicas)),
        is_swap_accepted=accepted,
        sigmas=previous.sigmas,
        step_count=previous.step_count + 1,
        num_score_evaluations=(
          previous.num_score_evaluations + tf.reduce_sum(spent, axis=0)
        ),
        seed=seed,
      )

  def bootstrap_results(self, init_state: base.State) -> ScoreReplicaExchangeMCResults:
    """Starts all replicas at the same state; see `tfp.mcmc.TransitionKernel`."""
    with tf.name_scope(f"{self._parameters['name']}/bootstrap_results"):
      parts, _ = state_parts.as_parts(init_state)
      replicas = [
        tf.tile(part[tf.newaxis], [self.num_replicas] + [1] * part.shape.rank)
        for part in parts
      ]
      sigmas = tf.convert_to_tensor(self._parameters["sigmas"], parts[0].dtype)
      kernel = self.inner_kernel_at(self._sigma(sigmas, replicas))
      results = kernel.bootstrap_results(state_parts.as_state(replicas))
      zero = self._events(replicas).zeros(replicas)
      counts = kernel_results.num_score_evaluations(results)
      return ScoreReplicaExchangeMCResults(
        replica_states=replicas,
        pre_swap_replica_results=results,
        post_swap_replica_results=results,
        log_accept_ratio=zero,
        is_swap_proposed=tf.zeros([self.num_replicas], tf.bool),
        is_swap_accepted=tf.zeros_like(zero, tf.bool),
        sigmas=sigmas,
        step_count=tf.constant(0, tf.int32),
        num_score_evaluations=tf.reduce_sum(
          counts + tf.zeros_like(zero, tf.int32), axis=0
        ),
        seed=tfp.random.sanitize_seed((0, 0)),
      )

  def _sigma(self, sigmas, replicas):
    """Returns the ladder with one axis per axis of the chains."""
    num_chain_axes = self._events(replicas).static_chain_shape(replicas).rank - 1
    return tf.reshape(sigmas, [self.num_replicas] + [1] * num_chain_axes)

  def _partners(self, step_count):
    """Returns each replica's partner: (0 1)(2 3)... in even steps, (1 2)... in odd."""
    index = np.arange(self.num_replicas)
    tables = []
    for first in (0, 1):
      partner = index.copy()
      for low in range(first, self.num_replicas - 1, 2):
        partner[low], partner[low + 1] = low + 1, low
      tables.append(partner)
    return tf.gather(tf.constant(np.stack(tables), tf.int32), step_count % 2)

  def _log_accept_ratio(self, parts, partner, sigma):
    """Returns the log ratio of each replica's swap, `[R, chains]`."""
    target = self._parameters["target_score_fn"]
    score = lambda points: target_lib.evaluate(
      lambda *p: target(*p, sigma), list(points)
    )
    other = [tf.gather(part, partner) for part in parts]
    ends = path_integral_lib.PathEnds(
      parts,
      other,
      score_start=score(parts),
      score_end=score(other),
      total=self._events(parts).sum,
    )
    change = self._rule(score, ends)
    return metropolis.finite_or_rejected(change + tf.gather(change, partner))

  def _decide(self, ratio, partner, seed):
    """Returns which swaps are accepted, `[R, chains]`."""
    uniform = tf.random.stateless_uniform(tf.shape(ratio), seed, dtype=ratio.dtype)
    # Both replicas of a pair decide by the random number of the lower one.
    shared = tf.gather(uniform, tf.minimum(partner, tf.range(self.num_replicas)))
    proposed = tf.not_equal(partner, tf.range(self.num_replicas))
    proposed = tf.reshape(proposed, [-1] + [1] * (ratio.shape.rank - 1))
    return (tf.math.log(shared) < ratio) & proposed


def _refreshed(kernel, parts, results):
  """Returns bootstrapped results that keep the count of evaluations."""
  fresh = kernel.bootstrap_results(state_parts.as_state(parts))
  return kernel_results.with_num_score_evaluations(
    fresh, kernel_results.num_score_evaluations(results)
  )
