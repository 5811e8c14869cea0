"""Differences of a log-density from its score, along a path (paper Eq. A.1).

  log p(b) - log p(a) = integral from a to b of score(x) . dx

Both rules replace score and path by polynomials through common points, so they are
exact for a Gaussian, fourth order in the step, and change sign under reversal: the
Metropolis ratio of a move and of its reverse are exact inverses, as detailed balance
needs. `score` here is a list of state parts, as are points.
"""

import tensorflow as tf


def trajectory_segment(points, scores, event_axes):
  """Difference over two leapfrog steps, at no further score evaluation.

  The path is the parabola through three consecutive points x0, x1, x2,

    [s0.(-3 x0 + 4 x1 - x2) + 4 s1.(x2 - x0) + s2.(x0 - 4 x1 + 3 x2)] / 6,

  in differences of neighbours, which keep their precision in float32.

  Args:
    points: three lists of state parts.
    scores: their scores, three lists.
    event_axes: for each part, the axes to sum over.

  Returns:
    `log p(x2) - log p(x0)`, shape of the chains.
  """

  def part(x0, x1, x2, s0, s1, s2, axes):
    first, second = x1 - x0, x2 - x1
    integrand = (
        s0 * (3 * first - second)
        + 4 * s1 * (first + second)
        + s2 * (3 * second - first)
    )
    return tf.reduce_sum(integrand, axis=axes) / 6

  return tf.add_n([part(*values) for values in zip(*points, *scores, event_axes)])


def straight_line(score_fn, start, end, score_start, score_end, event_axes,
                  num_intervals):
  """Difference along the straight line, by Simpson's composite rule.

  Args:
    score_fn: maps a list of state parts to the list of their scores.
    start, end: lists of state parts.
    score_start, score_end: their scores, not evaluated again.
    event_axes: for each part, the axes to sum over.
    num_intervals: even number of intervals, at least 2; `num_intervals - 1` score
      evaluations.

  Returns:
    `log p(end) - log p(start)`, shape of the chains.
  """
  change = [b - a for a, b in zip(start, end)]

  def projected(score):
    parts = zip(score, change, event_axes)
    return tf.add_n([tf.reduce_sum(s * c, axis=axes) for s, c, axes in parts])

  def add_node(node, total):
    fraction = node / num_intervals
    point = [a + tf.cast(fraction, a.dtype) * c for a, c in zip(start, change)]
    weight = tf.where(node % 2 == 1, 4.0, 2.0)
    value = projected(score_fn(point))
    return node + 1, total + tf.cast(weight, total.dtype) * value

  total = projected(score_start) + projected(score_end)
  _, total = tf.while_loop(
      lambda node, _: node < num_intervals, add_node, (1, total)
  )
  return total / (3 * num_intervals)
