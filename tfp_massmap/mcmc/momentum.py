"""Momentum distributions for preconditioned Hamiltonian Monte Carlo."""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions


class FourierDiagonalNormal(tfd.Distribution):
  """Gaussian field whose covariance is diagonal in Fourier space.

  As the momentum distribution of Hamiltonian Monte Carlo its covariance is the mass
  matrix: best close to the precision of the target. Any distribution on the state
  does as a momentum distribution; this one also gives the `velocity` in closed form.

  Args:
    mode_variance: positive, `[..., ny, nx // 2 + 1]` (layout of `rfft2`), variance of
      the modes in the unitary transform; leading axes are the batch.
    event_shape: `(ny, nx)`.
    validate_args, allow_nan_stats, name: as in `tfd.Distribution`.
  """

  def __init__(self, mode_variance, event_shape, validate_args=False,
               allow_nan_stats=True, name="FourierDiagonalNormal"):
    parameters = dict(locals())
    self._mode_variance = tf.convert_to_tensor(mode_variance)
    self._sides = tuple(int(n) for n in event_shape)
    wanted = (self._sides[0], self._sides[1] // 2 + 1)
    if tuple(self._mode_variance.shape[-2:]) != wanted:
      raise ValueError(
          f"mode_variance must end in {wanted} for event_shape {self._sides}; got"
          f" shape {self._mode_variance.shape}."
      )
    super().__init__(
        dtype=self._mode_variance.dtype,
        reparameterization_type=tfd.FULLY_REPARAMETERIZED,
        validate_args=validate_args,
        allow_nan_stats=allow_nan_stats,
        parameters=parameters,
        name=name,
    )

  @property
  def mode_variance(self):
    return self._mode_variance

  def velocity(self, momentum):
    """Covariance^-1 times momentum, minus the gradient of the log-density."""
    return self._filter(momentum, 1 / self._mode_variance)

  def _event_shape(self):
    return tf.TensorShape(self._sides)

  def _event_shape_tensor(self):
    return tf.constant(self._sides, tf.int32)

  def _batch_shape(self):
    return self._mode_variance.shape[:-2]

  def _batch_shape_tensor(self):
    return tf.shape(self._mode_variance)[:-2]

  def _sample_n(self, n, seed=None):
    seed = tfp.random.sanitize_seed(seed)
    shape = tf.concat([[n], self._batch_shape_tensor(), self._sides], axis=0)
    white = tf.random.stateless_normal(shape, seed=seed, dtype=self.dtype)
    white = tf.ensure_shape(white, [None, *self._batch_shape(), *self._sides])
    return self._filter(white, tf.sqrt(self._mode_variance))

  def _log_prob(self, value):
    count = np.full([1, self._sides[1] // 2 + 1], 2.0)
    count[0, 0] = 1
    if self._sides[1] % 2 == 0:
      count[0, -1] = 1
    log_det = tf.reduce_sum(
        tf.constant(count, self.dtype) * tf.math.log(2 * np.pi * self._mode_variance),
        axis=(-2, -1),
    )
    square = tf.reduce_sum(value * self.velocity(value), axis=(-2, -1))
    return -0.5 * (square + log_det)

  def _mean(self):
    return tf.zeros([*self._batch_shape(), *self._sides], self.dtype)

  def _filter(self, maps, transfer):
    modes = tf.signal.rfft2d(tf.convert_to_tensor(maps, self.dtype))
    return tf.signal.irfft2d(
        tf.cast(transfer, modes.dtype) * modes, fft_length=list(self._sides)
    )
