"""R-hat and effective sample sizes of chains of maps, by `tfp.mcmc`."""

import dataclasses

import numpy as np
import tensorflow_probability as tfp

from tfp_massmap import geometry
from tfp_massmap import spectra
from tfp_massmap.calibration import fourier_modes
from tfp_massmap.mcmc import diagnostics

# Standard error of a median over that of the mean, for a normal distribution.
_MEDIAN_OVER_MEAN = 1.253


@dataclasses.dataclass(frozen=True, eq=False)
class ChainDiagnostics:
  """Convergence of chains, by multipole and by pixel.

  Attributes:
    names: "pixels" and the bands of multipoles, `num` texts.
    r_hat: Median over the pixels or the Fourier components of each, `[num]`.
    r_hat_highest: The 95th percentile, `[num]`.
    effective_size: Median of the effective sizes of all chains together, `[num]`.
    effective_size_lowest: The 5th percentile, `[num]`.
    r_hat_error: Standard error of the median over components, as if these were
      independent, `[num]`.
    effective_size_error: The same for `effective_size`, `[num]`.
    num_states: Number of steps times number of chains.
  """

  names: list[str]
  r_hat: np.ndarray
  _: dataclasses.KW_ONLY
  r_hat_highest: np.ndarray
  effective_size: np.ndarray
  effective_size_lowest: np.ndarray
  r_hat_error: np.ndarray
  effective_size_error: np.ndarray
  num_states: int


def diagnose(
  states: np.ndarray,
  grid: geometry.PixelGrid,
  *,
  mask: np.ndarray | None = None,
  num_bands: int = 8,
  max_components: int = 2000,
) -> ChainDiagnostics:
  """Returns R-hat and effective sample sizes of chains of maps.

  Args:
    states: `[num_steps, num_chains, ny, nx]`, at least four steps of two chains.
    grid: `geometry.PixelGrid`.
    mask: Bool `[ny, nx]`, true where there are data; None for everywhere.
    num_bands: Number of bands of multipoles.
    max_components: Most pixels, or components of a band, that are used, evenly spread.
      They bound the time; medians of 2,000 have errors of 3 % of the scatter.

  Raises:
    ValueError: If the shape is another one, there are fewer steps or chains, the mask
      is empty, or states are not finite.
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
  modes, bands, _ = fourier_modes.modes(flat, mask, grid=grid, edges=edges)
  groups = {"pixels": flat[:, mask]}
  for band, name in enumerate(fourier_modes.band_names(edges)):
    groups[name] = modes[:, bands == band]
  rows = []
  for values in groups.values():
    step = -(-values.shape[1] // max_components)
    rows.append(_summarise(values[:, ::step].reshape([*states.shape[:2], -1])))
  columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
  return ChainDiagnostics(list(groups), **columns, num_states=len(flat))


def _summarise(values):
  """Returns the entries of `ChainDiagnostics` for `[num_steps, num_chains, n]`."""
  r_hat = tfp.mcmc.potential_scale_reduction(values, independent_chain_ndims=1).numpy()
  size = diagnostics.effective_sample_size(
    values, cross_chain_dims=1, filter_beyond_positive_pairs=True
  ).numpy()
  scale = _MEDIAN_OVER_MEAN / np.sqrt(len(r_hat))
  return dict(
    r_hat=np.median(r_hat),
    r_hat_highest=np.quantile(r_hat, 0.95),
    effective_size=np.median(size),
    effective_size_lowest=np.quantile(size, 0.05),
    r_hat_error=scale * r_hat.std(),
    effective_size_error=scale * size.std(),
  )
