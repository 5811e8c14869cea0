"""Hamiltonian Monte Carlo from the score alone.

Leapfrog needs only the score (paper Eq. 21), and so does the Metropolis test, with
the path integral of the score for the change of the log-density (paper Appendix A,
Eq. A.1):

  log a = [log p(x') - log p(x)] + [log q(m') - log q(m)],  q = N(0, M).

References:
  R. Neal 2011, MCMC using Hamiltonian dynamics, Handbook of MCMC.
  B. Remy et al. 2022, arXiv:2201.05561.
"""

import collections
import functools

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap.mcmc import integrators
from tfp_massmap.mcmc import metropolis
from tfp_massmap.mcmc import momentum as momentum_lib
from tfp_massmap.mcmc import path_integral as path_integral_lib
from tfp_massmap.mcmc import state_parts
from tfp_massmap.mcmc import target as target_lib

ScoreUncalibratedHamiltonianMonteCarloResults = collections.namedtuple(
  "ScoreUncalibratedHamiltonianMonteCarloResults",
  [
    "log_acceptance_correction",
    "log_prob_difference",
    "target_log_prob",
    "grads_target_log_prob",
    "initial_momentum",
    "final_momentum",
    "step_size",
    "num_leapfrog_steps",
    "momentum_distribution",
    "num_score_evaluations",
    "seed",
  ],
)
ScoreUncalibratedHamiltonianMonteCarloResults.__doc__ = """Results of one proposal.

Fields:
  log_acceptance_correction: log q(m') - log q(m), shape of the chains.
  log_prob_difference: log p(x') - log p(x) by the path integral, shape of the chains.
  target_log_prob: log-density relative to the first state, the sum of the accepted
    differences, shape of the chains. Chains have different unknown constants.
  grads_target_log_prob: scores at the state, list of state parts.
  initial_momentum, final_momentum: lists of state parts.
  step_size, num_leapfrog_steps, momentum_distribution: stored if
    `store_parameters_in_results`, else [].
  num_score_evaluations: since `bootstrap_results`, int32, shape of the chains.
  seed: of the proposal.
"""

_ARGUMENTS = """
  Args:
    target_score_fn: callable of the state parts, `fn(*parts)`, that returns the
      gradient of the log-density: a tensor like the state, or a list of them.
    step_size: tensor or list of tensors, broadcasts with the state parts.
    num_leapfrog_steps: positive integer (or integer tensor), odd or even; or a pair
      (smallest, largest), between which each step draws a number for all chains. Not a
      pair inside `GradientBasedTrajectoryLengthAdaptation`, which jitters by itself.
    event_ndims: number of trailing axes of a state part that make one event, an
      integer, or a list of them for a list of parts. All axes before are chains,
      each with its own test. A score has the shape of the state, so the kernel
      cannot find this out.
    path_integral: how the change of the log-density is computed:
      "straight", Simpson's rule on the line between the ends (`num_intervals - 1`
      score evaluations); "trajectory", along the leapfrog points (free); a rule such
      as `mcmc.gauss_lobatto(4)`; or any callable `fn(score_fn, start, end,
      score_start, score_end, total) -> difference` of lists of state parts, with
      `total` the sum over events, which may have an attribute
      `num_score_evaluations`.
    num_intervals: even number of intervals of the "straight" rule.
    momentum_distribution: None for a standard normal; a distribution on the state (a
      list of them, or one joint distribution, for a list of parts) that broadcasts
      with the chains, symmetric about 0; or a `tf.linalg.LinearOperator`, the mass
      matrix of a vector state. The covariance is the mass matrix. If it has a method
      `velocity(momentum)`, that is used for minus the gradient of its log-density;
      otherwise the gradient is taken.
    analytic_log_prob_fn: None, or the part of the log-density that is known,
      `fn(*parts)`, shape of the chains. Its change is taken from its values, and
      only the rest of the score is integrated. Not with sharded parts, and not inside
      `tfp.mcmc.TransformedTransitionKernel`, which would leave it untransformed.
    integrator: "leapfrog"; or "split", which rotates the Gaussian N(gaussian_mean,
      M^-1) exactly, M the mass matrix, and kicks with the rest of the score. The
      momentum distribution must then have `velocity` and its inverse, `momentum`.
    gaussian_mean: mean of that Gaussian, broadcasts with the state (a list for
      several parts).
    state_gradients_are_stopped: whether gradients stop at the proposed state.
    store_parameters_in_results: whether `step_size`, `num_leapfrog_steps` and
      `momentum_distribution` live in the kernel results, where TFP's adaptations
      read and write them.
    experimental_shard_axis_names: None, or for each part the name(s) of the axes it
      is sharded over, under a `tf.distribute` strategy (one name for a single part).
    target_log_prob_fn: for the wrappers of TFP, which transform it; leave it None.
    name: prefix of op names.

  Raises:
    ValueError: for an argument of the wrong kind, with what is allowed.
"""


