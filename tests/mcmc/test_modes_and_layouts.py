"""Every way of composing the kernels, in every mode, layout and precision.

Each case runs a few steps: eagerly and in a graph, which must agree to rounding; in a
graph and under XLA twice with one seed, which must agree in every bit; and, where TFP has
the same kernel for a log-density, against TFP. `test_composition.py` and the tests of the
modules show that the chains sample their targets.

Time goes into tracing, and memory into what XLA keeps of each compilation. Therefore an
item is traced once a layout and compiled once, and TFP's kernels run eagerly.
"""

import numpy as np
import pytest
import score_targets
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc
from tfp_massmap.mcmc import kernel_results

tfb = tfp.bijectors
tfd = tfp.distributions
tfem = tfp.experimental.mcmc

SIZES = (3, 2)
CHAINS = {"one chain": (), "chains": (4,), "list of parts": (4,)}
NUM_STEPS = 3
# Every item meets every mode, layout and precision: each of these cases, and XLA in one
# of them.
CASES = [
  ("chains", "float32", "eager"),
  ("list of parts", "float64", "tfp"),
  ("one chain", "float32", ""),
]
# The layout in which XLA compiles an item. Every layout has several items.
UNDER_XLA = {
  "hamiltonian": "one chain",
  "langevin": "list of parts",
  "simple step size": "chains",
  "dual averaging": "chains",
  "mass matrix": "list of parts",
  "trajectory length": "chains",
  "bijector": "list of parts",
  "reductions": "one chain",
  "momentum": "list of parts",
  "replica exchange": "list of parts",
  "tempered": "one chain",
  "sample_fold": "one chain",
}
TOLERANCE = {"float32": 2e-4, "float64": 1e-10}


def _parts(layout):
  return 2 if layout == "list of parts" else 1


def _unpack(values):
  return values if len(values) > 1 else values[0]


def _log_prob(*parts):
  """Returns the log-density of a Gaussian about 1 with coupled neighbours and parts."""
  x = tf.concat(parts, axis=-1) - 1
  return -0.5 * tf.reduce_sum(x**2 + 0.6 * x * tf.roll(x, 1, axis=-1), axis=-1)


def _score(*parts):
  x = tf.concat(parts, axis=-1) - 1
  score = -(x + 0.3 * (tf.roll(x, 1, axis=-1) + tf.roll(x, -1, axis=-1)))
  return _unpack(tf.split(score, [p.shape[-1] for p in parts], axis=-1))


def _ours(dtype, steps=4, **changes):
  arguments = dict(
    target_score_fn=_score,
    step_size=tf.constant(0.3, dtype),
    num_leapfrog_steps=steps,
    event_ndims=1,
    path_integral="trajectory",
  )
  return mcmc.ScoreHamiltonianMonteCarlo(**{**arguments, **changes})


def _theirs(dtype, steps=4):
  return tfp.mcmc.HamiltonianMonteCarlo(_log_prob, tf.constant(0.3, dtype), steps)


def _preconditioned(dtype, steps=4, **changes):
  """Returns TFP's kernel whose momenta are of the class that adaptations update."""
  return tfem.PreconditionedHamiltonianMonteCarlo(
    _log_prob, tf.constant(0.3, dtype), steps, **changes
  )


def _variances(layout, dtype):
  return [
    tfp.experimental.stats.RunningVariance.from_stats(
      num_samples=tf.constant(5.0, dtype),
      mean=tf.ones([size], dtype),
      variance=tf.fill([size], tf.constant(0.8, dtype)),
    )
    for size in SIZES[: _parts(layout)]
  ]


def _momentum(layout, dtype):
  """Returns momenta in the form of TFP's PreconditionedHamiltonianMonteCarlo."""
  normals = [
    tfd.MultivariateNormalDiag(scale_diag=tf.linspace(tf.constant(0.8, dtype), 1.3, n))
    for n in SIZES[: _parts(layout)]
  ]
  return tfd.JointDistributionSequential(normals)


def _simple(inner, dtype):
  return tfp.mcmc.SimpleStepSizeAdaptation(
    inner, num_adaptation_steps=NUM_STEPS, target_accept_prob=tf.constant(0.8, dtype)
  )


def _dual(inner, dtype):
  return tfp.mcmc.DualAveragingStepSizeAdaptation(
    inner, num_adaptation_steps=NUM_STEPS, target_accept_prob=tf.constant(0.8, dtype)
  )


