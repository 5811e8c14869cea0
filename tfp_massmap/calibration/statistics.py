"""Figures of merit of many records, with errors.

Pixels of a map are correlated, so errors are over truths, by the jackknife, and
p-values by permutation: they put a sample of each truth in its place, at random.
Expected values are of calibrated samples, `record` says why; none is an approximation
for many samples.
"""

import dataclasses

import numpy as np
from scipy import stats

LEVELS = (0.68, 0.95)

# Records from which a slope is found, with an error that means something.
FEWEST_OF_POPULATION = 8


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A figure with its error, and what calibrated samples give.

  Attributes:
    value: float, or an array.
    error: standard error of `value - expected`, the same shape; NaN for one truth.
    expected: the same shape.
    p_value: how often calibrated samples deviate as much; None if not computed.
  """

  value: np.ndarray
  error: np.ndarray
  _: dataclasses.KW_ONLY
  expected: np.ndarray
  p_value: float | None = None


def names(records, group=""):
  """Tests that all records have, "group: class", in order.

  Args:
    records: list of `Record`.
    group: "pixels", "modes", "band power" or "distances"; or what names begin with.

  Raises:
    ValueError: for no records, or records of different numbers of samples.
  """
  common = set.intersection(*(set(r.ranks) for r in _checked(records)))
  return [n for n in records[0].ranks if n in common and n.startswith(group)]


def coverage(records, name, *, levels=LEVELS):
  """Share of truths within central intervals of the posterior.

  With M members a rank r is a share of (r, r + 1) / M of the posterior, and counts by
  how much of it lies in the interval. Under calibration this is the level, at any M.

  Args:
    records: list of `Record`.
    name: of a test, see `names`.
    levels: of the intervals.

  Returns:
    An `Estimate` of arrays `[len(levels)]`.

  Raises:
    ValueError: as `names`, or if no record has the test.
  """
  truth, mean = _histograms(records, name)
  weights = np.stack([interval_weights(level, truth.shape[1]) for level in levels])

  def share(total):
    return total @ weights.T / total.sum(axis=-1, keepdims=True)

  value, expected = share(truth.sum(axis=0)), share(mean.sum(axis=0))
  error = _jackknife(lambda t, m: share(t) - share(m), truth, mean)
  return Estimate(value, error, expected=expected)


def interval_weights(level, num_members):
  """Share of each rank's bin that lies in the central interval, `[num_members]`."""
  edges = np.arange(num_members + 1) / num_members
  low, high = 0.5 * (1 - level), 0.5 * (1 + level)
  return np.diff(np.clip(edges, low, high)) * num_members


def rank_histogram(records, name, *, num_permutations=2000, seed=0):
  """Histogram of the ranks of truths, relative to a flat one, and a test of it.

  Args:
    records: list of `Record`.
    name: of a test, see `names`.
    num_permutations, seed: of the p-value.

  Returns:
    An `Estimate` of arrays `[M]`; its p-value is that of `rank_deviation`.

  Raises:
    ValueError: as `coverage`.
  """
  truth, mean = _histograms(records, name)
  expected = _relative(mean.sum(axis=0))
  error = _jackknife(lambda t, m: _relative(t) - _relative(m), truth, mean)
  p_value = rank_deviation(
    records, name, num_permutations=num_permutations, seed=seed
  ).p_value
  return Estimate(
    _relative(truth.sum(axis=0)), error, expected=expected, p_value=p_value
  )


def rank_deviation(records, name, *, num_permutations=2000, seed=0):
  """Rms deviation of the bins of `rank_histogram` from what is expected.

  Args:
    records, name, num_permutations, seed: as `rank_histogram`.

  Returns:
    An `Estimate`, whose expected value and error are the mean and the standard
    deviation of what calibrated samples give with as many truths.

  Raises:
    ValueError: as `coverage`.
  """
  members = np.stack([r.ranks[name] for r in _checked(records, name)])
  _, mean = _histograms(records, name)
  expected = _relative(mean.sum(axis=0))
  deviation = lambda t: np.sqrt(np.mean((_relative(t) - expected) ** 2, axis=-1))
  return _against_chance(members, deviation, num_permutations, seed)