class ScoreUncalibratedHamiltonianMonteCarlo(tfp.mcmc.TransitionKernel):
  __doc__ = (
    """One trajectory, without the Metropolis test.

  For `ScoreMetropolisHastings`, and for targets whose discretisation error is
  corrected elsewhere.
"""
    + _ARGUMENTS
  )

  def __init__(
    self,
    target_score_fn=None,
    step_size=None,
    *,
    num_leapfrog_steps=None,
    event_ndims=None,
    path_integral="straight",
    num_intervals=4,
    momentum_distribution=None,
    analytic_log_prob_fn=None,
    integrator="leapfrog",
    gaussian_mean=0.0,
    state_gradients_are_stopped=False,
    store_parameters_in_results=False,
    experimental_shard_axis_names=None,
    target_log_prob_fn=None,
    name=None,
  ):
    state_parts.check_event_ndims(event_ndims)
    _check_steps(step_size, num_leapfrog_steps)
    if integrator not in ("leapfrog", "split"):
      raise ValueError(f"integrator must be 'leapfrog' or 'split'; got {integrator!r}.")
    self._rule = path_integral_lib.resolve(path_integral, num_intervals)
    self._score, stand_in = target_lib.make_score_fn(
      target_score_fn, target_log_prob_fn, event_ndims=event_ndims
    )
    target_lib.check_analytic_part(
      analytic_log_prob_fn, stand_in, shard_axis_names=experimental_shard_axis_names
    )
    self._parameters = dict(
      target_score_fn=target_score_fn,
      step_size=step_size,
      num_leapfrog_steps=num_leapfrog_steps,
      event_ndims=event_ndims,
      path_integral=path_integral,
      num_intervals=num_intervals,
      momentum_distribution=momentum_distribution,
      analytic_log_prob_fn=analytic_log_prob_fn,
      integrator=integrator,
      gaussian_mean=gaussian_mean,
      state_gradients_are_stopped=state_gradients_are_stopped,
      store_parameters_in_results=store_parameters_in_results,
      experimental_shard_axis_names=experimental_shard_axis_names,
      target_log_prob_fn=stand_in,
      name=name or "score_hmc",
    )

  @property
  def parameters(self):
    return self._parameters

  @property
  def is_calibrated(self):
    return False

  @property
  def target_score_fn(self):
    return self._parameters["target_score_fn"]

  @property
  def step_size(self):
    return self._parameters["step_size"]

  @property
  def num_leapfrog_steps(self):
    return self._parameters["num_leapfrog_steps"]

  @property
  def event_ndims(self):
    return self._parameters["event_ndims"]

  @property
  def momentum_distribution(self):
    return self._parameters["momentum_distribution"]

  @property
  def experimental_shard_axis_names(self):
    return self._parameters["experimental_shard_axis_names"]

  def experimental_with_shard_axes(self, shard_axis_names):
    return self.copy(experimental_shard_axis_names=shard_axis_names)

  @property
  def per_chain_fields(self):
    """Result fields of which each chain has its own value."""
    return (
      "log_acceptance_correction",
      "log_prob_difference",
      "target_log_prob",
      "grads_target_log_prob",
      "initial_momentum",
      "final_momentum",
    )

  def shard_axis_names(self, num_parts):
    """Names of the shard axes, one entry per part, or None."""
    return state_parts.names_per_part(self.experimental_shard_axis_names, num_parts)

  def one_step(self, current_state, previous_kernel_results, seed=None):
    """Proposes a new state; see `tfp.mcmc.TransitionKernel.one_step`."""
    with tf.name_scope(f"{self._parameters['name']}/one_step"):
      parts, unflatten = state_parts.as_parts(current_state)
      axes = state_parts.event_axes(self.event_ndims, parts)
      names = self.shard_axis_names(len(parts))
      stored = self._stored_parameters(previous_kernel_results)
      momenta = momentum_lib.Momenta(
        stored["momentum_distribution"], parts, axes=axes, shard_axis_names=names
      )
      seed = tfp.random.sanitize_seed(seed)
      momentum = momenta.sample(seed)
      num_steps = self._number_of_steps(stored["num_leapfrog_steps"], seed)
      end, final_momentum, scores, difference = self._propose(
        parts,
        momentum,
        list(previous_kernel_results.grads_target_log_prob),
        momenta,
        state_parts.step_sizes(stored["step_size"], parts),
        num_steps,
        axes,
        names,
      )
      if self._parameters["state_gradients_are_stopped"]:
        end = [tf.stop_gradient(part) for part in end]
      previous = previous_kernel_results
      return unflatten(end), previous._replace(
        log_acceptance_correction=(
          momenta.log_prob(final_momentum) - momenta.log_prob(momentum)
        ),
        log_prob_difference=difference,
        target_log_prob=previous.target_log_prob + difference,
        grads_target_log_prob=scores,
        initial_momentum=momentum,
        final_momentum=final_momentum,
        num_score_evaluations=(
          previous.num_score_evaluations + num_steps + self._rule_evaluations()
        ),
        seed=seed,
      )

  def bootstrap_results(self, init_state):
    """Evaluates the score once; see `tfp.mcmc.TransitionKernel`."""
    with tf.name_scope(f"{self._parameters['name']}/bootstrap_results"):
      parts, _ = state_parts.as_parts(init_state)
      axes = state_parts.event_axes(self.event_ndims, parts)
      zero = tf.zeros_like(state_parts.event_sum(parts, axes))
      stored = {}
      if self._parameters["store_parameters_in_results"]:
        stored = self._parameters_to_store(parts, zero)
      return ScoreUncalibratedHamiltonianMonteCarloResults(
        log_acceptance_correction=zero,
        log_prob_difference=zero,
        target_log_prob=zero,
        grads_target_log_prob=self._score(parts),
        initial_momentum=[tf.zeros_like(part) for part in parts],
        final_momentum=[tf.zeros_like(part) for part in parts],
        step_size=stored.get("step_size", []),
        num_leapfrog_steps=stored.get("num_leapfrog_steps", []),
        momentum_distribution=stored.get("momentum_distribution", []),
        num_score_evaluations=tf.ones_like(zero, tf.int32),
        seed=tfp.random.sanitize_seed((0, 0)),
      )

  def _propose(self, parts, momentum, scores, momenta, steps, num_steps, axes, names):
    """Returns the end of the trajectory: state, momentum, score, difference."""
    if self._parameters["integrator"] == "split":
      means = state_parts.step_sizes(self._parameters["gaussian_mean"], parts)
      integrator = integrators.split(momenta.velocity, steps, means=means)
      motion, to_momentum = momenta.velocity(momentum), momenta.momentum
    else:
      integrator = integrators.leapfrog(momenta.velocity, steps)
      motion, to_momentum = momentum, lambda motion: motion
    analytic = self._parameters["analytic_log_prob_fn"]
    known_score_fn = None
    if analytic is not None:
      known_score_fn = lambda points: tfp.math.value_and_gradient(
        analytic, list(points)
      )[1]
    along = self._rule == "trajectory"
    local_sums = functools.partial(state_parts.local_sums, axes=axes)
    end = integrators.run(
      integrator,
      self._score,
      num_steps=num_steps,
      parts=parts,
      motion=motion,
      scores=scores,
      known_score_fn=known_score_fn,
      local_sums=local_sums if along else None,
    )
    if along:
      difference = state_parts.add_across(end.differences, names)
      if analytic is not None:
        difference += analytic(*end.parts) - analytic(*parts)
    else:
      difference = path_integral_lib.apply_rule(
        self._rule,
        self._score,
        start=parts,
        end=end.parts,
        score_start=scores,
        score_end=end.scores,
        total=functools.partial(
          state_parts.event_sum, axes=axes, shard_axis_names=names
        ),
        analytic_log_prob_fn=analytic,
      )
    return end.parts, to_momentum(end.motion), end.scores, difference

  def _stored_parameters(self, results):
    names = ("step_size", "num_leapfrog_steps", "momentum_distribution")
    if self._parameters["store_parameters_in_results"]:
      return {name: getattr(results, name) for name in names}
    return {name: self._parameters[name] for name in names}

  def _parameters_to_store(self, parts, zero):
    if isinstance(self.num_leapfrog_steps, (list, tuple)):
      steps = tf.convert_to_tensor(self.num_leapfrog_steps, tf.int32)
    else:
      steps = tf.cast(self.num_leapfrog_steps, tf.int32)
    momentum_distribution = self.momentum_distribution
    if momentum_distribution is None:
      momentum_distribution = momentum_lib.standard_normal_composite(parts, zero)
    return dict(
      step_size=state_parts.stored_step_size(self.step_size, parts),
      num_leapfrog_steps=steps,
      momentum_distribution=momentum_distribution,
    )

  def _number_of_steps(self, num_steps, seed):
    """The number of this step: as given, or drawn between two bounds."""
    bounds = self.num_leapfrog_steps
    if not isinstance(bounds, (list, tuple)):
      static = tf.get_static_value(num_steps)
      return tf.cast(num_steps if static is None else static, tf.int32)
    unchanged = tf.debugging.assert_equal(
      num_steps,
      tf.constant(bounds, tf.int32),
      message=(
        "num_leapfrog_steps is a pair, between which the kernel draws, but an"
        " adaptation has set a number of its own, as"
        " GradientBasedTrajectoryLengthAdaptation does, with its own jitter. Give"
        " one integer instead of the pair."
      ),
    )
    with tf.control_dependencies([unchanged] if unchanged is not None else []):
      num_steps = tf.identity(num_steps)
    jitter_seed = tfp.random.split_seed(seed, n=2, salt="num_leapfrog_steps")[0]
    return tf.random.stateless_uniform(
      [], jitter_seed, num_steps[0], num_steps[1] + 1, tf.int32
    )

  def _rule_evaluations(self):
    if self._rule == "trajectory":
      return 0
    return path_integral_lib.num_evaluations(self._rule)


