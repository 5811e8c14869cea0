"""Tests of samples by the score of their posterior, without a truth.

Of samples of a density p with the score s, Stein's identity asks that

  E[s(x) . f(x) + div f(x)] = 0    for every smooth f that does not grow too fast.

The score of a network is poor without smoothing, and the smoothed posterior is known for
a Gaussian prior alone. What is known for any prior is the posterior of the noisy map v,
given the data and the part of the white noise that no convergence can produce
(`samplers.noise_split`): a sample x and the data give a draw of v. If x is a draw of the
posterior, v is one of the known density. The tests here are of v.

1. f = F_b (v - c), where F_b selects a band of multipoles and divides by the precision
   of the Gaussian component's posterior, and c is the mean of the other samples: the
   excess of variance in the band.
2. f constant: the mean of the score in the band, over its standard error.
3. f from the inverse multiquadric kernel of whitened modes of the band: the kernelised
   Stein discrepancy (Liu, Lee & Jordan 2016; Chwialkowski, Strathmann & Gretton 2016;
   for scores of diffusion priors Qiu et al., arXiv:2602.04189), with a p-value by the
   wild bootstrap. It sees departures of any kind, and each of them less well.
"""

from collections.abc import Sequence
import dataclasses
import itertools
import typing

import numpy as np
import numpy.typing as npt
from scipy import stats
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import samplers
from tfp_massmap.samplers import guided_hmc
from tfp_massmap.samplers import noise_split

if typing.TYPE_CHECKING:
  from tfp_massmap import posterior as posterior_lib

_FEWEST_SAMPLES = 8
_NUM_BOOTSTRAP = 999
_BATCH = 4


@dataclasses.dataclass(frozen=True, eq=False)
class SteinTest:
  """Result of `stein_test` by band of multipoles; arrays `[bands]`.

  Attributes:
    edges: Edges of the bands, `[bands + 1]`.
    rho: Standard deviation of the noise of the maps that were tested.
    excess: Variance of the noisy map over that of its posterior, less 1. That of the
      map itself is larger by the share of rho^2 in the noisy map's variance.
    excess_error: Standard error of `excess`.
    mean_score: Mean square of the mean score, over what its standard error explains: 1
      if calibrated, larger if means are wrong.
    mean_score_error: Its standard deviation if calibrated and modes are independent.
    ksd: Kernelised Stein discrepancy, 0 if calibrated on average, over that of the
      diagonal.
    ksd_p_value: Probability of one as large among calibrated samples.
  """

  edges: np.ndarray
  rho: float
  _: dataclasses.KW_ONLY
  excess: np.ndarray
  excess_error: np.ndarray
  mean_score: np.ndarray
  mean_score_error: np.ndarray
  ksd: np.ndarray
  ksd_p_value: np.ndarray

  @property
  def p_value(self) -> float:
    """Probability of an excess as far from 0 in any band (normal, Bonferroni)."""
    significance = np.abs(self.excess) / self.excess_error
    return float(min(1.0, len(self.excess) * 2 * stats.norm.sf(significance.max())))

  def __str__(self) -> str:
    """A table, one row a band."""
    rows = ["ell            excess of variance   mean score       KSD p"]
    for band, (low, high) in enumerate(itertools.pairwise(self.edges)):
      variance = f"{self.excess[band]:7.4f} +- {self.excess_error[band]:.4f}"
      mean = f"{self.mean_score[band]:.3f} +- {self.mean_score_error[band]:.3f}"
      kernel = f"{self.ksd_p_value[band]:.3f}"
      rows.append(f"{low:6.0f} {high:6.0f}  {variance}   {mean}   {kernel}")
    return "\n".join(rows)


