"""Rules for the path integral of a score."""

import numpy as np
import pytest
import score_targets
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc
from tfp_massmap.mcmc import path_integral


def _quartic_log_prob(x):
  """Returns the log-density of a tilted double well in coupled coordinates."""
  return tf.reduce_sum(-0.25 * x**4 + 0.5 * x**2 + 0.3 * x, axis=-1) - 0.5 * tf.square(
    tf.reduce_sum(x, axis=-1)
  )


def _quartic_score(x):
  return tfp.math.value_and_gradient(_quartic_log_prob, x)[1]


@pytest.mark.parametrize("rule", score_targets.RULES)
def test_path_integral_of_one_proposal_on_a_non_gaussian_target(rule):
  kernel = mcmc.ScoreUncalibratedHamiltonianMonteCarlo(
    _quartic_score,
    tf.constant(0.1, tf.float64),
    num_leapfrog_steps=10,
    event_ndims=1,
    path_integral=rule,
    num_intervals=8,
  )
  start = 0.6 * tf.random.stateless_normal([200, 4], (5, 6), dtype=tf.float64)
  end, results = kernel.one_step(start, kernel.bootstrap_results(start), seed=(1, 2))
  exact = _quartic_log_prob(end) - _quartic_log_prob(start)
  assert np.std(exact) > 0.5
  np.testing.assert_allclose(results.log_prob_difference, exact, atol=0.02)


def _total(values):
  return tf.add_n([tf.reduce_sum(value, axis=-1) for value in values])


def _along_line(rule, score, start, end):
  ends = mcmc.PathEnds(
    [start],
    [end],
    score_start=[score(start)],
    score_end=[score(end)],
    total=_total,
  )
  return rule(lambda parts: [score(parts[0])], ends)


def _straight(score, start, end, num_intervals):
  return _along_line(path_integral.simpson(num_intervals), score, start, end)


def test_straight_line_is_antisymmetric_and_of_fourth_order():
  start, end = tf.unstack(
    0.8 * tf.random.stateless_normal([2, 50, 4], (7, 8), dtype=tf.float64)
  )
  score = lambda x: tf.cos(2 * x) * tf.exp(tf.sin(x))
  forward = _straight(score, start, end, 4)
  np.testing.assert_allclose(_straight(score, end, start, 4), -forward, rtol=1e-12)
  exact = _straight(score, start, end, 512)
  errors = [
    np.sqrt(np.mean((_straight(score, start, end, n) - exact) ** 2))
    for n in (16, 32, 64)
  ]
  order = np.log2(np.array(errors[:-1]) / errors[1:])
  np.testing.assert_allclose(order, 4, atol=0.3)


def _leapfrog(x, m, step, num_steps):
  points, scores = [x], [_quartic_score(x)]
  for _ in range(num_steps):
    m = m + 0.5 * step * scores[-1]
    points.append(points[-1] + step * m)
    scores.append(_quartic_score(points[-1]))
    m = m + 0.5 * step * scores[-1]
  return points, scores


def _along(points, scores):
  return sum(
    _total(
      path_integral.parabola(
        [[p] for p in points[i : i + 3]], [[s] for s in scores[i : i + 3]]
      )
    )
    for i in range(0, len(points) - 1, 2)
  )


def test_trajectory_is_antisymmetric_and_of_fourth_order():
  x, m = tf.unstack(
    0.5 * tf.random.stateless_normal([2, 50, 4], (9, 8), dtype=tf.float64)
  )
  errors = []
  for num_steps in (8, 16, 32):
    points, scores = _leapfrog(x, m, 1.6 / num_steps, num_steps)
    forward = _along(points, scores)
    np.testing.assert_allclose(
      _along(points[::-1], scores[::-1]), -forward, rtol=1e-9, atol=1e-12
    )
    exact = _quartic_log_prob(points[-1]) - _quartic_log_prob(points[0])
    errors.append(np.sqrt(np.mean((forward - exact) ** 2)))
  order = np.log2(np.array(errors[:-1]) / errors[1:])
  np.testing.assert_allclose(order, 4, atol=0.4)


