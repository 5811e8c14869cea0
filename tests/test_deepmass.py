"""DeepMass: its training, its files, and what it may not be used for."""

import dataclasses

from astropy import units as u
import numpy as np
import pytest

from tfp_massmap import geometry
from tfp_massmap import prior as prior_lib
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap import summary
from tfp_massmap.baselines import deepmass
from tfp_massmap.baselines import wiener
from tfp_massmap.nn import network_file
from tfp_massmap.nn import unet

PIXEL = 1.0 * u.arcmin
GRID = geometry.PixelGrid((32, 32), PIXEL)
SURVEY = simulate.uniform_survey(100 / u.arcmin**2, 0.3)
SETTINGS = deepmass.DeepMassSettings(num_steps=4, batch_size=2, checkpoint_every=2)
TINY = unet.Architecture(channels=(8, 8), num_blocks=(1, 1))


@pytest.fixture(name="maps", scope="module")
def _maps(fiducial):
  """Skewed fields: squares of Gaussian ones."""
  grid = geometry.PixelGrid((64, 64), PIXEL)
  prior = prior_lib.GaussianPrior.from_spectrum(fiducial, grid)
  field = prior.sample([8], seed=(1, 2)).numpy()
  return field + 20 * (field**2 - np.mean(field**2))


def _train(maps, fiducial, folder, **changes):
  settings = dataclasses.replace(SETTINGS, **changes)
  return deepmass.train(
      maps, SURVEY, fiducial, PIXEL, folder, settings, shape=GRID.shape,
      architecture=TINY, progress=False,
  )


def test_training_goes_on_where_it_was_killed(maps, fiducial, tmp_path, monkeypatch):
  _train(maps, fiducial, tmp_path / "whole")
  advance = deepmass._Trainer.advance

  def killed(self, *batch):
    if int(self.step) == 2:
      raise KeyboardInterrupt
    return advance(self, *batch)

  with monkeypatch.context() as patch:
    patch.setattr(deepmass._Trainer, "advance", killed)
    with pytest.raises(KeyboardInterrupt):
      _train(maps, fiducial, tmp_path / "parts")
  _train(maps, fiducial, tmp_path / "parts")
  estimates = [
      deepmass.estimate(_mock(maps), tmp_path / name / "model", "float32").kappa
      for name in ("whole", "parts")
  ]
  np.testing.assert_allclose(*estimates, atol=1e-7)
  assert np.abs(estimates[0]).max() > 1e-3


def _mock(maps, seed=5):
  return simulate.mock_observation(maps[0, :32, :32], GRID, SURVEY, seed)


def test_an_untrained_network_is_the_wiener_filter(maps, fiducial, tmp_path):
  """Its last layer starts from zero; one step of no length keeps it."""
  _train(maps, fiducial, tmp_path, num_steps=1, learning_rate=1e-12)
  shear_map = _mock(maps)
  estimate = deepmass.estimate(shear_map, tmp_path / "model", "float32")
  prior = prior_lib.GaussianPrior.from_spectrum(fiducial, GRID)
  expected = wiener.estimate(shear_map, prior).kappa
  np.testing.assert_allclose(estimate.kappa, expected - expected.mean(), atol=1e-5)
  assert estimate.method == "deepmass"


def test_models_of_other_pixels_or_kinds_are_refused(maps, fiducial, tmp_path):
  _train(maps, fiducial, tmp_path, num_steps=1)
  grid = geometry.PixelGrid((32, 32), 0.5 * u.arcmin)
  other = simulate.mock_observation(np.zeros(grid.shape), grid, SURVEY, 0)
  with pytest.raises(ValueError, match="pixels of 1 arcmin; got 0.5 arcmin"):
    deepmass.estimate(other, tmp_path / "model")
  with pytest.raises(ValueError, match="card of a deepmass, not of a prior"):
    network_file.find(tmp_path / "model", "prior", ())
  with pytest.raises(FileNotFoundError, match="a deepmass is model2.json"):
    deepmass.estimate(other, tmp_path / "model2")


@pytest.mark.parametrize("name", network_file.shipped("deepmass"))
def test_shipped_models_beat_the_wiener_filter(name):
  """Two simulated fields that no training saw."""
  grid = geometry.PixelGrid((360, 360), 0.29 * u.arcmin)
  simulator = simulate.ConvergenceSimulator(
      geometry.PixelGrid((512, 512), grid.pixel_scale), seed=40_000_000
  )
  card, _ = network_file.find(name, "deepmass", ())
  spectrum = spectra.PowerSpectrum(**card["spectrum"])
  prior = prior_lib.GaussianPrior.from_spectrum(spectrum, grid)
  for seed, kappa in enumerate(simulator.maps(2)):
    truth = kappa[:360, :360]
    mock = simulate.mock_observation(truth, grid, simulate.cosmos_like_survey(), seed)
    errors = [
        summary.root_mean_square_error(e.kappa, truth, mock.mask)
        for e in (deepmass.estimate(mock, name), wiener.estimate(mock, prior))
    ]
    assert errors[0] < 0.997 * errors[1], errors
