"""Cooling of chains by `TemperedMC`."""

import numpy as np
import pytest
import score_targets
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc

pytestmark = pytest.mark.filterwarnings(score_targets.UNCALIBRATED)


def _tempered(cooling=0.5, min_steps=3, min_sigma=0.2, initial_sigma=1.0):
  """Returns a kernel of the unit normal smoothed by sigma, N(0, 1 + sigma^2)."""
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


@pytest.mark.parametrize("mode", ["eager", "graph"])
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
  # One at the start, four per step, and one more whenever a chain cools.
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
  # 6,000 numbers give the variance to 1.8 %: 4 sigma.
  np.testing.assert_allclose(np.var(states[-1]), 1, rtol=0.075)


def test_target_at_the_new_temperature_is_used_at_once():
  """The stored score of the last step is dropped when sigma changes."""
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


@pytest.mark.parametrize("mode", ["eager", "graph"])
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


@pytest.mark.parametrize("mode", ["eager", "xla"])
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
  with pytest.raises(ValueError, match=r"Give either|takes the place"):
    mcmc.TemperedMC(None, None, initial_sigma=1.0, sigmas=[1.0, 0.5])
  with pytest.raises(ValueError, match="initial_sigma not below it"):
    _tempered(initial_sigma=0.1)
  with pytest.raises(ValueError, match=r"must lie in \(0, 1\); got 1.2"):
    _tempered(cooling=1.2)
  with pytest.raises(ValueError, match="min_steps must be at least 1"):
    _tempered(min_steps=0)


def test_a_ladder_may_be_a_tensor_of_a_function():
  @tf.function
  def last(ladder):
    kernel = mcmc.TemperedMC(
      lambda x, sigma: -x / (1 + sigma**2)[:, tf.newaxis],
      lambda score, _: mcmc.ScoreHamiltonianMonteCarlo(
        score, 0.5, num_leapfrog_steps=2, event_ndims=1
      ),
      sigmas=ladder,
    )
    return tfp.mcmc.sample_chain(
      4,
      tf.zeros([3, 2]),
      kernel=kernel,
      seed=(1, 2),
      trace_fn=lambda _, r: r.sigma,
    )[1][-1]

  np.testing.assert_allclose(last(tf.constant([1.0, 0.5, 0.1])), np.full(3, 0.1))
