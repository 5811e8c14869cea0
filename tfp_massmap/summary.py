"""Summaries of posterior samples, and scores of a map against the truth."""

import dataclasses

import numpy as np

_BLOCK_VALUES = 2**23


@dataclasses.dataclass(frozen=True)
class Summary:
  """Pixel-wise summary of posterior samples.

  Attributes:
    mean: `[ny, nx]`.
    std: standard deviation with n - 1, `[ny, nx]`; NaN for one sample.
    num_samples: number of independent samples.
    quantiles: dict of levels in (0, 1) to `[ny, nx]`.
    probabilities: dict of thresholds to the share of samples above, `[ny, nx]`.
  """

  mean: np.ndarray
  std: np.ndarray
  _: dataclasses.KW_ONLY
  num_samples: int
  quantiles: dict = dataclasses.field(default_factory=dict)
  probabilities: dict = dataclasses.field(default_factory=dict)


def summarise(samples, quantiles=(), *, thresholds=()):
  """`Summary` of independent samples, read some rows at a time.

  Args:
    samples: `[num_samples, ny, nx]`; may lie on disk (`numpy.memmap`).
    quantiles: levels in (0, 1).
    thresholds: convergences whose probability to be exceeded is wanted.

  Raises:
    ValueError: for another shape, or as `check_levels`.
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


def check_levels(quantiles, thresholds):
  """Raises ValueError for quantiles outside of (0, 1), or thresholds not finite."""
  if any(not 0 < level < 1 for level in quantiles):
    raise ValueError(f"Quantiles must lie in (0, 1); got {tuple(quantiles)}.")
  if not np.isfinite(np.asarray(thresholds, float)).all():
    raise ValueError(f"Thresholds must be finite; got {tuple(thresholds)}.")


def _summarise_rows(samples, quantiles, thresholds):
  mean = samples.mean(axis=0, dtype=np.float64)
  std = np.full_like(mean, np.nan)
  if len(samples) > 1:
    std = samples.std(axis=0, ddof=1, dtype=np.float64)
  levels = np.quantile(samples, np.asarray(quantiles, float), axis=0)
  shares = [np.mean(samples > value, axis=0) for value in thresholds]
  return mean, std, levels, np.reshape(shares, [len(thresholds), *mean.shape])


def root_mean_square_error(estimate, truth, *, mask):
  """RMSE of mean-subtracted maps over the mask (paper Eq. 27)."""
  difference = _centred(estimate, mask) - _centred(truth, mask)
  return float(np.sqrt(np.mean(difference**2)))


def pearson_correlation(estimate, truth, *, mask):
  """Pearson correlation of two maps over the mask (paper Eq. 28)."""
  a, b = _centred(estimate, mask), _centred(truth, mask)
  return float(np.mean(a * b) / np.sqrt(np.mean(a**2) * np.mean(b**2)))


def _centred(values, mask):
  inside = np.asarray(values, np.float64)[np.asarray(mask, bool)]
  return inside - inside.mean()
