"""Pixel grids, flat-sky frequencies and sky coordinates.

A map is `[..., ny, nx]`: rows run with declination upwards, columns with right
ascension upwards (towards the east). `docs/conventions.md` has the whole list.
"""

import dataclasses

from astropy import units as u
from astropy import wcs as astropy_wcs
from astropy.io import fits
import numpy as np


@dataclasses.dataclass(frozen=True)
class PixelGrid:
  """A flat map of square pixels, with a world coordinate system when it has one.

  Attributes:
    shape: `(ny, nx)`, numbers of rows and columns.
    pixel_scale: angular side of a pixel, an astropy `Quantity`.
    wcs: celestial `astropy.wcs.WCS`, or None for a map that is nowhere in the sky.

  Raises:
    ValueError: for a shape that is not two positive integers, or a pixel scale
      that is not a positive angle; or a WCS whose columns do not run east, or rows
      not north, in steps of the pixel scale.
  """

  shape: tuple
  pixel_scale: u.Quantity
  _: dataclasses.KW_ONLY
  wcs: astropy_wcs.WCS | None = None

  def __post_init__(self):
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
  def tangent(cls, center, shape, *, pixel_scale):
    """Tangent-plane (gnomonic) grid around `center = (ra, dec)`.

    Args:
      center: right ascension and declination, degrees or `Quantity`.
      shape: `(ny, nx)`.
      pixel_scale: angle, `Quantity`.
    """
    grid = cls(shape, pixel_scale)
    return dataclasses.replace(grid, wcs=_celestial_wcs(grid, center, "TAN"))

  @classmethod
  def plate_carree(cls, center, shape, *, pixel_scale):
    """Grid with columns linear in right ascension, not scaled by cos(dec).

    The projection of the released COSMOS maps (CAR in FITS). Use it to reproduce
    them; distances along right ascension are too large by 1/cos(dec).

    Args:
      center: right ascension and declination, degrees or `Quantity`.
      shape: `(ny, nx)`.
      pixel_scale: angle, `Quantity`.
    """
    grid = cls(shape, pixel_scale)
    return dataclasses.replace(grid, wcs=_celestial_wcs(grid, center, "CAR"))

  @classmethod
  def from_header(cls, header, shape):
    """Grid described by a FITS header, `PIXSCALE` (arcmin) or celestial WCS."""
    wcs = astropy_wcs.WCS(header).celestial if "CTYPE1" in header else None
    if "PIXSCALE" in header:
      return cls(shape, header["PIXSCALE"] * u.arcmin, wcs=wcs)
    if wcs is None:
      raise ValueError(
        "The header has neither PIXSCALE (arcmin) nor a celestial WCS: the"
        " pixel scale is unknown."
      )
    scales = astropy_wcs.utils.proj_plane_pixel_scales(wcs)
    return cls(shape, scales[1] * u.deg, wcs=wcs)

  def to_header(self):
    """FITS header with the WCS, if any, and `PIXSCALE` in arcmin."""
    header = fits.Header() if self.wcs is None else self.wcs.to_header()
    header["PIXSCALE"] = (self.pixel_scale.to_value(u.arcmin), "[arcmin] pixel side")
    return header

  @property
  def pixel_radians(self):
    return self.pixel_scale.to_value(u.rad)

  @property
  def extent(self):
    """Angular size `(height, width)`, `Quantity` in arcmin."""
    return tuple(n * self.pixel_scale for n in self.shape)

  def world_to_pixel(self, ra, dec):
    """Fractional `(row, column)` of positions in degrees; centres are integers.

    Positions that the projection cannot show (the far side of a tangent plane)
    come back as NaN.
    """
    if self.wcs is None:
      raise ValueError(
        "This grid has no WCS; make it with PixelGrid.tangent(center, shape,"
        " pixel_scale) to place sky positions on it."
      )
    column, row = self.wcs.wcs_world2pix(np.asarray(ra), np.asarray(dec), 0)
    return row, column

  def pixel_to_world(self, row, column):
    """Right ascension and declination in degrees of fractional pixels."""
    if self.wcs is None:
      raise ValueError("This grid has no WCS, so its pixels have no sky position.")
    return self.wcs.wcs_pix2world(np.asarray(column), np.asarray(row), 0)

  def north_angle(self, ra, dec):
    """How far local north is turned from the rows' axis, counter-clockwise, radians.

    Away from the centre of a tangent plane the meridians are not parallel to its
    columns; a shape measured against local north turns by twice this angle.
    """
    step = 1e-4
    toward = np.where(np.asarray(dec) > 0, -step, step)
    row, column = self.world_to_pixel(ra, dec)
    row_toward, column_toward = self.world_to_pixel(ra, np.asarray(dec) + toward)
    sign = np.sign(toward)
    return np.arctan2(-sign * (column_toward - column), sign * (row_toward - row))

  def multipoles(self):
    """|ell| of the modes of `rfft2`, float64 `[ny, nx // 2 + 1]`."""
    k1, k2 = fourier_frequencies(self.shape)
    return np.hypot(k1, k2) / self.pixel_radians


def fourier_frequencies(shape):
  """Angular frequencies of the modes of `rfft2`, in radians per pixel.

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


def half_plane_multiplicity(shape):
  """How many modes of the full plane each mode of `rfft2` stands for.

  Args:
    shape: `(ny, nx)`.

  Returns:
    float64 `[1, nx // 2 + 1]`: 2, but 1 in the column k1 = 0 and in the Nyquist
    column of an even `nx`.
  """
  nx = shape[1]
  count = np.full([1, nx // 2 + 1], 2.0)
  count[0, 0] = 1
  if nx % 2 == 0:
    count[0, -1] = 1
  return count


def checked_mask(mask, shape):
  """A mask of measured pixels, all of them for None, as bool `[ny, nx]`.

  Args:
    mask: None, or bool `[ny, nx]`.
    shape: `(ny, nx)`.

  Raises:
    ValueError: for another shape, or a mask without a pixel.
  """
  mask = np.ones(shape, bool) if mask is None else np.asarray(mask, bool)
  if mask.shape != tuple(shape):
    raise ValueError(f"mask must have shape {tuple(shape)}; got {mask.shape}.")
  if not mask.any():
    raise ValueError("The mask is empty: no pixel is measured.")
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
