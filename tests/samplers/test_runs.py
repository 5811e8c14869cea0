"""Runs in batches: resumed bit for bit, never mixed, whole or absent."""

import types

from astropy import units as u
from astropy.io import fits
import numpy as np
import pytest

from tfp_massmap import geometry
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import samplers
from tfp_massmap import summary
from tfp_massmap.nn import architectures
from tfp_massmap.priors import residual
from tfp_massmap.samplers import runs

GRID = geometry.PixelGrid.tangent((30.0, 10.0), (6, 5), pixel_scale=1 * u.arcmin)
RECORD = dict(method="test", tolerance=0.1)


# Runs too short to be good; each of several is compiled, and that takes longest.
_SHORT_START = samplers.GuidedSettings(sweeps=(0.9,), sweep_steps=4)
_SHORT = {
  "guided": _SHORT_START,
  "guided+hmc": samplers.GuidedHmcSettings(
    _SHORT_START, num_steps=4, num_leapfrog_steps=2, num_flow_steps=3
  ),
  "annealed": samplers.AnnealedSettings(
    cooling=0.3, min_steps=1, final_steps=1, step_size=0.2, num_leapfrog_steps=2
  ),
}


class _Killed(Exception):
  pass


def _draw(kill_at=None, calls=None):
  """Batches of seeded noise; stops at batch `kill_at`."""

  def draw(seed, bar):
    if calls is not None:
      calls.append(seed)
    if seed[1] == kill_at:
      raise _Killed
    bar.update()
    samples = np.random.default_rng(seed).standard_normal([4, *GRID.shape])
    return samples.astype(np.float32), {"steps": 10.0 + seed[1]}

  return draw


def _run(
  output, kill_at=None, calls=None, num_samples=10, record=None, overwrite=False
):
  posterior = types.SimpleNamespace(
    shape=GRID.shape, likelihood=types.SimpleNamespace(grid=GRID)
  )
  return runs.run(
    _draw(kill_at, calls),
    num_samples,
    seed=3,
    posterior=posterior,
    record=record or RECORD,
    options=samplers.RunOptions(
      batch_size=4, output=output, overwrite=overwrite, progress=False
    ),
  )


def test_a_killed_run_goes_on_to_the_same_samples(tmp_path):
  whole = _run(None)
  assert whole.samples.shape == (10, *GRID.shape) and whole.path is None
  np.testing.assert_array_equal(whole.diagnostics["steps"], [10, 11, 12])
  path = tmp_path / "samples.fits"
  with pytest.raises(_Killed):
    _run(path, kill_at=2)
  assert not path.exists()
  calls = []
  resumed = _run(path, calls=calls)
  assert calls == [(3, 2)]
  np.testing.assert_array_equal(resumed.samples, whole.samples)
  np.testing.assert_array_equal(resumed.diagnostics["steps"], [10, 11, 12])
  assert resumed.seconds > 0 and resumed.path == path
  assert [p.name for p in tmp_path.iterdir()] == ["samples.fits"]
  with fits.open(path, checksum=True) as hdus:
    np.testing.assert_array_equal(hdus[0].data, whole.samples)
    assert hdus[0].header["CTYPE1"] == "RA---TAN"
    assert hdus[0].header["MASSMAP num_samples"] == 10
    np.testing.assert_array_equal(hdus["BATCHES"].data["steps"], [10, 11, 12])


def test_a_finished_run_is_read_and_that_of_others_kept(tmp_path):
  path = tmp_path / "samples.fits"
  whole = _run(path)
  before = path.read_bytes()
  calls = []
  again = _run(path, calls=calls)
  assert not calls and again.diagnostics["steps"].sum() == 33
  np.testing.assert_array_equal(again.samples, whole.samples)
  with pytest.raises(FileExistsError, match="overwrite=True"):
    _run(path, record=dict(RECORD, tolerance=0.2))
  assert path.read_bytes() == before
  _run(path, record=dict(RECORD, tolerance=0.2), overwrite=True)
  assert path.read_bytes() != before
  other = tmp_path / "other.fits"
  fits.writeto(other, np.zeros([2, 2]))
  with pytest.raises(FileExistsError):
    _run(other)


def test_an_unfinished_run_gives_way_if_it_is_empty_or_to_overwrite(tmp_path):
  path = tmp_path / "samples.fits"
  other = dict(RECORD, tolerance=0.2)
  for kill_at, options in ((0, {}), (2, dict(overwrite=True))):
    with pytest.raises(_Killed):
      _run(path, kill_at=kill_at)
    calls = []
    _run(path, calls=calls, record=other, **options)
    assert calls == [(3, 0), (3, 1), (3, 2)]
    assert fits.getheader(path)["MASSMAP tolerance"] == 0.2
    assert [p.name for p in tmp_path.iterdir()] == ["samples.fits"]
    path.unlink()


def test_an_unfinished_run_of_other_settings_is_not_mixed(tmp_path):
  path = tmp_path / "samples.fits"
  with pytest.raises(_Killed):
    _run(path, kill_at=1)
  with pytest.raises(ValueError, match="another num_samples and tolerance"):
    _run(path, num_samples=12, record=dict(RECORD, tolerance=0.2))
  with pytest.raises(ValueError, match=r"posterior \(data, noise, pixels or prior\)"):
    _run(path, record=dict(RECORD, posterior="b"))
  (tmp_path / "samples.fits.part").unlink()
  with pytest.raises(ValueError, match=r"are gone\. Remove it"):
    _run(path)


