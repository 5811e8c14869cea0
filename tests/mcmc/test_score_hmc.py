"""Quadratures, integrators, mass matrices and step numbers of ScoreHamiltonianMonteCarlo."""

import functools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc
from tfp_massmap.mcmc import integrators

tfd = tfp.distributions


def _log_prob(x):
  """Not Gaussian, not a polynomial, not symmetric, coupled."""
  return _ripples(x) - 0.5 * tf.square(tf.reduce_sum(x, axis=-1))


def _ripples(x):
  return tf.reduce_sum(-0.25 * x**4 + 0.3 * tf.sin(3 * x), axis=-1)


def _score(x):
  return tfp.math.value_and_gradient(_log_prob, x)[1]


def _start(num_chains=100, seed=(5, 6), scale=0.6):
  return scale * tf.random.stateless_normal([num_chains, 4], seed, dtype=tf.float64)


def _kernel(**changes):
  arguments = dict(
    target_score_fn=_score,
    step_size=tf.constant(0.1, tf.float64),
    num_leapfrog_steps=6,
    event_ndims=1,
  )
  return mcmc.ScoreUncalibratedHamiltonianMonteCarlo(**{**arguments, **changes})


def _one_step(kernel, start, seed=(1, 2)):
  return kernel.one_step(start, kernel.bootstrap_results(start), seed=seed)


def _error(kernel, start, seed=(1, 2)):
  """Root mean square error of the path integral, in nats."""
  end, results = _one_step(kernel, start, seed)
  exact = _log_prob(end) - _log_prob(start)
  return float(np.sqrt(np.mean((results.log_prob_difference - exact) ** 2)))


@pytest.mark.parametrize("num_steps", [1, 2, 3, 4, 5, 7, 8])
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_trajectory_rule_of_any_number_of_steps(num_steps, dynamic, jit_compile):
  """Exact for a Gaussian, whether the number is known or a tensor."""
  precision = tf.constant([0.5, 1.0, 2.0, 4.0], tf.float64)
  start = _start(20)

  @tf.function(jit_compile=jit_compile)
  def run(count):
    kernel = _kernel(
      target_score_fn=lambda x: -precision * x,
      step_size=tf.constant(0.4, tf.float64),
      num_leapfrog_steps=count if dynamic else num_steps,
      path_integral="trajectory",
    )
    end, results = _one_step(kernel, start)
    return end, results.log_prob_difference, results.num_score_evaluations

  end, difference, evaluations = run(tf.constant(num_steps))
  exact = -0.5 * tf.reduce_sum(precision * (end**2 - start**2), axis=-1)
  np.testing.assert_allclose(difference, exact, atol=1e-12)
  np.testing.assert_array_equal(evaluations, [1 + num_steps] * 20)


@pytest.mark.parametrize("num_steps", [1, 3, 4, 5, 7])
def test_trajectory_rule_is_antisymmetric(num_steps):
  """Back along the same path with the momentum turned: minus the same number."""
  parts = [_start(30)]
  momentum = [tf.random.stateless_normal([30, 4], (7, 8), dtype=tf.float64)]
  steps = [tf.constant(0.2, tf.float64)]
  integrator = integrators.leapfrog(lambda m: m, steps)
  score_fn = lambda parts: [_score(parts[0])]
  local_sums = lambda values: [tf.reduce_sum(v, axis=-1) for v in values]

  def run(parts, momentum):
    return integrators.run(
      integrator,
      score_fn,
      num_steps=tf.constant(num_steps),
      parts=parts,
      motion=momentum,
      scores=score_fn(parts),
      local_sums=local_sums,
    )

  forward = run(parts, momentum)
  back = run(forward.parts, [-m for m in forward.motion])
  np.testing.assert_allclose(back.parts[0], parts[0], atol=1e-12)
  np.testing.assert_allclose(back.differences[0], -forward.differences[0], atol=1e-12)
  assert np.std(forward.differences[0]) > 0.1


def test_odd_trajectories_are_of_fourth_order_too():
  errors = [
    _error(
      _kernel(
        num_leapfrog_steps=n,
        step_size=tf.constant(1.5 / n, tf.float64),
        path_integral="trajectory",
      ),
      _start(),
    )
    for n in (9, 17, 33)
  ]
  order = np.log(np.array(errors[:-1]) / errors[1:]) / np.log([17 / 9, 33 / 17])
  np.testing.assert_allclose(order, 4, atol=0.5)


