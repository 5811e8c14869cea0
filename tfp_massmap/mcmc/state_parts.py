"""States as lists of tensors: leading chain axes, trailing event axes, maybe sharded."""

import collections.abc
import dataclasses
import functools
import typing

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

Parts = list[tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Events:
  """The axes that make one event of each state part, and how parts are sharded.

  Attributes:
    axes: For each part its event axes, counted from the end.
    shard_axis_names: None, or for each part None or the name(s) of the axes that it is
      sharded over.
  """

  axes: list[list[int]]
  shard_axis_names: list[typing.Any] | None = None

  @classmethod
  def of(
    cls,
    parts: Parts,
    event_ndims: int | collections.abc.Sequence[int],
    *,
    shard_axis_names: typing.Any = None,
  ) -> "Events":
    """Returns the events of a list of parts.

    Args:
      parts: State parts.
      event_ndims: The number of event axes, or a list with one number per part.
      shard_axis_names: None, one name for all parts, or a list with one entry per part.

    Raises:
      ValueError: If a part has fewer axes than its events, or a list has another length
        than `parts`.
    """
    ndims: list[typing.Any] = [event_ndims] * len(parts)
    if isinstance(event_ndims, (list, tuple)):
      ndims = list(event_ndims)
    if len(ndims) != len(parts):
      raise ValueError(
        f"event_ndims has {len(ndims)} entries for {len(parts)} state parts; give one"
        " number, or one per part."
      )
    for count, part in zip(ndims, parts):
      if part.shape.rank is not None and count > part.shape.rank:
        raise ValueError(
          f"event_ndims = {count} is more than the {part.shape.rank} axes of a state"
          f" part of shape {part.shape}; give the number of trailing axes of one event."
        )
    _check_chain_axes(parts, ndims)
    names = shard_axis_names
    if names is not None:
      each = isinstance(names, (list, tuple)) and len(names) == len(parts)
      names = list(names) if each else [names] * len(parts)
    return cls([list(range(-count, 0)) for count in ndims], names)

  def chain_shape(self, parts: Parts) -> tf.Tensor:
    """Returns the shape of the chains, an int32 tensor."""
    return tf.shape(parts[0])[: len(parts[0].shape) - len(self.axes[0])]

  def static_chain_shape(self, parts: Parts) -> tf.TensorShape:
    """Returns the shape of the chains as far as it is known before the run."""
    return parts[0].shape[: len(parts[0].shape) - len(self.axes[0])]

  def zeros(self, parts: Parts) -> tf.Tensor:
    """Returns zeros of the shape of the chains and the dtype of the first part."""
    return tf.zeros_like(self.local_sums(parts)[0])

  def sum(self, values: Parts) -> tf.Tensor:
    """Returns the sum of all parts over their events, shape of the chains.

    The sum of a sharded part runs over its replicas too.
    """
    return self.add_across(self.local_sums(values))

  def local_sums(self, values: Parts) -> Parts:
    """Returns the sum of each part over the event axes on this device."""
    return [tf.reduce_sum(value, axis=a) for value, a in zip(values, self.axes)]

  def add_across(self, sums: Parts) -> tf.Tensor:
    """Returns the total of the parts' sums, and of all replicas for sharded parts.

    It must be called outside of loops, because `tf.distribute` does not let replicas
    communicate inside one.
    """
    total = 0
    for value, names in zip(sums, self.names_per_part()):
      if names:
        value = tf.distribute.get_replica_context().all_reduce(
          tf.distribute.ReduceOp.SUM, value
        )
      total += value
    return total

  def normal_like(self, parts: Parts, *, seed: typing.Any, salt: str) -> Parts:
    """Returns standard normal draws of the shape of each part, with TFP's seeds."""
    seeds = tf.unstack(tf.stack(tfp.random.split_seed(seed, n=len(parts), salt=salt)))
    return [
      tf.random.stateless_normal(
        tf.shape(part), seed=shard_seed(s, names), dtype=part.dtype
      )
      for part, s, names in zip(parts, seeds, self.names_per_part())
    ]

  def names_per_part(self) -> list[typing.Any]:
    """Returns one entry per part: the names of its shard axes, or None."""
    return self.shard_axis_names or [None] * len(self.axes)


def _check_chain_axes(parts: Parts, ndims: collections.abc.Sequence[int]) -> None:
  """Raises ValueError if parts have different numbers of axes before their events."""
  counts = {p.shape.rank - n for p, n in zip(parts, ndims) if p.shape.rank is not None}
  if len(counts) > 1:
    raise ValueError(
      f"State parts of shapes {[str(part.shape) for part in parts]} with {ndims} event"
      " axes have different numbers of chain axes. Give event_ndims of the state; where"
      " a bijector changes the number of axes, target_event_ndims is that of what"
      " target_score_fn gets."
    )


def shaped_like(values: Parts, parts: Parts) -> Parts:
  """Returns values with the static shapes of the parts where their own are unknown.

  A step size of unknown shape hides the shape of what it moves; loops need it.

  Args:
    values: Tensors of the shapes of the parts.
    parts: State parts.
  """
  return [
    v if v.shape.rank is not None else tf.ensure_shape(v, p.shape)
    for v, p in zip(values, parts)
  ]


def as_parts(
  state: typing.Any,
) -> tuple[Parts, collections.abc.Callable[[Parts], typing.Any]]:
  """Returns a state as a list of tensors, and the function back to its structure.

  Args:
    state: A tensor, or a list, a tuple or a named tuple of tensors, such as a sample of a
      joint distribution.
  """
  if isinstance(state, (list, tuple)):
    back: collections.abc.Callable[[Parts], typing.Any] = tuple
    if isinstance(state, list):
      back = list
    elif type(state) is not tuple:
      back = functools.partial(tf.nest.pack_sequence_as, state)
    return [tf.convert_to_tensor(part) for part in state], back
  return [tf.convert_to_tensor(state)], lambda parts: parts[0]


def as_state(parts: Parts) -> tf.Tensor | Parts:
  """Returns a single part as a tensor and several parts as a list."""
  return list(parts) if len(parts) > 1 else parts[0]


def check_event_ndims(event_ndims: typing.Any) -> None:
  """Raises ValueError unless given a non-negative integer, or a list of them."""
  ndims = event_ndims if isinstance(event_ndims, (list, tuple)) else [event_ndims]
  if not all(isinstance(n, (int, np.integer)) and n >= 0 for n in ndims):
    raise ValueError(
      "event_ndims must be the number of axes of one event (2 for maps), or a list"
      f" of such numbers, one per state part; got {event_ndims!r}."
    )


def one_per_part(values: typing.Any, parts: Parts, *, name: str) -> list[typing.Any]:
  """Returns a list as long as `parts`, in which a single value is repeated.

  Args:
    values: One value, or a list of values.
    parts: State parts.
    name: Name of the argument, for the error.

  Raises:
    ValueError: If the number of values is neither 1 nor the number of parts.
  """
  given = list(values) if isinstance(values, (list, tuple)) else [values]
  if len(given) == 1:
    given = given * len(parts)
  if len(given) != len(parts):
    raise ValueError(
      f"There are {len(given)} values of {name} for {len(parts)} state parts; give"
      " one, or one per part."
    )
  return given


def tensors_per_part(values: typing.Any, parts: Parts, *, name: str) -> Parts:
  """Returns `one_per_part` as tensors of the dtypes of the parts."""
  given = one_per_part(values, parts, name=name)
  return [tf.convert_to_tensor(h, p.dtype) for h, p in zip(given, parts)]


def stored_step_size(step_size: typing.Any, parts: Parts) -> tf.Tensor | Parts:
  """Returns the step size to keep in kernel results: a list if a list was given."""
  sizes = tensors_per_part(step_size, parts, name="step_size")
  return sizes if isinstance(step_size, (list, tuple)) else sizes[0]


def shard_seed(seed: typing.Any, names: typing.Any) -> typing.Any:
  """Returns a different seed for each shard of a sharded part, else the seed itself."""
  if not names:
    return seed
  replica = tf.distribute.get_replica_context().replica_id_in_sync_group
  return tf.random.experimental.stateless_fold_in(seed, replica)


def choose(is_chosen: tf.Tensor, new: typing.Any, *, old: typing.Any) -> typing.Any:
  """Returns `new` in the chains where `is_chosen` holds, and `old` in the others.

  Args:
    is_chosen: Bool, shape of the chains.
    new: Nested structure of tensors whose leading axes are the chains.
    old: The same structure.
  """

  def one(a, b):
    if a is b:
      return a
    rank = len(a.shape) - len(is_chosen.shape)
    shape = tf.concat([tf.shape(is_chosen), tf.ones([rank], tf.int32)], axis=0)
    return tf.where(tf.reshape(is_chosen, shape), a, b)

  return tf.nest.map_structure(one, new, old)
