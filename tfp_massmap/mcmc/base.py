"""Parts of TFP's kernel contract that all score-only kernels share."""

import collections.abc
import typing

import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap.mcmc import kernel_results
from tfp_massmap.mcmc import path_integral
from tfp_massmap.mcmc import state_parts
from tfp_massmap.mcmc import target

State: typing.TypeAlias = tf.Tensor | collections.abc.Sequence[tf.Tensor]
ShardAxisNames = str | collections.abc.Sequence[typing.Any] | None


class ScoreKernel(tfp.mcmc.TransitionKernel):
  """A transition kernel whose constructor arguments are its `parameters`.

  TFP copies and rewrites kernels through `parameters`, so that each key must be the name
  of an argument of the constructor.

  Args:
    parameters: Constructor arguments of the subclass, `name` and
      `experimental_shard_axis_names` among them.
  """

  # Subclasses say here whether they leave their target invariant.
  calibrated: typing.ClassVar[bool]

  def __init__(self, parameters: dict[str, typing.Any]) -> None:
    self._parameters = parameters

  @property
  def parameters(self) -> dict[str, typing.Any]:
    """The constructor arguments by name, defaults included."""
    return self._parameters

  @property
  def is_calibrated(self) -> bool:
    """True if chains converge to the target without a further Metropolis test."""
    return self.calibrated

  @property
  def experimental_shard_axis_names(self) -> ShardAxisNames:
    """The names of the axes that each state part is sharded over, or None."""
    return self._parameters["experimental_shard_axis_names"]

  def experimental_with_shard_axes(
    self, shard_axis_names: ShardAxisNames
  ) -> "ScoreKernel":
    """Returns a copy of the kernel for state parts sharded over these axes."""
    return self.copy(experimental_shard_axis_names=shard_axis_names)

  def _events(self, parts: state_parts.Parts) -> state_parts.Events:
    """Returns the events of the parts, for kernels with an argument `event_ndims`."""
    return state_parts.Events.of(
      parts,
      self._parameters["event_ndims"],
      shard_axis_names=self.experimental_shard_axis_names,
    )


class TargetKernel(ScoreKernel):
  """A kernel of one target, whose log-density changes by a path integral of its score.

  Args:
    parameters: Constructor arguments of the subclass, `target_score_fn`, `step_size`,
      `event_ndims`, `target_event_ndims`, `path_integral`, `num_intervals`,
      `analytic_log_prob_fn` and `target_log_prob_fn` among them.

  Raises:
    ValueError: If one of these is missing or of the wrong kind.
  """

  def __init__(self, parameters: dict[str, typing.Any]) -> None:
    target_event_ndims = parameters["target_event_ndims"]
    if target_event_ndims is None:
      target_event_ndims = parameters["event_ndims"]
    for ndims in (parameters["event_ndims"], target_event_ndims):
      state_parts.check_event_ndims(ndims)
    if parameters["step_size"] is None:
      raise ValueError("step_size is missing: a number or tensor, or one per part.")
    # None stands for the integral along the trajectory.
    self._rule = path_integral.resolve(
      parameters["path_integral"], parameters["num_intervals"]
    )
    self._score, stand_in = target.make_score_fn(
      parameters["target_score_fn"],
      parameters["target_log_prob_fn"],
      event_ndims=target_event_ndims,
    )
    target.check_analytic_part(
      parameters["analytic_log_prob_fn"],
      stand_in,
      shard_axis_names=parameters["experimental_shard_axis_names"],
    )
    super().__init__({**parameters, "target_log_prob_fn": stand_in})

  def _current(self, results: typing.Any) -> dict[str, typing.Any]:
    """Returns the parameters as adaptations may have changed them in the results."""
    if not self._parameters["store_parameters_in_results"]:
      return self._parameters
    return {**self._parameters, **kernel_results.fields(results)}


class ScoreProposal(ScoreKernel):
  """A kernel without a Metropolis test, for `ScoreMetropolisHastings`.

  Its results are a named tuple with at least the fields `log_prob_difference`,
  `log_acceptance_correction`, `grads_target_log_prob` and `num_score_evaluations`.

  Attributes:
    per_chain_fields: Names of the result fields that hold one value per chain. After a
      rejection they keep their old values; the other fields take the new ones.
  """

  calibrated = False
  per_chain_fields: typing.ClassVar[tuple[str, ...]]


class KernelOfSigma(ScoreKernel):
  """A kernel around inner kernels whose target depends on sigma.

  Its `parameters` hold `target_score_fn`, a function of the state parts and sigma, and
  `make_kernel_fn`, which makes the inner kernel for the score at one sigma.
  """

  def inner_kernel_at(self, sigma: tf.Tensor) -> tfp.mcmc.TransitionKernel:
    """Returns the inner kernel whose target is the one at `sigma`."""
    target = self._parameters["target_score_fn"]
    kernel = self._parameters["make_kernel_fn"](
      lambda *parts: target(*parts, sigma), sigma
    )
    names = self.experimental_shard_axis_names
    return kernel if names is None else kernel.experimental_with_shard_axes(names)
