"""The commands: products, refusals, and interruptions."""

import json
import logging
import os
import signal
import subprocess
import sys
import warnings

from astropy import units as u
from astropy import wcs as astropy_wcs
from astropy.io import fits
from astropy.table import MaskedColumn
from astropy.table import Table
from astropy.utils import exceptions
import numpy as np
from PIL import Image
import pytest
from scipy import stats
import tensorflow as tf

from tfp_massmap import cli
from tfp_massmap import geometry
from tfp_massmap import plot
from tfp_massmap import reconstruction
from tfp_massmap import spectra
from tfp_massmap.cli import commands
from tfp_massmap.cli import console
from tfp_massmap.samplers import annealed
from tfp_massmap.samplers import guided


@pytest.fixture(name="quick", autouse=True)
def _quick(monkeypatch):
  """A short schedule: these tests are about files, not about convergence."""
  settings = annealed.AnnealedSettings(
    cooling=0.3, final_steps=1, min_steps=1, step_size=0.2, num_leapfrog_steps=2
  )
  monkeypatch.setattr(annealed, "AnnealedSettings", lambda: settings)
  steps = guided.GuidedSettings(num_steps=3)
  monkeypatch.setattr(guided, "GuidedSettings", lambda: steps)


@pytest.fixture(name="catalogue")
def _catalogue(tmp_path):
  """A field at declination 60 of shapes lensed by a Gaussian field."""
  grid = geometry.PixelGrid.tangent((30.0, 60.0), (48, 48), pixel_scale=1.5 * u.arcmin)
  variance = spectra.PowerSpectrum.fiducial_cosmos().mode_variance(grid)
  from tfp_massmap import lensing  # pylint: disable=g-import-not-at-top

  kappa = spectra.gaussian_field(variance, grid.shape, seed=(1, 2))
  shear = lensing.shear_from_convergence(kappa).numpy()
  rng = np.random.default_rng(0)
  row, column = rng.uniform(6, 41, (2, 60000))
  ra, dec = grid.pixel_to_world(row, column)
  pixel = np.rint(row).astype(int), np.rint(column).astype(int)
  e1, e2 = shear[:, pixel[0], pixel[1]] + 0.1 * rng.standard_normal((2, 60000))
  path = tmp_path / "shapes.fits"
  Table(dict(RA=ra, DEC=dec, e1=e1, e2=e2, w=rng.uniform(0.5, 1, 60000))).write(path)
  return path


def _header_settings(path):
  header = fits.getheader(path)
  return {
    name.split(" ", 1)[1].lower(): header[name]
    for name in header
    if name.startswith("MASSMAP ")
  }


