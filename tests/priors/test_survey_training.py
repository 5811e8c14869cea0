"""A prior for many surveys: trained, loaded for one, corrected and tuned there."""

import dataclasses
import json
import shutil

from astropy import units as u
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import priors
from tfp_massmap import spectra
from tfp_massmap import theory
from tfp_massmap.nn import architectures
from tfp_massmap.nn import network_file
from tfp_massmap.priors import conditions
from tfp_massmap.priors import error_scale
from tfp_massmap.priors import example_denoisers
from tfp_massmap.priors import hybrid
from tfp_massmap.priors import measurement
from tfp_massmap.priors import residual
from tfp_massmap.priors import survey_corrections
from tfp_massmap.priors import survey_training
from tfp_massmap.priors import trainer as trainer_lib
from tfp_massmap.priors import training
from tfp_massmap.simulate import random_surveys

CROP = 32
SURVEYS = [random_surveys.SurveySimulator(seed=2).survey(index) for index in range(6)]
SOURCES = theory.SourceRedshifts.of_mean(0.9)
GRID = geometry.PixelGrid((CROP, CROP), 0.6 * u.arcmin)


def _maps(toys, first, last):
  """Lognormal maps of two sizes and of the power of their surveys."""
  maps = []
  for index in range(first, last):
    survey, side = SURVEYS[index], 40 + 8 * (index % 2)
    grid = geometry.PixelGrid((side, side), survey.pixel_scale_arcmin * u.arcmin)
    spectrum = spectra.PowerSpectrum.theory(survey.sources, survey.cosmology)
    gaussian = priors.GaussianPrior.from_spectrum(spectrum, grid)
    field = gaussian.sample([], seed=(index, 1)).numpy()
    scale = 0.8 / field.std()
    maps.append(((np.exp(scale * field - 0.32) - 1) / scale).astype(np.float32))
  return survey_training.SurveyMaps(maps, SURVEYS[first:last])


def _train(toys, folder, **changes):
  names = ("start", "architecture", "ranges")
  given = {name: changes.pop(name) for name in names if name in changes}
  return survey_training.train(
    _maps(toys, 0, 4),
    _maps(toys, 4, 6),
    folder=folder,
    settings=toys.make_settings(**{"num_steps": 2, "validate_every": 2, **changes}),
    progress=False,
    **{
      "architecture": toys.tiny,
      "ranges": random_surveys.SurveyRanges(),
      **given,
    },
  )


@pytest.fixture(name="path", scope="module")
def _path(toys, tmp_path_factory):
  return _train(toys, tmp_path_factory.mktemp("many"))


@pytest.fixture(name="cache")
def _cache(tmp_path, monkeypatch):
  """A cache of the test's own, and few simulated maps of few pixels."""
  monkeypatch.setenv("TFP_MASSMAP_CACHE", str(tmp_path / "cache"))
  monkeypatch.setattr(survey_corrections, "SIDE", 96)
  monkeypatch.setattr(survey_corrections, "_NUM_MAPS", 1)
  monkeypatch.setattr(survey_corrections, "_NUM_SIGMAS", 2)
  return tmp_path / "cache"


def _load(path, **given):
  arguments = dict(sources=SOURCES, compute_dtype="float32", corrections=False)
  return priors.HybridPrior.load(path, GRID, **{**arguments, **given})


def test_the_card_says_what_the_prior_serves(path):
  card, _ = network_file.find(path, "prior", needed=())
  assert card["architecture"]["num_conditions"] == len(conditions.NAMES)
  assert card["conditioning"]["ranges"]["sigma_8"] == [0.58, 1.02]
  assert set(card["training"]["validation_loss"]) == {
    f"{sigma:g}" for sigma in trainer_lib.VALIDATION_SIGMAS
  }
  assert card["small_scales"] == "kappatng"


def test_the_prior_of_a_survey_has_its_power_and_noise(path):
  prior = _load(path, cosmology=theory.Cosmology(0.3, 0.75))
  spectrum = spectra.PowerSpectrum.theory(
    SOURCES, theory.Cosmology(0.3, 0.75), small_scales="kappatng"
  )
  expected = priors.GaussianPrior.from_spectrum(spectrum, GRID)
  np.testing.assert_allclose(
    prior.gaussian.mode_variance, expected.mode_variance, rtol=1e-6
  )
  std = residual.Scales.from_spectrum(spectrum, GRID.pixel_scale).map_std
  low, high = np.array(prior.sigma_range) * conditions.REFERENCE_STD / std
  assert (low, high) == pytest.approx((0.003, 1.5))
  assert "Omega_m=0.3, sigma_8=0.75, mean redshift 0.900" in prior.description
  other = _load(path)
  assert other.fingerprint() != prior.fingerprint()


