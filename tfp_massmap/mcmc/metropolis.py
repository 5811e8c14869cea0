"""Metropolis-Hastings for kernels that know only a score."""

import collections

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap.mcmc import state_parts

ScoreMetropolisHastingsResults = collections.namedtuple(
  "ScoreMetropolisHastingsResults",
  [
    "accepted_results",
    "is_accepted",
    "log_accept_ratio",
    "proposed_state",
    "proposed_results",
    "num_score_evaluations",
    "extra",
    "seed",
  ],
)
ScoreMetropolisHastingsResults.__doc__ = """Results of one tested step, names of TFP.

Fields:
  accepted_results, proposed_results: results of the inner kernel.
  is_accepted: bool, shape of the chains.
  log_accept_ratio: shape of the chains; -inf where it is not finite, as it is where the
    proposed state or its score is not.
  proposed_state: structure of the state.
  num_score_evaluations: since `bootstrap_results`, int32, shape of the chains.
  extra: empty, as in TFP.
  seed: of the step.
"""


class ScoreMetropolisHastings(tfp.mcmc.TransitionKernel):
  """Accepts or rejects the proposals of a score-only kernel.

  As `tfp.mcmc.MetropolisHastings`, but the change of the log-density comes from the
  inner kernel's path integral, not from two values of the log-density: with

    log a = log_prob_difference + log_acceptance_correction

  it keeps its precision in float32 however far the chain has walked.

  Args:
    inner_kernel: uncalibrated kernel whose results have `log_prob_difference`,
      `log_acceptance_correction`, `grads_target_log_prob` and
      `num_score_evaluations`, and which names in `per_chain_fields` the fields of
      which each chain has its own value.
    name: prefix of op names.

  Raises:
    ValueError: if the inner kernel is calibrated already.
  """

  def __init__(self, inner_kernel, name=None):
    if inner_kernel.is_calibrated:
      raise ValueError(
        f"inner_kernel must be uncalibrated; {type(inner_kernel).__name__} has a"
        " Metropolis test of its own. Use it as it is."
      )
    self._parameters = dict(inner_kernel=inner_kernel, name=name or "score_mh")

  @property
  def parameters(self):
    return self._parameters

  @property
  def inner_kernel(self):
    return self._parameters["inner_kernel"]

  @property
  def is_calibrated(self):
    return True

  @property
  def experimental_shard_axis_names(self):
    return self.inner_kernel.experimental_shard_axis_names

  def experimental_with_shard_axes(self, shard_axis_names):
    return self.copy(
      inner_kernel=self.inner_kernel.experimental_with_shard_axes(shard_axis_names)
    )

  def one_step(self, current_state, previous_kernel_results, seed=None):
    """One tested step; see `tfp.mcmc.TransitionKernel.one_step`."""
    inner_kernel = self.inner_kernel
    seed = tfp.random.sanitize_seed(seed)
    # The order of `tfp.mcmc.MetropolisHastings`, so that seeds agree with it.
    proposal_seed, acceptance_seed = tfp.random.split_seed(seed)
    previous = previous_kernel_results.accepted_results
    proposed_state, proposed = inner_kernel.one_step(
      current_state, previous, seed=proposal_seed
    )
    proposed_parts, unflatten = state_parts.as_parts(proposed_state)
    current_parts, _ = state_parts.as_parts(current_state)
    log_accept_ratio = _log_accept_ratio(proposed)
    log_uniform = tf.math.log(
      tf.random.stateless_uniform(
        tf.shape(log_accept_ratio),
        seed=acceptance_seed,
        dtype=log_accept_ratio.dtype,
      )
    )
    is_accepted = log_uniform < log_accept_ratio
    # A rejected proposal still cost its evaluations.
    previous = previous._replace(num_score_evaluations=proposed.num_score_evaluations)
    chosen = {
      field: state_parts.choose(
        is_accepted, getattr(proposed, field), old=getattr(previous, field)
      )
      for field in inner_kernel.per_chain_fields
    }
    return unflatten(
      state_parts.choose(is_accepted, proposed_parts, old=current_parts)
    ), ScoreMetropolisHastingsResults(
      accepted_results=proposed._replace(**chosen),
      is_accepted=is_accepted,
      log_accept_ratio=log_accept_ratio,
      proposed_state=proposed_state,
      proposed_results=proposed,
      num_score_evaluations=proposed.num_score_evaluations,
      extra=[],
      seed=seed,
    )

  def bootstrap_results(self, init_state):
    """Evaluates the score once; see `tfp.mcmc.TransitionKernel`."""
    results = self.inner_kernel.bootstrap_results(init_state)
    return ScoreMetropolisHastingsResults(
      accepted_results=results,
      is_accepted=tf.ones_like(results.log_prob_difference, tf.bool),
      log_accept_ratio=tf.zeros_like(results.log_prob_difference),
      proposed_state=tf.nest.map_structure(tf.convert_to_tensor, init_state),
      proposed_results=results,
      num_score_evaluations=results.num_score_evaluations,
      extra=[],
      seed=tfp.random.sanitize_seed((0, 0)),
    )


def num_score_evaluations(results):
  """Score evaluations that kernel results, or those inside them, have counted."""
  while results is not None:
    if hasattr(results, "num_score_evaluations"):
      return results.num_score_evaluations
    results = getattr(results, "inner_results", None)
  return tf.constant(0, tf.int32)


def _log_accept_ratio(proposed):
  """A state or score that is not finite makes the path integral so too: rejected."""
  ratio = proposed.log_prob_difference + proposed.log_acceptance_correction
  rejected = tf.constant(-np.inf, ratio.dtype)
  return tf.where(tf.math.is_finite(ratio), ratio, rejected)
