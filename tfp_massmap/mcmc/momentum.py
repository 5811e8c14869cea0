"""Momenta of a list of state parts: their draws, velocities and log-density."""

import collections.abc
import typing

import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap.mcmc import mass_matrix
from tfp_massmap.mcmc import state_parts

tfd = tfp.distributions

# Their `model` is a list with one entry per part. TFP has no common public base class.
_SEQUENTIAL = (
  tfd.JointDistributionSequential,
  tfd.JointDistributionSequentialAutoBatched,
)


class Momenta:
  """The momenta of a list of state parts.

  Args:
    distribution: None for a standard normal, a distribution, a linear operator, a list
      of these, or one joint distribution of all parts. With sharded parts it is the
      distribution of the shard on this device.
    parts: State parts.
    events: Their events.

  Raises:
    ValueError: If the number of distributions is not that of the parts, or the joint
      distribution of sharded parts is not one of independent parts.
  """

  def __init__(
    self,
    distribution: typing.Any,
    parts: state_parts.Parts,
    *,
    events: state_parts.Events,
  ) -> None:
    self._parts = parts
    self._events = events
    self._joint: typing.Any = distribution if _is_joint(distribution) else None
    self._each = self._one_per_part(distribution)

  def sample(self, seed: typing.Any) -> state_parts.Parts:
    """Returns the momenta of all chains, one tensor per part."""
    if self._joint is not None and not self._events.shard_axis_names:
      return self._sample_jointly(seed)
    assert self._each is not None  # Sharded parts are independent.
    seeds = tfp.random.split_seed(seed, n=len(self._parts))
    return [
      _sample_part(d, part, num_event_axes=len(axes), seed=state_parts.shard_seed(s, n))
      for d, part, axes, s, n in zip(
        self._each,
        self._parts,
        self._events.axes,
        tf.unstack(tf.stack(seeds)),
        self._events.names_per_part(),
      )
    ]

  def velocity(self, momentum: state_parts.Parts) -> state_parts.Parts:
    """Returns minus the gradient of the log-density of the momenta."""
    if self._each is None:
      log_prob = lambda *m: self._joint.log_prob(list(m))
      return [-g for g in tfp.math.value_and_gradient(log_prob, list(momentum))[1]]
    return [_velocity_of_part(d, m) for d, m in zip(self._each, momentum)]

  def momentum(self, velocity: state_parts.Parts) -> state_parts.Parts:
    """Returns the momenta of given velocities, the inverse of `velocity`.

    Raises:
      ValueError: If a distribution does not give the inverse.
    """
    if self._each is None:
      raise ValueError(
        "The split integrator needs one momentum distribution per state part, not a"
        " joint distribution; give momentum_distribution a list."
      )
    inverse = []
    for distribution, v in zip(self._each, velocity):
      if distribution is None:
        inverse.append(v)
      elif isinstance(distribution, mass_matrix.MassMatrix):
        inverse.append(distribution.momentum(v))
      else:
        raise ValueError(
          "The split integrator needs a momentum distribution with the methods"
          f" velocity and momentum; {type(distribution).__name__} has none. Use"
          " mcmc.FourierDiagonalNormal, or a tf.linalg.LinearOperator."
        )
    return inverse

  def log_prob(self, momentum: state_parts.Parts) -> tf.Tensor:
    """Returns the log-density of the momenta up to a constant, shape of the chains."""
    if self._each is None:
      return self._joint.log_prob(list(momentum))
    shares = []
    for distribution, m, axes in zip(self._each, momentum, self._events.axes):
      if distribution is None:
        shares.append(-0.5 * tf.reduce_sum(tf.square(m), axis=axes))
      else:
        shares.append(distribution.log_prob(m))
    return self._events.add_across(shares)

  def _one_per_part(self, distribution: typing.Any) -> list[typing.Any] | None:
    """Returns independent distributions, one per part, or None if there are none."""
    if distribution is None:
      return [None] * len(self._parts)
    given: collections.abc.Sequence[typing.Any] = [distribution]
    if isinstance(distribution, (list, tuple)):
      given = distribution
    if self._joint is not None:
      independent = _independent_parts(self._joint)
      if independent is None and self._events.shard_axis_names:
        raise ValueError(
          "The momenta of sharded parts must be independent: give"
          " momentum_distribution a list with one distribution per part; got"
          f" {distribution!r}."
        )
      if independent is None:
        return None
      given = independent
    if len(given) != len(self._parts):
      raise ValueError(
        f"momentum_distribution has {len(given)} entries for {len(self._parts)}"
        " state parts; give one each."
      )
    return [self._on_this_device(d) for d in given]

  def _on_this_device(self, distribution: typing.Any) -> typing.Any:
    if isinstance(distribution, tf.linalg.LinearOperator):
      return mass_matrix.LinearOperatorNormal(distribution)
    # `log_prob` adds up the shards itself, because a Sharded distribution would do so
    # inside of the leapfrog loop, where replicas cannot communicate.
    sharded = isinstance(distribution, tfp.experimental.distribute.Sharded)
    if self._events.shard_axis_names and sharded:
      return distribution.distribution
    return distribution

  def _sample_jointly(self, seed: typing.Any) -> state_parts.Parts:
    chains = self._events.chain_shape(self._parts)
    batch = self._joint.batch_shape_tensor()
    batch = batch[0] if isinstance(batch, (list, tuple)) else batch
    extra = chains[: tf.size(chains) - tf.size(batch)]
    drawn = self._joint.sample(extra, seed=seed)
    return [tf.ensure_shape(m, p.shape) for m, p in zip(drawn, self._parts)]


