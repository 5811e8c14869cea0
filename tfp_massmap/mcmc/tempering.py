"""Annealing: a kernel whose target is smoothed less and less.

The temperature is T = sigma^2, with sigma the standard deviation of the white noise that
smooths the target (Remy et al. 2022, section 4.3). It is not an inverse temperature: the
target at sigma is the smoothed density itself, not a power of the density.
"""

import collections.abc
import typing

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap.mcmc import base
from tfp_massmap.mcmc import kernel_results
from tfp_massmap.mcmc import state_parts
from tfp_massmap.mcmc import target as target_lib

# A sigma for all chains, or one for each of them.
_Sigma: typing.TypeAlias = (
  float | collections.abc.Sequence[float] | np.ndarray | tf.Tensor
)


class TemperedMCResults(typing.NamedTuple):
  """Results of `TemperedMC`.

  Attributes:
    inner_results: Results of the inner kernel.
    sigma: Smoothing of the target in the step just taken, shape of the chains.
    num_steps_at_sigma: Number of steps taken at this sigma, int32, shape of the chains.
    move_log_accept_ratio: Log acceptance ratio of the first inner step after the last
      temperature move, shape of the chains. It shows whether the chain could follow the
      target. NaN before the first move, and if the inner kernel has no such ratio.
    num_score_evaluations: Evaluations since `bootstrap_results`, temperature moves
      included, int32, shape of the chains.
    seed: Seed of the step.
  """

  inner_results: typing.Any
  sigma: tf.Tensor
  num_steps_at_sigma: tf.Tensor
  move_log_accept_ratio: tf.Tensor
  num_score_evaluations: tf.Tensor
  seed: tf.Tensor