@pytest.mark.parametrize("tolerance", [0.1, 0.2])
def test_a_log_that_outlived_its_run_is_no_unfinished_run(tolerance, tmp_path):
  """A kill after the last batch, before the log is removed; the same run, and another."""
  path, log = (tmp_path / name for name in ("samples.fits", "samples.fits.part.json"))
  with pytest.raises(_Killed):
    _run(path, kill_at=2)
  left = log.read_bytes()
  whole = _run(path)
  log.write_bytes(left)
  calls = []
  record = dict(RECORD, tolerance=tolerance)
  again = _run(path, calls=calls, record=record, overwrite=True)
  assert len(calls) == (0 if tolerance == 0.1 else 3)
  np.testing.assert_array_equal(again.samples, whole.samples)
  assert [p.name for p in tmp_path.iterdir()] == ["samples.fits"]


def test_reading_a_run_keeps_the_log_of_an_unfinished_one(tmp_path):
  path = tmp_path / "samples.fits"
  _run(path)
  other = dict(record=dict(RECORD, tolerance=0.2), overwrite=True)
  with pytest.raises(_Killed):
    _run(path, kill_at=1, **other)
  _run(path)
  calls = []
  _run(path, calls=calls, **other)
  assert calls == [(3, 1), (3, 2)]


def test_impossible_numbers_and_samples_are_refused(posterior):
  options = samplers.RunOptions(progress=False)
  given = dict(seed=0, posterior=posterior, record=RECORD, options=options)
  with pytest.raises(ValueError, match="num_samples must be positive; got 0"):
    runs.run(_draw(), 0, **given)
  with pytest.raises(ValueError, match="batch_size must be positive; got 0"):
    samplers.RunOptions(batch_size=0)
  nothing = lambda seed, bar: (np.full([4, *GRID.shape], np.nan), {})
  with pytest.raises(FloatingPointError, match="not finite"):
    runs.run(nothing, 4, **given)


@pytest.mark.parametrize("method", sorted(samplers.METHODS))
def test_every_method_takes_a_prior_of_a_user_and_resumes_where_it_stopped(
  method, tmp_path, mixture, monkeypatch
):
  """The exact posterior is tested method by method; here, that the seed decides.

  Each run is compiled anew; samples in memory have the dtype of the prior, float64.
  """
  posterior, _, _ = mixture

  def run(output, seed=1):
    options = samplers.RunOptions(
      batch_size=2, output=output, jit_compile=False, progress=False
    )
    given = dict(method=method, settings=_SHORT[method], options=options)
    return samplers.sample(posterior, 3, seed=seed, **given)

  whole = run(None)
  assert np.isfinite(whole.samples).all()
  add, path = runs._Cube.add, tmp_path / "samples.fits"

  def add_once(self, first, *rest):
    add(self, first, *rest)
    if first == 0:
      raise KeyboardInterrupt

  monkeypatch.setattr(runs._Cube, "add", add_once)
  with pytest.raises(KeyboardInterrupt):
    run(path)
  monkeypatch.undo()
  result = run(path)
  np.testing.assert_array_equal(result.samples, whole.samples.astype(np.float32))
  assert result.diagnostics == whole.diagnostics
  assert result.path == path and whole.path is None
  assert result.num_score_evaluations == whole.num_score_evaluations
  assert np.abs(whole.samples - run(None, seed=2).samples).max() > 0


def test_runs_of_other_data_have_another_fingerprint(fiducial, make_shear_map):
  likelihoods = [
    likelihood_lib.ShearLikelihood(make_shear_map((12, 10), seed=seed))
    for seed in (0, 1)
  ]
  prior = priors.GaussianPrior.from_spectrum(fiducial, likelihoods[0].grid)
  first, second = (
    posterior_lib.Posterior(likelihood, prior) for likelihood in likelihoods
  )
  assert first.fingerprint() != second.fingerprint()


def test_networks_without_a_card_have_fingerprints(fiducial, make_shear_map):
  """A run must not be resumed with a network of which one weight has changed."""
  shear_map = make_shear_map((12, 10))
  gaussian = priors.GaussianPrior.from_spectrum(fiducial, shear_map.grid)
  architecture = architectures.Architecture(channels=(2,), num_blocks=(1,))
  network = architectures.build(architecture)
  scales = residual.Scales.from_spectrum(fiducial, shear_map.grid.pixel_scale)
  denoiser = residual.ResidualDenoiser(network, architecture, scales=scales)

  def fingerprint(**card):
    prior = priors.HybridPrior(gaussian, denoiser, card=card)
    likelihood = likelihood_lib.ShearLikelihood(shear_map)
    return posterior_lib.Posterior(likelihood, prior).fingerprint()

  before, of_card = fingerprint(), fingerprint(card_sha256="abc")
  assert before == fingerprint() != of_card
  *others, bias = network.get_weights()
  network.set_weights([*others, bias + 1e-3])
  assert fingerprint() != before and fingerprint(card_sha256="abc") == of_card


def test_summaries_of_cubes_on_disk(tmp_path):
  """Blocks of rows give the summary of the whole array."""
  samples = _run(tmp_path / "samples.fits", num_samples=40).samples
  whole = np.asarray(samples)
  before, summary._BLOCK_VALUES = summary._BLOCK_VALUES, 2 * 40 * 5
  try:
    result = summary.summarise(samples, quantiles=[0.16, 0.5], thresholds=[0.3])
  finally:
    summary._BLOCK_VALUES = before
  np.testing.assert_allclose(result.mean, whole.mean(axis=0), atol=1e-6)
  np.testing.assert_allclose(result.std, whole.std(axis=0, ddof=1), atol=1e-6)
  np.testing.assert_allclose(result.quantiles[0.5], np.median(whole, axis=0), atol=1e-6)
  np.testing.assert_array_equal(result.probabilities[0.3], (whole > 0.3).mean(axis=0))
  with pytest.raises(ValueError, match=r"Quantiles must lie in \(0, 1\)"):
    summary.summarise(samples, quantiles=[50])
