"""Hamiltonian Monte Carlo from the score alone.

Leapfrog needs only the score (Remy et al. 2022, Eq. 21), and so does the Metropolis
test, with the path integral of the score for the change of the log-density (their
Appendix A, Eq. A.1):

  log a = [log p(x') - log p(x)] + [log q(m') - log q(m)],  q = N(0, M).

References:
  R. Neal 2011, MCMC using Hamiltonian dynamics, Handbook of MCMC.
  B. Remy et al. 2022, arXiv:2201.05561.
"""

import collections.abc
import typing

import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap.mcmc import base
from tfp_massmap.mcmc import integrators
from tfp_massmap.mcmc import metropolis
from tfp_massmap.mcmc import momentum as momentum_lib
from tfp_massmap.mcmc import path_integral as path_integral_lib
from tfp_massmap.mcmc import state_parts
from tfp_massmap.mcmc import step_numbers
from tfp_massmap.mcmc import target as target_lib


class ScoreUncalibratedHamiltonianMonteCarloResults(typing.NamedTuple):
  """Results of one proposal.

  Attributes:
    log_acceptance_correction: log q(m') - log q(m), shape of the chains.
    log_prob_difference: log p(x') - log p(x) by the path integral, shape of the chains.
    target_log_prob: Log-density relative to the first state, shape of the chains: the
      sum of the accepted differences. Chains have different unknown constants.
    grads_target_log_prob: Scores at the state, list of state parts.
    initial_momentum: List of state parts.
    final_momentum: List of state parts.
    step_size: Step size if `store_parameters_in_results`, else [].
    num_leapfrog_steps: Number of steps if `store_parameters_in_results`, else [].
    momentum_distribution: Distribution if `store_parameters_in_results`, else [].
    num_score_evaluations: Evaluations since `bootstrap_results`, int32, shape of the
      chains.
    seed: Seed of the proposal.
  """

  log_acceptance_correction: tf.Tensor
  log_prob_difference: tf.Tensor
  target_log_prob: tf.Tensor
  grads_target_log_prob: state_parts.Parts
  initial_momentum: state_parts.Parts
  final_momentum: state_parts.Parts
  step_size: typing.Any
  num_leapfrog_steps: typing.Any
  momentum_distribution: typing.Any
  num_score_evaluations: tf.Tensor
  seed: tf.Tensor


