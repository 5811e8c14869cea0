"""Score-only kernels inside TFP's wrappers, drivers and reducers.

That they sample what they should; test_mcmc_matrix.py has every mode, layout and
precision.
"""

import functools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc

tfb = tfp.bijectors
tfd = tfp.distributions

MODES = {"eager": None, "graph": False, "xla": True}
SCALE = np.array([0.5, 1.0, 3.0])


def _run(function, mode):
  if MODES[mode] is None:
    return function()
  return tf.function(function, jit_compile=MODES[mode])()


def _score(x):
  """Of a normal with standard deviations SCALE, about 1."""
  return -(x - 1) / tf.constant(SCALE, x.dtype) ** 2


def _list_score(x, y):
  return [_score(x), -y]


def _hmc(dtype="float32", parts=1, **changes):
  arguments = dict(
    target_score_fn=_score if parts == 1 else _list_score,
    step_size=tf.constant(0.4, dtype),
    num_leapfrog_steps=4,
    event_ndims=1,
    path_integral="trajectory",
  )
  return mcmc.ScoreHamiltonianMonteCarlo(**{**arguments, **changes})


def _start(chains, dtype, parts=1):
  start = tf.zeros([*chains, 3], dtype)
  return start if parts == 1 else [start, tf.zeros([*chains, 2], dtype)]


CASES = pytest.mark.parametrize(
  "mode, chains, parts, dtype",
  [
    ("eager", (4,), 1, "float32"),
    ("graph", (), 1, "float64"),
    ("graph", (4,), 2, "float32"),
    ("xla", (4,), 1, "float32"),
    ("xla", (2, 2), 2, "float64"),
    ("xla", (), 1, "float32"),
  ],
)


@CASES
def test_sample_chain_traces_returns_and_resumes(mode, chains, parts, dtype):
  kernel = _hmc(dtype, parts)
  sample = functools.partial(
    tfp.mcmc.sample_chain,
    kernel=kernel,
    return_final_kernel_results=True,
    trace_fn=lambda _, r: r.log_accept_ratio,
  )

  def run():
    first = sample(6, _start(chains, dtype, parts), seed=(1, 2))
    last = tf.nest.map_structure(lambda s: s[-1], first.all_states)
    return first, sample(
      5, last, previous_kernel_results=first.final_kernel_results, seed=(3, 4)
    )

  first, second = _run(run, mode)
  assert first.trace.shape == (6, *chains) and first.trace.dtype == dtype
  assert isinstance(first.all_states, list) == (parts == 2)
  states = tf.nest.flatten(second.all_states)
  assert states[0].shape == (5, *chains, 3) and states[0].dtype == dtype
  assert all(np.isfinite(s).all() for s in states)
  evaluations = second.final_kernel_results.num_score_evaluations
  np.testing.assert_array_equal(evaluations, np.full(chains, 1 + 11 * 4))


@pytest.mark.parametrize(
  "adaptation",
  [tfp.mcmc.SimpleStepSizeAdaptation, tfp.mcmc.DualAveragingStepSizeAdaptation],
)
def test_step_size_adaptations_reach_their_target(adaptation):
  num_steps = 300
  kernel = adaptation(
    _hmc(parts=2, step_size=0.1), num_adaptation_steps=240, target_accept_prob=0.8
  )
  sizes, ratio = _run(
    lambda: tfp.mcmc.sample_chain(
      num_steps,
      _start((4,), "float32", 2),
      kernel=kernel,
      seed=(1, 2),
      trace_fn=lambda _, r: (
        r.inner_results.accepted_results.step_size,
        r.inner_results.log_accept_ratio,
      ),
    )[1],
    "xla",
  )
  assert sizes[-1] > sizes[0]
  acceptance = np.exp(np.minimum(ratio[240:], 0)).mean()
  # 60 steps of 4 chains, correlated: some .05; the target's own bias besides.
  assert abs(acceptance - 0.8) < 0.15


@pytest.mark.parametrize("mode", ["xla"])
def test_diagonal_mass_matrix_adaptation_learns_the_scales(mode):
  num_chains = 64
  num_steps = 100
  stats = tfp.experimental.stats.RunningVariance.from_stats(
    num_samples=tf.constant(3.0), mean=tf.zeros([3]), variance=tf.ones([3])
  )
  kernel = tfp.experimental.mcmc.DiagonalMassMatrixAdaptation(
    _hmc(step_size=0.3), initial_running_variance=stats
  )
  results = _run(
    lambda: (
      tfp.mcmc.sample_chain(
        num_steps,
        _start((num_chains,), "float32"),
        kernel=kernel,
        seed=(1, 2),
        trace_fn=None,
        return_final_kernel_results=True,
      )
      .final_kernel_results.running_variance[0]
      .variance()
    ),
    mode,
  )
  assert results.shape == (3,)
  np.testing.assert_allclose(results, SCALE**2, rtol=0.2)


