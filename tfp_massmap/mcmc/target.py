"""Targets that are known by their score.

The wrappers of TFP (`TransformedTransitionKernel`) act on a kernel's
`target_log_prob_fn` and differentiate it. `ScoreAsLogProb` takes that place: a function
without a value (it is NaN) whose gradient is the score. Wrappers transform its gradient
by the chain rule and add the terms that they know in closed form, such as a
log-determinant. The kernels of this package use the gradient only. Kernels of TFP that
decide by values stand still, or give NaN, instead of being wrong.
"""

import collections.abc
import threading
import types
import typing

import numpy as np
import tensorflow as tf

from tfp_massmap.mcmc import state_parts

# A function of the state parts, or of the state parts and sigma, that returns a score.
ScoreFn = collections.abc.Callable[..., tf.Tensor | list[tf.Tensor]]


class _Calls(threading.local):
  """Counts the calls of stand-ins in this thread."""

  count = 0


_CALLS = _Calls()


class ScoreAsLogProb:
  """A function of the state parts of value NaN, whose gradient is the score.

  Attributes:
    target_score_fn: `fn(*state_parts)` that returns the score.
    event_ndims: Number of event axes, or a list with one number per state part.
  """

  def __init__(
    self,
    target_score_fn: ScoreFn,
    event_ndims: int | collections.abc.Sequence[int],
  ) -> None:
    self.target_score_fn = target_score_fn
    self.event_ndims = event_ndims

  def __call__(self, *parts: tf.Tensor) -> tf.Tensor:
    """Returns NaN, of the shape of the chains."""
    # New tensors: bijectors of TFP find the inverse of a tensor that they made in their
    # cache, past which no gradient comes. A score that differentiates a transformed
    # distribution would lose it.
    tensors = [tf.identity(part) for part in parts]
    _CALLS.count += 1
    events = state_parts.Events.of(tensors, self.event_ndims)

    @tf.custom_gradient
    def unknown(*parts):
      scores = evaluate(self.target_score_fn, parts)
      chains = events.chain_shape(parts)

      def gradient(upstream):
        return [
          score
          * tf.reshape(
            upstream, tf.concat([chains, tf.ones([len(a)], tf.int32)], axis=0)
          )
          for score, a in zip(scores, events.axes)
        ]

      value = tf.fill(chains, tf.constant(np.nan, parts[0].dtype))
      return tf.ensure_shape(value, events.static_chain_shape(parts)), gradient

    return unknown(*tensors)


def evaluate(target_score_fn: ScoreFn, parts: state_parts.Parts) -> state_parts.Parts:
  """Returns the scores of a list of parts, one tensor for each.

  Raises:
    ValueError: If the function returns another number of scores, or other shapes.
  """
  scores = target_score_fn(*parts)
  if len(parts) == 1 and not isinstance(scores, (list, tuple)):
    scores = [scores]
  if not isinstance(scores, (list, tuple)) or len(scores) != len(parts):
    raise ValueError(
      f"target_score_fn must return one score per state part, {len(parts)} of them;"
      f" got {scores!r}."
    )
  scores = [tf.convert_to_tensor(s, p.dtype) for s, p in zip(scores, parts)]
  for score, part in zip(scores, parts):
    if not score.shape.is_compatible_with(part.shape) or (
      score.shape.rank != part.shape.rank
    ):
      raise ValueError(
        "target_score_fn must return the gradient of the log-density, of the shape"
        f" of the state {part.shape}; got shape {score.shape}. For a log-density"
        " use tfp.mcmc.HamiltonianMonteCarlo; for replica exchange use"
        " ScoreReplicaExchangeMC."
      )
  return scores


