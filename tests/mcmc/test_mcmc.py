"""Score-only kernels: TFP's own kernel as oracle, invariance, path integrals."""

import functools

import numpy as np
import pytest
import score_targets
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc
from tfp_massmap.mcmc import path_integral

tfd = tfp.distributions

RULES = ["straight", "trajectory"]


def _quartic_log_prob(x):
  """Not Gaussian, not symmetric: a double well tilted and coupled."""
  return tf.reduce_sum(-0.25 * x**4 + 0.5 * x**2 + 0.3 * x, axis=-1) - 0.5 * tf.square(
    tf.reduce_sum(x, axis=-1)
  )


def _quartic_score(x):
  return tfp.math.value_and_gradient(_quartic_log_prob, x)[1]


def _trace(_, results):
  return results.is_accepted, results.log_accept_ratio


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("mode", score_targets.MODES)
@pytest.mark.parametrize("dtype, atol", [("float64", 1e-11), ("float32", 2e-3)])
@pytest.mark.parametrize("chains", [(), (5,), (2, 3)])
def test_same_chain_as_tfp_on_a_gaussian(rule, mode, dtype, atol, chains):
  log_prob, score = score_targets.gaussian(dtype)
  start = tf.random.stateless_normal([*chains, 3], (3, 4), dtype=dtype)
  num_steps = 60 if dtype == "float64" else 15
  step_size = tf.constant(0.6, dtype)
  ours = mcmc.ScoreHamiltonianMonteCarlo(
    score, step_size, num_leapfrog_steps=4, event_ndims=1, path_integral=rule
  )
  theirs = tfp.mcmc.HamiltonianMonteCarlo(log_prob, step_size, 4)
  results = [
    score_targets.run(
      functools.partial(
        tfp.mcmc.sample_chain,
        num_steps,
        start,
        kernel=kernel,
        trace_fn=_trace,
        seed=(1, 2),
      ),
      mode,
    )
    for kernel in (ours, theirs)
  ]
  (states, (accepted, ratio)), (tfp_states, (tfp_accepted, tfp_ratio)) = results
  np.testing.assert_array_equal(accepted, tfp_accepted)
  np.testing.assert_allclose(states, tfp_states, atol=atol)
  np.testing.assert_allclose(ratio, tfp_ratio, atol=atol)
  if dtype == "float64" and chains:
    assert 0 < np.mean(accepted) < 1


@pytest.mark.parametrize("rule", RULES)
def test_list_of_state_parts(rule):
  score = lambda x, y: [-x, -4 * y]
  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    score, [0.3, 0.15], num_leapfrog_steps=6, event_ndims=[1, 2], path_integral=rule
  )
  start = [tf.zeros([500, 2]), tf.zeros([500, 2, 2])]
  states = tfp.mcmc.sample_chain(
    30, start, num_burnin_steps=10, kernel=kernel, trace_fn=None, seed=(1, 2)
  )
  assert isinstance(states, list) and states[1].shape == (30, 500, 2, 2)
  # 500 chains: the std of a variance is 2/sqrt(2 * 500 * 2..4 * few) < 3 %; 5 sigma.
  np.testing.assert_allclose(np.var(states[0]), 1, rtol=0.1)
  np.testing.assert_allclose(np.var(states[1]), 0.25, rtol=0.1)


@pytest.mark.parametrize("rule", RULES)
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
  return rule(
    lambda parts: [score(parts[0])],
    [start],
    [end],
    [score(start)],
    [score(end)],
    _total,
  )


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


