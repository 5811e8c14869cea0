"""Networks, their training and the prior they make, on small maps."""

import dataclasses
import json
import os
import pathlib
import re
import socket
import subprocess
import sys

from astropy import units as u
import keras
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import cli
from tfp_massmap import devices
from tfp_massmap import geometry
from tfp_massmap import priors
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.datasets.halo_kappa import halo_kappa_dataset_builder as halo_kappa
from tfp_massmap.nn import muon
from tfp_massmap.nn import spectral_norm
from tfp_massmap.nn import unet
from tfp_massmap.priors import from_dataset
from tfp_massmap.priors import linear_response
from tfp_massmap.priors import measurement
from tfp_massmap.priors import residual
from tfp_massmap.priors import training
from tfp_massmap.priors import training_settings
from tfp_massmap.simulate import source_planes

TESTS = pathlib.Path(__file__).parent
TINY = unet.Architecture(channels=(8, 12), num_blocks=(1, 1))
TINY_PAPER = unet.Architecture(
  kind="paper", channels=(6, 8, 8), num_blocks=(1, 1, 1), spectral_bound=1.0
)
GRID = geometry.PixelGrid((32, 32), 1.16 * u.arcmin)
CARD_GRID = geometry.PixelGrid((32, 32), 0.29 * u.arcmin)
SETTINGS = training_settings.TrainingSettings(
  num_steps=6,
  batch_size=4,
  crop=32,
  warmup_steps=2,
  validate_every=3,
  num_validation=4,
  checkpoint_every=2,
)  # pyformat: disable


@pytest.fixture(name="spectrum", scope="module")
def _spectrum():
  return spectra.PowerSpectrum.fiducial_cosmos()


def _maps(spectrum, num=4, size=48, seed=0):
  """Lognormal maps of roughly the right power."""
  grid = geometry.PixelGrid((size, size), GRID.pixel_scale)
  gaussian = priors.GaussianPrior.from_spectrum(spectrum, grid)
  field = gaussian.sample([num], seed=(seed, 1)).numpy()
  return (np.exp(50 * field - 1250 * field.var()) - 1) / 50


@pytest.mark.parametrize("architecture", [TINY, TINY_PAPER])
@pytest.mark.parametrize("shape", [(32, 32), (21, 30)])
def test_networks_take_maps_of_any_size(architecture, shape):
  network = unet.build(architecture)
  rng = np.random.default_rng(0)
  maps = rng.standard_normal([2, *shape, architecture.num_inputs]).astype(np.float32)
  output = network([maps, np.array([0.1, 0.3], np.float32)])
  assert output.shape == (2, *shape) and np.isfinite(output).all()


def test_training_starts_from_the_gaussian_denoiser(spectrum):
  network = unet.build(TINY)
  maps = tf.random.stateless_normal([2, 32, 32, 2], (1, 2))
  np.testing.assert_array_equal(network([maps, tf.constant([0.1, 0.2])]), 0)
  del spectrum


def test_presets_are_those_of_the_design():
  paper = unet.PRESETS["paper"]
  assert paper.channels == (32, 64, 128, 128) and paper.spectral_bound == 1
  assert 1e6 < unet.build("paper").count_params() < 2e6
  assert unet.build("default").count_params() < 5e6


