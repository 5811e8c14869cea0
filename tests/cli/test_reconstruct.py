"""Catalogues are reconstructed with the default sampler, and bad ones are refused."""

from astropy import wcs as astropy_wcs
from astropy.io import fits
from astropy.table import MaskedColumn
from astropy.table import Table
import numpy as np
import pytest

from tfp_massmap import cli
from tfp_massmap import reconstruction
from tfp_massmap import theory
from tfp_massmap.samplers import annealed


def test_products_of_a_catalogue(tmp_path, catalogue, capsys, header_settings):
  out = tmp_path / "field.fits"
  arguments = ["reconstruct", str(catalogue), "-o", str(out), "--pixel-scale", "1.5"]
  arguments += ["--num-samples", "2", "--prior", "gaussian", "--quiet"]
  arguments += ["--mean-redshift", "1.4"]
  assert cli.main(arguments) == 0
  printed = capsys.readouterr()
  assert "consistent" in printed.out and "WARNING" not in printed.err
  assert "sigma_e 0.1" in printed.out and "measured." in printed.out
  assert "24 score evaluations each" in printed.out
  settings = header_settings(out)
  assert settings["num_galaxies"] == 60000 and settings["data"] == "shapes.fits"
  assert settings["noise"] == "weighted" and settings["flip_e2"] is False
  assert settings["method"] == "guided"
  assert settings["prior"].startswith("Gaussian")
  assert "consistent with lensing" in settings["handedness"]
  assert (tmp_path / "field.png").exists()
  assert fits.getdata(tmp_path / "field_samples.fits").shape[0] == 2
  with fits.open(out) as hdus:
    ra, dec = astropy_wcs.WCS(hdus[0].header).wcs_pix2world(
      (hdus[0].header["NAXIS1"] - 1) / 2, (hdus[0].header["NAXIS2"] - 1) / 2, 0
    )
    assert abs(ra - 30) < 0.1 and abs(dec - 60) < 0.05


@pytest.mark.usefixtures("without_xla")
def test_annealed_samples_of_a_file_with_an_odd_name(
  tmp_path, catalogue, capsys, monkeypatch, header_settings
):
  # This is about options, names and products: a short schedule will do.
  short = annealed.AnnealedSettings(
    cooling=0.3, final_steps=1, min_steps=1, step_size=0.2, num_leapfrog_steps=2
  )
  monkeypatch.setattr(annealed, "AnnealedSettings", lambda: short)
  # FITS cards are ASCII, and titles of figures may hold mathematics.
  odd = catalogue.with_name("donn\u00e9es $b_$^.fits")
  catalogue.rename(odd)
  arguments = ["reconstruct", str(odd), "-o", str(tmp_path / "out"), "--quiet"]
  arguments += ["--size", "24", "--pixel-scale", "3", "--num-samples", "1"]
  arguments += ["--method", "annealed", "--prior", "gaussian"]
  assert cli.main(arguments) == 0
  assert "; acceptance " in capsys.readouterr().out
  settings = header_settings(tmp_path / "out" / "posterior.fits")
  assert settings["data"] == r"donn\xe9es $b_$^.fits"
  assert settings["method"] == "annealed"
  assert settings["path_integral"] == "trajectory"


# The catalogue is binned in large pixels to save time.
@pytest.mark.filterwarnings("ignore:The prior was trained on pixels:UserWarning")
def test_a_wrong_sign_of_e2_is_reported_and_left(
  tmp_path, catalogue, capsys, header_settings
):
  arguments = ["reconstruct", str(catalogue), "-o", str(tmp_path / "out"), "--flip-e2"]
  arguments += ["--pixel-scale", "1.5", "--size", "50", "60", "--num-samples", "1"]
  arguments += ["--prior", "cosmos-halo"]
  assert cli.main([*arguments, "--quiet"]) == 0
  printed = capsys.readouterr()
  assert "wrong sign of e2" in printed.out
  assert "WARNING" in printed.err and "without --flip-e2" in printed.err
  settings = header_settings(tmp_path / "out" / "posterior.fits")
  assert settings["flip_e2"] is True and "wrong sign" in settings["handedness"]
  assert settings["prior"].startswith("cosmos-halo")
  with fits.open(tmp_path / "out" / "posterior.fits") as hdus:
    assert hdus[0].data.shape == (50, 60)
    assert np.isnan(hdus["STD"].data).all()  # One sample has no deviation.