@pytest.mark.parametrize("mode", ["xla"])
def test_gradient_based_trajectory_length_adaptation(mode):
  """It sets the number of leapfrog steps, odd or even, while the chains run."""
  num_steps = 200
  kernel = tfp.experimental.mcmc.GradientBasedTrajectoryLengthAdaptation(
    tfp.mcmc.DualAveragingStepSizeAdaptation(
      _hmc(step_size=0.1, num_leapfrog_steps=1, path_integral="straight"),
      num_adaptation_steps=150,
      target_accept_prob=0.8,
    ),
    num_adaptation_steps=150,
    max_leapfrog_steps=50,
  )
  states, steps = _run(
    lambda: tfp.mcmc.sample_chain(
      num_steps,
      _start((64,), "float32"),
      kernel=kernel,
      seed=(1, 2),
      trace_fn=lambda _, r: (
        r.inner_results.inner_results.proposed_results.num_leapfrog_steps
      ),
    ),
    mode,
  )
  assert len(np.unique(steps)) > 2
  np.testing.assert_allclose(np.std(states[150:], axis=(0, 1)), SCALE, rtol=0.15)


@pytest.mark.parametrize("mode, dtype", [("graph", "float64"), ("xla", "float32")])
@pytest.mark.parametrize("rule", ["straight", "trajectory"])
def test_transformed_transition_kernel_adds_the_jacobian(mode, dtype, rule):
  """A Gamma(3) target sampled in log x: the score of x, the log-det by TFP."""
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
  states = _run(
    lambda: tfp.mcmc.sample_chain(
      num_steps,
      tf.ones([num_chains, 1], dtype),
      num_burnin_steps=num_steps // 3,
      kernel=kernel,
      trace_fn=None,
      seed=(1, 2),
    ),
    mode,
  )
  assert np.all(states > 0) and states.dtype == dtype
  # Mean and variance 3; some 15,000 independent draws: 1.5 % and 3 %; 4 sigma.
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


@pytest.mark.parametrize("mode", ["xla"])
def test_reductions_and_folds(mode):
  reducer = tfp.experimental.mcmc.ExpectationsReducer(transform_fn=lambda x, _: x)
  kernel = tfp.experimental.mcmc.WithReductions(_hmc(), reducer)
  num_steps = 400

  def run():
    results = tfp.mcmc.sample_chain(
      num_steps,
      _start((50,), "float32"),
      kernel=kernel,
      seed=(1, 2),
      trace_fn=None,
      return_final_kernel_results=True,
    ).final_kernel_results
    return reducer.finalize(results.reduction_results)

  mean = _run(run, mode)
  assert mean.shape == (50, 3)
  np.testing.assert_allclose(np.mean(mean, axis=0), 1, atol=0.15)


def test_sample_fold():
  reduction, state, results = tfp.experimental.mcmc.sample_fold(
    50,
    _start((8,), "float32"),
    kernel=_hmc(),
    seed=(1, 2),
    reducer=tfp.experimental.mcmc.VarianceReducer(),
  )
  assert reduction.shape == (8, 3) and state.shape == (8, 3)
  np.testing.assert_array_equal(results.num_score_evaluations, [1 + 50 * 4] * 8)


@pytest.mark.parametrize("joint", [False, True])
def test_momenta_of_tfps_preconditioned_kernel(joint):
  """The same momentum distribution gives the same chain as TFP's own kernel."""
  scale = 1 / np.array([0.7, 1.0, 2.0])
  operator = tf.linalg.LinearOperatorDiag(tf.constant(scale))
  momentum = tfd.MultivariateNormalDiag(scale_diag=operator.diag)
  ours = _hmc(
    "float64",
    momentum_distribution=(
      tfd.JointDistributionSequential([momentum]) if joint else momentum
    ),
  )
  theirs = tfp.experimental.mcmc.PreconditionedHamiltonianMonteCarlo(
    lambda x: -0.5 * tf.reduce_sum(((x - 1) / SCALE) ** 2, axis=-1),
    tf.constant(0.4, tf.float64),
    4,
    momentum_distribution=momentum,
  )
  start = _start((50,), "float64")
  variances = [
    np.var(
      tf.function(
        lambda k=kernel: tfp.mcmc.sample_chain(
          150, start, num_burnin_steps=50, kernel=k, trace_fn=None, seed=(1, 2)
        )
      )(),
      axis=(0, 1),
    )
    for kernel in (ours, theirs)
  ]
  np.testing.assert_allclose(variances[0], variances[1], rtol=0.15)
  np.testing.assert_allclose(variances[0], SCALE**2, rtol=0.15)


