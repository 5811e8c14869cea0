"""The n(z) and the cosmology of `reconstruct --prior gaussian`."""

from astropy.table import Table
import numpy as np
import pytest

from tfp_massmap import cli
from tfp_massmap import cosmology_inference
from tfp_massmap import reconstruction
from tfp_massmap import shear_errors as shear_errors_lib
from tfp_massmap import spectra
from tfp_massmap import theory

ELL = np.array([200.0, 2000.0])


@pytest.fixture(name="galaxies")
def _galaxies(tmp_path):
  """The name of a table of 400 galaxies at redshift 0.6."""
  rng = np.random.default_rng(0)
  ra, dec = rng.uniform([[150], [2]], [[150.2], [2.2]], (2, 400))
  e1, e2 = rng.normal(0, 0.3, (2, 400)).clip(-0.6, 0.6)
  path = tmp_path / "galaxies.ecsv"
  Table(dict(ra=ra, dec=dec, e1=e1, e2=e2, z=np.full(400, 0.6))).write(path)
  return path


@pytest.fixture(name="run")
def _run(galaxies, monkeypatch):
  """A function of options that returns the prior and the n(z) of `reconstruct`."""
  given = {}

  def stop(shear_map, prior, *, sources, cosmology, shear_errors, **arguments):
    del shear_map, arguments
    if not isinstance(prior, (str, spectra.PowerSpectrum)):
      central = theory.CosmologyPrior() if cosmology is None else cosmology
      prior = prior(central.mean)
    given.update(prior=prior, sources=sources, cosmology=cosmology)
    given.update(shear_errors=shear_errors)
    raise ValueError("stopped")

  monkeypatch.setattr(reconstruction, "reconstruct", stop)

  def run(*options):
    given.clear()
    words = ["reconstruct", str(galaxies), "-o", str(galaxies.parent / "out"), *options]
    assert cli.main(words) == 1
    return given.get("prior"), given.get("sources")

  def cosmology_of(*options):
    run(*options)
    return given["cosmology"]

  run.cosmology_of, run.given = cosmology_of, given
  return run


def _same_power(found, *, sources, cosmology=theory.KAPPATNG, **options):
  expected = spectra.PowerSpectrum.theory(sources, cosmology, **options)
  np.testing.assert_allclose(found(ELL), expected(ELL), rtol=1e-12)


def test_redshifts_of_galaxies_give_the_spectrum(run):
  prior, sources = run("--prior", "gaussian", "--redshift", "z")
  assert sources.mean == pytest.approx(0.6)
  _same_power(prior, sources=np.full(400, 0.6))
  assert "n(z) of the catalogue" in prior.name


def test_tables_means_and_cosmologies_give_the_spectrum(run, tmp_path):
  redshift = np.arange(0.05, 3, 0.05)
  path = tmp_path / "nz.csv"
  Table(dict(z=redshift, nz=redshift * np.exp(-3 * redshift))).write(path)
  prior, sources = run("--prior", "gaussian", "--nz", str(path))
  assert sources.name == "n(z) of nz.csv"
  _same_power(prior, sources=theory.SourceRedshifts.read(path))
  words = ["--cosmology", "sigma_8=0.7,Omega_m=0.25", "--small-scales", "kappatng"]
  prior, sources = run("--prior", "gaussian", "--mean-redshift", "0.9", *words)
  assert sources.mean == pytest.approx(0.9, rel=1e-3)
  _same_power(
    prior,
    sources=sources,
    cosmology=theory.Cosmology(0.25, 0.7),
    small_scales="kappatng",
  )
  assert "Omega_m=0.25, sigma_8=0.7" in prior.name


def test_a_survey_may_be_named(run, capsys):
  _, sources = run("--prior", "gaussian", "--nz", "euclid")
  assert sources.name == "n(z) of EUCLID"
  assert run("--prior", "gaussian", "--nz", "euklid") == (None, None)
  error = capsys.readouterr().err
  assert "no file euklid with an n(z), and no survey" in error and "lsst-y10" in error


def test_errors_of_the_cosmology_reach_the_samples(run):
  words = ["--cosmology", "sigma_8=0.80+-0.03", "--mean-redshift", "0.9"]
  found = run.cosmology_of("--prior", "gaussian", *words)
  assert found == theory.CosmologyPrior(theory.Cosmology(sigma_8=0.8), sigma_8_std=0.03)
  assert run.cosmology_of("--prior", "gaussian", "--mean-redshift", "0.9") is None


def test_errors_of_the_shear_reach_the_samples(run, capsys):
  words = ["--prior", "gaussian", "--mean-redshift", "0.9"]
  run(*words, "--shear-errors", "m=0.01+-0.005")
  expected = shear_errors_lib.ShearErrors(bias=0.01, bias_std=0.005)
  assert run.given["shear_errors"] == expected
  run(*words)
  assert run.given["shear_errors"] is None
  assert run(*words, "--shear-errors", "m") == (None, None)
  assert "have the form m=0.010+-0.005" in capsys.readouterr().err


