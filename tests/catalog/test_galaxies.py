"""Bad values are refused, dropped on request, or reported."""

import logging

from astropy.table import MaskedColumn
import numpy as np
import pytest

from tfp_massmap import catalog


def test_bad_values(make_catalogue):
  def expect(message, **changes):
    with pytest.raises(ValueError, match=message):
      make_catalogue(**changes)

  bad = np.zeros(200)
  bad[[3, 7]] = np.nan, np.inf
  for name in ("ra", "dec", "e1", "e2"):
    expect(
      rf"Column {name} is NaN or infinite in 2 of 200 rows, .* row 3", **{name: bad}
    )
  expect(r"Column weight \('w'\) is negative in 200 of 200", w=-np.ones(200))
  expect("Every weight is zero", w=np.zeros(200))
  expect("Column dec is outside", dec=np.full(200, 150.0))
  expect(r"200 of 200 galaxies have \|e\| > 1", e1=np.full(200, 3.0))
  expect("row 0 holds 'a'", e1=["a"] * 200)
  expect("row 2 holds 'N/A'", e1=["0.1", "0.2", *["N/A"] * 198])
  expect("it has type bool", e1=np.ones(200, bool))


def test_a_few_large_ellipticities_are_kept_and_counted(caplog, make_catalogue):
  shapes = np.full(200, 0.2)
  shapes[:5] = 1.2
  with caplog.at_level(logging.WARNING):
    assert make_catalogue(e1=shapes).e1.max() == 1.2
  assert "5 of 200 galaxies have |e| > 1" in caplog.text


def test_marks_of_failed_measurements_are_refused_or_dropped(caplog, make_table):
  table = make_table()
  table["e1"][3:7] = -99
  with pytest.raises(ValueError, match=r"\|e\| .* above 10 in 4 of 200 .* row 3 \(99"):
    catalog.catalogue_from_table(table)
  table["w"][3] = 0
  kept = catalog.catalogue_from_table(table, drop_invalid=True)
  assert len(kept) == 197 and "Dropped 3 of 200 rows" in caplog.text
  assert kept.ellipticity_std()[0] < 0.4


def test_repeated_galaxies_are_counted(caplog, make_table):
  table = make_table()
  catalog.catalogue_from_table(table[[0, 0, *range(200)]])
  assert "repeat" not in caplog.text
  catalog.catalogue_from_table(table[np.tile(np.arange(200), 2)])
  assert "200 of 400 galaxies repeat another" in caplog.text


def test_invalid_rows_are_dropped_only_on_request(caplog, make_table):
  table = make_table()
  table["e1"] = MaskedColumn(table["e1"], mask=np.arange(200) < 4)
  with pytest.raises(ValueError, match="e1 is NaN or infinite in 4 of 200"):
    catalog.catalogue_from_table(table)
  with caplog.at_level(logging.WARNING):
    kept = catalog.catalogue_from_table(table, drop_invalid=True)
  assert len(kept) == 196 and "Dropped 4 of 200 rows" in caplog.text