def test_gauss_lobatto_is_exact_for_polynomials_and_beats_simpson():
  total = lambda values: tf.reduce_sum(values[0], axis=-1)
  start, end = tf.constant([[0.3]], tf.float64), tf.constant([[1.7]], tf.float64)
  for num_nodes in (2, 3, 4, 5, 7):
    degree = 2 * num_nodes - 3
    score = lambda points: [points[0] ** degree]
    value = mcmc.gauss_lobatto(num_nodes)(
      score, [start], [end], score([start]), score([end]), total
    )
    exact = (1.7 ** (degree + 1) - 0.3 ** (degree + 1)) / (degree + 1)
    np.testing.assert_allclose(value, [exact], rtol=1e-12)
  start = _start(300)
  simpson = _error(_kernel(num_intervals=4, num_leapfrog_steps=4), start)
  lobatto = _error(
    _kernel(path_integral=mcmc.gauss_lobatto(4), num_leapfrog_steps=4), start
  )
  # With two evaluations instead of three.
  assert lobatto < simpson


def test_evaluations_of_the_rules():
  for rule, count in [
    ("trajectory", 6),
    ("straight", 6 + 3),
    (mcmc.simpson(8), 6 + 7),
    (mcmc.gauss_lobatto(4), 6 + 2),
  ]:
    _, results = _one_step(_kernel(path_integral=rule), _start(2))
    np.testing.assert_array_equal(results.num_score_evaluations, [1 + count] * 2)


def test_a_rule_of_ones_own():
  def midpoint(score_fn, start, end, score_start, score_end, total):
    del score_start, score_end
    middle = [0.5 * (a + b) for a, b in zip(start, end)]
    return total([s * (b - a) for s, a, b in zip(score_fn(middle), start, end)])

  midpoint.num_score_evaluations = 1
  end, results = _one_step(_kernel(path_integral=midpoint), _start(3))
  middle = 0.5 * (_start(3) + end)
  expected = tf.reduce_sum(_score(middle) * (end - _start(3)), axis=-1)
  np.testing.assert_allclose(results.log_prob_difference, expected)
  np.testing.assert_array_equal(results.num_score_evaluations, [8] * 3)


@pytest.mark.parametrize("rule", ["straight", "trajectory", mcmc.gauss_lobatto(3)])
def test_only_the_rest_of_an_analytic_part_is_integrated(rule):
  start = _start(200, scale=0.8)
  settings = dict(num_leapfrog_steps=4, step_size=tf.constant(0.25, tf.float64))
  plain = _error(_kernel(path_integral=rule, **settings), start)
  # What is left is Gaussian, and every rule is exact for it.
  split = _error(
    _kernel(path_integral=rule, analytic_log_prob_fn=_ripples, **settings), start
  )
  assert split < 1e-10 < plain


def _fields(shape=(6, 8), seed=0):
  """A power spectrum on the half plane, symmetric as a real field's must be."""
  k1 = 2 * np.pi * np.fft.rfftfreq(shape[1])[np.newaxis, :]
  k2 = 2 * np.pi * np.fft.fftfreq(shape[0])[:, np.newaxis]
  return tf.constant(1 / (0.3 + k1**2 + k2**2))


def test_split_integrator_is_exact_for_its_own_gaussian():
  """Any step size is accepted, and a quarter turn gives independent draws."""
  shape, mean = (6, 8), 0.7
  variance = _fields(shape)
  mass = mcmc.FourierDiagonalNormal(1 / variance, shape)
  prior = mcmc.FourierDiagonalNormal(variance, shape)
  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    lambda x: -prior.velocity(x - mean),
    tf.constant(np.pi / 2, tf.float64),
    num_leapfrog_steps=1,
    event_ndims=2,
    momentum_distribution=mass,
    integrator="split",
    gaussian_mean=mean,
    path_integral="trajectory",
  )
  states, ratio = tf.function(
    lambda: tfp.mcmc.sample_chain(
      50,
      tf.zeros([400, *shape], tf.float64),
      kernel=kernel,
      seed=(1, 2),
      trace_fn=lambda _, r: r.log_accept_ratio,
    )
  )()
  np.testing.assert_allclose(ratio, 0, atol=1e-9)
  modes = np.fft.rfft2(states - mean, norm="ortho")
  power = np.mean(np.abs(modes) ** 2, axis=(0, 1)) / variance
  # 20,000 independent draws of one or two numbers a mode: 1 %; 4.5 sigma.
  np.testing.assert_allclose(power, 1, atol=0.045)
  flat = states.numpy().reshape(50, -1)
  assert abs(np.corrcoef(flat[:-1].ravel(), flat[1:].ravel())[0, 1]) < 0.01


