"""Catalogues: formats, binning against arithmetic, the released maps, bad input."""

import gzip
import io
import logging

from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn
from astropy.table import Table
import numpy as np
import pytest

from tfp_massmap import catalog
from tfp_massmap import geometry
from tfp_massmap import lensing


def _table(num_rows=200, seed=0):
  rng = np.random.default_rng(seed)
  return Table(
    {
      "ra": rng.uniform(150.0, 150.2, num_rows),
      "dec": rng.uniform(2.0, 2.2, num_rows),
      "e1": rng.normal(0, 0.3, num_rows).clip(-0.6, 0.6),
      "e2": rng.normal(0, 0.3, num_rows).clip(-0.6, 0.6),
      "w": rng.uniform(0.5, 1.5, num_rows),
    }
  )


def _catalogue(**changes):
  table = _table()
  for name, value in changes.items():
    table[name] = value
  return catalog.catalogue_from_table(table)


@pytest.mark.parametrize("suffix", ["fits", "csv", "ecsv", "parquet"])
def test_formats(tmp_path, suffix):
  table, path = _table(), tmp_path / f"catalogue.{suffix}"
  table.write(path)
  read = catalog.read_catalogue(path)
  for name, role in zip(
    ("ra", "dec", "e1", "e2", "w"), ("ra", "dec", "e1", "e2", "weight")
  ):
    np.testing.assert_allclose(getattr(read, role), table[name], rtol=1e-12)


@pytest.mark.parametrize(
  "name, options, before",
  [
    ("a.txt", dict(format="ascii.basic"), ""),
    ("a.dat", dict(format="ascii.commented_header"), ""),
    ("b.dat", dict(format="ascii.commented_header"), "# of a survey\n"),
    ("a.tsv", dict(format="ascii.tab"), ""),
    ("a.csv", dict(delimiter=";"), "# of a survey\n# in the south\n"),
    ("b.csv", dict(), "\ufeff"),
    ("c.csv", dict(), "\ufeff# of, a, survey\n\n"),
    ("d.csv", dict(format="ascii.commented_header", delimiter=","), "# of a survey\n"),
    ("e.csv.gz", dict(delimiter=";"), "\ufeff"),
  ],
)
def test_text(tmp_path, name, options, before):
  table, text = _table(5), io.StringIO()
  table.write(text, **{"format": "ascii.csv", **options})
  content = (before + text.getvalue()).encode()
  if name.endswith(".gz"):
    content = gzip.compress(content)
  (tmp_path / name).write_bytes(content)
  read = catalog.read_catalogue(tmp_path / name)
  np.testing.assert_allclose(read.e2, table["e2"], rtol=1e-12)
  np.testing.assert_allclose(read.ra, table["ra"], rtol=1e-12)


def test_tables_of_a_fits_file(tmp_path, caplog):
  path, table = tmp_path / "several.fits", _table()
  hdus = [
    fits.BinTableHDU(Table(dict(ra=[1.0])), name="FIELDS"),
    fits.BinTableHDU(table, name="SHAPES"),
    fits.BinTableHDU(table[:50], name="FEW"),
  ]
  fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
  assert len(catalog.read_catalogue(path)) == 200
  assert "the one read is 2" in caplog.text
  for hdu in (3, "few"):
    assert len(catalog.read_catalogue(path, hdu=hdu)) == 50
  with pytest.raises(ValueError, match="No column for dec"):
    catalog.read_catalogue(path, hdu=1)
  with pytest.raises(
    ValueError, match="no table in HDU 4. Its tables are 1 'FIELDS', 2"
  ):
    catalog.read_catalogue(path, hdu=4)
  with pytest.raises(ValueError, match="None of the tables"):
    catalog.read_catalogue(path, dict(e1="shape"))
  table.write(tmp_path / "a.csv")
  with pytest.raises(ValueError, match="is not FITS"):
    catalog.read_catalogue(tmp_path / "a.csv", hdu=1)


def test_columns_are_guessed_or_named():
  names = ["ALPHA_J2000", "DELTA_J2000", "g1", "g2", "z"]
  assert catalog.resolve_columns(names) == dict(
    ra="ALPHA_J2000", dec="DELTA_J2000", e1="g1", e2="g2"
  )
  both = ["ra", "dec", "e1", "e2", "g1", "g2", "w"]
  with pytest.raises(ValueError, match="Several columns could be e1: e1, g1"):
    catalog.resolve_columns(both)
  chosen = catalog.resolve_columns(both, dict(e1="g1", e2="g2", weight=None))
  assert chosen["e1"] == "g1" and chosen["weight"] == "w"
  with pytest.raises(ValueError, match="'g1' is given for e1 and e2 at once"):
    catalog.resolve_columns(both, dict(e1="g1", e2="g1"))


