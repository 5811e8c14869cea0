"""Files are whole or absent, and their headers say how they were made."""

import json

from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from matplotlib import figure as mpl_figure
import numpy as np
from PIL import Image
import pytest

from tfp_massmap import geometry
from tfp_massmap import io


def test_files_are_not_overwritten_or_left_half_written(tmp_path):
  path = tmp_path / "new" / "file.txt"
  with io.atomic_path(path) as temporary:
    with open(temporary, "w", encoding="utf-8") as file:
      file.write("whole")
  with pytest.raises(FileExistsError, match="--overwrite"):
    with io.atomic_path(path):
      pytest.fail("has begun to write")
  with pytest.raises(KeyboardInterrupt):
    with io.atomic_path(path, overwrite=True) as temporary:
      with open(temporary, "w", encoding="utf-8") as file:
        file.write("ha")
      raise KeyboardInterrupt
  assert path.read_text() == "whole" and list(path.parent.iterdir()) == [path]


def test_unwritable_places_are_named_at_once(tmp_path):
  io.check_writable(tmp_path / "new" / "folder" / "file.fits")
  assert not (tmp_path / "new").exists()
  with pytest.raises(IsADirectoryError, match="name a file"):
    io.check_writable(tmp_path, overwrite=True)
  (tmp_path / "file").write_text("x")
  with pytest.raises(OSError, match="not a folder one may write to"):
    io.check_writable(tmp_path / "file" / "x.fits")


def test_settings_come_back_from_a_header():
  settings = dict(
    number=np.int64(3), real=np.float32(0.5), flag=np.bool_(True), bad=np.inf, no=None
  )
  header = io.provenance_header({**settings, "text": "Jos\u00e9"})
  assert io.read_settings(header) == dict(
    number=3, real=0.5, flag=True, bad="inf", text=r"Jos\xe9"
  )
  assert header["CREATOR"] == io.CREATOR
  assert header["VERSION numpy"] == np.__version__
  with pytest.raises(ValueError, match="1 to 40 ASCII characters"):
    io.provenance_header({"x" * 41: 1})


def test_images_have_a_wcs_and_units(tmp_path):
  grid = geometry.PixelGrid.tangent((150.0, 2.0), (4, 6), pixel_scale=1 * u.arcmin)
  count = np.arange(24).reshape(4, 6)
  hdus = [
    io.primary_hdu(count / 24, grid, description="kappa", settings=dict(seed=1)),
    io.image_hdu(count > 3, grid, name="MASK", description="1 = measured"),
    io.image_hdu(count, grid, name="COUNT", description="galaxies", unit="count"),
  ]
  io.write_fits(tmp_path / "maps.fits", hdus)
  with fits.open(tmp_path / "maps.fits", checksum=True) as read:
    assert io.read_settings(read[0].header) == dict(seed=1)
    for hdu in read:
      assert (
        geometry.PixelGrid.from_header(hdu.header, (4, 6)).pixel_scale == 1 * u.arcmin
      )
    assert read["MASK"].data.dtype == np.uint8
    assert [hdu.header["BUNIT"] for hdu in read] == ["", "", "count"]


def test_figures_and_tables_say_how_they_were_made(tmp_path):
  io.write_figure(tmp_path / "a.png", mpl_figure.Figure(), settings=dict(seed=1))
  with Image.open(tmp_path / "a.png") as image:
    made = json.loads(image.text["Description"])
    assert image.text["Software"] == io.CREATOR
  assert made["seed"] == 1 and made["numpy"] == np.__version__
  io.write_figure(tmp_path / "a.pdf", mpl_figure.Figure(), settings=dict(seed=1))
  table = Table(dict(snr=[3.0]), meta=dict(NOTE="mine"))
  io.write_table(tmp_path / "a.ecsv", table, settings=dict(seed=1, nothing=None))
  meta = Table.read(tmp_path / "a.ecsv").meta
  assert meta["SETTINGS"] == dict(seed=1) and meta["NOTE"] == "mine"
  assert meta["VERSIONS"] == io.library_versions() and "CREATOR" not in table.meta
