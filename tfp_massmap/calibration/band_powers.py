"""Figures of merit of the band powers of many records, with errors.

To add one, write a function of records that returns an `Estimate`, and add a line to
`STATISTICS` at the end of this module; tables and the comparison of runs take it up
from there.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses

import numpy as np
from scipy import stats

from tfp_massmap.calibration import estimates
from tfp_massmap.calibration import ranks
from tfp_massmap.calibration import statistics

# Records from which a slope is found, with an error that means something.
FEWEST_OF_POPULATION = 8


def band_power(records: Sequence[ranks.Record]) -> estimates.Estimate:
  """Returns the power of the samples over that of the truths: 1 if calibrated.

  Args:
    records: `Record`s of one number of samples.

  Returns:
    An `Estimate` of arrays `[num_bands]`.

  Raises:
    ValueError: As `statistics.names`.
  """
  power = np.stack([r.band_power for r in statistics.checked(records)])
  ratio = lambda p: p[..., 1:, :].mean(axis=-2) / p[..., 0, :]
  total = ratio(power.sum(axis=0))
  error = estimates.jackknife(ratio, power)
  return estimates.Estimate(total, error, expected=np.ones_like(total))


def population_power(
  records: Sequence[ranks.Record], population: np.ndarray
) -> estimates.Estimate:
  """Returns the power of the samples over that of all maps like the truths.

  Calibrated samples give 1. By chance, a few truths have more or less power than the
  population they are drawn from. Samples, which depend on the truths through noisy
  data, follow this in part. The excess of the truths is taken out of the samples in
  proportion, by regression (a control variate). Where noise hides the truth, the error
  is a fraction of that of `band_power`.

  Args:
    records: `Record`s, 8 or more.
    population: Band powers of other maps like the truths, `[n, num_bands]`, independent
      of each other (`ranks.map_band_power`); each may be a mean over the parts of one
      large map. Many are better, as their error is added.

  Returns:
    An `Estimate` of arrays `[num_bands]`.

  Raises:
    ValueError: As `statistics.names`, or if there are too few records or the population
      has other bands.
  """
  power = np.stack([r.band_power for r in statistics.checked(records)])
  population = np.asarray(population)
  if len(records) < FEWEST_OF_POPULATION:
    raise ValueError(
      f"{FEWEST_OF_POPULATION} records or more are needed; got {len(records)}."
    )
  if (
    population.ndim != 2 or population.shape[1] != power.shape[2] or len(population) < 2
  ):
    raise ValueError(
      f"population must be [n, {power.shape[2]}], two maps or more; got shape"
      f" {population.shape}."
    )
  relative = power / population.mean(axis=0)
  truth, sample = relative[:, 0], relative[:, 1:].mean(axis=1)

  def slope(t, s, ts, tt, num):
    return (ts - t * s / num) / (tt - t**2 / num)

  def at_population(t, s, *more):
    num = more[-1]
    return (s - slope(t, s, *more) * (t - num)) / num

  sums = truth, sample, truth * sample, truth**2, np.ones_like(truth)
  totals = [values.sum(axis=0) for values in sums]
  value = at_population(*totals)
  own = stats.sem(population, axis=0) / population.mean(axis=0)
  scatter = estimates.jackknife(at_population, *sums)
  error = np.hypot(scatter, (1 - slope(*totals)) * own)
  return estimates.Estimate(value, error, expected=np.ones_like(value))


def chi_square(records: Sequence[ranks.Record]) -> estimates.Estimate:
  """Returns the mean chi-square of the truths' band powers among those of the samples.

  It is that of logarithms, with the mean and the covariance of all members. So every
  member has the same expectation, (M - 1) / M times the number of bands, exactly.

  Args:
    records: `Record`s of more samples than bands.

  Returns:
    An `Estimate`; the p-value is by permutation.

  Raises:
    ValueError: As `statistics.names`, or if there are no more samples than bands.
  """
  chosen = statistics.checked(records)
  num_samples, num_bands = chosen[0].num_samples, chosen[0].band_power.shape[1]
  if num_samples <= num_bands:
    raise ValueError(
      f"chi-square of {num_bands} band powers needs more samples than bands; the"
      f" records have {num_samples} samples."
    )
  squares = np.stack([_mahalanobis(np.log(r.band_power)) for r in chosen])
  expected = squares.mean()
  deviation = lambda total: np.abs(total[..., 0] - len(squares) * expected)
  chance = estimates.against_chance(
    squares[..., np.newaxis],
    deviation,
    num_permutations=estimates.NUM_PERMUTATIONS,
    seed=0,
  )
  return estimates.Estimate(
    squares[:, 0].mean(),
    stats.sem(squares[:, 0]) if len(squares) > 1 else np.nan,
    expected=expected,
    p_value=chance.p_value,
  )


def _mahalanobis(values):
  """Returns the squared distance of every member from the mean of all, `[M]`."""
  residual = values - values.mean(axis=0)
  covariance = residual.T @ residual / (len(values) - 1)
  return np.einsum("mi,ij,mj->m", residual, np.linalg.inv(covariance), residual)


def _over_population(records, population):
  if population is None or len(records) < FEWEST_OF_POPULATION:
    return None
  return population_power(records, population)


def _chi_square_if_possible(records, population):
  del population
  num_samples, num_bands = records[0].num_samples, records[0].band_power.shape[1]
  return chi_square(records) if num_samples > num_bands else None


@dataclasses.dataclass(frozen=True)
class BandStatistic:
  """A figure of merit of band powers, and its places in tables.

  Attributes:
    row: Title of its rows in a table; the band follows if there is a value for each.
    compute: Function of records and the population's band powers (or None), to an
      `Estimate`, or to None where it cannot be computed.
    column: Heading of its column in the comparison of runs; None for no column.
  """

  row: str
  compute: Callable[
    [Sequence[ranks.Record], np.ndarray | None], estimates.Estimate | None
  ]
  _: dataclasses.KW_ONLY
  column: str | None = None


STATISTICS = (
  BandStatistic(
    "power over the truth's",
    lambda records, population: band_power(records),
    column="band powers",
  ),
  BandStatistic(
    "power over the population's", _over_population, column="over the population's"
  ),
  BandStatistic("chi-square of band powers", _chi_square_if_possible),
)