@pytest.mark.parametrize("rule", RULES)
def test_exact_draws_keep_their_distribution(rule):
  """Chains that start from the target still have its moments after many steps."""
  grid = np.linspace(-4, 4, 20001)
  density = np.exp(-0.25 * grid**4 + 0.5 * grid**2 + 0.3 * grid)
  cumulative = np.cumsum(density) / density.sum()
  num_chains = 20000
  uniform = np.random.default_rng(0).uniform(size=(num_chains, 2))
  start = tf.constant(np.interp(uniform, cumulative, grid))
  # The coupling of the other tests is left out, so that exact draws are easy.
  score = lambda x: -(x**3) + x + 0.3
  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    score,
    tf.constant(0.45, tf.float64),
    num_leapfrog_steps=4,
    event_ndims=1,
    path_integral=rule,
    num_intervals=8,
  )
  end, accepted = tf.function(
    lambda: tfp.mcmc.sample_chain(
      40, start, kernel=kernel, trace_fn=lambda _, r: r.is_accepted, seed=(3, 4)
    )
  )()
  assert 0.5 < np.mean(accepted) < 0.99  # the test has work to do
  for power in (1, 2, 3, 4):
    expected = np.sum(density * grid**power) / density.sum()
    spread = np.sum(density * grid ** (2 * power)) / density.sum() - expected**2
    error = np.sqrt(spread / (2 * num_chains))
    # Four moments, two rules: beyond 4 sigma in 1 of 2,000 runs.
    assert abs(np.mean(end[-1] ** power) - expected) < 4 * error, power


def test_without_the_metropolis_test_the_moments_would_be_wrong():
  """The invariance test can fail: leapfrog alone is off by many sigma."""
  start = tf.random.stateless_normal([20000, 2], (1, 1), dtype=tf.float64)
  kernel = mcmc.ScoreUncalibratedHamiltonianMonteCarlo(
    lambda x: -x, tf.constant(1.5, tf.float64), num_leapfrog_steps=2, event_ndims=1
  )
  with pytest.warns(UserWarning, match="not calibrated"):
    end = tfp.mcmc.sample_chain(40, start, kernel=kernel, trace_fn=None, seed=(3, 4))
  assert np.var(end[-1]) > 1.2


def _mass(shape, dtype=tf.float64):
  rng = np.random.default_rng(0)
  half = rng.uniform(0.5, 4.0, (shape[0], shape[1] // 2 + 1))
  # The columns k1 = 0 and Nyquist must be symmetric for a real field.
  columns = [0] + ([-1] if shape[1] % 2 == 0 else [])
  for column in columns:
    half[1:, column] = 0.5 * (half[1:, column] + half[1:, column][::-1])
  return mcmc.FourierDiagonalNormal(tf.constant(half, dtype), shape)


@pytest.mark.parametrize("shape", [(4, 6), (5, 7), (4, 5)])
def test_fourier_diagonal_normal_against_a_dense_one(shape):
  distribution = _mass(shape)
  size = int(np.prod(shape))
  basis = np.eye(size).reshape(size, *shape)
  precision = distribution.velocity(basis).numpy().reshape(size, size)
  np.testing.assert_allclose(precision, precision.T, atol=1e-12)
  dense = tfd.MultivariateNormalFullCovariance(
    tf.zeros(size, tf.float64), np.linalg.inv(precision)
  )
  x = np.random.default_rng(1).standard_normal((3, *shape))
  np.testing.assert_allclose(
    distribution.log_prob(x), dense.log_prob(x.reshape(3, size)), rtol=1e-9
  )
  draws = distribution.sample(40000, seed=(1, 2)).numpy().reshape(-1, size)
  covariance = draws.T @ draws / len(draws)
  # Entries are off by about variance / sqrt(40,000) = 2 %; the worst of 1,225 by 5.
  np.testing.assert_allclose(covariance, np.linalg.inv(precision), atol=0.1)


def test_mass_matrix_of_the_wrong_layout_is_refused():
  with pytest.raises(ValueError, match=r"must end in \(4, 4\)"):
    mcmc.FourierDiagonalNormal(tf.ones([4, 6]), (4, 6))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("mode", score_targets.MODES)
def test_preconditioned_chains_have_the_targets_covariance(rule, mode):
  """The mass matrix changes the path, not the target."""
  shape = (4, 6)
  mass = _mass(shape)
  # A target whose precision is twice the mass: the same frequency for every mode.
  inverse = mcmc.FourierDiagonalNormal(1 / mass.mode_variance, shape)
  score = lambda x: -2.0 * inverse.velocity(x)
  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    score,
    tf.constant(0.25, tf.float64),
    num_leapfrog_steps=4,
    event_ndims=2,
    path_integral=rule,
    momentum_distribution=mass,
  )
  start = tf.zeros([400, *shape], tf.float64)
  states = score_targets.run(
    lambda: tfp.mcmc.sample_chain(
      100, start, num_burnin_steps=20, kernel=kernel, trace_fn=None, seed=(1, 2)
    ),
    mode,
  )
  modes = np.fft.rfft2(states, norm="ortho")
  ratio = np.mean(np.abs(modes) ** 2, axis=(0, 1)) * 2 * mass.mode_variance
  # 40,000 nearly independent draws of one or two numbers a mode: 0.7 %; 5 sigma.
  np.testing.assert_allclose(ratio, 1, atol=0.035)


def test_any_distribution_does_as_momentum():
  log_prob, score = score_targets.gaussian("float64")
  del log_prob
  scale = np.linalg.cholesky(score_targets.PRECISION)
  momentum = tfd.MultivariateNormalTriL(tf.zeros(3, tf.float64), scale)
  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    score,
    tf.constant(0.5, tf.float64),
    num_leapfrog_steps=4,
    event_ndims=1,
    momentum_distribution=momentum,
  )
  states = tf.function(
    lambda: tfp.mcmc.sample_chain(
      100,
      tf.zeros([300, 3], tf.float64),
      num_burnin_steps=20,
      kernel=kernel,
      trace_fn=None,
      seed=(1, 2),
    )
  )()
  flat = states.numpy().reshape(-1, 3)
  covariance = flat.T @ flat / len(flat)
  np.testing.assert_allclose(
    covariance, np.linalg.inv(score_targets.PRECISION), atol=0.06
  )


