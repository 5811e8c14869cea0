"""Errors of the shear itself: a multiplicative bias and a scale of the noise.

Shapes are measured as (1 + m) gamma + n, where the bias m is known within an error from
image simulations, and the noise n has `noise_scale` times the standard deviation that the
map says. Samples are marginalised over both: each batch is drawn for another pair.
"""

import dataclasses
import re
import typing

import numpy as np
from scipy import stats

from tfp_massmap import latin_hypercube
from tfp_massmap import shear_map as shear_map_lib

_FIELDS = {"m": "bias", "noise": "noise_scale"}
_PART = re.compile(r"(\w+)=([^=+±]+|[+-][^=+±]+)(?:(?:\+-|\+/-|±)(.+))?")
# The outermost of 16,000 batches are drawn at four standard deviations.
_FURTHEST = 4


class Factors(typing.NamedTuple):
  """One pair: the multiplicative bias, and the noise over that of the map."""

  bias: float
  noise_scale: float

  def apply(self, shear_map: shear_map_lib.ShearMap) -> shear_map_lib.ShearMap:
    """Returns the shear map whose likelihood is that of the map with these factors.

    From (1 + m) gamma + n follows gamma + n / (1 + m): shear and noise are divided by
    1 + m, and the noise is multiplied by its scale.

    Args:
      shear_map: `shear_map.ShearMap`.
    """
    gain = 1 + self.bias
    return dataclasses.replace(
      shear_map,
      shear=shear_map.shear / gain,
      noise_std=shear_map.noise_std * (self.noise_scale / gain),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShearErrors:
  """Independent normal distributions of the multiplicative bias and the noise scale.

  Each counts by its prior alone: the data do not weigh them. That is right where they are
  known better from elsewhere, as the bias is from image simulations.

  Attributes:
    bias, bias_std: Mean and standard deviation of m.
    noise_scale, noise_scale_std: Of the noise over that of the map.

  Raises:
    ValueError: If a standard deviation is negative or not finite, or 1 + m or the scale of
      the noise is not positive within four standard deviations.
  """

  bias: float = 0.0
  bias_std: float = 0.0
  noise_scale: float = 1.0
  noise_scale_std: float = 0.0

  def __post_init__(self) -> None:
    gain = ("1 + m", 1 + self.bias, self.bias_std)
    for name, mean, std in (gain, ("The scale of the noise", *self._noise)):
      if not 0 <= std < np.inf:
        raise ValueError(f"An error must be 0 or more; got {std} for {name}.")
      if not 0 < mean - _FURTHEST * std < np.inf:
        raise ValueError(
          f"{name} must be positive within {_FURTHEST} standard deviations; got"
          f" {mean:g} +- {std:g}."
        )

  def __str__(self) -> str:
    """The text that `parse` reads."""
    of = lambda mean, std: f"{mean:g}" + (f"+-{std:g}" if std else "")
    return f"m={of(self.bias, self.bias_std)}, noise={of(*self._noise)}"

  @property
  def _noise(self):
    return self.noise_scale, self.noise_scale_std

  @property
  def is_uncertain(self) -> bool:
    """True if draws differ."""
    return bool(self.bias_std or self.noise_scale_std)

  @property
  def mean(self) -> Factors:
    """The pair in the middle."""
    return Factors(self.bias, self.noise_scale)

  @classmethod
  def parse(cls, text: str) -> typing.Self:
    """Reads a text such as "m=0.010+-0.005,noise=1.00+-0.02".

    Args:
      text: Names and values, some with errors; what is left out is 0 and 1.

    Raises:
      ValueError: If a name is unknown or given twice, or a value is not a number or out
        of its range.
    """
    values: dict[str, float] = {}
    joined = re.sub(r"\s*(\+-|\+/-|±)\s*", r"\1", text.strip())
    for part in re.split(r"[,\s]+", joined):
      found = _PART.fullmatch(part)
      field = None if found is None else _FIELDS.get(found[1])
      if found is None or field is None or field in values:
        raise ValueError(_form(text))
      try:
        values[field] = float(found[2])
        values[f"{field}_std"] = float(found[3] or 0)
      except ValueError:
        raise ValueError(_form(text)) from None
    return cls(**values)

  def draw(self, num: int, seed: int) -> list[Factors]:
    """Returns pairs that fill the distribution evenly, in random order.

    Each of the two has one value in each of `num` shares of equal probability, in its
    middle (a Latin hypercube): a single pair is the mean.

    Args:
      num: Their number.
      seed: Integer.
    """
    rng = np.random.default_rng(seed)
    normal = stats.norm.ppf(latin_hypercube.centres(num, len(self.mean), rng=rng))
    stds = np.array([self.bias_std, self.noise_scale_std])
    return [Factors(*map(float, row)) for row in self.mean + stds * normal]


def no_errors(index: int) -> Factors:
  """Returns the factors of shear without errors, whatever the number of a mock."""
  del index
  return Factors(0.0, 1.0)


def _form(text):
  return (
    "Errors of the shear have the form m=0.010+-0.005,noise=1.00+-0.02, either of the two"
    f" or both; got {text!r}."
  )
