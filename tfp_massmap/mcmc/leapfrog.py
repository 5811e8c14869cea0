"""Integrators of Hamilton's equations, and the work of the score along them.

Leapfrog needs only the score (paper Eq. 21):

  m <- m + step/2 score(x);  x <- x + step M^-1 m;  m <- m + step/2 score(x).

The split integrator rotates a Gaussian part N(mu, M^-1) of the target exactly and
kicks with the rest of the score: with the velocity v = M^-1 m,

  v <- v + step/2 [M^-1 score(x) + x - mu]
  x - mu, v <- cos(step) (x - mu) + sin(step) v, cos(step) v - sin(step) (x - mu)
  v <- v + step/2 [M^-1 score(x) + x - mu],

so that a target that is Gaussian with precision M is sampled without any error, and
another with an error of its distance from that (B. Shahbaba, S. Lan, W. Johnson and
R. Neal 2014, Statistics and Computing 24, 339).
"""

import collections

import tensorflow as tf

from tfp_massmap.mcmc import path_integral

Trajectory = collections.namedtuple(
    "Trajectory", ["parts", "motion", "scores", "path_scores", "differences"]
)
Trajectory.__doc__ = """End of a trajectory, lists of state parts.

`motion` is the momentum for leapfrog, the velocity for the split integrator;
`path_scores` the scores that the path integral uses; `differences` the integral
along the trajectory, each part's own sum, or None.
"""


def leapfrog_step(score_fn, velocity_fn, steps):
  """`fn(parts, momentum, scores)` that takes one leapfrog step."""

  def step(parts, momentum, scores):
    half = [m + 0.5 * h * s for m, h, s in zip(momentum, steps, scores)]
    parts = [x + h * v for x, h, v in zip(parts, steps, velocity_fn(half))]
    scores = score_fn(parts)
    momentum = [m + 0.5 * h * s for m, h, s in zip(half, steps, scores)]
    return parts, momentum, scores

  return step


def split_step(score_fn, velocity_fn, steps, means):
  """`fn(parts, velocity, scores)` that takes one step of the split integrator."""

  def kick(parts, velocity, scores):
    pulls = velocity_fn(scores)
    return [
        v + 0.5 * h * (pull + x - mean)
        for v, h, pull, x, mean in zip(velocity, steps, pulls, parts, means)
    ]

  def step(parts, velocity, scores):
    velocity = kick(parts, velocity, scores)
    turned = []
    for x, v, h, mean in zip(parts, velocity, steps, means):
      cos, sin = tf.cos(h), tf.sin(h)
      turned.append((mean + cos * (x - mean) + sin * v, cos * v - sin * (x - mean)))
    parts, velocity = ([pair[i] for pair in turned] for i in (0, 1))
    scores = score_fn(parts)
    return parts, kick(parts, velocity, scores), scores

  return step


def run(step_fn, num_steps, parts, motion, scores, path_score_fn, local_sums):
  """Takes `num_steps` steps, and integrates the score along them if asked to.

  Args:
    step_fn: of `leapfrog_step` or `split_step`.
    num_steps: int32 tensor, positive.
    parts, motion, scores: at the start, lists of state parts.
    path_score_fn: None for no integral, or `fn(parts, scores)` that gives the scores
      to integrate.
    local_sums: sums each of a list of parts over its event axes.

  Returns:
    A `Trajectory`.
  """
  # A known number bounds the loops, which XLA needs to differentiate them.
  static = tf.get_static_value(num_steps)
  bound = None if static is None else int(static)
  if path_score_fn is None:
    _, parts, motion, scores = tf.while_loop(
        lambda i, *_: i < num_steps,
        lambda i, *state: (i + 1, *step_fn(*state)),
        (0, parts, motion, scores),
        maximum_iterations=bound,
    )
    return Trajectory(parts, motion, scores, None, None)
  if static is not None and static % 2 == 0:
    return _run_pairs(
        step_fn, num_steps, parts, motion, scores, path_score_fn, local_sums
    )
  return _run_any(
      step_fn, num_steps, parts, motion, scores, path_score_fn, local_sums
  )


def _run_pairs(step_fn, num_steps, parts, motion, scores, path_score_fn, local_sums):
  """Even number of steps: Simpson's rule over pairs of them."""

  def pair(i, parts, motion, scores, path_scores, sums):
    middle, motion, middle_scores = step_fn(parts, motion, scores)
    middle_path = path_score_fn(middle, middle_scores)
    end, motion, end_scores = step_fn(middle, motion, middle_scores)
    end_path = path_score_fn(end, end_scores)
    segment = local_sums(
        path_integral.parabola(
            (parts, middle, end), (path_scores, middle_path, end_path)
        )
    )
    return i + 2, end, motion, end_scores, end_path, _add(sums, segment)

  path_scores = path_score_fn(parts, scores)
  _, *end = tf.while_loop(
      lambda i, *_: i < num_steps,
      pair,
      (0, parts, motion, scores, path_scores, _zeros(local_sums(parts))),
      maximum_iterations=int(tf.get_static_value(num_steps)) // 2,
  )
  return Trajectory(*end)


def _run_any(step_fn, num_steps, parts, motion, scores, path_score_fn, local_sums):
  """Any number of steps, perhaps not known before: three sums at once.

  An odd number has three steps more than an even one: a cubic at the one end and
  parabolas elsewhere. The mean of both choices of the end is the same either way
  along the path, up to its sign.
  """
  zero = _zeros(local_sums(parts))
  path_scores = path_score_fn(parts, scores)

  def step(i, points, path, motion, scores, sums):
    """Points and path hold the last four positions and their scores."""
    new, motion, scores = step_fn(points[-1], motion, scores)
    points = [*points[1:], new]
    path = [*path[1:], path_score_fn(new, scores)]
    i += 1
    last_pair = local_sums(path_integral.parabola(points[1:], path[1:]))
    even, odd = sums
    even = _add(even, _where(i % 2 == 0, last_pair, zero))
    # Parabolas from the third step on, behind a cubic over the first three.
    odd = _add(odd, _where((i % 2 == 1) & (i > 3), last_pair, zero))
    first_three = tf.cond(
        tf.equal(i, 3),
        lambda: local_sums(path_integral.cubic(points, path)),
        lambda: zero,
    )
    return i, points, path, motion, scores, (even, _add(odd, first_three))

  _, points, path, motion, scores, (even, odd) = tf.while_loop(
      lambda i, *_: i < num_steps,
      step,
      (0, [parts] * 4, [path_scores] * 4, motion, scores, (zero, zero)),
      maximum_iterations=tf.get_static_value(num_steps),
  )

  def of_odd_number():
    # `even` holds the pairs up to the last step but one; the last of them, which
    # the closing cubic covers, is taken off again.
    pair = local_sums(path_integral.parabola(points[:3], path[:3]))
    closing = local_sums(path_integral.cubic(points, path))
    return [
        0.5 * (o + e - p + c) for o, e, p, c in zip(odd, even, pair, closing)
    ]

  def of_one():
    return local_sums(path_integral.trapezium(points[2:], path[2:]))

  differences = tf.cond(
      tf.equal(num_steps % 2, 0),
      lambda: even,
      lambda: tf.cond(tf.equal(num_steps, 1), of_one, of_odd_number),
  )
  return Trajectory(points[-1], motion, scores, path[-1], differences)


def _zeros(parts):
  return [tf.zeros_like(part) for part in parts]


def _add(a, b):
  return [x + y for x, y in zip(a, b)]


def _where(condition, a, b):
  return [tf.where(condition, x, y) for x, y in zip(a, b)]
