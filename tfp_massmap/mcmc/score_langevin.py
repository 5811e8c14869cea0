"""Langevin kernels from the score alone.

Euler-Maruyama steps of the diffusion with volatility V(x), diagonal,

  x' = x + step/2 [V^2 score(x) + grad V^2] + sqrt(step) V z,  z ~ N(0, 1),

tested with the densities of the move and of its reverse, and the path integral of the
score for the change of the log-density.

References:
  G. Roberts and R. Tweedie 1996, Bernoulli 2, 341.
  B. Remy et al. 2022, arXiv:2201.05561, Appendix A.
"""

import collections

import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap.mcmc import metropolis
from tfp_massmap.mcmc import path_integral as path_integral_lib
from tfp_massmap.mcmc import state_parts
from tfp_massmap.mcmc import target as target_lib

ScoreUncalibratedLangevinResults = collections.namedtuple(
  "ScoreUncalibratedLangevinResults",
  [
    "log_acceptance_correction",
    "log_prob_difference",
    "target_log_prob",
    "grads_target_log_prob",
    "volatility",
    "grads_volatility",
    "step_size",
    "num_score_evaluations",
    "seed",
  ],
)
ScoreUncalibratedLangevinResults.__doc__ = """Results of one proposal.

Fields:
  log_acceptance_correction: log q(x | x') - log q(x' | x), shape of the chains.
  log_prob_difference: log p(x') - log p(x) by the path integral, shape of the chains.
  target_log_prob: log-density relative to the first state, shape of the chains.
  grads_target_log_prob, volatility, grads_volatility: scores, V and the gradient of
    V^2 at the state, lists of state parts.
  step_size: stored if `store_parameters_in_results`, else [].
  num_score_evaluations: since `bootstrap_results`, int32, shape of the chains.
  seed: of the proposal.
"""

_ARGUMENTS = """
  Args:
    target_score_fn: callable of the state parts, `fn(*parts)`, that returns the
      gradient of the log-density: a tensor like the state, or a list of them.
    step_size: tensor or list of tensors, broadcasts with the state parts; the
      variance of the noise of a step where the volatility is 1.
    event_ndims: number of trailing axes of a state part that make one event, an
      integer, or a list of them for a list of parts. All axes before are chains.
    volatility_fn: None for 1, or `fn(*parts)` that returns V, broadcasting with the
      state (a list for several parts); V of a pixel may depend on that pixel alone
      for the gradient of V^2 to be cheap, and on others at the price of a Jacobian.
    path_integral: "straight", "trajectory" (here the trapezium rule on the one step,
      free and exact for a Gaussian), or a rule: as `ScoreHamiltonianMonteCarlo`.
    num_intervals: even number of intervals of the "straight" rule.
    analytic_log_prob_fn: None, or a part of the log-density that is known, as
      `ScoreHamiltonianMonteCarlo`.
    store_parameters_in_results: whether `step_size` lives in the kernel results.
    experimental_shard_axis_names: None, or names of the axes each part is sharded
      over.
    target_log_prob_fn: for the wrappers of TFP, which transform it; leave it None.
    name: prefix of op names.

  Raises:
    ValueError: for an argument of the wrong kind, with what is allowed.
"""