class ScoreHamiltonianMonteCarlo(tfp.mcmc.TransitionKernel):
  __doc__ = (
    """Hamiltonian Monte Carlo with a Metropolis test, from the score alone.

  Takes the place of `tfp.mcmc.HamiltonianMonteCarlo` where there is a score and no
  log-density. On a Gaussian target all path integrals are exact and the chain is the
  same, seed by seed. On others their error enters the acceptance: choose the rule by
  comparing its error, in nats, with the energy error of the trajectory.

  Where the score is not a gradient (a neural network), there is no density. The test
  then accepts by the work of the score along the path, which depends on the path and
  holds detailed balance for no one distribution; it still rejects what leads far up
  the energy, or to values that are not finite.
"""
    + _ARGUMENTS
    + """
  Example:

  >>> kernel = ScoreHamiltonianMonteCarlo(
  ...     target_score_fn=lambda x: -x, step_size=0.5, num_leapfrog_steps=4,
  ...     event_ndims=1)
  >>> samples = tfp.mcmc.sample_chain(
  ...     100, current_state=tf.zeros([8, 3]), kernel=kernel, trace_fn=None,
  ...     seed=(1, 2))
  >>> samples.shape
  TensorShape([100, 8, 3])
  """
  )

  def __init__(
    self,
    target_score_fn=None,
    step_size=None,
    *,
    num_leapfrog_steps=None,
    event_ndims=None,
    path_integral="straight",
    num_intervals=4,
    momentum_distribution=None,
    analytic_log_prob_fn=None,
    integrator="leapfrog",
    gaussian_mean=0.0,
    state_gradients_are_stopped=False,
    store_parameters_in_results=False,
    experimental_shard_axis_names=None,
    target_log_prob_fn=None,
    name=None,
  ):
    arguments = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
    self._impl = metropolis.ScoreMetropolisHastings(
      ScoreUncalibratedHamiltonianMonteCarlo(**arguments)
    )

  @property
  def inner_kernel(self):
    return self._impl.inner_kernel

  @property
  def parameters(self):
    return self._impl.inner_kernel.parameters

  @property
  def is_calibrated(self):
    return True

  @property
  def experimental_shard_axis_names(self):
    return self.inner_kernel.experimental_shard_axis_names

  def experimental_with_shard_axes(self, shard_axis_names):
    return self.copy(experimental_shard_axis_names=shard_axis_names)

  def one_step(self, current_state, previous_kernel_results, seed=None):
    """One tested step; see `tfp.mcmc.TransitionKernel.one_step`."""
    return self._impl.one_step(current_state, previous_kernel_results, seed=seed)

  def bootstrap_results(self, init_state):
    """Evaluates the score once; see `tfp.mcmc.TransitionKernel`."""
    return self._impl.bootstrap_results(init_state)


def _check_steps(step_size, num_leapfrog_steps):
  if step_size is None:
    raise ValueError("step_size is missing: a number or tensor, or one per part.")
  if num_leapfrog_steps is None:
    raise ValueError("num_leapfrog_steps is missing: a positive integer or a pair.")
  if isinstance(num_leapfrog_steps, (list, tuple)):
    if len(num_leapfrog_steps) != 2 or not (
      1 <= num_leapfrog_steps[0] <= num_leapfrog_steps[1]
    ):
      raise ValueError(
        "A pair num_leapfrog_steps must be (smallest, largest), both positive; got"
        f" {num_leapfrog_steps}."
      )
    return
  steps = tf.get_static_value(num_leapfrog_steps)
  if steps is None:
    whole = getattr(num_leapfrog_steps, "dtype", tf.int32).is_integer
  else:
    whole = np.ndim(steps) == 0 and steps == int(steps) and steps >= 1
  if not whole:
    raise ValueError(
      f"num_leapfrog_steps must be a positive integer; got {num_leapfrog_steps}."
    )