def bias(records, name):
  """Mean of the samples minus that of the truths, in rms residuals: 0 if calibrated.

  Args:
    records: list of `Record`.
    name: of a test, see `names`.

  Returns:
    An `Estimate`.

  Raises:
    ValueError: as `coverage`.
  """
  sums, squares, count = _residuals(records, name)
  relative = lambda s, q, n: (s[..., 1:].mean(-1) - s[..., 0]) / np.sqrt(q.mean(-1) * n)
  totals = sums.sum(axis=0), squares.sum(axis=0), count.sum()
  return Estimate(
    relative(*totals), _jackknife(relative, sums, squares, count), expected=0.0
  )


def std_over_error(records, name):
  """Posterior standard deviation over the rms error of its mean: 1 if calibrated.

  With the scatter that the mean has from a finite number of samples taken out.

  Args:
    records: list of `Record`.
    name: of a test, see `names`.

  Returns:
    An `Estimate`.

  Raises:
    ValueError: as `coverage`.
  """
  _, squares, _ = _residuals(records, name)
  num = squares.shape[1] - 1

  def ratio(q):
    truth, sample = q[..., 0], q[..., 1:].mean(axis=-1)
    variance = (sample - truth / num**2) * num / (num - 1)
    return np.sqrt(variance / (truth * (1 + 1 / num) ** 2 - variance / num))

  return Estimate(ratio(squares.sum(axis=0)), _jackknife(ratio, squares), expected=1.0)


def tarp(records, name="distances: patches", *, num_permutations=2000, seed=0):
  """Expected coverage from distances to random points (Lemos et al. 2023, TARP).

  A credible region is the ball around a random point that holds a share of the samples;
  it covers the truth as often as that, whatever the point, if samples are calibrated.

  Args:
    records: list of `Record`.
    name: "distances: patches", or "distances: map".
    num_permutations, seed: of the p-value.

  Returns:
    `(levels, coverage, deviation)`: `[M + 1]`, an `Estimate` of arrays `[M + 1]`, and
    one of the largest deviation, whose expected value and error are the mean and the
    standard deviation of what calibrated samples give with as many truths.

  Raises:
    ValueError: as `coverage`.
  """
  members = np.stack([r.ranks[name] for r in _checked(records, name)])
  truth = members[:, 0]
  levels = np.arange(members.shape[1] + 1) / members.shape[1]

  def curve(total):
    cumulative = np.cumsum(total, axis=-1) / total.sum(axis=-1, keepdims=True)
    return np.concatenate([np.zeros([*total.shape[:-1], 1]), cumulative], axis=-1)

  def largest(total):
    return np.abs(curve(total) - levels).max(axis=-1)

  covered = Estimate(
    curve(truth.sum(axis=0)), _jackknife(curve, truth), expected=levels
  )
  return levels, covered, _against_chance(members, largest, num_permutations, seed)


def band_power(records):
  """Power of the samples over that of the truths: 1 if calibrated.

  Args:
    records: list of `Record`.

  Returns:
    An `Estimate` of arrays `[num_bands]`.

  Raises:
    ValueError: as `names`.
  """
  power = np.stack([r.band_power for r in _checked(records)])
  ratio = lambda p: p[..., 1:, :].mean(axis=-2) / p[..., 0, :]
  total = ratio(power.sum(axis=0))
  return Estimate(total, _jackknife(ratio, power), expected=np.ones_like(total))


def population_power(records, population):
  """Power of the samples over that of all maps like the truths: 1 if calibrated.

  A few truths have more or less power than others by chance, and samples, which see them
  through noise, follow in part. What the truths have more than the population is taken
  out of the samples in proportion, by regression: a control variate. Where noise hides
  the truth, the error is a fraction of that of `band_power`.

  Args:
    records: list of `Record`, 8 or more.
    population: band powers of other maps like the truths, `[n, num_bands]`, independent
      of each other, see `ranks.map_band_power`; means over the parts of one large map
      each, for example. Many: their error is added.

  Returns:
    An `Estimate` of arrays `[num_bands]`.

  Raises:
    ValueError: as `names`; for too few records, or a population of other bands.
  """
  power = np.stack([r.band_power for r in _checked(records)])
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
  error = np.hypot(_jackknife(at_population, *sums), (1 - slope(*totals)) * own)
  return Estimate(value, error, expected=np.ones_like(value))


