"""Binned shear agrees with arithmetic, with geometry, and with the released maps."""

import logging

from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
import numpy as np
import pytest

from tfp_massmap import catalog
from tfp_massmap import geometry
from tfp_massmap import lensing


def test_the_columns_used_are_recorded(make_table):
  table = make_table()
  table.rename_column("w", "lensfit_weight")
  galaxies = catalog.catalogue_from_table(table)
  grid = catalog.tangent_grid(galaxies, 1 * u.arcmin)
  settings = catalog.bin_catalogue(galaxies, grid).settings
  assert settings["column weight"] == "lensfit_weight"
  assert settings["column e1"] == "e1"


def test_weighted_mean_and_noise_by_hand():
  grid = geometry.PixelGrid.tangent((150.0, 2.0), (4, 4), pixel_scale=1 * u.arcmin)
  ra, dec = grid.pixel_to_world([1, 1, 2], [2, 2, 0])
  galaxies = catalog.ShearCatalogue(
    ra, dec, e1=[0.1, 0.4, -0.2], e2=[0.2, -0.1, 0.3], weight=[1.0, 3.0, 2.0]
  )
  binned = catalog.bin_catalogue(galaxies, grid, sigma_e=0.5)
  # An arcmin off the centre the meridians turn shapes by some 1e-5.
  np.testing.assert_allclose(
    binned.shear[:, 1, 2], [(0.1 + 1.2) / 4, (0.2 - 0.3) / 4], atol=1e-5
  )
  np.testing.assert_allclose(binned.noise_std[:, 1, 2], 0.5 * np.sqrt(10) / 4)
  np.testing.assert_allclose(binned.noise_std[:, 2, 0], 0.5)
  assert binned.count.sum() == 3 and binned.mask.sum() == 2
  assert binned.count[1, 2] == 2 and binned.mask[1, 2]
  unweighted = catalog.bin_catalogue(galaxies, grid, sigma_e=0.5, noise="unweighted")
  np.testing.assert_allclose(unweighted.noise_std[:, 1, 2], 0.5 / np.sqrt(2))
  flipped = catalog.bin_catalogue(galaxies, grid, sigma_e=0.5, flip_e2=True)
  np.testing.assert_allclose(flipped.shear[0], binned.shear[0], atol=1e-4)
  np.testing.assert_allclose(flipped.shear[1], -binned.shear[1], atol=1e-4)


def test_noise_is_the_scatter_of_the_weighted_mean(make_catalogue):
  grid = geometry.PixelGrid.tangent((150.1, 2.1), (10, 10), pixel_scale=1.3 * u.arcmin)
  values = []
  for seed in range(60):
    galaxies = make_catalogue(e1=np.random.default_rng(seed).normal(0, 0.2, 200))
    binned = catalog.bin_catalogue(galaxies, grid, sigma_e=0.2)
    values.append(
      (binned.shear[0] / np.where(binned.mask, binned.noise_std[0], 1))[binned.mask]
    )
  # About 5,000 unit normals: the error of their std is 1 %; 4 sigma.
  assert abs(np.std(np.concatenate(values)) - 1) < 0.04


def test_galaxies_of_weight_zero_count_for_nothing(make_table):
  """Catalogues often flag failed fits by e = -99 and weight 0."""
  table = make_table(400)
  good = catalog.catalogue_from_table(table[:200])
  table["w"][200:] = 0
  table["e1"][200:], table["e2"][200:] = -99, 0
  flagged = catalog.catalogue_from_table(table)
  np.testing.assert_array_equal(flagged.ellipticity_std(), good.ellipticity_std())
  grid = catalog.tangent_grid(good, 2 * u.arcmin)
  binned, expected = (catalog.bin_catalogue(c, grid) for c in (flagged, good))
  for name in ("shear", "noise_std", "mask", "count"):
    np.testing.assert_array_equal(getattr(binned, name), getattr(expected, name))
  assert binned.settings["num_zero_weight"] == 200
  assert binned.settings["num_galaxies"] == 200
  table["w"] = np.where(np.arange(400) == 0, 1.0, 0.0)
  with pytest.raises(ValueError, match="measured from 1 galaxies"):
    catalog.catalogue_from_table(table).ellipticity_std()


def test_shapes_turn_with_the_meridians():
  """A tangential pattern on the sphere stays tangential on the plane, at any dec."""
  center = SkyCoord(40 * u.deg, 75 * u.deg)
  angle = np.repeat(np.linspace(0, 360, 400, endpoint=False), 3)
  radius = np.tile([0.5, 1.0, 2.0], 400)
  sky = center.directional_offset_by(angle * u.deg, radius * u.deg)
  # Direction to the centre at each galaxy, from east towards north.
  toward = np.pi / 2 - sky.position_angle(center).rad
  galaxies = catalog.ShearCatalogue(
    sky.ra.deg,
    sky.dec.deg,
    e1=-0.1 * np.cos(2 * toward),
    e2=-0.1 * np.sin(2 * toward),
    weight=np.ones(1200),
  )
  grid = geometry.PixelGrid.tangent(
    (40.0, 75.0), (201, 201), pixel_scale=1.5 * u.arcmin
  )
  binned = catalog.bin_catalogue(galaxies, grid, sigma_e=0.3)
  tangential, cross = lensing.tangential_shear(binned.shear, (100, 100))
  # Pixels of 1.5 arcmin hold directions that differ by up to 2 x 1.5 / 30 near the
  # centre, and the plane is not conformal: (2 deg)^2.
  np.testing.assert_allclose(tangential[binned.mask], 0.1, atol=5e-4)
  np.testing.assert_allclose(cross[binned.mask], 0, atol=6e-3)
  assert abs(cross[binned.mask].mean()) < 2e-4


