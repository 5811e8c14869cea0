"""Langevin kernels from the score alone.

They take Euler-Maruyama steps of the diffusion with volatility V(x), diagonal,

  x' = x + step/2 [V^2 score(x) + grad V^2] + sqrt(step) V z,  with z from N(0, 1),

and test them with the densities of the move and of its reverse, and the path integral of
the score for the change of the log-density.

References:
  G. Roberts and R. Tweedie 1996, Bernoulli 2, 341.
  B. Remy et al. 2022, arXiv:2201.05561, Appendix A.
"""

import collections.abc
import typing

import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap.mcmc import base
from tfp_massmap.mcmc import metropolis
from tfp_massmap.mcmc import path_integral as path_integral_lib
from tfp_massmap.mcmc import state_parts
from tfp_massmap.mcmc import target as target_lib


class ScoreUncalibratedLangevinResults(typing.NamedTuple):
  """Results of one proposal.

  Attributes:
    log_acceptance_correction: log q(x | x') - log q(x' | x), shape of the chains.
    log_prob_difference: log p(x') - log p(x) by the path integral, shape of the chains.
    target_log_prob: Log-density relative to the first state, shape of the chains.
    grads_target_log_prob: Scores at the state, list of state parts.
    volatility: V at the state, list of state parts.
    grads_volatility: Gradient of V^2 at the state, list of state parts.
    step_size: Step size if `store_parameters_in_results`, else [].
    num_score_evaluations: Evaluations since `bootstrap_results`, int32, shape of the
      chains.
    seed: Seed of the proposal.
  """

  log_acceptance_correction: tf.Tensor
  log_prob_difference: tf.Tensor
  target_log_prob: tf.Tensor
  grads_target_log_prob: state_parts.Parts
  volatility: state_parts.Parts
  grads_volatility: state_parts.Parts
  step_size: typing.Any
  num_score_evaluations: tf.Tensor
  seed: tf.Tensor


class ScoreLangevinKernel(base.TargetKernel):
  """Constructor of both Langevin kernels, with and without the Metropolis test."""

  def __init__(
    self,
    target_score_fn: target_lib.ScoreFn | None = None,
    step_size: typing.Any = None,
    *,
    event_ndims: int | collections.abc.Sequence[int] | None = None,
    target_event_ndims: int | collections.abc.Sequence[int] | None = None,
    volatility_fn: collections.abc.Callable | None = None,
    path_integral: path_integral_lib.PathIntegral = "straight",
    num_intervals: int = 4,
    analytic_log_prob_fn: collections.abc.Callable[..., tf.Tensor] | None = None,
    store_parameters_in_results: bool = False,
    experimental_shard_axis_names: base.ShardAxisNames = None,
    target_log_prob_fn: collections.abc.Callable[..., tf.Tensor] | None = None,
    name: str | None = None,
  ) -> None:
    """Makes the kernel.

    Arguments that are not described here are those of `ScoreHamiltonianMonteCarlo`.

    Args:
      target_score_fn: Function of the state parts that returns the score.
      step_size: Tensor, or list of tensors, that broadcasts with the state parts: the
        variance of the noise of a step where the volatility is 1.
      event_ndims: Number of event axes, or a list with one number per part.
      target_event_ndims: None, or the same of what the score gets, where a wrapper has a
        bijector that changes the number of axes.
      volatility_fn: None for 1, or `fn(*parts)` that returns V, which broadcasts with the
        state (a list for several parts). The gradient of V^2 is cheap where V of a pixel
        depends on that pixel alone, and costs a Jacobian otherwise.
      path_integral: "straight", a rule, or "trajectory", which is here the trapezium rule
        on the one step: free, and exact for a Gaussian; on other targets its error is as
        large as the one that the test is there to correct.
      num_intervals: Even number of intervals of the "straight" rule.
      analytic_log_prob_fn: None, or the part of the log-density that is known.
      store_parameters_in_results: Whether `step_size` lives in the kernel results.
      experimental_shard_axis_names: None, or the names of the shard axes of each part.
      target_log_prob_fn: Set by the wrappers of TFP; leave it None.
      name: Prefix of op names.

    Raises:
      ValueError: If an argument is missing or of the wrong kind.
    """
    super().__init__(
      dict(
        target_score_fn=target_score_fn,
        step_size=step_size,
        event_ndims=event_ndims,
        target_event_ndims=target_event_ndims,
        volatility_fn=volatility_fn,
        path_integral=path_integral,
        num_intervals=num_intervals,
        analytic_log_prob_fn=analytic_log_prob_fn,
        store_parameters_in_results=store_parameters_in_results,
        experimental_shard_axis_names=experimental_shard_axis_names,
        target_log_prob_fn=target_log_prob_fn,
        name=name or "score_langevin",
      )
    )
    if self._rule is None:
      # The trajectory is one step, over which the trapezium needs the two ends alone.
      self._rule = path_integral_lib.gauss_lobatto(2)