class ScoreHamiltonianKernel(base.TargetKernel):
  """Constructor of both Hamiltonian kernels, with and without the Metropolis test."""

  def __init__(
    self,
    target_score_fn: target_lib.ScoreFn | None = None,
    step_size: typing.Any = None,
    *,
    num_leapfrog_steps: step_numbers.NumSteps | None = None,
    event_ndims: int | collections.abc.Sequence[int] | None = None,
    target_event_ndims: int | collections.abc.Sequence[int] | None = None,
    path_integral: path_integral_lib.PathIntegral = "straight",
    num_intervals: int = 4,
    momentum_distribution: typing.Any = None,
    analytic_log_prob_fn: collections.abc.Callable[..., tf.Tensor] | None = None,
    integrator: str = "leapfrog",
    gaussian_mean: typing.Any = 0.0,
    state_gradients_are_stopped: bool = False,
    store_parameters_in_results: bool = False,
    experimental_shard_axis_names: base.ShardAxisNames = None,
    target_log_prob_fn: collections.abc.Callable[..., tf.Tensor] | None = None,
    name: str | None = None,
  ) -> None:
    """Makes the kernel.

    Args:
      target_score_fn: Function of the state parts, `fn(*parts)`, that returns the
        gradient of the log-density: a tensor like the state, or a list of them.
      step_size: Tensor, or list of tensors, that broadcasts with the state parts.
      num_leapfrog_steps: Positive integer (or integer tensor), odd or even; or a pair
        (smallest, largest), between which each step draws a number for all chains. A
        pair does not work inside `GradientBasedTrajectoryLengthAdaptation`, which has a
        jitter of its own.
      event_ndims: Number of trailing axes of a state part that make one event, an
        integer, or a list of them for a list of parts. All axes before are chains, each
        with its own test. A score has the shape of the state, so the kernel cannot infer
        this number.
      target_event_ndims: None; or the same of what `target_score_fn` gets, where
        `tfp.mcmc.TransformedTransitionKernel` has a bijector that changes the number of
        axes, such as `tfb.CorrelationCholesky`. `event_ndims` is then that of the
        unconstrained state.
      path_integral: Rule for the change of the log-density. "straight" is Simpson's rule
        on the line between the ends (`num_intervals - 1` score evaluations).
        "trajectory" integrates along the leapfrog points (no further evaluations); its
        error grows with the step as the energy error does, so that far from a Gaussian
        an adaptation to an acceptance below 0.9 makes steps too long and means wrong,
        which `mcmc.simpson(2)` avoids with one evaluation more. It may also be a rule
        such as `mcmc.gauss_lobatto(4)`, an `mcmc.PathIntegralRule`, or a function like
        its `difference_fn`.
      num_intervals: Even number of intervals of the "straight" rule; see `mcmc.simpson`.
      momentum_distribution: None for a standard normal; or a distribution on the state
        (a list of them, or one joint distribution, for a list of parts) that broadcasts
        with the chains, symmetric about 0; or a `tf.linalg.LinearOperator`, the mass
        matrix of a vector state. The covariance is the mass matrix. A distribution with
        the methods of `mcmc.MassMatrix` gives the velocity in closed form; of any other
        one the log-density is differentiated.
      analytic_log_prob_fn: None, or the part of the log-density that is known,
        `fn(*parts)`, shape of the chains. Its change is taken from its values, and only
        the rest of the score is integrated. It does not work with sharded parts, nor
        inside `tfp.mcmc.TransformedTransitionKernel`, which would not transform it.
      integrator: "leapfrog"; or "split", which rotates the Gaussian N(gaussian_mean,
        M^-1) exactly, M the mass matrix, and kicks with the rest of the score. It needs
        an `mcmc.MassMatrix`, a linear operator, or a standard normal.
      gaussian_mean: Mean of that Gaussian, broadcasts with the state (a list for several
        parts).
      state_gradients_are_stopped: Whether gradients stop at the proposed state.
      store_parameters_in_results: Whether `step_size`, `num_leapfrog_steps` and
        `momentum_distribution` live in the kernel results, where TFP's adaptations read
        and write them.
      experimental_shard_axis_names: None, or for each part the name(s) of the axes it is
        sharded over, under a `tf.distribute` strategy (one name for a single part).
      target_log_prob_fn: Set by the wrappers of TFP, which transform it; leave it None.
      name: Prefix of op names.

    Raises:
      ValueError: If an argument is missing or of the wrong kind.
    """
    step_numbers.check(num_leapfrog_steps)
    if integrator not in ("leapfrog", "split"):
      raise ValueError(f"integrator must be 'leapfrog' or 'split'; got {integrator!r}.")
    super().__init__(
      dict(
        target_score_fn=target_score_fn,
        step_size=step_size,
        num_leapfrog_steps=num_leapfrog_steps,
        event_ndims=event_ndims,
        target_event_ndims=target_event_ndims,
        path_integral=path_integral,
        num_intervals=num_intervals,
        momentum_distribution=momentum_distribution,
        analytic_log_prob_fn=analytic_log_prob_fn,
        integrator=integrator,
        gaussian_mean=gaussian_mean,
        state_gradients_are_stopped=state_gradients_are_stopped,
        store_parameters_in_results=store_parameters_in_results,
        experimental_shard_axis_names=experimental_shard_axis_names,
        target_log_prob_fn=target_log_prob_fn,
        name=name or "score_hmc",
      )
    )


