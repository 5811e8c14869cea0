"""Figures of merit of many records, with errors.

To add one, write a function of records and the name of a test that returns an
`Estimate`, and add a line to `STATISTICS` at the end of this module (for a figure of
band powers, see `band_powers.STATISTICS`). Tables, the comparison of runs and the
figures by class take it up from there.

Expected values are those of calibrated samples, see `ranks`. None of them is an
approximation for many samples. `estimates` makes errors and p-values.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses

import numpy as np

from tfp_massmap.calibration import estimates
from tfp_massmap.calibration import ranks

# Levels of central intervals: one and two standard deviations of a Gaussian, rounded.
LEVELS = (0.68, 0.95)
OBSERVED = "pixels: observed"  # The test of all measured pixels.


def names(records: Sequence[ranks.Record], group: str = "") -> list[str]:
  """Returns the names of the tests that all records have, "group: class", in order.

  Args:
    records: `Record`s of one number of samples.
    group: Beginning of the names: "pixels", "modes", "band power" or "distances", or
      more.

  Raises:
    ValueError: If there is no record, or numbers of samples differ.
  """
  common = set.intersection(*(set(r.ranks) for r in checked(records)))
  return [n for n in records[0].ranks if n in common and n.startswith(group)]


def checked(
  records: Sequence[ranks.Record], name: str | None = None
) -> Sequence[ranks.Record]:
  """Returns the records that have a test (None for all records).

  Raises:
    ValueError: If there is no record, none has the test, or numbers of samples differ.
  """
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


def coverage(
  records: Sequence[ranks.Record],
  name: str,
  *,
  levels: Sequence[float] | np.ndarray = LEVELS,
) -> estimates.Estimate:
  """Returns the share of truths within central intervals of the posterior.

  With M members, a rank r stands for the part (r, r + 1) / M of the posterior, and
  counts by the share of this part that lies in the interval. For calibrated samples the
  coverage is the level, for any M.

  Args:
    records: `Record`s of one number of samples.
    name: Name of a test, see `names`.
    levels: Levels of the intervals.

  Returns:
    An `Estimate` of arrays `[len(levels)]`.

  Raises:
    ValueError: As `names`, or if no record has the test.
  """
  truth, mean = _histograms(records, name)
  weights = np.stack([interval_weights(level, truth.shape[1]) for level in levels])

  def share(total):
    return total @ weights.T / total.sum(axis=-1, keepdims=True)

  value, expected = share(truth.sum(axis=0)), share(mean.sum(axis=0))
  error = estimates.jackknife(lambda t, m: share(t) - share(m), truth, mean)
  return estimates.Estimate(value, error, expected=expected)


def interval_weights(level: float, num_members: int) -> np.ndarray:
  """Returns the share of each rank in the central interval, `[num_members]`."""
  edges = np.arange(num_members + 1) / num_members
  low, high = 0.5 * (1 - level), 0.5 * (1 + level)
  return np.diff(np.clip(edges, low, high)) * num_members


def rank_histogram(
  records: Sequence[ranks.Record],
  name: str,
  *,
  num_permutations: int = estimates.NUM_PERMUTATIONS,
  seed: int = 0,
) -> estimates.Estimate:
  """Returns the histogram of the ranks of truths over a flat one, with its p-value.

  Args:
    records: `Record`s of one number of samples.
    name: Name of a test, see `names`.
    num_permutations: Number of permutations for the p-value.
    seed: Integer; of the permutations.

  Returns:
    An `Estimate` of arrays `[M]`; its p-value is that of `rank_deviation`.

  Raises:
    ValueError: As `coverage`.
  """
  truth, mean = _histograms(records, name)
  error = estimates.jackknife(lambda t, m: _relative(t) - _relative(m), truth, mean)
  deviation = rank_deviation(
    records, name, num_permutations=num_permutations, seed=seed
  )
  return estimates.Estimate(
    _relative(truth.sum(axis=0)),
    error,
    expected=_relative(mean.sum(axis=0)),
    p_value=deviation.p_value,
  )


def rank_deviation(
  records: Sequence[ranks.Record],
  name: str,
  *,
  num_permutations: int = estimates.NUM_PERMUTATIONS,
  seed: int = 0,
) -> estimates.Estimate:
  """Returns the rms deviation of the bins of `rank_histogram` from what is expected.

  Arguments are those of `rank_histogram`.

  Returns:
    An `Estimate`, whose expected value and error are the mean and the standard
    deviation of what calibrated samples give with as many truths.

  Raises:
    ValueError: As `coverage`.
  """
  members = np.stack([r.ranks[name] for r in checked(records, name)])
  _, mean = _histograms(records, name)
  expected = _relative(mean.sum(axis=0))
  deviation = lambda t: np.sqrt(np.mean((_relative(t) - expected) ** 2, axis=-1))
  return estimates.against_chance(
    members, deviation, num_permutations=num_permutations, seed=seed
  )


def bias(records: Sequence[ranks.Record], name: str) -> estimates.Estimate:
  """Returns the mean of the samples minus that of the truths, in rms residuals.

  Calibrated samples give 0.

  Args:
    records: `Record`s of one number of samples.
    name: Name of a test, see `names`.

  Raises:
    ValueError: As `coverage`.
  """
  sums, squares, count = _residuals(records, name)
  relative = lambda s, q, n: (s[..., 1:].mean(-1) - s[..., 0]) / np.sqrt(q.mean(-1) * n)
  totals = sums.sum(axis=0), squares.sum(axis=0), count.sum()
  error = estimates.jackknife(relative, sums, squares, count)
  return estimates.Estimate(relative(*totals), error, expected=0.0)


def std_over_error(records: Sequence[ranks.Record], name: str) -> estimates.Estimate:
  """Returns the posterior standard deviation over the rms error of the posterior mean.

  Calibrated samples give 1. The scatter that the mean of a finite number of samples has
  is taken out.

  Args:
    records: `Record`s of one number of samples.
    name: Name of a test, see `names`.

  Raises:
    ValueError: As `coverage`.
  """
  _, squares, _ = _residuals(records, name)
  num = squares.shape[1] - 1

  def ratio(q):
    truth, sample = q[..., 0], q[..., 1:].mean(axis=-1)
    variance = (sample - truth / num**2) * num / (num - 1)
    # With very few truths the denominator can be negative: there is no ratio, but NaN.
    with np.errstate(invalid="ignore"):
      return np.sqrt(variance / (truth * (1 + 1 / num) ** 2 - variance / num))

  error = estimates.jackknife(ratio, squares)
  return estimates.Estimate(ratio(squares.sum(axis=0)), error, expected=1.0)


def squared_error(record: ranks.Record) -> float:
  """Returns the sum of squared errors of the posterior mean over measured pixels.

  It is that of infinitely many samples: the scatter of a mean of a few is no error of
  the posterior mean.

  Args:
    record: Record of a truth, without the means of the maps.
  """
  num = record.num_samples
  # The truth is a member of the mean that residuals are taken about.
  squares = record.residuals[OBSERVED][:, 1]
  mean = squares[0] * ((num + 1) / num) ** 2
  scatter = (squares[1:].sum() - mean * num / (num + 1) ** 2) / (num - 1)
  return float(mean - scatter / num)


def tarp(
  records: Sequence[ranks.Record],
  name: str = "distances: patches",
  *,
  num_permutations: int = estimates.NUM_PERMUTATIONS,
  seed: int = 0,
) -> tuple[np.ndarray, estimates.Estimate, estimates.Estimate]:
  """Returns the expected coverage from distances to random points (Lemos et al. 2023).

  A credible region is the ball around a random point that contains a given share of the
  samples. If samples are calibrated, it covers the truth as often as that, whatever the
  point.

  Args:
    records: `Record`s of one number of samples.
    name: "distances: patches", or "distances: map".
    num_permutations: Number of permutations for the p-value.
    seed: Integer; of the permutations.

  Returns:
    `(levels, coverage, deviation)`: `[M + 1]`, an `Estimate` of arrays `[M + 1]`, and
    an `Estimate` of the largest deviation, whose expected value and error are the mean
    and the standard deviation of what calibrated samples give with as many truths.

  Raises:
    ValueError: As `coverage`.
  """
  members = np.stack([r.ranks[name] for r in checked(records, name)])
  truth = members[:, 0]
  levels = np.arange(members.shape[1] + 1) / members.shape[1]

  def curve(total):
    cumulative = np.cumsum(total, axis=-1) / total.sum(axis=-1, keepdims=True)
    return np.concatenate([np.zeros([*total.shape[:-1], 1]), cumulative], axis=-1)

  def largest(total):
    return np.abs(curve(total) - levels).max(axis=-1)

  covered = estimates.Estimate(
    curve(truth.sum(axis=0)), estimates.jackknife(curve, truth), expected=levels
  )
  deviation = estimates.against_chance(
    members, largest, num_permutations=num_permutations, seed=seed
  )
  return levels, covered, deviation


def _histograms(records, name):
  """Returns the ranks of the truth and the mean of all members', `[truths, M]` each."""
  members = np.stack([r.ranks[name] for r in checked(records, name)]).astype(float)
  return members[:, 0], members.mean(axis=1)


