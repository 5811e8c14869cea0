"""Tables come back from every format, and bad files are refused."""

import gzip
import io

from astropy.io import fits
from astropy.table import Table
import numpy as np
import pytest

from tfp_massmap import catalog
from tfp_massmap.catalog import files


@pytest.mark.parametrize("suffix", ["fits", "csv", "ecsv", "parquet"])
def test_formats(tmp_path, suffix, make_table):
  table, path = make_table(), tmp_path / f"catalogue.{suffix}"
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
def test_text(tmp_path, name, options, before, make_table):
  table, text = make_table(5), io.StringIO()
  table.write(text, **{"format": "ascii.csv", **options})
  content = (before + text.getvalue()).encode()
  if name.endswith(".gz"):
    content = gzip.compress(content)
  (tmp_path / name).write_bytes(content)
  read = catalog.read_catalogue(tmp_path / name)
  np.testing.assert_allclose(read.e2, table["e2"], rtol=1e-12)
  np.testing.assert_allclose(read.ra, table["ra"], rtol=1e-12)


def test_tables_of_a_fits_file(tmp_path, caplog, make_table):
  path, table = tmp_path / "several.fits", make_table()
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
    ValueError, match=r"no table in HDU 4. Its tables are 1 'FIELDS', 2"
  ):
    catalog.read_catalogue(path, hdu=4)
  with pytest.raises(ValueError, match="None of the tables"):
    catalog.read_catalogue(path, dict(e1="shape"))
  table.write(tmp_path / "a.csv")
  with pytest.raises(ValueError, match="is not FITS"):
    catalog.read_catalogue(tmp_path / "a.csv", hdu=1)


def test_missing_and_broken_files(tmp_path):
  with pytest.raises(FileNotFoundError, match="No catalogue at"):
    catalog.read_catalogue(tmp_path / "absent.fits")
  with pytest.raises(FileNotFoundError, match=r"No ra\.fits"):
    catalog.read_schrabback2010(tmp_path)
  for name in ("broken.fits", "broken.parquet", "broken"):
    (tmp_path / name).write_bytes(b"not a table")
    with pytest.raises(ValueError, match="astropy cannot read") as caught:
      catalog.read_catalogue(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_another_format_is_a_line_in_the_registry(tmp_path, make_table, monkeypatch):
  monkeypatch.setitem(files.READERS, ".cat", lambda path, head: make_table(7))
  (tmp_path / "shapes.CAT").write_bytes(b"anything")
  assert len(catalog.read_catalogue(tmp_path / "shapes.CAT")) == 7
