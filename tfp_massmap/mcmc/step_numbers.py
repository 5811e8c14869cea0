"""The number of leapfrog steps: an integer, or a pair between which it is drawn."""

import collections.abc
import typing

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

# An integer, an integer tensor, or a pair (smallest, largest).
NumSteps: typing.TypeAlias = int | tf.Tensor | collections.abc.Sequence[int]


def check(num_leapfrog_steps: typing.Any) -> None:
  """Raises ValueError unless given a positive integer, or a pair of them in order."""
  if num_leapfrog_steps is None:
    raise ValueError("num_leapfrog_steps is missing: a positive integer or a pair.")
  if isinstance(num_leapfrog_steps, (list, tuple)):
    if len(num_leapfrog_steps) != 2 or not (
      1 <= num_leapfrog_steps[0] <= num_leapfrog_steps[1]
    ):
      raise ValueError(
        "A pair num_leapfrog_steps must be (smallest, largest), both positive; got"
        f" {num_leapfrog_steps}."
      )
    return
  steps = tf.get_static_value(num_leapfrog_steps)
  if steps is None:
    whole = tf.convert_to_tensor(num_leapfrog_steps).dtype.is_integer
  else:
    whole = np.ndim(steps) == 0 and steps == int(steps) and steps >= 1
  if not whole:
    raise ValueError(
      f"num_leapfrog_steps must be a positive integer; got {num_leapfrog_steps}."
    )


def as_stored(num_leapfrog_steps: NumSteps) -> tf.Tensor:
  """Returns the number, or the pair, as an int32 tensor for the kernel results."""
  if isinstance(num_leapfrog_steps, (list, tuple)):
    return tf.convert_to_tensor(num_leapfrog_steps, tf.int32)
  return tf.cast(num_leapfrog_steps, tf.int32)


def draw(
  given: NumSteps, stored: NumSteps | tf.Tensor, *, seed: typing.Any
) -> tf.Tensor:
  """Returns the number of steps of one trajectory, an int32 tensor.

  Args:
    given: The argument of the kernel.
    stored: The same, or what an adaptation has made of it in the kernel results.
    seed: Stateless seed of the trajectory.

  Raises:
    tf.errors.InvalidArgumentError: If an adaptation has replaced a pair.
  """
  if not isinstance(given, (list, tuple)):
    static = tf.get_static_value(stored)
    return tf.cast(stored if static is None else static, tf.int32)
  unchanged = tf.debugging.assert_equal(
    stored,
    tf.constant(given, tf.int32),
    message=(
      "num_leapfrog_steps is a pair, between which the kernel draws, but an"
      " adaptation has set a number of its own, as"
      " GradientBasedTrajectoryLengthAdaptation does, with its own jitter. Give"
      " one integer instead of the pair."
    ),
  )
  with tf.control_dependencies([unchanged] if unchanged is not None else []):
    bounds = tf.identity(stored)
  jitter_seed = tfp.random.split_seed(seed, n=2, salt="num_leapfrog_steps")[0]
  return tf.random.stateless_uniform(
    [], jitter_seed, bounds[0], bounds[1] + 1, tf.int32
  )
