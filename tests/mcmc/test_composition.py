"""Score-only kernels inside TFP's wrappers, drivers and reducers.

The tests show that they sample their target; `test_modes_and_layouts.py` has every mode,
layout and precision.
"""

import functools

import numpy as np
import pytest
import score_targets
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc

tfb = tfp.bijectors

CASES = pytest.mark.parametrize(
  "mode, chains, parts, dtype",
  [
    ("eager", (4,), 1, "float32"),
    ("graph", (), 1, "float64"),
    ("graph", (4,), 2, "float32"),
    ("xla", (2, 2), 2, "float64"),
  ],
)


@CASES
def test_sample_chain_traces_returns_and_resumes(mode, chains, parts, dtype):
  kernel = score_targets.hmc_of_three_scales(dtype, parts)
  sample = functools.partial(
    tfp.mcmc.sample_chain,
    kernel=kernel,
    return_final_kernel_results=True,
    trace_fn=lambda _, r: r.log_accept_ratio,
  )

  def run():
    first = sample(
      6, score_targets.start_of_three_scales(chains, dtype, parts), seed=(1, 2)
    )
    last = tf.nest.map_structure(lambda s: s[-1], first.all_states)
    return first, sample(
      5, last, previous_kernel_results=first.final_kernel_results, seed=(3, 4)
    )

  first, second = score_targets.run(run, mode)
  assert first.trace.shape == (6, *chains) and first.trace.dtype == dtype
  assert isinstance(first.all_states, list) == (parts == 2)
  states = tf.nest.flatten(second.all_states)
  assert states[0].shape == (5, *chains, 3) and states[0].dtype == dtype
  assert all(np.isfinite(s).all() for s in states)
  evaluations = second.final_kernel_results.num_score_evaluations
  np.testing.assert_array_equal(evaluations, np.full(chains, 1 + 11 * 4))


def test_step_size_adaptation_of_a_list_reaches_its_target():
  num_steps = 300
  kernel = tfp.mcmc.DualAveragingStepSizeAdaptation(
    score_targets.hmc_of_three_scales(parts=2, step_size=0.1),
    num_adaptation_steps=240,
    target_accept_prob=0.8,
  )
  sizes, ratio = score_targets.run(
    lambda: tfp.mcmc.sample_chain(
      num_steps,
      score_targets.start_of_three_scales((4,), "float32", 2),
      kernel=kernel,
      seed=(1, 2),
      trace_fn=lambda _, r: (
        r.inner_results.accepted_results.step_size,
        r.inner_results.log_accept_ratio,
      ),
    )[1],
    "graph",
  )
  assert sizes[-1] > sizes[0]
  acceptance = np.exp(np.minimum(ratio[240:], 0)).mean()
  # The mean over 60 correlated steps of 4 chains scatters by about 0.05, and dual
  # averaging misses its aim by as much.
  assert abs(acceptance - 0.8) < 0.15


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


@pytest.mark.filterwarnings(score_targets.UNCALIBRATED)
def test_diagonal_mass_matrix_adaptation_learns_the_scales():
  num_chains = 64
  num_steps = 100
  stats = tfp.experimental.stats.RunningVariance.from_stats(
    num_samples=tf.constant(3.0), mean=tf.zeros([3]), variance=tf.ones([3])
  )
  kernel = tfp.experimental.mcmc.DiagonalMassMatrixAdaptation(
    score_targets.hmc_of_three_scales(step_size=0.3), initial_running_variance=stats
  )
  results = score_targets.run(
    lambda: (
      tfp.mcmc.sample_chain(
        num_steps,
        score_targets.start_of_three_scales((num_chains,), "float32"),
        kernel=kernel,
        seed=(1, 2),
        trace_fn=None,
        return_final_kernel_results=True,
      )
      .final_kernel_results.running_variance[0]
      .variance()
    ),
    "graph",
  )
  assert results.shape == (3,)
  np.testing.assert_allclose(results, score_targets.SCALE**2, rtol=0.2)


def test_gradient_based_trajectory_length_adaptation():
  """The adaptation sets odd and even numbers of leapfrog steps while chains run."""
  num_steps = 200
  kernel = tfp.experimental.mcmc.GradientBasedTrajectoryLengthAdaptation(
    tfp.mcmc.DualAveragingStepSizeAdaptation(
      score_targets.hmc_of_three_scales(
        step_size=0.1, num_leapfrog_steps=1, path_integral="straight"
      ),
      num_adaptation_steps=150,
      target_accept_prob=0.8,
    ),
    num_adaptation_steps=150,
    max_leapfrog_steps=50,
  )
  states, (steps, ratio) = score_targets.run(
    lambda: tfp.mcmc.sample_chain(
      num_steps,
      score_targets.start_of_three_scales((64,), "float32"),
      kernel=kernel,
      seed=(1, 2),
      trace_fn=lambda _, r: (
        r.inner_results.inner_results.proposed_results.num_leapfrog_steps,
        r.inner_results.inner_results.log_accept_ratio,
      ),
    ),
    "graph",
  )
  assert len(np.unique(steps)) > 2
  # The steps are adapted by dual averaging, which misses its aim by about 0.05.
  assert abs(np.exp(np.minimum(ratio[150:], 0)).mean() - 0.8) < 0.1
  np.testing.assert_allclose(
    np.std(states[150:], axis=(0, 1)), score_targets.SCALE, rtol=0.15
  )


