"""Values tabulated at noise levels, interpolated linearly in log sigma."""

import numpy as np
import numpy.typing as npt
import tensorflow as tf

# Places of an even axis end this far below its last point, so that the point above the
# place exists. The value there is off by a thousandth of the last step.
_MARGIN = 1e-3


class SigmaTable:
  """A table over log sigma, held at its first and last row beyond them.

  Args:
    log_sigma: Natural logarithms of sigma, rising, `[n]` with n of at least 2.
    values: Rows, `[n, ...]`.
    is_even: Whether `log_sigma` is evenly spaced, so that places need no search.
  """

  def __init__(
    self, log_sigma: npt.ArrayLike, values: npt.ArrayLike, *, is_even: bool = False
  ) -> None:
    self._log_sigma = np.asarray(log_sigma, np.float64)
    self._values = np.asarray(values, np.float64)
    self._is_even = is_even

  def __call__(self, sigma: tf.Tensor) -> tf.Tensor:
    """Returns the rows at sigma, `[*sigma.shape, ...]`, of its dtype.

    Args:
      sigma: Positive float tensor.
    """
    lower, share = self._even_place(sigma) if self._is_even else self._place(sigma)
    table = tf.constant(self._values, sigma.dtype)
    below, above = tf.gather(table, lower), tf.gather(table, lower + 1)
    share = tf.reshape(share, [*share.shape, *[1] * (self._values.ndim - 1)])
    # The two forms differ by rounding. Samples stay the same to the last bit only if
    # each kind of table keeps its own.
    if self._is_even:
      return below + share * (above - below)
    return (1 - share) * below + share * above

  def _even_place(self, sigma):
    first, step = self._log_sigma[0], self._log_sigma[1] - self._log_sigma[0]
    place = (tf.math.log(sigma) - first) / step
    place = tf.clip_by_value(place, 0, len(self._log_sigma) - 1 - _MARGIN)
    lower = tf.cast(tf.floor(place), tf.int32)
    return lower, place - tf.cast(lower, sigma.dtype)

  def _place(self, sigma):
    levels = tf.constant(self._log_sigma, sigma.dtype)
    level = tf.clip_by_value(tf.math.log(sigma), levels[0], levels[-1])
    below = tf.cast(levels < level[..., tf.newaxis], tf.int32)
    last = len(self._log_sigma) - 1
    upper = tf.clip_by_value(tf.reduce_sum(below, axis=-1), 1, last)
    low, high = tf.gather(levels, upper - 1), tf.gather(levels, upper)
    return upper - 1, (level - low) / (high - low)
