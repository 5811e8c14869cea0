"""Summaries of posterior samples, and scores of a map against the truth."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Summary:
  """Pixel-wise summary of posterior samples.

  Attributes:
    mean: `[ny, nx]`.
    std: standard deviation with n - 1, `[ny, nx]`; NaN for one sample.
    num_samples: number of independent samples.
  """

  mean: np.ndarray
  std: np.ndarray
  num_samples: int


def summarise(samples):
  """`Summary` of independent samples, `[num_samples, ny, nx]`."""
  samples = np.asarray(samples)
  if samples.ndim != 3 or not len(samples):
    raise ValueError(
        f"samples must be [num_samples, ny, nx]; got shape {samples.shape}."
    )
  mean = samples.mean(axis=0, dtype=np.float64)
  if len(samples) == 1:
    return Summary(mean, np.full_like(mean, np.nan), 1)
  std = samples.std(axis=0, ddof=1, dtype=np.float64)
  return Summary(mean, std, len(samples))


def root_mean_square_error(estimate, truth, mask):
  """RMSE of mean-subtracted maps over the mask (paper Eq. 27)."""
  difference = _centred(estimate, mask) - _centred(truth, mask)
  return float(np.sqrt(np.mean(difference**2)))


def pearson_correlation(estimate, truth, mask):
  """Pearson correlation of two maps over the mask (paper Eq. 28)."""
  a, b = _centred(estimate, mask), _centred(truth, mask)
  return float(np.mean(a * b) / np.sqrt(np.mean(a**2) * np.mean(b**2)))


def _centred(values, mask):
  inside = np.asarray(values, np.float64)[np.asarray(mask, bool)]
  return inside - inside.mean()
