"""Annealing: a kernel whose target is smoothed less and less.

Temperature is T = sigma^2, with sigma the standard deviation of the white noise that
smooths the target (paper section 4.3). It is not an inverse temperature: the target
at sigma is the smoothed density itself, not a power of the density.
"""

import collections

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap.mcmc import metropolis
from tfp_massmap.mcmc import state_parts

TemperedMCResults = collections.namedtuple(
  "TemperedMCResults",
  [
    "inner_results",
    "sigma",
    "num_steps_at_sigma",
    "move_log_accept_ratio",
    "num_score_evaluations",
    "seed",
  ],
)
TemperedMCResults.__doc__ = """Results of `TemperedMC`.

Fields:
  inner_results: of the inner kernel.
  sigma: smoothing of the target of the step just taken, shape of the chains.
  num_steps_at_sigma: steps taken at it, int32, shape of the chains.
  move_log_accept_ratio: log acceptance ratio of the first inner step after the last
    temperature move, shape of the chains: whether the chain could follow the target.
    NaN before the first move, and if the inner kernel has no such ratio.
  num_score_evaluations: since `bootstrap_results`, temperature moves included, int32,
    shape of the chains.
  seed: of the step.
"""


class TemperedMC(tfp.mcmc.TransitionKernel):
  """Cooling around any inner kernel, geometric or by a given ladder.

  The inner kernel must keep nothing but its target in its results: whenever a chain
  cools, the results of all chains are bootstrapped anew, so that a step size adapted
  inside starts afresh. Let the step size depend on sigma in `make_kernel_fn` instead.

  Each chain takes `min_steps` steps of the inner kernel at its sigma, then sigma is
  multiplied by `cooling`, until it reaches `min_sigma`, where the chain stays; or
  sigma goes down the ladder `sigmas` to its last. The work of a temperature move, one
  score evaluation, is done only when a chain is due.

  A chain that cools keeps its state, with the noise of the sigma before, which the inner
  kernel has to take out; `move_fn` may bring the state nearer to the next target.

  Args:
    target_score_fn: `fn(*state_parts, sigma)`, the score of the target smoothed by
      sigma; sigma has the shape of the chains.
    make_kernel_fn: `fn(target_score_fn, sigma)` that returns the inner kernel for
      `target_score_fn(*state_parts)`, the score at that sigma. Step size and
      momentum distribution may depend on sigma.
    initial_sigma: positive, a number or one per chain.
    min_sigma: floor of sigma, positive, a number or one per chain.
    cooling: factor in (0, 1).
    sigmas: None, or a falling ladder, `[n]`, instead of `initial_sigma`, `min_sigma` and
      `cooling`.
    min_steps: steps at each temperature, at least 1.
    move_fn: None, or `fn(*state_parts, sigma, next_sigma)` that returns the state with
      which a chain starts at the next sigma, structured like the state. Score
      evaluations of its own are not counted.
    chain_ndims: number of leading axes of the state that are chains.
    experimental_shard_axis_names: None, or names of the axes each part is sharded
      over, passed on to the inner kernel.
    name: prefix of op names.

  Example:

  >>> kernel = TemperedMC(
  ...     target_score_fn=lambda x, sigma: -x / (1 + sigma**2)[:, tf.newaxis],
  ...     make_kernel_fn=lambda score, sigma: ScoreHamiltonianMonteCarlo(
  ...         score, 0.5, 4, event_ndims=1),
  ...     sigmas=[1.0, 0.3, 0.1], min_steps=2)
  >>> sigma = tfp.mcmc.sample_chain(
  ...     6, current_state=tf.zeros([8, 3]), kernel=kernel, seed=(1, 2),
  ...     trace_fn=lambda _, results: results.sigma)[1]
  >>> [round(float(s), 1) for s in sigma[:, 0]]
  [1.0, 1.0, 0.3, 0.3, 0.1, 0.1]

  Raises:
    ValueError: for a cooling factor outside (0, 1), fewer steps than 1, or sigmas that
      are not positive and falling; by a step, for a `move_fn` that returns other shapes.
  """

  def __init__(
    self,
    target_score_fn,
    make_kernel_fn,
    *,
    initial_sigma=None,
    min_sigma=None,
    cooling=None,
    sigmas=None,
    min_steps=1,
    move_fn=None,
    chain_ndims=1,
    experimental_shard_axis_names=None,
    name=None,
  ):
    geometric = (initial_sigma, min_sigma, cooling)
    if (sigmas is None) == any(value is None for value in geometric):
      raise ValueError(
        "Give either the ladder sigmas, or all of initial_sigma, min_sigma and"
        f" cooling; got sigmas={sigmas!r} and {geometric}."
      )
    if min_steps < 1:
      raise ValueError(f"min_steps must be at least 1; got {min_steps}.")
    if sigmas is None:
      _check_geometric(*geometric)
    elif np.ndim(sigmas) != 1 or not (np.all(np.diff(sigmas) < 0) and sigmas[-1] > 0):
      raise ValueError(f"sigmas must be positive and falling; got {sigmas!r}.")
    if sigmas is not None and any(value is not None for value in geometric):
      raise ValueError(
        "sigmas takes the place of initial_sigma, min_sigma and cooling; leave"
        " those out."
      )
    self._parameters = dict(
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

  @property
  def parameters(self):
    return self._parameters

  @property
  def is_calibrated(self):
    """False: while sigma falls, no one distribution is left invariant."""
    return False

  @property
  def experimental_shard_axis_names(self):
    return self._parameters["experimental_shard_axis_names"]

  def experimental_with_shard_axes(self, shard_axis_names):
    return self.copy(experimental_shard_axis_names=shard_axis_names)

  def one_step(self, current_state, previous_kernel_results, seed=None):
    """Cools the chains that are due, then takes one inner step."""
    with tf.name_scope(f"{self._parameters['name']}/one_step"):
      previous = previous_kernel_results
      cooled = self._next_sigma(previous.sigma)
      due = (previous.num_steps_at_sigma >= self._parameters["min_steps"]) & (
        cooled < previous.sigma
      )
      sigma = tf.where(due, cooled, previous.sigma)
      any_due = tf.reduce_any(due)
      kernel = self._inner_kernel(sigma)

      def cool():
        state = self._move(current_state, previous.sigma, sigma, due)
        return state, kernel.bootstrap_results(state)

      current_state, inner = tf.cond(
        any_due, cool, lambda: (current_state, previous.inner_results)
      )
      seed = tfp.random.sanitize_seed(seed)
      next_state, next_inner = kernel.one_step(current_state, inner, seed=seed)
      count = metropolis.num_score_evaluations
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

  def bootstrap_results(self, init_state):
    """Bootstraps the inner kernel at `initial_sigma`."""
    with tf.name_scope(f"{self._parameters['name']}/bootstrap_results"):
      first = tf.convert_to_tensor(tf.nest.flatten(init_state)[0])
      chains = tf.shape(first)[: self._parameters["chain_ndims"]]
      initial = self._parameters["initial_sigma"]
      if self._parameters["sigmas"] is not None:
        initial = self._parameters["sigmas"][0]
      initial = tf.convert_to_tensor(initial, first.dtype)
      sigma = tf.broadcast_to(initial, chains)
      sigma = tf.ensure_shape(sigma, first.shape[: self._parameters["chain_ndims"]])
      inner = self._inner_kernel(sigma).bootstrap_results(init_state)
      return TemperedMCResults(
        inner_results=inner,
        sigma=sigma,
        num_steps_at_sigma=tf.zeros(chains, tf.int32),
        move_log_accept_ratio=tf.fill(
          tf.shape(sigma), tf.constant(np.nan, sigma.dtype)
        ),
        num_score_evaluations=tf.broadcast_to(
          metropolis.num_score_evaluations(inner), chains
        ),
        seed=tfp.random.sanitize_seed((0, 0)),
      )

  def _move(self, state, sigma, next_sigma, due):
    """States of chains that are due, carried to their next sigma."""
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
    """The sigma below, or the same at the end."""
    if self._parameters["sigmas"] is None:
      floor = tf.cast(self._parameters["min_sigma"], sigma.dtype)
      return tf.minimum(tf.maximum(self._parameters["cooling"] * sigma, floor), sigma)
    ladder = tf.convert_to_tensor(self._parameters["sigmas"], sigma.dtype)
    below = ladder < sigma[..., tf.newaxis]
    lowest = tf.reduce_min(ladder)
    return tf.reduce_max(tf.where(below, ladder, lowest), axis=-1)

  def _inner_kernel(self, sigma):
    target = self._parameters["target_score_fn"]
    kernel = self._parameters["make_kernel_fn"](
      lambda *parts: target(*parts, sigma), sigma
    )
    names = self.experimental_shard_axis_names
    return kernel if names is None else kernel.experimental_with_shard_axes(names)


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
  """Of the inner kernel, or NaN."""
  while results is not None:
    if hasattr(results, "log_accept_ratio"):
      return tf.cast(results.log_accept_ratio, sigma.dtype)
    results = getattr(results, "inner_results", None)
  return tf.fill(tf.shape(sigma), tf.constant(np.nan, sigma.dtype))
