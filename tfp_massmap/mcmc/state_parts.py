"""States as lists of tensors: chains in front, events behind, perhaps sharded."""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp


def as_parts(state):
  """List of tensors, and the way back to the structure of `state`."""
  if isinstance(state, (list, tuple)):
    kind = tuple if isinstance(state, tuple) else list
    return [tf.convert_to_tensor(part) for part in state], kind
  return [tf.convert_to_tensor(state)], lambda parts: parts[0]


def check_event_ndims(event_ndims):
  """ValueError unless it is a non-negative integer, or a list of them."""
  ndims = event_ndims if isinstance(event_ndims, (list, tuple)) else [event_ndims]
  if not all(isinstance(n, (int, np.integer)) and n >= 0 for n in ndims):
    raise ValueError(
      "event_ndims must be the number of axes of one event (2 for maps), or a list"
      f" of such numbers, one per state part; got {event_ndims!r}."
    )


def event_axes(event_ndims, parts):
  """Axes of the event of each part, counted from the end."""
  listed = isinstance(event_ndims, (list, tuple))
  ndims = list(event_ndims) if listed else [event_ndims] * len(parts)
  if len(ndims) != len(parts):
    raise ValueError(
      f"event_ndims has {len(ndims)} entries for {len(parts)} state parts."
    )
  for count, part in zip(ndims, parts):
    if part.shape.rank is not None and count > part.shape.rank:
      raise ValueError(
        f"event_ndims = {count} is more than the {part.shape.rank} axes of a state"
        f" part of shape {part.shape}."
      )
  return [list(range(-count, 0)) for count in ndims]


def chain_shape(parts, axes):
  """Shape of the chains, an int32 tensor."""
  return tf.shape(parts[0])[: len(parts[0].shape) - len(axes[0])]


def static_chain_shape(parts, axes):
  return parts[0].shape[: len(parts[0].shape) - len(axes[0])]


def one_per_part(values, parts, *, name):
  """A list as long as `parts`: one value serves all."""
  given = list(values) if isinstance(values, (list, tuple)) else [values]
  if len(given) == 1:
    given = given * len(parts)
  if len(given) != len(parts):
    raise ValueError(
      f"There are {len(given)} values of {name} for {len(parts)} state parts; give"
      " one, or one per part."
    )
  return given


def step_sizes(step_size, parts):
  """Step sizes as tensors, one per part."""
  given = one_per_part(step_size, parts, name="step_size")
  return [tf.convert_to_tensor(h, p.dtype) for h, p in zip(given, parts)]


def stored_step_size(step_size, parts):
  """Step sizes as they live in kernel results: a list if a list was given."""
  sizes = step_sizes(step_size, parts)
  return sizes if isinstance(step_size, (list, tuple)) else sizes[0]


def names_per_part(names, num_parts):
  """Names of the shard axes, one entry per part, or None."""
  if names is None:
    return None
  if isinstance(names, (list, tuple)) and len(names) == num_parts:
    return list(names)
  return [names] * num_parts


def normal_like(parts, seed, *, shard_axis_names=None, salt=None):
  """Standard normal draws of the shape of each part, with TFP's seeds."""
  names = shard_axis_names or [None] * len(parts)
  seeds = tfp.random.split_seed(seed, n=len(parts), salt=salt)
  return [
    tf.random.stateless_normal(
      tf.shape(part), seed=shard_seed(s, name), dtype=part.dtype
    )
    for part, s, name in zip(parts, tf.unstack(tf.stack(seeds)), names)
  ]


def event_sum(values, axes, *, shard_axis_names=None):
  """Sum of all parts over their event axes, shape of the chains.

  Args:
    values: list of tensors.
    axes: their event axes.
    shard_axis_names: None, or for each part a name or list of names of the axes it
      is sharded over; its sum then runs over the replicas too.
  """
  return add_across(local_sums(values, axes), shard_axis_names)


def local_sums(values, axes):
  """Sum of each part over the event axes at hand, list of the shape of the chains."""
  return [tf.reduce_sum(value, axis=a) for value, a in zip(values, axes)]


def add_across(sums, shard_axis_names=None):
  """Adds the sums of all parts, and for sharded parts those of all replicas.

  Not inside a loop: there, `tf.distribute` does not let replicas meet.
  """
  names = shard_axis_names or [None] * len(sums)
  total = 0
  for value, part_names in zip(sums, names):
    if part_names:
      value = tf.distribute.get_replica_context().all_reduce(
        tf.distribute.ReduceOp.SUM, value
      )
    total += value
  return total


def shard_seed(seed, names):
  """A seed of its own for each shard of a sharded part."""
  if not names:
    return seed
  replica = tf.distribute.get_replica_context().replica_id_in_sync_group
  return tf.random.experimental.stateless_fold_in(seed, replica)


def choose(is_chosen, new, *, old):
  """`new` in the chains where `is_chosen`, else `old`; trees of tensors."""

  def one(a, b):
    if a is b:
      return a
    rank = len(a.shape) - len(is_chosen.shape)
    shape = tf.concat([tf.shape(is_chosen), tf.ones([rank], tf.int32)], axis=0)
    return tf.where(tf.reshape(is_chosen, shape), a, b)

  return tf.nest.map_structure(one, new, old)
