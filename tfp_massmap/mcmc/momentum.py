"""Momenta of a list of state parts, drawn and weighed."""

import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap.mcmc import mass_matrix
from tfp_massmap.mcmc import state_parts

tfd = tfp.distributions


class Momenta:
  """The momenta of a list of state parts.

  Args:
    distribution: None, a distribution, a linear operator, a list of these, or one
      joint distribution of all parts.
    parts: list of state parts.
    axes: their event axes.
    shard_axis_names: None, or for each part None or the names of the axes that it is
      sharded over; a distribution is then that of the shard at hand.
  """

  def __init__(self, distribution, parts, *, axes, shard_axis_names=None):
    self._parts = parts
    self._axes = axes
    self._names = shard_axis_names
    self._joint = None
    if hasattr(distribution, "sample_distributions") or (
      isinstance(distribution, tfd.Distribution)
      and isinstance(distribution.dtype, (list, tuple))
    ):
      self._joint = distribution
    self._each = self._one_per_part(distribution)

  def sample(self, seed):
    """Momenta of all chains, list of state parts."""
    if self._joint is not None and not self._names:
      chains = state_parts.chain_shape(self._parts, self._axes)
      batch = self._joint.batch_shape_tensor()
      batch = batch[0] if isinstance(batch, (list, tuple)) else batch
      extra = chains[: tf.size(chains) - tf.size(batch)]
      drawn = self._joint.sample(extra, seed=seed)
      return [tf.ensure_shape(m, p.shape) for m, p in zip(drawn, self._parts)]
    names = self._names or [None] * len(self._parts)
    seeds = tfp.random.split_seed(seed, n=len(self._parts))
    return [
      self._sample_part(d, part, axes, state_parts.shard_seed(s, name))
      for d, part, axes, s, name in zip(
        self._each, self._parts, self._axes, tf.unstack(tf.stack(seeds)), names
      )
    ]

  def velocity(self, momentum):
    """Minus the gradient of the log-density of the momenta."""
    if self._each is None:
      log_prob = lambda *m: self._joint.log_prob(list(m))
      return [-g for g in tfp.math.value_and_gradient(log_prob, list(momentum))[1]]
    return [self._velocity_part(d, m) for d, m in zip(self._each, momentum)]

  def momentum(self, velocity):
    """Inverse of `velocity`."""
    if self._each is None:
      raise ValueError("The split integrator needs one distribution per state part.")
    inverse = []
    for distribution, v in zip(self._each, velocity):
      if distribution is None:
        inverse.append(v)
      elif hasattr(distribution, "momentum"):
        inverse.append(distribution.momentum(v))
      else:
        raise ValueError(
          "The split integrator needs a momentum distribution with the methods"
          f" velocity and momentum; {type(distribution).__name__} has none. Use"
          " mcmc.FourierDiagonalNormal, or a tf.linalg.LinearOperator."
        )
    return inverse

  def log_prob(self, momentum):
    """Log-density of the momenta, shape of the chains; constants are left out."""
    if self._each is None:
      return self._joint.log_prob(list(momentum))
    shares = []
    for distribution, m, axes in zip(self._each, momentum, self._axes):
      if distribution is None:
        shares.append(-0.5 * tf.reduce_sum(tf.square(m), axis=axes))
      else:
        shares.append(distribution.log_prob(m))
    return state_parts.add_across(shares, self._names)

  def _one_per_part(self, distribution):
    """Independent distributions, one per part; None if the joint one is not so."""
    given = distribution if isinstance(distribution, (list, tuple)) else [distribution]
    if distribution is None:
      given = [None] * len(self._parts)
    if self._joint is not None:
      given = getattr(distribution, "model", None)
      if not isinstance(given, (list, tuple)) or not all(
        isinstance(d, tfd.Distribution) for d in given
      ):
        if self._names:
          raise ValueError(
            "The momenta of sharded parts must be independent: give"
            " momentum_distribution a list with one distribution per part; got"
            f" {distribution!r}."
          )
        return None
    if len(given) != len(self._parts):
      raise ValueError(
        f"momentum_distribution has {len(given)} entries for {len(self._parts)}"
        " state parts; give one each."
      )
    return [self._of_this_shard(d) for d in given]

  def _of_this_shard(self, distribution):
    if isinstance(distribution, tf.linalg.LinearOperator):
      return mass_matrix.LinearOperatorNormal(distribution)
    # The sums over the shards are taken here, outside of the leapfrog loop.
    if self._names and isinstance(distribution, tfp.experimental.distribute.Sharded):
      return distribution.distribution
    return distribution

  def _sample_part(self, distribution, part, axes, seed):
    if distribution is None:
      return tf.random.stateless_normal(tf.shape(part), seed=seed, dtype=part.dtype)
    _check_shapes(distribution, part, axes)
    num_extra = len(part.shape) - len(axes) - len(distribution.batch_shape)
    extra = tf.shape(part)[:num_extra]
    return tf.ensure_shape(distribution.sample(extra, seed=seed), part.shape)

  def _velocity_part(self, distribution, momentum):
    if distribution is None:
      return momentum
    if hasattr(distribution, "velocity"):
      return distribution.velocity(momentum)
    return -tfp.math.value_and_gradient(distribution.log_prob, momentum)[1]


def _check_shapes(distribution, part, axes):
  """One draw for each chain: batches must be the chains, events the event axes."""
  split = len(part.shape) - len(axes)
  chains, event = part.shape[:split], part.shape[split:]
  batch = distribution.batch_shape
  fits = batch.rank <= chains.rank and chains[chains.rank - batch.rank :] == batch
  if not fits or distribution.event_shape != event:
    raise ValueError(
      f"The momentum distribution {distribution.name} has batch shape {batch} and"
      f" event shape {distribution.event_shape}; for a state of shape {part.shape}"
      f" with {len(axes)} event axes its batch must be scalar or the last of the"
      f" chain axes {chains}, and its event {event}. Wrap it in tfd.Independent, or"
      " broadcast its parameters."
    )


def standard_normal_composite(parts, log_prob_like):
  """A standard normal that can live in kernel results, of TFP's own making.

  TFP's mass-matrix adaptation updates distributions of one particular class only;
  its own preconditioned kernel is the public way to get one.
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
  state = list(parts) if len(parts) > 1 else parts[0]
  return kernel.bootstrap_results(state).accepted_results.momentum_distribution
