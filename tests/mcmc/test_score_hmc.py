"""`ScoreHamiltonianMonteCarlo`: against TFP's own kernel, and against exact draws."""

import functools

import numpy as np
import pytest
import score_targets
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc


# Any two of mode, chains, precision and rule meet in each of their combinations.
@pytest.mark.parametrize(
  "mode, chains, dtype, rule",
  [
    ("eager", (), "float32", "trajectory"),
    ("eager", (5,), "float64", "straight"),
    ("eager", (2, 3), "float64", "trajectory"),
    ("graph", (), "float64", "straight"),
    ("graph", (5,), "float32", "straight"),
    ("graph", (2, 3), "float64", "trajectory"),
    ("xla", (), "float64", "trajectory"),
    ("xla", (5,), "float64", "trajectory"),
    ("xla", (2, 3), "float32", "straight"),
  ],
)
def test_same_chain_as_tfp_on_a_gaussian(mode, chains, dtype, rule):
  log_prob, score = score_targets.gaussian(dtype)
  start = tf.random.stateless_normal([*chains, 3], (3, 4), dtype=dtype)
  num_steps, atol = (60, 1e-11) if dtype == "float64" else (15, 2e-3)
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
        trace_fn=score_targets.accepted_and_ratio,
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


@pytest.mark.parametrize("rule", score_targets.RULES)
def test_list_of_state_parts(rule):
  score = lambda x, y: [-x, -4 * y]
  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    score, [0.3, 0.15], num_leapfrog_steps=6, event_ndims=[1, 2], path_integral=rule
  )
  start = [tf.zeros([500, 2]), tf.zeros([500, 2, 2])]
  states = tf.function(
    lambda: tfp.mcmc.sample_chain(
      30, start, num_burnin_steps=10, kernel=kernel, trace_fn=None, seed=(1, 2)
    )
  )()
  assert isinstance(states, list) and states[1].shape == (30, 500, 2, 2)
  # The error of a variance from 500 chains is 2/sqrt(2 * 500 * 2..4 * few) < 3 %.
  np.testing.assert_allclose(np.var(states[0]), 1, rtol=0.1)
  np.testing.assert_allclose(np.var(states[1]), 0.25, rtol=0.1)


@pytest.mark.parametrize("rule", score_targets.RULES)
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


def _banana(x):
  first, second = x[..., 0], x[..., 1]
  curve = second - 0.3 * (first**2 - 1)
  return tf.stack([-first + 0.6 * first * curve, -curve], axis=-1)


def _lognormal_log_prob(log_field):
  return lambda x: (
    log_field.log_prob(tf.math.log1p(x))
    - tf.reduce_sum(tf.math.log1p(x), axis=(-2, -1))
  )


@pytest.mark.parametrize(
  "rule",
  ["trajectory", "straight", mcmc.gauss_lobatto(5)],
  ids=["trajectory", "simpson 4", "lobatto 5"],
)
@pytest.mark.parametrize("target", ["gaussian", "banana", "lognormal field"])
def test_exact_draws_keep_their_moments(rule, target, record_property):
  """Chains that start from the target keep its moments: a kernel's strongest test."""
  num_chains = 10000
  if target == "lognormal field":
    field = mcmc.FourierDiagonalNormal(0.1 * score_targets.power_spectrum(), (6, 8))
    start = tf.math.expm1(field.sample(num_chains, seed=(1, 2)))
    log_prob = _lognormal_log_prob(field)
    score = lambda x: tfp.math.value_and_gradient(log_prob, x)[1]
    settings = dict(step_size=0.045, num_leapfrog_steps=8, event_ndims=2)
  else:
    white = tf.random.stateless_normal([num_chains, 2], (1, 2), dtype=tf.float64)
    if target == "gaussian":
      start, score = white, lambda x: -x
      log_prob = lambda x: -0.5 * tf.reduce_sum(x**2, axis=-1)
    else:
      start = tf.stack(
        [white[:, 0], white[:, 1] + 0.3 * (white[:, 0] ** 2 - 1)], axis=-1
      )
      score = _banana
      log_prob = lambda x: (
        -0.5 * (x[..., 0] ** 2 + (x[..., 1] - 0.3 * (x[..., 0] ** 2 - 1)) ** 2)
      )
    settings = dict(step_size=0.5, num_leapfrog_steps=4, event_ndims=1)
  settings["step_size"] = tf.constant(settings["step_size"], tf.float64)
  kernel = mcmc.ScoreHamiltonianMonteCarlo(score, path_integral=rule, **settings)
  end, (accepted, difference, proposed) = tf.function(
    lambda: tfp.mcmc.sample_chain(
      15,
      start,
      kernel=kernel,
      seed=(3, 4),
      trace_fn=lambda _, r: (
        r.is_accepted,
        r.proposed_results.log_prob_difference,
        r.proposed_state,
      ),
    )
  )()
  exact = log_prob(proposed[1:]) - log_prob(end[:-1])
  inside = np.isfinite(exact) & np.isfinite(difference[1:])
  nats = float(np.sqrt(np.mean((difference[1:] - exact).numpy()[inside] ** 2)))
  record_property("quadrature_error_nats", nats)
  assert 0.5 < np.mean(accepted) < 1
  assert nats < (1e-9 if target == "gaussian" else 0.35)
  for power in (1, 2, 3):
    before, after = (tf.reshape(x, [num_chains, -1]) ** power for x in (start, end[-1]))
    error = np.sqrt(np.var(before, axis=0) * 2 / num_chains)
    shift = np.abs(np.mean(before, axis=0) - np.mean(after, axis=0)) / error
    # Up to 48 moments at once: beyond 4.5 in 1 of 3,000.
    assert shift.max() < 4.5, (power, nats, shift.max())


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
  # One at the start, then 4 leapfrog steps and 3 inner nodes each.
  np.testing.assert_array_equal(evaluations, [1 + 15 * 7] * 4)


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


