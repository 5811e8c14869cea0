"""Names of products, choice of the prior, and interruptions of a run."""

from astropy.io import fits
from astropy.table import Table
import pytest

from tfp_massmap import cli
from tfp_massmap import spectra
from tfp_massmap.cli import sampling
from tfp_massmap.samplers import guided


def test_products_lie_in_a_folder_or_beside_a_file(tmp_path):
  in_folder = sampling.product_paths(tmp_path / "new", overwrite=False)
  beside = sampling.product_paths(tmp_path / "field.fits", overwrite=False)
  names = [[p.name for p in (x.fits, x.figure, x.samples)] for x in (in_folder, beside)]
  assert names == [
    ["posterior.fits", "posterior.png", "samples.fits"],
    ["field.fits", "field.png", "field_samples.fits"],
  ]
  assert in_folder.samples.parent == tmp_path / "new" and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["field.fits.gz", "field.fit.fz", "field.FTS"])
def test_other_kinds_of_fits_are_no_output(tmp_path, capsys, name):
  assert cli.main(["demo", "-o", str(tmp_path / name)]) == 1
  assert f"Give -o {tmp_path / 'field.fits'}" in capsys.readouterr().err


def test_priors_are_names_or_spectra(tmp_path):
  assert sampling.choose_prior(None) == "universal"
  assert sampling.choose_prior("somewhere/prior") == "somewhere/prior"
  assert sampling.choose_prior("gaussian") == "gaussian"
  table = tmp_path / "power.csv"
  Table(dict(ell=[10.0, 1e5], c_ell=[1e-8, 1e-14])).write(table)
  found = sampling.choose_prior("gaussian", str(table))
  assert isinstance(found, spectra.PowerSpectrum)
  (tmp_path / "prior.json").touch()
  with pytest.raises(ValueError, match=f"Give --prior {tmp_path / 'prior'}"):
    sampling.choose_prior(str(tmp_path))


@pytest.mark.usefixtures("without_xla")
def test_interruption_leaves_samples_and_nothing_half_written(
  tmp_path, capsys, monkeypatch
):
  def interrupt(*_, **__):
    raise KeyboardInterrupt

  arguments = ["demo", "-o", str(tmp_path / "demo"), "--size", "24", "--quiet"]
  arguments += ["--num-samples", "1", "--prior", "gaussian"]
  with monkeypatch.context() as patch:
    patch.setattr(fits.HDUList, "writeto", interrupt)
    status = cli.main(arguments)
  assert status == 130 and "interrupted" in capsys.readouterr().err
  assert [p.name for p in (tmp_path / "demo").iterdir()] == ["samples.fits"]
  # The same command finds the samples, and does only the rest.
  monkeypatch.setattr(guided, "draw", interrupt)
  assert cli.main(arguments) == 0
  assert len(list((tmp_path / "demo").iterdir())) == 3
