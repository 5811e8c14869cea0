"""DeepMass: its training, its files, and the data it refuses."""

import dataclasses
import json
import shutil

from astropy import units as u
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import priors
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap import summary
from tfp_massmap.baselines import deepmass
from tfp_massmap.baselines import wiener
from tfp_massmap.nn import architectures
from tfp_massmap.nn import network_file
from tfp_massmap.nn import training_loop

PIXEL = 1.0 * u.arcmin
GRID = geometry.PixelGrid((32, 32), PIXEL)
SURVEY = simulate.uniform_survey(100 / u.arcmin**2, 0.3)
SETTINGS = deepmass.DeepMassSettings(num_steps=20, batch_size=2, checkpoint_every=10)
TINY = architectures.Architecture(channels=(8, 8), num_blocks=(1, 1))


@pytest.fixture(name="maps", scope="module")
def _maps(fiducial):
  """Skewed fields: squares of Gaussian ones."""
  grid = geometry.PixelGrid((64, 64), PIXEL)
  prior = priors.GaussianPrior.from_spectrum(fiducial, grid)
  field = prior.sample([8], seed=(1, 2)).numpy()
  return field + 20 * (field**2 - np.mean(field**2))


def _train(maps, fiducial, folder, **changes):
  settings = dataclasses.replace(SETTINGS, **changes)
  return deepmass.train(
    maps,
    SURVEY,
    spectrum=fiducial,
    pixel_scale=PIXEL,
    folder=folder,
    settings=settings,
    shape=GRID.shape,
    architecture=TINY,
    progress=False,
  )


@pytest.fixture(name="whole", scope="module")
def _whole(maps, fiducial, tmp_path_factory):
  """Folder of a finished training; tests resume copies of it."""
  folder = tmp_path_factory.mktemp("whole")
  _train(maps, fiducial, folder)
  return folder


def _interrupt_after(monkeypatch, last, error):
  """Makes trainings end with an error after a step, and keeps the ratios of steps."""
  step, ratios = training_loop.TrainingLoop._train_step, []

  def interrupted(self, batch):
    figures = step(self, batch)
    ratios.append(float(figures["squared_error_over_wiener"]))
    if len(ratios) == last:
      raise error
    return figures

  monkeypatch.setattr(training_loop.TrainingLoop, "_train_step", interrupted)
  return ratios


def test_examples_may_have_mask_and_noise_of_a_survey(maps, fiducial):
  """The noise has the given standard deviation; other shapes and pixels are refused."""
  mock = _mock(maps)
  mask = mock.mask.copy()
  mask[:4] = False
  survey = dataclasses.replace(mock, mask=mask)
  rng = np.random.default_rng(0)
  observed = deepmass._observed(survey, None, PIXEL)
  kappa, shear, weight = deepmass._example(maps, observed, rng)
  np.testing.assert_allclose(weight, np.where(mask, survey.noise_std**-2.0, 0))
  clean = lensing.shear_from_convergence(tf.constant(kappa)).numpy()
  pulls = (np.asarray(shear - clean) / survey.noise_std)[:, mask]
  # Of 1,792 normal deviates: five standard errors, hence one failure in a million.
  assert np.mean(pulls**2) == pytest.approx(1, abs=0.17)
  for changes in (dict(shape=(64, 64)), dict(pixel_scale=2 * u.arcmin)):
    with pytest.raises(ValueError, match=r"\(32, 32\) pixels of 1 arcmin; got"):
      deepmass.train(
        maps,
        survey,
        **dict(spectrum=fiducial, pixel_scale=PIXEL, folder="none") | changes,
      )


