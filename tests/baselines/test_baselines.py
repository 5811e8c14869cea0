"""The reference methods: identities, exact answers, other codes, what they refuse."""

import dataclasses

from astropy import units as u
from lenspack.image import inversion
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import power_estimation
from tfp_massmap import priors
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap import summary
from tfp_massmap.baselines import glimpse
from tfp_massmap.baselines import inpainted_kaiser_squires
from tfp_massmap.baselines import kaiser_squires
from tfp_massmap.baselines import mcalens
from tfp_massmap.baselines import noise_propagation
from tfp_massmap.baselines import wiener

SIZE = 40
GRID = geometry.PixelGrid((SIZE, SIZE), 1.0 * u.arcmin)


@pytest.fixture(name="prior")
def _prior(fiducial):
  return priors.GaussianPrior.from_spectrum(fiducial, GRID)


@pytest.fixture(name="survey")
def _survey():
  """No signal; gaps and uneven noise, low enough for every method to see something."""
  rng = np.random.default_rng(3)
  mask = rng.uniform(size=GRID.shape) > 0.1
  mask[5:13, 20:30] = False
  noise_std = 0.02 * rng.uniform(0.6, 1.8, [2, *GRID.shape])
  return _shear_map(np.zeros([2, *GRID.shape]), noise_std, mask)


def _shear_map(shear, noise_std, mask):
  return shear_map_lib.ShearMap(shear, noise_std, mask=mask, grid=GRID)


def _dense_filter(shear_map, prior):
  """(S^-1 + A' N^-1 A)^-1 and A' N^-1/2, matrices."""
  identity = np.eye(SIZE**2).reshape(-1, SIZE, SIZE)
  operator = lensing.shear_from_convergence(tf.constant(identity)).numpy()
  precision = (
    spectra.fourier_filter(
      tf.constant(identity), 1 / tf.cast(prior.mode_variance, tf.float64)
    )
    .numpy()
    .reshape(SIZE**2, -1)
  )
  weighted = (operator * shear_map.mask / shear_map.noise_std).reshape(SIZE**2, -1)
  return np.linalg.inv(precision + weighted @ weighted.T), weighted


def _dense_wiener(shear_map, prior):
  """(S^-1 + A' N^-1 A)^-1 A' N^-1 gamma, and its standard deviation, by matrices."""
  covariance, weighted = _dense_filter(shear_map, prior)
  data = np.where(shear_map.mask, shear_map.shear, 0) / shear_map.noise_std
  mean = covariance @ (weighted @ data.ravel())
  return mean.reshape(GRID.shape), np.sqrt(np.diag(covariance)).reshape(GRID.shape)


def test_wiener_solvers_and_spread_against_matrices(prior, survey):
  truth = prior.sample(seed=(1, 2)).numpy()
  shear_map = simulate.observe_like(truth, survey, seed=0)
  mean, std = _dense_wiener(shear_map, prior)
  for solver in wiener.SOLVERS:
    estimate = wiener.estimate(shear_map, prior, solver=solver)
    np.testing.assert_allclose(
      estimate.kappa, mean, atol=3e-4 * np.abs(mean).max(), err_msg=solver
    )
    assert estimate.settings["relative_residual"] <= 1e-5
  num = 100
  ratio = (
    wiener.standard_deviation(shear_map, prior, num_samples=num, batch_size=50) / std
  )
  # 1600 pixels that hang together; the mean square of each has error sqrt(2 / num).
  assert abs(np.mean(ratio**2) - 1) < 0.1 and 0.6 < ratio.min() and ratio.max() < 1.4


def test_messenger_and_proximal_say_when_they_did_not_converge(prior, survey):
  shear_map = simulate.observe_like(prior.sample(seed=(1, 2)).numpy(), survey, seed=0)
  for solver in wiener.SOLVERS:
    with pytest.raises(RuntimeError, match="max_iterations"):
      wiener.estimate(shear_map, prior, solver=solver, max_iterations=2)


