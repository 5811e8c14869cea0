"""Grids that hold a catalogue, and its shapes binned on them."""

import logging
import typing

from astropy import units as u
import numpy as np
import numpy.typing as npt
import scipy.fft

from tfp_massmap import geometry
from tfp_massmap import shear_map
from tfp_massmap.catalog import galaxies

_LOG = logging.getLogger(__name__)

# A tangent plane stretches distances by 1 / cos^2 of the angle from its centre, by 3 %
# at half of this.
_MAX_SPAN = 20 * u.deg

# Larger maps come from a wrong pixel scale or size, not from a survey on a plane.
_MAX_PIXELS = 20_000**2

# Galaxies per square arcmin. The deepest images from space have a third of it.
_MAX_DENSITY = 1000


def tangent_grid(
  catalogue: galaxies.ShearCatalogue,
  pixel_scale: u.Quantity,
  *,
  size: int | tuple[int, int] | None = None,
  margin: float = 0.15,
) -> geometry.PixelGrid:
  """Returns a tangent-plane grid that holds a catalogue, centred on it.

  Args:
    catalogue: The galaxies.
    pixel_scale: Side of a pixel, an angle.
    size: `(ny, nx)` or one number for both. By default every galaxy and the margin fit,
      and the sides have small prime factors, for fast Fourier transforms.
    margin: Empty border on each side, as a fraction of the span of the galaxies. Maps
      are periodic, and the border keeps opposite edges of the field apart.

  Raises:
    ValueError: If the galaxies span more than 20 deg, which is too much for a tangent
      plane, or the map would have more than 4e8 pixels.
  """
  center = _sky_center(catalogue)
  probe = geometry.PixelGrid.tangent(center, (2, 2), pixel_scale=pixel_scale)
  row, column = probe.world_to_pixel(catalogue.ra, catalogue.dec)
  widest = 2 * max(np.abs(row - 0.5).max(), np.abs(column - 0.5).max())
  # Galaxies on the far side of the sky have NaN for pixels, which fails this test too.
  if not widest * probe.pixel_scale < _MAX_SPAN:
    raise ValueError(
      f"The galaxies span more than {_MAX_SPAN:g}, which is too much for one flat map."
      f" Cut the catalogue into fields (the centre is now at ra {center[0]:.3f}, dec"
      f" {center[1]:.3f} deg)."
    )
  if size is None:
    # The centre lies midway in the projected plane, so that no margin is wasted.
    middle = [(x.min() + x.max()) / 2 for x in (row, column)]
    ra, dec = probe.pixel_to_world(*middle)
    center = (float(ra), float(dec))
    ny, nx = (
      scipy.fft.next_fast_len(int(np.ceil(np.ptp(x) * (1 + 2 * margin))) + 2, True)
      for x in (row, column)
    )
    shape = (ny, nx)
  else:
    shape = typing.cast(tuple[int, int], (size, size) if np.ndim(size) == 0 else size)
  if np.prod(np.asarray(shape, float)) > _MAX_PIXELS:
    raise ValueError(
      f"A map of {shape[0]} x {shape[1]} pixels has more than {_MAX_PIXELS:.0e} pixels."
      f" Choose larger pixels (now {probe.pixel_scale:.3g}) or a smaller size."
    )
  return geometry.PixelGrid.tangent(center, shape, pixel_scale=pixel_scale)


def bin_catalogue(
  catalogue: galaxies.ShearCatalogue,
  grid: geometry.PixelGrid,
  *,
  sigma_e: npt.ArrayLike | None = None,
  noise: typing.Literal["weighted", "unweighted"] = "weighted",
  flip_e2: bool = False,
  settings: dict | None = None,
) -> shear_map.ShearMap:
  """Returns the weighted mean shear of each pixel, with its noise.

  Shapes are turned from local north to the rows of the grid. The noise is that of
  Remy et al. (2022), section 6.3 and Eq. 26, if it is "unweighted".

  Args:
    catalogue: The galaxies.
    grid: Grid with a WCS.
    sigma_e: Standard deviation of an ellipticity component, a number or one for each
      component. By default it is measured from the galaxies that have weight.
    noise: "weighted" for the error of the weighted mean, sigma_e sqrt(sum w^2) / sum w;
      "unweighted" for sigma_e / sqrt(N), the convention of Remy et al. (2022) and of
      the released COSMOS maps.
    flip_e2: Whether to change the sign of e2, for catalogues whose x axis runs to the
      west.
    settings: Further entries for `ShearMap.settings`.

  Returns:
    A `ShearMap` with float64 maps. `count` is the number of galaxies with weight in a
    pixel, and `mask` is true where there is one. The numbers of galaxies outside the
    grid and of those with weight zero are in `settings`, as `num_outside` and
    `num_zero_weight`. A warning is logged if galaxies lie outside, and if there are
    more than 1,000 per square arcmin of the mask.

  Raises:
    ValueError: If no galaxy with weight falls on the grid, an option is unknown, or
      `settings` has a name that is taken.
  """
  if noise not in ("weighted", "unweighted"):
    raise ValueError(f"noise must be 'weighted' or 'unweighted'; got {noise!r}.")
  sigma_e = _checked_sigma_e(catalogue, sigma_e)
  pixel = _pixel_index(catalogue, grid)
  on_map, used = _used_galaxies(catalogue, grid, pixel)

  def pixel_sum(values):
    total = np.bincount(pixel[used], values[used], np.prod(grid.shape))
    return total.reshape(grid.shape)

  weight = catalogue.weight
  count = pixel_sum(np.ones(len(catalogue))).astype(np.int32)
  mask = count > 0
  _warn_of_density(count, grid)
  total = np.where(mask, pixel_sum(weight), 1)
  shapes = _shapes_on_grid(catalogue, grid, flip_e2)
  shear = np.stack([pixel_sum(weight * shapes.real), pixel_sum(weight * shapes.imag)])
  if noise == "weighted":
    relative = np.sqrt(pixel_sum(weight**2)) / total
  else:
    relative = 1 / np.sqrt(np.where(mask, count, 1))
  made = dict(
    num_galaxies=int(used.sum()),
    num_outside=int((~on_map).sum()),
    num_zero_weight=int((on_map & ~used).sum()),
    sigma_e1=float(sigma_e[0]),
    sigma_e2=float(sigma_e[1]),
    noise=noise,
    flip_e2=flip_e2,
    **{f"column {role}": name for role, name in catalogue.columns.items()},
  )
  return shear_map.ShearMap(
    shear=np.where(mask, shear / total, 0),
    noise_std=np.where(mask, sigma_e[:, np.newaxis, np.newaxis] * relative, 0),
    mask=mask,
    grid=grid,
    count=count,
    settings=_joined(made, settings or {}),
  )


