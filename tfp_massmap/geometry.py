"""Pixel grids, flat-sky frequencies and sky coordinates.

A map is `[..., ny, nx]`: the row increases with declination and the column with right
ascension (towards the east). `docs/conventions.md` lists all conventions.
"""

import dataclasses
import typing

from astropy import units as u
from astropy import wcs as astropy_wcs
from astropy.io import fits
import numpy as np
import numpy.typing as npt

# Largest relative difference between the pixels of a map and those that a network was
# trained on. Released COSMOS maps have 0.29 arcmin and kappaTNG 0.293 arcmin, 1 % more.
PIXEL_SCALE_TOLERANCE = 0.02
# Step along the meridian, in degrees, that measures the direction of north: short
# enough for meridians to be straight over it, long enough for rounding not to matter.
_NORTH_STEP = 1e-4


@dataclasses.dataclass(frozen=True)
class PixelGrid:
  """A flat map of square pixels, with or without a world coordinate system.

  Attributes:
    shape: `(ny, nx)`, the numbers of rows and columns.
    pixel_scale: Side of a pixel, an angle; kept in arcmin.
    wcs: Celestial `astropy.wcs.WCS`, or None for a map without a place in the sky.

  Raises:
    ValueError: If the shape is not two integers of at least 2, the pixel scale is not a
      positive angle, or the columns of the WCS do not run east and its rows north in
      steps of the pixel scale.
  """

  shape: tuple[int, int]
  pixel_scale: u.Quantity
  _: dataclasses.KW_ONLY
  wcs: astropy_wcs.WCS | None = None

  def __post_init__(self) -> None:
    shape = tuple(int(n) for n in self.shape)
    if len(shape) != 2 or min(shape) < 2:
      raise ValueError(
        f"shape must be (ny, nx) with at least 2 pixels a side; got {self.shape}."
      )
    object.__setattr__(self, "shape", shape)
    try:
      scale = u.Quantity(self.pixel_scale).to(u.arcmin)
    except u.UnitConversionError as error:
      raise ValueError(
        f"pixel_scale must be an angle; got {self.pixel_scale!r}. Write"
        " 0.29 * astropy.units.arcmin, for example."
      ) from error
    if not (scale.isscalar and np.isfinite(scale.value) and scale.value > 0):
      raise ValueError(f"pixel_scale must be one positive angle; got {scale}.")
    object.__setattr__(self, "pixel_scale", scale)
    if self.wcs is not None:
      _check_orientation(self.wcs, scale.to_value(u.deg))

  @classmethod
  def tangent(
    cls,
    center: tuple[float | u.Quantity, float | u.Quantity],
    shape: tuple[int, int],
    *,
    pixel_scale: u.Quantity,
  ) -> typing.Self:
    """Returns a tangent-plane (gnomonic) grid.

    Args:
      center: Right ascension and declination, in degrees or as angles.
      shape: `(ny, nx)`.
      pixel_scale: Side of a pixel, an angle.

    Raises:
      ValueError: If the centre is a pole, or as `PixelGrid`.
    """
    return cls._around(center, cls(shape, pixel_scale), "TAN")

  @classmethod
  def plate_carree(
    cls,
    center: tuple[float | u.Quantity, float | u.Quantity],
    shape: tuple[int, int],
    *,
    pixel_scale: u.Quantity,
  ) -> typing.Self:
    """Returns a grid with columns linear in right ascension, without a factor cos(dec).

    The released COSMOS maps have this projection (CAR in FITS). Distances along right
    ascension are too large by 1 / cos(dec). Arguments and errors are those of
    `tangent`.
    """
    return cls._around(center, cls(shape, pixel_scale), "CAR")

  @classmethod
  def _around(cls, center, grid, projection):
    return dataclasses.replace(grid, wcs=_celestial_wcs(grid, center, projection))

  @classmethod
  def from_header(cls, header: fits.Header, shape: tuple[int, int]) -> typing.Self:
    """Returns the grid that a FITS header describes.

    Args:
      header: Header with `PIXSCALE` (arcmin) or a celestial WCS.
      shape: `(ny, nx)`.

    Raises:
      ValueError: If the header has neither, or as `PixelGrid`.
    """
    wcs = astropy_wcs.WCS(header).celestial if "CTYPE1" in header else None
    if "PIXSCALE" in header:
      return cls(shape, header["PIXSCALE"] * u.arcmin, wcs=wcs)
    if wcs is None:
      raise ValueError(
        "The header has neither PIXSCALE (arcmin) nor a celestial WCS: the"
        " pixel scale is unknown. Add PIXSCALE to the header."
      )
    scales = astropy_wcs.utils.proj_plane_pixel_scales(wcs)
    return cls(shape, scales[1] * u.deg, wcs=wcs)

  def to_header(self) -> fits.Header:
    """Returns a FITS header with `PIXSCALE` in arcmin, and the WCS if there is one."""
    header = fits.Header() if self.wcs is None else self.wcs.to_header()
    header["PIXSCALE"] = (self.pixel_scale.to_value(u.arcmin), "[arcmin] pixel side")
    return header

  @property
  def pixel_radians(self) -> float:
    """Side of a pixel in radians."""
    return self.pixel_scale.to_value(u.rad)

  @property
  def extent(self) -> tuple[u.Quantity, u.Quantity]:
    """Angular size `(height, width)`, in arcmin."""
    return tuple(n * self.pixel_scale for n in self.shape)

  def world_to_pixel(
    self, ra: npt.ArrayLike, dec: npt.ArrayLike
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns the fractional `(row, column)` of positions; pixel centres are integers.

    Args:
      ra: Right ascensions in degrees, of any shape.
      dec: Declinations in degrees, of the same shape.

    Returns:
      Two float64 arrays of that shape, NaN for positions outside the projection (the
      far side of a tangent plane).

    Raises:
      ValueError: If the grid has no WCS.
    """
    if self.wcs is None:
      raise ValueError(
        "This grid has no WCS; make it with PixelGrid.tangent(center, shape,"
        " pixel_scale=pixel_scale) to place sky positions on it."
      )
    column, row = self.wcs.wcs_world2pix(np.asarray(ra), np.asarray(dec), 0)
    return row, column

  def pixel_to_world(
    self, row: npt.ArrayLike, column: npt.ArrayLike
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns right ascension and declination, in degrees, of fractional pixels.

    Args:
      row: Rows, of any shape.
      column: Columns, of the same shape.

    Raises:
      ValueError: If the grid has no WCS.
    """
    if self.wcs is None:
      raise ValueError(
        "This grid has no WCS, so its pixels have no sky position. Make it with"
        " PixelGrid.tangent(center, shape, pixel_scale=pixel_scale)."
      )
    ra, dec = self.wcs.wcs_pix2world(np.asarray(column), np.asarray(row), 0)
    return ra, dec

  def north_angle(self, ra: npt.ArrayLike, dec: npt.ArrayLike) -> np.ndarray:
    """Returns the angle from the rows' axis to local north, in radians.

    It is counted counter-clockwise.     Away from the centre of a tangent plane the
    meridians are not parallel to its columns. Measured against the columns, a shape is
    turned by twice this angle.

    Args:
      ra: Right ascensions in degrees, of any shape.
      dec: Declinations in degrees, of the same shape.

    Raises:
      ValueError: If the grid has no WCS.
    """
    toward = np.where(np.asarray(dec) > 0, -_NORTH_STEP, _NORTH_STEP)
    row, column = self.world_to_pixel(ra, dec)
    row_toward, column_toward = self.world_to_pixel(ra, np.asarray(dec) + toward)
    sign = np.sign(toward)
    return np.arctan2(-sign * (column_toward - column), sign * (row_toward - row))

  def multipoles(self) -> np.ndarray:
    """Returns |ell| of the modes of `rfft2`, float64 `[ny, nx // 2 + 1]`."""
    k1, k2 = fourier_frequencies(self.shape)
    return np.hypot(k1, k2) / self.pixel_radians


def pixel_scale_mismatch(grid: PixelGrid, trained_arcmin: float) -> str | None:
  """Compares a grid's pixels with those that a network was trained on.

  Args:
    grid: Grid that the network is to be used on.
    trained_arcmin: Side of the pixels of the training maps, in arcmin.

  Returns:
    None if the two agree to `PIXEL_SCALE_TOLERANCE`. Otherwise the difference in words
    that follow "The prior was", for a warning or an error.
  """
  given = grid.pixel_scale.to_value(u.arcmin)
  ratio = given / trained_arcmin
  if abs(ratio - 1) <= PIXEL_SCALE_TOLERANCE:
    return None
  return (
    f"trained on pixels of {trained_arcmin:.4g} arcmin and is used on pixels of"
    f" {given:.4g} arcmin, {ratio:.3g} times as large"
  )


def fourier_frequencies(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
  """Returns the angular frequencies of the modes of `rfft2`, in radians per pixel.

  Args:
    shape: `(ny, nx)`.

  Returns:
    `(k1, k2)` along columns and rows, float64 `[1, nx // 2 + 1]` and `[ny, 1]`.
  """
  ny, nx = shape
  return (
    2 * np.pi * np.fft.rfftfreq(nx)[np.newaxis, :],
    2 * np.pi * np.fft.fftfreq(ny)[:, np.newaxis],
  )


def half_plane_multiplicity(shape: tuple[int, int]) -> np.ndarray:
  """Returns how many modes of the full plane each mode of `rfft2` represents.

  Args:
    shape: `(ny, nx)`.

  Returns:
    float64 `[1, nx // 2 + 1]`: 1 in the column k1 = 0 and in the Nyquist column of an
    even `nx`, 2 in all others.
  """
  nx = shape[1]
  count = np.full([1, nx // 2 + 1], 2.0)
  count[0, 0] = 1
  if nx % 2 == 0:
    count[0, -1] = 1
  return count


def checked_mask(mask: npt.ArrayLike | None, shape: tuple[int, int]) -> np.ndarray:
  """Returns a mask of measured pixels as bool `[ny, nx]`.

  Args:
    mask: Bool `[ny, nx]`, or None if all pixels are measured.
    shape: `(ny, nx)`.

  Raises:
    ValueError: If the mask has another shape, or no measured pixel.
  """
  mask = np.ones(shape, bool) if mask is None else np.asarray(mask, bool)
  if mask.shape != tuple(shape):
    raise ValueError(f"mask must have shape {tuple(shape)}; got {mask.shape}.")
  if not mask.any():
    raise ValueError(
      "The mask is empty: no pixel is measured. It must be True where there are data."
    )
  return mask


def _check_orientation(wcs, step):
  matrix = wcs.celestial.pixel_scale_matrix
  if not np.allclose(matrix, step * np.eye(2), atol=1e-6 * step, rtol=1e-6):
    raise ValueError(
      "Columns must run east and rows north in steps of the pixel scale"
      f" ({step:.6g} deg); the WCS has the scale matrix {matrix.tolist()} deg."
      " Resample the map, or mirror it and change the sign of gamma_2."
    )


def _celestial_wcs(grid, center, projection):
  ra, dec = (u.Quantity(c, u.deg).value for c in center)
  if not -90 < dec < 90:
    raise ValueError(f"The centre's declination must lie in (-90, 90); got {dec}.")
  ny, nx = grid.shape
  step = grid.pixel_scale.to_value(u.deg)
  wcs = astropy_wcs.WCS(naxis=2)
  wcs.wcs.ctype = [f"RA---{projection}", f"DEC--{projection}"]
  wcs.wcs.cunit = ["deg", "deg"]
  wcs.wcs.cdelt = [step, step]
  wcs.wcs.crpix = [(nx + 1) / 2, (ny + 1) / 2]
  wcs.wcs.crval = [ra, dec]
  if projection == "CAR":
    # FITS makes CAR linear only when its reference point is on the equator.
    wcs.wcs.crpix = [(nx + 1) / 2, (ny + 1) / 2 - dec / step]
    wcs.wcs.crval = [ra, 0.0]
  wcs.wcs.set()
  return wcs