class ScoreUncalibratedLangevin(ScoreLangevinKernel, base.ScoreProposal):
  """One Euler-Maruyama step of Langevin dynamics, without a Metropolis test.

  It is the counterpart of `tfp.mcmc.UncalibratedLangevin` for a target known by its
  score. `__init__` describes the arguments.
  """

  per_chain_fields = (
    "log_acceptance_correction",
    "log_prob_difference",
    "target_log_prob",
    "grads_target_log_prob",
    "volatility",
    "grads_volatility",
  )

  def one_step(
    self,
    current_state: base.State,
    previous_kernel_results: ScoreUncalibratedLangevinResults,
    seed: typing.Any = None,
  ) -> tuple[base.State, ScoreUncalibratedLangevinResults]:
    """Returns the proposed state and its results; see `tfp.mcmc.TransitionKernel`."""
    assert self._rule is not None  # The constructor replaces the trajectory.
    with tf.name_scope(f"{self._parameters['name']}/one_step"):
      previous = previous_kernel_results
      parts, unflatten = state_parts.as_parts(current_state)
      events = self._events(parts)
      steps = state_parts.tensors_per_part(
        self._current(previous)["step_size"], parts, name="step_size"
      )
      seed = tfp.random.sanitize_seed(seed)
      # The salt of `tfp.mcmc.UncalibratedLangevin`, so that seeds agree with it.
      white = events.normal_like(parts, seed=seed, salt="langevin.one_step")
      here = _Place(
        parts,
        previous.grads_target_log_prob,
        previous.volatility,
        previous.grads_volatility,
      )
      end = here.propose(steps, white)
      there = _Place(end, self._score(end), *self._volatility(end))
      ends = path_integral_lib.PathEnds(
        parts, end, score_start=here.scores, score_end=there.scores, total=events.sum
      )
      difference = path_integral_lib.difference(
        self._rule,
        self._score,
        ends=ends,
        analytic_log_prob_fn=self._parameters["analytic_log_prob_fn"],
      )
      return unflatten(end), previous._replace(
        log_acceptance_correction=(
          there.log_proposal(here, steps=steps, events=events)
          - here.log_proposal(there, steps=steps, events=events)
        ),
        log_prob_difference=difference,
        target_log_prob=previous.target_log_prob + difference,
        grads_target_log_prob=there.scores,
        volatility=there.volatility,
        grads_volatility=there.grads_volatility,
        num_score_evaluations=(
          previous.num_score_evaluations + 1 + self._rule.num_score_evaluations
        ),
        seed=seed,
      )

  def bootstrap_results(
    self, init_state: base.State
  ) -> ScoreUncalibratedLangevinResults:
    """Returns the results at the start, with its score evaluated once."""
    with tf.name_scope(f"{self._parameters['name']}/bootstrap_results"):
      parts, _ = state_parts.as_parts(init_state)
      zero = self._events(parts).zeros(parts)
      volatility, gradients = self._volatility(parts)
      step_size: state_parts.Parts = []
      if self._parameters["store_parameters_in_results"]:
        step_size = state_parts.stored_step_size(self._parameters["step_size"], parts)
      return ScoreUncalibratedLangevinResults(
        log_acceptance_correction=zero,
        log_prob_difference=zero,
        target_log_prob=zero,
        grads_target_log_prob=self._score(parts),
        volatility=volatility,
        grads_volatility=gradients,
        step_size=step_size,
        num_score_evaluations=tf.ones_like(zero, tf.int32),
        seed=tfp.random.sanitize_seed((0, 0)),
      )

  def _volatility(self, parts):
    """Returns V and the gradient of V^2, both lists of state parts."""
    given = self._parameters["volatility_fn"]
    if given is None:
      return [tf.ones_like(p) for p in parts], [tf.zeros_like(p) for p in parts]

    def volatility_fn(*parts):
      values = state_parts.one_per_part(given(*parts), parts, name="volatility_fn")
      return [v + tf.zeros_like(p) for v, p in zip(values, parts)]

    events = self._events(parts)
    chains = events.static_chain_shape(parts)
    values, gradients = tfp.math.diag_jacobian(
      xs=list(parts),
      fn=volatility_fn,
      ys=volatility_fn(*parts),
      sample_shape=chains if chains.is_fully_defined() else events.chain_shape(parts),
    )
    gradients = [tf.zeros_like(p) if g is None else g for g, p in zip(gradients, parts)]
    return list(values), [2 * g * v for g, v in zip(gradients, values)]


