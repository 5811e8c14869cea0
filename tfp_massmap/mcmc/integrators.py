"""Integrators of Hamilton's equations, and the work of the score along them.

Leapfrog needs only the score (Remy et al. 2022, Eq. 21):

  m <- m + step/2 score(x)
  x <- x + step M^-1 m
  m <- m + step/2 score(x).

The split integrator rotates a Gaussian component N(mu, M^-1) of the target exactly and
kicks with the rest of the score. With the velocity v = M^-1 m it is

  v <- v + step/2 [M^-1 score(x) + x - mu]
  x - mu, v <- cos(step) (x - mu) + sin(step) v, cos(step) v - sin(step) (x - mu)
  v <- v + step/2 [M^-1 score(x) + x - mu].

A Gaussian target of precision M is then sampled without error. For any other target the
error grows with its distance from that Gaussian.

Reference:
  B. Shahbaba, S. Lan, W. Johnson and R. Neal 2014, Statistics and Computing 24, 339.
"""

import collections.abc
import dataclasses
import typing

import tensorflow as tf

from tfp_massmap.mcmc import path_integral
from tfp_massmap.mcmc import state_parts

_PartsFn = collections.abc.Callable[[state_parts.Parts], state_parts.Parts]


class Integrator(typing.NamedTuple):
  """The two moves that make a step: half a kick, a drift, half a kick.

  Attributes:
    kick: `fn(parts, motion, scores, fraction)` that returns the motion after the kick
      of that fraction of a step.
    drift: `fn(parts, motion)` that returns parts and motion after a whole step.
  """

  kick: collections.abc.Callable[..., state_parts.Parts]
  drift: collections.abc.Callable[..., tuple[state_parts.Parts, state_parts.Parts]]


class Trajectory(typing.NamedTuple):
  """The end of a trajectory.

  Attributes:
    parts: State parts.
    motion: Momentum of each part for leapfrog, velocity for the split integrator.
    scores: Score of each part.
    differences: Path integral along the trajectory, one sum for each part; or None.
  """

  parts: state_parts.Parts
  motion: state_parts.Parts
  scores: state_parts.Parts
  differences: state_parts.Parts | None


def leapfrog(velocity_fn: _PartsFn, steps: state_parts.Parts) -> Integrator:
  """Returns the leapfrog integrator, whose motion is the momentum.

  Args:
    velocity_fn: Function of the momenta that returns the velocities.
    steps: Step size of each part.
  """

  def kick(parts, momentum, scores, fraction):
    del parts
    kicked = [m + fraction * h * s for m, h, s in zip(momentum, steps, scores)]
    return state_parts.shaped_like(kicked, momentum)

  def drift(parts, momentum):
    velocity = velocity_fn(momentum)
    moved = [x + h * v for x, h, v in zip(parts, steps, velocity)]
    return state_parts.shaped_like(moved, parts), momentum

  return Integrator(kick, drift)


def split(
  velocity_fn: _PartsFn, steps: state_parts.Parts, *, means: state_parts.Parts
) -> Integrator:
  """Returns the integrator that rotates N(means, M^-1); its motion is the velocity.

  Args:
    velocity_fn: Function that multiplies a list of parts by M^-1.
    steps: Step size of each part, in radians.
    means: Mean of the Gaussian for each part.
  """

  def kick(parts, velocity, scores, fraction):
    pulls = velocity_fn(scores)
    kicked = [
      v + fraction * h * (pull + x - mean)
      for v, h, pull, x, mean in zip(velocity, steps, pulls, parts, means)
    ]
    return state_parts.shaped_like(kicked, velocity)

  def drift(parts, velocity):
    turned = []
    for x, v, h, mean in zip(parts, velocity, steps, means):
      cos, sin = tf.cos(h), tf.sin(h)
      turned.append((mean + cos * (x - mean) + sin * v, cos * v - sin * (x - mean)))
    return tuple(
      state_parts.shaped_like([pair[i] for pair in turned], parts) for i in (0, 1)
    )

  return Integrator(kick, drift)


def run(
  integrator: Integrator,
  score_fn: _PartsFn,
  *,
  num_steps: tf.Tensor,
  parts: state_parts.Parts,
  motion: state_parts.Parts,
  scores: state_parts.Parts,
  known_score_fn: _PartsFn | None = None,
  local_sums: _PartsFn | None = None,
) -> Trajectory:
  """Takes `num_steps` steps, and integrates the score along them if asked to.

  Args:
    integrator: The moves.
    score_fn: Function of a list of parts that returns the list of their scores.
    num_steps: Positive, int32 scalar.
    parts: State parts at the start.
    motion: Momentum or velocity at the start.
    scores: Scores at the start.
    known_score_fn: None, or a function of a list of parts that returns the scores that
      the integral leaves out.
    local_sums: None for no integral, or a function that sums each part over its events.

  Returns:
    The end of the trajectory.
  """
  # A known number bounds the loops, which XLA needs to differentiate them.
  static = tf.get_static_value(num_steps)
  walk = _Walk(
    integrator,
    score_fn,
    num_steps=num_steps,
    bound=None if static is None else int(static),
    known_score_fn=known_score_fn,
    local_sums=local_sums,
  )
  motion = integrator.kick(parts, motion, scores, 0.5)
  if local_sums is None:
    end = walk.without_sums(parts, motion, scores)
  elif static is not None and static % 2 == 0:
    end = walk.in_pairs(parts, motion, scores)
  else:
    end = walk.one_by_one(parts, motion, scores)
  return end._replace(motion=integrator.kick(end.parts, end.motion, end.scores, -0.5))


