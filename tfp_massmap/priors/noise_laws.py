"""Laws of the noise level sigma of training examples: the place to add another one.

A law is a subclass of `NoiseLaw` with an entry in `LAWS`, whose names
`TrainingSettings.sigma_law` and the command line take. TensorFlow is imported when a
law is sampled, because settings and the help of the command need the names alone.
"""

import abc
import dataclasses
import typing

if typing.TYPE_CHECKING:
  import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class NoiseLaw(abc.ABC):
  """A distribution of sigma.

  Attributes:
    low: Smallest sigma that a network is trained for, positive.
    high: Largest sigma of the examples, or its scale; at least `low`.

  Raises:
    ValueError: If the bounds are not 0 < low <= high.
  """

  low: float
  high: float

  def __post_init__(self) -> None:
    if not 0 < self.low <= self.high:
      raise ValueError(
        "sigma_low must be positive and sigma_high at least as large; got"
        f" {self.low} and {self.high}."
      )

  @property
  def sigma_range(self) -> tuple[float, float]:
    """Smallest and largest sigma that a network is trained for."""
    return self.low, self.high

  @abc.abstractmethod
  def sample(self, seed: typing.Any) -> "tf.Tensor":
    """Returns one sigma, a float32 scalar, for a stateless seed."""


class LogUniformSigma(NoiseLaw):
  """log sigma is uniform between the logarithms of `low` and `high`."""

  def sample(self, seed: typing.Any) -> "tf.Tensor":
    """Returns one sigma, a float32 scalar, for a stateless seed."""
    import tensorflow as tf

    share = tf.random.stateless_uniform([], seed)
    return self.low * (self.high / self.low) ** share


class HalfNormalSigma(NoiseLaw):
  """sigma = |N(0, high^2)|, the law of Remy et al. (2022, section 5.2), with 0.2.

  The law itself has no lower bound; below `low` examples are few.
  """

  @property
  def sigma_range(self) -> tuple[float, float]:
    """From `low` to three standard deviations: 99.7 % of the examples are below."""
    return self.low, 3.0 * self.high

  def sample(self, seed: typing.Any) -> "tf.Tensor":
    """Returns one sigma, a float32 scalar, for a stateless seed."""
    import tensorflow as tf

    return self.high * tf.abs(tf.random.stateless_normal([], seed))


LAWS: dict[str, type[NoiseLaw]] = {
  "log_uniform": LogUniformSigma,
  "half_normal": HalfNormalSigma,
}
