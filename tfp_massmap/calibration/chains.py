"""R-hat and effective sample sizes of chains of maps, by tfp.mcmc."""

import dataclasses

import numpy as np
import tensorflow_probability as tfp

from tfp_massmap import geometry
from tfp_massmap import spectra
from tfp_massmap.calibration import ranks as ranks_lib
from tfp_massmap.mcmc import diagnostics


@dataclasses.dataclass(frozen=True, eq=False)
class ChainDiagnostics:
  """Convergence of chains, by multipole and by pixel.

  Attributes:
    names: "pixels" and the bands of multipoles, `[num]`.
    r_hat: median over the pixels or Fourier components of each, `[num]`.
    r_hat_highest: the 95th percentile.
    effective_size: median, of all chains together.
    effective_size_lowest: the 5th percentile.
    r_hat_error, effective_size_error: standard errors of the two medians over
      components, as if these were independent.
    num_states: steps times chains.
  """

  names: list
  r_hat: np.ndarray
  _: dataclasses.KW_ONLY
  r_hat_highest: np.ndarray
  effective_size: np.ndarray
  effective_size_lowest: np.ndarray
  r_hat_error: np.ndarray
  effective_size_error: np.ndarray
  num_states: int


_COLUMNS = (
  "r_hat",
  "r_hat_highest",
  "effective_size",
  "effective_size_lowest",
  "r_hat_error",
  "effective_size_error",
)


def diagnose(states, grid, *, mask=None, num_bands=8, max_components=2000):
  """R-hat and effective sample size.

  Args:
    states: `[num_steps, num_chains, ny, nx]`, at least four steps of two chains.
    grid: `geometry.PixelGrid`.
    mask: bool `[ny, nx]`; None for everywhere.
    num_bands: of multipoles.
    max_components: of a band or of the pixels, evenly spread, that are looked at.

  Returns:
    A `ChainDiagnostics`.

  Raises:
    ValueError: for another shape, fewer steps or chains, an empty mask, or states that are
      not finite.
  """
  states = np.asarray(states)
  fits = states.ndim == 4 and states.shape[2:] == grid.shape
  if not fits or states.shape[0] < 4 or states.shape[1] < 2:
    raise ValueError(
      "states must be [num_steps, num_chains, ny, nx] on the grid"
      f" {grid.shape}, with at least four steps of two chains; got {states.shape}."
    )
  mask = geometry.checked_mask(mask, grid.shape)
  if bad := np.count_nonzero(~np.isfinite(states)):
    raise ValueError(f"{bad} of {states.size} values of the states are not finite.")
  edges = spectra.band_edges(grid, num_bands)
  flat = states.reshape([-1, *grid.shape]).astype(np.float64)
  modes, bands, _ = ranks_lib.modes(flat, mask, grid=grid, edges=edges)
  groups = {"pixels": flat[:, mask]}
  groups |= {n: modes[:, bands == b] for b, n in enumerate(ranks_lib.band_names(edges))}
  rows = []
  for values in groups.values():
    step = -(-values.shape[1] // max_components)
    rows.append(_row(values[:, ::step].reshape([*states.shape[:2], -1])))
  return ChainDiagnostics(
    list(groups), **dict(zip(_COLUMNS, np.array(rows).T)), num_states=len(flat)
  )


def _row(values):
  r_hat = tfp.mcmc.potential_scale_reduction(values, independent_chain_ndims=1).numpy()
  size = diagnostics.effective_sample_size(
    values, cross_chain_dims=1, filter_beyond_positive_pairs=True
  ).numpy()
  # The median's standard error, of a normal distribution: 1.25 of the mean's.
  scale = 1.253 / np.sqrt(len(r_hat))
  return (
    np.median(r_hat),
    np.quantile(r_hat, 0.95),
    np.median(size),
    np.quantile(size, 0.05),
    scale * r_hat.std(),
    scale * size.std(),
  )
