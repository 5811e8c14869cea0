"""Small networks, maps and trainings, shared by the tests of priors."""

import dataclasses
import typing

from astropy import units as u
import keras
import numpy as np
import pytest

from tfp_massmap import geometry
from tfp_massmap import priors
from tfp_massmap import spectra
from tfp_massmap.nn import architectures
from tfp_massmap.priors import chain_constants
from tfp_massmap.priors import hybrid
from tfp_massmap.priors import residual
from tfp_massmap.priors import training
from tfp_massmap.priors import training_settings
from tfp_massmap.simulate import source_planes

TINY = architectures.Architecture(channels=(8, 12), num_blocks=(1, 1))
# One level, for trainings that need not learn: half of the time to be compiled.
TINIEST = architectures.Architecture(channels=(8,), num_blocks=(1,))
GRID = geometry.PixelGrid((32, 32), 1.16 * u.arcmin)
SETTINGS = training_settings.TrainingSettings(
  num_steps=6,
  batch_size=4,
  crop=32,
  warmup_steps=2,
  validate_every=3,
  num_validation=4,
  checkpoint_every=2,
)


def make_maps(num=4, size=48, seed=0):
  """Returns lognormal maps of roughly the fiducial power, `[num, size, size]`."""
  grid = geometry.PixelGrid((size, size), GRID.pixel_scale)
  spectrum = spectra.PowerSpectrum.fiducial_cosmos()
  gaussian = priors.GaussianPrior.from_spectrum(spectrum, grid)
  field = gaussian.sample([num], seed=(seed, 1)).numpy()
  return (np.exp(50 * field - 1250 * field.var()) - 1) / 50


def make_settings(**changes):
  """Returns the settings of a tiny training."""
  return dataclasses.replace(SETTINGS, **changes)


def make_trainer(folder, **changes):
  """Returns a trainer of the tiny network; `changes` are settings or arguments."""
  names = {f.name for f in dataclasses.fields(training_settings.TrainingSettings)}
  settings = make_settings(**{n: changes.pop(n) for n in names & set(changes)})
  grid = geometry.PixelGrid((settings.crop, settings.crop), GRID.pixel_scale)
  arguments = dict(architecture=TINY, settings=settings, folder=folder)
  spectrum = changes.pop("spectrum", None) or spectra.PowerSpectrum.fiducial_cosmos()
  return training.Trainer(
    spectrum, changes.pop("grid", grid), **{**arguments, **changes}
  )


def make_short_trainer(folder, **changes):
  """Returns a trainer of three steps."""
  arguments = dict(gaussian_share=0.0, num_steps=3, checkpoint_every=3)
  return make_trainer(folder, architecture=TINIEST, **arguments, **changes)


def short_training(folder, strategy=None):
  """Returns the validation losses of three steps."""
  trainer = make_short_trainer(folder, strategy=strategy)
  return trainer.train(make_maps(), make_maps(seed=5), progress=False)


def make_denoiser(seed=1):
  """Returns a residual denoiser whose weights are random."""
  keras.utils.set_random_seed(seed)
  network = architectures.build(TINY)
  rng = np.random.default_rng(seed)
  for weight in network.weights:
    weight.assign(0.1 * rng.standard_normal(weight.shape))
  scales = residual.Scales.from_spectrum(
    spectra.PowerSpectrum.fiducial_cosmos(), GRID.pixel_scale
  )
  return residual.ResidualDenoiser(network, TINY, scales=scales)


def save_prior(path, **changes):
  """Writes a prior of random weights."""
  arguments = dict(
    denoiser=make_denoiser(),
    spectrum=spectra.PowerSpectrum.fiducial_cosmos(),
    pixel_scale=GRID.pixel_scale,
    sigma_range=(0.01, 1.0),
    training=dict(data="none"),
    sources=source_planes.sources(),
  )
  hybrid.save(path, **{**arguments, **changes})


class Toys(typing.NamedTuple):
  """All of the above, for tests."""

  tiny: architectures.Architecture
  grid: geometry.PixelGrid
  settings: training_settings.TrainingSettings
  make_maps: typing.Callable
  make_settings: typing.Callable
  make_trainer: typing.Callable
  make_short_trainer: typing.Callable
  short_training: typing.Callable
  make_denoiser: typing.Callable
  save_prior: typing.Callable


@pytest.fixture(name="toys", scope="session")
def _toys():
  return Toys(
    TINY,
    GRID,
    SETTINGS,
    make_maps,
    make_settings,
    make_trainer,
    make_short_trainer,
    short_training,
    make_denoiser,
    save_prior,
  )


@pytest.fixture
def short_chains(monkeypatch):
  """The constants of chains are found among one pair; returns its share of the noise."""
  monkeypatch.setattr(chain_constants, "SHARES", (0.4,))
  monkeypatch.setattr(chain_constants, "RESIDUAL_ERRORS", (0.01,))
  return 0.4
