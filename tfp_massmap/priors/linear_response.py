"""The linear response of a residual denoiser to its input, which should be zero.

The Wiener filter W = S / (S + sigma^2) takes from a noisy map x all that is linear in
it: the error it leaves is uncorrelated with x, mode by mode, whatever the field's other
moments. A perfect residual F therefore has <F x*> = 0. A trained one deviates slightly,
above all on the largest scales, through effects at the borders. Small deviations
matter: along the probability flow the power of a mode changes by the factor

  exp(2 int beta dln sigma),    beta(sigma, ell) = <F x*> / <|x|^2>,

which is 8 % for beta = -0.01 over four e-foldings. Near sigma = 0 the score
beta x / sigma^2 can exceed the Gaussian prior's own, -x / (S + sigma^2), on scales
where S is large. This module measures beta on maps of the kind that the prior was
trained on; the prior uses F - beta x instead of F.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses

import numpy as np
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap.priors import sigma_table

# Bands of multipoles of equal ratio. Beta varies slowly with scale, and more bands
# would leave few modes for the largest scales.
_NUM_BANDS = 12
NUM_SIGMAS = 12  # Noise levels of a table, two for each e-folding of sigma.


@dataclasses.dataclass(frozen=True)
class LinearResponse:
  """Table of beta.

  Attributes:
    sigmas: Noise levels, positive and rising, `[m]`.
    multipoles: Multipoles, positive and rising, `[n]`.
    response: beta, `[m, n]`.

  Raises:
    ValueError: If the sizes do not agree, an axis does not rise or a value is not
      finite.
  """

  sigmas: tuple[float, ...]
  multipoles: tuple[float, ...]
  _: dataclasses.KW_ONLY
  response: tuple[tuple[float, ...], ...]

  def __post_init__(self) -> None:
    table = np.asarray(self.response, float)
    axes = [np.asarray(axis, float) for axis in (self.sigmas, self.multipoles)]
    ok = all(
      a.ndim == 1 and len(a) >= 2 and a[0] > 0 and (np.diff(a) > 0).all() for a in axes
    )
    ok = ok and table.shape == tuple(map(len, axes)) and np.isfinite(table).all()
    if not ok:
      raise ValueError(
        "A linear response needs positive rising sigmas [m] and multipoles [n], two or"
        f" more of each, and a finite table [m, n]; got {axes[0].shape},"
        f" {axes[1].shape} and {table.shape}."
      )

  def on(self, grid: geometry.PixelGrid) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns beta on the modes of a grid as a function of sigma.

    Args:
      grid: `geometry.PixelGrid`.

    Returns:
      A function of sigma `[batch]` to `[batch, ny, nx // 2 + 1]`, interpolated linearly
      in log sigma and log ell and held at the table's edges.
    """
    logs = np.log(self.multipoles)
    ell = np.log(np.maximum(grid.multipoles(), self.multipoles[0]))
    upper = np.clip(np.searchsorted(logs, ell), 1, len(logs) - 1)
    share = np.clip((ell - logs[upper - 1]) / (logs[upper] - logs[upper - 1]), 0, 1)
    rows_at = sigma_table.SigmaTable(np.log(self.sigmas), self.response)

    def response(sigma):
      rows = rows_at(sigma)
      low, high = (tf.gather(rows, upper + i, axis=1) for i in (-1, 0))
      return low + tf.cast(share, rows.dtype) * (high - low)

    return response


def measure(
  residual_fn: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
  maps: Iterable[np.ndarray],
  *,
  grid: geometry.PixelGrid,
  sigmas: Sequence[float] | np.ndarray,
  seed: int = 0,
) -> LinearResponse:
  """Measures beta in bands of multipoles of equal ratio.

  Args:
    residual_fn: F, a function of noisy maps `[1, ny, nx]` and sigma `[1]` to
      `[1, ny, nx]`.
    maps: Maps `[ny, nx]` of the residual's training, or of their kind.
    grid: `geometry.PixelGrid` of the maps.
    sigmas: Noise levels of the table.
    seed: Seed of the noise.

  Returns:
    A `LinearResponse`.

  Raises:
    ValueError: If there are no maps, or their shape is not that of the grid.
  """
  maps = [np.asarray(kappa, np.float32) for kappa in maps]
  if not maps or any(kappa.shape != grid.shape for kappa in maps):
    raise ValueError(
      f"Expected maps of {grid.shape} pixels; got {len(maps)} of the shapes"
      f" {sorted({kappa.shape for kappa in maps})}."
    )
  edges, sum_bands = _bands(grid)
  table = []
  for index, sigma in enumerate(sigmas):
    products = np.zeros([2, len(edges) - 1])
    for number, kappa in enumerate(maps):
      rng = np.random.default_rng([seed, index, number])
      x = kappa + np.float32(sigma) * rng.standard_normal(kappa.shape, np.float32)
      added = residual_fn(tf.constant(x[None]), tf.constant([sigma], tf.float32))[0]
      x, added = np.fft.rfft2(x), np.fft.rfft2(np.asarray(added))
      products += sum_bands((added * x.conj()).real), sum_bands(np.abs(x) ** 2)
    table.append(tuple((products[0] / products[1]).tolist()))
  centers = np.sqrt(edges[1:] * edges[:-1])
  return LinearResponse(
    tuple(float(s) for s in sigmas), tuple(centers.tolist()), response=tuple(table)
  )


def _bands(grid):
  """Returns the edges of bands with modes, and a function that sums over each band."""
  ell = grid.multipoles()
  edges = np.geomspace(ell[ell > 0].min() * 0.999, ell.max() * 1.001, _NUM_BANDS + 1)
  edges = edges[np.histogram(ell, edges)[0].nonzero()[0].tolist() + [_NUM_BANDS]]
  num_bands = len(edges) - 1
  band = np.digitize(ell, edges)
  weight = geometry.half_plane_multiplicity(grid.shape) * np.ones_like(ell)

  def sum_bands(values):
    sums = np.bincount(band.ravel(), (weight * values).ravel(), num_bands + 2)
    return sums[1:-1]  # Without k = 0, which is in no band.

  return edges, sum_bands