def test_no_shear_gives_no_convergence(prior, survey):
  for solver in wiener.SOLVERS:
    estimate = wiener.estimate(survey, prior, solver=solver)
    assert not estimate.kappa.any()
    assert estimate.settings["relative_residual"] == 0
  with pytest.raises(RuntimeError, match="above rtol = 0"):
    shear_map = simulate.observe_like(_haloes(), survey, seed=0)
    wiener.estimate(shear_map, prior, solver="proximal", rtol=0.0, max_iterations=50)


def test_kaiser_squires_against_lenspack(survey):
  shear_map = simulate.observe_like(np.zeros(GRID.shape), survey, seed=0)
  plain = kaiser_squires.estimate(shear_map, 0 * u.arcmin).kappa
  expected, _ = inversion.ks93(*shear_map.shear)
  # They differ at the Nyquist frequencies, where the operator has no one value.
  modes, wanted = (np.fft.rfft2(kappa) for kappa in (plain, expected))
  inner = np.ones(modes.shape, bool)
  inner[SIZE // 2], inner[:, -1] = False, False
  tolerance = 1e-5 * np.abs(wanted).max()
  np.testing.assert_allclose(modes[inner], wanted[inner], atol=tolerance)


@pytest.mark.parametrize("smoothing", [0.0, 1.5])
def test_noise_of_kaiser_squires_is_exact(survey, smoothing):
  """Against the filter's own matrix."""
  impulses = np.zeros([2, SIZE, SIZE, SIZE, SIZE], np.float32)
  rows, columns = np.indices(GRID.shape)
  impulses[:, rows, columns, rows, columns] = 1
  transfer = kaiser_squires.transfer(GRID, smoothing * u.arcmin).astype(np.float32)
  variance = 0.0
  for component in range(2):
    shear = np.zeros([SIZE**2, 2, SIZE, SIZE], np.float32)
    shear[:, component] = impulses[component].reshape(-1, SIZE, SIZE)
    kappa = lensing.convergence_from_shear(tf.constant(shear))[0]
    response = spectra.fourier_filter(kappa, tf.constant(transfer)).numpy()
    noise = (survey.noise_std[component] * survey.mask).ravel()[:, None, None]
    variance = variance + np.sum((response * noise) ** 2, axis=0)
  std = kaiser_squires.standard_deviation(survey, smoothing * u.arcmin)
  np.testing.assert_allclose(std, np.sqrt(variance), rtol=1e-4)


def test_best_smoothing_is_best_and_an_end_is_refused(prior, survey):
  truths = prior.sample([4], seed=(5, 6)).numpy()
  scales = np.geomspace(0.3, 3, 7) * u.arcmin
  best, errors = kaiser_squires.choose_smoothing(survey, truths, seed=0, scales=scales)
  place = int(np.argmin(errors))
  assert scales[place - 1] < best < scales[place + 1]
  mocks = [simulate.observe_like(t, survey, seed=[0, i]) for i, t in enumerate(truths)]
  direct = np.mean(
    [
      summary.root_mean_square_error(
        kaiser_squires.estimate(mock, scales[place]).kappa, truth, mask=survey.mask
      )
      ** 2
      for mock, truth in zip(mocks, truths)
    ]
  )
  np.testing.assert_allclose(errors[place], np.sqrt(direct), rtol=1e-5)
  with pytest.raises(ValueError, match="an end of the scales"):
    kaiser_squires.choose_smoothing(survey, truths, seed=0, scales=[5, 6, 7] * u.arcmin)


def test_inpainting_without_gaps_is_kaiser_squires_and_fills_gaps(prior, survey):
  smooth = spectra.fourier_filter(
    prior.sample(seed=(7, 8)),
    kaiser_squires.transfer(GRID, 3 * u.arcmin).astype(np.float32),
  ).numpy()
  whole = dataclasses.replace(
    survey, mask=np.ones(GRID.shape, bool), noise_std=1e-4 * survey.noise_std
  )
  shear_map = simulate.observe_like(smooth, whole, seed=0)
  expected = kaiser_squires.estimate(shear_map, 0.5 * u.arcmin).kappa
  found = inpainted_kaiser_squires.estimate(
    shear_map, 0.5 * u.arcmin, num_iterations=3
  ).kappa
  np.testing.assert_allclose(found, expected, atol=1e-6)
  gaps = dataclasses.replace(whole, mask=survey.mask)
  shear_map = simulate.observe_like(smooth, gaps, seed=0)
  errors = [
    summary.root_mean_square_error(method.kappa, smooth, mask=survey.mask)
    for method in (
      inpainted_kaiser_squires.estimate(shear_map, 0 * u.arcmin),
      kaiser_squires.estimate(shear_map, 0 * u.arcmin),
    )
  ]
  assert errors[0] < 0.5 * errors[1], errors


def _haloes():
  """Three peaks with the profile of a softened isothermal sphere."""
  rows, columns = np.indices(GRID.shape)
  kappa = np.zeros(GRID.shape)
  for row, column, height in ((12, 10, 0.25), (28, 32, 0.3), (33, 12, 0.2)):
    kappa += height / (1 + ((rows - row) ** 2 + (columns - column) ** 2) / 2) ** 1.0
  return kappa


def test_sparse_methods_beat_the_wiener_filter_on_haloes(prior, survey):
  truth = _haloes()
  noisy = dataclasses.replace(survey, noise_std=4 * survey.noise_std)
  shear_map = simulate.observe_like(truth, noisy, seed=1)
  estimates = dict(
    wiener=wiener.estimate(shear_map, prior).kappa,
    mcalens=mcalens.estimate(
      shear_map, prior, thresholds=(3, 3, 3), finest_scale=1
    ).kappa,
    glimpse=glimpse.estimate(shear_map, (3.25, 2.25, 2.25, 2.25)).kappa,
  )
  error = {
    name: summary.root_mean_square_error(kappa, truth, mask=survey.mask)
    for name, kappa in estimates.items()
  }
  assert error["mcalens"] < 0.96 * error["wiener"], error
  assert error["glimpse"] < 0.9 * error["wiener"], error


def test_mcalens_takes_a_prior_of_double_precision(prior, survey):
  shear_map = simulate.observe_like(_haloes(), survey, seed=0)
  double = priors.GaussianPrior(
    tf.cast(prior.mode_variance, tf.float64), GRID.shape, dtype=tf.float64
  )
  kappa, expected = (mcalens.estimate(shear_map, p).kappa for p in (double, prior))
  assert kappa.dtype == np.float32
  np.testing.assert_allclose(kappa, expected, atol=1e-6)


def test_mcalens_without_detections_is_the_wiener_filter(prior, survey):
  shear_map = simulate.observe_like(prior.sample(seed=(1, 2)).numpy(), survey, seed=0)
  gaussian, sparse, _ = mcalens.components(shear_map, prior, thresholds=(1e3, 1e3, 1e3))
  assert not sparse.any()
  expected = wiener.estimate(shear_map, prior).kappa
  np.testing.assert_allclose(gaussian, expected, atol=2e-4 * np.abs(expected).max())


def test_mcalens_threshold_is_that_of_noise_and_gaussian_field(prior, survey):
  """A Gaussian field has coefficients of the assumed scatter, and few detections."""
  _, weight = noise_propagation.weighted_data(survey)
  filters, deviation, step = mcalens._dictionary(weight, prior, (1, 1, 1), 1)
  squared, exceeding = [], []
  for seed in range(4):
    truth = prior.sample(seed=(seed, 1)).numpy()
    shear_map = simulate.observe_like(truth, survey, seed=seed)
    shear, _ = noise_propagation.weighted_data(shear_map)
    gaussian = tf.constant(wiener.estimate(shear_map, prior).kappa)
    left = lensing.modes_from_shear(
      weight * (shear - lensing.shear_from_convergence(gaussian))
    )
    coefficients = tf.signal.irfft2d(
      tf.cast(filters * step, left.dtype) * left, fft_length=[SIZE, SIZE]
    )
    squared.append((coefficients / deviation).numpy()[:, survey.mask] ** 2)
    _, sparse, _ = mcalens.components(
      shear_map, prior, thresholds=(4, 4, 4), finest_scale=1
    )
    exceeding.append(np.mean(sparse > 1e-6))
  scatter = np.sqrt(np.mean(squared, axis=(0, 2)))
  # The coarser, the fewer independent coefficients.
  np.testing.assert_array_less(np.abs(scatter - 1), [0.03, 0.06, 0.15])
  assert np.mean(exceeding) < 0.01, exceeding


def test_mcalens_converges_and_says_when_it_has_not(prior, survey):
  """Its default tolerance leaves hardly anything of what it would still do."""
  noisy = dataclasses.replace(survey, noise_std=4 * survey.noise_std)
  shear_map = simulate.observe_like(_haloes(), noisy, seed=1)
  kappa = mcalens.estimate(shear_map, prior, thresholds=(3, 2)).kappa
  limit = mcalens.estimate(shear_map, prior, thresholds=(3, 2), tolerance=2e-5).kappa
  assert np.std(kappa - limit) < 0.02 * np.std(limit)
  with pytest.raises(RuntimeError, match="max_iterations"):
    mcalens.estimate(
      shear_map, prior, thresholds=(3, 2), tolerance=1e-5, max_iterations=1
    )


@pytest.mark.parametrize("num_reweightings", [0, 1])
def test_glimpse_reaches_its_minimum(survey, num_reweightings):
  """No small step to either side of it lowers the objective, re-weighted or not."""
  shear_map = simulate.observe_like(_haloes(), survey, seed=1)
  shear, weight = noise_propagation.weighted_data(shear_map)
  filters, limits = glimpse.penalty(weight.numpy(), np.full([3, 1, 1], 3.0))

  def minimum(number):
    return glimpse.estimate(
      shear_map, (3, 3, 3), num_iterations=3000, num_reweightings=number, positive=False
    ).kappa.astype(np.float64)

  def coefficients(kappa):
    return np.fft.irfft2(filters * np.fft.rfft2(kappa), s=GRID.shape)

  before = minimum(0)
  if num_reweightings:
    typical_weight = weight.numpy()[weight > 0].mean()
    size = np.abs(coefficients(before)) * typical_weight / limits
    limits = limits / (1 + size)

  def objective(kappa):
    residual = shear - lensing.shear_from_convergence(tf.constant(kappa, tf.float32))
    penalty = np.sum(limits * np.abs(coefficients(kappa)))
    return 0.5 * np.sum(weight * residual**2) + penalty

  found = minimum(num_reweightings)
  least = objective(found)
  if num_reweightings:
    # Re-weighting more or less would have gone further or not as far.
    for step in (-0.2, 0.2):
      assert objective(found + step * (before - found)) > least
  rng = np.random.default_rng(0)
  for scale in (0.5, 2.0, 4.0):
    bump = np.fft.irfft2(
      np.fft.rfft2(rng.standard_normal(GRID.shape))
      * kaiser_squires.transfer(GRID, scale * u.arcmin),
      s=GRID.shape,
    )
    for step in (-0.03, 0.03):
      moved = found + step * np.abs(found).max() * bump / np.abs(bump).max()
      assert objective(moved) > least


def test_glimpse_reweighting_gives_peaks_back(survey):
  truth = _haloes()
  shear_map = simulate.observe_like(truth, survey, seed=1)
  lost = [
    (
      truth
      - truth.mean()
      - glimpse.estimate(shear_map, (3, 2, 2), num_reweightings=number).kappa
    )[[12, 28, 33], [10, 32, 12]]
    for number in (0, 1)
  ]
  np.testing.assert_array_less(lost[1] + 0.02, lost[0])


def test_glimpse_positivity_is_a_floor(survey):
  """Many pixels lie on it, and it is above the least value of the free map."""
  shear_map = simulate.observe_like(_haloes(), survey, seed=1)
  maps = [
    glimpse.estimate(shear_map, (3, 2, 2), positive=positive).kappa
    for positive in (False, True)
  ]
  free, positive = (np.sum(kappa < kappa.min() + 1e-6) for kappa in maps)
  assert free == 1 and positive > 10
  assert 0.6 * maps[0].min() < maps[1].min() < 0


@pytest.mark.parametrize("shape", [(48, 64), (33, 40)])
def test_sparse_methods_take_any_shape(fiducial, shape):
  grid = geometry.PixelGrid(shape, 1.0 * u.arcmin)
  prior = priors.GaussianPrior.from_spectrum(fiducial, grid)
  mock = simulate.mock_observation(
    prior.sample(seed=(0, 1)).numpy(),
    grid,
    survey=simulate.uniform_survey(100 / u.arcmin**2, 0.3),
    seed=2,
  )
  first = mcalens.estimate(mock, prior, thresholds=(3, 2))
  assert first.kappa.shape == shape and first.method == "mcalens"
  assert glimpse.estimate(mock, (3, 2, 2), num_iterations=5).kappa.shape == shape


def test_a_batch_of_the_sparse_methods_is_its_maps(prior, survey):
  """MCALens goes on with all maps until the last has converged."""
  shears = []
  for truth in (_haloes(), 2 * _haloes()[::-1], prior.sample(seed=(1, 2)).numpy()):
    shear_map = simulate.observe_like(truth, survey, seed=len(shears))
    shears.append(noise_propagation.weighted_data(shear_map)[0])
  _, weight = noise_propagation.weighted_data(survey)
  sparse = glimpse._reconstructor(weight, (3, 2), 50, 1, True)
  both = mcalens._separator(survey, prior, (3, 2), 2, 0.003, 30)
  for method, tolerance in (
    (sparse, 1e-5),
    (lambda shear: tf.add(*both(shear)[:2]), 0.02),
  ):
    batch = method(tf.stack(shears))
    alone = tf.concat([method(shear[tf.newaxis]) for shear in shears], axis=0)
    scale = tolerance * np.std(alone, axis=(1, 2), keepdims=True)
    np.testing.assert_array_less(
      np.std(batch - alone, axis=(1, 2), keepdims=True), scale
    )


def test_propagated_noise_of_a_linear_method_is_its_exact_noise(survey):
  transfer = kaiser_squires.transfer(GRID, 2 * u.arcmin).astype(np.float32)
  linear = lambda shear: spectra.fourier_filter(
    lensing.convergence_from_shear(shear)[0], tf.constant(transfer)
  )
  found = noise_propagation.standard_deviation(
    linear, survey, num_realisations=200, seed=0
  )
  exact = kaiser_squires.standard_deviation(survey, 2 * u.arcmin)
  # Some 90 independent pixels, each a chi square of 199.
  assert abs(np.mean((found / exact) ** 2) - 1) < 5 * np.sqrt(2 / 199 / 90)


def test_propagated_noise_of_the_sparse_methods_is_the_scatter_of_their_estimates(
  prior, survey
):
  """Of other mocks of the same map; and reproducible."""
  shear_map = simulate.observe_like(_haloes(), survey, seed=1)
  for method, settings in (
    (mcalens, dict(prior=prior, thresholds=(3, 3, 3))),
    (glimpse, dict(thresholds=(3, 2, 2))),
    (inpainted_kaiser_squires, dict(num_iterations=10)),
  ):
    truth = method.estimate(shear_map, **settings).kappa
    mocks = [
      simulate.observe_like(truth, survey, seed=100 + seed) for seed in range(16)
    ]
    scatter = np.std(
      [method.estimate(m, **settings).kappa for m in mocks], axis=0, ddof=1
    )
    std = method.standard_deviation(shear_map, **settings)
    assert std.shape == GRID.shape
    ratio = np.mean(std[survey.mask] ** 2) / np.mean(scatter[survey.mask] ** 2)
    assert abs(ratio - 1) < 0.15, method
    again = method.standard_deviation(shear_map, **settings)
    np.testing.assert_array_equal(again, std)


def test_propagated_noise_of_mcalens_without_detections_is_exact(prior, survey):
  """That of the Wiener filter, C A' N^-1, by matrices."""
  covariance, weighted = _dense_filter(survey, prior)
  exact = np.sqrt(np.sum((covariance @ weighted) ** 2, axis=1)).reshape(GRID.shape)
  std = mcalens.standard_deviation(
    survey, prior, thresholds=(1e3, 1e3, 1e3), num_realisations=50
  )
  ratio = np.mean(std[survey.mask] ** 2) / np.mean(exact[survey.mask] ** 2)
  assert abs(ratio - 1) < 0.06
  np.testing.assert_allclose(std, exact, rtol=0.5)


def test_estimated_power_is_that_of_the_field(fiducial):
  """A field of twice the power: mean of three nodes within four of their errors."""
  grid = geometry.PixelGrid((96, 96), 1.0 * u.arcmin)
  doubled = spectra.PowerSpectrum(fiducial.ell, 2 * fiducial.c_ell)
  truth = priors.GaussianPrior.from_spectrum(doubled, grid).sample(seed=(3, 4))
  survey = simulate.uniform_survey(300 / u.arcmin**2, 0.3)
  mock = simulate.mock_observation(truth.numpy(), grid, survey=survey, seed=1)
  mask = mock.mask.copy()
  mask[20:50, 30:70] = False
  mock = dataclasses.replace(mock, mask=mask)
  found = power_estimation.estimate(mock, fiducial, num_nodes=4)
  error = np.sqrt(np.diag(found.covariance))
  assert found.last_step < 0.01
  # Random simulations of the model add 1/8 to the variance.
  np.testing.assert_array_less(
    np.abs(found.log_ratio - np.log(2))[1:], 4 * np.sqrt(9 / 8) * error[1:] + 0.03
  )
  assert error[1:3].max() < 0.3
  found.spectrum.mode_variance(grid)


def test_wiener_filter_with_the_estimated_power_is_that_with_the_true_one(fiducial):
  """Where the spectrum that the estimate starts from is far worse."""
  grid = geometry.PixelGrid((96, 96), 1.0 * u.arcmin)
  weak = spectra.PowerSpectrum(fiducial.ell, 0.3 * fiducial.c_ell)
  priors = [priors.GaussianPrior.from_spectrum(s, grid) for s in (weak, fiducial)]
  truth = priors[0].sample(seed=(0, 4)).numpy()
  survey = simulate.uniform_survey(300 / u.arcmin**2, 0.3)
  mock = simulate.mock_observation(truth, grid, survey=survey, seed=0)
  mask = mock.mask.copy()
  mask[20:50, 30:70] = False
  mock = dataclasses.replace(mock, mask=mask)
  found = power_estimation.estimate(mock, fiducial).spectrum
  priors.append(priors.GaussianPrior.from_spectrum(found, grid))
  best, before, after = (
    summary.root_mean_square_error(wiener.estimate(mock, p).kappa, truth, mask=mask)
    for p in priors
  )
  assert after < 1.01 * best and before > 1.1 * best


def test_power_estimation_says_when_it_did_not_converge(prior, survey, fiducial):
  shear_map = simulate.observe_like(prior.sample(seed=(1, 2)).numpy(), survey, seed=0)
  with pytest.raises(RuntimeError, match="node .* above tolerance = 0.1"):
    power_estimation.estimate(shear_map, fiducial, num_iterations=1)
  grid = geometry.PixelGrid((64, 64), 1.0 * u.arcmin)
  uneven = np.random.default_rng(0).choice([1e-6, 1.0], [2, *grid.shape])
  shear = uneven * np.random.default_rng(1).standard_normal(uneven.shape)
  mask = np.ones(grid.shape, bool)
  with pytest.raises(RuntimeError, match="Wiener filter stopped after 500"):
    power_estimation.estimate(
      shear_map_lib.ShearMap(shear, uneven, mask=mask, grid=grid),
      fiducial,
      num_simulations=2,
    )


def test_what_the_methods_refuse(prior, survey, fiducial):
  bare = survey.shear
  for name, method, *others in (
    ("MCALens", mcalens, prior),
    ("GLIMPSE", glimpse),
    ("Inpainting", inpainted_kaiser_squires),
    ("Kaiser-Squires", kaiser_squires),
    ("The Wiener filter", wiener, prior),
  ):
    for function in (method.estimate, method.standard_deviation):
      with pytest.raises(TypeError, match=f"{name} weights .* noise_std"):
        function(bare, *others)
  with pytest.raises(TypeError, match="Kaiser-Squires weights"):
    kaiser_squires.choose_smoothing(bare, np.zeros([1, *GRID.shape]), seed=0)
  with pytest.raises(TypeError, match="needs a shear_map.ShearMap.* got ndarray"):
    power_estimation.estimate(bare, fiducial)
  with pytest.raises(TypeError, match="needs a prior.GaussianPrior"):
    wiener.estimate(survey, fiducial)
  other = geometry.PixelGrid((32, 32), 1.0 * u.arcmin)
  with pytest.raises(ValueError, match="periodic maps of shape"):
    mcalens.estimate(survey, priors.GaussianPrior.from_spectrum(fiducial, other))
  lopsided = prior.mode_variance.numpy()
  lopsided[1, 0] *= 3
  with pytest.raises(ValueError, match="not that of a real periodic field"):
    wiener.estimate(survey, priors.GaussianPrior(lopsided, GRID.shape))
  for call, message in (
    (lambda: wiener.estimate(survey, prior, solver="newton"), "solver must be one of"),
    (lambda: wiener.estimate(survey, prior, max_iterations=0), "at least 1, or None"),
    (lambda: wiener.standard_deviation(survey, prior, num_samples=0), "num_samples"),
    (lambda: kaiser_squires.estimate(survey, -1 * u.arcmin), "not be negative"),
    (lambda: inpainted_kaiser_squires.estimate(survey, num_iterations=0), "positive"),
    (lambda: glimpse.estimate(survey, (3, 0)), "thresholds must be positive"),
    (lambda: kaiser_squires.choose_smoothing(survey, [], seed=0), "at least one map"),
    (
      lambda: kaiser_squires.choose_smoothing(survey, np.zeros([2, 8, 8]), seed=0),
      "truths must be .* got \\(2, 8, 8\\)",
    ),
    (lambda: glimpse.estimate(survey), "6 thresholds.* 2 to 64 pixels.* room for 5"),
    (
      lambda: mcalens.estimate(survey, prior, thresholds=5 * (3,)),
      "5 thresholds.* 4 to 64 pixels.* room for 4",
    ),
    (
      lambda: mcalens.estimate(survey, prior, thresholds=(3,), finest_scale=7),
      "room for 0",
    ),
    (
      lambda: mcalens.estimate(survey, prior, thresholds=4),
      "one for each starlet scale",
    ),
    (lambda: mcalens.estimate(survey, prior, finest_scale=0), "finest_scale must"),
    (
      lambda: mcalens.standard_deviation(
        survey, prior, thresholds=(3, 3), num_realisations=1
      ),
      "at least 2 noise",
    ),
    (lambda: power_estimation.estimate(survey, fiducial, num_nodes=1), "num_nodes"),
  ):
    with pytest.raises(ValueError, match=message):
      call()