def _sharded_kernels():
  """Kernels of N(0, 1) whose coordinates lie on several devices."""
  arguments = dict(
    target_score_fn=lambda x: -x,
    step_size=tf.constant(0.9, tf.float64),
    num_leapfrog_steps=3,
    event_ndims=1,
  )
  hmc = mcmc.ScoreHamiltonianMonteCarlo(
    **arguments, experimental_shard_axis_names="space"
  )
  normal = tfd.MultivariateNormalDiag(scale_diag=tf.ones([3], tf.float64))

  def inner(score, sigma):
    del sigma
    return mcmc.ScoreHamiltonianMonteCarlo(**{**arguments, "target_score_fn": score})

  return {
    "hmc": hmc,
    "a momentum distribution": hmc.copy(momentum_distribution=normal),
    "a Sharded one": hmc.copy(
      momentum_distribution=tfp.experimental.distribute.Sharded(normal, "space")
    ),
    "a mass matrix": hmc.copy(
      momentum_distribution=tf.linalg.LinearOperatorDiag(normal.scale.diag_part())
    ),
    # It makes the kernel keep the momentum distribution in its results.
    "adapted": tfp.mcmc.SimpleStepSizeAdaptation(hmc, num_adaptation_steps=0),
    "langevin": mcmc.ScoreMetropolisAdjustedLangevinAlgorithm(
      lambda x: -x,
      tf.constant(0.9, tf.float64),
      event_ndims=1,
      experimental_shard_axis_names="space",
    ),
    "exchange": mcmc.ScoreReplicaExchangeMC(
      lambda x, sigma: -x / (1 + sigma[..., tf.newaxis] ** 2),
      [0.0, 0.5],
      make_kernel_fn=inner,
      event_ndims=1,
    ).experimental_with_shard_axes("space"),
    "tempered": mcmc.TemperedMC(
      lambda x, sigma: -x, inner, sigmas=[0.2, 0.1]
    ).experimental_with_shard_axes("space"),
  }


def _decision(results):
  """Whether chains, or swaps, were accepted, and the log ratios."""
  while not hasattr(results, "log_accept_ratio"):
    results = results.inner_results
  accepted = getattr(results, "is_swap_accepted", None)
  return results.is_accepted if accepted is None else accepted, results.log_accept_ratio


@pytest.mark.parametrize(
  "kernel_name",
  [
    "hmc",
    "a momentum distribution",
    "a Sharded one",
    "a mass matrix",
    "adapted",
    "langevin",
    "exchange",
    "tempered",
  ],
)
def test_sharded_states_move_as_one(kernel_name, two_devices):
  """Two devices with half of the coordinates each accept and reject together."""
  kernel = _sharded_kernels()[kernel_name]

  # tf.distribute lets replicas meet outside of loops only: a step a call.
  @tf.function
  def step(state, seed):
    def one(state):
      end, results = kernel.one_step(state, kernel.bootstrap_results(state), seed=seed)
      return (end, *_decision(results))

    return two_devices.run(one, args=(state,))

  state = two_devices.run(lambda: tf.zeros([200, 3], tf.float64))
  halves, shares = [], []
  for index in range(60):
    state, accepted, ratio = step(state, tf.constant([3, index]))
    for pair in (accepted, ratio):
      np.testing.assert_array_equal(*two_devices.experimental_local_results(pair))
    shares.append(np.mean(two_devices.experimental_local_results(accepted)[0]))
    halves.append(np.stack(two_devices.experimental_local_results(state)))
  assert 0.2 < np.mean(shares) < 0.999
  late = np.stack(halves[20:], axis=1)
  # 200 chains of 3 numbers, 40 steps: 2 % for each half; 4 sigma and correlation.
  np.testing.assert_allclose(np.var(late, axis=(1, 2, 3)), 1, rtol=0.12)
  assert abs(np.corrcoef(late.reshape(2, -1))[0, 1]) < 0.08


