"""Mass matrices: momentum distributions for preconditioned Hamiltonian Monte Carlo."""

import collections.abc
import typing

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions

_CIRCULANT = (
  tf.linalg.LinearOperatorCirculant,
  tf.linalg.LinearOperatorCirculant2D,
  tf.linalg.LinearOperatorCirculant3D,
)


@typing.runtime_checkable
class MassMatrix(typing.Protocol):
  """A momentum distribution that applies its covariance, the mass matrix, and its inverse.

  Besides these two methods it is a `tfd.Distribution`.
  """

  def velocity(self, momentum: tf.Tensor) -> tf.Tensor:
    """Returns the inverse mass matrix times the momentum."""
    ...

  def momentum(self, velocity: tf.Tensor) -> tf.Tensor:
    """Returns the mass matrix times the velocity, the inverse of `velocity`."""
    ...


class FourierDiagonalNormal(tfp.distributions.Distribution):
  """Gaussian field whose covariance is diagonal in Fourier space.

  As the momentum distribution of Hamiltonian Monte Carlo its covariance is the mass
  matrix. Chains move fastest when it is close to the precision of the target.

  Args:
    mode_variance: Positive, `[..., ny, nx // 2 + 1]` (the layout of `rfft2`): variance
      of the modes in the unitary transform. Leading axes are the batch.
    event_shape: `(ny, nx)`.
    validate_args: Whether to check that the variances are positive.
    allow_nan_stats: As in `tfd.Distribution`.
    name: As in `tfd.Distribution`.

  Raises:
    ValueError: If `mode_variance` does not have the layout of `event_shape`.

  Example:
  >>> mass = FourierDiagonalNormal(tf.ones([4, 3]), event_shape=(4, 4))
  >>> mass.sample(5, seed=(1, 2)).shape
  TensorShape([5, 4, 4])
  """

  def __init__(
    self,
    mode_variance: tf.Tensor | np.ndarray,
    event_shape: collections.abc.Sequence[int],
    *,
    validate_args: bool = False,
    allow_nan_stats: bool = True,
    name: str = "FourierDiagonalNormal",
  ) -> None:
    parameters = dict(locals())
    self._mode_variance = tf.convert_to_tensor(mode_variance)
    self._sides = tuple(int(n) for n in event_shape)
    wanted = (self._sides[0], self._sides[1] // 2 + 1)
    if tuple(self._mode_variance.shape[-2:]) != wanted:
      raise ValueError(
        f"mode_variance must end in {wanted} for event_shape {self._sides}; got"
        f" shape {self._mode_variance.shape}. Give the modes in the layout of rfft2."
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
  def mode_variance(self) -> tf.Tensor:
    """The variance of the modes, `[..., ny, nx // 2 + 1]`."""
    return self._mode_variance

  def velocity(self, momentum: tf.Tensor) -> tf.Tensor:
    """Returns the inverse covariance times `momentum`, `[..., ny, nx]`.

    This is minus the gradient of the log-density.
    """
    return self._filter(momentum, 1 / self._mode_variance)

  def momentum(self, velocity: tf.Tensor) -> tf.Tensor:
    """Returns the covariance times `velocity`, `[..., ny, nx]`."""
    return self._filter(velocity, self._mode_variance)

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
    log_det = tf.reduce_sum(
      self._multiplicity() * tf.math.log(2 * np.pi * self._mode_variance),
      axis=(-2, -1),
    )
    square = tf.reduce_sum(value * self.velocity(value), axis=(-2, -1))
    return -0.5 * (square + log_det)

  def _mean(self):
    return tf.zeros([*self._batch_shape(), *self._sides], self.dtype)

  def _variance(self):
    # All pixels have the same variance, the mean over the modes of the full plane.
    total = tf.reduce_sum(self._multiplicity() * self._mode_variance, axis=(-2, -1))
    pixel = (total / (self._sides[0] * self._sides[1]))[..., tf.newaxis, tf.newaxis]
    return pixel * tf.ones(self._sides, self.dtype)

  def _parameter_control_dependencies(self, is_init):
    if not (is_init and self.validate_args):
      return []
    return [
      tf.debugging.assert_positive(
        self._mode_variance, message="mode_variance must be positive."
      )
    ]

  def _multiplicity(self):
    """Returns how many modes of the full plane each mode of `rfft2` represents."""
    # `geometry.half_plane_multiplicity` has the same numbers, but kernels import nothing
    # of the lensing package, so that they can be used without it.
    count = np.full([1, self._sides[1] // 2 + 1], 2.0)
    count[0, 0] = 1
    if self._sides[1] % 2 == 0:
      count[0, -1] = 1
    return tf.constant(count, self.dtype)

  def _filter(self, maps, transfer):
    modes = tf.signal.rfft2d(tf.convert_to_tensor(maps, self.dtype))
    return tf.signal.irfft2d(
      tf.cast(transfer, modes.dtype) * modes, fft_length=list(self._sides)
    )


class LinearOperatorNormal(tfp.distributions.Distribution):
  """Gaussian vector whose covariance is a linear operator.

  As a momentum distribution its covariance is the mass matrix. Kernels that are given a
  linear operator wrap it in this class.

  Args:
    operator: `tf.linalg.LinearOperator`, self-adjoint and positive definite,
      `[..., n, n]`.
    validate_args: As in `tfd.Distribution`.
    allow_nan_stats: As in `tfd.Distribution`.
    name: As in `tfd.Distribution`.

  Raises:
    ValueError: If `operator` is no square linear operator, or is not marked as
      self-adjoint and positive definite. A diagonal operator needs no mark.

  Example:
  >>> mass = LinearOperatorNormal(tf.linalg.LinearOperatorDiag([1.0, 4.0]))
  >>> mass.velocity([2.0, 2.0]).numpy().tolist()
  [2.0, 0.5]
  """

  def __init__(
    self,
    operator: tf.linalg.LinearOperator,
    *,
    validate_args: bool = False,
    allow_nan_stats: bool = True,
    name: str = "LinearOperatorNormal",
  ) -> None:
    parameters = dict(locals())
    if (
      not isinstance(operator, tf.linalg.LinearOperator) or operator.is_square is False
    ):
      raise ValueError(
        f"operator must be a square tf.linalg.LinearOperator; got {operator!r}."
      )
    if isinstance(operator, tf.linalg.LinearOperatorDiag):
      # Diagonals are rarely marked, but the diagonal of a mass matrix is positive.
      operator = tf.linalg.LinearOperatorDiag(
        operator.diag, is_self_adjoint=True, is_positive_definite=True
      )
    if not (operator.is_self_adjoint and operator.is_positive_definite):
      raise ValueError(
        f"A mass matrix must be self-adjoint and positive definite; {operator.name}"
        " is not marked as such. Make it with is_self_adjoint=True and"
        " is_positive_definite=True."
      )
    self._operator = operator
    super().__init__(
      dtype=operator.dtype.real_dtype,
      reparameterization_type=tfd.FULLY_REPARAMETERIZED,
      validate_args=validate_args,
      allow_nan_stats=allow_nan_stats,
      parameters=parameters,
      name=name,
    )

  @property
  def operator(self) -> tf.linalg.LinearOperator:
    """The covariance."""
    return self._operator

  def velocity(self, momentum: tf.Tensor) -> tf.Tensor:
    """Returns the inverse operator times `momentum`, `[..., n]`.

    This is minus the gradient of the log-density.
    """
    return self._real(self._operator.solvevec(self._cast(momentum)))

  def momentum(self, velocity: tf.Tensor) -> tf.Tensor:
    """Returns the operator times `velocity`, `[..., n]`."""
    return self._real(self._operator.matvec(self._cast(velocity)))

  def _event_shape(self):
    return self._operator.shape[-1:]

  def _event_shape_tensor(self):
    return self._operator.shape_tensor()[-1:]

  def _batch_shape(self):
    return self._operator.batch_shape

  def _batch_shape_tensor(self):
    return self._operator.batch_shape_tensor()

  def _sample_n(self, n, seed=None):
    seed = tfp.random.sanitize_seed(seed)
    shape = tf.concat([[n], self._operator.shape_tensor()[:-1]], axis=0)
    white = tf.random.stateless_normal(shape, seed=seed, dtype=self.dtype)
    return self._real(self._root().matvec(self._cast(white)))

  def _log_prob(self, value):
    size = tf.cast(self._event_shape_tensor()[0], self.dtype)
    log_det = self._real(self._operator.log_abs_determinant())
    square = tf.reduce_sum(value * self.velocity(value), axis=-1)
    constant = size * tf.constant(np.log(2 * np.pi), self.dtype)
    return -0.5 * (square + log_det + constant)

  def _root(self):
    """Returns an operator whose product with its adjoint is the covariance."""
    if isinstance(self._operator, _CIRCULANT):
      return type(self._operator)(
        tf.sqrt(self._operator.spectrum),
        input_output_dtype=self._operator.dtype,
        is_self_adjoint=True,
      )
    return self._operator.cholesky()

  def _cast(self, value):
    return tf.cast(value, self._operator.dtype)

  def _real(self, value):
    return tf.cast(tf.math.real(value), self.dtype)