@pytest.mark.parametrize(
  "changes, message",
  [
    (dict(kind="resnet"), "kind"),
    (dict(channels=(8,)), "one number for each level"),
    (dict(num_blocks=(0, 1)), "positive"),
  ],
)
def test_impossible_architectures(changes, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(TINY, **changes)
  with pytest.raises(ValueError, match="presets"):
    unet.build("large")


def test_scales_are_the_standard_deviations_of_a_gaussian_field(spectrum):
  """Of y, of its Wiener filter and of that filter's error, over 6 maps; 4 %."""
  grid = geometry.PixelGrid((360, 360), 0.29 * u.arcmin)
  scales = residual.Scales.from_spectrum(spectrum, grid.pixel_scale)
  gaussian = priors.GaussianPrior.from_spectrum(spectrum, grid)
  clean = gaussian.sample([6], seed=(1, 2))
  for sigma in (0.02, 0.3):
    noisy = clean + sigma * tf.random.stateless_normal(clean.shape, (3, 4))
    wiener = gaussian.denoise(noisy, sigma)
    measured = [np.std(m) for m in (noisy, wiener, wiener - clean)]
    np.testing.assert_allclose(scales.at(tf.constant(sigma)), measured, rtol=0.04)


def _losses(trainer, spectrum):
  return trainer.train(_maps(spectrum), _maps(spectrum, seed=5), progress=False)


def test_training_resumes_exactly_where_it_was_killed(spectrum, tmp_path):
  """With the paper's network, whose spectral bounds have a state of their own."""

  def trainer(folder):
    return training.Trainer(
      spectrum,
      GRID,
      architecture=TINY_PAPER,
      settings=SETTINGS,
      folder=tmp_path / folder,
    )

  whole = trainer("whole")
  expected = _losses(whole, spectrum)
  killed = trainer("killed")
  killed._train_step = _killer(killed._train_step, after=5)  # pylint: disable=protected-access
  with pytest.raises(_Killed):
    _losses(killed, spectrum)
  resumed = trainer("killed")
  assert int(resumed.step) == 4  # the last checkpoint
  assert _losses(resumed, spectrum) == pytest.approx(expected, rel=1e-5)
  for one, other in zip(
    whole.denoiser.network.weights, resumed.denoiser.network.weights
  ):
    np.testing.assert_allclose(one, other, atol=1e-6)
  lines = (tmp_path / "whole" / "log.csv").read_text().splitlines()
  assert len(lines) == 3 and lines[0].startswith("step,loss,sigma_0.01")
  for grid, power, changes, message in (
    (geometry.PixelGrid((16, 16), GRID.pixel_scale), spectrum, dict(crop=16), "crop"),
    (geometry.PixelGrid((32, 32), 1 * u.arcmin), spectrum, {}, "pixel_scale_arcmin"),
    (GRID, spectra.PowerSpectrum(spectrum.ell, 2 * spectrum.c_ell), {}, "spectrum"),
  ):
    with pytest.raises(ValueError, match=f"another {message}"):
      training.Trainer(
        power,
        grid,
        architecture=TINY_PAPER,
        settings=dataclasses.replace(SETTINGS, **changes),
        folder=tmp_path / "whole",
      )  # pyformat: disable


def test_finished_trainings_are_measured_and_shorter_ones_refused(spectrum, tmp_path):
  trainer = lambda num_steps: training.Trainer(
    spectrum,
    GRID,
    architecture=TINY,
    settings=dataclasses.replace(SETTINGS, num_steps=num_steps),
    folder=tmp_path,
  )
  expected = _losses(trainer(3), spectrum)
  assert _losses(trainer(3), spectrum) == pytest.approx(expected, rel=1e-5)
  with pytest.raises(ValueError, match="has 3 steps, and num_steps is 2"):
    _losses(trainer(2), spectrum)


def test_log_of_steps_that_come_again(spectrum, tmp_path):
  """A validation after the last checkpoint is repeated; its first line goes."""
  settings = dataclasses.replace(SETTINGS, validate_every=1)
  trainer = training.Trainer(
    spectrum, GRID, architecture=TINY, settings=settings, folder=tmp_path
  )
  trainer._train_step = _killer(trainer._train_step, after=3)  # pylint: disable=protected-access
  with pytest.raises(_Killed):
    _losses(trainer, spectrum)
  steps = lambda: [
    line.split(",")[0] for line in (tmp_path / "log.csv").read_text().splitlines()
  ]
  assert steps() == ["step", "1", "2", "3"]
  _losses(
    training.Trainer(
      spectrum, GRID, architecture=TINY, settings=settings, folder=tmp_path
    ),
    spectrum,
  )
  assert steps() == ["step", *"123456"]


def test_diverged_weights_do_not_replace_the_last_checkpoint(spectrum, tmp_path):
  trainer = training.Trainer(
    spectrum, GRID, architecture=TINY, settings=SETTINGS, folder=tmp_path
  )
  step = trainer._train_step  # pylint: disable=protected-access

  def diverge(batch):
    loss = step(batch)
    if int(trainer.step) == 4:
      weight = trainer.denoiser.network.weights[0]
      weight.assign(np.nan * weight)
    return loss

  trainer._train_step = diverge  # pylint: disable=protected-access
  with pytest.raises(
    FloatingPointError,
    match=r"not finite at step 4; .*ckpt-2 is.*smaller learning_rate",
  ):
    _losses(trainer, spectrum)
  slower = dataclasses.replace(SETTINGS, learning_rate=1e-3)
  resumed = training.Trainer(
    spectrum, GRID, architecture=TINY, settings=slower, folder=tmp_path
  )
  assert int(resumed.step) == 2
  assert np.isfinite(list(_losses(resumed, spectrum).values())).all()


def test_learning_rate_rises_and_falls():
  settings = dataclasses.replace(
    SETTINGS, num_steps=20, warmup_steps=10, learning_rate=1.0, final_learning_rate=0.1
  )
  rates = [settings.rate_at(step) for step in (0, 9, 10, 15, 20, 30)]
  np.testing.assert_allclose(rates, [0.1, 1, 1, 0.55, 0.1, 0.1])


def test_weighting_by_the_score(spectrum, tmp_path):
  """Eq. 24 of the same examples: the other loss, times c^2 / sigma^2."""
  losses = []
  for weighting in training_settings.WEIGHTINGS:
    settings = dataclasses.replace(SETTINGS, weighting=weighting)
    trainer = training.Trainer(
      spectrum, GRID, architecture=TINY, settings=settings, folder=tmp_path / weighting
    )
    examples = training.validation_examples(
      _maps(spectrum, seed=5), settings, periodic=False
    )
    losses.append(trainer.validate({0.5: examples[0.5]})[0.5])
  scale = trainer.denoiser.error_std(tf.constant(0.5)) / 0.5
  assert losses[1] == pytest.approx(losses[0] * float(scale) ** 2, rel=1e-4)


@pytest.mark.parametrize(
  "changes, sigma_range",
  [
    (dict(optimizer="adam"), (0.003, 1.5)),
    (dict(sigma_law="half_normal", sigma_high=0.2), (0.003, 0.6)),
  ],
)
def test_laws_and_optimizers(changes, sigma_range, spectrum, tmp_path):
  settings = dataclasses.replace(SETTINGS, num_steps=2, **changes)
  trainer = training.Trainer(
    spectrum, GRID, architecture=TINY, settings=settings, folder=tmp_path
  )
  before = [np.array(w) for w in trainer.denoiser.network.weights]
  _losses(trainer, spectrum)
  after = trainer.denoiser.network.weights
  assert any(np.abs(a - b).max() > 1e-5 for a, b in zip(after, before))
  assert settings.sigma_range == pytest.approx(sigma_range)


def test_clipped_gradients(spectrum, tmp_path):
  """Plain descent with a rate of 1 moves the weights by the norm that is allowed."""
  settings = dataclasses.replace(
    SETTINGS, num_steps=1, clip_norm=1e-3, optimizer="adam"
  )
  trainer = training.Trainer(
    spectrum, GRID, architecture=TINY, settings=settings, folder=tmp_path
  )
  trainer._optimizer = _Descent()  # pylint: disable=protected-access
  network = trainer.denoiser.network
  before = [np.array(w) for w in network.trainable_variables]
  _losses(trainer, spectrum)
  moved = np.sqrt(
    sum(np.sum((a - b) ** 2) for a, b in zip(network.trainable_variables, before))
  )
  assert moved == pytest.approx(1e-3, rel=1e-3)


class _Descent:
  learning_rate = tf.Variable(0.0)

  def apply(self, gradients, variables):
    for gradient, variable in zip(gradients, variables):
      variable.assign_sub(gradient)


def test_gaussian_fields_are_learnt_to_be_left_alone(spectrum, tmp_path):
  """With a network that adds something, their loss is that of what it adds."""
  settings = dataclasses.replace(SETTINGS, gaussian_share=0.999, gaussian_weight=1.0)
  trainer = training.Trainer(
    spectrum, GRID, architecture=TINY, settings=settings, folder=tmp_path
  )
  batch = next(
    iter(training.validation_examples(_maps(spectrum), settings, periodic=False)[0.1])
  )
  loss = lambda: float(
    trainer._loss(trainer._with_gaussian_fields(batch, 0), training=False)  # pylint: disable=protected-access
  )
  assert loss() == pytest.approx(0, abs=1e-9)
  trainer.denoiser.network.weights[-1].assign(np.full(4, 0.5, np.float32))
  assert loss() == pytest.approx(0.25, rel=1e-3)


def test_paper_network_sees_the_gaussian_score_and_divides_by_sigma(spectrum):
  """Eq. 23, and appendix C: the residual score is the network's output over sigma."""
  seen = []

  def network(inputs, training):
    del training
    seen.append(inputs)
    return tf.ones_like(inputs[0][..., 0]) / inputs[1][:, None, None]

  scales = residual.Scales.from_spectrum(spectrum, GRID.pixel_scale)
  denoiser = residual.ResidualDenoiser(network, TINY_PAPER, scales=scales)
  gaussian = priors.GaussianPrior.from_spectrum(spectrum, GRID)
  noisy, sigma = (
    tf.random.stateless_normal([2, 32, 32], (1, 2)),
    tf.constant([0.1, 0.4]),
  )
  added = denoiser(noisy, gaussian.denoise(noisy, sigma), sigma)
  np.testing.assert_allclose(
    added, np.broadcast_to([[[0.1]], [[0.4]]], added.shape), rtol=1e-5
  )
  score = sigma[:, None, None] * gaussian.score(noisy, sigma)
  np.testing.assert_allclose(seen[0][0][..., 0], noisy)
  np.testing.assert_allclose(seen[0][0][..., 1], score, rtol=1e-3, atol=1e-4)


def test_all_kernels_of_the_paper_are_bounded():
  kernels = {
    layer.layer.kernel.path
    for layer in unet.build("paper").layers
    if isinstance(layer, spectral_norm.SpectralBound)
  }
  weights = unet.build("paper").trainable_variables
  assert len(kernels) == len([w for w in weights if len(w.shape) == 4])


class _Killed(BaseException):
  """Stands for the end of a process, which leaves no time to save anything."""


def _killer(step, after):
  calls = []

  def wrapped(batch):
    calls.append(1)
    if len(calls) > after:
      raise _Killed
    return step(batch)

  return wrapped


def test_training_learns_what_is_not_gaussian(spectrum, tmp_path):
  """Lognormal maps: below the Wiener filter's error, which is 1 in the loss."""
  settings = dataclasses.replace(
    SETTINGS,
    num_steps=120,
    batch_size=8,
    validate_every=120,
    checkpoint_every=120,
    sigma_low=0.01,
    sigma_high=0.05,
    num_validation=32,
    warmup_steps=10,
    learning_rate=4e-3,
    averaging=0.9,
  )  # pyformat: disable
  trainer = training.Trainer(
    spectrum, GRID, architecture=TINY, settings=settings, folder=tmp_path
  )
  maps = _maps(spectrum, num=32)
  losses = trainer.train(maps, _maps(spectrum, num=32, seed=7), progress=False)
  before = training.Trainer(
    spectrum, GRID, architecture=TINY, settings=settings, folder=tmp_path / "none"
  )
  examples = training.validation_examples(
    _maps(spectrum, 32, seed=7), settings, periodic=False
  )
  untrained = before.validate(examples)
  assert losses[0.02] < 0.93 * untrained[0.02]


@pytest.mark.parametrize(
  "changes, message",
  [
    (dict(weighting="none"), "weighting"),
    (dict(sigma_law="uniform"), "sigma_law"),
    (dict(num_steps=0), "num_steps"),
    (dict(averaging=1.0), "averaging"),
    (dict(validate_every=0), "validate_every must be positive; got 0"),
    (dict(learning_rate=-1.0), "learning_rate"),
    (dict(gaussian_weight=1.5), r"\[0, 1\]; got 1.5"),
    (dict(crop=8), "crop must be at least 16"),
  ],
)
def test_impossible_settings(changes, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(SETTINGS, **changes)


def _denoiser(spectrum, seed=1):
  keras.utils.set_random_seed(seed)
  network = unet.build(TINY)
  rng = np.random.default_rng(seed)
  for weight in network.weights:
    weight.assign(0.1 * rng.standard_normal(weight.shape))
  scales = residual.Scales.from_spectrum(spectrum, GRID.pixel_scale)
  return residual.ResidualDenoiser(network, TINY, scales=scales)


def _save(spectrum, path, **changes):
  arguments = dict(
    denoiser=_denoiser(spectrum),
    spectrum=spectrum,
    pixel_scale=GRID.pixel_scale,
    sigma_range=(0.01, 1.0),
    training=dict(data="none"),
    plane_weights=source_planes.COSMOS_WEIGHTS,
  )  # pyformat: disable
  priors.save(path, **{**arguments, **changes})


def test_saved_priors_come_back(spectrum, tmp_path):
  path = tmp_path / "new" / "prior"
  _save(spectrum, path)
  prior = priors.HybridPrior.load(path, GRID, compute_dtype="float32")
  assert prior.compute_dtype == "float32"
  denoiser = _denoiser(spectrum)
  noisy = tf.random.stateless_normal([3, 32, 32], (1, 2))
  sigma = tf.constant([0.02, 0.1, 0.9])
  wiener = prior.gaussian.denoise(noisy, sigma)
  residual = denoiser(noisy, wiener, sigma)
  # It has nothing to say of the mean of a map.
  expected = wiener + residual - tf.reduce_mean(residual, axis=(-2, -1), keepdims=True)
  np.testing.assert_allclose(prior.denoise(noisy, sigma), expected, atol=1e-6)
  assert np.abs(expected - wiener).max() > 1e-3
  score = (expected - noisy) / tf.square(sigma)[:, None, None]
  np.testing.assert_allclose(prior.score(noisy, sigma), score, rtol=1e-4, atol=1e-3)
  assert prior.card["training"] == dict(data="none")
  with pytest.raises(FileExistsError):
    _save(spectrum, path)


def test_batches_broadcasts_and_the_range_of_sigma(spectrum, tmp_path):
  _save(spectrum, tmp_path / "prior")
  prior = priors.HybridPrior.load(
    tmp_path / "prior.json", GRID, compute_dtype="float32"
  )
  noisy = tf.random.stateless_normal([2, 3, 32, 32], (1, 2))
  together = prior.denoise(noisy, 0.1)
  np.testing.assert_allclose(together[1, 2], prior.denoise(noisy[1, 2], 0.1), atol=1e-5)
  np.testing.assert_allclose(
    prior.denoise(noisy, 5.0), prior.gaussian.denoise(noisy, 5.0), atol=1e-6
  )
  low, _ = prior.sigma_range
  for sigma in (0.0, 0.5 * low):
    expected = prior.gaussian.score(noisy, sigma) + prior.residual_score(noisy, low)
    np.testing.assert_allclose(
      prior.score(noisy, sigma), expected, rtol=1e-4, atol=1e-3
    )
  compiled = tf.function(prior.denoise, jit_compile=True)
  np.testing.assert_allclose(compiled(noisy, tf.constant(0.1)), together, atol=1e-5)


def test_cards_get_response_and_error_scale(spectrum, tmp_path):
  """Afterwards the residual has next to no response to the maps it was measured on."""
  _save(spectrum, tmp_path / "prior")
  load = lambda: priors.HybridPrior.load(
    tmp_path / "prior", GRID, compute_dtype="float32"
  )
  before = load()
  maps = _maps(spectrum, num=24)
  measurement.measure_card(tmp_path / "prior", maps, 32)
  after = load()
  assert after.error_scale is not None and before.linear_response is None
  largest = []
  for prior in (before, after):
    residual_fn = lambda x, sigma, p=prior: (
      tf.square(sigma)[:, None, None] * p.residual_score(x, sigma)
    )
    response = linear_response.measure(
      residual_fn, maps[:, :32, :32], grid=GRID, sigmas=(0.05, 0.3)
    )
    largest.append(np.abs(response.response).max())
  assert largest[1] < 0.2 * largest[0]
  with pytest.raises(ValueError, match="too few"):
    measurement.measure_card(tmp_path / "prior", maps[:2], 32)
  assert load().error_scale is None and load().linear_response is not None


def test_arithmetic_of_the_network(spectrum, tmp_path, monkeypatch):
  """bfloat16 has 8 bits: the residual agrees to some per cent; "auto" by the flags."""
  _save(spectrum, tmp_path / "prior")
  noisy = tf.random.stateless_normal([2, 32, 32], (1, 2))
  residuals = []
  for name in ("float32", "bfloat16"):
    prior = priors.HybridPrior.load(tmp_path / "prior", GRID, compute_dtype=name)
    assert prior.compute_dtype == name and prior.denoise(noisy, 0.1).dtype == tf.float32
    residuals.append(prior.residual_score(noisy, 0.1).numpy())
  difference = np.std(residuals[1] - residuals[0]) / np.std(residuals[0])
  assert 0 < difference < 0.03
  with pytest.raises(ValueError, match="got 'float16'"):
    priors.HybridPrior.load(tmp_path / "prior", GRID, compute_dtype="float16")
  for flags, expected in (("fpu avx512_bf16", "bfloat16"), ("fpu avx2", "float32")):
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor : 0\nflags : {flags}\n")
    monkeypatch.setattr(devices, "_CPU_INFO", info)
    assert devices.resolve_compute_dtype("auto") == expected
  monkeypatch.setattr(devices, "_CPU_INFO", tmp_path / "absent")
  assert devices.resolve_compute_dtype("auto") == "float32"


def test_muon_turns_gradients_into_semi_orthogonal_steps():
  """One step moves a kernel by lr .2 sqrt(largest side) U V', and a bias like Adam."""
  rng = np.random.default_rng(0)
  for shape in ((3, 3, 4, 16), (1, 1, 8, 32)):
    kernel, bias = keras.Variable(np.zeros(shape)), keras.Variable(np.zeros(16))
    optimizer = muon.Muon(0.1)
    optimizer.build([kernel, bias])
    gradient = rng.standard_normal(shape).astype(np.float32)
    optimizer.apply([tf.constant(gradient), tf.ones(16)], [kernel, bias])
    step = -np.array(kernel).reshape(-1, shape[-1]) / 0.1
    step /= 0.2 * np.sqrt(max(step.shape))
    left, _, right = np.linalg.svd(gradient.reshape(step.shape), full_matrices=False)
    singular = np.linalg.svd(step, compute_uv=False)
    # Five iterations of the quintic leave singular values within .3 of 1.
    assert 0.65 < singular.min() and singular.max() < 1.25
    cosine = (
      np.sum(step * (left @ right)) / np.linalg.norm(step) / np.sqrt(len(singular))
    )
    assert cosine > 0.97
    np.testing.assert_allclose(bias, -0.05, rtol=1e-4)


def test_spectral_bound_clips_and_leaves_the_rest():
  """Power iterations of some steps find the norm; kernels below the bound stay."""
  rng = np.random.default_rng(1)
  for scale, expected in ((5.0, 2.0), (0.01, None)):
    layer = spectral_norm.SpectralBound(keras.layers.Conv2D(6, 3), bound=2.0)
    x = tf.constant(rng.standard_normal([2, 8, 8, 3]), tf.float32)
    layer(x)
    kernel = scale * rng.standard_normal([3, 3, 3, 6]).astype(np.float32)
    layer.layer.kernel.assign(kernel)
    for _ in range(40):
      layer(x, training=True)
    matrix = np.array(layer.layer.kernel).reshape(-1, 6)
    norm = np.linalg.svd(matrix, compute_uv=False)[0]
    if expected is None:
      np.testing.assert_array_equal(layer.layer.kernel, kernel)
    else:
      assert norm == pytest.approx(expected, rel=1e-3)
      # The direction is kept: it is a projection by scaling.
      cosine = np.sum(matrix * kernel.reshape(-1, 6)) / np.linalg.norm(matrix)
      assert cosine / np.linalg.norm(kernel) == pytest.approx(1, abs=1e-5)
  with pytest.raises(ValueError, match="bound must be positive"):
    spectral_norm.SpectralBound(keras.layers.Dense(3), bound=0.0)


def test_other_pixels_give_a_warning_with_numbers(spectrum, tmp_path):
  _save(spectrum, tmp_path / "prior")
  with pytest.warns(UserWarning, match="1.16 arcmin .* 0.58 arcmin, 0.5 times"):
    priors.HybridPrior.load(
      tmp_path / "prior", geometry.PixelGrid((32, 32), 0.58 * u.arcmin)
    )


def test_other_redshifts_give_a_warning_with_numbers(spectrum, tmp_path, recwarn):
  _save(spectrum, tmp_path / "prior")
  load = lambda redshifts: priors.HybridPrior.load(
    tmp_path / "prior", GRID, source_redshifts=redshifts
  )
  # Those of the training: the planes, each as often as its weight.
  counts = np.round(1e4 * np.array(source_planes.COSMOS_WEIGHTS)).astype(int)
  load(
    np.repeat(source_planes.source_redshifts()[:-1], counts[:-1]).tolist()
    + [2.57] * counts[-1]
  )
  priors.HybridPrior.load(
    tmp_path / "prior",
    GRID,
    source_counts=counts,
    source_redshifts=[*source_planes.source_redshifts()[:-1], 2.57],
  )
  assert not [w for w in recwarn if "redshift" in str(w.message)]
  with pytest.warns(UserWarning, match=r"redshift 1.35 and is used for 0.5\d: .* 0.2"):
    load(np.full(100, 0.5))


def test_priors_that_do_not_know_their_redshifts(spectrum, tmp_path):
  _save(spectrum, tmp_path / "prior", plane_weights=None)
  with pytest.warns(UserWarning, match="does not say for which source redshifts"):
    priors.HybridPrior.load(
      tmp_path / "prior", GRID, source_redshifts=np.full(100, 0.5)
    )


def test_damaged_priors_are_refused(spectrum, tmp_path):
  path = tmp_path / "prior"
  load = lambda: priors.HybridPrior.load(path, GRID)
  with pytest.raises(FileNotFoundError, match="prior.json"):
    load()
  _save(spectrum, path)
  weights, card = tmp_path / "prior.weights.h5", tmp_path / "prior.json"
  good_weights, good_card = weights.read_bytes(), card.read_text()
  weights.write_bytes(good_weights[:-1] + b"!")
  with pytest.raises(ValueError, match="checksum"):
    load()
  weights.unlink()
  with pytest.raises(FileNotFoundError, match="together"):
    load()
  weights.write_bytes(good_weights)
  for text, message in (
    ("{", "not the card"),
    ("{}", "lacks"),
    (good_card.replace('"format": 1', '"format": 9'), "format 9"),
  ):
    card.write_text(text)
    with pytest.raises(ValueError, match=message):
      load()
  changed = json.loads(good_card)
  changed["sigma_range"] = [0.01, 2.0]
  card.write_text(json.dumps(changed))
  with pytest.raises(ValueError, match="prior.json was changed"):
    load()
  card.write_text(json.dumps(json.loads(good_card), indent=4))
  assert load().sigma_range == (0.01, 1.0)


def test_fine_tuning_starts_from_the_weights_given(spectrum, tmp_path):
  _save(spectrum, tmp_path / "prior")
  start = priors.HybridPrior.load(tmp_path / "prior", GRID)
  trainer = training.Trainer(
    spectrum,
    GRID,
    architecture=TINY,
    settings=SETTINGS,
    folder=tmp_path / "run",
    start=start,
  )
  for one, other in zip(
    trainer.denoiser.network.weights, start.residual.network.weights
  ):
    np.testing.assert_array_equal(one, other)
  with pytest.raises(ValueError, match="another architecture"):
    training.Trainer(
      spectrum,
      GRID,
      architecture=TINY_PAPER,
      settings=SETTINGS,
      folder=tmp_path / "other",
      start=start,
    )


def test_train_command(tmp_path, capsys):
  """Simulated maps, a training, and what it wrote, loaded; the rest from there."""
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
  ]  # pyformat: disable
  assert cli.main([*arguments, "--num-steps", "2"]) == 0
  printed = capsys.readouterr()
  assert "sigma 0.02: mean squared error" in printed.out
  # Two validation maps, one crop of each.
  assert re.search(
    r"no linear_response and no error_scale: .* have 2048 pixels .*, and 20000 are"
    r" needed\. .*priors\.measurement\.measure_card\(",
    printed.err,
  )
  prior = priors.HybridPrior.load(tmp_path / "run" / "prior", GRID)
  assert prior.card["training"]["num_steps"] == 2
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


def test_data_sets_by_name(tmp_path):
  """A name prepares the data set where it is not there, and finds it the next time."""
  config = halo_kappa.HaloKappaConfig(name="few", num_maps=(1, 1, 0), shape=(16, 16))
  builder = halo_kappa.Builder(data_dir=str(tmp_path), config=config)
  builder.download_and_prepare()
  found = from_dataset.open_dataset(builder.data_dir)
  assert found.info.splits["train"].num_examples == 1
  with pytest.raises(ValueError, match="no dataset_info.json in it.*halo_kappa"):
    from_dataset.open_dataset(tmp_path)


def _short_training(folder, spectrum, strategy=None):
  settings = dataclasses.replace(
    SETTINGS, gaussian_share=0.0, num_steps=3, checkpoint_every=3
  )
  trainer = training.Trainer(
    spectrum,
    GRID,
    architecture=TINY,
    settings=settings,
    folder=folder,
    strategy=strategy,
  )
  return trainer.train(_maps(spectrum), _maps(spectrum, seed=5), progress=False)


def test_two_devices_train_as_one(spectrum, tmp_path, two_devices):
  """Each takes half of every batch; only the order of sums differs."""
  alone = _short_training(tmp_path / "one", spectrum)
  together = _short_training(tmp_path / "two", spectrum, two_devices)
  assert together == pytest.approx(alone, rel=1e-3)
  with pytest.raises(ValueError, match="cannot be split over 2"):
    training.Trainer(
      spectrum,
      GRID,
      architecture=TINY,
      settings=dataclasses.replace(SETTINGS, batch_size=3),
      folder=tmp_path / "three",
      strategy=two_devices,
    )  # pyformat: disable


def test_two_machines_train_as_one(spectrum, tmp_path):
  """Two processes that meet over the network, as on two machines."""
  ports = []
  for _ in range(2):
    with socket.socket() as free:
      free.bind(("localhost", 0))
      ports.append(free.getsockname()[1])
  workers = [f"localhost:{port}" for port in ports]
  code = (
    "import pathlib, sys, tensorflow as tf;"
    "strategy = tf.distribute.MultiWorkerMirroredStrategy();"
    "import test_neural_prior as t; from tfp_massmap import spectra;"
    "spectrum = spectra.PowerSpectrum.fiducial_cosmos();"
    "print('LOSSES', list(t._short_training("
    "pathlib.Path(sys.argv[1]), spectrum, strategy).values()))"
  )
  processes = []
  for index in range(2):
    task = dict(cluster=dict(worker=workers), task=dict(type="worker", index=index))
    processes.append(
      subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / str(index))],
        env={
          **os.environ,
          "TF_CONFIG": json.dumps(task),
          "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
      )
    )  # pyformat: disable
  outputs = [process.communicate(timeout=240) for process in processes]
  found = [re.search(r"LOSSES (\[.*\])", out) for out, _ in outputs]
  assert all(found), outputs[0][1][-2000:]
  losses = [json.loads(match[1]) for match in found]
  alone = list(_short_training(tmp_path / "alone", spectrum).values())
  assert losses[0] == pytest.approx(losses[1], rel=1e-5)
  assert losses[0] == pytest.approx(alone, rel=1e-3)


