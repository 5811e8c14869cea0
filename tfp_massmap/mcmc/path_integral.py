"""Differences of a log-density from its score, along a path (paper Eq. A.1).

  log p(b) - log p(a) = integral from a to b of score(x) . dx

Every rule here replaces score and path by polynomials through common points, so that
it is exact for a Gaussian and changes sign under reversal: the Metropolis ratios of a
move and of its reverse are exact inverses, as detailed balance needs. Points and
scores are lists of state parts.

If the score is not a gradient, the integral depends on the path: what is then accepted
or rejected is the work of the score along the path taken.
"""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

_RULES = ("straight", "trajectory")


def simpson(num_intervals=4):
  """Composite Simpson rule on the straight line, of fourth order.

  Args:
    num_intervals: even, at least 2.

  Returns:
    A rule, `fn(score_fn, start, end, score_start, score_end, total) -> difference`,
    with the attribute `num_score_evaluations`, here `num_intervals - 1`.
  """
  if num_intervals < 2 or num_intervals % 2:
    raise ValueError(
      "num_intervals must be even and at least 2, for Simpson's rule; got"
      f" {num_intervals}."
    )
  nodes = np.linspace(0, 1, num_intervals + 1)
  weights = np.where(np.arange(num_intervals + 1) % 2 == 1, 4.0, 2.0)
  weights[[0, -1]] = 1
  return _quadrature(nodes, weights / (3 * num_intervals))


def gauss_lobatto(num_nodes=4):
  """Gauss-Lobatto rule on the straight line, exact to degree 2 num_nodes - 3.

  Args:
    num_nodes: at least 2, the two ends among them.

  Returns:
    A rule as of `simpson`, of `num_nodes - 2` score evaluations.
  """
  if num_nodes < 2:
    raise ValueError(f"num_nodes must be at least 2; got {num_nodes}.")
  legendre = np.polynomial.legendre.Legendre.basis(num_nodes - 1)
  inner = np.sort(np.real(legendre.deriv().roots())) if num_nodes > 2 else []
  nodes = np.concatenate([[-1.0], inner, [1.0]])
  weights = 1 / (num_nodes * (num_nodes - 1) * legendre(nodes) ** 2)
  return _quadrature((nodes + 1) / 2, weights)


def resolve(path_integral, num_intervals):
  """What the kernel's argument stands for: "trajectory" or a rule."""
  if path_integral == "trajectory":
    return path_integral
  if path_integral == "straight":
    return simpson(num_intervals)
  if callable(path_integral):
    return path_integral
  raise ValueError(
    "path_integral must be 'straight' or 'trajectory', or a rule such as"
    f" mcmc.gauss_lobatto(4); got {path_integral!r}."
  )


def apply_rule(
  rule,
  score_fn,
  *,
  start,
  end,
  score_start,
  score_end,
  total,
  analytic_log_prob_fn=None,
):
  """log p(end) - log p(start) by a rule on its own path.

  Args:
    rule: as `simpson` gives it.
    score_fn: callable of a list of state parts that returns their scores.
    start, end: lists of state parts.
    score_start, score_end: their scores.
    total: sums a list of parts over their events.
    analytic_log_prob_fn: None, or a part of the log-density that is known: its change
      is exact, and the rule integrates the score of the rest alone.
  """
  if analytic_log_prob_fn is None:
    return rule(score_fn, start, end, score_start, score_end, total)

  def rest(points, scores):
    known = tfp.math.value_and_gradient(analytic_log_prob_fn, list(points))[1]
    return [s - k for s, k in zip(scores, known)]

  change = rule(
    lambda points: rest(points, score_fn(points)),
    start,
    end,
    rest(start, score_start),
    rest(end, score_end),
    total,
  )
  return change + analytic_log_prob_fn(*end) - analytic_log_prob_fn(*start)


def num_evaluations(rule):
  """Score evaluations of a rule besides those of the leapfrog."""
  return getattr(rule, "num_score_evaluations", 0)


def parabola(points, scores):
  """Integrand over two leapfrog steps, at no further score evaluation.

  The path is the parabola through three consecutive points x0, x1, x2,

    [s0.(-3 x0 + 4 x1 - x2) + 4 s1.(x2 - x0) + s2.(x0 - 4 x1 + 3 x2)] / 6,

  in differences of neighbours, which keep their precision in float32. Fourth order.

  Args:
    points: three lists of state parts.
    scores: their scores, three lists.

  Returns:
    List of state parts, whose sum over an event is `log p(x2) - log p(x0)`.
  """

  def part(x0, x1, x2, s0, s1, s2):
    first, second = x1 - x0, x2 - x1
    return (
      s0 * (3 * first - second) + 4 * s1 * (first + second) + s2 * (3 * second - first)
    ) / 6

  return [part(*values) for values in zip(*points, *scores)]


def cubic(points, scores):
  """Integrand over three leapfrog steps, along the cubic through four points.

  Args and result as `parabola`, with four points. Fourth order.
  """

  def part(x0, x1, x2, x3, *s):
    steps = (x1 - x0, x2 - x1, x3 - x2)
    return sum(
      score * sum(float(w) * step for w, step in zip(row, steps))
      for score, row in zip(s, _CUBIC_WEIGHTS)
    )

  return [part(*values) for values in zip(*points, *scores)]


def trapezium(points, scores):
  """Integrand over one step along its chord, exact for a Gaussian, second order."""

  def part(x0, x1, s0, s1):
    return 0.5 * (s0 + s1) * (x1 - x0)

  return [part(*values) for values in zip(*points, *scores)]


def _interpolation_weights(degree):
  """W[i, j]: integral of (i-th Lagrange polynomial) times (slope from step j).

  The path through the nodes 0..degree is x0 plus the sum over j of step j times the
  sum of the Lagrange polynomials beyond it.
  """
  nodes = np.arange(degree + 1)
  basis = []
  for i in nodes:
    others = np.delete(nodes, i)
    basis.append(np.poly1d(others, r=True) / np.prod(i - others))
  weights = np.zeros([degree + 1, degree])
  for j in range(degree):
    slope = np.polyder(sum(basis[j + 1 :], np.poly1d([0.0])))
    for i in nodes:
      weights[i, j] = np.polyval(np.polyint(basis[i] * slope), degree)
  return weights


_CUBIC_WEIGHTS = _interpolation_weights(3)


def _quadrature(nodes, weights):
  """Rule on the straight line with given nodes on [0, 1], ends included."""

  def rule(score_fn, start, end, score_start, score_end, total):
    change = [b - a for a, b in zip(start, end)]
    dtype = start[0].dtype
    inner_nodes = tf.constant(nodes[1:-1], dtype)
    inner_weights = tf.constant(weights[1:-1], dtype)

    def add_node(index, mean):
      point = [
        a + tf.cast(inner_nodes[index], a.dtype) * c for a, c in zip(start, change)
      ]
      scores = score_fn(point)
      weight = inner_weights[index]
      return index + 1, [m + tf.cast(weight, m.dtype) * s for m, s in zip(mean, scores)]

    # The mean score on the line; one projection at the end, outside the loop.
    mean = [
      float(weights[0]) * a + float(weights[-1]) * b
      for a, b in zip(score_start, score_end)
    ]
    if len(nodes) > 2:
      _, mean = tf.while_loop(
        lambda index, _: index < len(nodes) - 2,
        add_node,
        (0, mean),
        maximum_iterations=len(nodes) - 2,
      )
    return total([m * c for m, c in zip(mean, change)])

  rule.num_score_evaluations = len(nodes) - 2
  return rule