class ScoreUncalibratedLangevin(tfp.mcmc.TransitionKernel):
  __doc__ = (
    """One Euler-Maruyama step of Langevin dynamics, without a test.

  As `tfp.mcmc.UncalibratedLangevin`, from the score.
"""
    + _ARGUMENTS
  )

  def __init__(
    self,
    target_score_fn=None,
    step_size=None,
    *,
    event_ndims=None,
    volatility_fn=None,
    path_integral="straight",
    num_intervals=4,
    analytic_log_prob_fn=None,
    store_parameters_in_results=False,
    experimental_shard_axis_names=None,
    target_log_prob_fn=None,
    name=None,
  ):
    state_parts.check_event_ndims(event_ndims)
    if step_size is None:
      raise ValueError("step_size is missing: a number or tensor, or one per part.")
    self._rule = path_integral_lib.resolve(path_integral, num_intervals)
    if self._rule == "trajectory":
      self._rule = path_integral_lib.gauss_lobatto(2)
    self._score, stand_in = target_lib.make_score_fn(
      target_score_fn, target_log_prob_fn, event_ndims=event_ndims
    )
    target_lib.check_analytic_part(
      analytic_log_prob_fn, stand_in, shard_axis_names=experimental_shard_axis_names
    )
    self._parameters = dict(
      target_score_fn=target_score_fn,
      step_size=step_size,
      event_ndims=event_ndims,
      volatility_fn=volatility_fn,
      path_integral=path_integral,
      num_intervals=num_intervals,
      analytic_log_prob_fn=analytic_log_prob_fn,
      store_parameters_in_results=store_parameters_in_results,
      experimental_shard_axis_names=experimental_shard_axis_names,
      target_log_prob_fn=stand_in,
      name=name or "score_langevin",
    )

  @property
  def parameters(self):
    return self._parameters

  @property
  def is_calibrated(self):
    return False

  @property
  def step_size(self):
    return self._parameters["step_size"]

  @property
  def event_ndims(self):
    return self._parameters["event_ndims"]

  @property
  def volatility_fn(self):
    return self._parameters["volatility_fn"]

  @property
  def experimental_shard_axis_names(self):
    return self._parameters["experimental_shard_axis_names"]

  def experimental_with_shard_axes(self, shard_axis_names):
    return self.copy(experimental_shard_axis_names=shard_axis_names)

  def shard_axis_names(self, num_parts):
    """Names of the shard axes, one entry per part, or None."""
    return state_parts.names_per_part(self.experimental_shard_axis_names, num_parts)

  @property
  def per_chain_fields(self):
    """Result fields of which each chain has its own value."""
    return (
      "log_acceptance_correction",
      "log_prob_difference",
      "target_log_prob",
      "grads_target_log_prob",
      "volatility",
      "grads_volatility",
    )

  def one_step(self, current_state, previous_kernel_results, seed=None):
    """Proposes a new state; see `tfp.mcmc.TransitionKernel.one_step`."""
    with tf.name_scope(f"{self._parameters['name']}/one_step"):
      previous = previous_kernel_results
      parts, unflatten = state_parts.as_parts(current_state)
      axes = state_parts.event_axes(self.event_ndims, parts)
      names = self.shard_axis_names(len(parts))
      total = lambda values: state_parts.event_sum(values, axes, shard_axis_names=names)
      stored = self._parameters["store_parameters_in_results"]
      steps = state_parts.step_sizes(
        previous.step_size if stored else self.step_size, parts
      )
      seed = tfp.random.sanitize_seed(seed)
      # The salt of `tfp.mcmc.UncalibratedLangevin`, so that seeds agree with it.
      white = state_parts.normal_like(
        parts, seed, shard_axis_names=names, salt="langevin.one_step"
      )
      here = _Place(
        parts,
        previous.grads_target_log_prob,
        previous.volatility,
        previous.grads_volatility,
      )
      end = [
        x + drift + v * tf.sqrt(h) * z
        for x, drift, v, h, z in zip(
          parts, here.drift(steps), here.volatility, steps, white
        )
      ]
      there = _Place(end, self._score(end), *self._volatility(end))
      difference = path_integral_lib.apply_rule(
        self._rule,
        self._score,
        start=parts,
        end=end,
        score_start=here.scores,
        score_end=there.scores,
        total=total,
        analytic_log_prob_fn=self._parameters["analytic_log_prob_fn"],
      )
      return unflatten(end), previous._replace(
        log_acceptance_correction=(
          there.log_proposal(here, steps, total)
          - here.log_proposal(there, steps, total)
        ),
        log_prob_difference=difference,
        target_log_prob=previous.target_log_prob + difference,
        grads_target_log_prob=there.scores,
        volatility=there.volatility,
        grads_volatility=there.grads_volatility,
        num_score_evaluations=(
          previous.num_score_evaluations
          + 1
          + path_integral_lib.num_evaluations(self._rule)
        ),
        seed=seed,
      )

  def bootstrap_results(self, init_state):
    """Evaluates the score once; see `tfp.mcmc.TransitionKernel`."""
    with tf.name_scope(f"{self._parameters['name']}/bootstrap_results"):
      parts, _ = state_parts.as_parts(init_state)
      axes = state_parts.event_axes(self.event_ndims, parts)
      zero = tf.zeros_like(state_parts.event_sum(parts, axes))
      volatility, gradients = self._volatility(parts)
      stored = self._parameters["store_parameters_in_results"]
      return ScoreUncalibratedLangevinResults(
        log_acceptance_correction=zero,
        log_prob_difference=zero,
        target_log_prob=zero,
        grads_target_log_prob=self._score(parts),
        volatility=volatility,
        grads_volatility=gradients,
        step_size=state_parts.stored_step_size(self.step_size, parts) if stored else [],
        num_score_evaluations=tf.ones_like(zero, tf.int32),
        seed=tfp.random.sanitize_seed((0, 0)),
      )

  def _volatility(self, parts):
    """V and the gradient of V^2, component by component, lists of state parts."""
    if self.volatility_fn is None:
      return [tf.ones_like(p) for p in parts], [tf.zeros_like(p) for p in parts]

    def volatility_fn(*parts):
      values = self.volatility_fn(*parts)
      values = state_parts.one_per_part(values, parts, name="volatility_fn")
      return [v + tf.zeros_like(p) for v, p in zip(values, parts)]

    axes = state_parts.event_axes(self.event_ndims, parts)
    values, gradients = tfp.math.diag_jacobian(
      xs=list(parts),
      fn=volatility_fn,
      ys=volatility_fn(*parts),
      sample_shape=state_parts.static_chain_shape(parts, axes),
    )
    gradients = [tf.zeros_like(p) if g is None else g for g, p in zip(gradients, parts)]
    return list(values), [2 * g * v for g, v in zip(gradients, values)]