def chi_square(records):
  """Mean chi-square of the truths' band powers, among those of the samples.

  Of logarithms, with mean and covariance of all members, so that every member has the
  same expectation, (M - 1) / M times the number of bands, exactly.

  Args:
    records: list of `Record`, of more samples than bands.

  Returns:
    An `Estimate`; the p-value is by permutation.

  Raises:
    ValueError: as `names`; for no more samples than bands.
  """
  num_samples, num_bands = (
    _checked(records)[0].num_samples,
    len(records[0].band_power[0]),
  )
  if num_samples <= num_bands:
    raise ValueError(
      f"chi-square of {num_bands} band powers needs more samples than bands; the records"
      f" have {num_samples} samples."
    )
  squares = np.stack([_mahalanobis(np.log(r.band_power)) for r in _checked(records)])
  value = squares[:, 0].mean()
  error = stats.sem(squares[:, 0]) if len(squares) > 1 else np.nan
  expected = squares.mean()
  deviation = lambda total: np.abs(total[..., 0] - len(squares) * expected)
  p_value = _permutation(squares[..., np.newaxis], deviation, 2000, 0)
  return Estimate(value, error, expected=expected, p_value=p_value)


def _checked(records, name=None):
  if not records:
    raise ValueError("There are no records.")
  sizes = sorted({r.num_samples for r in records})
  if len(sizes) > 1:
    raise ValueError(f"Records must have one number of samples; these have {sizes}.")
  chosen = [r for r in records if name is None or name in r.ranks]
  if not chosen:
    raise ValueError(
      f"No record has a test {name!r}; they have {list(records[0].ranks)}."
    )
  return chosen


def _histograms(records, name):
  """Ranks of the truth, and mean of all members', `[truths, M]` each."""
  members = np.stack([r.ranks[name] for r in _checked(records, name)]).astype(float)
  return members[:, 0], members.mean(axis=1)


def _residuals(records, name):
  chosen = _checked(records, name)
  both = np.stack([r.residuals[name] for r in chosen])
  count = np.array([r.ranks[name][0].sum() for r in chosen], float)
  return both[..., 0], both[..., 1], count


def _jackknife(function, *arrays):
  """Standard error over truths of a function of sums over truths."""
  num = len(arrays[0])
  if num < 2:
    return np.full_like(np.asarray(function(*(a.sum(axis=0) for a in arrays))), np.nan)
  without = function(*(a.sum(axis=0) - a for a in arrays))
  return np.sqrt((num - 1) * np.var(without, axis=0))


def _relative(total):
  """Histograms of M ranks over flat ones."""
  return total * total.shape[-1] / total.sum(axis=-1, keepdims=True)


def _against_chance(members, statistic, num_permutations, seed):
  """`Estimate` of a statistic of the truths beside that of members in their place."""
  null = _permuted(members, statistic, num_permutations, seed)
  value = statistic(members[:, 0].sum(axis=0))
  return Estimate(
    value, null.std(), expected=null.mean(), p_value=_share_above(null, value)
  )


def _permuted(members, statistic, num_permutations, seed):
  """Statistic of sums over truths, a random member in the truth's place."""
  rng = np.random.default_rng(seed)
  num, size = members.shape[:2]
  total = np.zeros([num_permutations, members.shape[2]])
  for each in members:
    total += each[rng.integers(size, size=num_permutations)]
  return statistic(total)


def _permutation(members, statistic, num_permutations, seed):
  null = _permuted(members, statistic, num_permutations, seed)
  return _share_above(null, statistic(members[:, 0].sum(axis=0)))


def _share_above(null, value):
  """p-value of a positive statistic; equal values count, but for rounding."""
  if np.isnan(value):
    return np.nan
  return float((1 + np.sum(null >= value * (1 - 1e-12))) / (1 + len(null)))


def _mahalanobis(values):
  """Of every member against all of them, `[M]`."""
  residual = values - values.mean(axis=0)
  covariance = residual.T @ residual / (len(values) - 1)
  return np.einsum("mi,ij,mj->m", residual, np.linalg.inv(covariance), residual)