@dataclasses.dataclass(frozen=True)
class _Walk:
  """The loops over the steps; see `run` for the attributes.

  Between two of its steps the motion is half a kick ahead of the state.
  """

  integrator: Integrator
  score_fn: _PartsFn
  _: dataclasses.KW_ONLY
  num_steps: tf.Tensor
  bound: int | None
  known_score_fn: _PartsFn | None
  local_sums: _PartsFn | None

  def without_sums(self, parts, motion, scores) -> Trajectory:
    """Returns the end of the trajectory alone."""
    _, parts, motion, scores = tf.while_loop(
      lambda i, *_: i < self.num_steps,
      lambda i, parts, motion, _: (i + 1, *self._step(parts, motion)),
      (0, parts, motion, scores),
      maximum_iterations=self.bound,
    )
    return Trajectory(parts, motion, scores, None)

  def in_pairs(self, parts, motion, scores) -> Trajectory:
    """Takes an even number of steps, with a parabola over each two of them."""
    assert self.bound is not None  # `run` knows that the number is even.

    def pair(i, parts, motion, scores, known, sums):
      middle, motion, middle_scores = self._step(parts, motion)
      end, motion, end_scores = self._step(middle, motion)
      known_middle, known_end = self._known(middle), self._known(end)
      path = (
        _without(scores, known),
        _without(middle_scores, known_middle),
        _without(end_scores, known_end),
      )
      segment = self.local_sums(path_integral.parabola((parts, middle, end), path))
      return i + 2, end, motion, end_scores, known_end, _add(sums, segment)

    _, parts, motion, scores, _, sums = tf.while_loop(
      lambda i, *_: i < self.num_steps,
      pair,
      (0, parts, motion, scores, self._known(parts), self._zero_sums(parts)),
      maximum_iterations=self.bound // 2,
    )
    return Trajectory(parts, motion, scores, sums)

  def one_by_one(self, parts, motion, scores) -> Trajectory:
    """Takes any number of steps, perhaps not known before, with two sums at once.

    `even` adds parabolas over steps (1 2)(3 4)..., and `odd` a cubic over the first three
    steps with parabolas over (4 5)(6 7)... An odd number of steps leaves one over in
    `even`, which a cubic over the last three steps then closes. The mean of both sums is
    the same in either direction of the path, up to its sign.
    """
    zero = self._zero_sums(parts)

    def one(i, points, path, motion, scores, sums):
      """Takes a step; points and path hold the last four positions and scores."""
      new, motion, scores = self._step(points[-1], motion)
      points = [*points[1:], new]
      path = [*path[1:], _without(scores, self._known(new))]
      i += 1
      last_pair = self.local_sums(path_integral.parabola(points[1:], path[1:]))
      first_three = tf.cond(
        tf.equal(i, 3),
        lambda: self.local_sums(path_integral.cubic(points, path)),
        lambda: zero,
      )
      even, odd = sums
      # Outside of eager mode and tf.function, == of tensors compares their names.
      is_even = tf.equal(i % 2, 0)
      even = _add(even, _where(is_even, last_pair, zero))
      odd = _add(odd, _where(~is_even & (i > 3), last_pair, zero))
      return i, points, path, motion, scores, (even, _add(odd, first_three))

    path_scores = _without(scores, self._known(parts))
    _, points, path, motion, scores, sums = tf.while_loop(
      lambda i, *_: i < self.num_steps,
      one,
      (0, [parts] * 4, [path_scores] * 4, motion, scores, (zero, zero)),
      maximum_iterations=self.bound,
    )
    return Trajectory(points[-1], motion, scores, self._close(points, path, sums))

  def _close(self, points, path, sums) -> state_parts.Parts:
    """Returns the integral from both sums of `one_by_one` and the last four points."""
    even, odd = sums

    def odd_number():
      # The last pair in `even` overlaps the closing cubic, and is subtracted.
      pair = self.local_sums(path_integral.parabola(points[:3], path[:3]))
      closing = self.local_sums(path_integral.cubic(points, path))
      return [0.5 * (o + e - p + c) for o, e, p, c in zip(odd, even, pair, closing)]

    def single():
      return self.local_sums(path_integral.trapezium(points[2:], path[2:]))

    return tf.cond(
      tf.equal(self.num_steps % 2, 0),
      lambda: even,
      lambda: tf.cond(tf.equal(self.num_steps, 1), single, odd_number),
    )

  def _step(self, parts, motion):
    """Drifts and kicks: the half kicks of neighbouring steps are one whole kick."""
    parts, motion = self.integrator.drift(parts, motion)
    scores = self.score_fn(parts)
    return parts, self.integrator.kick(parts, motion, scores, 1.0), scores

  def _known(self, parts) -> state_parts.Parts:
    """Returns the scores that the integral leaves out, or [] if it leaves out none."""
    return [] if self.known_score_fn is None else self.known_score_fn(parts)

  def _zero_sums(self, parts) -> state_parts.Parts:
    assert self.local_sums is not None  # Without it, `run` asks for no sums.
    return [tf.zeros_like(value) for value in self.local_sums(parts)]


def _without(scores, known):
  return [s - k for s, k in zip(scores, known)] if known else scores


def _add(a, b):
  return [x + y for x, y in zip(a, b)]


def _where(condition, a, b):
  return [tf.where(condition, x, y) for x, y in zip(a, b)]