@pytest.mark.parametrize(
  "options, message",
  [
    (["--e1", "shape"], "no column 'shape' for e1. The columns are: RA, DEC"),
    (["--size", "10", "10", "10"], "--size takes one or two numbers"),
    (["--pixel-scale", "-1"], "positive angle"),
    (["--spectrum", "absent.csv"], "absent.csv"),
    (["--sigma-e", "-0.3"], "sigma_e must be positive"),
    (["--prior", "euclid"], "The package has the priors ['cosmos-halo', 'universal']"),
    (["--prior", "cosmos-halo", "--spectrum", "c.csv"], "Give one of the two"),
    (["--weight", "RA"], "Column 'RA' is given for ra and weight at once"),
    (["--redshift", "e1"], "Column 'e1' is given for e1 and redshift at once"),
    (["--hdu", "SHAPES"], "no table in HDU 'SHAPES'"),
    (["--size", "4"], "4 x 4 pixels of 0.29 arcmin, 1.16 x 1.16 arcmin; at least 16"),
    (["--pixel-scale", "100"], "at least 16 pixels a side"),
  ],
)
def test_bad_input_ends_in_one_line(tmp_path, catalogue, capsys, options, message):
  status = cli.main(
    ["reconstruct", str(catalogue), "-o", str(tmp_path / "out"), *options]
  )
  error = capsys.readouterr().err
  # What the data left open is said before.
  last = error.splitlines()[-1]
  assert status == 1 and last.startswith("tfp-massmap: ") and message in last
  assert "Traceback" not in error
  assert not (tmp_path / "out").exists()


def test_missing_catalogue(tmp_path, capsys):
  assert cli.main(["reconstruct", str(tmp_path / "no.fits"), "-o", "x"]) == 1
  assert "No catalogue at" in capsys.readouterr().err


def _save(folder, **columns):
  folder.mkdir(exist_ok=True)
  path = folder / "galaxies.ecsv"
  Table(columns).write(path)
  return str(path)


def _shapes(num_galaxies):
  """Columns of galaxies without signal, in a field of 0.2 x 0.2 deg."""
  rng = np.random.default_rng(0)
  ra, dec = rng.uniform([[150], [2]], [[150.2], [2.2]], (2, num_galaxies))
  e1, e2 = rng.normal(0, 0.3, (2, num_galaxies)).clip(-0.6, 0.6)
  return dict(ra=ra, dec=dec, e1=e1, e2=e2)


def test_fields_of_a_few_pixels_are_refused(tmp_path, capsys):
  shapes = _shapes(50)
  radians = shapes | {name: np.deg2rad(shapes[name]) for name in ("ra", "dec")}
  single = dict(ra=[150.0], dec=[2.0], e1=[0.1], e2=[0.1])
  for index, columns in enumerate((radians, single)):
    path = _save(tmp_path / str(index), **columns)
    assert cli.main(["reconstruct", path, "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "at least 16 pixels a side" in error and error.count("\n") == 1
    assert "Are ra and dec in radians?" in error
  assert not (tmp_path / "out").exists()


@pytest.fixture(name="given")
def _given(monkeypatch):
  """The arguments of `reconstruct`, which stops without sampling."""
  given = {}

  def stop(shear_map, prior, **arguments):
    given.clear()
    given.update(arguments, shear_map=shear_map, prior=prior)
    raise ValueError("stopped")

  monkeypatch.setattr(reconstruction, "reconstruct", stop)
  return given


def test_redshifts_are_those_of_the_galaxies_used(tmp_path, capsys, given):
  redshift = np.linspace(0.1, 2, 400)
  redshift[7] = np.nan
  weight = np.arange(400) % 2
  path = _save(
    tmp_path,
    **_shapes(400),
    w=weight,
    z=MaskedColumn(redshift, mask=np.arange(400) == 9),
  )
  arguments = ["reconstruct", path, "-o", str(tmp_path / "out"), "--redshift", "z"]
  assert cli.main(arguments) == 1
  error = capsys.readouterr().err
  assert "redshift ('z') is NaN" in error and "in 2 of 400 rows" in error
  assert cli.main([*arguments, "--drop-invalid"]) == 1
  assert "Dropped 2 of 400 rows" in capsys.readouterr().err
  kept = [np.delete(values, [7, 9]) for values in (redshift, weight)]
  expected = theory.SourceRedshifts.from_galaxies(*kept)
  np.testing.assert_array_equal(given["sources"].redshift, expected.redshift)
  np.testing.assert_array_equal(given["sources"].weight, expected.weight)
  assert given["shear_map"].settings["column redshift"] == "z"
  assert given["products"].header["drop_invalid"] is True
  assert given["products"].header["num_rows_dropped"] == 2
  assert given["reduced_shear"] is False
  assert cli.main([*arguments, "--drop-invalid", "--reduced-shear"]) == 1
  assert given["reduced_shear"] is True
