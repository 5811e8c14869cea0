"""Targets that are known by their score.

The wrappers of TFP (`TransformedTransitionKernel`) act on a kernel's
`target_log_prob_fn` and differentiate it. A score takes that place as a function
of value zero whose gradient is the score: wrappers compose its gradient by the chain
rule, and add what they know in closed form, such as a log-determinant. The kernels
here use the gradient only.
"""

import threading

import tensorflow as tf

from tfp_massmap.mcmc import state_parts

_CALLS = threading.local()


def score_as_log_prob(target_score_fn, event_ndims):
  """A function of value zero, shape of the chains, whose gradient is the score.

  Args:
    target_score_fn: `fn(*state_parts)`.
    event_ndims: number of event axes, or a list, one per state part.

  Returns:
    `fn(*state_parts)`, with the attribute `target_score_fn`.
  """

  def log_prob(*parts):
    parts = [tf.convert_to_tensor(part) for part in parts]
    _CALLS.count = getattr(_CALLS, "count", 0) + 1
    axes = state_parts.event_axes(event_ndims, parts)

    @tf.custom_gradient
    def zero(*parts):
      scores = evaluate(target_score_fn, parts)
      chains = state_parts.chain_shape(parts, axes)

      def gradient(upstream):
        return [
          score
          * tf.reshape(
            upstream, tf.concat([chains, tf.ones([len(a)], tf.int32)], axis=0)
          )
          for score, a in zip(scores, axes)
        ]

      value = tf.zeros(chains, parts[0].dtype)
      static = state_parts.static_chain_shape(parts, axes)
      return tf.ensure_shape(value, static), gradient

    return zero(*parts)

  log_prob.target_score_fn = target_score_fn
  return log_prob


def evaluate(target_score_fn, parts):
  """Scores of a list of parts, checked: list of tensors."""
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


def make_score_fn(target_score_fn, target_log_prob_fn, *, event_ndims):
  """The score function of a kernel, and its stand-in for a log-density.

  Args:
    target_score_fn: as given to the kernel.
    target_log_prob_fn: None, or what a wrapper of TFP made of the stand-in.
    event_ndims: as given to the kernel.

  Returns:
    `(score_fn, target_log_prob_fn)`; `score_fn` maps a list of parts to the list of
    their scores.

  Raises:
    ValueError: if neither is callable, or the log-density is that of
      `tfp.mcmc.ReplicaExchangeMC`.
  """
  # A stand-in that came along in `copy` gives way to the score it stands for.
  stands_for = getattr(target_log_prob_fn, "target_score_fn", None)
  if target_log_prob_fn is None or stands_for is not None:
    if target_score_fn is None:
      target_score_fn = stands_for
    if not callable(target_score_fn):
      raise ValueError(
        f"target_score_fn must be callable, fn(*state_parts); got {target_score_fn!r}."
      )
    stand_in = score_as_log_prob(target_score_fn, event_ndims)
    return lambda parts: evaluate(target_score_fn, parts), stand_in
  if getattr(target_log_prob_fn, "__module__", "").endswith("replica_exchange_mc"):
    raise ValueError(
      "ReplicaExchangeMC decides its swaps by values of the log-density, which a"
      " score-only kernel does not know: it would run and be wrong. Use"
      " tfp_massmap.mcmc.ScoreReplicaExchangeMC, which decides them by the path"
      " integral of the difference of two scores."
    )
  return lambda parts: _gradient(target_log_prob_fn, parts), target_log_prob_fn


def check_analytic_part(analytic_log_prob_fn, target_log_prob_fn, *, shard_axis_names):
  """ValueError where the known part of a log-density would be taken at wrong places."""
  if analytic_log_prob_fn is None:
    return
  if getattr(target_log_prob_fn, "target_score_fn", None) is None:
    raise ValueError(
      "analytic_log_prob_fn does not work inside a wrapper that transforms the state,"
      " such as tfp.mcmc.TransformedTransitionKernel: the wrapper transforms the"
      " score only, and leaves the analytic part in the old coordinates. Leave"
      " analytic_log_prob_fn out; target_score_fn holds all of the score anyway."
    )
  if shard_axis_names is not None:
    raise ValueError(
      "analytic_log_prob_fn does not work with experimental_shard_axis_names: its"
      " values could not be told apart into those of one shard and of all. Leave it"
      " out; target_score_fn holds all of the score anyway."
    )


def _gradient(target_log_prob_fn, parts):
  before = getattr(_CALLS, "count", 0)
  with tf.GradientTape(watch_accessed_variables=False) as tape:
    tape.watch(parts)
    value = target_log_prob_fn(*parts)
  if getattr(_CALLS, "count", 0) == before:
    raise ValueError(
      "target_log_prob_fn is for the wrappers of TFP, which build it from the score;"
      " this one does not use it. Give target_score_fn, or use"
      " tfp.mcmc.HamiltonianMonteCarlo for a log-density."
    )
  return tape.gradient(value, parts)