def test_seeds_reproduce_bit_for_bit_and_chains_resume():
  _, score = score_targets.gaussian("float32")
  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    score, 0.5, num_leapfrog_steps=4, event_ndims=1
  )
  sample = functools.partial(
    tfp.mcmc.sample_chain,
    kernel=kernel,
    trace_fn=None,
    return_final_kernel_results=True,
  )
  start = tf.ones([4, 3])
  first, second = (sample(10, start, seed=(1, 2)) for _ in range(2))
  np.testing.assert_array_equal(first.all_states, second.all_states)
  resumed = sample(
    5,
    first.all_states[-1],
    previous_kernel_results=first.final_kernel_results,
    seed=(5, 6),
  )
  fresh = sample(5, first.all_states[-1], seed=(5, 6))
  np.testing.assert_allclose(resumed.all_states, fresh.all_states, atol=1e-6)
  evaluations = resumed.final_kernel_results.num_score_evaluations
  # 1 at the start, then 4 leapfrog steps and 3 inner nodes each.
  np.testing.assert_array_equal(evaluations, [1 + 15 * 7] * 4)


@pytest.mark.parametrize("mode", score_targets.MODES)
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


@pytest.mark.parametrize("rule", RULES)
def test_not_a_number_and_infinity_are_rejected(rule):
  """A chain never enters the region where its score breaks down."""

  def score(x):
    bad = tf.where(x > 1.5, np.nan, np.inf) * tf.ones_like(x)
    return tf.where(tf.abs(x) > 1, bad, -x)

  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    score, 0.5, num_leapfrog_steps=4, event_ndims=1, path_integral=rule
  )
  states, (accepted, ratio) = tfp.mcmc.sample_chain(
    50, tf.zeros([20, 1]), kernel=kernel, trace_fn=_trace, seed=(1, 2)
  )
  assert np.abs(states).max() <= 1
  assert not np.isnan(ratio).any()
  assert 0 < np.mean(accepted) < 1


