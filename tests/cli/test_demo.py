"""The demo, with the default sampler, writes products that other software opens."""

import json

from astropy import wcs as astropy_wcs
from astropy.io import fits
import numpy as np
from PIL import Image
import pytest
from scipy import stats

from tfp_massmap import cli
from tfp_massmap import samplers


@pytest.fixture(name="demo", scope="module")
def _demo(tmp_path_factory):
  """The arguments and the folder of a demo."""
  folder = tmp_path_factory.mktemp("demo") / "new"
  arguments = ["demo", "-o", str(folder), "--size", "40", "--num-samples", "3"]
  arguments += ["--seed", "5", "--quantiles", "0.16", "--thresholds", "0.02", "0.1"]
  assert cli.main(arguments) == 0
  return arguments, folder


def test_products_are_the_statistics_of_the_samples(demo):
  _, folder = demo
  samples = fits.getdata(folder / "samples.fits")
  assert samples.shape == (3, 40, 40)
  with fits.open(folder / "posterior.fits", checksum=True) as hdus:
    assert [hdu.name for hdu in hdus] == [
      "PRIMARY",
      "STD",
      "QUANTILE_0.16",
      "PROBABILITY_0.02",
      "PROBABILITY_0.1",
      "WIENER",
      "KAISER_SQUIRES",
      "MASK",
      "COUNT",
      "TRUTH",
    ]
    np.testing.assert_allclose(
      hdus["PROBABILITY_0.02"].data, (samples > 0.02).mean(axis=0), atol=1e-6
    )
    np.testing.assert_allclose(hdus[0].data, samples.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(hdus["STD"].data, samples.std(axis=0, ddof=1), atol=1e-6)
    # A simulated sky has more peaks than troughs.
    assert stats.skew(hdus["TRUTH"].data.ravel()) > 0.5


def test_products_have_units_a_wcs_and_their_settings(demo, header_settings):
  _, folder = demo
  with fits.open(folder / "posterior.fits") as hdus:
    for hdu in hdus:
      assert "BUNIT" in hdu.header
      assert astropy_wcs.WCS(hdu.header).celestial.wcs.ctype[0] == "RA---TAN"
    assert "VERSION TENSORFLOW" in hdus[0].header
  settings = header_settings(folder / "posterior.fits")
  assert settings["seed"] == 5 and settings["num_samples"] == 3
  assert settings["method"] == "guided"
  assert settings["sweeps"] == str(samplers.GuidedSettings().sweeps)
  assert settings["sweep_steps"] == str(samplers.GuidedSettings().sweep_steps)
  assert settings["prior"].startswith("universal, Omega_m=0.3089, ")
  with Image.open(folder / "posterior.png") as image:
    assert image.width > 1000
    assert json.loads(image.text["Description"])["seed"] == 5


def test_existing_products_are_refused_before_any_work(demo, capsys):
  arguments, folder = demo
  before = (folder / "posterior.fits").read_bytes()
  assert cli.main(arguments) == 1
  assert "--overwrite" in capsys.readouterr().err
  assert (folder / "posterior.fits").read_bytes() == before


def test_small_maps_are_refused(tmp_path, capsys):
  assert cli.main(["demo", "--size", "4", "-o", str(tmp_path / "out")]) == 1
  error = capsys.readouterr().err
  assert "at least 16 pixels a side" in error and "Give a larger --size" in error
  assert error.count("\n") == 1 and not (tmp_path / "out").exists()
