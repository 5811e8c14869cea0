"""Every example runs in its short form, and prints and writes what it should.

The scripts run in this process, as `__main__`, because importing TensorFlow for each
takes longer than most of the examples themselves.
"""

import ast
import pathlib
import re
import runpy
import sys

from astropy.io import fits
from astropy.table import Table
from matplotlib import pyplot as plt
import numpy as np
import pytest

from tfp_massmap import simulate

# TFP says so of kernels of which it cannot know that a Metropolis test is inside.
UNCALIBRATED = pytest.mark.filterwarnings(
  "ignore:supplied `TransitionKernel` is not calibrated:UserWarning"
)
EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture(scope="module", autouse=True)
def _each_map_is_simulated_once():
  """Several examples look at the same simulated map, which takes seconds to make."""
  make, made = simulate.ConvergenceSimulator.map, {}

  def map_once(self, index):
    sources = (self.sources.redshift.tobytes(), self.sources.weight.tobytes())
    key = (
      repr(self.grid),
      self.mode,
      self.recipe,
      self._shape,
      sources,
      self.cosmology,
      self.seed,
      index,
    )
    if key not in made:
      made[key] = make(self, index)
    return made[key].copy()

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(simulate.ConvergenceSimulator, "map", map_once)
    yield


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
  """Returns a function of a script and its arguments to what it prints.

  The script runs in the folder `tmp_path`.
  """

  def run_script(script, *arguments):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(EXAMPLES / script), *arguments])
    monkeypatch.syspath_prepend((EXAMPLES / script).parent)
    capsys.readouterr()
    try:
      runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
      if end.code:
        raise
    return capsys.readouterr().out

  plt.switch_backend("Agg")
  yield run_script
  plt.close("all")


def test_reconstruct_cosmos(run, tmp_path, cosmos_data):
  output = run(
    "01_reconstruct_cosmos.py",
    "--data",
    str(cosmos_data),
    "--num-samples",
    "2",
  )
  assert "417117 galaxies" in output and "consistent" in output
  assert (tmp_path / "cosmos" / "posterior.fits").stat().st_size > 5e5
  assert (tmp_path / "cosmos" / "posterior.png").stat().st_size > 1e5


@UNCALIBRATED
def test_two_moons(run, tmp_path):
  output = run("02_score_hmc.py")
  found = re.search(r"rms distance to the arcs (\S+) .* upper moon (\S+)", output)
  # The arcs are Gaussian clouds with a standard deviation of 0.08 across the arc, a
  # little more at the ends.
  assert 0.07 < float(found[1]) < 0.1
  assert abs(float(found[2]) - 0.5) < 5 * 0.016
  assert (tmp_path / "two_moons_score.png").stat().st_size > 3e4
  assert (tmp_path / "two_moons_annealing.png").stat().st_size > 1e5
  with pytest.raises(FileExistsError, match="--overwrite"):
    run("02_score_hmc.py")


@UNCALIBRATED
def test_composition_with_tfp(run, tmp_path):
  output = run("03_compose_with_tfp.py")
  rows = re.findall(
    r"mean +(\S+) \(exact +(\S+)\) +std +(\S+) \(exact +(\S+)\)", output
  )
  assert len(rows) == 4
  for mean, exact_mean, std, exact_std in np.array(rows, float):
    # The mean of the two wells has the largest error: 2 / sqrt(50 x 10), as 50 chains
    # cross between the wells about 10 times each.
    assert abs(mean - exact_mean) < 0.35
    assert abs(std / exact_std - 1) < 0.06


def test_simulated_convergence(run, tmp_path):
  output = run("04_simulate_convergence.py")
  found = re.search(r"deviation (\S+), skewness (\S+),", output)
  assert 0.016 < float(found[1]) < 0.021 and 2 < float(found[2]) < 3
  with fits.open(tmp_path / "simulated_convergence.fits") as hdus:
    assert hdus[0].data.shape == (1024, 1024)
    assert hdus[0].header["MASSMAP seed"] == 0
  assert (tmp_path / "simulated_convergence.png").stat().st_size > 1e5


def test_spectral_normalisation(run, tmp_path):
  output = run("05_spectral_normalisation.py")
  rows = re.findall(
    r"error near the roll (\S+); .* score (\S+), .* slope (\S+) \+-", output
  )
  (free_error, _, free_slope), (error, cosine, slope) = np.array(rows, float)
  assert free_error < 0.2 and error < 0.3 and cosine > 0.95
  assert slope < 0.7 * free_slope
  assert (tmp_path / "spectral_normalisation.png").stat().st_size > 5e4


