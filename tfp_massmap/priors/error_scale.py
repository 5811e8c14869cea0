"""The error of a denoiser over a Gaussian field's Wiener filter's, by denoised value.

Noise does not hide a map evenly. Where a denoiser finds a halo, its error is several
times that of the Wiener filter, and in voids it is half of it. The table here gives the
ratio of the two standard deviations as a function of the denoised convergence and of
sigma. Samplers multiply the Gaussian covariance by it, on both sides.
"""

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import typing

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import geometry
from tfp_massmap.priors import sigma_table

if typing.TYPE_CHECKING:
  from tfp_massmap.priors import interface

_NUM_BINS = 60  # Bins of the measured curve, half of them in the highest 2 % of pixels.
_HIGH_QUANTILE = 0.98  # Haloes are above it; there bins are even in convergence.
_NUM_VALUES = 64  # Columns of the table.
_FEWEST = 200  # Pixels in a bin, for an error of 5 % of its standard deviation.
FEWEST_PIXELS = 100 * _FEWEST  # Each bin below the high quantile then has 600.
# From below the smallest sigma that samplers use to where the map is lost in noise.
SIGMAS = tuple(np.geomspace(0.004, 0.8, 11))


@dataclasses.dataclass(frozen=True)
class ErrorScale:
  """Table of the ratio.

  Attributes:
    sigmas: Noise levels, rising, `[m]`.
    kappas: First and last denoised convergence; the columns are at even steps between.
    log_scale: Natural logarithm of the ratio, `[m, n]`.

  Raises:
    ValueError: If the sizes do not agree, an axis does not rise or a value is not
      finite.
  """

  sigmas: tuple[float, ...]
  kappas: tuple[float, float]
  _: dataclasses.KW_ONLY
  log_scale: tuple[tuple[float, ...], ...]

  def __post_init__(self) -> None:
    table = np.asarray(self.log_scale, float)
    ok: bool | np.bool_ = table.ndim == 2 and len(table) == len(self.sigmas) >= 2
    ok = ok and np.isfinite(table).all() and np.all(np.diff(self.sigmas) > 0)
    if not ok or len(self.kappas) != 2 or not self.kappas[0] < self.kappas[1]:
      raise ValueError(
        "An error scale needs rising sigmas [m], two rising kappas and a finite table"
        f" [m, n]; got {len(self.sigmas)} sigmas, kappas {self.kappas} and a table"
        f" {table.shape}."
      )

  def __call__(self, denoised: tf.Tensor, sigma: tf.Tensor | float) -> tf.Tensor:
    """Returns the ratio, of the shape of `denoised`; held at the table's edges.

    Args:
      denoised: Denoised convergence, float `[..., ny, nx]`.
      sigma: Positive scalar.
    """
    sigma = tf.convert_to_tensor(sigma, denoised.dtype)
    row = sigma_table.SigmaTable(np.log(self.sigmas), self.log_scale)(sigma)
    return tf.exp(
      tfp.math.interp_regular_1d_grid(denoised, *map(float, self.kappas), row)
    )


def measure(
  prior: "interface.Prior",
  maps: np.ndarray | Sequence[np.ndarray],
  *,
  sigmas: Sequence[float] | np.ndarray = SIGMAS,
  seed: int = 0,
  batch_size: int = 8,
) -> ErrorScale:
  """Measures the table of a prior on maps of the kind it was trained on.

  Args:
    prior: `priors.Prior`.
    maps: `[n, ny, nx]`, of the prior's shape; a few million pixels.
    sigmas: Noise levels of the table.
    seed: Seed of the noise.
    batch_size: Number of maps denoised together.

  Returns:
    An `ErrorScale`.

  Raises:
    ValueError: If the maps have another shape, or too few pixels.
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

  def pairs():
    for index, sigma in enumerate(sigmas):
      rng = np.random.default_rng([seed, index])
      denoised = np.empty_like(maps)
      for first in range(0, len(maps), batch_size):
        batch = maps[first : first + batch_size]
        noise = rng.standard_normal(batch.shape, np.float32)
        noisy = tf.constant(batch + np.float32(sigma) * noise)
        denoised[first : first + batch_size] = denoise(
          noisy, tf.constant(sigma, tf.float32)
        )
      yield denoised, maps

  variance = np.asarray(prior.gaussian.mode_variance, np.float64)
  errors = [wiener_error(variance, sigma, shape=prior.shape) for sigma in sigmas]
  return from_denoised(sigmas, pairs(), gaussian_errors=errors)


def from_denoised(
  sigmas: Sequence[float] | np.ndarray,
  pairs: Iterable[tuple[npt.ArrayLike, npt.ArrayLike]],
  *,
  gaussian_errors: Sequence[float],
) -> ErrorScale:
  """Returns the table of maps that are denoised already.

  Args:
    sigmas: Noise levels, `[m]`.
    pairs: Denoised maps and the maps, of one shape, for each noise level.
    gaussian_errors: `wiener_error` at each noise level, `[m]`.
  """
  curves = []
  for denoised, maps in pairs:
    denoised = np.asarray(denoised, np.float32)
    curves.append(_curve(denoised.ravel(), (np.asarray(maps) - denoised).ravel()))
  kappas = (min(x[0] for x, _ in curves), max(x[-1] for x, _ in curves))
  places = np.linspace(*kappas, _NUM_VALUES)
  table = [
    0.5 * np.log(np.interp(places, x, squared) / error)
    for error, (x, squared) in zip(gaussian_errors, curves)
  ]
  return ErrorScale(
    tuple(float(s) for s in sigmas),
    (float(kappas[0]), float(kappas[1])),
    log_scale=tuple(tuple(np.round(row, 4).tolist()) for row in table),
  )


def wiener_error(
  mode_variance: np.ndarray, sigma: float, *, shape: tuple[int, int]
) -> float:
  """Returns the variance that the Wiener filter leaves in a pixel.

  Args:
    mode_variance: S, `[ny, nx // 2 + 1]`.
    sigma: Noise level.
    shape: `(ny, nx)`.
  """
  left = mode_variance * sigma**2 / (mode_variance + sigma**2)
  count = geometry.half_plane_multiplicity(shape)
  return float(np.sum(count * left) / (shape[0] * shape[1]))


def _curve(denoised, error):
  """Returns mean denoised value and mean squared error, in bins of the first."""
  high = np.quantile(denoised, _HIGH_QUANTILE)
  edges = np.concatenate(
    [
      np.quantile(denoised, np.linspace(0, _HIGH_QUANTILE, _NUM_BINS // 2)),
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
