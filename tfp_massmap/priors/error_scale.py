"""How far a denoiser errs, next to a Gaussian field's Wiener filter, by what it sees.

What noise hides of a map is not the same everywhere: where a denoiser finds a halo, its
error is several times that of the Wiener filter, and in voids a half of it. The table
here gives the ratio of the two standard deviations as a function of the denoised
convergence and of sigma. Samplers multiply the Gaussian covariance by it, on both sides.
"""

import dataclasses

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import geometry

_NUM_BINS = 60
_NUM_VALUES = 64
_FEWEST = 200  # pixels of a bin, for 5 % in its standard deviation
FEWEST_PIXELS = 100 * _FEWEST


@dataclasses.dataclass(frozen=True)
class ErrorScale:
  """Table of the ratio.

  Attributes:
    sigmas: rising, `[m]`.
    kappas: first and last denoised convergence, at even steps between.
    log_scale: natural logarithm of the ratio, `[m, n]`.
  """

  sigmas: tuple
  kappas: tuple
  _: dataclasses.KW_ONLY
  log_scale: tuple

  def __post_init__(self):
    table = np.asarray(self.log_scale, float)
    ok = table.ndim == 2 and len(table) == len(self.sigmas) >= 2
    ok = ok and np.isfinite(table).all() and np.all(np.diff(self.sigmas) > 0)
    if not ok or len(self.kappas) != 2 or not self.kappas[0] < self.kappas[1]:
      raise ValueError(
        "An error scale needs rising sigmas [m], two kappas and a finite table"
        f" [m, n]; got {len(self.sigmas)} sigmas, kappas {self.kappas} and a table"
        f" {table.shape}."
      )

  def __call__(self, denoised, sigma):
    """The ratio, shape of `denoised`; beyond the table what it is at its edge.

    Args:
      denoised: float `[..., ny, nx]`.
      sigma: positive scalar.
    """
    dtype = denoised.dtype
    levels = tf.constant(np.log(self.sigmas), dtype)
    level = tf.math.log(tf.convert_to_tensor(sigma, dtype))
    level = tf.clip_by_value(level, levels[0], levels[-1])
    upper = tf.clip_by_value(
      tf.reduce_sum(tf.cast(levels < level, tf.int32)), 1, len(self.sigmas) - 1
    )
    share = (level - levels[upper - 1]) / (levels[upper] - levels[upper - 1])
    table = tf.constant(self.log_scale, dtype)
    row = (1 - share) * table[upper - 1] + share * table[upper]
    return tf.exp(
      tfp.math.interp_regular_1d_grid(denoised, *map(float, self.kappas), row)
    )


def measure(
  prior, maps, *, sigmas=tuple(np.geomspace(0.004, 0.8, 11)), seed=0, batch_size=8
):
  """Measures the table of a prior on maps of its kind.

  Args:
    prior: has `denoise` and `mode_variance`.
    maps: `[n, ny, nx]`, of the prior's shape; a few million pixels.
    sigmas: at which.
    seed: of the noise.
    batch_size: maps denoised together.

  Returns:
    An `ErrorScale`.

  Raises:
    ValueError: for maps of another shape, or too few pixels.
  """
  maps = np.asarray(maps, np.float32)
  if maps.ndim != 3 or maps.shape[1:] != tuple(prior.shape):
    raise ValueError(
      f"Expected maps [n, {prior.shape[0]}, {prior.shape[1]}]; got {maps.shape}."
    )
  if maps.size < FEWEST_PIXELS:
    raise ValueError(
      f"{maps.size} pixels are too few for an error scale: give {FEWEST_PIXELS} or"
      " more."
    )
  denoise = tf.function(prior.denoise, autograph=False)
  curves = []
  for index, sigma in enumerate(sigmas):
    rng = np.random.default_rng([seed, index])
    denoised = np.empty_like(maps)
    for first in range(0, len(maps), batch_size):
      batch = maps[first : first + batch_size]
      noise = rng.standard_normal(batch.shape, np.float32)
      denoised[first : first + batch_size] = denoise(
        tf.constant(batch + np.float32(sigma) * noise), tf.constant(sigma, tf.float32)
      )
    curves.append(_curve(denoised.ravel(), (maps - denoised).ravel()))
  kappas = (min(x[0] for x, _ in curves), max(x[-1] for x, _ in curves))
  places = np.linspace(*kappas, _NUM_VALUES)
  table = [
    0.5 * np.log(np.interp(places, x, squared) / _gaussian_error(prior, sigma))
    for sigma, (x, squared) in zip(sigmas, curves)
  ]
  return ErrorScale(
    tuple(float(s) for s in sigmas),
    tuple(float(k) for k in kappas),
    log_scale=tuple(tuple(np.round(row, 4).tolist()) for row in table),
  )


def _curve(denoised, error):
  """Mean denoised value and squared error, in bins of the first."""
  high = np.quantile(denoised, 0.98)
  edges = np.concatenate(
    [
      np.quantile(denoised, np.linspace(0, 0.98, _NUM_BINS // 2)),
      np.linspace(high, denoised.max(), _NUM_BINS // 2 + 1)[1:],
    ]
  )
  index = np.clip(np.searchsorted(edges, denoised, "right") - 1, 0, len(edges) - 2)
  count = np.bincount(index, minlength=len(edges) - 1)
  sums = [
    np.bincount(index, values, minlength=len(edges) - 1)
    for values in (denoised, np.square(error, dtype=np.float64))
  ]
  enough = count >= _FEWEST
  return tuple(total[enough] / count[enough] for total in sums)


def _gaussian_error(prior, sigma):
  """Variance of a pixel that the Wiener filter leaves of a Gaussian field."""
  variance = np.asarray(prior.gaussian.mode_variance, np.float64)
  left = variance * sigma**2 / (variance + sigma**2)
  count = geometry.half_plane_multiplicity(prior.shape)
  return float(np.sum(count * left) / (prior.shape[0] * prior.shape[1]))