def test_the_north_angle_is_zero_in_plate_carree():
  grid = geometry.PixelGrid.plate_carree(
    (150.0, 60.0), (50, 50), pixel_scale=1 * u.arcmin
  )
  angle = grid.north_angle(np.array([149.8, 150.2]), np.array([60.1, 59.7]))
  np.testing.assert_allclose(angle, 0, atol=1e-9)


def test_galaxies_outside_are_counted_and_reported(caplog, make_catalogue):
  galaxies = make_catalogue()
  grid = geometry.PixelGrid.tangent((150.1, 2.1), (5, 5), pixel_scale=1 * u.arcmin)
  with caplog.at_level(logging.WARNING):
    binned = catalog.bin_catalogue(galaxies, grid)
  outside = binned.settings["num_outside"]
  assert outside > 0 and outside + binned.count.sum() == 200
  assert f"{outside} of 200 galaxies lie outside" in caplog.text


def test_tangent_grid_holds_every_galaxy_and_a_margin(make_catalogue):
  galaxies = make_catalogue(ra=np.linspace(359.9, 360.2, 200) % 360)
  grid = catalog.tangent_grid(galaxies, 1 * u.arcmin)
  binned = catalog.bin_catalogue(galaxies, grid)
  assert binned.settings["num_outside"] == 0
  rows = np.flatnonzero(binned.mask.any(axis=1))
  assert rows[0] >= 1 and rows[-1] < grid.shape[0] - 1
  assert grid.shape[1] * 1.0 > 1.25 * 18
  fixed = catalog.tangent_grid(galaxies, 1 * u.arcmin, size=(30, 40))
  assert fixed.shape == (30, 40)


def test_positions_in_radians_look_dense(caplog, make_table):
  table = make_table()
  catalogues = [catalog.catalogue_from_table(table)]
  for name in ("ra", "dec"):
    table[name] = np.deg2rad(table[name])
  catalogues.append(catalog.catalogue_from_table(table))
  for galaxies, warned in zip(catalogues, (False, True)):
    grid = catalog.tangent_grid(galaxies, 0.1 * u.arcmin, size=200)
    catalog.bin_catalogue(galaxies, grid)
    assert ("are ra and dec in degrees?" in caplog.text) == warned


def test_released_cosmos_maps(cosmos_data):
  galaxies = catalog.read_schrabback2010(cosmos_data)
  grid = geometry.PixelGrid.plate_carree(
    (np.median(galaxies.ra), np.median(galaxies.dec)),
    (360, 360),
    pixel_scale=0.29 * u.arcmin,
  )
  binned = catalog.bin_catalogue(galaxies, grid, noise="unweighted", flip_e2=True)

  def released(name):
    return fits.getdata(cosmos_data / f"{name}.fits")

  mask = released("cosmos_full_mask_0.29arcmin360") > 0
  np.testing.assert_array_equal(binned.mask, mask)
  assert mask.sum() == 69191
  for index in (0, 1):
    shear = released(f"cosmos_full_e{index + 1}_0.29arcmin360")
    np.testing.assert_allclose(binned.shear[index], shear, atol=1e-6)
    np.testing.assert_allclose(
      binned.noise_std[index], released(f"std{index + 1}"), atol=1e-6
    )


def test_boxes_without_galaxies_and_bad_options(make_catalogue):
  galaxies = make_catalogue()
  far = geometry.PixelGrid.tangent((20.0, -40.0), (10, 10), pixel_scale=1 * u.arcmin)
  with pytest.raises(ValueError, match=r"None of the 200 galaxies.*ra 20.0000"):
    catalog.bin_catalogue(galaxies, far)
  grid = catalog.tangent_grid(galaxies, 1 * u.arcmin)
  with pytest.raises(ValueError, match="noise must be"):
    catalog.bin_catalogue(galaxies, grid, noise="none")
  with pytest.raises(ValueError, match="sigma_e must be positive"):
    catalog.bin_catalogue(galaxies, grid, sigma_e=0.0)
  with pytest.raises(ValueError, match=r"must not name \['noise'\]"):
    catalog.bin_catalogue(galaxies, grid, settings=dict(noise="mine"))
  with pytest.raises(ValueError, match="Choose larger pixels"):
    catalog.tangent_grid(galaxies, 1e-6 * u.arcmin)
  wide = make_catalogue(ra=np.linspace(0, 350, 200))
  with pytest.raises(ValueError, match="more than 20 deg"):
    catalog.tangent_grid(wide, 1 * u.arcmin)