def _residuals(records, name):
  """Returns sums of residuals and of their squares, `[truths, M]`, and the numbers."""
  chosen = checked(records, name)
  both = np.stack([r.residuals[name] for r in chosen])
  count = np.array([r.ranks[name][0].sum() for r in chosen], float)
  return both[..., 0], both[..., 1], count


def _relative(total):
  """Returns histograms of M ranks over flat ones."""
  return total * total.shape[-1] / total.sum(axis=-1, keepdims=True)


def plain_cell(estimate: estimates.Estimate, name: str) -> str:
  """Returns "value +- error"."""
  del name
  return f"{estimate.value:.3f} +- {estimate.error:.3f}"


def _percent_cell(estimate, name):
  """Returns values in percent, with expected ones where these are not the levels."""
  parts = []
  for each in estimate.scalars():
    own = f" ({100 * each.expected:.1f})" if "own" in name else ""
    parts.append(f"{100 * each.value:.1f} +- {100 * each.error:.1f}{own}")
  return ", ".join(parts)


def _chance_cell(estimate, name):
  """Returns the value, and in brackets the one by chance."""
  del name
  return f"{estimate.value:.3f} ({estimate.expected:.3f})"


@dataclasses.dataclass(frozen=True)
class Statistic:
  """A figure of merit, and its places in tables and figures.

  Attributes:
    rows: Titles of its rows in a table, one for each element of the estimate; the name
      of the test follows.
    compute: Function of records and the name of a test, to an `Estimate`.
    tests: Beginnings of the names of tests that it is computed for, see `names`.
    columns: For the comparison of runs: a part of the name of a test by heading; the
      first test with it is shown.
    cell: Function of an estimate and the name of its test, to the text in such a
      column.
    figure: Name of its figure by classes of pixels and by scale, which shows the first
      element minus what is expected; None for no figure.
    in_percent: Whether that figure is in percent.
  """

  rows: tuple[str, ...]
  compute: Callable[[Sequence[ranks.Record], str], estimates.Estimate]
  _: dataclasses.KW_ONLY
  tests: tuple[str, ...]
  columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
  cell: Callable[[estimates.Estimate, str], str] = plain_cell
  figure: str | None = None
  in_percent: bool = False


STATISTICS = (
  Statistic(
    tuple(f"coverage of {level:.0%}" for level in LEVELS),
    coverage,
    tests=("pixels", "modes"),
    columns={
      "observed pixels": OBSERVED,
      "near a gap": "from a gap",
      "highest by posterior mean": "pixels: posterior mean, highest",
      "highest by own kappa": "pixels: own kappa, highest",
    },
    cell=_percent_cell,
    figure="classes",
    in_percent=True,
  ),
  Statistic(
    ("std over error",),
    std_over_error,
    tests=("pixels", "modes"),
    columns={"std over error": OBSERVED},
    figure="classes_std_over_error",
  ),
  Statistic(("bias",), bias, tests=("pixels",), figure="classes_bias"),
  Statistic(
    ("deviation of ranks",),
    rank_deviation,
    tests=(OBSERVED, "pixels: unobserved"),
  ),
  Statistic(
    ("TARP deviation",),
    lambda records, name: tarp(records, name)[2],
    tests=("distances",),
    columns={"TARP": "distances: patches"},
    cell=_chance_cell,
  ),
)