def test_training_and_prior_denoise_alike(toys, path):
  """Examples of many surveys in one batch, and the loaded prior of each."""
  start = trainer_lib.Start.read(path)
  conditioning = conditions.Conditioning(**start.card["conditioning"])
  for weight in start.network.weights:
    weight.assign(0.1 * tf.random.stateless_normal(weight.shape, (1, 2)))
  tables = survey_training.SurveyTables(SURVEYS, crop=CROP, progress=False)
  many = example_denoisers.ManySurveys(
    start.network,
    mode_variance=tables.mode_variance,
    scales=tables.scales,
    surveys=[
      conditions.NetworkSurvey(conditioning.network_values(values), 1 / std)
      for values, std in zip(tables.values, tables.map_std)
    ],
  )
  numbers = [4, 0, 3]
  noisy = tf.random.stateless_normal([3, CROP, CROP], (3, 4)) * 0.03
  sigma = tf.constant([0.01, 0.02, 0.04])
  batch = dict(noisy=noisy, sigma=sigma, survey=tf.constant(numbers))
  wiener = many.wiener(batch)
  added = many.residual(batch, wiener, training=False)
  for row, number in enumerate(numbers):
    survey = SURVEYS[number]
    grid = geometry.PixelGrid((CROP, CROP), survey.pixel_scale_arcmin * u.arcmin)
    prior = priors.HybridPrior.load(
      path,
      grid,
      sources=survey.sources,
      cosmology=survey.cosmology,
      compute_dtype="float32",
      corrections=False,
    )
    prior.network.network.set_weights(start.network.get_weights())
    gaussian = prior.gaussian.denoise(noisy[row], sigma[row])
    np.testing.assert_allclose(wiener[row], gaussian, atol=1e-7)
    expected = sigma[row] ** 2 * prior.residual_score(noisy[row], sigma[row])
    found = added[row] - tf.reduce_mean(added[row])
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert np.std(expected) > 1e-4


def test_sigma_of_examples_is_in_units_of_their_map(toys):
  maps = _maps(toys, 0, 4)
  stds = np.array([1.0, 10.0, 100.0, 1000.0])
  settings = trainer_lib.validation_settings(toys.settings, periodic=True)
  examples = survey_training.training_examples.survey_examples(
    maps.maps, settings, map_std=stds, first_survey=7
  )
  for batch in examples.take(3):
    np.testing.assert_allclose(batch["sigma"], stds[batch["survey"].numpy() - 7])
    noise = (batch["noisy"] - batch["clean"]).numpy().std(axis=(1, 2))
    np.testing.assert_allclose(noise, batch["sigma"], rtol=0.15)
  kappa = maps.maps[1]
  index = [i for i, s in enumerate(batch["survey"].numpy()) if s == 8]
  for row in index:
    assert np.isin(batch["clean"][row].numpy(), kappa).all()


def test_a_training_starts_from_a_prior_of_one_survey(toys, tmp_path):
  """It computes the same until it is trained, whatever the survey."""
  toys.save_prior(tmp_path / "prior")
  path = _train(toys, tmp_path / "run", start=tmp_path / "prior", learning_rate=1e-12)
  start, tuned = (trainer_lib.Start.read(p).network for p in (tmp_path / "prior", path))
  maps = tf.random.stateless_normal([2, CROP, CROP, 2], (1, 2))
  sigma = tf.constant([0.02, 0.4])
  values = tf.random.stateless_normal([2, len(conditions.NAMES)], (3, 4))
  np.testing.assert_allclose(
    tuned([maps, sigma, values]), start([maps, sigma]), atol=1e-5
  )
  small = dataclasses.replace(toys.tiny, channels=(8, 8))
  with pytest.raises(ValueError, match="another architecture"):
    _train(toys, tmp_path / "o", start=tmp_path / "prior", architecture=small)
  with pytest.raises(ValueError, match="differ in their number of conditions alone"):
    architectures.copy_weights(tuned, architectures.build(small))