def _bijector(layout, dtype):
  bijectors = [tfb.Softplus(), tfb.Scale(tf.constant(2.0, dtype))]
  return _unpack(bijectors[: _parts(layout)])


def _smoothed_score(*arguments):
  """Returns the score at temperature 1 + sigma^2; sigma broadcasts with the chains."""
  *parts, sigma = arguments
  scores = tf.nest.flatten(_score(*parts))
  return _unpack([s / (1 + sigma[..., tf.newaxis] ** 2) for s in scores])


def _replica_exchange(layout, dtype):
  del layout
  return mcmc.ScoreReplicaExchangeMC(
    _smoothed_score,
    sigmas=[0.0, 0.7, 1.5],
    event_ndims=1,
    make_kernel_fn=lambda score, sigma: _ours(dtype, target_score_fn=score),
  )


def _tempered(layout, dtype):
  return mcmc.TemperedMC(
    _smoothed_score,
    sigmas=[1.0, 0.5],
    min_steps=2,
    chain_ndims=len(CHAINS[layout]),
    make_kernel_fn=lambda score, sigma: _ours(dtype, target_score_fn=score),
  )


def _langevin(layout, dtype):
  del layout
  return mcmc.ScoreMetropolisAdjustedLangevinAlgorithm(
    _score,
    tf.constant(0.2, dtype),
    event_ndims=1,
    volatility_fn=lambda *parts: _unpack([1 / (1 + 0.1 * tf.square(p)) for p in parts]),
  )


# Each item has two functions of (layout, dtype): one makes our kernel, the other the same
# around TFP's own kernel. The second is None where TFP has no such chain. Adaptations
# take short trajectories, because TFP's momenta are slow to evaluate.
ITEMS = {
  "hamiltonian": (
    lambda layout, dtype: _ours(dtype),
    lambda layout, dtype: _theirs(dtype),
  ),
  "langevin": (
    _langevin,
    lambda layout, dtype: tfp.mcmc.MetropolisAdjustedLangevinAlgorithm(
      _log_prob,
      tf.constant(0.2, dtype),
      volatility_fn=lambda *parts: _unpack(
        [1 / (1 + 0.1 * tf.square(p)) for p in parts]
      ),
    ),
  ),
  "simple step size": (
    lambda layout, dtype: _simple(_ours(dtype, steps=2), dtype),
    lambda layout, dtype: _simple(_preconditioned(dtype, steps=2), dtype),
  ),
  "dual averaging": (
    lambda layout, dtype: _dual(_ours(dtype, steps=2), dtype),
    lambda layout, dtype: _dual(_preconditioned(dtype, steps=2), dtype),
  ),
  "mass matrix": (
    lambda layout, dtype: tfem.DiagonalMassMatrixAdaptation(
      _ours(dtype, steps=2), initial_running_variance=_variances(layout, dtype)
    ),
    lambda layout, dtype: tfem.DiagonalMassMatrixAdaptation(
      _preconditioned(dtype, steps=2),
      initial_running_variance=_variances(layout, dtype),
    ),
  ),
  "trajectory length": (
    lambda layout, dtype: tfem.GradientBasedTrajectoryLengthAdaptation(
      _dual(_ours(dtype, steps=1), dtype),
      num_adaptation_steps=NUM_STEPS,
      max_leapfrog_steps=8,
    ),
    lambda layout, dtype: tfem.GradientBasedTrajectoryLengthAdaptation(
      _dual(_preconditioned(dtype, steps=1), dtype),
      num_adaptation_steps=NUM_STEPS,
      max_leapfrog_steps=8,
    ),
  ),
  "bijector": (
    lambda layout, dtype: tfp.mcmc.TransformedTransitionKernel(
      _ours(dtype), _bijector(layout, dtype)
    ),
    None,
  ),
  "reductions": (
    lambda layout, dtype: tfem.WithReductions(
      _ours(dtype), tfem.ExpectationsReducer(transform_fn=_first_part)
    ),
    lambda layout, dtype: tfem.WithReductions(
      _theirs(dtype), tfem.ExpectationsReducer(transform_fn=_first_part)
    ),
  ),
  "momentum": (
    lambda layout, dtype: _ours(dtype, momentum_distribution=_momentum(layout, dtype)),
    lambda layout, dtype: _preconditioned(
      dtype, momentum_distribution=_momentum(layout, dtype)
    ),
  ),
  "replica exchange": (_replica_exchange, None),
  "tempered": (_tempered, None),
}


