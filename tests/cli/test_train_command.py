"""`tfp-massmap train`, from a data set to a prior."""

import json
import re

from astropy import units as u
import numpy as np

from tfp_massmap import cli
from tfp_massmap import geometry
from tfp_massmap import priors
from tfp_massmap.datasets.halo_kappa import halo_kappa_dataset_builder as halo_kappa
from tfp_massmap.nn import architectures

GRID = geometry.PixelGrid((32, 32), 1.16 * u.arcmin)
TINY = architectures.Architecture(channels=(8,), num_blocks=(1,))


def test_maps_are_trained_on_and_the_prior_is_loaded(tmp_path, capsys, monkeypatch):
  """A training on simulated maps, resumed, refused with other settings, and tuned.

  A small network stands for the default one, which only takes longer to be compiled.
  """
  monkeypatch.setitem(architectures.PRESETS, "default", TINY)
  config = halo_kappa.HaloKappaConfig(
    name="tiny", num_maps=(3, 2, 0), shape=(48, 48), pixel_scale_arcmin=1.16
  )
  builder = halo_kappa.Builder(data_dir=str(tmp_path), config=config)
  builder.download_and_prepare()
  arguments = [
    "train",
    "--dataset",
    str(builder.data_dir),
    "-o",
    str(tmp_path / "run"),
    "--crop",
    "32",
    "--batch-size",
    "2",
    "--quiet",
  ]
  assert cli.main([*arguments, "--num-steps", "2"]) == 0
  printed = capsys.readouterr()
  assert "sigma 0.02: mean squared error" in printed.out
  # There are two validation maps, with one crop in each.
  assert re.search(
    r"no linear_response and no error_scale: .* have 2048 pixels .*, and 20000 are"
    r" needed\. .*priors\.measurement\.measure_card\(",
    printed.err,
  )
  prior = priors.HybridPrior.load(tmp_path / "run" / "prior", GRID)
  assert prior.card["training"]["num_steps"] == 2
  assert prior.card["architecture"]["channels"] == list(TINY.channels)
  data = prior.card["training"]["data"]
  assert data["pixel_scale_arcmin"] == 1.16
  assert data["dataset"] == "halo_kappa/tiny/1.0.0"
  assert data["splits"] == dict(train=3, validation=2)
  assert prior.card["training"]["start"] is None
  assert cli.main([*arguments, "--num-steps", "3"]) == 0
  prior = priors.HybridPrior.load(tmp_path / "run" / "prior", GRID)
  assert prior.card["training"]["num_steps"] == 3
  for changes, message in (
    (["--crop", "16", "--num-steps", "3"], "another crop"),
    (["--num-steps", "2"], "has 3 steps, and num_steps is 2"),
    (["--num-steps", "3", "--gaussian-weight", "2"], "gaussian_weight must lie"),
    (["--num-steps", "3", "--dataset", "euclid"], "neither a prepared data set"),
  ):
    assert cli.main([*arguments, *changes]) != 0
    assert message in capsys.readouterr().err
  fine = [*arguments[:4], str(tmp_path / "fine"), *arguments[5:], "--num-steps", "1"]
  fine += ["--start", str(tmp_path / "run" / "prior"), "--learning-rate", "1e-9"]
  assert cli.main(fine) == 0
  tuned = priors.HybridPrior.load(tmp_path / "fine" / "prior", GRID)
  sha256 = prior.card["weights_sha256"]
  assert tuned.card["training"]["start"]["weights_sha256"] == sha256
  settings = json.loads((tmp_path / "fine" / "settings.json").read_text())
  assert settings["start"] == tuned.card["training"]["start"]
  assert settings["data"] == data
  pairs = zip(tuned.residual.network.weights, prior.residual.network.weights)
  assert all(np.allclose(a, b, atol=1e-6) for a, b in pairs)
