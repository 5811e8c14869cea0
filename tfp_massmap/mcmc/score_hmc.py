"""Hamiltonian Monte Carlo from the score alone.

Leapfrog needs only the score (paper Eq. 21):

  m <- m + step/2 score(x);  x <- x + step M^-1 m;  m <- m + step/2 score(x)

and so does the Metropolis test, with the path integral of the score for the change
of the log-density (paper Appendix A, Eq. A.1):

  log a = [log p(x') - log p(x)] + [log q(m') - log q(m)],  q = N(0, M).

References:
  R. Neal 2011, MCMC using Hamiltonian dynamics, Handbook of MCMC.
  B. Remy et al. 2022, arXiv:2201.05561.
"""

import collections

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap.mcmc import path_integral as path_integral_lib

UncalibratedScoreHMCResults = collections.namedtuple(
    "UncalibratedScoreHMCResults",
    [
        "log_acceptance_correction",
        "log_prob_difference",
        "grads_target_log_prob",
        "initial_momentum",
        "final_momentum",
        "step_size",
        "num_leapfrog_steps",
        "num_score_evaluations",
        "seed",
    ],
)
UncalibratedScoreHMCResults.__doc__ = """Results of one proposal.

Fields:
  log_acceptance_correction: log q(m') - log q(m), shape of the chains.
  log_prob_difference: log p(x') - log p(x) by the path integral, shape of the chains.
  grads_target_log_prob: scores at the state, list of state parts.
  initial_momentum, final_momentum: lists of state parts.
  step_size, num_leapfrog_steps: stored if `store_parameters_in_results`, else [].
  num_score_evaluations: since `bootstrap_results`, int32, shape of the chains.
  seed: of the proposal.
"""

ScoreHMCResults = collections.namedtuple(
    "ScoreHMCResults",
    [
        "accepted_results",
        "is_accepted",
        "log_accept_ratio",
        "proposed_state",
        "proposed_results",
        "num_score_evaluations",
        "seed",
    ],
)
ScoreHMCResults.__doc__ = """Results of one Metropolis-tested step, names of TFP.

There is no `target_log_prob`: a score does not know it. Kernels that need one must
not be given this kernel.

Fields:
  accepted_results, proposed_results: `UncalibratedScoreHMCResults`.
  is_accepted: bool, shape of the chains.
  log_accept_ratio: shape of the chains; -inf where it is not finite.
  proposed_state: structure of the state.
  num_score_evaluations: since `bootstrap_results`, int32, shape of the chains.
  seed: of the step.
"""


