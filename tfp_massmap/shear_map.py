"""`ShearMap`: binned shear with its noise, its mask and its place in the sky."""

import dataclasses
import hashlib
import os

from astropy.io import fits
import numpy as np

from tfp_massmap import geometry
from tfp_massmap import io


@dataclasses.dataclass(frozen=True, eq=False)
class ShearMap:
  """Binned shear with its noise: the data of the likelihood.

  Attributes:
    shear: gamma_1 and gamma_2, floats `[2, ny, nx]`; ignored outside the mask.
    noise_std: Standard deviation of each pixel, floats `[2, ny, nx]`, or `[ny, nx]` for
      both components; ignored outside the mask.
    mask: Bool `[ny, nx]`, true where there is a measurement.
    grid: `PixelGrid` of the maps.
    count: Galaxies in each pixel, int `[ny, nx]`; optional.
    settings: How it was made, strings, numbers and booleans by name.

  Raises:
    ValueError: If shapes differ, the mask is not boolean (or 0 and 1) or is empty, or
      an unmasked pixel has a shear that is not finite or a noise that is not finite and
      positive.
  """

  shear: np.ndarray
  noise_std: np.ndarray
  _: dataclasses.KW_ONLY
  mask: np.ndarray
  grid: geometry.PixelGrid
  count: np.ndarray | None = None
  settings: dict[str, str | int | float | bool] = dataclasses.field(
    default_factory=dict
  )

  def __post_init__(self) -> None:
    shear = np.asarray(self.shear)
    noise_std = np.asarray(self.noise_std)
    mask = np.asarray(self.mask)
    shape = self.grid.shape
    if noise_std.shape == shape:
      noise_std = np.broadcast_to(noise_std, (2, *shape))
    _check_shape("shear", shear, (2, *shape))
    _check_shape("mask", mask, shape)
    _check_shape("noise_std", noise_std, (2, *shape))
    if self.count is not None:
      _check_shape("count", np.asarray(self.count), shape)
    mask = _checked_mask(mask)
    _check_pixels("shear", shear, mask, np.isfinite(shear), "finite")
    good_noise = np.isfinite(noise_std) & (noise_std > 0)
    _check_pixels("noise_std", noise_std, mask, good_noise, "positive and finite")
    for name, value in dict(shear=shear, noise_std=noise_std, mask=mask).items():
      object.__setattr__(self, name, value)

  def save(self, path: str | os.PathLike, overwrite: bool = False) -> None:
    """Writes one FITS file: the shear, NOISE_STD, MASK and COUNT, with WCS.

    Maps keep their dtype. Names of settings come back in lower case.

    Args:
      path: Name of the file.
      overwrite: Whether an existing file may be replaced.

    Raises:
      FileExistsError: If the file exists and `overwrite` is false.
      ValueError: For the name of a setting that no FITS card can hold.
    """
    hdus = [
      io.primary_hdu(
        self.shear,
        self.grid,
        description="shear gamma_1, gamma_2",
        settings=dict(self.settings),
      ),
      io.image_hdu(
        self.noise_std, self.grid, name="NOISE_STD", description="standard deviation"
      ),
      io.image_hdu(self.mask, self.grid, name="MASK", description="1 = measured"),
    ]
    if self.count is not None:
      hdus.append(
        io.image_hdu(
          np.asarray(self.count, np.int32),
          self.grid,
          name="COUNT",
          description="galaxies",
          unit="count",
        )
      )
    io.write_fits(path, hdus, overwrite=overwrite)

  def noise_checksum(self) -> str:
    """Returns a checksum of the mask and the noise, which a mock of the survey shares."""
    content = self.mask.tobytes() + self.noise_std.tobytes()
    return hashlib.sha256(content).hexdigest()

  def crop(self, corner: tuple[int, int], *, shape: tuple[int, int]) -> "ShearMap":
    """Returns a rectangle of the map, on a grid without a place on the sky.

    Args:
      corner: First row and first column.
      shape: `(ny, nx)` of the rectangle.

    Raises:
      ValueError: If the rectangle does not lie within the map.
    """
    ends = [first + side for first, side in zip(corner, shape)]
    if min(corner) < 0 or any(e > n for e, n in zip(ends, self.grid.shape)):
      raise ValueError(
        f"The rectangle of {shape} pixels at {corner} does not lie within the map of"
        f" {self.grid.shape} pixels."
      )
    rows, columns = (slice(first, end) for first, end in zip(corner, ends))
    inner = (..., rows, columns)
    return ShearMap(
      self.shear[inner],
      self.noise_std[inner],
      mask=self.mask[inner],
      grid=geometry.PixelGrid(shape, self.grid.pixel_scale),
      count=None if self.count is None else self.count[inner],
      # The place of a window counts from the corner of the map that it was cut from.
      settings={k: v for k, v in self.settings.items() if k != "window"},
    )

  @classmethod
  def load(cls, path: str | os.PathLike) -> "ShearMap":
    """Reads a file of `save`.

    Args:
      path: Name of the file.

    Raises:
      ValueError: If it is another kind of FITS file.
    """
    with fits.open(path) as hdus:
      names = [hdu.name for hdu in hdus]
      missing = {"NOISE_STD", "MASK"} - set(names)
      if missing or hdus[0].data is None or hdus[0].data.ndim != 3:
        raise ValueError(
          f"{path} is not a shear map: it needs a primary [2, ny, nx] image and the"
          f" extensions NOISE_STD and MASK; it has {names}."
        )
      header = hdus[0].header
      grid = geometry.PixelGrid.from_header(header, hdus[0].data.shape[-2:])
      return cls(
        shear=_native(hdus[0].data),
        noise_std=_native(hdus["NOISE_STD"].data),
        mask=_native(hdus["MASK"].data),
        grid=grid,
        count=_native(hdus["COUNT"].data) if "COUNT" in names else None,
        settings=io.read_settings(header),
      )


def _check_shape(name, value, wanted):
  if value.shape != wanted:
    raise ValueError(
      f"{name} must have shape {wanted} like the grid; got {value.shape}."
    )


def _checked_mask(mask):
  """Returns a mask as booleans."""
  if mask.dtype != bool:
    if not np.isin(mask, (0, 1)).all():
      raise ValueError(
        "mask must be boolean, or 0 and 1; it holds other values. Write `count > 0`,"
        " for example."
      )
    mask = mask.astype(bool)
  if not mask.any():
    raise ValueError("The mask is empty: no pixel has a measurement.")
  return mask


def _check_pixels(name, values, mask, good, wanted):
  bad = ~good & mask
  if bad.any():
    component, row, column = np.argwhere(bad)[0]
    raise ValueError(
      f"{name} must be {wanted} in every unmasked pixel; {bad.any(axis=0).sum()}"
      f" pixels are not, the first at row {row}, column {column}"
      f" ({values[component, row, column]}). Set the mask to False there."
    )


def _native(array):
  """Returns an array of FITS, which is big-endian, in the byte order of the machine."""
  return np.asarray(array, array.dtype.newbyteorder("="))
