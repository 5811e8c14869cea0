"""Power spectra: tabulated, fiducial or measured; Gaussian random fields.

Convention: a map of pixels of solid angle Omega, with the unitary Fourier transform
(norm 1/sqrt(ny nx)), has modes of variance S(k) = C_ell / Omega. White noise of
variance v per pixel then has S = v, and S adds to noise and temperature directly.
"""

import dataclasses
import importlib.resources
import pathlib

from astropy import units as u
from astropy.table import Table
import numpy as np
import tensorflow as tf

from tfp_massmap import geometry

_WINDOW_WAVES = 8  # half-waves of the window; beyond is 1 % of its weight
_NUM_WINDOW = 256


@dataclasses.dataclass(frozen=True)
class PowerSpectrum:
  """Convergence power spectrum C_ell, interpolated linearly in log-log.

  Attributes:
    ell: increasing positive multipoles, float64 `[n]`.
    c_ell: positive power at `ell`, in steradian, float64 `[n]`.
    name: what it is, for product headers.

  Raises:
    ValueError: if the arrays differ in shape, are not finite, or hold an ell or a
      power that is not positive.
  """

  ell: np.ndarray
  c_ell: np.ndarray
  _: dataclasses.KW_ONLY
  name: str = "user power spectrum"

  def __post_init__(self):
    ell = np.asarray(self.ell, np.float64)
    c_ell = np.asarray(self.c_ell, np.float64)
    if ell.ndim != 1 or ell.shape != c_ell.shape or ell.size < 2:
      raise ValueError(
        "ell and c_ell must be one-dimensional, of the same length of at least 2;"
        f" got shapes {ell.shape} and {c_ell.shape}."
      )
    if not (np.all(np.isfinite(ell)) and ell[0] > 0 and np.all(np.diff(ell) > 0)):
      raise ValueError(
        "ell must be finite, positive and increasing; got"
        f" {_first_values(ell)}. Leave out ell = 0 and sort the table."
      )
    bad = ~(np.isfinite(c_ell) & (c_ell > 0))
    if bad.any():
      first = int(np.argmax(bad))
      raise ValueError(
        f"The power must be finite and positive; {bad.sum()} of {bad.size} values"
        f" are not, the first at ell = {ell[first]:g} (C_ell = {c_ell[first]:g})."
        " A measured spectrum may have lost its noise bias twice: use wider bands"
        " or a theory spectrum there."
      )
    object.__setattr__(self, "ell", ell)
    object.__setattr__(self, "c_ell", c_ell)

  def __call__(self, ell):
    """C_ell at any `ell` within the table; ValueError outside it."""
    ell = np.asarray(ell, np.float64)
    # One part in 1e9 forgives the rounding of a range made from the same grid.
    low, high = self.ell[0] * (1 - 1e-9), self.ell[-1] * (1 + 1e-9)
    if ell.size and (ell.min() < low or ell.max() > high):
      raise ValueError(
        f"The power spectrum '{self.name}' covers ell {self.ell[0]:g} to"
        f" {self.ell[-1]:g}, but the map needs {ell.min():g} to {ell.max():g}."
        " Give a spectrum that covers the map, or choose larger pixels"
        " (high ell) or a smaller map (low ell)."
      )
    return np.exp(np.interp(np.log(ell), np.log(self.ell), np.log(self.c_ell)))

  def mode_variance(self, grid, mean_variance=None):
    """Variance of the modes of a map, S(k) = C_ell / Omega_pixel.

    Args:
      grid: `PixelGrid`.
      mean_variance: S at k = 0. The mean of a map is a real unknown that shear
        leaves free, so its prior must be chosen: by default that of a patch of a
        larger sky, see `patch_mean_variance`.

    Returns:
      float64 `[ny, nx // 2 + 1]`, the layout of `rfft2`.
    """
    ell = grid.multipoles()
    ell[0, 0] = np.min(ell[ell > 0])
    variance = self(ell) / grid.pixel_radians**2
    if mean_variance is None:
      mean_variance = self.patch_mean_variance(grid)
    if not mean_variance > 0:
      raise ValueError(f"mean_variance must be positive; got {mean_variance}.")
    variance[0, 0] = mean_variance
    return variance

  def patch_mean_variance(self, grid):
    """S(0) of a map that is a patch of a larger sky.

    The mean over the patch has the variance of all waves, longer ones too, within its
    window: S(0) = 1 / Omega times the integral of C_ell over area d^2 ell / (2 pi)^2
    sinc^2(ell_x L_x / 2) sinc^2(ell_y L_y / 2). Below the table C_ell is taken for
    constant.

    Args:
      grid: `PixelGrid`.

    Returns:
      A float; the number of pixels times the variance of the mean.
    """
    phase = (np.arange(_NUM_WINDOW) + 0.5) * (_WINDOW_WAVES * np.pi / _NUM_WINDOW)
    weight = np.square(np.sinc(phase / np.pi))
    weight /= weight.sum()
    ell_y, ell_x = (2 * phase / (n * grid.pixel_radians) for n in grid.shape)
    ell = np.hypot(ell_y[:, np.newaxis], ell_x)
    power = self(np.clip(ell, self.ell[0], self.ell[-1]))
    return float(weight @ power @ weight) / grid.pixel_radians**2

  @classmethod
  def fiducial_cosmos(cls):
    """Halofit power for the n(z) of COSMOS, the shipped table.

    `tfp_massmap/tables/build_cosmos_power.py` says how it was computed.
    """
    source = importlib.resources.files("tfp_massmap.tables") / "cosmos_power.ecsv"
    with importlib.resources.as_file(source) as path:
      table = Table.read(path, format="ascii.ecsv")
    return cls(table["ell"], table["c_ell"], name="fiducial COSMOS n(z), halofit")

  @classmethod
  def read(cls, path):
    """Reads columns `ell` and `c_ell` (steradian, or their unit) of a table."""
    try:
      table = Table.read(path)
    except FileNotFoundError:
      raise
    except Exception as error:
      raise ValueError(
        f"astropy cannot read {path} as a table ({type(error).__name__}: {error})."
        " Give it the suffix of its format: .fits, .csv or .ecsv."
      ) from error
    missing = {"ell", "c_ell"} - set(table.colnames)
    if missing:
      raise ValueError(
        f"{path} has no column {' or '.join(sorted(missing))}; its columns are"
        f" {', '.join(table.colnames)}."
      )
    power = table["c_ell"]
    if getattr(power, "unit", None) is not None:
      try:
        power = u.Quantity(power).to_value(u.sr)
      except (u.UnitsError, TypeError) as error:
        raise ValueError(
          f"c_ell in {path} has the unit '{table['c_ell'].unit}', which is no solid"
          " angle. Correct or remove it."
        ) from error
    return cls(table["ell"], power, name=f"table {pathlib.Path(path).name}")

  @classmethod
  def from_maps(cls, maps, grid, *, num_bands=None):
    """Spectrum measured from noiseless, unmasked maps.

    Args:
      maps: `[..., ny, nx]`; the mean over the leading axes is taken.
      grid: their `PixelGrid`.
      num_bands: logarithmic bands; by default a third of the shorter side, at
        most 32.

    Returns:
      A `PowerSpectrum` that covers every mode of the maps: it is held constant
      beyond the mean ell of the outermost bands.
    """
    if num_bands is None:
      num_bands = min(32, max(2, min(grid.shape) // 3))
    edges = band_edges(grid, num_bands)
    power = band_power(maps, grid, edges=edges)
    power = power.reshape([-1, num_bands]).mean(axis=0)
    ell = _band_mean(grid.multipoles(), grid, edges)
    filled = np.isfinite(ell)
    ell, power = ell[filled], power[filled]
    return cls(
      np.concatenate([[edges[0]], ell, [edges[-1]]]),
      np.concatenate([power[:1], power, power[-1:]]),
      name=f"measured from maps of {grid.shape[0]} x {grid.shape[1]} pixels",
    )


def band_edges(grid, num_bands):
  """Logarithmic edges that hold every mode of `grid` but k = 0, `[num_bands + 1]`."""
  ell = grid.multipoles()
  low, high = np.min(ell[ell > 0]), np.max(ell)
  return np.geomspace(low * (1 - 1e-6), high * (1 + 1e-6), num_bands + 1)


def band_power(maps, grid, *, edges):
  """Mean C_ell of maps in bands of ell.

  Args:
    maps: `[..., ny, nx]`, NumPy or tensor.
    grid: `PixelGrid` of the maps.
    edges: increasing ell, `[num_bands + 1]`.

  Returns:
    float64 `[..., num_bands]`, in steradian; NaN in a band without modes.
  """
  maps = np.asarray(maps, np.float64)
  if maps.shape[-2:] != grid.shape:
    raise ValueError(
      f"maps must be [..., {grid.shape[0]}, {grid.shape[1]}] like their grid; got"
      f" shape {maps.shape}."
    )
  modes = np.fft.rfft2(maps, norm="ortho")
  return _band_mean(np.abs(modes) ** 2, grid, edges) * grid.pixel_radians**2


def gaussian_field(mode_variance, grid_shape, *, sample_shape=(), seed=None):
  """Gaussian random fields with given variance per mode.

  Args:
    mode_variance: S, float tensor `[..., ny, nx // 2 + 1]`, see
      `PowerSpectrum.mode_variance`.
    grid_shape: `(ny, nx)`.
    sample_shape: leading shape of the result.
    seed: stateless TFP seed.

  Returns:
    `[*sample_shape, ny, nx]` of the dtype of `mode_variance`.
  """
  mode_variance = tf.convert_to_tensor(mode_variance)
  white = tf.random.stateless_normal(
    [*sample_shape, *grid_shape], seed=seed, dtype=mode_variance.dtype
  )
  return fourier_filter(white, tf.sqrt(mode_variance))


def fourier_filter(maps, transfer):
  """Multiplies the modes of maps by a real transfer function.

  Args:
    maps: `[..., ny, nx]`, sides statically known.
    transfer: float tensor, broadcasts with `[..., ny, nx // 2 + 1]`; no gradient
      flows to it.

  Returns:
    `[..., ny, nx]`, of the dtype of `transfer`.
  """
  transfer = tf.stop_gradient(tf.convert_to_tensor(transfer))
  maps = tf.convert_to_tensor(maps, transfer.dtype)
  return _self_adjoint_filter(transfer)(maps)


def _self_adjoint_filter(transfer):
  """The filter as a function that is its own gradient."""

  @tf.custom_gradient
  def apply(maps):
    modes = tf.signal.rfft2d(maps)
    filtered = tf.signal.irfft2d(
      tf.cast(transfer, modes.dtype) * modes, fft_length=maps.shape[-2:].as_list()
    )
    return filtered, apply

  return apply


def _band_mean(half_plane, grid, edges):
  ell = grid.multipoles()
  weight = np.broadcast_to(geometry.half_plane_multiplicity(grid.shape), ell.shape)
  band = np.digitize(ell.ravel(), edges) - 1
  inside = (band >= 0) & (band < len(edges) - 1) & (ell.ravel() > 0)
  assign = np.zeros([ell.size, len(edges) - 1])
  assign[np.flatnonzero(inside), band[inside]] = weight.ravel()[inside]
  values = half_plane.reshape([*half_plane.shape[:-2], -1])
  with np.errstate(invalid="ignore"):
    return values @ assign / assign.sum(axis=0)


def _first_values(values):
  return np.array2string(values[:6], precision=4)
