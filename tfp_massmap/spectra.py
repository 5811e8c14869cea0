"""Power spectra that are tabulated or measured from maps, and Gaussian random fields.

With the unitary Fourier transform (norm 1 / sqrt(ny nx)), a map of pixels of solid
angle Omega has modes of variance S(k) = C_ell / Omega. White noise of variance v per
pixel then has S = v, so that S adds to noise and temperature directly.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import importlib.resources
import os
import pathlib
import typing

from astropy import units as u
from astropy.table import Table
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import theory as theory_lib
from tfp_massmap.theory import source_redshifts as source_redshifts_lib

# Multipoles of `PowerSpectrum.theory`: all modes of fields up to 36 deg with pixels down
# to 0.1 arcmin.
_THEORY_ELL = np.geomspace(10, 3e5, 240)
SMALL_SCALES = ("halofit", "kappatng")
# Range of the integral over the window sinc^2(x) of a patch, in half-waves of the sine:
# the weight beyond is 1 % of the whole. 256 steps are 32 in a half-wave.
_WINDOW_WAVES = 8
_NUM_WINDOW = 256
# `PowerSpectrum.from_maps`: bands narrow enough for power laws between their centres,
# and on average three modes along the shorter side in each.
_MOST_BANDS = 32
_PIXELS_PER_BAND = 3


@dataclasses.dataclass(frozen=True)
class PowerSpectrum:
  """Convergence power spectrum C_ell, interpolated linearly in log-log.

  Attributes:
    ell: Multipoles, positive and increasing, float64 `[n]`.
    c_ell: Power at `ell` in steradian, positive, float64 `[n]`.
    name: Description for product headers.

  Raises:
    ValueError: If the arrays differ in shape, are not finite, or hold an ell or a power
      that is not positive.
  """

  ell: np.ndarray
  c_ell: np.ndarray
  _: dataclasses.KW_ONLY
  name: str = "user power spectrum"

  def __post_init__(self) -> None:
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

  def __call__(self, ell: npt.ArrayLike) -> np.ndarray:
    """Returns C_ell in steradian at any multipoles within the table.

    Args:
      ell: Multipoles of any shape.

    Raises:
      ValueError: If a multipole lies outside the table.
    """
    ell = np.asarray(ell, np.float64)
    # A margin of 1e-9 admits the rounding of a range that was made from the same grid.
    low, high = self.ell[0] * (1 - 1e-9), self.ell[-1] * (1 + 1e-9)
    if ell.size and (ell.min() < low or ell.max() > high):
      raise ValueError(
        f"The power spectrum '{self.name}' covers ell {self.ell[0]:g} to"
        f" {self.ell[-1]:g}, but the map needs {ell.min():g} to {ell.max():g}."
        " Give a spectrum that covers the map, or choose larger pixels"
        " (high ell) or a smaller map (low ell)."
      )
    return np.exp(np.interp(np.log(ell), np.log(self.ell), np.log(self.c_ell)))

  def mode_variance(
    self, grid: geometry.PixelGrid, mean_variance: float | None = None
  ) -> np.ndarray:
    """Returns the variance of the modes of a map, S(k) = C_ell / Omega_pixel.

    Args:
      grid: Grid of the map.
      mean_variance: S at k = 0. Shear carries no information about the mean of a map,
        so that its prior must be chosen. None stands for a patch of a larger sky, as
        `patch_mean_variance` computes.

    Returns:
      float64 `[ny, nx // 2 + 1]`, the layout of `rfft2`.

    Raises:
      ValueError: If `mean_variance` is not positive, or the spectrum does not cover the
        modes of the map.
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

  def patch_mean_variance(self, grid: geometry.PixelGrid) -> float:
    """Returns S(0) of a map that is a patch of a larger sky.

    Waves longer than the patch contribute to the variance of its mean, too. For a patch
    of sides L_x and L_y and pixels of solid angle Omega,

      S(0) = L_x L_y / Omega int d^2 ell / (2 pi)^2 C_ell sinc^2(ell_x L_x / 2)
             sinc^2(ell_y L_y / 2).

    Outside the table, C_ell is taken to be constant.

    Args:
      grid: Grid of the map.

    Returns:
      The number of pixels times the variance of the mean.
    """
    phase = (np.arange(_NUM_WINDOW) + 0.5) * (_WINDOW_WAVES * np.pi / _NUM_WINDOW)
    weight = np.square(np.sinc(phase / np.pi))
    weight /= weight.sum()
    ell_y, ell_x = (2 * phase / (n * grid.pixel_radians) for n in grid.shape)
    ell = np.hypot(ell_y[:, np.newaxis], ell_x)
    power = self(np.clip(ell, self.ell[0], self.ell[-1]))
    return float(weight @ power @ weight) / grid.pixel_radians**2

  @classmethod
  def theory(
    cls,
    sources: (
      theory_lib.SourceRedshifts | npt.ArrayLike | Callable[[np.ndarray], npt.ArrayLike]
    ),
    cosmology: theory_lib.Cosmology = theory_lib.KAPPATNG,
    *,
    small_scales: str = "halofit",
  ) -> typing.Self:
    """Returns the power of the convergence for an n(z) and a cosmology.

    Args:
      sources: `theory.SourceRedshifts`; redshifts of galaxies, `[n]`; or a function
        n(z) of redshifts, with any normalisation.
      cosmology: `theory.Cosmology`, Omega_m from 0.15 to 0.45 and sigma_8 from 0.5 to
        1.1.
      small_scales: "halofit" (Takahashi et al. 2012), or "kappatng", which is halofit
        times `theory.kappatng_boost`, for baryons.

    Returns:
      A `PowerSpectrum` from ell 10 to 300,000, within 0.1 % of pyccl's between 30 and
      30,000 (`examples/benchmarks/theory.py`).

    Raises:
      ValueError: If the cosmology is outside of the tables, `small_scales` is neither
        of the two, or the redshifts are none.
    """
    if small_scales not in SMALL_SCALES:
      raise ValueError(
        f"small_scales must be one of {SMALL_SCALES}; got {small_scales!r}."
      )
    sources = source_redshifts_lib.resolve(sources)
    power = theory_lib.convergence_power(
      _THEORY_ELL,
      sources,
      cosmology=cosmology,
      boost=theory_lib.kappatng_boost if small_scales == "kappatng" else None,
    )
    name = f"{small_scales}, {cosmology}, {sources.name}"
    return cls(_THEORY_ELL, power, name=name)

  @classmethod
  def fiducial_cosmos(cls) -> typing.Self:
    """Returns the halofit power for the n(z) of COSMOS, a table that ships.

    `tfp_massmap/tables/build_cosmos_power.py` computes it.
    """
    source = importlib.resources.files("tfp_massmap.tables") / "cosmos_power.ecsv"
    with importlib.resources.as_file(source) as path:
      table = Table.read(path, format="ascii.ecsv")
    return cls(table["ell"], table["c_ell"], name="fiducial COSMOS n(z), halofit")

  @classmethod
  def read(cls, path: str | os.PathLike) -> typing.Self:
    """Reads a spectrum from a table.

    Args:
      path: File that astropy can read as a table, with columns `ell` and `c_ell`. The
        power is in steradian if its column has no unit.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If the file is not a table, lacks a column, or the unit of `c_ell` is
        not a solid angle; or as the class.
    """
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
    if power.info.unit is not None:
      try:
        power = u.Quantity(power).to_value(u.sr)
      except (u.UnitsError, TypeError) as error:
        raise ValueError(
          f"c_ell in {path} has the unit '{power.info.unit}', which is no solid angle."
          " Correct it, or remove it if the power is in steradian."
        ) from error
    return cls(table["ell"], power, name=f"table {pathlib.Path(path).name}")

  @classmethod
  def from_maps(
    cls,
    maps: tf.Tensor | npt.ArrayLike,
    grid: geometry.PixelGrid,
    *,
    num_bands: int | None = None,
  ) -> typing.Self:
    """Returns the spectrum of noiseless, unmasked maps.

    Args:
      maps: `[..., ny, nx]`; their power is averaged over the leading axes.
      grid: Grid of the maps.
      num_bands: Number of logarithmic bands, or None for a third of the shorter side,
        at most 32.

    Returns:
      A `PowerSpectrum` that covers every mode of the maps. It is constant beyond the
      mean ell of the outermost bands.

    Raises:
      ValueError: If the maps do not have the shape of their grid.
    """
    if num_bands is None:
      num_bands = min(_MOST_BANDS, max(2, min(grid.shape) // _PIXELS_PER_BAND))
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


def band_edges(grid: geometry.PixelGrid, num_bands: int) -> np.ndarray:
  """Returns logarithmic edges that hold every mode of a grid except k = 0.

  Args:
    grid: Grid of the maps.
    num_bands: Number of bands.

  Returns:
    float64 `[num_bands + 1]`.
  """
  ell = grid.multipoles()
  low, high = np.min(ell[ell > 0]), np.max(ell)
  return np.geomspace(low * (1 - 1e-6), high * (1 + 1e-6), num_bands + 1)


def band_power(
  maps: tf.Tensor | npt.ArrayLike, grid: geometry.PixelGrid, *, edges: npt.ArrayLike
) -> np.ndarray:
  """Returns the mean C_ell of maps in bands of ell.

  Args:
    maps: `[..., ny, nx]`.
    grid: Grid of the maps.
    edges: Increasing ell, `[num_bands + 1]`.

  Returns:
    float64 `[..., num_bands]`, in steradian; NaN in a band without modes.

  Raises:
    ValueError: If the maps do not have the shape of their grid.
  """
  maps = np.asarray(maps, np.float64)
  if maps.shape[-2:] != grid.shape:
    raise ValueError(
      f"maps must be [..., {grid.shape[0]}, {grid.shape[1]}] like their grid; got"
      f" shape {maps.shape}."
    )
  modes = np.fft.rfft2(maps, norm="ortho")
  return _band_mean(np.abs(modes) ** 2, grid, edges) * grid.pixel_radians**2


def gaussian_field(
  mode_variance: tf.Tensor | np.ndarray,
  grid_shape: tuple[int, int],
  *,
  sample_shape: Sequence[int] = (),
  seed: typing.Any = None,
) -> tf.Tensor:
  """Returns Gaussian random fields with a given variance of each mode.

  Args:
    mode_variance: S, float `[..., ny, nx // 2 + 1]`, as `PowerSpectrum.mode_variance`
      returns.
    grid_shape: `(ny, nx)`.
    sample_shape: Leading shape of the result.
    seed: Stateless TFP seed.

  Returns:
    `[*sample_shape, ny, nx]` of the dtype of `mode_variance`.
  """
  mode_variance = tf.convert_to_tensor(mode_variance)
  white = tf.random.stateless_normal(
    [*sample_shape, *grid_shape], seed=seed, dtype=mode_variance.dtype
  )
  return fourier_filter(white, tf.sqrt(mode_variance))


def fourier_filter(
  maps: tf.Tensor | npt.ArrayLike, transfer: tf.Tensor | np.ndarray
) -> tf.Tensor:
  """Multiplies the modes of maps by a real transfer function.

  Args:
    maps: `[..., ny, nx]`, sides statically known.
    transfer: Float, broadcasts with `[..., ny, nx // 2 + 1]`. It gets no gradient.

  Returns:
    `[..., ny, nx]`, of the dtype of `transfer`.
  """
  transfer = tf.stop_gradient(tf.convert_to_tensor(transfer))
  maps = tf.convert_to_tensor(maps, transfer.dtype)
  return _self_adjoint_filter(transfer)(maps)


def scale_modes(factor: tf.Tensor, modes: tf.Tensor) -> tf.Tensor:
  """Returns complex modes times a real factor that broadcasts with them."""
  return tf.cast(factor, modes.dtype) * modes


def _self_adjoint_filter(transfer):
  """Returns the filter as a function that is its own gradient."""

  @tf.custom_gradient
  def apply(maps):
    modes = tf.signal.rfft2d(maps)
    filtered = tf.signal.irfft2d(
      scale_modes(transfer, modes), fft_length=maps.shape[-2:].as_list()
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