def test_samples_of_the_prior(run, tmp_path):
  output = run("06_sample_the_prior.py")
  (simulated, _), (std, skewness) = re.findall(
    r"deviation (\S+), skewness (\S+),", output
  )
  assert abs(float(std) / float(simulated) - 1) < 0.2 and float(skewness) > 1
  assert (tmp_path / "prior_samples.png").stat().st_size > 1e5


def test_detection_of_clusters(run, tmp_path):
  output = run("09_detect_clusters.py")
  rates = np.array(re.findall(r"detected in (\S+)", output), float)
  # There are twelve samples of each of two fields. A place without a cluster exceeds 3
  # standard deviations in one of 50 samples at most (1 of 240 in six fields), so in more
  # than four of 24 samples once in 10,000 runs. The heaviest cluster has 7 standard
  # deviations, and is missed as rarely. Noise and seed are the same for all masses, so
  # rates rise with mass, except for two samples at most.
  assert len(rates) == 5 and rates[0] < 4.5 / 24 and rates[-1] > 19.5 / 24
  assert np.all(np.diff(rates) > -2.5 / 24)
  table = Table.read(tmp_path / "cluster_detections.ecsv", format="ascii.ecsv")
  shares = np.array(table["detected"] / table["num_samples"]).reshape([5, 2])
  np.testing.assert_allclose(shares.mean(axis=1), rates, atol=1e-3)
  assert table.meta["SETTINGS"]["threshold"] == 3
  for name in ("histograms", "detection_rate", "cutouts"):
    assert (tmp_path / f"cluster_{name}.png").stat().st_size > 1e4


def test_reliability_of_detections(run, tmp_path):
  output = run("10_detection_reliability.py")
  z = np.array(re.findall(r"z = (\S+),", output), float)
  assert len(z) == 3 and abs(z[0]) < 4
  assert (tmp_path / "detection_reliability.png").stat().st_size > 1e4


def test_structures_of_cosmos(run, tmp_path, cosmos_data):
  """Samples are draws of noise, so that no structure has a high probability."""
  samples = 0.02 * np.random.default_rng(0).standard_normal([12, 360, 360])
  fits.writeto(tmp_path / "samples.fits", samples.astype(np.float32))
  output = run(
    "11_cosmos_structures.py", "--data", str(cosmos_data), "--samples", "samples.fits"
  )
  assert "0 of 0.5 and more" in output
  p_values = re.findall(r"64, by chance .* p = (\S+)", output)
  assert len(p_values) == 6 and min(map(float, p_values)) > 1e-3
  assert (tmp_path / "cosmos_structures.png").stat().st_size > 1e5


def test_hybrid_denoiser(run, tmp_path):
  output = run("figures/hybrid_denoiser.py")
  ratios = np.array(re.findall(r"ratio of the squares (\S+)", output), float)
  # The network must lower the error of the Gaussian component, by 3 % at least.
  assert len(ratios) == 2 and np.all(ratios < 0.97)
  assert (tmp_path / "hybrid_denoiser.png").stat().st_size > 1e4


def test_make_all_figures(run, tmp_path):
  """A script of its own process makes a figure once, and again with other options."""
  name = "signal_to_noise"
  arguments = ("figures/make_all.py", "--output", "made", "--only")
  made = tmp_path / "made" / name
  made.mkdir(parents=True)
  (made / "complete").write_text("--full", encoding="utf-8")
  with pytest.raises(SystemExit):
    run(*arguments, name)
  (tmp_path / "data").mkdir()  # Without the COSMOS catalogue, a survey like it is used.
  options = ("--data", "data")
  assert "FAILED" not in run(*arguments, name, "--overwrite", *options)
  assert (made / "complete").read_text(encoding="utf-8") == "--data data"
  assert (made / f"{name}.png").stat().st_size > 1e4
  assert "the ratio is 0.1 at" in (made / "log.txt").read_text(encoding="utf-8")
  assert run(*arguments, name, *options).count("there already") == 1
  assert "left out: needs --data" in run(*arguments, "01_reconstruct_cosmos")