class ScoreUncalibratedHamiltonianMonteCarlo(
  ScoreHamiltonianKernel, base.ScoreProposal
):
  """One trajectory of Hamiltonian dynamics, without the Metropolis test.

  It is meant for `ScoreMetropolisHastings`, and for targets whose discretisation error is
  corrected elsewhere. `__init__` describes the arguments.
  """

  per_chain_fields = (
    "log_acceptance_correction",
    "log_prob_difference",
    "target_log_prob",
    "grads_target_log_prob",
    "initial_momentum",
    "final_momentum",
  )

  def one_step(
    self,
    current_state: base.State,
    previous_kernel_results: ScoreUncalibratedHamiltonianMonteCarloResults,
    seed: typing.Any = None,
  ) -> tuple[base.State, ScoreUncalibratedHamiltonianMonteCarloResults]:
    """Returns the proposed state and its results; see `tfp.mcmc.TransitionKernel`."""
    with tf.name_scope(f"{self._parameters['name']}/one_step"):
      previous = previous_kernel_results
      parts, unflatten = state_parts.as_parts(current_state)
      events = self._events(parts)
      current = self._current(previous)
      momenta = momentum_lib.Momenta(
        current["momentum_distribution"], parts, events=events
      )
      seed = tfp.random.sanitize_seed(seed)
      momentum = momenta.sample(seed)
      num_steps = step_numbers.draw(
        self._parameters["num_leapfrog_steps"], current["num_leapfrog_steps"], seed=seed
      )
      end, final_momentum, scores, difference = self._propose(
        parts,
        momentum,
        scores=list(previous.grads_target_log_prob),
        momenta=momenta,
        steps=state_parts.tensors_per_part(
          current["step_size"], parts, name="step_size"
        ),
        num_steps=num_steps,
        events=events,
      )
      if self._parameters["state_gradients_are_stopped"]:
        end = [tf.stop_gradient(part) for part in end]
      rule_evaluations = 0 if self._rule is None else self._rule.num_score_evaluations
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
          previous.num_score_evaluations + num_steps + rule_evaluations
        ),
        seed=seed,
      )

  def bootstrap_results(
    self, init_state: base.State
  ) -> ScoreUncalibratedHamiltonianMonteCarloResults:
    """Returns the results at the start, with its score evaluated once."""
    with tf.name_scope(f"{self._parameters['name']}/bootstrap_results"):
      parts, _ = state_parts.as_parts(init_state)
      zero = self._events(parts).zeros(parts)
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

  def _propose(self, parts, momentum, *, scores, momenta, steps, num_steps, events):
    """Returns state, momentum and scores at the end, and the path integral."""
    integrator, to_motion, to_momentum = self._moves(momenta, steps, parts)
    analytic = self._parameters["analytic_log_prob_fn"]
    known_score_fn = None
    if analytic is not None:
      known_score_fn = lambda points: tfp.math.value_and_gradient(
        analytic, list(points)
      )[1]
    end = integrators.run(
      integrator,
      self._score,
      num_steps=num_steps,
      parts=parts,
      motion=to_motion(momentum),
      scores=scores,
      known_score_fn=known_score_fn,
      local_sums=events.local_sums if self._rule is None else None,
    )
    if self._rule is None:
      difference = events.add_across(end.differences)
      if analytic is not None:
        difference += analytic(*end.parts) - analytic(*parts)
    else:
      ends = path_integral_lib.PathEnds(
        parts,
        end.parts,
        score_start=scores,
        score_end=end.scores,
        total=events.sum,
      )
      difference = path_integral_lib.difference(
        self._rule, self._score, ends=ends, analytic_log_prob_fn=analytic
      )
    return end.parts, to_momentum(end.motion), end.scores, difference

  def _moves(self, momenta, steps, parts):
    """Returns the integrator, and the functions from momentum to its motion and back."""
    if self._parameters["integrator"] == "split":
      means = state_parts.tensors_per_part(
        self._parameters["gaussian_mean"], parts, name="gaussian_mean"
      )
      integrator = integrators.split(momenta.velocity, steps, means=means)
      return integrator, momenta.velocity, momenta.momentum
    unchanged = lambda momentum: momentum
    return integrators.leapfrog(momenta.velocity, steps), unchanged, unchanged

  def _parameters_to_store(self, parts, zero):
    """Returns the parameters that TFP's adaptations read and write, by name."""
    momentum_distribution = self._parameters["momentum_distribution"]
    if momentum_distribution is None:
      momentum_distribution = momentum_lib.standard_normal_composite(parts, zero)
    return dict(
      step_size=state_parts.stored_step_size(self._parameters["step_size"], parts),
      num_leapfrog_steps=step_numbers.as_stored(self._parameters["num_leapfrog_steps"]),
      momentum_distribution=momentum_distribution,
    )


class ScoreHamiltonianMonteCarlo(metropolis.TestedKernel, ScoreHamiltonianKernel):
  """Hamiltonian Monte Carlo with a Metropolis test, from the score alone.

  It takes the place of `tfp.mcmc.HamiltonianMonteCarlo` where there is a score and no
  log-density. On a Gaussian target all path integrals are exact, and the chain is the
  same as TFP's, seed by seed. On other targets the error of the path integral enters the
  acceptance: choose the rule by comparing its error, in nats, with the energy error of
  the trajectory (`examples/benchmarks/kernels.py` prints both).

  Where the score is not a gradient (a neural network), there is no density. The test
  then accepts by the work of the score along the path. The work depends on the path, so
  that detailed balance holds for no one distribution; the test still rejects proposals
  that lead far up in energy, or to values that are not finite.

  `__init__` describes the arguments, which are those of the kernel without the test,
  `ScoreUncalibratedHamiltonianMonteCarlo`.

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

  proposal_class = ScoreUncalibratedHamiltonianMonteCarlo