def test_langevin_has_no_trajectory_length_to_adapt():
  kernel = tfp.experimental.mcmc.GradientBasedTrajectoryLengthAdaptation(
    mcmc.ScoreMetropolisAdjustedLangevinAlgorithm(
      score_targets.score_of_three_scales, 0.1, event_ndims=1
    ),
    num_adaptation_steps=3,
  )
  with pytest.raises(AttributeError, match="num_leapfrog_steps"):
    kernel.bootstrap_results(score_targets.start_of_three_scales((2,), "float32"))


@pytest.mark.parametrize(
  "dtype, rule", [("float64", "straight"), ("float32", "trajectory")]
)
def test_transformed_transition_kernel_adds_the_jacobian(dtype, rule):
  """A Gamma(3) target is sampled in log x from the score of x; TFP adds the log-det."""
  kernel = tfp.mcmc.TransformedTransitionKernel(
    mcmc.ScoreHamiltonianMonteCarlo(
      lambda x: 2 / x - 1,
      tf.constant(0.4, dtype),
      num_leapfrog_steps=4,
      event_ndims=1,
      path_integral=rule,
    ),
    bijector=tfb.Exp(),
  )
  num_chains, num_steps = 500, 60
  states = score_targets.run(
    lambda: tfp.mcmc.sample_chain(
      num_steps,
      tf.ones([num_chains, 1], dtype),
      num_burnin_steps=num_steps // 3,
      kernel=kernel,
      trace_fn=None,
      seed=(1, 2),
    ),
    "graph",
  )
  assert np.all(states > 0) and states.dtype == dtype
  # Mean and variance are 3. About 15,000 independent draws give them to 1.5 % and 3 %;
  # the limits are 4 sigma.
  np.testing.assert_allclose(np.mean(states), 3, rtol=0.06)
  np.testing.assert_allclose(np.var(states), 3, rtol=0.12)


def test_transformed_kernel_of_a_list_with_step_size_adaptation():
  kernel = tfp.mcmc.TransformedTransitionKernel(
    tfp.mcmc.SimpleStepSizeAdaptation(
      mcmc.ScoreHamiltonianMonteCarlo(
        lambda x, y: [2 / x - 1, -y], 0.3, num_leapfrog_steps=4, event_ndims=1
      ),
      num_adaptation_steps=40,
    ),
    bijector=[tfb.Exp(), tfb.Identity()],
  )
  states = tf.function(
    lambda: tfp.mcmc.sample_chain(
      100,
      [tf.ones([200, 1]), tf.zeros([200, 2])],
      num_burnin_steps=50,
      kernel=kernel,
      trace_fn=None,
      seed=(1, 2),
    )
  )()
  np.testing.assert_allclose(np.mean(states[0]), 3, rtol=0.06)
  np.testing.assert_allclose(np.var(states[1]), 1, rtol=0.06)


def test_reductions_and_folds():
  reducer = tfp.experimental.mcmc.ExpectationsReducer(transform_fn=lambda x, _: x)
  kernel = tfp.experimental.mcmc.WithReductions(
    score_targets.hmc_of_three_scales(), reducer
  )
  num_steps = 400

  def run():
    results = tfp.mcmc.sample_chain(
      num_steps,
      score_targets.start_of_three_scales((50,), "float32"),
      kernel=kernel,
      seed=(1, 2),
      trace_fn=None,
      return_final_kernel_results=True,
    ).final_kernel_results
    return reducer.finalize(results.reduction_results)

  mean = tf.function(run)()
  assert mean.shape == (50, 3)
  np.testing.assert_allclose(np.mean(mean, axis=0), 1, atol=0.15)


def test_sample_fold():
  reduction, state, results = score_targets.run(
    lambda: tfp.experimental.mcmc.sample_fold(
      50,
      score_targets.start_of_three_scales((8,), "float32"),
      kernel=score_targets.hmc_of_three_scales(),
      seed=(1, 2),
      reducer=tfp.experimental.mcmc.VarianceReducer(),
    ),
    "graph",
  )
  assert reduction.shape == (8, 3) and state.shape == (8, 3)
  np.testing.assert_array_equal(results.num_score_evaluations, [1 + 50 * 4] * 8)


@pytest.mark.parametrize("chains", [(), (4,)])
def test_bijectors_that_change_the_number_of_axes(chains):
  """Log acceptance ratios of Gamma x CholeskyLKJ beside those of TFP, to 1e-4."""
  lkj = tfp.distributions.CholeskyLKJ(3, 2.0)
  log_prob = lambda s, c: 2 * tf.math.log(s) - s + lkj.log_prob(c)
  score = lambda s, c: [2 / s - 1, tfp.math.value_and_gradient(lkj.log_prob, c)[1]]
  start = [tf.ones(chains), tf.convert_to_tensor(lkj.sample(chains, seed=(1, 2)))]
  ratios = []
  for inner in (
    tfp.mcmc.HamiltonianMonteCarlo(log_prob, 0.2, 3),
    mcmc.ScoreHamiltonianMonteCarlo(
      score,
      0.2,
      num_leapfrog_steps=3,
      event_ndims=[0, 1],
      target_event_ndims=[0, 2],
      num_intervals=32,
    ),
  ):
    kernel = tfp.mcmc.TransformedTransitionKernel(
      inner, [tfb.Exp(), tfb.CorrelationCholesky()]
    )
    _, results = score_targets.one_step(kernel, start)
    ratios.append(results.inner_results.log_accept_ratio)
  assert ratios[1].shape == chains
  np.testing.assert_allclose(ratios[1], ratios[0], atol=1e-4)
