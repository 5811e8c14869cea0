"""Replica exchange (parallel tempering) from scores alone.

Replicas of the chain run at a ladder of sigmas. Two neighbours i and j at x_i and x_j
swap their states with probability min(1, a),

  log a = [log p_i(x_j) - log p_i(x_i)] - [log p_j(x_j) - log p_j(x_i)]
        = integral from x_i to x_j of (score_i - score_j) . dx,

on the straight line: the unknown constants of the densities drop out.

Reference: R. Swendsen and J.-S. Wang 1986, Phys. Rev. Lett. 57, 2607.
"""

import collections

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap.mcmc import metropolis
from tfp_massmap.mcmc import path_integral as path_integral_lib
from tfp_massmap.mcmc import state_parts
from tfp_massmap.mcmc import target as target_lib

ScoreReplicaExchangeMCResults = collections.namedtuple(
  "ScoreReplicaExchangeMCResults",
  [
    "replica_states",
    "replica_results",
    "log_accept_ratio",
    "is_swap_proposed",
    "is_swap_accepted",
    "sigmas",
    "step_count",
    "num_score_evaluations",
    "seed",
  ],
)
ScoreReplicaExchangeMCResults.__doc__ = """Results of `ScoreReplicaExchangeMC`.

Fields, R the number of replicas:
  replica_states: list of state parts, `[R, chains, event]`.
  replica_results: of the inner kernel, replicas in front.
  log_accept_ratio: of the swap with the partner, `[R, chains]`; 0 without one.
  is_swap_proposed: bool `[R]`.
  is_swap_accepted: bool `[R, chains]`.
  sigmas: the ladder, `[R]`.
  step_count: int32.
  num_score_evaluations: since `bootstrap_results`, over all replicas, int32, shape of
    the chains.
  seed: of the step.
"""