class ScoreUncalibratedHamiltonianMonteCarlo(tfp.mcmc.TransitionKernel):
  """One leapfrog trajectory, without the Metropolis test.

  For `ScoreHamiltonianMonteCarlo`, and for targets whose discretisation error is
  corrected elsewhere.

  Args:
    target_score_fn: callable of the state parts, `fn(*parts)`, that returns the
      gradient of the log-density: a tensor like the state, or a list of them.
    step_size: tensor or list of tensors, broadcasts with the state parts.
    num_leapfrog_steps: positive integer. Even for `path_integral="trajectory"`.
    event_ndims: number of trailing axes of a state part that make one event, an
      integer, or a list of them for a list of parts. All axes before are chains,
      each with its own test. A score has the shape of the state, so the kernel
      cannot find this out.
    path_integral: "straight", Simpson's rule on the line between the ends
      (`num_intervals - 1` score evaluations), or "trajectory", Simpson's rule
      along the leapfrog points (free).
    num_intervals: even number of intervals of the "straight" rule.
    momentum_distribution: None for a standard normal, or a distribution on the state
      (a list of them for a list of parts) that broadcasts with the chains, symmetric
      about 0. Its covariance is the mass matrix. If it has a method
      `velocity(momentum)`, that is used for minus the gradient of its log-density;
      otherwise the gradient is taken.
    state_gradients_are_stopped: whether gradients stop at the proposed state.
    store_parameters_in_results: whether `step_size` and `num_leapfrog_steps` live in
      the kernel results, where step-size adaptation reads and writes them.
    name: prefix of op names.

  Raises:
    ValueError: for an odd `num_leapfrog_steps` with the trajectory rule, an odd
      `num_intervals`, an unknown `path_integral`, or a missing `event_ndims`.
  """

  def __init__(self, target_score_fn, step_size, num_leapfrog_steps, event_ndims,
               path_integral="straight", num_intervals=4,
               momentum_distribution=None, state_gradients_are_stopped=False,
               store_parameters_in_results=False, name=None):
    _check_arguments(
        target_score_fn, num_leapfrog_steps, event_ndims, path_integral, num_intervals
    )
    self._parameters = dict(
        target_score_fn=target_score_fn,
        step_size=step_size,
        num_leapfrog_steps=num_leapfrog_steps,
        event_ndims=event_ndims,
        path_integral=path_integral,
        num_intervals=num_intervals,
        momentum_distribution=momentum_distribution,
        state_gradients_are_stopped=state_gradients_are_stopped,
        store_parameters_in_results=store_parameters_in_results,
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
  def path_integral(self):
    return self._parameters["path_integral"]

  @property
  def num_intervals(self):
    return self._parameters["num_intervals"]

  @property
  def momentum_distribution(self):
    return self._parameters["momentum_distribution"]

  @property
  def name(self):
    return self._parameters["name"]

  def one_step(self, current_state, previous_kernel_results, seed=None):
    """Proposes a new state; see `tfp.mcmc.TransitionKernel.one_step`."""
    with tf.name_scope(f"{self.name}/one_step"):
      parts, unflatten = _parts(current_state)
      axes = self._event_axes(parts)
      stored = self._parameters["store_parameters_in_results"]
      step_size = previous_kernel_results.step_size if stored else self.step_size
      num_steps = (
          previous_kernel_results.num_leapfrog_steps
          if stored
          else self.num_leapfrog_steps
      )
      step_sizes = _step_sizes(step_size, parts)
      momentum_distributions = self._momentum_distributions(parts)
      seed = tfp.random.sanitize_seed(seed)
      momentum = self._sample_momentum(momentum_distributions, parts, axes, seed)
      scores = list(previous_kernel_results.grads_target_log_prob)
      proposed = self._trajectory(
          momentum_distributions, momentum, parts, scores, step_sizes, num_steps, axes
      )
      new_momentum, new_parts, new_scores, difference, num_evaluations = proposed
      correction = _log_momentum(
          momentum_distributions, new_momentum, axes
      ) - _log_momentum(momentum_distributions, momentum, axes)
      if self._parameters["state_gradients_are_stopped"]:
        new_parts = [tf.stop_gradient(part) for part in new_parts]
      results = previous_kernel_results._replace(
          log_acceptance_correction=correction,
          log_prob_difference=difference,
          grads_target_log_prob=new_scores,
          initial_momentum=momentum,
          final_momentum=new_momentum,
          num_score_evaluations=(
              previous_kernel_results.num_score_evaluations + num_evaluations
          ),
          seed=seed,
      )
      return unflatten(new_parts), results

  def bootstrap_results(self, init_state):
    """Evaluates the score once; see `tfp.mcmc.TransitionKernel`."""
    with tf.name_scope(f"{self.name}/bootstrap_results"):
      parts, _ = _parts(init_state)
      axes = self._event_axes(parts)
      scores = self._score(parts)
      chains = _chain_shape(parts, axes)
      stored = self._parameters["store_parameters_in_results"]
      zeros = [tf.zeros_like(part) for part in parts]
      return UncalibratedScoreHMCResults(
          log_acceptance_correction=tf.zeros(chains, parts[0].dtype),
          log_prob_difference=tf.zeros(chains, parts[0].dtype),
          grads_target_log_prob=scores,
          initial_momentum=zeros,
          final_momentum=list(zeros),
          step_size=self._stored_step_size(parts) if stored else [],
          num_leapfrog_steps=(
              tf.convert_to_tensor(self.num_leapfrog_steps, tf.int32) if stored else []
          ),
          num_score_evaluations=tf.ones(chains, tf.int32),
          seed=tfp.random.sanitize_seed((0, 0)),
      )

  def _stored_step_size(self, parts):
    sizes = _step_sizes(self.step_size, parts)
    return sizes if isinstance(self.step_size, (list, tuple)) else sizes[0]

  def _score(self, parts):
    scores = self.target_score_fn(*parts)
    if len(parts) == 1 and not isinstance(scores, (list, tuple)):
      scores = [scores]
    if not isinstance(scores, (list, tuple)) or len(scores) != len(parts):
      raise ValueError(
          f"target_score_fn must return one score per state part, {len(parts)} of"
          f" them; got {scores!r}."
      )
    scores = [tf.convert_to_tensor(s, p.dtype) for s, p in zip(scores, parts)]
    for score, part in zip(scores, parts):
      if not score.shape.is_compatible_with(part.shape):
        raise ValueError(
            f"target_score_fn must return the gradient of the log-density, of the"
            f" shape of the state {part.shape}; got shape {score.shape}. For a"
            " log-density use tfp.mcmc.HamiltonianMonteCarlo."
        )
    return scores

  def _event_axes(self, parts):
    ndims = self.event_ndims
    ndims = list(ndims) if isinstance(ndims, (list, tuple)) else [ndims] * len(parts)
    if len(ndims) != len(parts):
      raise ValueError(
          f"event_ndims has {len(ndims)} entries for {len(parts)} state parts."
      )
    for count, part in zip(ndims, parts):
      if part.shape.rank is not None and count > part.shape.rank:
        raise ValueError(
            f"event_ndims = {count} is more than the {part.shape.rank} axes of a"
            f" state part of shape {part.shape}."
        )
    return [list(range(-count, 0)) for count in ndims]

  def _momentum_distributions(self, parts):
    given = self.momentum_distribution
    if given is None:
      return [None] * len(parts)
    given = list(given) if isinstance(given, (list, tuple)) else [given]
    if len(given) != len(parts):
      raise ValueError(
          f"momentum_distribution has {len(given)} entries for {len(parts)} state"
          " parts; give one each."
      )
    return given

  def _sample_momentum(self, distributions, parts, axes, seed):
    seeds = tfp.random.split_seed(seed, n=len(parts))
    momentum = []
    for distribution, part, part_axes, part_seed in zip(
        distributions, parts, axes, seeds
    ):
      if distribution is None:
        momentum.append(
            tf.random.stateless_normal(tf.shape(part), seed=part_seed, dtype=part.dtype)
        )
      else:
        momentum.append(_sample_like(distribution, part, part_axes, part_seed))
    return momentum

  def _trajectory(self, distributions, momentum, parts, scores, step_sizes, num_steps,
                  axes):
    """Runs leapfrog; returns momentum, state, score, difference, evaluations."""

    def leapfrog(momentum, parts, scores):
      half = [m + 0.5 * h * s for m, h, s in zip(momentum, step_sizes, scores)]
      velocities = _velocities(distributions, half)
      parts = [x + h * v for x, h, v in zip(parts, step_sizes, velocities)]
      scores = self._score(parts)
      momentum = [m + 0.5 * h * s for m, h, s in zip(half, step_sizes, scores)]
      return momentum, parts, scores

    def one(step, momentum, parts, scores):
      return (step + 1, *leapfrog(momentum, parts, scores))

    def two(step, momentum, parts, scores, difference):
      middle_momentum, middle, middle_scores = leapfrog(momentum, parts, scores)
      momentum, end, end_scores = leapfrog(middle_momentum, middle, middle_scores)
      segment = path_integral_lib.trajectory_segment(
          (parts, middle, end), (scores, middle_scores, end_scores), axes
      )
      return step + 2, momentum, end, end_scores, difference + segment

    chains = _chain_shape(parts, axes)
    if self.path_integral == "trajectory":
      _, momentum, end, end_scores, difference = tf.while_loop(
          lambda step, *_: step < num_steps,
          two,
          (0, momentum, parts, scores, tf.zeros(chains, parts[0].dtype)),
      )
      return momentum, end, end_scores, difference, num_steps
    _, momentum, end, end_scores = tf.while_loop(
        lambda step, *_: step < num_steps, one, (0, momentum, parts, scores)
    )
    difference = path_integral_lib.straight_line(
        self._score, parts, end, scores, end_scores, axes, self.num_intervals
    )
    return momentum, end, end_scores, difference, num_steps + self.num_intervals - 1


class ScoreHamiltonianMonteCarlo(tfp.mcmc.TransitionKernel):
  """Hamiltonian Monte Carlo with a Metropolis test, from the score alone.

  Takes the place of `tfp.mcmc.HamiltonianMonteCarlo` where there is a score and no
  log-density. On a Gaussian target both path integrals are exact and the chain is
  the same, seed by seed. Where the score is not a gradient (a neural network), the
  test accepts by the work of the score along the path, which then depends on it.

  Args: as `ScoreUncalibratedHamiltonianMonteCarlo`.

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

  def __init__(self, target_score_fn, step_size, num_leapfrog_steps, event_ndims,
               path_integral="straight", num_intervals=4,
               momentum_distribution=None, state_gradients_are_stopped=False,
               store_parameters_in_results=False, name=None):
    self._inner_kernel = ScoreUncalibratedHamiltonianMonteCarlo(
        target_score_fn=target_score_fn,
        step_size=step_size,
        num_leapfrog_steps=num_leapfrog_steps,
        event_ndims=event_ndims,
        path_integral=path_integral,
        num_intervals=num_intervals,
        momentum_distribution=momentum_distribution,
        state_gradients_are_stopped=state_gradients_are_stopped,
        store_parameters_in_results=store_parameters_in_results,
        name=name,
    )

  @property
  def inner_kernel(self):
    return self._inner_kernel

  @property
  def parameters(self):
    return self._inner_kernel.parameters

  @property
  def is_calibrated(self):
    return True

  def one_step(self, current_state, previous_kernel_results, seed=None):
    """One tested step; see `tfp.mcmc.TransitionKernel.one_step`."""
    seed = tfp.random.sanitize_seed(seed)
    # The order of `tfp.mcmc.MetropolisHastings`, so that seeds agree with it.
    proposal_seed, acceptance_seed = tfp.random.split_seed(seed)
    previous = previous_kernel_results.accepted_results
    proposed_state, proposed = self._inner_kernel.one_step(
        current_state, previous, seed=proposal_seed
    )
    proposed_parts, unflatten = _parts(proposed_state)
    current_parts, _ = _parts(current_state)
    log_accept_ratio = _finite_or_reject(
        proposed.log_prob_difference + proposed.log_acceptance_correction,
        proposed_parts,
        proposed.grads_target_log_prob,
        self._inner_kernel._event_axes(proposed_parts),  # pylint: disable=protected-access
    )
    log_uniform = tf.math.log(
        tf.random.stateless_uniform(
            tf.shape(log_accept_ratio), seed=acceptance_seed, dtype=log_accept_ratio.dtype
        )
    )
    is_accepted = log_uniform < log_accept_ratio
    # A rejected proposal still cost its evaluations.
    cost = proposed.num_score_evaluations
    previous = previous._replace(num_score_evaluations=cost)
    next_parts = [
        _choose(is_accepted, new, old)
        for new, old in zip(proposed_parts, current_parts)
    ]
    accepted = tf.nest.map_structure(
        lambda new, old: _choose(is_accepted, new, old),
        _per_chain(proposed), _per_chain(previous)
    )
    return unflatten(next_parts), ScoreHMCResults(
        accepted_results=proposed._replace(**accepted),
        is_accepted=is_accepted,
        log_accept_ratio=log_accept_ratio,
        proposed_state=proposed_state,
        proposed_results=proposed,
        num_score_evaluations=cost,
        seed=seed,
    )

  def bootstrap_results(self, init_state):
    """Evaluates the score once; see `tfp.mcmc.TransitionKernel`."""
    results = self._inner_kernel.bootstrap_results(init_state)
    state = tf.nest.map_structure(tf.convert_to_tensor, init_state)
    chains = tf.shape(results.log_prob_difference)
    return ScoreHMCResults(
        accepted_results=results,
        is_accepted=tf.ones(chains, tf.bool),
        log_accept_ratio=tf.zeros_like(results.log_prob_difference),
        proposed_state=state,
        proposed_results=results,
        num_score_evaluations=results.num_score_evaluations,
        seed=tfp.random.sanitize_seed((0, 0)),
    )


def _check_arguments(
    target_score_fn, num_leapfrog_steps, event_ndims, path_integral, num_intervals
):
  if not callable(target_score_fn):
    raise ValueError(
        f"target_score_fn must be callable, fn(*state_parts); got {target_score_fn!r}."
    )
  ndims = event_ndims if isinstance(event_ndims, (list, tuple)) else [event_ndims]
  if not all(isinstance(n, (int, np.integer)) and n >= 0 for n in ndims):
    raise ValueError(
        f"event_ndims must be the number of axes of one event (2 for maps), or a list"
        f" of such numbers, one per state part; got {event_ndims!r}."
    )
  if path_integral not in ("straight", "trajectory"):
    raise ValueError(
        f"path_integral must be 'straight' or 'trajectory'; got {path_integral!r}."
    )
  if num_intervals < 2 or num_intervals % 2:
    raise ValueError(
        f"num_intervals must be even and at least 2, for Simpson's rule; got"
        f" {num_intervals}."
    )
  steps = tf.get_static_value(num_leapfrog_steps)
  if steps is None:
    return
  if steps < 1:
    raise ValueError(f"num_leapfrog_steps must be positive; got {steps}.")
  if path_integral == "trajectory" and steps % 2:
    raise ValueError(
        f"path_integral='trajectory' needs an even num_leapfrog_steps; got {steps}."
        " Use an even number, or path_integral='straight'."
    )


def _parts(state):
  """List of tensors, and the way back to the structure of `state`."""
  if isinstance(state, (list, tuple)):
    return [tf.convert_to_tensor(part) for part in state], list
  return [tf.convert_to_tensor(state)], lambda parts: parts[0]


def _step_sizes(step_size, parts):
  given = list(step_size) if isinstance(step_size, (list, tuple)) else [step_size]
  if len(given) == 1:
    given = given * len(parts)
  if len(given) != len(parts):
    raise ValueError(
        f"There are {len(given)} step sizes for {len(parts)} state parts; give one,"
        " or one per part."
    )
  return [tf.convert_to_tensor(h, p.dtype) for h, p in zip(given, parts)]


def _chain_shape(parts, axes):
  return tf.shape(parts[0])[: len(parts[0].shape) - len(axes[0])]


def _sample_like(distribution, part, axes, seed):
  chains = tf.shape(part)[: len(part.shape) - len(axes)]
  batch = distribution.batch_shape_tensor()
  extra = chains[: tf.size(chains) - tf.size(batch)]
  sample = distribution.sample(extra, seed=seed)
  return tf.ensure_shape(tf.broadcast_to(sample, tf.shape(part)), part.shape)


def _velocities(distributions, momentum):
  velocities = []
  for distribution, m in zip(distributions, momentum):
    if distribution is None:
      velocities.append(m)
    elif hasattr(distribution, "velocity"):
      velocities.append(distribution.velocity(m))
    else:
      gradient = tfp.math.value_and_gradient(distribution.log_prob, m)[1]
      velocities.append(-gradient)
  return velocities


def _log_momentum(distributions, momentum, axes):
  terms = []
  for distribution, m, part_axes in zip(distributions, momentum, axes):
    if distribution is None:
      terms.append(-0.5 * tf.reduce_sum(tf.square(m), axis=part_axes))
    else:
      terms.append(distribution.log_prob(m))
  return tf.add_n(terms)


def _finite_or_reject(log_accept_ratio, parts, scores, axes):
  finite = tf.math.is_finite(log_accept_ratio)
  for value, part_axes in zip([*parts, *scores], [*axes, *axes]):
    finite &= tf.reduce_all(tf.math.is_finite(value), axis=part_axes)
  rejected = tf.constant(-np.inf, log_accept_ratio.dtype)
  return tf.where(finite, log_accept_ratio, rejected)


def _choose(is_accepted, new, old):
  rank = len(new.shape) - len(is_accepted.shape)
  shape = tf.concat([tf.shape(is_accepted), tf.ones([rank], tf.int32)], axis=0)
  return tf.where(tf.reshape(is_accepted, shape), new, old)


def _per_chain(results):
  """The fields of which each chain has its own value."""
  names = (
      "log_acceptance_correction",
      "log_prob_difference",
      "grads_target_log_prob",
      "initial_momentum",
      "final_momentum",
      "num_score_evaluations",
  )
  return {name: getattr(results, name) for name in names}