@pytest.mark.parametrize("integrator", ["leapfrog", "split"])
def test_integrators_are_reversible_and_keep_a_target_that_is_not_gaussian(integrator):
  start = tfd.Logistic(tf.constant(0.0, tf.float64), 1.0).sample(
    [20000, 1], seed=(1, 2)
  )
  mass = tf.linalg.LinearOperatorDiag(tf.constant([0.3], tf.float64))
  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    lambda x: -tf.tanh(x / 2),
    tf.constant(0.9, tf.float64),
    num_leapfrog_steps=3,
    event_ndims=1,
    momentum_distribution=mass,
    integrator=integrator,
    num_intervals=16,
  )
  end, accepted = tf.function(
    lambda: tfp.mcmc.sample_chain(
      20, start, kernel=kernel, seed=(3, 4), trace_fn=lambda _, r: r.is_accepted
    )
  )()
  assert 0.6 < np.mean(accepted) < 0.9999
  # Logistic: variance pi^2 / 3, fourth moment 7 pi^4 / 15; 20,000 chains; 4 sigma.
  np.testing.assert_allclose(np.var(end[-1]), np.pi**2 / 3, rtol=0.05)
  np.testing.assert_allclose(np.mean(end[-1] ** 4), 7 * np.pi**4 / 15, rtol=0.16)


def test_split_takes_larger_steps_than_leapfrog():
  """A stiff Gaussian with a soft rest: the design's reason for the split."""
  precision = np.array([1.0, 10.0, 100.0, 1000.0])
  rest = lambda x: -tf.tanh(x)
  kernel = functools.partial(
    mcmc.ScoreHamiltonianMonteCarlo,
    lambda x: -precision * x + rest(x),
    tf.constant(0.7, tf.float64),
    3,
    event_ndims=1,
    momentum_distribution=tf.linalg.LinearOperatorDiag(tf.constant(precision)),
    path_integral="trajectory",
  )
  errors = {}
  for integrator in ("leapfrog", "split"):
    states, ratio = tfp.mcmc.sample_chain(
      30,
      _start(200),
      kernel=kernel(integrator=integrator),
      seed=(1, 2),
      trace_fn=lambda _, r: r.log_accept_ratio,
    )
    errors[integrator] = np.std(ratio[10:])
    assert np.isfinite(states).all()
  assert errors["split"] < 0.5 * errors["leapfrog"]


@pytest.mark.parametrize("kind", ["diag", "full", "circulant"])
def test_linear_operators_as_mass_matrices(kind):
  rng = np.random.default_rng(0)
  if kind == "diag":
    operator = tf.linalg.LinearOperatorDiag(tf.constant(rng.uniform(0.5, 4, 6)))
  elif kind == "full":
    root = rng.standard_normal((6, 6))
    operator = tf.linalg.LinearOperatorFullMatrix(
      root @ root.T + np.eye(6), is_self_adjoint=True, is_positive_definite=True
    )
  else:
    spectrum = 1 + np.abs(np.fft.fftfreq(3))[:, np.newaxis] + np.abs(np.fft.fftfreq(2))
    operator = tf.linalg.LinearOperatorCirculant2D(
      tf.constant(spectrum, tf.complex128),
      input_output_dtype=tf.complex128,
      is_self_adjoint=True,
      is_positive_definite=True,
    )
  normal = mcmc.LinearOperatorNormal(operator)
  dense = np.real(operator.to_dense().numpy())
  oracle = tfd.MultivariateNormalFullCovariance(tf.zeros(6, tf.float64), dense)
  x = rng.standard_normal((4, 6))
  np.testing.assert_allclose(normal.log_prob(x), oracle.log_prob(x), rtol=1e-9)
  np.testing.assert_allclose(normal.momentum(normal.velocity(x)), x, atol=1e-9)
  draws = normal.sample(50000, seed=(1, 2)).numpy()
  # Entries are off by about 1 % of the largest; the worst of 36 by 4.
  np.testing.assert_allclose(draws.T @ draws / 50000, dense, atol=0.05 * dense.max())
  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    lambda x: -tf.linalg.matvec(tf.constant(dense), x),
    tf.constant(0.4, tf.float64),
    num_leapfrog_steps=4,
    event_ndims=1,
    momentum_distribution=operator,
    path_integral="trajectory",
  )
  states = (
    tf.function(
      lambda: tfp.mcmc.sample_chain(
        60,
        tf.zeros([500, 6], tf.float64),
        num_burnin_steps=10,
        kernel=kernel,
        trace_fn=None,
        seed=(1, 2),
      )
    )()
    .numpy()
    .reshape(-1, 6)
  )
  covariance = np.linalg.inv(dense)
  np.testing.assert_allclose(
    states.T @ states / len(states), covariance, atol=0.06 * covariance.max()
  )


