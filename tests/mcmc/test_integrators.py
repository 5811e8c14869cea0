"""Leapfrog and the split integrator, and the integral along their trajectories."""

import functools
import itertools

import numpy as np
import pytest
import score_targets
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc
from tfp_massmap.mcmc import integrators

tfd = tfp.distributions


NUMBERS = [1, 2, 3, 4, 5, 7, 8]


@functools.cache
def _trajectory(known, jit_compile):
  """Returns a function of the number of steps, which ignores it if one is known."""
  start = score_targets.rippled_start(20)

  def run(count):
    kernel = score_targets.proposal_kernel(
      target_score_fn=lambda x: -_PRECISION * x,
      step_size=tf.constant(0.4, tf.float64),
      num_leapfrog_steps=known or count,
      path_integral="trajectory",
    )
    end, results = score_targets.one_step(kernel, start)
    return start, end, results.log_prob_difference, results.num_score_evaluations

  return tf.function(run, jit_compile=jit_compile)


_PRECISION = np.array([0.5, 1.0, 2.0, 4.0])


# A tensor makes one function for all numbers. Known numbers make one each: XLA compiles
# a single step, an odd number and an even one.
@pytest.mark.parametrize(
  "num_steps, dynamic, jit_compile",
  [
    *itertools.product(NUMBERS, [True], [False, True]),
    *((number, False, False) for number in NUMBERS),
    *((number, False, True) for number in (1, 4, 5)),
  ],
)
def test_trajectory_rule_of_any_number_of_steps(num_steps, dynamic, jit_compile):
  """The rule is exact for a Gaussian, for known numbers of steps and for tensors."""
  run = _trajectory(None if dynamic else num_steps, jit_compile)
  start, end, difference, evaluations = run(tf.constant(num_steps))
  exact = -0.5 * tf.reduce_sum(_PRECISION * (end**2 - start**2), axis=-1)
  np.testing.assert_allclose(difference, exact, atol=1e-12)
  np.testing.assert_array_equal(evaluations, [1 + num_steps] * 20)


@pytest.mark.parametrize("num_steps", [1, 3, 4, 5, 7])
def test_trajectory_rule_is_antisymmetric(num_steps):
  """The path back, with the momentum reversed, gives minus the same number."""
  parts = [score_targets.rippled_start(30)]
  momentum = [tf.random.stateless_normal([30, 4], (7, 8), dtype=tf.float64)]
  steps = [tf.constant(0.2, tf.float64)]
  integrator = integrators.leapfrog(lambda m: m, steps)
  score_fn = lambda parts: [score_targets.rippled_score(parts[0])]
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
    score_targets.quadrature_error(
      score_targets.proposal_kernel(
        num_leapfrog_steps=n,
        step_size=tf.constant(1.5 / n, tf.float64),
        path_integral="trajectory",
      ),
      score_targets.rippled_start(),
    )
    for n in (9, 17, 33)
  ]
  order = np.log(np.array(errors[:-1]) / errors[1:]) / np.log([17 / 9, 33 / 17])
  np.testing.assert_allclose(order, 4, atol=0.5)


def test_split_integrator_is_exact_for_its_own_gaussian():
  """Any step size is accepted, and a quarter turn gives independent draws."""
  shape, mean = (6, 8), 0.7
  variance = score_targets.power_spectrum(shape)
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
  # 20,000 independent draws of one or two numbers a mode give it to 1 %: 4.5 sigma.
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
  # A logistic variable has variance pi^2 / 3 and fourth moment 7 pi^4 / 15. The limits are
  # 4 sigma for 20,000 chains.
  np.testing.assert_allclose(np.var(end[-1]), np.pi**2 / 3, rtol=0.05)
  np.testing.assert_allclose(np.mean(end[-1] ** 4), 7 * np.pi**4 / 15, rtol=0.16)


def test_split_takes_larger_steps_than_leapfrog():
  """On a stiff Gaussian with a soft rest, the split errs less at the same step."""
  precision = np.array([1.0, 10.0, 100.0, 1000.0])
  rest = lambda x: -tf.tanh(x)
  kernel = functools.partial(
    mcmc.ScoreHamiltonianMonteCarlo,
    lambda x: -precision * x + rest(x),
    tf.constant(0.7, tf.float64),
    num_leapfrog_steps=3,
    event_ndims=1,
    momentum_distribution=tf.linalg.LinearOperatorDiag(tf.constant(precision)),
    path_integral="trajectory",
  )
  errors = {}
  for integrator in ("leapfrog", "split"):
    states, ratio = score_targets.run(
      functools.partial(
        tfp.mcmc.sample_chain,
        30,
        score_targets.rippled_start(200),
        kernel=kernel(integrator=integrator),
        seed=(1, 2),
        trace_fn=lambda _, r: r.log_accept_ratio,
      ),
      "graph",
    )
    errors[integrator] = np.std(ratio[10:])
    assert np.isfinite(states).all()
  assert errors["split"] < 0.5 * errors["leapfrog"]


@pytest.mark.parametrize("num_steps", [3, 4, 5])
def test_a_graph_of_tensorflow_1_has_the_same_integral(num_steps):
  """There == of tensors is identity, and parity has to be asked for otherwise."""

  def step():
    kernel = mcmc.ScoreHamiltonianMonteCarlo(
      lambda x: -1 - 2 * x,
      0.7,
      num_leapfrog_steps=num_steps,
      event_ndims=0,
      path_integral="trajectory",
    )
    start = tf.constant([0.3, -1.0, 2.0])
    results = kernel.bootstrap_results(start)
    return kernel.one_step(start, results, seed=(1, 2))[1].log_accept_ratio

  expected = tf.function(step)().numpy()
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    np.testing.assert_allclose(session.run(step()), expected, atol=1e-6)