def test_three_ways_to_the_gaussian_mean(run, tmp_path):
  output = run("figures/gaussian_validation.py", "--num-samples", "8")
  maximum, mean = re.search(
    r"maximum - Wiener: (\S+) .* mean - Wiener: (\S+) ", output
  ).groups()
  assert float(maximum) < 1e-2
  # The unit is the Monte-Carlo error, over 130,000 correlated pixels.
  assert abs(float(mean) - 1) < 0.15
  assert (tmp_path / "gaussian_validation.png").stat().st_size > 1e5


def test_posterior_samples_of_a_mock(run, tmp_path):
  output = run("figures/posterior_samples.py", "--num-samples", "2")
  scores = dict(re.findall(r"^(.*): RMSE .* correlation (\S+) in", output, re.M))
  assert set(scores) == {"posterior mean", "DeepMass"}
  assert float(scores["DeepMass"]) > float(scores["posterior mean"]) > 0.3
  ratios = re.search(r"20,000: (\S+) to (\S+)", output).groups()
  assert 0.6 < float(ratios[0]) < float(ratios[1]) < 1.7
  for name in ("posterior_samples", "posterior_power"):
    assert (tmp_path / f"{name}.png").stat().st_size > 3e4


def test_power_of_cosmos(run, tmp_path, cosmos_data):
  """Samples are white noise, with far more power than maps at high multipoles."""
  samples = 0.2 * np.random.default_rng(0).standard_normal([3, 360, 360])
  fits.writeto(tmp_path / "samples.fits", samples.astype(np.float32))
  output = run(
    "figures/cosmos_power.py",
    "--data",
    str(cosmos_data),
    "--samples",
    "samples.fits",
    "--num-samples",
    "2",
  )
  rows = re.findall(r"over simulated maps \[([^]]*)\]", output)
  last = [float(row.split()[-1]) for row in rows]
  assert last[0] == 1 and 0.5 < last[1] < 2 and last[2] > 5
  assert (tmp_path / "cosmos_power.png").stat().st_size > 3e4


def test_comparison_of_methods(run, tmp_path):
  output = run("07_compare_methods.py", "--num-samples", "4")
  rows = re.findall(r"^ +([A-Z].*?) +(\d\.\d+) +(\.\d+|\d\.\d+)   ", output, re.M)
  rmse = {name: float(value) for name, value, _ in rows}
  assert {"Wiener", "GLIMPSE", "MCALens", "Posterior mean"} < set(rmse)
  # Two fields of 180 x 180 pixels show the large differences alone.
  for name in ("Wiener", "MCALens", "Posterior mean"):
    assert rmse[name] < rmse["KS 1 arcmin"], rmse
  pairs = re.findall(
    r"^ +(?:Wiener|Posterior mean) .*   (\S+) \+- (\S+), ", output, re.M
  )
  # The first table subtracts the Wiener filter, the second the posterior mean: both hold
  # the same pair with opposite signs.
  (_, (difference, error), (opposite, again), _) = np.array(pairs, float)
  assert difference == -opposite != 0 and error == again > 0
  with fits.open(tmp_path / "compare_methods.fits") as hdus:
    assert {"WIENER", "MCALENS", "POSTERIOR STD"} < {hdu.name for hdu in hdus}
    assert all(hdu.data.shape == (180, 180) for hdu in hdus)
  assert (tmp_path / "compare_methods_maps.png").stat().st_size > 1e5
  assert (tmp_path / "compare_methods_scales.png").stat().st_size > 3e4


def test_calibration(run, tmp_path):
  runs = ("gaussian, exact", "gaussian, wiener intervals")
  run("08_calibrate_posterior.py", *runs)
  folder = tmp_path / "calibration"
  text = (folder / "calibration.md").read_text(encoding="utf-8")
  assert "| gaussian, exact | 4 x 16 |" in text and "chi-square" in text
  assert (folder / "classes.png").stat().st_size > 2e4
  with pytest.raises(SystemExit) as refused:
    run("08_calibrate_posterior.py", "gaussian, nothing")
  assert "gaussian, exact" in str(refused.value)
  assert "gaussian, annealed" not in str(refused.value)


@pytest.mark.parametrize(
  "script", sorted(EXAMPLES.glob("[0-9]*.py")), ids=lambda path: path.stem
)
def test_examples_are_short_and_have_a_title(script):
  """Counts statements, because a limit of lines would reward dense code."""
  text = script.read_text(encoding="utf-8")
  assert text.startswith("# %% [markdown]\n# # ")
  nodes = ast.walk(ast.parse(text))
  assert sum(isinstance(node, ast.stmt) for node in nodes) <= 120