def stein_test(
  posterior: "posterior_lib.Posterior",
  samples: npt.ArrayLike,
  *,
  edges: Sequence[float] | np.ndarray,
  rho: float | None = None,
  seed: int = 0,
) -> SteinTest:
  """Tests samples against the score of their posterior.

  Args:
    posterior: `posterior.Posterior`, with a linear likelihood.
    samples: Independent samples, `[n, ny, nx]`, 8 or more.
    edges: Increasing multipoles, edges of the bands, each with two or more modes.
    rho: Standard deviation of the noise that is added; None for that of the chains of
      "guided+hmc". At most 0.81 of the smallest noise of a pixel.
    seed: Integer, of the noise and of the bootstrap.

  Raises:
    ValueError: If samples are too few, of another shape or not finite, a band holds no
      mode, the likelihood is not linear, or rho is too large.
  """
  samples = np.asarray(samples)
  _check(posterior, samples)
  rho = _choose_rho(posterior, rho)
  bands, count = _bands(posterior, np.asarray(edges, float))
  points, scores = _whitened(posterior, samples, rho, seed)
  rng = np.random.default_rng(seed)
  rows = [
    _test_band(points[:, band], scores[:, band], count[band], rng) for band in bands
  ]
  columns = [np.array(values) for values in zip(*rows)]
  names = ("excess", "excess_error", "mean_score", "mean_score_error", "ksd")
  return SteinTest(
    np.asarray(edges, float), rho, **dict(zip((*names, "ksd_p_value"), columns))
  )


def kernel_stein_discrepancy(
  points: npt.ArrayLike,
  scores: npt.ArrayLike,
  *,
  rng: np.random.Generator,
  num_bootstrap: int = _NUM_BOOTSTRAP,
) -> tuple[float, float]:
  """Returns the kernelised Stein discrepancy of a sample, and its p-value.

  The kernel is (1 + |x - y|^2 / h^2)^(-1/2), with h^2 the median of the squared
  distances. The discrepancy is the mean over pairs (a U-statistic), in units of the mean
  of the diagonal terms.

  Args:
    points: Independent draws, `[n, d]`; whiten them, so that d counts every direction.
    scores: Scores at them, `[n, d]`.
    rng: Generator of the wild bootstrap.
    num_bootstrap: Repetitions of the bootstrap.

  Returns:
    `(discrepancy, p_value)`.
  """
  x, s = np.asarray(points, np.float64), np.asarray(scores, np.float64)
  num, size = x.shape
  squares = np.sum(x**2, axis=1)
  distance = np.maximum(squares[:, np.newaxis] + squares - 2 * x @ x.T, 0)
  width = np.median(distance[~np.eye(num, dtype=bool)])
  base = 1 + distance / width
  # k = base^-1/2; its gradient in x is -(x - y) base^-3/2 / width.
  first, second = base**-1.5 / width, 3 * base**-2.5 / width**2
  toward = (s * x).sum(axis=1)
  cross = s @ x.T
  # (s(x) - s(y)) . (x - y)
  along = toward[:, np.newaxis] + toward - cross - cross.T
  kernel = (s @ s.T) * base**-0.5 + along * first + size * first - second * distance
  scale = np.trace(kernel) / num
  np.fill_diagonal(kernel, 0)
  pairs = num * (num - 1)
  found = kernel.sum() / pairs
  signs = rng.choice([-1.0, 1.0], size=(num_bootstrap, num))
  by_chance = np.einsum("bi,ij,bj->b", signs, kernel, signs, optimize=True) / pairs
  p_value = (1 + np.sum(by_chance >= found)) / (1 + num_bootstrap)
  return float(found / scale), float(p_value)


def _check(posterior, samples):
  if not posterior.likelihood.is_linear:
    raise ValueError(
      "The test needs a linear likelihood: of reduced shear, the posterior of the noisy"
      " map is not known."
    )
  shape = tuple(posterior.shape)
  if samples.shape[1:] != shape or len(samples) < _FEWEST_SAMPLES:
    raise ValueError(
      f"{_FEWEST_SAMPLES} or more samples of {shape} pixels are needed; got an array of"
      f" shape {samples.shape}."
    )
  if not np.isfinite(samples).all():
    raise ValueError(f"{np.sum(~np.isfinite(samples))} values are not finite.")