class ScoreMetropolisAdjustedLangevinAlgorithm(
  metropolis.TestedKernel, ScoreLangevinKernel
):
  """Langevin dynamics with a Metropolis test, from the score alone.

  It is the counterpart of `tfp.mcmc.MetropolisAdjustedLangevinAlgorithm`. On a Gaussian
  target the chain is the same, seed by seed. `__init__` describes the arguments, which
  are those of the kernel without the test, `ScoreUncalibratedLangevin`.

  Example:
  >>> kernel = ScoreMetropolisAdjustedLangevinAlgorithm(
  ...     target_score_fn=lambda x: -x, step_size=0.5, event_ndims=1)
  >>> samples = tfp.mcmc.sample_chain(
  ...     100, current_state=tf.zeros([8, 3]), kernel=kernel, trace_fn=None,
  ...     seed=(1, 2))
  >>> samples.shape
  TensorShape([100, 8, 3])
  """

  proposal_class = ScoreUncalibratedLangevin


class _Place(typing.NamedTuple):
  """A state, with everything that the proposal from it depends on."""

  parts: state_parts.Parts
  scores: state_parts.Parts
  volatility: state_parts.Parts
  grads_volatility: state_parts.Parts

  def propose(self, steps, white):
    """Returns the state that white noise leads to."""
    proposed = [
      x + drift + v * tf.sqrt(h) * z
      for x, drift, v, h, z in zip(
        self.parts, self._drift(steps), self.volatility, steps, white
      )
    ]
    return state_parts.shaped_like(proposed, self.parts)

  def log_proposal(self, other, *, steps, events):
    """Returns log q(other | self) up to a constant, shape of the chains."""
    terms = []
    for x, y, drift, v, h in zip(
      self.parts, other.parts, self._drift(steps), self.volatility, steps
    ):
      scale = v * tf.sqrt(h)
      terms.append(-0.5 * tf.square((y - x - drift) / scale) - tf.math.log(scale))
    return events.sum(state_parts.shaped_like(terms, self.parts))

  def _drift(self, steps):
    return [
      0.5 * h * (tf.square(v) * s + g)
      for h, v, s, g in zip(steps, self.volatility, self.scores, self.grads_volatility)
    ]