def test_gradients_through_a_step_under_xla():
  kernel = score_targets.proposal_kernel(target_score_fn=lambda x: -x, step_size=0.1)

  @tf.function(jit_compile=True)
  def gradient(x):
    with tf.GradientTape() as tape:
      tape.watch(x)
      end, _ = score_targets.one_step(kernel, x)
      value = tf.reduce_sum(end)
    return tape.gradient(value, x)

  # On a unit normal six leapfrog steps of 0.1 rotate by close to 0.6 radians.
  np.testing.assert_allclose(gradient(tf.ones([3])), np.cos(0.6), atol=2e-3)


def test_tuples_stay_tuples():
  kernel = score_targets.proposal_kernel(
    target_score_fn=lambda x, y: (-x, -y), step_size=0.1
  )
  state = (tf.zeros([4, 2]), tf.ones([4, 3]))
  end, _ = score_targets.one_step(kernel, state)
  assert isinstance(end, tuple) and end[1].shape == (4, 3)


def test_a_score_that_is_no_gradient_does_not_crash():
  """No density has a rotating score; the chain stays finite all the same."""
  swirl = tf.constant([[-1.0, 1.5], [-1.5, -1.0]])
  for rule in ("straight", "trajectory"):
    kernel = mcmc.ScoreHamiltonianMonteCarlo(
      lambda x: tf.linalg.matvec(swirl, x) + tf.sin(3 * x[..., ::-1]),
      0.3,
      num_leapfrog_steps=4,
      event_ndims=1,
      path_integral=rule,
    )
    states, ratio = score_targets.run(
      functools.partial(
        tfp.mcmc.sample_chain,
        100,
        tf.ones([20, 2]),
        kernel=kernel,
        seed=(1, 2),
        trace_fn=lambda _, r: r.log_accept_ratio,
      ),
      "graph",
    )
    assert np.isfinite(states).all() and not np.isnan(ratio).any()
    assert np.abs(states).max() < 50


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


@pytest.mark.parametrize("integrator", ["leapfrog", "split"])
def test_the_shape_of_the_step_size_may_be_unknown(integrator):
  @tf.function(input_signature=[tf.TensorSpec(None, tf.float32)])
  def sample(step_size):
    kernel = mcmc.ScoreHamiltonianMonteCarlo(
      lambda x: -x,
      step_size,
      num_leapfrog_steps=3,
      event_ndims=1,
      integrator=integrator,
      gaussian_mean=0.5,
      path_integral="trajectory",
    )
    return tfp.mcmc.sample_chain(
      3, tf.zeros([4, 2]), kernel=kernel, seed=(1, 2), trace_fn=None
    )

  one, each = sample(tf.constant(0.3)), sample(tf.fill([4, 1], 0.3))
  assert one.shape == (3, 4, 2)
  np.testing.assert_allclose(one, each, atol=1e-6)
