"""Test whether events of posterior probability p are true in a share p of cases.

Under a correct posterior the truth is one more draw beside the N samples. If K of the
N + 1 have a cluster, each is as likely to be one of the K, so the truth has it with
probability K / (N + 1), exactly, for any number of samples. Cases are grouped by
K / (N + 1), which is why the noise of the share of samples does not bias the diagram.
"""

from collections.abc import Mapping
import dataclasses

from astropy import table
import numpy as np
from scipy import stats

from tfp_massmap.detection import criterion


@dataclasses.dataclass(frozen=True)
class Reliability:
  """Reliability diagram.

  Attributes:
    predicted: Mean probability of the cases in a bin, `[n]`.
    observed: Share of them that are true, `[n]`.
    low: Lower end of the 68 % Wilson interval of `observed`, `[n]`.
    high: Upper end of it, `[n]`.
    count: Number of cases in a bin, int `[n]`; empty bins are left out.
    z: Sum of outcomes minus probabilities over its standard deviation. Like the
      p-value, it takes the cases as independent.
    p_value: p-value of a chi-square over the bins whose number of true cases has a
      variance of at least 1; NaN without such a bin.
  """

  predicted: np.ndarray
  observed: np.ndarray
  _: dataclasses.KW_ONLY
  low: np.ndarray
  high: np.ndarray
  count: np.ndarray
  z: float
  p_value: float


def reliability(
  samples: np.ndarray, truths: np.ndarray, *, edges: np.ndarray | None = None
) -> Reliability:
  """Compares shares of posterior samples with the truth.

  Args:
    samples: Bool `[num_cases, num_samples]`, whether a sample has the cluster.
    truths: Bool `[num_cases]`, whether the truth has it.
    edges: Edges of the bins of probability, increasing, from 0 to 1; None for ten bins
      of equal width.

  Raises:
    ValueError: If shapes do not agree, values are not 0 or 1, edges do not span 0 to 1,
      or truth and samples agree in every case.
  """
  samples, truths = _as_bool(samples, "samples"), _as_bool(truths, "truths")
  if samples.ndim != 2 or truths.shape != samples.shape[:1]:
    raise ValueError(
      "samples must be [num_cases, num_samples] and truths [num_cases]; got"
      f" {samples.shape} and {truths.shape}."
    )
  edges = np.linspace(0, 1, 11) if edges is None else np.asarray(edges, float)
  if edges.ndim != 1 or edges[0] > 0 or edges[-1] < 1 or (np.diff(edges) <= 0).any():
    raise ValueError(f"edges must increase from 0 to 1; got {edges.tolist()}.")
  probability = (samples.sum(axis=1) + truths) / (samples.shape[1] + 1)
  variance = probability * (1 - probability)
  if not np.any(variance > 0):
    raise ValueError(
      "In every case truth and samples agree: nothing to compare. Choose a threshold"
      " that some of them pass."
    )
  # Shares on an edge belong to the bin above, whatever the rounding of both.
  bins = np.searchsorted(edges - 1e-9, probability, "right") - 1
  bins = np.minimum(bins, len(edges) - 2)
  total = lambda values: np.bincount(bins, values, minlength=len(edges) - 1)
  count = total(None)
  used = count > 0
  excess = total(truths - probability)
  spread = total(variance)
  # In bins with a smaller variance, a chi-square is far from its distribution.
  wide = spread >= 1
  chi_square = np.sum(excess[wide] ** 2 / spread[wide])
  successes = total(truths)[used].astype(int)
  low, high = criterion.binomial_interval(successes, count[used])
  return Reliability(
    predicted=total(probability)[used] / count[used],
    observed=successes / count[used],
    low=low,
    high=high,
    count=count[used],
    z=float(excess.sum() / np.sqrt(spread.sum())),
    p_value=float(stats.chi2.sf(chi_square, wide.sum())) if wide.any() else np.nan,
  )


def reliability_table(results: Mapping[str, Reliability]) -> table.Table:
  """Returns the bins of one or more tests as a table.

  Args:
    results: `Reliability` by name of the test.

  Returns:
    A table with the columns `test`, `predicted`, `observed`, `low`, `high` and `count`.
  """
  tables = []
  for name, result in results.items():
    columns = dict(
      test=[name] * len(result.count),
      predicted=result.predicted,
      observed=result.observed,
      low=result.low,
      high=result.high,
      count=result.count,
    )
    tables.append(table.Table(columns))
  return table.vstack(tables)


def _as_bool(values, name):
  values = np.asarray(values)
  other = values[~np.isin(values, (0, 1))]
  if other.size:
    raise ValueError(
      f"{name} must be true or false; got values such as {other.flat[0]}."
    )
  return values.astype(bool)
