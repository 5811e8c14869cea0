"""Uncertain cosmologies: normal distributions of Omega_m and sigma_8."""

import dataclasses
import re
import typing

import numpy as np
from scipy import stats

from tfp_massmap import latin_hypercube
from tfp_massmap.theory import cosmology as cosmology_lib
from tfp_massmap.theory import matter_power

_FIELDS = ("omega_matter", "sigma_8")
_PLUS_MINUS = re.compile(r"\s*(\+-|\+/-|±)\s*")


class CosmologyDistribution(typing.Protocol):
  """A distribution of cosmologies, from which samples of maps take theirs.

  Attributes:
    center: The cosmology at which what draws share is made, such as corrections of a
      prior; it is the same for all data of a survey.
    is_uncertain: Whether draws differ.
    name: The distribution in words that are the same for all data of a survey.
  """

  @property
  def center(self) -> cosmology_lib.Cosmology:
    """The cosmology at which what draws share is made."""
    ...

  @property
  def name(self) -> str:
    """The distribution in words that are the same for all data of a survey."""
    ...

  @property
  def is_uncertain(self) -> bool:
    """True if draws differ."""
    ...

  def draw(self, num: int, seed: int) -> list[cosmology_lib.Cosmology]:
    """Returns that many cosmologies, the same for the same seed."""
    ...


@dataclasses.dataclass(frozen=True)
class CosmologyPrior:
  """Independent normal distributions, cut at the ends of the tables of matter power.

  Attributes:
    mean: `theory.Cosmology`.
    omega_matter_std, sigma_8_std: Standard deviations; 0 for a value that is known.

  Raises:
    ValueError: If a standard deviation is negative or not finite, or the mean lies
      outside of the tables.
  """

  mean: cosmology_lib.Cosmology = cosmology_lib.KAPPATNG
  _: dataclasses.KW_ONLY
  omega_matter_std: float = 0.0
  sigma_8_std: float = 0.0

  def __post_init__(self) -> None:
    for name, std in zip(_FIELDS, self._stds):
      if not 0 <= std < np.inf:
        raise ValueError(f"The error of {name} must not be negative; got {std}.")
    matter_power.MatterPower(self.mean)

  def __str__(self) -> str:
    parts = [
      f"{label}={getattr(self.mean, name):g}" + (f"+-{std:g}" if std else "")
      for label, name, std in zip(("Omega_m", "sigma_8"), _FIELDS, self._stds)
    ]
    return ", ".join(parts)

  @property
  def center(self) -> cosmology_lib.Cosmology:
    """The mean."""
    return self.mean

  @property
  def name(self) -> str:
    """As `str`."""
    return str(self)

  @property
  def is_uncertain(self) -> bool:
    """True if one of the two is not known exactly."""
    return any(self._stds)

  @property
  def _stds(self):
    return (self.omega_matter_std, self.sigma_8_std)

  @classmethod
  def parse(cls, text: str) -> typing.Self:
    """Reads a text such as "sigma_8=0.80+-0.03,Omega_m=0.31".

    Args:
      text: Names and values, some with errors; what is left out has its default.

    Raises:
      ValueError: As `Cosmology.parse`, or if an error is not a number or is negative.
    """
    joined = _PLUS_MINUS.sub("+-", text.strip())
    parts = [part.split("+-") for part in re.split(r"[,\s]+", joined)]
    mean = cosmology_lib.Cosmology.parse(",".join(value for value, *_ in parts))
    errors = {}
    for value, *error in parts:
      name = cosmology_lib.NAMES.get(value.partition("=")[0].lower())
      if error:
        errors[f"{name}_std"] = _number(name, error, text)
    return cls(mean, **errors)

  def draw(self, num: int, seed: int) -> list[cosmology_lib.Cosmology]:
    """Returns cosmologies that fill the distribution evenly, in random order.

    Each parameter has one value in each of `num` shares of equal probability, in its
    middle (a Latin hypercube): a single draw is the median.

    Args:
      num: Their number.
      seed: Integer.
    """
    places = latin_hypercube.centres(num, len(_FIELDS), rng=np.random.default_rng(seed))
    columns = []
    for name, std, place in zip(_FIELDS, self._stds, places.T):
      mean = getattr(self.mean, name)
      if not std:
        columns.append(np.full(num, mean))
        continue
      low, high = ((edge - mean) / std for edge in matter_power.ranges()[name])
      columns.append(stats.truncnorm.ppf(place, low, high, loc=mean, scale=std))
    return [cosmology_lib.Cosmology(*map(float, row)) for row in zip(*columns)]


def _number(name, parts, text):
  try:
    (number,) = map(float, parts)
    if name is None:
      raise ValueError
  except ValueError:
    raise ValueError(
      f"An error is one number, as in sigma_8=0.80+-0.03; got {text!r}."
    ) from None
  return number
