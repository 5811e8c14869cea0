"""Grids: coordinates against astropy, frequencies against NumPy."""

from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
import numpy as np
import pytest

from tfp_massmap import geometry


def test_tangent_grid_measures_true_angles():
  grid = geometry.PixelGrid.tangent(
    (150.1, 60.0), (101, 201), pixel_scale=0.5 * u.arcmin
  )
  center = SkyCoord(150.1 * u.deg, 60.0 * u.deg)
  np.testing.assert_allclose(grid.pixel_to_world(50, 100), (150.1, 60.0))
  ra, dec = grid.pixel_to_world([50, 90], [140, 100])
  separation = SkyCoord(ra * u.deg, dec * u.deg).separation(center)
  # tan of the angle: 20 arcmin on the plane is 1.1e-5 more than on the sphere.
  np.testing.assert_allclose(separation.arcmin, [20, 20], rtol=2e-5)


def test_columns_run_east_and_rows_north():
  grid = geometry.PixelGrid.tangent((10.0, -30.0), (20, 20), pixel_scale=1 * u.arcmin)
  row, column = grid.world_to_pixel([10.0, 10.1, 10.0], [-30.0, -30.0, -29.9])
  assert column[1] > column[0] and row[2] > row[0]


def test_round_trip_across_the_zero_of_right_ascension():
  grid = geometry.PixelGrid.tangent((0.01, 5.0), (30, 40), pixel_scale=1 * u.arcmin)
  row, column = grid.world_to_pixel(*grid.pixel_to_world([3, 20], [1, 39]))
  np.testing.assert_allclose([row, column], [[3, 20], [1, 39]], atol=1e-8)


def test_plate_carree_is_linear_without_cos_dec():
  grid = geometry.PixelGrid.plate_carree(
    (150.0, 60.0), (100, 100), pixel_scale=1 * u.arcmin
  )
  row, column = grid.world_to_pixel([150.0, 150.5], [60.0, 60.5])
  np.testing.assert_allclose(np.diff(column), 30, rtol=1e-9)
  np.testing.assert_allclose(np.diff(row), 30, rtol=1e-9)
  np.testing.assert_allclose([row[0], column[0]], 49.5, atol=1e-8)


def test_far_side_of_the_sky_is_nan():
  grid = geometry.PixelGrid.tangent((150.0, 2.0), (20, 20), pixel_scale=1 * u.arcmin)
  assert np.isnan(grid.world_to_pixel([330.0], [-2.0])).all()


@pytest.mark.parametrize("kind", ["tangent", "plate_carree", "plain"])
def test_header_round_trip(kind):
  if kind == "plain":
    grid = geometry.PixelGrid((20, 30), 0.29 * u.arcmin)
  else:
    make = getattr(geometry.PixelGrid, kind)
    grid = make((150.1, 2.2), (20, 30), pixel_scale=0.29 * u.arcmin)
  header = fits.Header.fromstring(grid.to_header().tostring())
  again = geometry.PixelGrid.from_header(header, (20, 30))
  assert again.shape == grid.shape
  np.testing.assert_allclose(again.pixel_radians, grid.pixel_radians)
  if kind != "plain":
    np.testing.assert_allclose(
      again.world_to_pixel(150.2, 2.25), grid.world_to_pixel(150.2, 2.25)
    )


def test_multipoles_and_multiplicity_are_those_of_the_full_plane():
  for shape in ((6, 8), (5, 7), (6, 5)):
    grid = geometry.PixelGrid(shape, 1 * u.arcmin)
    full = np.hypot(*np.meshgrid(np.fft.fftfreq(shape[1]), np.fft.fftfreq(shape[0])))
    full *= 2 * np.pi / grid.pixel_radians
    half = grid.multipoles()
    np.testing.assert_allclose(half, full[:, : shape[1] // 2 + 1])
    count = geometry.half_plane_multiplicity(shape)
    np.testing.assert_allclose(np.sum(count * half), full.sum())


def test_maps_of_another_orientation_are_refused():
  header = geometry.PixelGrid.tangent(
    (150.1, 2.2), (20, 30), pixel_scale=0.29 * u.arcmin
  ).to_header()
  for change in (
    dict(CDELT1=-header["CDELT1"]),
    dict(PIXSCALE=0.3),
    dict(CDELT2=0.1),
    dict(PC1_2=0.5),
  ):
    other = header.copy()
    other.update(change)
    with pytest.raises(ValueError, match="Columns must run east and rows north"):
      geometry.PixelGrid.from_header(other, (20, 30))
  header.remove("PIXSCALE")
  grid = geometry.PixelGrid.from_header(header, (20, 30))
  np.testing.assert_allclose(grid.pixel_scale.to_value(u.arcmin), 0.29)
  with pytest.raises(ValueError, match="pixel scale is unknown"):
    geometry.PixelGrid.from_header(fits.Header(), (20, 30))


@pytest.mark.parametrize(
  "shape, scale, message",
  [
    ((1, 5), 1 * u.arcmin, "at least 2 pixels"),
    ((5, 5), 1 * u.m, "must be an angle"),
    ((5, 5), -1 * u.arcmin, "positive angle"),
  ],
)
def test_bad_grids(shape, scale, message):
  with pytest.raises(ValueError, match=message):
    geometry.PixelGrid(shape, scale)


def test_grid_without_wcs_says_how_to_get_one():
  with pytest.raises(ValueError, match=r"PixelGrid\.tangent"):
    geometry.PixelGrid((4, 4), 1 * u.arcmin).world_to_pixel(0, 0)


def test_pixels_of_another_size_than_those_of_a_training():
  grid = geometry.PixelGrid((8, 8), 0.29 * u.arcmin)
  assert geometry.pixel_scale_mismatch(grid, 0.29 * 1.015) is None
  for trained, ratio in ((0.29 / 1.03, "1.03"), (0.58, "0.5")):
    words = geometry.pixel_scale_mismatch(grid, trained)
    assert f"pixels of 0.29 arcmin, {ratio} times as large" in words


def test_masks():
  assert geometry.checked_mask(None, (2, 3)).all()
  with pytest.raises(ValueError, match=r"must have shape \(2, 3\); got \(3, 2\)"):
    geometry.checked_mask(np.ones((3, 2)), (2, 3))
  with pytest.raises(ValueError, match="no pixel is measured"):
    geometry.checked_mask(np.zeros((2, 3)), (2, 3))