class TemperedMC(base.KernelOfSigma):
  """Cooling around any inner kernel, geometric or by a given ladder.

  Each chain takes `min_steps` steps of the inner kernel at its sigma. Then sigma is
  multiplied by `cooling` until it reaches `min_sigma`, where the chain stays; or sigma
  moves down the ladder `sigmas` to its last value. The cost of a temperature move, one
  score evaluation, arises only when a chain is due.

  The results of the inner kernel may depend on nothing but its target: whenever a chain
  cools, the results of all chains are bootstrapped anew, so that a step size adapted
  inside starts afresh. Let the step size depend on sigma in `make_kernel_fn` instead.

  A chain that cools keeps its state, with the noise of the sigma before, which the inner
  kernel has to remove. `move_fn` may bring the state nearer to the next target.

  Args:
    target_score_fn: `fn(*state_parts, sigma)`, the score of the target smoothed by sigma,
      which has the shape of the chains.
    make_kernel_fn: `fn(target_score_fn, sigma)` that returns the inner kernel for
      `target_score_fn(*state_parts)`, the score at that sigma. Step size and momentum
      distribution may depend on sigma.
    initial_sigma: First sigma, positive, a number or one per chain.
    min_sigma: Last sigma, positive, a number or one per chain.
    cooling: Factor between sigmas, in (0, 1).
    sigmas: None, or a falling ladder, `[n]`, instead of `initial_sigma`, `min_sigma` and
      `cooling`.
    min_steps: Number of steps at each sigma, at least 1.
    move_fn: None, or `fn(*state_parts, sigma, next_sigma)` that returns the state with
      which a chain starts at the next sigma, structured like the state. Its own score
      evaluations are not counted.
    chain_ndims: Number of leading axes of the state that are chains.
    experimental_shard_axis_names: None, or the names of the axes that each part is
      sharded over. They are handed on to the inner kernel.
    name: Prefix of op names.

  Raises:
    ValueError: If `cooling` is outside (0, 1), `min_steps` is below 1, or the sigmas are
      not positive and falling. `one_step` raises it if `move_fn` returns other shapes.

  Example:
  >>> kernel = TemperedMC(
  ...     target_score_fn=lambda x, sigma: -x / (1 + sigma**2)[:, tf.newaxis],
  ...     make_kernel_fn=lambda score, sigma: ScoreHamiltonianMonteCarlo(
  ...         score, 0.5, num_leapfrog_steps=4, event_ndims=1),
  ...     sigmas=[1.0, 0.3, 0.1], min_steps=2)
  >>> sigma = tfp.mcmc.sample_chain(
  ...     6, current_state=tf.zeros([8, 3]), kernel=kernel, seed=(1, 2),
  ...     trace_fn=lambda _, results: results.sigma)[1]
  >>> [round(float(s), 1) for s in sigma[:, 0]]
  [1.0, 1.0, 0.3, 0.3, 0.1, 0.1]
  """

  # While sigma falls, there is no one distribution that the kernel leaves invariant.
  calibrated = False

  def __init__(
    self,
    target_score_fn: target_lib.ScoreFn,
    make_kernel_fn: collections.abc.Callable[..., tfp.mcmc.TransitionKernel],
    *,
    initial_sigma: _Sigma | None = None,
    min_sigma: _Sigma | None = None,
    cooling: float | None = None,
    sigmas: collections.abc.Sequence[float] | np.ndarray | tf.Tensor | None = None,
    min_steps: int = 1,
    move_fn: collections.abc.Callable | None = None,
    chain_ndims: int = 1,
    experimental_shard_axis_names: base.ShardAxisNames = None,
    name: str | None = None,
  ) -> None:
    _check_schedule(sigmas, (initial_sigma, min_sigma, cooling))
    if min_steps < 1:
      raise ValueError(f"min_steps must be at least 1; got {min_steps}.")
    super().__init__(
      dict(
        target_score_fn=target_score_fn,
        make_kernel_fn=make_kernel_fn,
        initial_sigma=initial_sigma,
        min_sigma=min_sigma,
        cooling=cooling,
        sigmas=sigmas,
        min_steps=min_steps,
        move_fn=move_fn,
        chain_ndims=chain_ndims,
        experimental_shard_axis_names=experimental_shard_axis_names,
        name=name or "tempered_mc",
      )
    )

  def one_step(
    self,
    current_state: base.State,
    previous_kernel_results: TemperedMCResults,
    seed: typing.Any = None,
  ) -> tuple[base.State, TemperedMCResults]:
    """Cools the chains that are due, then takes one inner step."""
    with tf.name_scope(f"{self._parameters['name']}/one_step"):
      previous = previous_kernel_results
      cooled = self._next_sigma(previous.sigma)
      due = (previous.num_steps_at_sigma >= self._parameters["min_steps"]) & (
        cooled < previous.sigma
      )
      sigma = tf.where(due, cooled, previous.sigma)
      any_due = tf.reduce_any(due)
      kernel = self.inner_kernel_at(sigma)

      def cool():
        state = self._move(current_state, previous.sigma, next_sigma=sigma, due=due)
        return state, kernel.bootstrap_results(state)

      current_state, inner = tf.cond(
        any_due, cool, lambda: (current_state, previous.inner_results)
      )
      seed = tfp.random.sanitize_seed(seed)
      next_state, next_inner = kernel.one_step(current_state, inner, seed=seed)
      count = kernel_results.num_score_evaluations
      spent = count(next_inner) - count(inner)
      spent += tf.where(any_due, count(inner), 0)
      return next_state, TemperedMCResults(
        inner_results=next_inner,
        sigma=sigma,
        num_steps_at_sigma=tf.where(due, 0, previous.num_steps_at_sigma) + 1,
        move_log_accept_ratio=tf.where(
          due, _log_accept_ratio(next_inner, sigma), previous.move_log_accept_ratio
        ),
        num_score_evaluations=previous.num_score_evaluations + spent,
        seed=seed,
      )

  def bootstrap_results(self, init_state: base.State) -> TemperedMCResults:
    """Returns the results at the first sigma; see `tfp.mcmc.TransitionKernel`."""
    with tf.name_scope(f"{self._parameters['name']}/bootstrap_results"):
      first = tf.convert_to_tensor(tf.nest.flatten(init_state)[0])
      chains = tf.shape(first)[: self._parameters["chain_ndims"]]
      initial = self._parameters["initial_sigma"]
      if self._parameters["sigmas"] is not None:
        initial = self._parameters["sigmas"][0]
      initial = tf.convert_to_tensor(initial, first.dtype)
      sigma = tf.broadcast_to(initial, chains)
      sigma = tf.ensure_shape(sigma, first.shape[: self._parameters["chain_ndims"]])
      inner = self.inner_kernel_at(sigma).bootstrap_results(init_state)
      return TemperedMCResults(
        inner_results=inner,
        sigma=sigma,
        num_steps_at_sigma=tf.zeros(chains, tf.int32),
        move_log_accept_ratio=_nans_like(sigma),
        num_score_evaluations=tf.broadcast_to(
          kernel_results.num_score_evaluations(inner), chains
        ),
        seed=tfp.random.sanitize_seed((0, 0)),
      )

  def _move(self, state, sigma, *, next_sigma, due):
    """Returns the state, with chains that are due moved to their next sigma."""
    move_fn = self._parameters["move_fn"]
    if move_fn is None:
      return state
    parts, restore = state_parts.as_parts(state)
    moved = move_fn(*parts, sigma, next_sigma)
    moved = list(moved) if isinstance(moved, (list, tuple)) else [moved]
    shapes = [part.shape for part in parts]
    if len(moved) != len(parts) or not all(
      shape.is_compatible_with(part.shape) for shape, part in zip(shapes, moved)
    ):
      raise ValueError(
        f"move_fn must return state parts of shapes {shapes}; got"
        f" {[part.shape for part in moved]}."
      )
    return restore(state_parts.choose(due, moved, old=parts))

  def _next_sigma(self, sigma):
    """Returns the next lower sigma, or the same at the end."""
    if self._parameters["sigmas"] is None:
      floor = tf.cast(self._parameters["min_sigma"], sigma.dtype)
      return tf.minimum(tf.maximum(self._parameters["cooling"] * sigma, floor), sigma)
    ladder = tf.convert_to_tensor(self._parameters["sigmas"], sigma.dtype)
    below = ladder < sigma[..., tf.newaxis]
    lowest = tf.reduce_min(ladder)
    return tf.reduce_max(tf.where(below, ladder, lowest), axis=-1)