def test_units_of_positions_are_honoured():
  table = _table()
  expected = np.array(table["ra"])
  table["ra"] = (expected * u.deg).to(u.rad)
  np.testing.assert_allclose(catalog.catalogue_from_table(table).ra, expected)


def test_units_of_shapes_are_honoured():
  table = _table()
  expected = np.array(table["e1"])
  table["e1"] = expected * 100 * u.percent
  np.testing.assert_allclose(catalog.catalogue_from_table(table).e1, expected)
  table["e1"] = expected * u.m
  with pytest.raises(ValueError, match=r"'e1' \(e1\) has the unit 'm'"):
    catalog.catalogue_from_table(table)
  table = _table()
  ra = MaskedColumn(np.full(200, 150), mask=np.arange(200) < 3, unit=u.deg, dtype=int)
  table["ra"] = ra
  with pytest.raises(ValueError, match="ra is NaN or infinite in 3 of 200"):
    catalog.catalogue_from_table(table)


def test_the_columns_used_are_recorded():
  table = _table()
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


def test_noise_is_the_scatter_of_the_weighted_mean():
  grid = geometry.PixelGrid.tangent((150.1, 2.1), (10, 10), pixel_scale=1.3 * u.arcmin)
  values = []
  for seed in range(60):
    galaxies = _catalogue(e1=np.random.default_rng(seed).normal(0, 0.2, 200))
    binned = catalog.bin_catalogue(galaxies, grid, sigma_e=0.2)
    values.append(
      (binned.shear[0] / np.where(binned.mask, binned.noise_std[0], 1))[binned.mask]
    )
  # About 5,000 unit normals: the error of their std is 1 %; 4 sigma.
  assert abs(np.std(np.concatenate(values)) - 1) < 0.04


def test_galaxies_of_weight_zero_count_for_nothing():
  """Failed fits are often flagged by e = -99 and weight 0."""
  table = _table(400)
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


def test_galaxies_outside_are_counted_and_reported(caplog):
  galaxies = _catalogue()
  grid = geometry.PixelGrid.tangent((150.1, 2.1), (5, 5), pixel_scale=1 * u.arcmin)
  with caplog.at_level(logging.WARNING):
    binned = catalog.bin_catalogue(galaxies, grid)
  outside = binned.settings["num_outside"]
  assert outside > 0 and outside + binned.count.sum() == 200
  assert f"{outside} of 200 galaxies lie outside" in caplog.text


def test_tangent_grid_holds_every_galaxy_and_a_margin():
  galaxies = _catalogue(ra=np.linspace(359.9, 360.2, 200) % 360)
  grid = catalog.tangent_grid(galaxies, 1 * u.arcmin)
  binned = catalog.bin_catalogue(galaxies, grid)
  assert binned.settings["num_outside"] == 0
  rows = np.flatnonzero(binned.mask.any(axis=1))
  assert rows[0] >= 1 and rows[-1] < grid.shape[0] - 1
  assert grid.shape[1] * 1.0 > 1.25 * 18
  fixed = catalog.tangent_grid(galaxies, 1 * u.arcmin, size=(30, 40))
  assert fixed.shape == (30, 40)


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


def _expect(message, **changes):
  with pytest.raises(ValueError, match=message):
    _catalogue(**changes)


def test_bad_values():
  bad = np.zeros(200)
  bad[[3, 7]] = np.nan, np.inf
  for name in ("ra", "dec", "e1", "e2"):
    _expect(
      rf"Column {name} is NaN or infinite in 2 of 200 rows, .* row 3", **{name: bad}
    )
  _expect(r"Column weight \('w'\) is negative in 200 of 200", w=-np.ones(200))
  _expect("Every weight is zero", w=np.zeros(200))
  _expect("Column dec is outside", dec=np.full(200, 150.0))
  _expect(r"200 of 200 galaxies have \|e\| > 1", e1=np.full(200, 3.0))
  _expect("row 0 holds 'a'", e1=["a"] * 200)
  _expect("row 2 holds 'N/A'", e1=["0.1", "0.2", *["N/A"] * 198])
  _expect("it has type bool", e1=np.ones(200, bool))


def test_a_few_large_ellipticities_are_kept_and_counted(caplog):
  shapes = np.full(200, 0.2)
  shapes[:5] = 1.2
  with caplog.at_level(logging.WARNING):
    assert _catalogue(e1=shapes).e1.max() == 1.2
  assert "5 of 200 galaxies have |e| > 1" in caplog.text


