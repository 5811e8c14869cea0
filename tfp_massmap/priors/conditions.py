"""Numbers of a survey that a conditional network is told.

The Gaussian component of a prior takes everything of n(z), cosmology and pixel scale
that concerns the power. The residual network needs the rest: how many haloes there are,
how strong, and how large in pixels. It is told five numbers (`NAMES`), and has sigma in
units of the standard deviation of the map, so that one law of the noise serves all
surveys.
"""

from collections.abc import Mapping
import dataclasses
import typing

from astropy import units as u
import numpy as np
import tensorflow as tf

from tfp_massmap import theory

NAMES = ("log_pixel_scale", "log_std", "log_lens_distance", "omega_matter", "sigma_8")
# The sigma of a network is that of a map of this standard deviation: the one of COSMOS
# with pixels of 0.29 arcmin, so that a network of that survey can be the start of one
# for all.
REFERENCE_STD = 0.025
# The first of `NAMES` follow from pixels, n(z) and cosmology together. Networks are
# smooth: a tenth of the half-width beyond the training is still like it.
_NUM_DERIVED = 3
_MARGIN = 0.1


def of_survey(
  pixel_scale: u.Quantity,
  map_std: float,
  *,
  sources: theory.SourceRedshifts,
  cosmology: theory.Cosmology,
) -> np.ndarray:
  """Returns the numbers of `NAMES`, float64 `[5]`.

  Args:
    pixel_scale: Side of a pixel, an angle.
    map_std: Standard deviation of the convergence in a pixel.
    sources: `theory.SourceRedshifts`.
    cosmology: `theory.Cosmology`.
  """
  lens_distance = theory.mean_lens_distance(sources, cosmology=cosmology)
  return np.array(
    [
      np.log(u.Quantity(pixel_scale).to_value(u.arcmin)),
      np.log(map_std),
      np.log(lens_distance),
      cosmology.omega_matter,
      cosmology.sigma_8,
    ]
  )


@dataclasses.dataclass(frozen=True)
class Conditioning:
  """The units in which a network takes the numbers of a survey, and their ranges.

  Attributes:
    low, high: Least and largest value of each of `NAMES` in the training, `[5]`; they
      are -1 and 1 for the network, and equal where a training had one value alone.
    ranges: What the surveys of the training were drawn from: the least and the largest
      `pixel_scale_arcmin`, `mean_redshift`, `omega_matter` and `sigma_8`.

  Raises:
    ValueError: If there are not five pairs of numbers that do not fall.
  """

  low: tuple[float, ...]
  high: tuple[float, ...]
  _: dataclasses.KW_ONLY
  ranges: Mapping[str, tuple[float, float]]

  def __post_init__(self) -> None:
    low, high = np.asarray(self.low, float), np.asarray(self.high, float)
    object.__setattr__(self, "low", tuple(low.tolist()))
    object.__setattr__(self, "high", tuple(high.tolist()))
    if low.shape != (len(NAMES),) or high.shape != low.shape or not (low <= high).all():
      raise ValueError(
        f"The conditions {', '.join(NAMES)} need a least and a largest value each; got"
        f" {self.low} and {self.high}."
      )

  @classmethod
  def from_examples(
    cls, values: np.ndarray, *, ranges: Mapping[str, tuple[float, float]]
  ) -> typing.Self:
    """Returns the conditioning for surveys of a training.

    Args:
      values: Numbers of each survey, `[n, 5]`.
      ranges: As the attribute.
    """
    return cls(
      tuple(values.min(axis=0).tolist()),
      tuple(values.max(axis=0).tolist()),
      ranges={name: (low, high) for name, (low, high) in ranges.items()},
    )

  def network_values(self, values: np.ndarray) -> np.ndarray:
    """Returns the numbers as the network takes them: -1 to 1 within the training.

    Args:
      values: Numbers of `NAMES`, `[..., 5]`.
    """
    low, high = np.asarray(self.low), np.asarray(self.high)
    return (2 * np.asarray(values) - low - high) / np.where(high > low, high - low, 1)

  def outside(
    self,
    pixel_scale: u.Quantity,
    *,
    sources: theory.SourceRedshifts,
    cosmology: theory.Cosmology,
    values: np.ndarray,
  ) -> list[str]:
    """Returns a phrase for each number of a survey that lies outside the training.

    Args:
      pixel_scale: Side of a pixel, an angle.
      sources: `theory.SourceRedshifts`.
      cosmology: `theory.Cosmology`.
      values: `of_survey` of the three.
    """
    known = dict(
      pixel_scale_arcmin=u.Quantity(pixel_scale).to_value(u.arcmin),
      mean_redshift=sources.mean,
      omega_matter=cosmology.omega_matter,
      sigma_8=cosmology.sigma_8,
    )
    phrases = []
    for name, value in known.items():
      low, high = self.ranges[name]
      if not low <= value <= high:
        edge = low if value < low else high
        words = name.replace("_", " ")
        phrases.append(
          f"{words} is {value:.3g}, {abs(value / edge - 1):.0%}"
          f" {'below' if value < low else 'above'} the {low:.3g} to {high:.3g} of the"
          " training"
        )
    beyond = np.abs(self.network_values(values)) - 1
    for name, excess in zip(NAMES[:_NUM_DERIVED], beyond):
      # Each of the ranges may be kept, and their combination be new.
      if not phrases and excess > _MARGIN:
        phrases.append(
          f"{name.replace('_', ' ')} lies {excess / 2:.0%} of the range of the training"
          " outside it"
        )
    return phrases


@dataclasses.dataclass(frozen=True, eq=False)
class NetworkSurvey:
  """One survey as a conditional network takes it.

  Attributes:
    values: Its numbers from `Conditioning.network_values`, `[5]`.
    sigma_factor: Sigma of the network over that of the map.
  """

  values: np.ndarray
  sigma_factor: float

  def as_card(self) -> dict:
    """Returns the survey as an entry of a card, which `from_card` takes."""
    values = np.asarray(self.values, float).tolist()
    return dict(values=values, sigma_factor=float(self.sigma_factor))

  @classmethod
  def from_card(cls, entry: Mapping) -> typing.Self:
    """Returns the survey of an entry of a card.

    Args:
      entry: What `as_card` returned.
    """
    return cls(np.asarray(entry["values"], float), float(entry["sigma_factor"]))

  def network_inputs(self, sigma: tf.Tensor) -> list[tf.Tensor]:
    """Returns sigma `[batch]` and the numbers `[batch, 5]` for the network.

    Args:
      sigma: Sigma of the maps, `[batch]`.
    """
    row = tf.constant(self.values[np.newaxis], sigma.dtype)
    return [self.sigma_factor * sigma, tf.repeat(row, tf.shape(sigma)[0], axis=0)]