def test_mixed_precision_stays_close(spectrum, tmp_path):
  """bfloat16 has 8 bits: losses of three steps agree to some per cent."""
  losses = []
  for mixed in (False, True):
    settings = dataclasses.replace(SETTINGS, num_steps=3, mixed_precision=mixed)
    trainer = training.Trainer(
      spectrum, GRID, architecture=TINY, settings=settings, folder=tmp_path / str(mixed)
    )
    losses.append(_losses(trainer, spectrum))
  assert losses[1] == pytest.approx(losses[0], rel=0.05) and losses[0] != losses[1]
  assert trainer.denoiser.network.layers[-1].compute_dtype == "bfloat16"
  assert all(w.dtype == "float32" for w in trainer.denoiser.network.weights)


@pytest.mark.parametrize("name", priors.shipped())
def test_shipped_priors_beat_the_gaussian_one(name):
  """On a simulated map of a seed that no training used: a tenth of the error at least."""
  card = priors.HybridPrior.load(name, CARD_GRID).card
  grid = geometry.PixelGrid((256, 256), card["pixel_scale_arcmin"] * u.arcmin)
  prior = priors.HybridPrior.load(name, grid)
  clean = simulate.ConvergenceSimulator(grid, seed=987654, periodic=False).map(0)
  noisy = clean + 0.05 * tf.random.stateless_normal(clean.shape, (1, 2))
  errors = [
    np.mean((denoiser.denoise(noisy, 0.05) - clean) ** 2)
    for denoiser in (prior, prior.gaussian)
  ]
  assert errors[0] < 0.9 * errors[1]
  assert card["training"]["num_steps"] > 0 and card["training"]["data"]["plane_weights"]


def test_a_name_that_does_not_ship():
  with pytest.raises(FileNotFoundError, match="The package has the priors"):
    priors.HybridPrior.load("euclid", GRID)
