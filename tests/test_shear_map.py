"""Shear maps come back from their files, and bad ones are refused."""

import dataclasses

from astropy import units as u
from astropy.io import fits
import numpy as np
import pytest

from tfp_massmap import geometry
from tfp_massmap import shear_map as shear_map_lib


def test_round_trip(tmp_path):
  grid = geometry.PixelGrid.tangent((150.1, 2.2), (12, 17), pixel_scale=0.5 * u.arcmin)
  rng = np.random.default_rng(0)
  mask = rng.uniform(size=grid.shape) > 0.3
  original = shear_map_lib.ShearMap(
    shear=rng.standard_normal((2, *grid.shape)).astype(np.float32),
    noise_std=rng.uniform(0.1, 0.2, (2, *grid.shape)),
    mask=mask,
    grid=grid,
    count=mask * 3,
    settings=dict(sigma_e1=0.3, flip_e2=True, noise="weighted", data="Jos\u00e9"),
  )
  path = tmp_path / "sub" / "shear.fits"
  original.save(path)
  loaded = shear_map_lib.ShearMap.load(path)
  for name in ("shear", "noise_std", "mask", "count"):
    np.testing.assert_array_equal(getattr(loaded, name), getattr(original, name))
  # FITS cards are ASCII.
  assert loaded.settings == {**original.settings, "data": r"Jos\xe9"}
  assert loaded.shear.dtype == np.float32 and loaded.noise_std.dtype == np.float64
  assert loaded.grid.shape == grid.shape
  np.testing.assert_allclose(
    loaded.grid.world_to_pixel(150.15, 2.21), grid.world_to_pixel(150.15, 2.21)
  )
  with fits.open(path, checksum=True) as hdus:
    assert hdus[0].header["CREATOR"].startswith("tfp_massmap")
    assert "BUNIT" in hdus[0].header and hdus["COUNT"].header["BUNIT"] == "count"
    assert hdus[0].header["CTYPE1"] == "RA---TAN"


def test_files_are_replaced_only_on_request(tmp_path, make_shear_map):
  path = tmp_path / "shear.fits"
  make_shear_map((8, 8)).save(path)
  before = path.read_bytes()
  with pytest.raises(FileExistsError, match="--overwrite"):
    make_shear_map((8, 8), seed=1).save(path)
  assert path.read_bytes() == before
  make_shear_map((8, 8), seed=1).save(path, overwrite=True)
  assert path.read_bytes() != before


def test_other_fits_files_are_refused(tmp_path):
  path = tmp_path / "image.fits"
  fits.PrimaryHDU(np.zeros((3, 3))).writeto(path)
  with pytest.raises(ValueError, match="is not a shear map"):
    shear_map_lib.ShearMap.load(path)


def test_bad_maps(make_shear_map):
  good = make_shear_map((6, 8))
  inside = np.argwhere(good.mask)[0]
  outside = np.argwhere(~good.mask)[0]

  def changed(name, where, value):
    array = getattr(good, name).copy()
    array[(slice(None), *where)] = value
    return {name: array}

  where = f"row {inside[0]}, column {inside[1]}"
  for changes, message in [
    (changed("noise_std", inside, 0.0), f"positive and finite.*{where}"),
    (changed("noise_std", inside, np.inf), "positive and finite"),
    (changed("shear", inside, np.nan), f"shear must be finite.*{where}"),
    (dict(mask=np.zeros((6, 8), bool)), "mask is empty"),
    (dict(mask=np.ones((6, 8)) * 0.5), "mask must be boolean"),
    (dict(mask=np.ones((8, 6), bool)), r"mask must have shape \(6, 8\)"),
    (dict(shear=np.zeros((6, 8))), "shear must have shape"),
    (dict(noise_std=np.ones((2, 6, 7))), "noise_std must have shape"),
    (dict(count=np.ones((2, 2))), "count must have shape"),
  ]:
    with pytest.raises(ValueError, match=message):
      dataclasses.replace(good, **changes)
  # Outside the mask any value is accepted, and one noise map serves both components.
  dataclasses.replace(good, **changed("shear", outside, np.nan))
  dataclasses.replace(good, **changed("noise_std", outside, 0.0))
  both = dataclasses.replace(good, noise_std=good.noise_std[0])
  np.testing.assert_array_equal(both.noise_std[1], good.noise_std[0])


def test_rectangles_are_cut_within_the_map(make_shear_map):
  whole = make_shear_map((8, 10))
  part = whole.crop((2, 3), shape=(4, 5))
  assert part.grid.shape == (4, 5)
  assert part.grid.pixel_scale == whole.grid.pixel_scale
  np.testing.assert_array_equal(part.shear, whole.shear[:, 2:6, 3:8])
  np.testing.assert_array_equal(part.mask, whole.mask[2:6, 3:8])
  for corner in ((-1, 0), (5, 0), (0, 6)):
    with pytest.raises(ValueError, match="does not lie within the map"):
      whole.crop(corner, shape=(4, 5))
