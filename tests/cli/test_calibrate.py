"""`tfp-massmap calibrate`: mocks of the survey of a catalogue."""

from tfp_massmap import cli


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
  assert cli.main([*words, "--truth-cosmology", "sigma_8=0.7"]) == 1
  assert "another" in capsys.readouterr().err
  assert cli.main([*words, "--reduced-shear"]) == 1
  assert "their shapes are of the shear" in capsys.readouterr().err