def make_score_fn(
  target_score_fn: ScoreFn | None,
  target_log_prob_fn: collections.abc.Callable | None,
  *,
  event_ndims: int | collections.abc.Sequence[int],
) -> tuple[
  collections.abc.Callable[[state_parts.Parts], state_parts.Parts],
  collections.abc.Callable,
]:
  """Returns the score function of a kernel, and its stand-in for a log-density.

  Args:
    target_score_fn: The argument of the kernel.
    target_log_prob_fn: None, or the function that a wrapper of TFP has made of the
      stand-in.
    event_ndims: The argument of the kernel.

  Returns:
    `(score_fn, target_log_prob_fn)`, where `score_fn` maps a list of parts to the list
    of their scores.

  Raises:
    ValueError: If neither is callable, or the log-density comes from
      `tfp.mcmc.ReplicaExchangeMC`.
  """
  # `copy` hands on the old stand-in; a new score takes precedence over it.
  old = target_log_prob_fn if isinstance(target_log_prob_fn, ScoreAsLogProb) else None
  if target_log_prob_fn is None or old is not None:
    if target_score_fn is None and old is not None:
      target_score_fn = old.target_score_fn
    if not callable(target_score_fn):
      raise ValueError(
        f"target_score_fn must be callable, fn(*state_parts); got {target_score_fn!r}."
      )
    stand_in = ScoreAsLogProb(target_score_fn, event_ndims)
    return lambda parts: evaluate(target_score_fn, parts), stand_in
  if _is_of_replica_exchange(target_log_prob_fn):
    raise ValueError(
      "ReplicaExchangeMC decides its swaps by values of the log-density, which a"
      " score-only kernel does not have: it would run and be wrong. Use"
      " tfp_massmap.mcmc.ScoreReplicaExchangeMC, which decides them by the path"
      " integral of the difference of two scores."
    )
  return lambda parts: _gradient(target_log_prob_fn, parts), target_log_prob_fn


def check_analytic_part(
  analytic_log_prob_fn: collections.abc.Callable | None,
  target_log_prob_fn: collections.abc.Callable,
  *,
  shard_axis_names: typing.Any,
) -> None:
  """Raises ValueError where the known part of a log-density would be wrong.

  Args:
    analytic_log_prob_fn: The argument of the kernel; None passes.
    target_log_prob_fn: The stand-in of `make_score_fn`.
    shard_axis_names: The argument of the kernel.
  """
  if analytic_log_prob_fn is None:
    return
  if not isinstance(target_log_prob_fn, ScoreAsLogProb):
    raise ValueError(
      "analytic_log_prob_fn does not work inside a wrapper that transforms the state,"
      " such as tfp.mcmc.TransformedTransitionKernel: the wrapper transforms the"
      " score only, and leaves the analytic part in the old coordinates. Leave"
      " analytic_log_prob_fn out; target_score_fn holds all of the score anyway."
    )
  if shard_axis_names is not None:
    raise ValueError(
      "analytic_log_prob_fn does not work with experimental_shard_axis_names: its"
      " values mix the sum over one shard with the sum over all. Leave it out;"
      " target_score_fn holds all of the score anyway."
    )


def _is_of_replica_exchange(target_log_prob_fn: collections.abc.Callable) -> bool:
  """Returns whether the function was made by `tfp.mcmc.ReplicaExchangeMC`."""
  return isinstance(
    target_log_prob_fn, types.FunctionType
  ) and target_log_prob_fn.__module__.endswith("replica_exchange_mc")


def _gradient(
  target_log_prob_fn: collections.abc.Callable, parts: state_parts.Parts
) -> state_parts.Parts:
  before = _CALLS.count
  with tf.GradientTape(watch_accessed_variables=False) as tape:
    tape.watch(parts)
    value = target_log_prob_fn(*parts)
  if _CALLS.count == before:
    raise ValueError(
      "target_log_prob_fn is for the wrappers of TFP, which build it from the score;"
      " this one does not use it. Give target_score_fn, or use"
      " tfp.mcmc.HamiltonianMonteCarlo for a log-density."
    )
  return tape.gradient(value, parts)