def test_demo_writes_products_that_open(tmp_path, capsys):
  folder = tmp_path / "demo"
  arguments = [
    "demo",
    "-o",
    str(folder),
    "--size",
    "40",
    "--num-samples",
    "3",
    "--seed",
    "5",
    "--quantiles",
    "0.16",
    "--thresholds",
    "0.02",
    "0.1",
  ]
  assert cli.main(arguments) == 0
  assert "Wrote" in capsys.readouterr().out
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
    samples = fits.getdata(folder / "samples.fits")
    assert samples.shape == (3, 40, 40)
    np.testing.assert_allclose(
      hdus["PROBABILITY_0.02"].data, (samples > 0.02).mean(axis=0), atol=1e-6
    )
    # A simulated sky: more peaks than troughs.
    assert stats.skew(hdus["TRUTH"].data.ravel()) > 0.5
    np.testing.assert_allclose(hdus[0].data, samples.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(hdus["STD"].data, samples.std(axis=0, ddof=1), atol=1e-6)
    for hdu in hdus:
      assert "BUNIT" in hdu.header
      assert astropy_wcs.WCS(hdu.header).celestial.wcs.ctype[0] == "RA---TAN"
    assert "VERSION TENSORFLOW" in hdus[0].header
  settings = _header_settings(folder / "posterior.fits")
  assert settings["seed"] == 5 and settings["num_samples"] == 3
  assert settings["method"] == "guided" and settings["num_steps"] == 3
  assert settings["prior"].startswith("cosmos-halo, weights ")
  with Image.open(folder / "posterior.png") as image:
    assert image.width > 1000
    assert json.loads(image.text["Description"])["seed"] == 5
  # Again: refused before any work, and nothing changed.
  before = (folder / "posterior.fits").read_bytes()
  assert cli.main(arguments) == 1
  assert "--overwrite" in capsys.readouterr().err
  assert (folder / "posterior.fits").read_bytes() == before


def test_reconstruct_a_catalogue(tmp_path, catalogue, capsys):
  out = tmp_path / "field.fits"
  arguments = [
    "reconstruct",
    str(catalogue),
    "-o",
    str(out),
    "--pixel-scale",
    "1.5",
    "--num-samples",
    "2",
    "--method",
    "annealed",
    "--prior",
    "gaussian",
    "--quiet",
  ]
  assert cli.main(arguments) == 0
  printed = capsys.readouterr()
  assert "consistent" in printed.out and "WARNING" not in printed.err
  assert "sigma_e 0.1" in printed.out and "measured." in printed.out
  settings = _header_settings(out)
  assert settings["num_galaxies"] == 60000 and settings["data"] == "shapes.fits"
  assert settings["noise"] == "weighted" and settings["flip_e2"] is False
  assert settings["path_integral"] == "trajectory"
  assert settings["prior"].startswith("Gaussian")
  assert (tmp_path / "field.png").exists()
  assert fits.getdata(tmp_path / "field_samples.fits").shape[0] == 2
  with fits.open(out) as hdus:
    ra, dec = astropy_wcs.WCS(hdus[0].header).wcs_pix2world(
      (hdus[0].header["NAXIS1"] - 1) / 2, (hdus[0].header["NAXIS2"] - 1) / 2, 0
    )
    assert abs(ra - 30) < 0.1 and abs(dec - 60) < 0.05


def test_wrong_sign_of_e2_is_reported_and_left(tmp_path, catalogue, capsys):
  arguments = [
    "reconstruct",
    str(catalogue),
    "-o",
    str(tmp_path / "out"),
    "--flip-e2",
    "--pixel-scale",
    "1.5",
    "--size",
    "50",
    "60",
    "--num-samples",
    "1",
    "--quiet",
  ]
  assert cli.main(arguments) == 0
  printed = capsys.readouterr()
  assert "wrong sign of e2" in printed.out
  assert "WARNING" in printed.err and "without --flip-e2" in printed.err
  settings = _header_settings(tmp_path / "out" / "posterior.fits")
  assert settings["flip_e2"] is True and "wrong sign" in settings["handedness"]
  with fits.open(tmp_path / "out" / "posterior.fits") as hdus:
    assert hdus[0].data.shape == (50, 60)
    assert np.isnan(hdus["STD"].data).all()  # one sample has no deviation


@pytest.mark.parametrize(
  "options, message",
  [
    (["--e1", "shape"], "no column 'shape' for e1. The columns are: RA, DEC"),
    (["--size", "10", "10", "10"], "--size takes one or two numbers"),
    (["--pixel-scale", "-1"], "positive angle"),
    (["--spectrum", "absent.csv"], "absent.csv"),
    (["--sigma-e", "-0.3"], "sigma_e must be positive"),
    (["--prior", "euclid"], "The package has the priors ['cosmos-halo']"),
    (["--prior", "cosmos-halo", "--spectrum", "c.csv"], "Give one of the two"),
    (["--weight", "RA"], "Column 'RA' cannot be ra and weight at once"),
    (["--redshift", "e1"], "Column 'e1' cannot be e1 and redshift at once"),
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
  assert status == 1 and error.startswith("tfp-massmap: ") and message in error
  assert "Traceback" not in error
  assert not (tmp_path / "out").exists()


def _save(folder, **columns):
  path = folder / "galaxies.ecsv"
  Table(columns).write(path)
  return str(path)


def test_maps_of_a_few_pixels_are_refused(tmp_path, capsys):
  rng = np.random.default_rng(0)
  ra, dec = np.deg2rad(rng.uniform([[150], [2]], [[150.2], [2.2]], (2, 50)))
  e1, e2 = rng.normal(0, 0.3, (2, 50)).clip(-0.6, 0.6)
  radians = _save(tmp_path, ra=ra, dec=dec, e1=e1, e2=e2)
  (tmp_path / "one").mkdir()
  single = _save(tmp_path / "one", ra=[150.0], dec=[2.0], e1=[0.1], e2=[0.1])
  out = ["-o", str(tmp_path / "out")]
  for arguments, message in (
    (["reconstruct", radians], "Are ra and dec in radians?"),
    (["reconstruct", single], "Are ra and dec in radians?"),
    (["demo", "--size", "4"], "Give a larger --size"),
  ):
    assert cli.main([*arguments, *out]) == 1
    error = capsys.readouterr().err
    assert "at least 16 pixels a side" in error and message in error
    assert error.count("\n") == 1
  assert not (tmp_path / "out").exists()


def test_errors_of_tensorflow_are_one_line(capsys, monkeypatch):
  def fail(_):
    raise tf.errors.InvalidArgumentError(None, None, "paddings\nand more")

  monkeypatch.setitem(commands.COMMANDS, "demo", fail)
  assert cli.main(["demo"]) == 1
  error = capsys.readouterr().err
  assert "InvalidArgumentError: paddings" in error and error.count("\n") == 1


def test_warnings_are_one_plain_line_each(capsys, monkeypatch):
  def warn(_):
    warnings.warn("of numbers\nin the input", stacklevel=1)
    warnings.warn("of astropy", exceptions.AstropyUserWarning, stacklevel=1)
    logging.getLogger("tfp_massmap.catalog").warning("of a catalogue")
    logging.getLogger("astropy").warning("its own")

  monkeypatch.setitem(commands.COMMANDS, "demo", warn)
  before = warnings.showwarning
  assert cli.main(["demo"]) == 0 and warnings.showwarning is before
  lines = capsys.readouterr().err.splitlines()
  assert lines[:3] == [
    "WARNING: of numbers in the input",
    "WARNING: of astropy",
    "WARNING: of a catalogue",
  ]
  assert len(lines) == 4 and "its own" in lines[3]


@pytest.mark.parametrize("error, shown", [(KeyboardInterrupt, 0), (OSError, 1)])
def test_the_log_of_the_start_is_shown_for_errors_only(
  capfd, monkeypatch, error, shown
):
  def fail():
    os.write(2, b"cannot find the drivers\n")
    raise error

  monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
  monkeypatch.setattr(tf.config, "list_logical_devices", fail)
  with pytest.raises(error):
    console.start_tensorflow()
  assert capfd.readouterr().err.count("cannot find the drivers") == shown


def test_redshifts_are_those_of_the_galaxies_used(tmp_path, capsys, monkeypatch):
  given = {}

  def stop(
    shear_map, *_, settings, source_redshifts, source_counts, reduced_shear, **__
  ):
    given.clear()
    given.update({**shear_map.settings, **settings}, redshifts=source_redshifts)
    given["counts"] = source_counts
    given["reduced"] = reduced_shear
    raise ValueError("stopped")

  monkeypatch.setattr(reconstruction, "reconstruct", stop)
  rng = np.random.default_rng(0)
  ra, dec = rng.uniform([[150], [2]], [[150.2], [2.2]], (2, 400))
  e1, e2 = rng.normal(0, 0.3, (2, 400)).clip(-0.6, 0.6)
  redshift = np.linspace(0.1, 2, 400)
  redshift[7] = np.nan
  path = _save(
    tmp_path,
    ra=ra,
    dec=dec,
    e1=e1,
    e2=e2,
    w=np.arange(400) % 2,
    z=MaskedColumn(redshift, mask=np.arange(400) == 9),
  )
  arguments = ["reconstruct", path, "-o", str(tmp_path / "out"), "--redshift", "z"]
  assert cli.main(arguments) == 1
  error = capsys.readouterr().err
  assert "redshift ('z') is NaN" in error and "in 2 of 400 rows" in error
  assert cli.main([*arguments, "--drop-invalid"]) == 1
  assert "Dropped 2 of 400 rows" in capsys.readouterr().err
  np.testing.assert_array_equal(given["redshifts"], np.delete(redshift, [7, 9]))
  np.testing.assert_array_equal(given["counts"], np.delete(np.arange(400) % 2, [7, 9]))
  assert given["column redshift"] == "z" and given["drop_invalid"] is True
  assert given["reduced"] is False
  gaussian = ["--drop-invalid", "--prior", "gaussian", "--reduced-shear"]
  assert cli.main([*arguments, *gaussian]) == 1
  assert "--redshift is for a trained prior" in capsys.readouterr().err
  assert given["redshifts"] is None and "column redshift" not in given
  assert given["reduced"] is True


@pytest.mark.parametrize("name", ["field.fits.gz", "field.fit.fz", "field.FTS"])
def test_other_kinds_of_fits_are_no_output(tmp_path, capsys, name):
  assert cli.main(["demo", "-o", str(tmp_path / name)]) == 1
  assert f"Give -o {tmp_path / 'field.fits'}" in capsys.readouterr().err


def test_the_folder_of_a_prior_is_no_prior(tmp_path, capsys):
  (tmp_path / "prior.json").touch()
  arguments = ["demo", "-o", str(tmp_path / "x"), "--prior", str(tmp_path)]
  assert cli.main(arguments) == 1
  assert f"Give --prior {tmp_path / 'prior'}" in capsys.readouterr().err


@pytest.mark.parametrize(
  "options",
  [["--seed", "-1"], ["--seed", str(2**40)], ["--num-samples", "0"], ["--size", "abc"]],
)
def test_bad_numbers_name_their_option(capsys, options):
  with pytest.raises(SystemExit):
    cli.main(["demo", *options])
  assert f"argument {options[0]}: must be a" in capsys.readouterr().err


def test_names_beyond_ascii_and_mathematics(tmp_path, catalogue):
  odd = catalogue.with_name("donn\u00e9es $b_$^.fits")
  catalogue.rename(odd)
  assert (
    cli.main(
      [
        "reconstruct",
        str(odd),
        "-o",
        str(tmp_path / "out"),
        "--size",
        "24",
        "--pixel-scale",
        "3",
        "--num-samples",
        "1",
        "--quiet",
      ]
    )
    == 0
  )
  settings = _header_settings(tmp_path / "out" / "posterior.fits")
  assert settings["data"] == r"donn\xe9es $b_$^.fits"


def test_lack_of_memory_is_one_line(tmp_path, capsys, monkeypatch):
  def fail(*_, **__):
    raise MemoryError("Unable to allocate")

  monkeypatch.setattr(guided, "sample", fail)
  assert cli.main(["demo", "-o", str(tmp_path / "x"), "--size", "24", "--quiet"]) == 1
  assert "smaller --batch-size" in capsys.readouterr().err


def test_missing_catalogue(tmp_path, capsys):
  assert cli.main(["reconstruct", str(tmp_path / "no.fits"), "-o", "x"]) == 1
  assert "No catalogue at" in capsys.readouterr().err


def test_interruption_leaves_samples_and_nothing_half_written(
  tmp_path, capsys, monkeypatch
):
  def interrupt(*_, **__):
    raise KeyboardInterrupt

  arguments = [
    "demo",
    "-o",
    str(tmp_path / "demo"),
    "--size",
    "24",
    "--num-samples",
    "1",
    "--quiet",
  ]
  with monkeypatch.context() as patch:
    patch.setattr(fits.HDUList, "writeto", interrupt)
    status = cli.main(arguments)
  assert status == 130 and "interrupted" in capsys.readouterr().err
  assert [p.name for p in (tmp_path / "demo").iterdir()] == ["samples.fits"]
  # Again: the samples are there, and only the rest is done.
  monkeypatch.setattr(guided, "draw", interrupt)
  assert cli.main(arguments) == 0
  assert len(list((tmp_path / "demo").iterdir())) == 3


def test_termination_by_a_batch_system_cleans_up(tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(
    guided, "sample", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM)
  )
  before = signal.getsignal(signal.SIGTERM)
  try:
    assert cli.main(["demo", "-o", str(tmp_path / "x"), "--size", "24"]) == 130
  finally:
    signal.signal(signal.SIGTERM, before)
  assert "interrupted" in capsys.readouterr().err


def test_importing_the_commands_loads_nothing_heavy():
  code = "import sys, tfp_massmap.cli; print('tensorflow' in sys.modules)"
  result = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert result.stdout.strip() == "False"


def test_figures_have_one_panel_a_map_and_mark_the_right_place():
  grid = geometry.PixelGrid.tangent((150.0, 2.0), (30, 40), pixel_scale=1 * u.arcmin)
  kappa = np.random.default_rng(0).standard_normal(grid.shape)
  mask = np.zeros(grid.shape, bool)
  mask[5:25, 5:35] = True
  maps = {"A": kappa, "B": kappa, "Standard deviation": np.abs(kappa)}
  figure, axes = plot.plot_maps(maps, grid, mask=mask, markers=([150.0], [2.0]))
  assert len(axes) == 3
  figure.canvas.draw()
  left, right = axes[0].get_xlim()
  assert left > right  # east to the left
  limits = [axis.images[0].get_clim() for axis in axes]
  assert limits[0] == limits[1] != limits[2]
  flat = geometry.PixelGrid((30, 40), 1 * u.arcmin)
  plot.plot_maps(maps, flat, mask=mask)
  with pytest.raises(ValueError, match="no WCS"):
    plot.plot_maps(maps, flat, markers=([1], [1]))


def test_reconstruction_uses_its_seed():
  grid = geometry.PixelGrid((24, 24), 1 * u.arcmin)
  from tfp_massmap import simulate  # pylint: disable=g-import-not-at-top

  spectrum = spectra.PowerSpectrum.fiducial_cosmos()
  shear_map = simulate.mock_observation(
    np.zeros(grid.shape),
    grid,
    survey=simulate.uniform_survey(60 / u.arcmin**2, 0.3),
    seed=0,
  )
  runs = [
    reconstruction.reconstruct(
      shear_map, spectrum, num_samples=2, seed=seed, progress=False
    )
    for seed in (1, 1, 2)
  ]
  samples = [run.sample_set.samples for run in runs]
  np.testing.assert_array_equal(samples[0], samples[1])
  assert (samples[0] != samples[2]).all()
  with pytest.raises(ValueError, match="truth must have shape"):
    reconstruction.reconstruct(
      shear_map, spectrum, num_samples=1, seed=1, truth=np.zeros((3, 3))
    )
  with pytest.raises(ValueError, match="must be positive"):
    reconstruction.reconstruct(shear_map, spectrum, num_samples=0, seed=1)