@pytest.mark.parametrize(
  "kernel",
  [_hmc(), _hmc().inner_kernel, mcmc.ScoreMetropolisHastings(_hmc().inner_kernel)],
)
def test_shard_axes_by_tfps_method(kernel):
  sharded = kernel.experimental_with_shard_axes(["space"])
  assert sharded.experimental_shard_axis_names == ["space"]
  assert kernel.experimental_shard_axis_names is None


def test_momenta_of_shards_must_be_independent():
  @tfd.JointDistributionCoroutineAutoBatched
  def chained():
    first = yield tfd.Normal(tf.zeros([3]), 1.0)
    yield tfd.Normal(first[:2], 1.0)

  kernel = _hmc(
    parts=2, momentum_distribution=chained, experimental_shard_axis_names="space"
  )
  with pytest.raises(ValueError, match="a list with one distribution per part"):
    state = _start((), "float32", 2)
    kernel.one_step(state, kernel.bootstrap_results(state), seed=(1, 2))


@pytest.mark.parametrize("name", ["hmc", "langevin"])
def test_analytic_parts_that_would_be_taken_at_wrong_places_are_refused(name):
  def make(**changes):
    arguments = dict(
      target_score_fn=lambda x: 2 / x - 1,
      step_size=0.3,
      event_ndims=1,
      analytic_log_prob_fn=lambda x: -tf.reduce_sum(x, axis=-1),
      **changes,
    )
    if name == "langevin":
      return mcmc.ScoreMetropolisAdjustedLangevinAlgorithm(**arguments)
    return mcmc.ScoreHamiltonianMonteCarlo(num_leapfrog_steps=2, **arguments)

  kernel = make()
  with pytest.raises(ValueError, match="leaves the analytic part in the old"):
    tfp.mcmc.TransformedTransitionKernel(kernel, bijector=tfb.Exp())
  with pytest.raises(ValueError, match="does not work with experimental_shard"):
    make(experimental_shard_axis_names="space")


def test_a_drawn_number_of_steps_cannot_be_adapted():
  """In a graph TensorFlow itself refuses the change of shape."""
  kernel = tfp.experimental.mcmc.GradientBasedTrajectoryLengthAdaptation(
    _hmc(num_leapfrog_steps=(2, 5)), num_adaptation_steps=3
  )
  with pytest.raises(tf.errors.InvalidArgumentError, match="Give one integer instead"):
    state = _start((2,), "float32")
    kernel.one_step(state, kernel.bootstrap_results(state), seed=(1, 2))


def test_langevin_has_no_trajectory_length_to_adapt():
  kernel = tfp.experimental.mcmc.GradientBasedTrajectoryLengthAdaptation(
    mcmc.ScoreMetropolisAdjustedLangevinAlgorithm(_score, 0.1, event_ndims=1),
    num_adaptation_steps=3,
  )
  with pytest.raises(AttributeError, match="num_leapfrog_steps"):
    kernel.bootstrap_results(_start((2,), "float32"))


def test_exchange_of_transformed_kernels_counts_their_evaluations():
  """A Gamma(3) target in log x, inside replica exchange in x."""
  kernel = mcmc.ScoreReplicaExchangeMC(
    lambda x, sigma: (2 / x - 1) / (1 + sigma[..., tf.newaxis]),
    [0.0, 1.0],
    make_kernel_fn=lambda score, sigma: tfp.mcmc.TransformedTransitionKernel(
      _hmc(target_score_fn=score), tfb.Exp()
    ),
    event_ndims=1,
    path_integral=mcmc.gauss_lobatto(4),
  )
  state = tf.random.stateless_gamma([500, 1], (1, 2), 3.0)
  results = kernel.bootstrap_results(state)
  state, results = kernel.one_step(state, results, seed=(3, 4))
  # Two replicas: 1 at the start, 4 of leapfrog, 2 + 2 of the swap, 1 after it.
  np.testing.assert_array_equal(results.num_score_evaluations, [2 * 10] * 500)
  log_prob = lambda x: tf.reduce_sum(2 * tf.math.log(x) - x, axis=-1)
  low, high = results.replica_states[0]
  change = 0.5 * (log_prob(low) - log_prob(high))
  swapped = results.is_swap_accepted[0]
  exact = np.where(swapped, change, -change)
  # Four nodes are not exact for 2 / x; neighbours of the origin are the worst.
  assert np.median(np.abs(results.log_accept_ratio[0] - exact)) < 1e-3
  assert 0.3 < np.mean(swapped) < 0.99
