"""Summaries of posterior samples, and scores of a map against the truth."""

from collections.abc import Sequence
import dataclasses

import numpy as np

# Values of a block of rows: 64 MiB in float64, whatever the number of samples.
_BLOCK_VALUES = 2**23


@dataclasses.dataclass(frozen=True)
class Summary:
  """Pixel-wise summary of posterior samples.

  Attributes:
    mean: Posterior mean, `[ny, nx]`.
    std: Standard deviation with the divisor n - 1, `[ny, nx]`; NaN for one sample.
    num_samples: Number of independent samples.
    quantiles: Maps `[ny, nx]` by level in (0, 1).
    probabilities: Share of samples above a threshold, `[ny, nx]`, by threshold.
  """

  mean: np.ndarray
  std: np.ndarray
  _: dataclasses.KW_ONLY
  num_samples: int
  quantiles: dict[float, np.ndarray] = dataclasses.field(default_factory=dict)
  probabilities: dict[float, np.ndarray] = dataclasses.field(default_factory=dict)


def summarise(
  samples: np.ndarray,
  quantiles: Sequence[float] = (),
  *,
  thresholds: Sequence[float] = (),
) -> Summary:
  """Returns the summary of independent samples, which are read some rows at a time.

  Args:
    samples: `[num_samples, ny, nx]`; may lie on disk (`numpy.memmap`).
    quantiles: Levels in (0, 1).
    thresholds: Convergences whose probability of being exceeded is wanted.

  Raises:
    ValueError: If the samples have another shape, and as `check_levels`.
  """
  if np.ndim(samples) != 3 or not len(samples):
    raise ValueError(
      f"samples must be [num_samples, ny, nx]; got shape {np.shape(samples)}."
    )
  check_levels(quantiles, thresholds)
  num, ny, nx = np.shape(samples)
  rows = max(1, _BLOCK_VALUES // (num * nx))
  blocks = [
    _summarise_rows(np.asarray(samples[:, first : first + rows]), quantiles, thresholds)
    for first in range(0, ny, rows)
  ]
  mean, std, levels, shares = (np.concatenate(part, axis=-2) for part in zip(*blocks))
  return Summary(
    mean,
    std,
    num_samples=num,
    quantiles=dict(zip(map(float, quantiles), levels)),
    probabilities=dict(zip(map(float, thresholds), shares)),
  )


def check_levels(quantiles: Sequence[float], thresholds: Sequence[float]) -> None:
  """Checks the levels and thresholds of a summary, before any sample is drawn.

  Raises:
    ValueError: If a quantile lies outside (0, 1), or a threshold is not finite.
  """
  if any(not 0 < level < 1 for level in quantiles):
    raise ValueError(f"Quantiles must lie in (0, 1); got {tuple(quantiles)}.")
  if not np.isfinite(np.asarray(thresholds, float)).all():
    raise ValueError(f"Thresholds must be finite; got {tuple(thresholds)}.")


def root_mean_square_error(
  estimate: np.ndarray, truth: np.ndarray, *, mask: np.ndarray
) -> float:
  """Returns the error of a map over the mask (Remy et al. 2022, Eq. 27).

  Args:
    estimate: `[ny, nx]`; its mean over the mask is subtracted.
    truth: `[ny, nx]`; its mean over the mask is subtracted.
    mask: Bool `[ny, nx]`, true in the pixels that count.
  """
  difference = _centred(estimate, mask) - _centred(truth, mask)
  return float(np.sqrt(np.mean(difference**2)))


def pearson_correlation(
  estimate: np.ndarray, truth: np.ndarray, *, mask: np.ndarray
) -> float:
  """Returns the correlation of two maps over the mask (Remy et al. 2022, Eq. 28).

  Args:
    estimate: `[ny, nx]`.
    truth: `[ny, nx]`.
    mask: Bool `[ny, nx]`, true in the pixels that count.
  """
  a, b = _centred(estimate, mask), _centred(truth, mask)
  return float(np.mean(a * b) / np.sqrt(np.mean(a**2) * np.mean(b**2)))


def _summarise_rows(samples, quantiles, thresholds):
  mean = samples.mean(axis=0, dtype=np.float64)
  std = np.full_like(mean, np.nan)
  if len(samples) > 1:
    std = samples.std(axis=0, ddof=1, dtype=np.float64)
  levels = np.quantile(samples, np.asarray(quantiles, float), axis=0)
  shares = [np.mean(samples > value, axis=0) for value in thresholds]
  return mean, std, levels, np.reshape(shares, [len(thresholds), *mean.shape])


def _centred(values, mask):
  inside = np.asarray(values, np.float64)[np.asarray(mask, bool)]
  return inside - inside.mean()
