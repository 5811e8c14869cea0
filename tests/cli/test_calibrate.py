"""`tfp-massmap calibrate`: mocks of the survey of a catalogue."""

from astropy.io import fits
import pytest

from tfp_massmap import calibration
from tfp_massmap import cli
from tfp_massmap import cosmology_inference
from tfp_massmap import io
from tfp_massmap import priors
from tfp_massmap import spectra


@pytest.mark.usefixtures("without_xla")
def test_a_catalogue_gets_a_verdict(tmp_path, catalogue, capsys):
  out = tmp_path / "out"
  words = ["calibrate", str(catalogue), "-o", str(out), "--pixel-scale", "1.5"]
  words += ["--prior", "gaussian", "--mean-redshift", "1.4", "--window", "32"]
  words += ["--num-truths", "2", "--num-samples", "16", "--quiet"]
  assert cli.main(words) == 0
  printed = capsys.readouterr().out
  assert "Mocks of 32 x 32 pixels, 100% of them measured" in printed
  assert "On 2 mocks of the survey, 16 samples each, the samples are" in printed
  assert "Intervals of 68% cover" in printed and "of the Wiener filter's." in printed
  page = (out / "calibration.md").read_text()
  assert "shapes.fits, 32 x 32 at (" in page and "Omega_m=0.3089" in page
  assert {"tarp.png", "records.npz"} <= {path.name for path in out.iterdir()}
  made = ["reconstruct", str(catalogue), "--pixel-scale", "1.5", "--num-samples", "2"]
  made += ["--prior", "gaussian", "--mean-redshift", "1.4", "--quiet"]
  made += ["--calibration", str(out)]
  assert cli.main([*made, "-o", str(tmp_path / "map.fits")]) == 0, capsys.readouterr()
  header = fits.getheader(tmp_path / "map.fits")
  settings = io.read_settings(header)
  assert settings["calibrated"] in (True, False)
  assert settings["calibration std over error"].startswith("Standard deviations are")
  capsys.readouterr()
  other = [*made, "-o", str(tmp_path / "other.fits"), "--small-scales", "kappatng"]
  assert cli.main(other) == 1
  error = capsys.readouterr().err
  assert "is of another prior" in error and "here it is Gaussian, kappatng" in error
  for less, message in (
    (["--mean-redshift", "1.3"], "another prior"),
    (["--reduced-shear"], "another sampler"),
  ):
    other = [*made, *less, "-o", str(tmp_path / "other.fits")]
    assert cli.main(other) == 1
    assert message in capsys.readouterr().err
  assert cli.main([*made[:-1], str(tmp_path), "-o", str(tmp_path / "o.fits")]) == 1
  assert "holds no finished calibration" in capsys.readouterr().err
  assert cli.main([*words, "--truth-cosmology", "sigma_8=0.7"]) == 1
  assert "another" in capsys.readouterr().err
  assert cli.main([*words, "--reduced-shear"]) == 1
  assert "their shapes are of the shear" in capsys.readouterr().err


@pytest.mark.usefixtures("without_xla")
def test_an_uncertain_cosmology_has_a_prior_for_each_batch(tmp_path, catalogue):
  out = tmp_path / "out"
  words = ["calibrate", str(catalogue), "-o", str(out), "--pixel-scale", "1.5"]
  words += ["--prior", "gaussian", "--mean-redshift", "1.4", "--window", "24"]
  words += ["--num-truths", "2", "--num-samples", "9", "--batch-size", "8", "--quiet"]
  words += ["--shear-errors", "m=0.01+-0.02"]
  assert cli.main([*words, "--cosmology", "sigma_8=0.80+-0.06"]) == 0
  page = (out / "calibration.md").read_text()
  assert "; 3 priors, the first Gaussian" in page
  assert "Omega_m=0.3089, sigma_8=0.8+-0.06; noise" in page  # That of the truths.
  proof = calibration.Proof.read(out)
  assert proof.subject.prior.endswith("over Omega_m=0.3089, sigma_8=0.8+-0.06")
  assert proof.subject.sampler.endswith("over m=0.01+-0.02, noise=1")


@pytest.mark.usefixtures("without_xla")
def test_what_the_data_say_of_the_cosmology_is_proved_too(
  tmp_path, catalogue, monkeypatch, capsys
):
  """Fields of the power of their cosmology stand for simulated maps of the mocks.

  The proof holds for maps of the same inference, and is refused for a map whose
  cosmologies count by their prior alone.
  """

  def truth(grid, sources, cosmology, *, seed):
    spectrum = spectra.PowerSpectrum.theory(sources, cosmology)
    return priors.GaussianPrior.from_spectrum(spectrum, grid).sample(seed=(seed, 1))

  monkeypatch.setattr(cosmology_inference, "_truth", truth)
  out = tmp_path / "out"
  same = [
    "--pixel-scale",
    "1.5",
    "--size",
    "32",
    "--prior",
    "gaussian",
    "--mean-redshift",
    "1.4",
  ]
  same += ["--cosmology", "sigma_8=0.80+-0.06", "--infer-cosmology", "64", "--quiet"]
  words = ["calibrate", str(catalogue), "-o", str(out), *same, "--window", "24"]
  words += ["--num-truths", "2", "--num-samples", "9", "--batch-size", "3"]
  assert cli.main(words) == 0
  name = "Omega_m=0.3089, sigma_8=0.8+-0.06, inferred with 64 mocks"
  assert calibration.Proof.read(out).subject.prior.endswith(f"over {name}")
  assert "others for each mock of Gaussian" in (out / "calibration.md").read_text()
  made = ["reconstruct", str(catalogue), "--num-samples", "2", *same]
  made += ["--calibration", str(out), "-o", str(tmp_path / "map.fits")]
  assert cli.main(made) == 0, capsys.readouterr()
  settings = io.read_settings(fits.getheader(tmp_path / "map.fits"))
  assert settings["calibrated"] in (True, False)
  assert "by the data" in settings["prior"]
  alone = [w for w in made if w not in ("--infer-cosmology", "64")]
  assert cli.main([*alone, "--overwrite"]) == 1
  assert "The calibration is of another prior" in capsys.readouterr().err
