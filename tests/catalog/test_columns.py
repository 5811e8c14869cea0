"""Columns are found by their names, and read in their units."""

from astropy import units as u
from astropy.table import MaskedColumn
import numpy as np
import pytest

from tfp_massmap import catalog


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


def test_missing_columns(make_table):
  table = make_table()
  table.remove_column("e2")
  with pytest.raises(
    ValueError, match=r"No column for e2.*columns are: ra, dec, e1, w"
  ):
    catalog.catalogue_from_table(table)
  with pytest.raises(ValueError, match=r"no column 'x' for ra.*columns are: ra, dec"):
    catalog.catalogue_from_table(make_table(), dict(ra="x"))
  with pytest.raises(ValueError, match="Unknown roles"):
    catalog.resolve_columns(["ra"], dict(shape="e1"))
  with pytest.raises(ValueError, match="The catalogue is empty"):
    catalog.catalogue_from_table(make_table(0))


def test_units_of_positions_are_honoured(make_table):
  table = make_table()
  expected = np.array(table["ra"])
  table["ra"] = (expected * u.deg).to(u.rad)
  np.testing.assert_allclose(catalog.catalogue_from_table(table).ra, expected)


def test_units_of_shapes_are_honoured(make_table):
  table = make_table()
  expected = np.array(table["e1"])
  table["e1"] = expected * 100 * u.percent
  np.testing.assert_allclose(catalog.catalogue_from_table(table).e1, expected)
  table["e1"] = expected * u.m
  with pytest.raises(ValueError, match=r"'e1' \(e1\) has the unit 'm'"):
    catalog.catalogue_from_table(table)
  table = make_table()
  ra = MaskedColumn(np.full(200, 150), mask=np.arange(200) < 3, unit=u.deg, dtype=int)
  table["ra"] = ra
  with pytest.raises(ValueError, match="ra is NaN or infinite in 3 of 200"):
    catalog.catalogue_from_table(table)


def test_redshifts_are_a_column_like_the_others(make_table):
  table, columns = make_table(), dict(redshift="z")
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