class ScoreReplicaExchangeMC(tfp.mcmc.TransitionKernel):
  """Replica exchange whose swaps are decided by path integrals of scores.

  Takes the place of `tfp.mcmc.ReplicaExchangeMC`, which needs values of the
  log-density and is wrong with a score-only inner kernel. Even and odd pairs of
  neighbours are proposed in turn. The state of the chain is that of replica 0.

  Example:

  >>> kernel = ScoreReplicaExchangeMC(
  ...     target_score_fn=lambda x, sigma: -x / (1 + sigma**2)[..., tf.newaxis],
  ...     sigmas=[0.0, 1.0, 3.0],
  ...     make_kernel_fn=lambda score, sigma: ScoreHamiltonianMonteCarlo(
  ...         score, 0.5, 4, event_ndims=1),
  ...     event_ndims=1)
  >>> samples = tfp.mcmc.sample_chain(
  ...     10, current_state=tf.zeros([8, 3]), kernel=kernel, trace_fn=None, seed=(1, 2))
  >>> samples.shape
  TensorShape([10, 8, 3])

  Args:
    target_score_fn: `fn(*state_parts, sigma)`, the score of the target of each
      replica; parts are `[R, chains, event]` and sigma is `[R, 1, ...]`, with one
      axis per axis of the chains, or `[R]` for a single chain. Sigma may be any label
      of the replicas: the smoothing of a prior, or an inverse temperature.
    sigmas: ladder, `[R]`; the first is the target that is wanted.
    make_kernel_fn: `fn(target_score_fn, sigma)` that returns the inner kernel for
      `target_score_fn(*state_parts)`, sigma as above. It must keep nothing but its
      target in its results, for they are bootstrapped anew after a swap.
    event_ndims: number of trailing axes of a state part that make one event, an
      integer, or a list of them.
    path_integral: "straight", or a rule such as `mcmc.gauss_lobatto(4)`.
    num_intervals: even number of intervals of the "straight" rule.
    experimental_shard_axis_names: None, or for each part the name(s) of the axes it is
      sharded over, which are passed on to the inner kernel.
    name: prefix of op names.

  Raises:
    ValueError: for a ladder that is not a vector of at least two, or a path integral
      along a trajectory, which a swap does not have.
  """

  def __init__(
    self,
    target_score_fn,
    sigmas,
    *,
    make_kernel_fn,
    event_ndims,
    path_integral="straight",
    num_intervals=8,
    experimental_shard_axis_names=None,
    name=None,
  ):
    state_parts.check_event_ndims(event_ndims)
    if np.ndim(sigmas) != 1 or len(sigmas) < 2:
      raise ValueError(
        f"sigmas must be a list of at least two; got {sigmas!r}. For one"
        " temperature use the inner kernel by itself."
      )
    self._rule = path_integral_lib.resolve(path_integral, num_intervals)
    if self._rule == "trajectory":
      raise ValueError(
        "A swap has no trajectory: path_integral must be 'straight' or a rule such"
        " as mcmc.gauss_lobatto(4)."
      )
    self._parameters = dict(
      target_score_fn=target_score_fn,
      sigmas=sigmas,
      make_kernel_fn=make_kernel_fn,
      event_ndims=event_ndims,
      path_integral=path_integral,
      num_intervals=num_intervals,
      experimental_shard_axis_names=experimental_shard_axis_names,
      name=name or "score_remc",
    )

  @property
  def parameters(self):
    return self._parameters

  @property
  def is_calibrated(self):
    return True

  @property
  def experimental_shard_axis_names(self):
    return self._parameters["experimental_shard_axis_names"]

  def experimental_with_shard_axes(self, shard_axis_names):
    return self.copy(experimental_shard_axis_names=shard_axis_names)

  @property
  def num_replicas(self):
    return len(self._parameters["sigmas"])

  def one_step(self, current_state, previous_kernel_results, seed=None):
    """One inner step of all replicas, then the swaps of one set of pairs."""
    with tf.name_scope(f"{self._parameters['name']}/one_step"):
      previous = previous_kernel_results
      _, unflatten = state_parts.as_parts(current_state)
      seed = tfp.random.sanitize_seed(seed)
      inner_seed, swap_seed = tfp.random.split_seed(seed)
      sigma = self._sigma(previous.sigmas, previous.replica_states)
      kernel = self._inner_kernel(sigma)
      replicas = list(previous.replica_states)
      moved, results = kernel.one_step(
        replicas if len(replicas) > 1 else replicas[0],
        previous.replica_results,
        seed=inner_seed,
      )
      moved, _ = state_parts.as_parts(moved)
      partner = self._partners(previous.step_count)
      ratio, evaluations = self._log_accept_ratio(moved, partner, sigma)
      proposed = tf.not_equal(partner, tf.range(self.num_replicas))
      accepted = self._decide(ratio, partner, swap_seed)
      swapped = state_parts.choose(
        accepted, [tf.gather(part, partner) for part in moved], old=moved
      )
      state = swapped if len(swapped) > 1 else swapped[0]
      # Scores belong to a state and a sigma: after a swap none of the two is valid.
      any_swap = tf.reduce_any(accepted)
      next_results = tf.cond(
        any_swap, lambda: self._refreshed(kernel, state, results), lambda: results
      )
      count = metropolis.num_score_evaluations
      spent = evaluations + count(results) - count(previous.replica_results)
      spent += tf.where(any_swap, 1, 0)
      return unflatten([part[0] for part in swapped]), ScoreReplicaExchangeMCResults(
        replica_states=swapped,
        replica_results=next_results,
        log_accept_ratio=ratio,
        is_swap_proposed=proposed,
        is_swap_accepted=accepted,
        sigmas=previous.sigmas,
        step_count=previous.step_count + 1,
        num_score_evaluations=(
          previous.num_score_evaluations + tf.reduce_sum(spent, axis=0)
        ),
        seed=seed,
      )

  def bootstrap_results(self, init_state):
    """Starts every replica at the state given."""
    with tf.name_scope(f"{self._parameters['name']}/bootstrap_results"):
      parts, _ = state_parts.as_parts(init_state)
      replicas = [
        tf.tile(part[tf.newaxis], [self.num_replicas] + [1] * part.shape.rank)
        for part in parts
      ]
      sigmas = tf.convert_to_tensor(self._parameters["sigmas"], parts[0].dtype)
      kernel = self._inner_kernel(self._sigma(sigmas, replicas))
      results = kernel.bootstrap_results(replicas if len(replicas) > 1 else replicas[0])
      axes = state_parts.event_axes(self._parameters["event_ndims"], replicas)
      zero = tf.zeros_like(state_parts.event_sum(replicas, axes))
      return ScoreReplicaExchangeMCResults(
        replica_states=replicas,
        replica_results=results,
        log_accept_ratio=zero,
        is_swap_proposed=tf.zeros([self.num_replicas], tf.bool),
        is_swap_accepted=tf.zeros_like(zero, tf.bool),
        sigmas=sigmas,
        step_count=tf.constant(0, tf.int32),
        num_score_evaluations=tf.reduce_sum(
          metropolis.num_score_evaluations(results) + tf.zeros_like(zero, tf.int32),
          axis=0,
        ),
        seed=tfp.random.sanitize_seed((0, 0)),
      )

  def _sigma(self, sigmas, replicas):
    """The ladder with one axis per axis of the chains."""
    axes = state_parts.event_axes(self._parameters["event_ndims"], replicas)
    num_chain_axes = replicas[0].shape.rank - len(axes[0]) - 1
    return tf.reshape(sigmas, [self.num_replicas] + [1] * num_chain_axes)

  def _inner_kernel(self, sigma):
    target = self._parameters["target_score_fn"]
    kernel = self._parameters["make_kernel_fn"](
      lambda *parts: target(*parts, sigma), sigma
    )
    names = self.experimental_shard_axis_names
    return kernel if names is None else kernel.experimental_with_shard_axes(names)

  def _partners(self, step_count):
    """Partner of each replica: (0 1)(2 3)... in even steps, (1 2)(3 4)... in odd."""
    index = np.arange(self.num_replicas)
    tables = []
    for first in (0, 1):
      partner = index.copy()
      for low in range(first, self.num_replicas - 1, 2):
        partner[low], partner[low + 1] = low + 1, low
      tables.append(partner)
    return tf.gather(tf.constant(np.stack(tables), tf.int32), step_count % 2)

  def _log_accept_ratio(self, parts, partner, sigma):
    axes = state_parts.event_axes(self._parameters["event_ndims"], parts)
    target = self._parameters["target_score_fn"]
    score = lambda points: target_lib.evaluate(
      lambda *p: target(*p, sigma), list(points)
    )
    other = [tf.gather(part, partner) for part in parts]
    names = state_parts.names_per_part(self.experimental_shard_axis_names, len(parts))
    total = lambda values: state_parts.event_sum(values, axes, shard_axis_names=names)
    change = self._rule(score, parts, other, score(parts), score(other), total)
    ratio = change + tf.gather(change, partner)
    rejected = tf.constant(-np.inf, ratio.dtype)
    evaluations = 2 + path_integral_lib.num_evaluations(self._rule)
    return tf.where(tf.math.is_finite(ratio), ratio, rejected), evaluations

  def _decide(self, ratio, partner, seed):
    uniform = tf.random.stateless_uniform(tf.shape(ratio), seed, dtype=ratio.dtype)
    # Both of a pair decide by the number of the lower.
    shared = tf.gather(uniform, tf.minimum(partner, tf.range(self.num_replicas)))
    proposed = tf.not_equal(partner, tf.range(self.num_replicas))
    proposed = tf.reshape(proposed, [-1] + [1] * (ratio.shape.rank - 1))
    return (tf.math.log(shared) < ratio) & proposed

  def _refreshed(self, kernel, state, results):
    """Bootstrapped results that keep the count of evaluations."""
    fresh = kernel.bootstrap_results(state)
    if not hasattr(fresh, "num_score_evaluations"):
      return fresh
    counts = dict(num_score_evaluations=results.num_score_evaluations)
    fresh = fresh._replace(**counts)
    for field in ("accepted_results", "proposed_results"):
      if hasattr(getattr(fresh, field, None), "num_score_evaluations"):
        fresh = fresh._replace(**{field: getattr(fresh, field)._replace(**counts)})
    return fresh