def test_an_interrupted_training_resumes_where_it_stopped(
  maps, fiducial, whole, tmp_path, monkeypatch
):
  """With the checkpoint of an interruption, between those that were due.

  The error that is reported is that of the last tenth of the steps, which are two, one
  of them from before the interruption.
  """
  ratios = _interrupt_after(monkeypatch, 19, KeyboardInterrupt)
  with pytest.raises(KeyboardInterrupt):
    _train(maps, fiducial, tmp_path)
  assert (tmp_path / "checkpoints" / "ckpt-19.index").exists()
  found = _train(maps, fiducial, tmp_path)
  assert len(ratios) == 20
  np.testing.assert_allclose(found, (ratios[18] + ratios[19]) / 2, rtol=1e-6)
  assert _card(tmp_path) == _card(whole)
  estimates = [
    deepmass.estimate(_mock(maps), folder / "model", compute_dtype="float32").kappa
    for folder in (whole, tmp_path)
  ]
  np.testing.assert_allclose(*estimates, atol=1e-7)
  assert np.abs(estimates[0]).max() > 1e-3
  log = (tmp_path / "log.csv").read_text().splitlines()
  assert log[0] == "step,squared_error_over_wiener" and len(log) == 3


def _card(folder):
  """Returns a model's card without its checksums, which depend on rounding."""

  def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")

  text = (folder / "model.json").read_text(encoding="utf-8")
  card = json.loads(text, parse_constant=refuse)
  del card["weights_sha256"], card["card_sha256"]
  ratio = card["training"].pop("squared_error_over_wiener")
  return {**card, "ratio": pytest.approx(ratio, rel=1e-5)}


def test_a_finished_training_leaves_the_same_card_and_may_be_made_longer(
  maps, fiducial, whole, tmp_path
):
  folder = shutil.copytree(whole, tmp_path / "copy")
  _train(maps, fiducial, folder)
  assert _card(folder) == _card(whole)
  _train(maps, fiducial, folder, num_steps=21, learning_rate=1e-3, checkpoint_every=3)
  assert _card(folder)["training"]["settings"]["num_steps"] == 21


def test_a_training_with_other_arguments_is_not_resumed(
  maps, fiducial, whole, tmp_path
):
  folder = shutil.copytree(whole, tmp_path / "copy")
  for change in (dict(seed=1), dict(batch_size=1), dict(averaging=0.5)):
    with pytest.raises(
      ValueError, match=f"a training with another {next(iter(change))}"
    ):
      _train(maps, fiducial, folder, **change)
  arguments = dict(
    maps=maps,
    survey=SURVEY,
    spectrum=fiducial,
    pixel_scale=PIXEL,
    folder=folder,
    settings=SETTINGS,
    shape=GRID.shape,
    architecture=TINY,
    progress=False,
  )
  doubled = spectra.PowerSpectrum(fiducial.ell, 2 * fiducial.c_ell)
  wide = architectures.Architecture(channels=(8, 12), num_blocks=(1, 1))
  noisier = simulate.uniform_survey(50 / u.arcmin**2, 0.3)
  for change, name in (
    (dict(spectrum=doubled), "spectrum"),
    (dict(architecture=wide), "architecture"),
    (dict(survey=noisier), "survey"),
    (dict(shape=(24, 32)), "shape"),
    (dict(maps=maps[:4]), "num_maps"),
    (dict(pixel_scale=0.5 * u.arcmin), "pixel_scale"),
  ):
    with pytest.raises(ValueError, match=f"a training with another {name}"):
      deepmass.train(**{**arguments, **change})
  with pytest.raises(ValueError, match="has 20 steps, and num_steps is 2"):
    _train(maps, fiducial, folder, num_steps=2)
  assert _card(folder) == _card(whole)
  (folder / "settings.json").unlink()
  with pytest.raises(ValueError, match=r"no settings\.json"):
    _train(maps, fiducial, folder)


def test_impossible_settings_and_maps_are_refused(maps, fiducial, tmp_path):
  for change in (
    dict(num_steps=0),
    dict(batch_size=0),
    dict(checkpoint_every=0),
    dict(learning_rate=float("nan")),
    dict(averaging=2.0),
    dict(averaging=1.0),
  ):
    with pytest.raises(ValueError, match=f"{next(iter(change))} must"):
      dataclasses.replace(SETTINGS, **change)
  with pytest.raises(
    ValueError, match=r"at least 32 x 32 pixels.*got shape .8, 64, 31"
  ):
    _train(maps[:, :, :31], fiducial, tmp_path)
  with pytest.raises(ValueError, match="num_inputs must be 2; got 1"):
    deepmass.train(
      maps,
      SURVEY,
      spectrum=fiducial,
      pixel_scale=PIXEL,
      folder=tmp_path,
      settings=SETTINGS,
      shape=GRID.shape,
      architecture=architectures.Architecture(
        channels=(8,), num_blocks=(1,), num_inputs=1
      ),
    )
  assert not any(tmp_path.iterdir())