def test_momenta_that_do_not_fit_are_refused():
  start = tf.zeros([5, 3])
  for distribution in (
    tfd.Normal(tf.zeros([3]), 1.0),  # three scalars, not a vector
    tfd.MultivariateNormalDiag(tf.zeros([1, 3])),  # one batch for five chains
    tfd.MultivariateNormalDiag(tf.zeros([4])),
  ):
    kernel = _kernel(
      target_score_fn=lambda x: -x, step_size=0.1, momentum_distribution=distribution
    )
    with pytest.raises(ValueError, match="Wrap it in tfd.Independent"):
      _one_step(kernel, start)
  with pytest.raises(ValueError, match="needs a momentum distribution with the"):
    _one_step(
      _kernel(
        target_score_fn=lambda x: -x,
        step_size=0.1,
        integrator="split",
        momentum_distribution=tfd.MultivariateNormalDiag(tf.zeros([3])),
      ),
      start,
    )
  with pytest.raises(ValueError, match="square tf.linalg.LinearOperator"):
    mcmc.LinearOperatorNormal(tf.eye(3))
  with pytest.raises(tf.errors.InvalidArgumentError, match="must be positive"):
    mcmc.FourierDiagonalNormal(-tf.ones([4, 3]), (4, 4), validate_args=True)


def test_every_chain_draws_momenta_of_its_own():
  for distribution in (
    None,
    tfd.MultivariateNormalDiag(tf.zeros([3])),
    tfd.MultivariateNormalDiag(tf.zeros([5, 3])),
  ):
    _, results = _one_step(
      _kernel(
        target_score_fn=lambda x: -x,
        step_size=0.1,
        momentum_distribution=distribution,
      ),
      tf.zeros([5, 3]),
    )
    momentum = results.initial_momentum[0].numpy()
    assert len(np.unique(momentum)) == 15


def test_number_of_steps_drawn_between_bounds():
  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    lambda x: -x,
    0.3,
    num_leapfrog_steps=(2, 6),
    event_ndims=1,
    path_integral="trajectory",
  )
  evaluations, ratio = tf.function(
    lambda: tfp.mcmc.sample_chain(
      200,
      tf.zeros([10, 2]),
      kernel=kernel,
      seed=(1, 2),
      trace_fn=lambda _, r: (r.num_score_evaluations, r.log_accept_ratio),
    )[1]
  )()
  steps = np.diff(evaluations[:, 0])
  assert set(steps) == {2, 3, 4, 5, 6}
  # A uniform number of five: each has 40 +- 6 of 199.
  assert np.bincount(steps)[2:].min() > 15
  assert np.isfinite(ratio).all()


def test_gradients_through_a_step_under_xla():
  kernel = _kernel(target_score_fn=lambda x: -x, step_size=0.1)

  @tf.function(jit_compile=True)
  def gradient(x):
    with tf.GradientTape() as tape:
      tape.watch(x)
      end, _ = _one_step(kernel, x)
      value = tf.reduce_sum(end)
    return tape.gradient(value, x)

  # On a unit normal leapfrog turns by 6 arcs: close to cos(.6).
  np.testing.assert_allclose(gradient(tf.ones([3])), np.cos(0.6), atol=2e-3)


def test_tuples_stay_tuples():
  kernel = _kernel(target_score_fn=lambda x, y: (-x, -y), step_size=0.1)
  state = (tf.zeros([4, 2]), tf.ones([4, 3]))
  end, _ = _one_step(kernel, state)
  assert isinstance(end, tuple) and end[1].shape == (4, 3)


def test_a_score_that_is_no_gradient_does_not_crash():
  """A rotating field: no density has it; the chain stays finite all the same."""
  swirl = tf.constant([[-1.0, 1.5], [-1.5, -1.0]])
  for rule in ("straight", "trajectory"):
    kernel = mcmc.ScoreHamiltonianMonteCarlo(
      lambda x: tf.linalg.matvec(swirl, x) + tf.sin(3 * x[..., ::-1]),
      0.3,
      num_leapfrog_steps=4,
      event_ndims=1,
      path_integral=rule,
    )
    states, ratio = tfp.mcmc.sample_chain(
      100,
      tf.ones([20, 2]),
      kernel=kernel,
      seed=(1, 2),
      trace_fn=lambda _, r: r.log_accept_ratio,
    )
    assert np.isfinite(states).all() and not np.isnan(ratio).any()
    assert np.abs(states).max() < 50


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
  """The strongest test of a kernel: what starts in the target stays there."""
  num_chains = 10000
  if target == "lognormal field":
    field = mcmc.FourierDiagonalNormal(0.1 * _fields(), (6, 8))
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