def test_a_prior_of_many_surveys_is_tuned_to_one(toys, path, tmp_path):
  """It keeps its network and what that is told, also where it is resumed."""
  start = _load(path)
  rng = np.random.default_rng(1)
  for weight in start.residual.network.weights:
    weight.assign(0.1 * rng.standard_normal(weight.shape))
  spectrum = spectra.PowerSpectrum.theory(SOURCES, small_scales="kappatng")
  train = lambda **given: training.train(
    toys.make_maps(),
    toys.make_maps(seed=5)[:2],
    pixel_scale=GRID.pixel_scale,
    spectrum=spectrum,
    folder=tmp_path,
    architecture=toys.tiny,
    settings=toys.make_settings(num_steps=1, learning_rate=1e-12),
    progress=False,
    **given,
  )
  tuned = train(start=start)
  noisy = 0.03 * tf.random.stateless_normal([CROP, CROP], (1, 2))
  expected = start.residual_score(noisy, 0.02)
  np.testing.assert_allclose(tuned.residual_score(noisy, 0.02), expected, rtol=0.01)
  assert np.std(expected) > 0.1
  assert tuned.card["network_survey"] == start.residual.survey.as_card()
  assert train().card["network_survey"] == tuned.card["network_survey"]
  other = _load(path, sources=theory.SourceRedshifts.of_mean(0.5))
  with pytest.raises(ValueError, match="another network_survey"):
    train(start=other)


def test_a_training_resumes_and_another_is_refused(toys, path, tmp_path):
  ranges = random_surveys.SurveyRanges(sigma_8=(0.7, 0.9))
  folder = tmp_path / "run"
  first = _train(toys, folder, start=path, ranges=ranges)
  card, _ = network_file.find(first, "prior", needed=())
  units, _ = network_file.find(path, "prior", needed=())
  # The ranges are those of the new maps, the units those of the weights.
  assert card["conditioning"]["ranges"]["sigma_8"] == [0.7, 0.9]
  assert card["conditioning"]["low"] == units["conditioning"]["low"]
  again = _train(toys, folder, ranges=ranges, num_steps=3)
  card, _ = network_file.find(again, "prior", needed=())
  assert card["training"]["num_steps"] == 3
  with pytest.raises(ValueError, match="another crop"):
    _train(toys, folder, ranges=ranges, num_steps=3, crop=16)
  with pytest.raises(ValueError, match="Crops of 64 pixels do not fit into maps of 40"):
    _train(toys, tmp_path / "large", crop=64)


def test_the_range_of_sigma_is_that_of_the_law(toys, tmp_path):
  path = _train(toys, tmp_path, sigma_law="half_normal", sigma_high=0.2)
  card, _ = network_file.find(path, "prior", needed=())
  assert card["sigma_range"] == pytest.approx([0.003, 0.6])


def test_corrections_are_measured_once_and_kept(path, cache, monkeypatch, caplog):
  first = _load(path, corrections=True, progress=False)
  (file,) = cache.iterdir()
  assert set(json.loads(file.read_text())) == {"linear_response", "error_scale"}
  sigmas = first.error_scale.sigmas
  assert (sigmas[0], sigmas[-1]) == pytest.approx(first.sigma_range)
  measure = survey_corrections.measure
  monkeypatch.setattr(survey_corrections, "measure", None)
  again = _load(path, corrections=True)
  assert again.error_scale == first.error_scale
  assert again.fingerprint() == first.fingerprint() != _load(path).fingerprint()
  monkeypatch.setattr(survey_corrections, "measure", measure)
  file.write_text("{")
  _load(path, corrections=True, progress=False)
  assert "cannot be read" in caplog.text
  assert set(json.loads(file.read_text())) == {"linear_response", "error_scale"}
  _load(path, corrections=True, cosmology=theory.Cosmology(0.3, 0.7), progress=False)
  assert len(list(cache.iterdir())) == 2


def test_priors_of_neighbouring_cosmologies_share_corrections(path, cache):
  fixed = _load(path, corrections=True, progress=False)
  other = _load(
    path,
    corrections=True,
    cosmology=theory.Cosmology(0.3, 0.7),
    corrected_at=theory.KAPPATNG,
  )
  assert len(list(cache.iterdir())) == 1
  assert other.error_scale == fixed.error_scale
  assert "sigma_8=0.7, mean" in other.description


def test_corrections_may_ship_in_the_card(path, cache, monkeypatch, tmp_path):
  for suffix in (".json", ".weights.h5"):
    shutil.copy(f"{path}{suffix}", tmp_path / f"with{suffix}")
  measured = _load(path, corrections=True, progress=False)
  (file,) = cache.iterdir()
  card, _ = network_file.find(path, "prior", needed=())
  survey = survey_corrections.Survey(0.6, SOURCES, theory.KAPPATNG)
  name = survey_corrections.key(survey, hybrid.network_checksum(card))
  assert file.name.startswith(f"corrections-{name}-")
  shipped = {name: json.loads(file.read_text())}
  network_file.rewrite_card(tmp_path / "with", {**card, "corrections": shipped})
  file.unlink()
  monkeypatch.setattr(survey_corrections, "measure", None)
  found = _load(tmp_path / "with", corrections=True)
  assert found.error_scale == measured.error_scale
  assert not list(cache.iterdir())