def test_marks_of_failed_measurements_are_refused_or_dropped(caplog):
  table = _table()
  table["e1"][3:7] = -99
  with pytest.raises(ValueError, match=r"\|e\| .* above 10 in 4 of 200 .* row 3 \(99"):
    catalog.catalogue_from_table(table)
  table["w"][3] = 0
  kept = catalog.catalogue_from_table(table, drop_invalid=True)
  assert len(kept) == 197 and "Dropped 3 of 200 rows" in caplog.text
  assert kept.ellipticity_std()[0] < 0.4


def test_repeated_galaxies_are_counted(caplog):
  table = _table()
  catalog.catalogue_from_table(table[[0, 0, *range(200)]])
  assert "repeat" not in caplog.text
  catalog.catalogue_from_table(table[np.tile(np.arange(200), 2)])
  assert "200 of 400 galaxies repeat another" in caplog.text


def test_positions_in_radians_look_dense(caplog):
  table = _table()
  catalogues = [catalog.catalogue_from_table(table)]
  for name in ("ra", "dec"):
    table[name] = np.deg2rad(table[name])
  catalogues.append(catalog.catalogue_from_table(table))
  for galaxies, warned in zip(catalogues, (False, True)):
    grid = catalog.tangent_grid(galaxies, 0.1 * u.arcmin, size=200)
    catalog.bin_catalogue(galaxies, grid)
    assert ("are ra and dec in degrees?" in caplog.text) == warned


def test_redshifts_are_a_column_like_the_others():
  table, columns = _table(), dict(redshift="z")
  redshift = np.linspace(0.1, 2, 200)
  redshift[3:5] = np.nan, -1
  table["z"] = MaskedColumn(redshift, mask=np.arange(200) < 2)
  with pytest.raises(ValueError, match=r"redshift \('z'\) is NaN .* 3 of 200.*row 0"):
    catalog.catalogue_from_table(table, columns)
  with pytest.raises(ValueError, match=r"redshift \('z'\) is not positive in 1 of 196"):
    catalog.catalogue_from_table(table[4:], columns)
  table["e1"][10] = np.nan
  kept = catalog.catalogue_from_table(table, columns, drop_invalid=True)
  good = np.delete(np.arange(200), [0, 1, 3, 4, 10])
  np.testing.assert_array_equal(kept.redshift, redshift[good])
  np.testing.assert_array_equal(kept.ra, table["ra"][good])
  assert kept.columns["redshift"] == "z"
  assert catalog.catalogue_from_table(table[20:]).redshift is None


def test_invalid_rows_are_dropped_only_on_request(caplog):
  table = _table()
  table["e1"] = MaskedColumn(table["e1"], mask=np.arange(200) < 4)
  with pytest.raises(ValueError, match="e1 is NaN or infinite in 4 of 200"):
    catalog.catalogue_from_table(table)
  with caplog.at_level(logging.WARNING):
    kept = catalog.catalogue_from_table(table, drop_invalid=True)
  assert len(kept) == 196 and "Dropped 4 of 200 rows" in caplog.text


def test_missing_columns_and_files(tmp_path):
  table = _table()
  table.remove_column("e2")
  with pytest.raises(ValueError, match="No column for e2.*columns are: ra, dec, e1, w"):
    catalog.catalogue_from_table(table)
  with pytest.raises(ValueError, match="no column 'x' for ra.*columns are: ra, dec"):
    catalog.catalogue_from_table(_table(), dict(ra="x"))
  with pytest.raises(ValueError, match="Unknown roles"):
    catalog.resolve_columns(["ra"], dict(shape="e1"))
  with pytest.raises(FileNotFoundError, match="No catalogue at"):
    catalog.read_catalogue(tmp_path / "absent.fits")
  (tmp_path / "broken.fits").write_bytes(b"not a table")
  with pytest.raises(ValueError, match="astropy cannot read") as caught:
    catalog.read_catalogue(tmp_path / "broken.fits")
  assert "\n" not in str(caught.value)
  with pytest.raises(FileNotFoundError, match="No ra.fits"):
    catalog.read_schrabback2010(tmp_path)
  with pytest.raises(ValueError, match="The catalogue is empty"):
    catalog.catalogue_from_table(_table(0))


def test_boxes_without_galaxies_and_bad_options():
  galaxies = _catalogue()
  far = geometry.PixelGrid.tangent((20.0, -40.0), (10, 10), pixel_scale=1 * u.arcmin)
  with pytest.raises(ValueError, match="None of the 200 galaxies.*ra 20.0000"):
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
  wide = _catalogue(ra=np.linspace(0, 350, 200))
  with pytest.raises(ValueError, match="more than 20 deg"):
    catalog.tangent_grid(wide, 1 * u.arcmin)
