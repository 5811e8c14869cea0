"""Figures of many truths with their errors and p-values.

Pixels of a map are correlated, so errors come from the scatter between truths, by the
jackknife. p-values are by permutation: a random member of each truth takes its place.
"""

from collections.abc import Callable
import dataclasses

import numpy as np
import numpy.typing as npt

# With 2,000 permutations the smallest p-value is 5e-4.
NUM_PERMUTATIONS = 2000


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A figure with its error, and the value that calibrated samples give.

  Attributes:
    value: A float, or an array.
    error: Standard error of `value - expected`, of the same shape; NaN for one truth.
    expected: Value of calibrated samples, of the same shape.
    p_value: Share of calibrated samples that deviate as much; None if not computed.
  """

  value: float | np.ndarray
  error: float | np.ndarray
  _: dataclasses.KW_ONLY
  expected: float | np.ndarray
  p_value: float | None = None

  def scalars(self) -> list["Estimate"]:
    """Returns an estimate for each element of the arrays, with floats."""
    columns = (np.ravel(a).tolist() for a in (self.value, self.error, self.expected))
    return [
      Estimate(value, error, expected=expected, p_value=self.p_value)
      for value, error, expected in zip(*columns)
    ]


def jackknife(function: Callable, *arrays: np.ndarray) -> np.ndarray:
  """Returns the standard error of a function of sums over truths.

  Args:
    function: Takes one sum for each array, with any leading axes.
    *arrays: `[num_truths, ...]`.

  Returns:
    The shape of the function's result; NaN for one truth.
  """
  num = len(arrays[0])
  if num < 2:
    return np.full_like(np.asarray(function(*(a.sum(axis=0) for a in arrays))), np.nan)
  without = function(*(a.sum(axis=0) - a for a in arrays))
  return np.sqrt((num - 1) * np.var(without, axis=0))


def ratio_of_squares(squares: npt.ArrayLike) -> Estimate:
  """Returns a sum of squared errors over another one.

  Args:
    squares: Sums of squared errors of two methods, of each truth, `[num_truths, 2]`.
  """
  ratio = lambda total: total[..., 0] / total[..., 1]
  values = np.asarray(squares, np.float64)
  return Estimate(
    float(ratio(values.sum(axis=0))), float(jackknife(ratio, values)), expected=1.0
  )


def ratio_of_errors(squares: npt.ArrayLike) -> Estimate:
  """Returns an rms error over another one.

  Args:
    squares: As of `ratio_of_squares`.
  """
  found = ratio_of_squares(squares)
  value = float(np.sqrt(found.value))
  return Estimate(value, float(found.error) / (2 * value), expected=1.0)


def against_chance(
  members: np.ndarray,
  statistic: Callable[[np.ndarray], np.ndarray],
  *,
  num_permutations: int,
  seed: int,
) -> Estimate:
  """Returns a positive statistic of the truths beside that of members in their place.

  Args:
    members: `[num_truths, M, n]`, the truth first.
    statistic: Function of sums over truths, `[..., n]` to `[...]`.
    num_permutations: Number of random choices of a member for each truth.
    seed: Integer.

  Returns:
    An `Estimate`; its expected value and error are the mean and the standard deviation
    of the statistic of as many calibrated truths.
  """
  null = _permuted(members, statistic, num_permutations, seed)
  value = statistic(members[:, 0].sum(axis=0))
  return Estimate(
    value, null.std(), expected=null.mean(), p_value=_share_above(null, value)
  )


def _permuted(members, statistic, num_permutations, seed):
  """Returns the statistic of sums in which a random member takes each truth's place."""
  rng = np.random.default_rng(seed)
  size = members.shape[1]
  total = np.zeros([num_permutations, members.shape[2]])
  for each in members:
    total += each[rng.integers(size, size=num_permutations)]
  return statistic(total)


def _share_above(null, value):
  """Returns the share of the null at or above the value, which counts as one of it."""
  if np.isnan(value):
    return np.nan
  # A permutation that chooses the truths themselves must count despite rounding.
  return float((1 + np.sum(null >= value * (1 - 1e-12))) / (1 + len(null)))