class ScoreMetropolisAdjustedLangevinAlgorithm(tfp.mcmc.TransitionKernel):
  __doc__ = (
    """Langevin dynamics with a Metropolis test, from the score alone.

  As `tfp.mcmc.MetropolisAdjustedLangevinAlgorithm`. On a Gaussian target the chain is
  the same, seed by seed.
"""
    + _ARGUMENTS
    + """
  Example:

  >>> kernel = ScoreMetropolisAdjustedLangevinAlgorithm(
  ...     target_score_fn=lambda x: -x, step_size=0.5, event_ndims=1)
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
    event_ndims=None,
    volatility_fn=None,
    path_integral="straight",
    num_intervals=4,
    analytic_log_prob_fn=None,
    store_parameters_in_results=False,
    experimental_shard_axis_names=None,
    target_log_prob_fn=None,
    name=None,
  ):
    arguments = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
    self._impl = metropolis.ScoreMetropolisHastings(
      ScoreUncalibratedLangevin(**arguments)
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


class _Place(
  collections.namedtuple(
    "_Place", ["parts", "scores", "volatility", "grads_volatility"]
  )
):
  """A state with all that the proposal from it depends on."""

  def drift(self, steps):
    return [
      0.5 * h * (tf.square(v) * s + g)
      for h, v, s, g in zip(steps, self.volatility, self.scores, self.grads_volatility)
    ]

  def log_proposal(self, other, steps, total):
    """log q(other | self), but for constants."""
    terms = []
    for x, y, drift, v, h in zip(
      self.parts, other.parts, self.drift(steps), self.volatility, steps
    ):
      scale = v * tf.sqrt(h)
      terms.append(-0.5 * tf.square((y - x - drift) / scale) - tf.math.log(scale))
    return total(terms)