def _check_schedule(sigmas, geometric):
  """Raises ValueError unless one whole schedule is given, with falling sigmas."""
  if (sigmas is None) == any(value is None for value in geometric):
    raise ValueError(
      "Give either the ladder sigmas, or all of initial_sigma, min_sigma and"
      f" cooling; got sigmas={sigmas!r} and {geometric}."
    )
  if sigmas is None:
    _check_geometric(*geometric)
    return
  ladder = tf.convert_to_tensor(sigmas)
  values = tf.get_static_value(ladder)  # None for a tensor inside a tf.function.
  falls = values is None or (np.all(np.diff(values) < 0) and np.all(values > 0))
  if ladder.shape.rank != 1 or not falls:
    raise ValueError(f"sigmas must be positive and falling; got {sigmas!r}.")
  if any(value is not None for value in geometric):
    raise ValueError(
      "sigmas takes the place of initial_sigma, min_sigma and cooling; leave those out."
    )


def _check_geometric(initial_sigma, min_sigma, cooling):
  if not 0 < cooling < 1:
    raise ValueError(f"cooling multiplies sigma and must lie in (0, 1); got {cooling}.")
  first = tf.get_static_value(tf.convert_to_tensor(initial_sigma))
  last = tf.get_static_value(tf.convert_to_tensor(min_sigma))
  if (
    first is not None
    and last is not None
    and not (np.all(np.asarray(last) > 0) and np.all(first >= last))
  ):
    raise ValueError(
      "min_sigma must be positive and initial_sigma not below it; got"
      f" {min_sigma} and {initial_sigma}."
    )


def _log_accept_ratio(results, sigma):
  """Returns the log acceptance ratio of the inner kernel, or NaN if it has none."""
  ratio = kernel_results.find(results, "log_accept_ratio")
  return _nans_like(sigma) if ratio is None else tf.cast(ratio, sigma.dtype)


def _nans_like(sigma):
  return tf.fill(tf.shape(sigma), tf.constant(np.nan, sigma.dtype))