def _choose_rho(posterior, rho):
  least = float(posterior.likelihood.noise_std_quantiles([0.0])[0])
  largest = least / guided_hmc.MARGIN**0.5
  if rho is None:
    wanted = samplers.GuidedHmcSettings().resolve(posterior).sigmas[0]
    return min(float(wanted), largest)
  if not 0 < rho <= largest * (1 + 1e-6):
    raise ValueError(
      f"rho must be positive and at most {largest:.4g}, 0.81 of the smallest noise of a"
      f" pixel; got {rho}."
    )
  return float(rho)


def _bands(posterior, edges):
  """The modes of each band as booleans, and the number that each mode stands for."""
  grid = posterior.likelihood.grid
  ell = grid.multipoles()
  count = geometry.half_plane_multiplicity(grid.shape) * np.ones_like(ell)
  bands = []
  for low, high in itertools.pairwise(edges):
    inside = (ell >= low) & (ell < high) & (ell > 0)
    if count[inside].sum() < 2:
      raise ValueError(f"The band of ell from {low:g} to {high:g} holds no two modes.")
    bands.append(inside)
  if not bands:
    raise ValueError(f"edges must be two or more increasing multipoles; got {edges}.")
  return bands, count


def _whitened(posterior, samples, rho, seed):
  """Modes of the noisy maps about the others' mean, and of their scores, whitened."""
  fft_shape = [len(samples), samples.shape[1], samples.shape[2] // 2 + 1]
  points, scores = np.zeros([2, *fft_shape], complex)
  precision = None

  @tf.function(autograph=False)
  def score(batch, seed):
    parts = noise_split.split(
      posterior.likelihood,
      batch,
      rho=tf.constant(rho, posterior.dtype),
      seed=seed,
      margin=guided_hmc.MARGIN,
    )
    noisy = noise_split.NoisyPosterior(posterior.prior, parts)
    return parts.noisy, noisy.score(parts.noisy), noisy.fourier_precision()

  for first in range(0, len(samples), _BATCH):
    batch = samples[first : first + _BATCH]
    full = np.concatenate([batch, np.repeat(batch[-1:], _BATCH - len(batch), axis=0)])
    noisy, gradient, precision = score(
      tf.constant(full, posterior.dtype), tf.constant([seed, first])
    )
    part = slice(first, first + len(batch))
    points[part], scores[part] = (
      np.fft.rfft2(np.asarray(m, np.float64), norm="ortho")[: len(batch)]
      for m in (noisy, gradient)
    )
  root = np.sqrt(np.asarray(precision, np.float64).reshape(fft_shape[1:]))
  others = (points.sum(axis=0) - points) / (len(samples) - 1)
  return root * (points - others), scores / root


def _test_band(points, scores, count, rng):
  """The statistics of a band, from modes `[n, m]` that stand for `count` `[m]` each."""
  num, total = len(points), count.sum()
  stein = ((scores * points.conj()).real * count).sum(axis=1) + total
  excess = -stein.mean() / total
  error = stein.std(ddof=1) / total / np.sqrt(num)
  mean = scores.mean(axis=0)
  chance = np.mean(np.abs(scores - mean) ** 2, axis=0) / (num - 1)
  mean_score = (np.abs(mean) ** 2 * count).sum() / (chance * count).sum()
  ksd, p_value = kernel_stein_discrepancy(
    _real(points, count), _real(scores, count), rng=rng
  )
  # A mode is unique, or twice in the full plane with two independent parts.
  return excess, error, mean_score, np.sqrt(2 / total), ksd, p_value


def _real(modes, count):
  """Modes as real numbers with the inner product of the full plane, `[n, 2 m]`."""
  scaled = modes * np.sqrt(count)
  return np.concatenate([scaled.real, scaled.imag], axis=1)