def test_gauss_lobatto_is_exact_for_polynomials_and_beats_simpson():
  start, end = tf.constant([[0.3]], tf.float64), tf.constant([[1.7]], tf.float64)
  for num_nodes in (2, 3, 4, 5, 7):
    degree = 2 * num_nodes - 3
    rule = mcmc.gauss_lobatto(num_nodes)
    value = _along_line(rule, lambda x, degree=degree: x**degree, start, end)
    exact = (1.7 ** (degree + 1) - 0.3 ** (degree + 1)) / (degree + 1)
    np.testing.assert_allclose(value, [exact], rtol=1e-12)
  start = score_targets.rippled_start(300)
  simpson = score_targets.quadrature_error(
    score_targets.proposal_kernel(num_intervals=4, num_leapfrog_steps=4), start
  )
  lobatto = score_targets.quadrature_error(
    score_targets.proposal_kernel(
      path_integral=mcmc.gauss_lobatto(4), num_leapfrog_steps=4
    ),
    start,
  )
  # The Gauss-Lobatto rule makes two evaluations, and Simpson's three.
  assert lobatto < simpson


def test_evaluations_of_the_rules():
  for rule, count in [
    ("trajectory", 6),
    ("straight", 6 + 3),
    (mcmc.simpson(8), 6 + 7),
    (mcmc.gauss_lobatto(4), 6 + 2),
  ]:
    _, results = score_targets.one_step(
      score_targets.proposal_kernel(path_integral=rule), score_targets.rippled_start(2)
    )
    np.testing.assert_array_equal(results.num_score_evaluations, [1 + count] * 2)


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_trajectory_rule_is_free(mode):
  _, score = score_targets.gaussian("float32")
  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    score, 0.5, num_leapfrog_steps=6, event_ndims=1, path_integral="trajectory"
  )
  results = score_targets.run(
    lambda: (
      tfp.mcmc.sample_chain(
        3,
        tf.ones([2, 3]),
        kernel=kernel,
        seed=(1, 2),
        trace_fn=None,
        return_final_kernel_results=True,
      ).final_kernel_results.num_score_evaluations
    ),
    mode,
  )
  np.testing.assert_array_equal(results, [1 + 3 * 6] * 2)


@pytest.mark.parametrize("counted", [False, True])
def test_a_rule_of_ones_own(counted):
  """A plain function is a rule; `PathIntegralRule` also counts its evaluations."""

  def midpoint(score_fn, ends):
    middle = [0.5 * (a + b) for a, b in zip(ends.start, ends.end)]
    return ends.total(
      [s * (b - a) for s, a, b in zip(score_fn(middle), ends.start, ends.end)]
    )

  rule = mcmc.PathIntegralRule(midpoint, 1) if counted else midpoint
  end, results = score_targets.one_step(
    score_targets.proposal_kernel(path_integral=rule), score_targets.rippled_start(3)
  )
  middle = 0.5 * (score_targets.rippled_start(3) + end)
  expected = tf.reduce_sum(
    score_targets.rippled_score(middle) * (end - score_targets.rippled_start(3)),
    axis=-1,
  )
  np.testing.assert_allclose(results.log_prob_difference, expected)
  np.testing.assert_array_equal(results.num_score_evaluations, [7 + counted] * 3)


@pytest.mark.parametrize("rule", ["straight", "trajectory", mcmc.gauss_lobatto(3)])
def test_only_the_rest_of_an_analytic_part_is_integrated(rule):
  start = score_targets.rippled_start(200, scale=0.8)
  settings = dict(num_leapfrog_steps=4, step_size=tf.constant(0.25, tf.float64))
  plain = score_targets.quadrature_error(
    score_targets.proposal_kernel(path_integral=rule, **settings), start
  )
  # The rest is Gaussian, and every rule is exact for it.
  split = score_targets.quadrature_error(
    score_targets.proposal_kernel(
      path_integral=rule, analytic_log_prob_fn=score_targets.ripples, **settings
    ),
    start,
  )
  assert split < 1e-10 < plain
