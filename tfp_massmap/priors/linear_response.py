"""What a residual denoiser adds in proportion to its input, which must be nothing.

The Wiener filter W = S / (S + sigma^2) takes from a noisy map x all that is linear in it:
the error it leaves is uncorrelated with x, mode by mode, whatever the field's other
moments. So is a perfect residual F, <F x*> = 0. A trained one is not quite, by border
effects on the largest scales above all, and little is enough to matter: along the
probability flow the power of a mode changes by the factor

  exp(2 int beta dln sigma),    beta(sigma, ell) = <F x*> / <|x|^2>,

8 % for beta = -.01 over four e-foldings, and near sigma = 0 the score beta x / sigma^2 can
exceed the Gaussian prior's own, -x / (S + sigma^2), on scales where S is large. Here beta
is measured on maps of the prior's kind; F - beta x takes the place of F.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from tfp_massmap import geometry

_NUM_BANDS = 12


@dataclasses.dataclass(frozen=True)
class LinearResponse:
  """Table of beta.

  Attributes:
    sigmas: positive, rising, `[m]`.
    multipoles: positive, rising, `[n]`.
    response: beta, `[m, n]`.
  """

  sigmas: tuple
  multipoles: tuple
  _: dataclasses.KW_ONLY
  response: tuple

  def __post_init__(self):
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

  def on(self, grid):
    """beta on the modes of a grid.

    Args:
      grid: `geometry.PixelGrid`.

    Returns:
      Function of sigma `[batch]` to `[batch, ny, nx // 2 + 1]`, interpolated in log sigma
      and log ell; beyond the table what it is at its edge.
    """
    logs = np.log(self.multipoles)
    ell = np.log(np.maximum(grid.multipoles(), self.multipoles[0]))
    upper = np.clip(np.searchsorted(logs, ell), 1, len(logs) - 1)
    share = np.clip((ell - logs[upper - 1]) / (logs[upper] - logs[upper - 1]), 0, 1)

    def response(sigma):
      rows = self._rows(sigma)
      low, high = (tf.gather(rows, upper + i, axis=1) for i in (-1, 0))
      return low + tf.cast(share, rows.dtype) * (high - low)

    return response

  def _rows(self, sigma):
    """beta of the tabulated multipoles at sigma, `[batch, n]`."""
    logs = tf.constant(np.log(self.sigmas), sigma.dtype)
    table = tf.constant(self.response, sigma.dtype)
    level = tf.clip_by_value(tf.math.log(sigma), logs[0], logs[-1])
    below = tf.cast(logs < level[:, tf.newaxis], tf.int32)
    upper = tf.clip_by_value(tf.reduce_sum(below, axis=1), 1, len(self.sigmas) - 1)
    low, high = (tf.gather(logs, upper + i) for i in (-1, 0))
    share = ((level - low) / (high - low))[:, tf.newaxis]
    return (1 - share) * tf.gather(table, upper - 1) + share * tf.gather(table, upper)


def measure(
  residual_fn, maps, *, grid, sigmas=tuple(np.geomspace(0.003, 1.5, 12)), seed=0
):
  """Measures beta.

  Args:
    residual_fn: F, `fn(x, sigma)` of `[1, ny, nx]` and `[1]`.
    maps: iterable of `[ny, nx]`, of the residual's training or of their kind.
    grid: `geometry.PixelGrid` of the maps.
    sigmas: at which.
    seed: of the noise.

  Returns:
    A `LinearResponse`, in bands of ell of equal ratio.

  Raises:
    ValueError: for maps of another shape than the grid, or none.
  """
  maps = [np.asarray(kappa, np.float32) for kappa in maps]
  if not maps or any(kappa.shape != grid.shape for kappa in maps):
    raise ValueError(
      f"Expected maps of {grid.shape} pixels; got {len(maps)} of the shapes"
      f" {sorted({kappa.shape for kappa in maps})}."
    )
  ell = grid.multipoles()
  edges = np.geomspace(ell[ell > 0].min() * 0.999, ell.max() * 1.001, _NUM_BANDS + 1)
  edges = edges[np.histogram(ell, edges)[0].nonzero()[0].tolist() + [_NUM_BANDS]]
  num_bands = len(edges) - 1
  band = np.digitize(ell, edges)
  weight = geometry.half_plane_multiplicity(grid.shape) * np.ones_like(ell)
  sums = lambda values: np.bincount(
    band.ravel(), (weight * values).ravel(), num_bands + 2
  )[1:-1]
  table = []
  for index, sigma in enumerate(sigmas):
    products = np.zeros([2, num_bands])
    for number, kappa in enumerate(maps):
      rng = np.random.default_rng([seed, index, number])
      x = kappa + np.float32(sigma) * rng.standard_normal(kappa.shape, np.float32)
      added = residual_fn(tf.constant(x[None]), tf.constant([sigma], tf.float32))[0]
      x, added = np.fft.rfft2(x), np.fft.rfft2(np.asarray(added))
      products += sums((added * x.conj()).real), sums(np.abs(x) ** 2)
    table.append(tuple((products[0] / products[1]).tolist()))
  centers = np.sqrt(edges[1:] * edges[:-1])
  return LinearResponse(
    tuple(float(s) for s in sigmas), tuple(centers.tolist()), response=tuple(table)
  )
