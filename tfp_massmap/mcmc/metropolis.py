"""Metropolis-Hastings for kernels that have only a score."""

import functools
import typing

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap.mcmc import base
from tfp_massmap.mcmc import kernel_results
from tfp_massmap.mcmc import state_parts


class ScoreMetropolisHastingsResults(typing.NamedTuple):
  """Results of one tested step, with the field names of TFP.

  Attributes:
    accepted_results: Results of the inner kernel at the state.
    is_accepted: Bool, shape of the chains.
    log_accept_ratio: Shape of the chains; -inf where the proposed state or its score is
      not finite.
    proposed_state: Proposed state, structured like the state.
    proposed_results: Results of the inner kernel at the proposed state.
    num_score_evaluations: Evaluations since `bootstrap_results`, int32, shape of the
      chains.
    extra: Empty, as in TFP.
    seed: Seed of the step.
  """

  accepted_results: typing.Any
  is_accepted: tf.Tensor
  log_accept_ratio: tf.Tensor
  proposed_state: base.State
  proposed_results: typing.Any
  num_score_evaluations: tf.Tensor
  extra: list
  seed: tf.Tensor


class ScoreMetropolisHastings(base.ScoreKernel):
  """A kernel that accepts or rejects the proposals of a score-only kernel.

  It is the counterpart of `tfp.mcmc.MetropolisHastings`. The change of the log-density
  comes from the path integral of the inner kernel, not from two values of the
  log-density. Therefore

    log a = log_prob_difference + log_acceptance_correction

  keeps its precision in float32 however far the chain has moved.

  Args:
    inner_kernel: Kernel without a test, as `base.ScoreProposal` describes it.
    name: Prefix of op names.

  Raises:
    ValueError: If the inner kernel has a Metropolis test of its own.
  """

  calibrated = True

  def __init__(self, inner_kernel: base.ScoreProposal, name: str | None = None) -> None:
    if inner_kernel.is_calibrated:
      raise ValueError(
        f"inner_kernel must be uncalibrated; {type(inner_kernel).__name__} has a"
        " Metropolis test of its own. Use it without ScoreMetropolisHastings."
      )
    super().__init__(dict(inner_kernel=inner_kernel, name=name or "score_mh"))

  @property
  def inner_kernel(self) -> base.ScoreProposal:
    """The kernel that proposes."""
    return self._parameters["inner_kernel"]

  @property
  def experimental_shard_axis_names(self) -> base.ShardAxisNames:
    """The names of the shard axes of the inner kernel."""
    return self.inner_kernel.experimental_shard_axis_names

  def experimental_with_shard_axes(
    self, shard_axis_names: base.ShardAxisNames
  ) -> "ScoreMetropolisHastings":
    """Returns a copy of the kernel for state parts sharded over these axes."""
    return self.copy(
      inner_kernel=self.inner_kernel.experimental_with_shard_axes(shard_axis_names)
    )

  def one_step(
    self,
    current_state: base.State,
    previous_kernel_results: ScoreMetropolisHastingsResults,
    seed: typing.Any = None,
  ) -> tuple[base.State, ScoreMetropolisHastingsResults]:
    """Returns the next state and its results; see `tfp.mcmc.TransitionKernel`."""
    # The order of `tfp.mcmc.MetropolisHastings`, so that seeds agree with it.
    seed = tfp.random.sanitize_seed(seed)
    proposal_seed, acceptance_seed = tfp.random.split_seed(seed)
    previous = previous_kernel_results.accepted_results
    proposed_state, proposed = self.inner_kernel.one_step(
      current_state, previous, seed=proposal_seed
    )
    proposed_parts, unflatten = state_parts.as_parts(proposed_state)
    current_parts, _ = state_parts.as_parts(current_state)
    log_accept_ratio = finite_or_rejected(
      proposed.log_prob_difference + proposed.log_acceptance_correction
    )
    log_uniform = tf.math.log(
      tf.random.stateless_uniform(
        tf.shape(log_accept_ratio), seed=acceptance_seed, dtype=log_accept_ratio.dtype
      )
    )
    is_accepted = log_uniform < log_accept_ratio
    new, old = kernel_results.fields(proposed), kernel_results.fields(previous)
    chosen = {
      field: state_parts.choose(is_accepted, new[field], old=old[field])
      for field in self.inner_kernel.per_chain_fields
    }
    next_state = unflatten(
      state_parts.choose(is_accepted, proposed_parts, old=current_parts)
    )
    return next_state, ScoreMetropolisHastingsResults(
      accepted_results=proposed._replace(**chosen),
      is_accepted=is_accepted,
      log_accept_ratio=log_accept_ratio,
      proposed_state=proposed_state,
      proposed_results=proposed,
      num_score_evaluations=proposed.num_score_evaluations,
      extra=[],
      seed=seed,
    )

  def bootstrap_results(self, init_state: base.State) -> ScoreMetropolisHastingsResults:
    """Returns the results at the start; see `tfp.mcmc.TransitionKernel`."""
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


class TestedKernel(base.ScoreKernel):
  """Base of kernels that are `ScoreMetropolisHastings` around a kernel without a test.

  A subclass takes the constructor of its proposal kernel, and hands its arguments on.

  Attributes:
    proposal_class: Class of the kernel that proposes.
  """

  calibrated = True
  proposal_class: typing.ClassVar[type[base.ScoreProposal]]

  @functools.cached_property
  def _tested(self) -> ScoreMetropolisHastings:
    return ScoreMetropolisHastings(self.proposal_class(**self.parameters))

  @property
  def inner_kernel(self) -> base.ScoreProposal:
    """The kernel that proposes."""
    return self._tested.inner_kernel

  def one_step(
    self,
    current_state: base.State,
    previous_kernel_results: ScoreMetropolisHastingsResults,
    seed: typing.Any = None,
  ) -> tuple[base.State, ScoreMetropolisHastingsResults]:
    """Returns the next state and its results; see `tfp.mcmc.TransitionKernel`."""
    return self._tested.one_step(current_state, previous_kernel_results, seed=seed)

  def bootstrap_results(self, init_state: base.State) -> ScoreMetropolisHastingsResults:
    """Returns the results at the start; see `tfp.mcmc.TransitionKernel`."""
    return self._tested.bootstrap_results(init_state)


def finite_or_rejected(log_accept_ratio: tf.Tensor) -> tf.Tensor:
  """Returns the ratio, and -inf where it is not finite.

  A state or score that is not finite makes the path integral so too.
  """
  rejected = tf.constant(-np.inf, log_accept_ratio.dtype)
  return tf.where(tf.math.is_finite(log_accept_ratio), log_accept_ratio, rejected)
