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

Integrator = collections.namedtuple("Integrator", ["kick", "drift"])
Integrator.__doc__ = """Two moves that make a step: half a kick, a drift, half a kick.

`kick(parts, motion, scores, fraction)` returns the motion after that fraction of a
step; `drift(parts, motion)` returns both after a whole step.
"""

Trajectory = collections.namedtuple(
  "Trajectory", ["parts", "motion", "scores", "differences"]
)
Trajectory.__doc__ = """End of a trajectory, lists of state parts.

`motion` is the momentum for leapfrog, the velocity for the split integrator;
`differences` the path integral along the trajectory, each part's own sum, or None.
"""


def leapfrog(velocity_fn, steps):
  """`Integrator` of leapfrog; its motion is the momentum."""

  def kick(parts, momentum, scores, fraction):
    del parts
    return [m + fraction * h * s for m, h, s in zip(momentum, steps, scores)]

  def drift(parts, momentum):
    velocity = velocity_fn(momentum)
    return [x + h * v for x, h, v in zip(parts, steps, velocity)], momentum

  return Integrator(kick, drift)


def split(velocity_fn, steps, *, means):
  """`Integrator` that rotates N(means, mass^-1); its motion is the velocity."""

  def kick(parts, velocity, scores, fraction):
    pulls = velocity_fn(scores)
    return [
      v + fraction * h * (pull + x - mean)
      for v, h, pull, x, mean in zip(velocity, steps, pulls, parts, means)
    ]

  def drift(parts, velocity):
    turned = []
    for x, v, h, mean in zip(parts, velocity, steps, means):
      cos, sin = tf.cos(h), tf.sin(h)
      turned.append((mean + cos * (x - mean) + sin * v, cos * v - sin * (x - mean)))
    return [x for x, _ in turned], [v for _, v in turned]

  return Integrator(kick, drift)


def run(
  integrator,
  score_fn,
  *,
  num_steps,
  parts,
  motion,
  scores,
  known_score_fn=None,
  local_sums=None,
):
  """Takes `num_steps` steps, and integrates the score along them if asked to.

  Args:
    integrator: `Integrator`.
    score_fn: maps a list of parts to the list of their scores.
    num_steps: int32 tensor, positive.
    parts, motion, scores: at the start, lists of state parts.
    known_score_fn: None, or `fn(parts)`, scores that the integral leaves out.
    local_sums: sums each of a list of parts over its event axes; None for no integral.

  Returns:
    A `Trajectory`.
  """
  # A known number bounds the loops, which XLA needs to differentiate them.
  static = tf.get_static_value(num_steps)
  bound = None if static is None else int(static)
  motion = integrator.kick(parts, motion, scores, 0.5)

  def step(parts, motion):
    """Drift and a whole kick: the half kicks of neighbouring steps are one."""
    parts, motion = integrator.drift(parts, motion)
    scores = score_fn(parts)
    return parts, integrator.kick(parts, motion, scores, 1.0), scores

  if local_sums is None:
    _, parts, motion, scores = tf.while_loop(
      lambda i, *_: i < num_steps,
      lambda i, parts, motion, _: (i + 1, *step(parts, motion)),
      (0, parts, motion, scores),
      maximum_iterations=bound,
    )
    differences = None
  else:
    integrate = _run_pairs if bound is not None and bound % 2 == 0 else _run_any
    parts, motion, scores, differences = integrate(
      step, num_steps, bound, parts, motion, scores, known_score_fn, local_sums
    )
  motion = integrator.kick(parts, motion, scores, -0.5)
  return Trajectory(parts, motion, scores, differences)


def _run_pairs(
  step, num_steps, bound, parts, motion, scores, known_score_fn, local_sums
):
  """Even number of steps: Simpson's rule over pairs of them."""
  # Where nothing is known, the scores to integrate are the scores: carried once.
  known = [] if known_score_fn is None else known_score_fn(parts)

  def rest(scores, known):
    return [s - k for s, k in zip(scores, known)] if known else scores

  def pair(i, parts, motion, scores, known, sums):
    middle, motion, middle_scores = step(parts, motion)
    end, motion, end_scores = step(middle, motion)
    known_middle, known_end = (
      ([], [])
      if known_score_fn is None
      else (known_score_fn(middle), known_score_fn(end))
    )
    path = (
      rest(scores, known),
      rest(middle_scores, known_middle),
      rest(end_scores, known_end),
    )
    segment = local_sums(path_integral.parabola((parts, middle, end), path))
    return i + 2, end, motion, end_scores, known_end, _add(sums, segment)

  _, parts, motion, scores, _, sums = tf.while_loop(
    lambda i, *_: i < num_steps,
    pair,
    (0, parts, motion, scores, known, _zeros(local_sums(parts))),
    maximum_iterations=bound // 2,
  )
  return parts, motion, scores, sums


def _run_any(step, num_steps, bound, parts, motion, scores, known_score_fn, local_sums):
  """Any number of steps, perhaps not known before: three sums at once.

  An odd number has three steps more than an even one: a cubic at the one end and
  parabolas elsewhere. The mean of both choices of the end is the same either way
  along the path, up to its sign.
  """
  zero = _zeros(local_sums(parts))

  def rest(parts, scores):
    if known_score_fn is None:
      return scores
    return [s - k for s, k in zip(scores, known_score_fn(parts))]

  path_scores = rest(parts, scores)

  def one(i, points, path, motion, scores, sums):
    """Points and path hold the last four positions and their scores."""
    new, motion, scores = step(points[-1], motion)
    points = [*points[1:], new]
    path = [*path[1:], rest(new, scores)]
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
    one,
    (0, [parts] * 4, [path_scores] * 4, motion, scores, (zero, zero)),
    maximum_iterations=bound,
  )

  def of_odd_number():
    # `even` holds the pairs up to the last step but one; the last of them, which
    # the closing cubic covers, is taken off again.
    pair = local_sums(path_integral.parabola(points[:3], path[:3]))
    closing = local_sums(path_integral.cubic(points, path))
    return [0.5 * (o + e - p + c) for o, e, p, c in zip(odd, even, pair, closing)]

  def of_one():
    return local_sums(path_integral.trapezium(points[2:], path[2:]))

  differences = tf.cond(
    tf.equal(num_steps % 2, 0),
    lambda: even,
    lambda: tf.cond(tf.equal(num_steps, 1), of_one, of_odd_number),
  )
  return points[-1], motion, scores, differences


def _zeros(parts):
  return [tf.zeros_like(part) for part in parts]


def _add(a, b):
  return [x + y for x, y in zip(a, b)]


def _where(condition, a, b):
  return [tf.where(condition, x, y) for x, y in zip(a, b)]