def standard_normal_composite(
  parts: state_parts.Parts, log_prob_like: tf.Tensor
) -> tfp.distributions.Distribution:
  """Returns a standard normal of the class that TFP's adaptations can update.

  TFP's mass-matrix adaptation updates distributions of one private class only. TFP's own
  preconditioned kernel is the public way to get an instance.

  Args:
    parts: State parts.
    log_prob_like: A tensor of the shape of the chains.
  """
  kernel = tfp.experimental.mcmc.PreconditionedHamiltonianMonteCarlo(
    lambda *parts: (
      tf.zeros_like(log_prob_like)
      + 0
      * sum(
        tf.reduce_sum(p, axis=list(range(len(log_prob_like.shape), len(p.shape))))
        for p in parts
      )
    ),
    step_size=1.0,
    num_leapfrog_steps=1,
    store_parameters_in_results=True,
  )
  state = state_parts.as_state(parts)
  return kernel.bootstrap_results(state).accepted_results.momentum_distribution


def _is_joint(distribution: typing.Any) -> bool:
  """Returns whether one distribution draws the momenta of all parts."""
  return isinstance(distribution, tfd.JointDistribution) or (
    isinstance(distribution, tfd.Distribution)
    and isinstance(distribution.dtype, (list, tuple))
  )


def _independent_parts(
  joint: tfp.distributions.Distribution,
) -> collections.abc.Sequence[tfp.distributions.Distribution] | None:
  """Returns the distributions of a joint one of independent parts, or else None."""
  model = joint.model if isinstance(joint, _SEQUENTIAL) else None
  if not isinstance(model, (list, tuple)):
    return None
  return model if all(isinstance(d, tfd.Distribution) for d in model) else None


def _sample_part(
  distribution: typing.Any,
  part: tf.Tensor,
  *,
  num_event_axes: int,
  seed: typing.Any,
) -> tf.Tensor:
  if distribution is None:
    return tf.random.stateless_normal(tf.shape(part), seed=seed, dtype=part.dtype)
  _check_shapes(distribution, part, num_event_axes)
  num_extra = len(part.shape) - num_event_axes - len(distribution.batch_shape)
  extra = tf.shape(part)[:num_extra]
  return tf.ensure_shape(distribution.sample(extra, seed=seed), part.shape)


def _velocity_of_part(distribution: typing.Any, momentum: tf.Tensor) -> tf.Tensor:
  if distribution is None:
    return momentum
  if isinstance(distribution, mass_matrix.MassMatrix):
    return distribution.velocity(momentum)
  return -tfp.math.value_and_gradient(distribution.log_prob, momentum)[1]


def _check_shapes(
  distribution: tfp.distributions.Distribution, part: tf.Tensor, num_event_axes: int
) -> None:
  """Raises ValueError unless each chain draws an event of its own."""
  split = len(part.shape) - num_event_axes
  chains, event = part.shape[:split], part.shape[split:]
  batch = distribution.batch_shape
  fits = batch.rank <= chains.rank and batch.is_compatible_with(
    chains[chains.rank - batch.rank :]
  )
  if not fits or not event.is_compatible_with(distribution.event_shape):
    raise ValueError(
      f"The momentum distribution {distribution.name} has batch shape {batch} and"
      f" event shape {distribution.event_shape}; for a state of shape {part.shape}"
      f" with {num_event_axes} event axes its batch must be scalar or the last of the"
      f" chain axes {chains}, and its event {event}. Wrap it in tfd.Independent, or"
      " broadcast its parameters."
    )