def test_a_cache_that_cannot_be_written_costs_time_alone(path, cache, caplog):
  cache.write_text("a file where the folder should be")
  prior = _load(path, corrections=True, progress=False)
  assert prior.error_scale is not None
  assert "will be measured again" in caplog.text


def test_the_linear_response_of_a_linear_residual_is_found(cache):
  """A residual that adds 0.4 of its input; what is left is the Wiener filter.

  Without the subtraction the error would be 0.4 of the noisy map, several times that of
  the Wiener filter at the largest noise.
  """
  survey = survey_corrections.Survey(2.0, SOURCES, theory.KAPPATNG)
  spectrum = spectra.PowerSpectrum.theory(SOURCES, small_scales="kappatng")
  variance = spectrum.mode_variance(survey.crop_grid)
  found = survey_corrections.measure(
    lambda noisy, sigma: 0.4 * noisy,
    survey,
    mode_variance=variance,
    sigma_range=(0.01, 0.1),
    progress=False,
  )
  np.testing.assert_allclose(found.linear_response.response, 0.4, rtol=1e-4)
  places = np.linspace(*found.error_scale.kappas, 64)
  typical = np.interp(0.0, places, found.error_scale.log_scale[1])
  wiener = error_scale.wiener_error(variance, 0.1, shape=survey.crop_grid.shape)
  wrong = np.log(0.4 * 0.1 / np.sqrt(wiener))
  assert abs(typical) < 0.35 < wrong - 0.35


def test_new_combinations_give_a_warning_though_each_range_is_kept():
  """Numbers that follow from pixels, n(z) and cosmology together."""
  ranges = dict(
    pixel_scale_arcmin=(0.1, 5.0),
    mean_redshift=(0.3, 2.0),
    omega_matter=(0.1, 0.5),
    sigma_8=(0.5, 1.1),
  )
  conditioning = conditions.Conditioning((0.0,) * 5, (1.0,) * 5, ranges=ranges)
  phrases = lambda values: conditioning.outside(
    GRID.pixel_scale,
    sources=SOURCES,
    cosmology=theory.KAPPATNG,
    values=np.array(values),
  )
  assert phrases([0.5, 1.04, 0.0, 9.0, 9.0]) == []
  (phrase,) = phrases([0.5, 1.3, 0.5, 0.5, 0.5])
  assert phrase == "log std lies 30% of the range of the training outside it"


@pytest.mark.parametrize(
  "pixels, mean, cosmology, message",
  [
    (5.0, 0.9, theory.KAPPATNG, r"pixel scale arcmin is 5, 16% above the 0.14 to 4.3"),
    (0.6, 0.19, theory.KAPPATNG, r"mean redshift is 0.19, 50% below the 0.38 to 1.65"),
    (0.6, 0.9, theory.Cosmology(0.3, 1.05), r"sigma 8 is 1.05, 3% above the 0.58"),
  ],
)
def test_surveys_outside_the_training_give_a_warning(
  path, pixels, mean, cosmology, message
):
  grid = geometry.PixelGrid((CROP, CROP), pixels * u.arcmin)
  with pytest.warns(UserWarning, match=message):
    priors.HybridPrior.load(
      path,
      grid,
      sources=theory.SourceRedshifts.of_mean(mean),
      cosmology=cosmology,
      corrections=False,
    )


def test_what_a_prior_needs_to_know_and_cannot_take(toys, path, tmp_path):
  with pytest.raises(ValueError, match="needs to know the redshifts"):
    priors.HybridPrior.load(path, GRID)
  toys.save_prior(tmp_path / "prior")
  with pytest.raises(ValueError, match="trained in one cosmology"):
    _load(tmp_path / "prior", cosmology=theory.KAPPATNG)
  with pytest.raises(ValueError, match="with 0 conditions needs no survey"):
    denoiser = toys.make_denoiser()
    residual.ResidualDenoiser(
      denoiser.network,
      denoiser.architecture,
      scales=denoiser.scales,
      survey=conditions.NetworkSurvey(np.zeros(5), 1.0),
    )
  with pytest.raises(ValueError, match="Every map needs a survey"):
    survey_training.SurveyMaps([], [])
  with pytest.raises(ValueError, match="a least and a largest value"):
    conditions.Conditioning((1.0,) * 5, (0.0,) * 5, ranges={})
  with pytest.raises(ValueError, match="serves any survey: its tables are measured"):
    measurement.measure_card(path, [], side=CROP)
  with pytest.raises(ValueError, match="take no conditions"):
    architectures.Architecture(
      kind="paper", channels=(8,), num_blocks=(1,), num_conditions=2
    )