@pytest.mark.parametrize(
  "adaptation",
  [tfp.mcmc.SimpleStepSizeAdaptation, tfp.mcmc.DualAveragingStepSizeAdaptation],
)
def test_step_size_adaptation_reaches_its_target(adaptation):
  kernel = adaptation(
    mcmc.ScoreHamiltonianMonteCarlo(
      lambda x: -x,
      0.01,
      num_leapfrog_steps=4,
      event_ndims=1,
      path_integral="trajectory",
    ),
    num_adaptation_steps=400,
    target_accept_prob=0.8,
  )
  ratio = tf.function(
    lambda: tfp.mcmc.sample_chain(
      500,
      tf.zeros([50, 30]),
      kernel=kernel,
      seed=(1, 2),
      trace_fn=lambda _, r: r.inner_results.log_accept_ratio,
    )[1]
  )()
  acceptance = np.exp(np.minimum(ratio[-100:], 0)).mean()
  assert abs(acceptance - 0.8) < 0.1


def test_copy_changes_one_parameter():
  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    lambda x: -x, 0.1, num_leapfrog_steps=4, event_ndims=1
  )
  other = kernel.copy(step_size=0.7)
  assert other.parameters["step_size"] == 0.7
  assert kernel.parameters["step_size"] == 0.1
  assert other.parameters["num_leapfrog_steps"] == 4
  assert kernel.is_calibrated and not kernel.inner_kernel.is_calibrated


def test_gradients_stop_on_request():
  def end(start, stopped):
    kernel = mcmc.ScoreUncalibratedHamiltonianMonteCarlo(
      lambda x: -x,
      0.1,
      num_leapfrog_steps=2,
      event_ndims=1,
      state_gradients_are_stopped=stopped,
    )
    return kernel.one_step(start, kernel.bootstrap_results(start), seed=(1, 2))[0]

  start = tf.ones([3])
  for stopped in (True, False):
    with tf.GradientTape() as tape:
      tape.watch(start)
      value = tf.reduce_sum(end(start, stopped))
    assert (tape.gradient(value, start) is None) == stopped


@pytest.mark.parametrize(
  "changes, message",
  [
    (dict(path_integral="simpson"), "'straight' or 'trajectory'"),
    (dict(num_intervals=3), "even and at least 2"),
    (dict(num_leapfrog_steps=0), "positive"),
    (dict(num_leapfrog_steps=(3, 2)), "smallest, largest"),
    (dict(num_leapfrog_steps=None), "num_leapfrog_steps is missing"),
    (dict(step_size=None), "step_size is missing"),
    (dict(integrator="euler"), "'leapfrog' or 'split'"),
    (dict(event_ndims=None), "number of axes of one event"),
    (dict(target_score_fn=None), "callable"),
  ],
)
def test_wrong_arguments(changes, message):
  arguments = dict(
    target_score_fn=lambda x: -x, step_size=0.1, num_leapfrog_steps=4, event_ndims=1
  )
  with pytest.raises(ValueError, match=message):
    mcmc.ScoreHamiltonianMonteCarlo(**{**arguments, **changes})


def test_wrong_states_and_scores():
  start = tf.zeros([5, 3])

  def bootstrap(score, **changes):
    arguments = dict(step_size=0.1, num_leapfrog_steps=4, event_ndims=1)
    kernel = mcmc.ScoreHamiltonianMonteCarlo(score, **{**arguments, **changes})
    state = [start, start] if changes.pop("two", False) else start
    return kernel.one_step(state, kernel.bootstrap_results(state), seed=(0, 0))

  with pytest.raises(ValueError, match="For a log-density use tfp.mcmc"):
    bootstrap(lambda x: -0.5 * tf.reduce_sum(x**2, axis=-1))
  with pytest.raises(ValueError, match="one score per state part"):
    bootstrap(lambda x: [x, x])
  with pytest.raises(ValueError, match="more than the 2 axes"):
    bootstrap(lambda x: -x, event_ndims=3)
  with pytest.raises(ValueError, match="event_ndims has 2 entries for 1"):
    bootstrap(lambda x: -x, event_ndims=[1, 1])
  with pytest.raises(ValueError, match="2 values of step_size for 1"):
    bootstrap(lambda x: -x, step_size=[0.1, 0.2])
  with pytest.raises(ValueError, match="momentum_distribution has 2 entries"):
    bootstrap(lambda x: -x, momentum_distribution=[None, None])