def test_the_data_may_say_what_the_cosmology_is(run, monkeypatch, capsys):
  """The samples get the cosmology that is inferred from the mocks and the data."""
  given = {}

  def of_survey(survey, sources, **arguments):
    given.update(arguments, survey=survey)
    return lambda shear_map: shear_map is survey and inferred

  inferred = theory.CosmologyPrior(sigma_8_std=0.01)
  monkeypatch.setattr(cosmology_inference.Inference, "of_survey", of_survey)
  words = ["--prior", "gaussian", "--infer-cosmology", "70"]
  known = ["--mean-redshift", "0.9", "--cosmology", "sigma_8=0.80+-0.10"]
  assert run.cosmology_of(*words, *known) is inferred
  assert given["num_mocks"] == 70 and given["folder"].name == "posterior_mocks"
  assert str(given["cosmologies"]) == "Omega_m=0.3089, sigma_8=0.8+-0.1"
  assert "Cosmology within Omega_m=0.3089" in capsys.readouterr().out
  # A known bias of the shear is corrected before the cosmology is inferred.
  plain = given["survey"].shear
  assert run.cosmology_of(*words, *known, "--shear-errors", "m=0.5") is inferred
  np.testing.assert_allclose(1.5 * given["survey"].shear, plain)
  for less, message in (
    (known[:2], "give --cosmology with errors"),
    (known[2:], "needs the n(z) of the galaxies"),
  ):
    assert run(*words, *less) == (None, None)
    assert message in capsys.readouterr().err


def test_without_redshifts_those_of_cosmos_are_taken_with_a_warning(run, capsys):
  prior, sources = run("--prior", "gaussian")
  error = capsys.readouterr().err
  assert "the n(z) of COSMOS, of mean redshift 1.4" in error and "--nz TABLE" in error
  assert sources is None
  _same_power(prior, sources=theory.SourceRedshifts.of_survey("cosmos"))


def test_trained_priors_get_the_redshifts_too(run):
  prior, sources = run("--mean-redshift", "0.5")
  assert prior == "universal" and sources.mean == pytest.approx(0.5, rel=2e-3)


def test_trained_priors_are_not_trusted_blindly(run, capsys):
  """Without redshifts a warning says what cannot be checked; with them there is none."""
  run("--prior", "cosmos-halo")
  error = capsys.readouterr().err
  assert "whether the prior cosmos-halo was trained for them cannot be checked" in error
  run("--prior", "cosmos-halo", "--mean-redshift", "1.4")
  assert "cannot be checked" not in capsys.readouterr().err


def test_the_default_prior_takes_the_redshifts_of_cosmos_with_a_warning(run, capsys):
  prior, sources = run()
  assert prior == "universal" and sources.name == "n(z) of COSMOS"
  assert "the n(z) of COSMOS, of mean redshift 1.4" in capsys.readouterr().err
  run("--cosmology", "sigma_8=0.8+-0.03")  # It takes a cosmology.
  assert "has its own" not in capsys.readouterr().err


def test_a_table_of_power_needs_no_redshifts(run, tmp_path, capsys):
  path = tmp_path / "power.csv"
  Table(dict(ell=[10.0, 1e5], c_ell=[1e-8, 1e-14])).write(path)
  prior, sources = run("--spectrum", str(path), "--redshift", "z")
  assert prior.name == "table power.csv" and sources is None
  assert "--redshift is ignored" in capsys.readouterr().err


@pytest.mark.parametrize(
  "options, message",
  [
    (["--nz", "a.csv", "--mean-redshift", "1"], "--nz and --mean-redshift both say"),
    (
      ["--redshift", "z", "--mean-redshift", "1"],
      "--redshift and --mean-redshift both",
    ),
    (
      ["--prior", "cosmos-halo", "--cosmology", "sigma_8=0.8"],
      "cosmos-halo has its own cosmology",
    ),
    (["--small-scales", "halofit"], "--small-scales is for --prior gaussian"),
    (["--spectrum", "a.csv", "--cosmology", "sigma_8=1"], "and --spectrum is one"),
    (["--prior", "gaussian", "--cosmology", "h=1"], "'h=1' is not one of the two"),
    (["--prior", "gaussian", "--cosmology", "sigma_8=2"], "from 0.5 to 1.1; got 2"),
    (["--prior", "gaussian", "--mean-redshift", "9"], "must be in (0, 4.5]; got 9"),
    (["--nz", "absent.csv"], "absent.csv"),
  ],
)
def test_contradictions_and_bad_values_end_in_one_line(run, capsys, options, message):
  assert run(*options) == (None, None)
  error = capsys.readouterr().err.splitlines()[-1]
  assert error.startswith("tfp-massmap: ") and message in error