def _start(layout, dtype):
  rng = np.random.default_rng(7)
  parts = [
    tf.constant(rng.uniform(0.2, 1.5, [*CHAINS[layout], size]), dtype)
    for size in SIZES[: _parts(layout)]
  ]
  return _unpack(parts)


def _chain(make, layout, dtype):
  """Returns a function that gives the states of a run, and what is left at its end.

  The last acceptance ratio is among it, which shows faults that change no decision.
  """

  def sample():
    results = tfp.mcmc.sample_chain(
      NUM_STEPS,
      _start(layout, dtype),
      kernel=make(layout, dtype),
      seed=(1, 2),
      trace_fn=None,
      return_final_kernel_results=True,
    )
    reduction = kernel_results.find(results.final_kernel_results, "reduction_results")
    means = [] if reduction is None else tf.nest.flatten(reduction)
    ratio = kernel_results.find(results.final_kernel_results, "log_accept_ratio")
    return results.all_states, [ratio, *(mean.mean for mean in means)]

  return sample


def _fold(make, layout, dtype):
  def sample():
    reduction, state, _ = tfem.sample_fold(
      NUM_STEPS,
      _start(layout, dtype),
      kernel=make(layout, dtype),
      seed=(1, 2),
      reducer=tfem.ExpectationsReducer(transform_fn=_first_part),
    )
    return state, tf.nest.flatten(reduction)

  return sample


def _first_part(state, _):
  return tf.nest.flatten(state)[0]


def _assert_close(some, others, tolerance):
  some, others = tf.nest.flatten(some), tf.nest.flatten(others)
  assert len(some) == len(others)
  for one, other in zip(some, others):
    np.testing.assert_allclose(one, other, atol=tolerance, rtol=tolerance)


@pytest.mark.filterwarnings(score_targets.UNCALIBRATED)
@pytest.mark.parametrize("layout, dtype, compared_with", CASES)
@pytest.mark.parametrize("item", UNDER_XLA)
def test_modes_seeds_and_tfp_agree(item, layout, dtype, compared_with):
  driver = _fold if item == "sample_fold" else _chain
  ours, theirs = ITEMS.get(item, ITEMS["hamiltonian"])
  sample = driver(ours, layout, dtype)
  if item == "trajectory length" and layout == "one chain":
    # Its criterion is a mean over chains. TFP raises errors of several classes here.
    with pytest.raises(Exception):  # noqa: B017
      sample()
    return
  leading = () if item == "sample_fold" else (NUM_STEPS,)
  graph = tf.function(sample).get_concrete_function()
  in_graph = graph()
  _assert_layout(in_graph[0], layout, dtype, leading)
  _assert_close(graph(), in_graph, 0)
  if UNDER_XLA[item] == layout:
    # A single chain is traced once more, as users' functions are, for XLA alone.
    traced = sample if layout == "one chain" else lambda: graph()
    xla = tf.function(traced, jit_compile=True)
    under_xla = xla()
    _assert_layout(under_xla[0], layout, dtype, leading)
    _assert_close(xla(), under_xla, 0)
  # XLA draws other random numbers from the same seed; TFP's kernels and eager mode do not.
  if compared_with == "eager":
    # A copy is the same kernel, which the eager chain shows without a run of its own.
    eager = driver(lambda *case: ours(*case).copy(), layout, dtype)()
    _assert_layout(eager[0], layout, dtype, leading)
    _assert_close(eager, in_graph, TOLERANCE[dtype])
  elif compared_with == "tfp" and theirs is not None:
    expected = driver(theirs, layout, dtype)()
    _assert_close(in_graph, expected, 20 * TOLERANCE[dtype])


def _assert_layout(states, layout, dtype, leading):
  flat = tf.nest.flatten(states)
  assert len(flat) == _parts(layout) and isinstance(states, list) == (len(flat) > 1)
  for part, size in zip(flat, SIZES):
    assert part.dtype == dtype and part.shape == (*leading, *CHAINS[layout], size)
    assert np.isfinite(part).all() and np.ptp(part) > 0


@pytest.mark.parametrize("item", ITEMS)
def test_copies_have_the_same_parameters(item):
  kernel = ITEMS[item][0]("chains", "float64")
  copied = kernel.copy()
  assert type(copied) is type(kernel) and set(copied.parameters) == set(
    kernel.parameters
  )
