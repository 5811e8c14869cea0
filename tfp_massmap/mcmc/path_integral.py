"""Differences of a log-density from its score, along a path.

Another rule is a function that returns a `PathIntegralRule`, as `simpson` does; kernels
take it as `path_integral=`.

  log p(b) - log p(a) = integral from a to b of score(x) . dx

(Remy et al. 2022, Eq. A.1). Every rule here replaces score and path by polynomials
through common points. It is therefore exact for a Gaussian, and changes sign when the
path is reversed: the Metropolis ratios of a move and of its reverse are exact inverses,
as detailed balance needs. Points and scores are lists of state parts.

If the score is not a gradient, the integral depends on the path. The test then accepts
or rejects by the work of the score along the path taken.
"""

import collections.abc
import dataclasses

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap.mcmc import state_parts

PartsFn = collections.abc.Callable[[state_parts.Parts], state_parts.Parts]
Total = collections.abc.Callable[[state_parts.Parts], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class PathEnds:
  """The two ends of a path, and their scores.

  Attributes:
    start: State parts.
    end: State parts.
    score_start: Scores at the start, one per part.
    score_end: Scores at the end, one per part.
    total: Function that sums a list of parts over their events, to the shape of the
      chains.
  """

  start: state_parts.Parts
  end: state_parts.Parts
  _: dataclasses.KW_ONLY
  score_start: state_parts.Parts
  score_end: state_parts.Parts
  total: Total


@dataclasses.dataclass(frozen=True)
class PathIntegralRule:
  """A rule that integrates a score from one state to another.

  Attributes:
    difference_fn: `fn(score_fn, ends)` that returns log p(end) - log p(start), of the
      shape of the chains. `score_fn` maps a list of parts to their scores, and `ends` is
      a `PathEnds`. The rule must change its sign when start and end are exchanged.
    num_score_evaluations: Score evaluations of the rule, those at the ends not counted.
  """

  difference_fn: collections.abc.Callable[[PartsFn, PathEnds], tf.Tensor]
  num_score_evaluations: int = 0

  def __call__(self, score_fn: PartsFn, ends: PathEnds) -> tf.Tensor:
    """Returns log p(end) - log p(start), of the shape of the chains."""
    return self.difference_fn(score_fn, ends)


# The argument of the kernels: "straight", "trajectory", a rule, or its function.
PathIntegral = (
  str | PathIntegralRule | collections.abc.Callable[[PartsFn, PathEnds], tf.Tensor]
)


def simpson(num_intervals: int = 4) -> PathIntegralRule:
  """Returns the composite Simpson rule on the straight line, of fourth order.

  Args:
    num_intervals: Number of intervals, even and at least 2. The rule makes
      `num_intervals - 1` score evaluations. `examples/benchmarks/kernels.py` prints the
      error of the default beside the energy error of the leapfrog.

  Raises:
    ValueError: If `num_intervals` is odd or below 2.
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


def gauss_lobatto(num_nodes: int = 4) -> PathIntegralRule:
  """Returns a Gauss-Lobatto rule on the straight line.

  Args:
    num_nodes: Number of nodes, at least 2, the two ends among them. The rule is exact
      for polynomials of degree `2 num_nodes - 3` and makes `num_nodes - 2` score
      evaluations. `examples/benchmarks/kernels.py` compares the default with Simpson's
      rule.

  Raises:
    ValueError: If `num_nodes` is below 2.
  """
  if num_nodes < 2:
    raise ValueError(f"num_nodes must be at least 2; got {num_nodes}.")
  legendre = np.polynomial.legendre.Legendre.basis(num_nodes - 1)
  inner: np.ndarray | list[float] = []
  if num_nodes > 2:
    inner = np.sort(np.real(legendre.deriv().roots()))
  nodes = np.concatenate([[-1.0], inner, [1.0]])
  weights = 1 / (num_nodes * (num_nodes - 1) * legendre(nodes) ** 2)
  return _quadrature((nodes + 1) / 2, weights)


def resolve(path_integral: PathIntegral, num_intervals: int) -> PathIntegralRule | None:
  """Returns the rule that a kernel's argument stands for.

  Args:
    path_integral: "straight", "trajectory", a rule, or a function as of
      `PathIntegralRule.difference_fn`.
    num_intervals: Number of intervals of the "straight" rule.

  Returns:
    The rule; None for "trajectory", which is no rule between two ends.

  Raises:
    ValueError: If the argument is none of these.
  """
  if path_integral == "trajectory":
    return None
  if path_integral == "straight":
    return simpson(num_intervals)
  if isinstance(path_integral, PathIntegralRule):
    return path_integral
  if callable(path_integral):
    return PathIntegralRule(path_integral)
  raise ValueError(
    "path_integral must be 'straight' or 'trajectory', or a rule such as"
    f" mcmc.gauss_lobatto(4); got {path_integral!r}."
  )


def difference(
  rule: PathIntegralRule,
  score_fn: PartsFn,
  *,
  ends: PathEnds,
  analytic_log_prob_fn: collections.abc.Callable[..., tf.Tensor] | None = None,
) -> tf.Tensor:
  """Returns log p(end) - log p(start), of the shape of the chains.

  Args:
    rule: Rule for the part of the score that is not known in closed form.
    score_fn: Function of a list of state parts that returns their scores.
    ends: The ends of the path.
    analytic_log_prob_fn: None, or the part of the log-density that is known. Its change
      is exact, and the rule integrates the score of the rest alone.
  """
  if analytic_log_prob_fn is None:
    return rule(score_fn, ends)

  def rest(points, scores):
    known = tfp.math.value_and_gradient(analytic_log_prob_fn, list(points))[1]
    return [s - k for s, k in zip(scores, known)]

  change = rule(
    lambda points: rest(points, score_fn(points)),
    dataclasses.replace(
      ends,
      score_start=rest(ends.start, ends.score_start),
      score_end=rest(ends.end, ends.score_end),
    ),
  )
  return change + analytic_log_prob_fn(*ends.end) - analytic_log_prob_fn(*ends.start)


def parabola(
  points: collections.abc.Sequence[state_parts.Parts],
  scores: collections.abc.Sequence[state_parts.Parts],
) -> state_parts.Parts:
  """Returns the integrand over two leapfrog steps, without a further score evaluation.

  The path is the parabola through three consecutive points x0, x1, x2,

    [s0.(-3 x0 + 4 x1 - x2) + 4 s1.(x2 - x0) + s2.(x0 - 4 x1 + 3 x2)] / 6,

  written in differences of neighbours, which keep their precision in float32. The error
  is of fourth order.

  Args:
    points: Three lists of state parts.
    scores: Their scores, three lists.

  Returns:
    List of state parts, whose sum over an event is `log p(x2) - log p(x0)`.
  """

  def part(x0, x1, x2, s0, s1, s2):
    first, second = x1 - x0, x2 - x1
    return (
      s0 * (3 * first - second) + 4 * s1 * (first + second) + s2 * (3 * second - first)
    ) / 6

  return [part(*values) for values in zip(*points, *scores)]


def cubic(
  points: collections.abc.Sequence[state_parts.Parts],
  scores: collections.abc.Sequence[state_parts.Parts],
) -> state_parts.Parts:
  """Returns the integrand over three leapfrog steps, along the cubic through 4 points.

  Arguments and result are those of `parabola`, with four points. The error is of fourth
  order.
  """

  def part(x0, x1, x2, x3, *s):
    steps = (x1 - x0, x2 - x1, x3 - x2)
    return sum(
      score * sum(float(w) * step for w, step in zip(row, steps))
      for score, row in zip(s, _CUBIC_WEIGHTS)
    )

  return [part(*values) for values in zip(*points, *scores)]


def trapezium(
  points: collections.abc.Sequence[state_parts.Parts],
  scores: collections.abc.Sequence[state_parts.Parts],
) -> state_parts.Parts:
  """Returns the integrand over one leapfrog step along its chord.

  Arguments and result are those of `parabola`, with two points. It is exact for a
  Gaussian; on other targets the error is of second order.
  """

  def part(x0, x1, s0, s1):
    return 0.5 * (s0 + s1) * (x1 - x0)

  return [part(*values) for values in zip(*points, *scores)]


def _interpolation_weights(degree: int) -> np.ndarray:
  """Returns W[i, j], the integral of the i-th Lagrange polynomial times slope j.

  The path through the nodes 0..degree is x0 plus a sum over j: step j times the sum of
  the Lagrange polynomials of the nodes after it. Slope j is the derivative of that sum.
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


# The three-step analogue of the coefficients in `parabola`, computed at import.
_CUBIC_WEIGHTS = _interpolation_weights(3)


def _quadrature(nodes: np.ndarray, weights: np.ndarray) -> PathIntegralRule:
  """Returns the rule on the straight line with given nodes on [0, 1], ends included."""
  num_inner = len(nodes) - 2

  def integrate(score_fn, ends):
    change = [b - a for a, b in zip(ends.start, ends.end)]
    dtype = ends.start[0].dtype
    inner_nodes = tf.constant(nodes[1:-1], dtype)
    inner_weights = tf.constant(weights[1:-1], dtype)

    def add_node(index, mean):
      point = [
        a + tf.cast(inner_nodes[index], a.dtype) * c for a, c in zip(ends.start, change)
      ]
      scores = score_fn(point)
      weight = inner_weights[index]
      return index + 1, [m + tf.cast(weight, m.dtype) * s for m, s in zip(mean, scores)]

    # The loop adds up the mean score; the product with the path comes once, after it.
    mean = [
      float(weights[0]) * a + float(weights[-1]) * b
      for a, b in zip(ends.score_start, ends.score_end)
    ]
    if num_inner:
      _, mean = tf.while_loop(
        lambda index, _: index < num_inner,
        add_node,
        (0, mean),
        maximum_iterations=num_inner,
      )
    return ends.total([m * c for m, c in zip(mean, change)])

  return PathIntegralRule(integrate, num_inner)