def test_data_without_noise_and_uneven_noise_are_refused(maps, whole):
  shear_map = _mock(maps)
  for function in (deepmass.estimate, deepmass.standard_deviation):
    with pytest.raises(TypeError, match=r"DeepMass weights pixels .* noise_std"):
      function(shear_map.shear)
  with pytest.raises(ValueError, match="at least 2 noise"):
    deepmass.standard_deviation(shear_map, whole / "model", num_realisations=1)
  grid = geometry.PixelGrid(maps[0].shape, PIXEL)
  large = simulate.mock_observation(maps[0], grid, survey=SURVEY, seed=0)
  uneven = np.random.default_rng(0).choice([1e-6, 1.0], grid.shape)
  with pytest.raises(RuntimeError, match=r"Wiener filter .* relative residual"):
    deepmass.estimate(dataclasses.replace(large, noise_std=uneven), whole / "model")


def _mock(maps, seed=5):
  return simulate.mock_observation(maps[0, :32, :32], GRID, survey=SURVEY, seed=seed)


def test_an_untrained_network_is_the_wiener_filter_and_has_its_noise(
  maps, fiducial, tmp_path
):
  """Its last layer starts at zero, and one tiny step leaves it there."""
  _train(maps, fiducial, tmp_path, num_steps=1, learning_rate=1e-12)
  shear_map = _mock(maps)
  estimate = deepmass.estimate(shear_map, tmp_path / "model", compute_dtype="float32")
  prior = priors.GaussianPrior.from_spectrum(fiducial, GRID)
  expected = wiener.estimate(shear_map, prior).kappa
  np.testing.assert_allclose(estimate.kappa, expected - expected.mean(), atol=1e-5)
  assert estimate.method == "deepmass"
  std = deepmass.standard_deviation(
    shear_map, tmp_path / "model", compute_dtype="float32", num_realisations=32
  )
  scatter = np.std(
    [
      wiener.estimate(
        simulate.observe_like(expected, shear_map, seed=seed), prior
      ).kappa
      for seed in range(32)
    ],
    axis=0,
    ddof=1,
  )
  assert std.shape == GRID.shape
  assert abs(np.mean(std**2) / np.mean(scatter**2) - 1) < 0.15


def test_models_of_other_pixels_or_kinds_are_refused(whole):
  grid = geometry.PixelGrid((32, 32), 0.5 * u.arcmin)
  other = simulate.mock_observation(np.zeros(grid.shape), grid, survey=SURVEY, seed=0)
  with pytest.raises(
    ValueError, match=r"1 arcmin and is used on pixels of 0\.5 arcmin"
  ):
    deepmass.estimate(other, whole / "model")
  with pytest.raises(ValueError, match="card of a deepmass, not of a prior"):
    network_file.find(whole / "model", "prior", needed=())
  with pytest.raises(FileNotFoundError, match=r"a deepmass is model2.json"):
    deepmass.estimate(other, whole / "model2")


@pytest.mark.parametrize("name", network_file.shipped("deepmass"))
def test_shipped_models_beat_the_wiener_filter(name):
  """On two simulated fields that no training used."""
  grid = geometry.PixelGrid((360, 360), 0.29 * u.arcmin)
  simulator = simulate.ConvergenceSimulator(
    geometry.PixelGrid((512, 512), grid.pixel_scale), seed=40_000_000
  )
  card, _ = network_file.find(name, "deepmass", needed=())
  spectrum = spectra.PowerSpectrum(**card["spectrum"])
  prior = priors.GaussianPrior.from_spectrum(spectrum, grid)
  for seed, kappa in enumerate(simulator.maps(2)):
    truth = kappa[:360, :360]
    mock = simulate.mock_observation(
      truth, grid, survey=simulate.cosmos_like_survey(), seed=seed
    )
    errors = [
      summary.root_mean_square_error(e.kappa, truth, mask=mock.mask)
      for e in (deepmass.estimate(mock, name), wiener.estimate(mock, prior))
    ]
    assert errors[0] < 0.98 * errors[1], errors