def _checked_sigma_e(catalogue, sigma_e) -> np.ndarray:
  """Returns the standard deviations of e1 and e2, measured if they are None."""
  sigma_e = catalogue.ellipticity_std() if sigma_e is None else sigma_e
  sigma_e = np.broadcast_to(np.asarray(sigma_e, np.float64), (2,))
  if not (np.isfinite(sigma_e).all() and (sigma_e > 0).all()):
    raise ValueError(f"sigma_e must be positive and finite; got {sigma_e}.")
  return sigma_e


def _used_galaxies(catalogue, grid, pixel):
  """Returns which galaxies are on the map, and which of those have weight, `[n]`."""
  on_map = pixel >= 0
  if not on_map.any():
    raise ValueError(_outside_message(catalogue, grid))
  if not on_map.all():
    _LOG.warning(
      "%d of %d galaxies lie outside the map.", (~on_map).sum(), len(catalogue)
    )
  used = on_map & (catalogue.weight > 0)
  if not used.any():
    raise ValueError(
      "Every galaxy on the map has weight zero. Correct the weights, or leave out their"
      " column to weight all galaxies alike."
    )
  return on_map, used


def _joined(made, settings):
  taken = set(made) & set(settings)
  if taken:
    raise ValueError(
      f"settings must not name {sorted(taken)}, which binning sets. Choose other names."
    )
  return {**made, **settings}


def _warn_of_density(count, grid):
  measured = count[count > 0]
  density = measured.mean() / grid.pixel_scale.to_value(u.arcmin) ** 2
  # Pixels too small to hold two galaxies would count as dense with one.
  if density > _MAX_DENSITY and measured.mean() > 2:
    _LOG.warning(
      "There are %.3g galaxies per square arcmin of the measured area: are ra and dec"
      " in degrees? If not, declare their unit, or convert them.",
      density,
    )


def _sky_center(catalogue):
  """Returns right ascension and declination, degrees, of the mean direction."""
  ra, dec = np.deg2rad(catalogue.ra), np.deg2rad(catalogue.dec)
  mean = [
    np.mean(np.cos(dec) * np.cos(ra)),
    np.mean(np.cos(dec) * np.sin(ra)),
    np.mean(np.sin(dec)),
  ]
  return (
    float(np.rad2deg(np.arctan2(mean[1], mean[0])) % 360),
    float(np.rad2deg(np.arctan2(mean[2], np.hypot(mean[0], mean[1])))),
  )


def _pixel_index(catalogue, grid):
  """Returns the row-major index of the pixel of each galaxy, -1 outside the grid."""
  row, column = grid.world_to_pixel(catalogue.ra, catalogue.dec)
  ny, nx = grid.shape
  with np.errstate(invalid="ignore"):
    inside = (row >= -0.5) & (row < ny - 0.5) & (column >= -0.5) & (column < nx - 0.5)
  row = np.floor(np.where(inside, row, 0) + 0.5).astype(np.int64)
  column = np.floor(np.where(inside, column, 0) + 0.5).astype(np.int64)
  return np.where(inside, row * nx + column, -1)


def _shapes_on_grid(catalogue, grid, flip_e2):
  """Returns e1 + i e2 with respect to the columns and rows of the grid."""
  shapes = catalogue.e1 + 1j * np.where(flip_e2, -catalogue.e2, catalogue.e2)
  angle = grid.north_angle(catalogue.ra, catalogue.dec)
  return shapes * np.exp(2j * np.where(np.isfinite(angle), angle, 0))


def _outside_message(catalogue, grid):
  ny, nx = grid.shape
  ra, dec = grid.pixel_to_world((ny - 1) / 2, (nx - 1) / 2)
  height, width = (side.to_value(u.deg) for side in grid.extent)
  return (
    f"None of the {len(catalogue)} galaxies falls on the map, which is centred on"
    f" ra {float(ra):.4f}, dec {float(dec):.4f} deg and is {width:.3f} x"
    f" {height:.3f} deg. The catalogue covers ra {catalogue.ra.min():.4f} to"
    f" {catalogue.ra.max():.4f} and dec {catalogue.dec.min():.4f} to"
    f" {catalogue.dec.max():.4f} deg. Move or enlarge the map."
  )