def _tempered(cooling=0.5, min_steps=3, min_sigma=0.2, initial_sigma=1.0):
  """Unit normal smoothed by sigma, N(0, 1 + sigma^2)."""
  return mcmc.TemperedMC(
    lambda x, sigma: -x / (1 + sigma**2)[:, tf.newaxis],
    lambda score, sigma: mcmc.ScoreHamiltonianMonteCarlo(
      score,
      0.5 * tf.sqrt(1 + sigma**2)[:, tf.newaxis],
      num_leapfrog_steps=4,
      event_ndims=1,
      path_integral="trajectory",
    ),
    initial_sigma=initial_sigma,
    min_sigma=min_sigma,
    cooling=cooling,
    min_steps=min_steps,
  )


@pytest.mark.parametrize("mode", score_targets.MODES)
def test_cooling_schedule_and_evaluation_count(mode):
  sigma, steps, evaluations = score_targets.run(
    lambda: tfp.mcmc.sample_chain(
      12,
      tf.ones([2, 3]),
      kernel=_tempered(initial_sigma=[1.0, 0.3]),
      seed=(1, 2),
      trace_fn=lambda _, r: (r.sigma, r.num_steps_at_sigma, r.num_score_evaluations),
    )[1],
    mode,
  )
  first = [1.0] * 3 + [0.5] * 3 + [0.25] * 3 + [0.2] * 3
  second = [0.3] * 3 + [0.2] * 9
  np.testing.assert_allclose(sigma, np.stack([first, second], axis=1), rtol=1e-6)
  np.testing.assert_array_equal(steps[:, 0], [1, 2, 3] * 4)
  np.testing.assert_array_equal(steps[:, 1], [1, 2, 3, *range(1, 10)])
  # One at the start, four a step, one more whenever a chain cools.
  np.testing.assert_array_equal(
    evaluations[:, 0], [1 + 4 * (n + 1) + min(n // 3, 3) for n in range(12)]
  )


def test_cooled_chains_reach_the_target():
  kernel = _tempered(cooling=0.7, min_sigma=0.01)
  states = tf.function(
    lambda: tfp.mcmc.sample_chain(
      60,
      tf.random.stateless_normal([3000, 2], (1, 1)),
      kernel=kernel,
      trace_fn=None,
      seed=(1, 2),
    )
  )()
  # 6,000 numbers: 1.8 %; 4 sigma.
  np.testing.assert_allclose(np.var(states[-1]), 1, rtol=0.075)


def test_target_at_the_new_temperature_is_used_at_once():
  """The score kept from the last step is thrown away when sigma changes."""
  kernel = _tempered(cooling=0.1, min_steps=1, min_sigma=0.1)
  state = tf.ones([1, 1])
  results = kernel.bootstrap_results(state)
  state, results = kernel.one_step(state, results, seed=(1, 2))
  at_old = -state / 2
  np.testing.assert_allclose(
    results.inner_results.accepted_results.grads_target_log_prob[0],
    at_old,
    rtol=1e-6,
  )
  state, results = kernel.one_step(state, results, seed=(1, 3))
  np.testing.assert_allclose(results.sigma, [0.1])
  np.testing.assert_allclose(
    results.inner_results.accepted_results.grads_target_log_prob[0],
    -state / 1.01,
    rtol=1e-6,
  )


@pytest.mark.parametrize("mode", score_targets.MODES)
def test_given_ladder_and_the_ratio_of_its_moves(mode):
  kernel = mcmc.TemperedMC(
    lambda x, sigma: -x / (1 + sigma**2)[:, tf.newaxis],
    lambda score, sigma: mcmc.ScoreHamiltonianMonteCarlo(
      score, 0.5, num_leapfrog_steps=4, event_ndims=1, path_integral="trajectory"
    ),
    sigmas=[2.0, 1.0, 0.5],
    min_steps=2,
  )
  sigma, move, ratio = score_targets.run(
    lambda: tfp.mcmc.sample_chain(
      7,
      tf.ones([3, 2]),
      kernel=kernel,
      seed=(1, 2),
      trace_fn=lambda _, r: (
        r.sigma,
        r.move_log_accept_ratio,
        r.inner_results.log_accept_ratio,
      ),
    )[1],
    mode,
  )
  np.testing.assert_allclose(sigma[:, 0], [2, 2, 1, 1, 0.5, 0.5, 0.5])
  assert np.isnan(move[:2]).all()
  np.testing.assert_array_equal(move[2], ratio[2])
  np.testing.assert_array_equal(move[3], ratio[2])
  np.testing.assert_array_equal(move[6], ratio[4])


@pytest.mark.parametrize("mode", score_targets.MODES)
def test_chains_that_cool_are_moved(mode):
  """Chains that are due, and no others, start the next sigma where `move_fn` puts them.

  With steps of no length the state shows the moves alone; the inner kernel's score must
  be that of the moved state.
  """
  kernel = mcmc.TemperedMC(
    lambda x, y, sigma: [-x / (1 + sigma**2)[:, tf.newaxis], -y],
    lambda score, sigma: mcmc.ScoreHamiltonianMonteCarlo(
      score, 0.0, num_leapfrog_steps=2, event_ndims=[1, 0], path_integral="trajectory"
    ),
    initial_sigma=[1.0, 0.25],
    min_sigma=0.25,
    cooling=0.5,
    min_steps=2,
    move_fn=lambda x, y, sigma, next_sigma: [
      x * (next_sigma / sigma)[:, tf.newaxis],
      y + 1,
    ],
  )
  assert kernel.copy().parameters["move_fn"] is kernel.parameters["move_fn"]
  (x, y), score = score_targets.run(
    lambda: tfp.mcmc.sample_chain(
      6,
      [tf.ones([2, 3]), tf.zeros([2])],
      kernel=kernel,
      seed=(1, 2),
      trace_fn=lambda _, r: r.inner_results.accepted_results.grads_target_log_prob[0],
    ),
    mode,
  )
  np.testing.assert_allclose(x[:, 0, 0], [1, 1, 0.5, 0.5, 0.25, 0.25], rtol=1e-6)
  np.testing.assert_allclose(y[:, 0], [0, 0, 1, 1, 2, 2])
  np.testing.assert_array_equal(x[:, 1], 1)
  np.testing.assert_array_equal(y[:, 1], 0)
  np.testing.assert_allclose(score[2, 0], -0.5 / 1.25 * np.ones(3), rtol=1e-6)


def test_moves_to_other_shapes_are_refused():
  for wrong in (lambda x, *_: x[..., :1], lambda x, *_: [x, x]):
    kernel = mcmc.TemperedMC(
      lambda x, sigma: -x,
      lambda score, sigma: mcmc.ScoreHamiltonianMonteCarlo(
        score, 0.1, num_leapfrog_steps=2, event_ndims=1
      ),
      sigmas=[1.0, 0.5],
      min_steps=1,
      move_fn=wrong,
    )
    with pytest.raises(ValueError, match=r"must return state parts of shapes .*2, 3"):
      tfp.mcmc.sample_chain(
        2, tf.ones([2, 3]), kernel=kernel, trace_fn=None, seed=(1, 2)
      )


def test_bad_schedules():
  with pytest.raises(ValueError, match="positive and falling"):
    mcmc.TemperedMC(None, None, sigmas=[1.0, 2.0])
  with pytest.raises(ValueError, match="Give either the ladder sigmas"):
    mcmc.TemperedMC(None, None, initial_sigma=1.0)
  with pytest.raises(ValueError, match="Give either|takes the place"):
    mcmc.TemperedMC(None, None, initial_sigma=1.0, sigmas=[1.0, 0.5])
  with pytest.raises(ValueError, match="initial_sigma not below it"):
    _tempered(initial_sigma=0.1)
  with pytest.raises(ValueError, match=r"must lie in \(0, 1\); got 1.2"):
    _tempered(cooling=1.2)
  with pytest.raises(ValueError, match="min_steps must be at least 1"):
    _tempered(min_steps=0)
