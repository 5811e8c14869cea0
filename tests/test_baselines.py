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
from tfp_massmap import prior as prior_lib
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
  return prior_lib.GaussianPrior.from_spectrum(fiducial, GRID)


@pytest.fixture(name="survey")
def _survey():
  """No signal; gaps and uneven noise, low enough for every method to see something."""
  rng = np.random.default_rng(3)
  mask = rng.uniform(size=GRID.shape) > 0.1
  mask[5:13, 20:30] = False
  noise_std = 0.02 * rng.uniform(0.6, 1.8, [2, *GRID.shape])
  return _shear_map(np.zeros([2, *GRID.shape]), noise_std, mask)


def _shear_map(shear, noise_std, mask):
  return shear_map_lib.ShearMap(shear, noise_std, mask, GRID)


def _dense_wiener(shear_map, prior):
  """(S^-1 + A' N^-1 A)^-1 A' N^-1 gamma, and its covariance, by matrices."""
  identity = np.eye(SIZE**2).reshape(-1, SIZE, SIZE)
  operator = lensing.shear_from_convergence(tf.constant(identity)).numpy()
  operator = operator.reshape(SIZE**2, -1)
  precision = spectra.fourier_filter(
      tf.constant(identity), 1 / tf.cast(prior.mode_variance, tf.float64)
  ).numpy().reshape(SIZE**2, -1)
  mask = np.broadcast_to(shear_map.mask, shear_map.shear.shape)
  weight = np.where(mask, shear_map.noise_std**-2.0, 0).ravel()
  precision = precision + (operator * weight) @ operator.T
  covariance = np.linalg.inv(precision)
  data = np.where(mask, shear_map.shear, 0).ravel()
  mean = covariance @ (operator @ (weight * data))
  return mean.reshape(GRID.shape), np.sqrt(np.diag(covariance)).reshape(GRID.shape)


def test_wiener_solvers_and_spread_against_matrices(prior, survey):
  truth = prior.sample(seed=(1, 2)).numpy()
  shear_map = simulate.observe_like(truth, survey, 0)
  mean, std = _dense_wiener(shear_map, prior)
  for solver in wiener.SOLVERS:
    estimate = wiener.estimate(shear_map, prior, solver)
    np.testing.assert_allclose(
        estimate.kappa, mean, atol=3e-4 * np.abs(mean).max(), err_msg=solver
    )
    assert estimate.settings["relative_residual"] <= 1e-5
  num = 100
  ratio = wiener.standard_deviation(shear_map, prior, num, batch_size=50) / std
  # 1600 pixels that hang together; the mean square of each has error sqrt(2 / num).
  assert abs(np.mean(ratio**2) - 1) < 0.1 and 0.6 < ratio.min() and ratio.max() < 1.4


def test_messenger_and_proximal_say_when_they_did_not_converge(prior, survey):
  shear_map = simulate.observe_like(prior.sample(seed=(1, 2)).numpy(), survey, 0)
  for solver in wiener.SOLVERS:
    with pytest.raises(RuntimeError, match="max_iterations"):
      wiener.estimate(shear_map, prior, solver, max_iterations=2)


def test_no_shear_gives_no_convergence(prior, survey):
  for solver in wiener.SOLVERS:
    estimate = wiener.estimate(survey, prior, solver)
    assert not estimate.kappa.any()
    assert estimate.settings["relative_residual"] == 0
  with pytest.raises(RuntimeError, match="above rtol = 0"):
    shear_map = simulate.observe_like(_haloes(), survey, 0)
    wiener.estimate(shear_map, prior, "proximal", rtol=0.0, max_iterations=50)


def test_kaiser_squires_against_lenspack(survey):
  shear_map = simulate.observe_like(np.zeros(GRID.shape), survey, 0)
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
  best, errors = kaiser_squires.choose_smoothing(survey, truths, 0, scales)
  place = int(np.argmin(errors))
  assert scales[place - 1] < best < scales[place + 1]
  mocks = [simulate.observe_like(t, survey, [0, i]) for i, t in enumerate(truths)]
  direct = np.mean([
      summary.root_mean_square_error(
          kaiser_squires.estimate(mock, scales[place]).kappa, truth, survey.mask
      ) ** 2
      for mock, truth in zip(mocks, truths)
  ])
  np.testing.assert_allclose(errors[place], np.sqrt(direct), rtol=1e-5)
  with pytest.raises(ValueError, match="an end of the scales"):
    kaiser_squires.choose_smoothing(survey, truths, 0, [5, 6, 7] * u.arcmin)


def test_inpainting_without_gaps_is_kaiser_squires_and_fills_gaps(prior, survey):
  smooth = spectra.fourier_filter(
      prior.sample(seed=(7, 8)),
      kaiser_squires.transfer(GRID, 3 * u.arcmin).astype(np.float32),
  ).numpy()
  whole = dataclasses.replace(
      survey, mask=np.ones(GRID.shape, bool), noise_std=1e-4 * survey.noise_std
  )
  shear_map = simulate.observe_like(smooth, whole, 0)
  expected = kaiser_squires.estimate(shear_map, 0.5 * u.arcmin).kappa
  found = inpainted_kaiser_squires.estimate(shear_map, 0.5 * u.arcmin, 3).kappa
  np.testing.assert_allclose(found, expected, atol=1e-6)
  gaps = dataclasses.replace(whole, mask=survey.mask)
  shear_map = simulate.observe_like(smooth, gaps, 0)
  errors = [
      summary.root_mean_square_error(method.kappa, smooth, survey.mask)
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
  shear_map = simulate.observe_like(truth, noisy, 1)
  estimates = dict(
      wiener=wiener.estimate(shear_map, prior).kappa,
      mcalens=mcalens.estimate(shear_map, prior, (3, 3, 3), 1).kappa,
      glimpse=glimpse.estimate(shear_map, (3.25, 2.25, 2.25, 2.25)).kappa,
  )
  error = {
      name: summary.root_mean_square_error(kappa, truth, survey.mask)
      for name, kappa in estimates.items()
  }
  assert error["mcalens"] < 0.96 * error["wiener"], error
  assert error["glimpse"] < 0.9 * error["wiener"], error


def test_mcalens_takes_a_prior_of_double_precision(prior, survey):
  shear_map = simulate.observe_like(_haloes(), survey, 0)
  double = prior_lib.GaussianPrior(
      tf.cast(prior.mode_variance, tf.float64), GRID.shape, dtype=tf.float64
  )
  kappa, expected = (mcalens.estimate(shear_map, p).kappa for p in (double, prior))
  assert kappa.dtype == np.float32
  np.testing.assert_allclose(kappa, expected, atol=1e-6)


def test_mcalens_without_detections_is_the_wiener_filter(prior, survey):
  shear_map = simulate.observe_like(prior.sample(seed=(1, 2)).numpy(), survey, 0)
  gaussian, sparse, _ = mcalens.components(shear_map, prior, (1e3, 1e3, 1e3))
  assert not sparse.any()
  expected = wiener.estimate(shear_map, prior).kappa
  np.testing.assert_allclose(gaussian, expected, atol=2e-4 * np.abs(expected).max())


def test_mcalens_threshold_is_that_of_noise_and_gaussian_field(prior, survey):
  """Few detections in a Gaussian field: 4 sigma, and neighbours hang together."""
  exceeding = []
  for seed in range(4):
    truth = prior.sample(seed=(seed, 1)).numpy()
    shear_map = simulate.observe_like(truth, survey, seed)
    _, sparse, _ = mcalens.components(shear_map, prior, (4, 4, 4), 1)
    exceeding.append(np.mean(sparse > 1e-6))
  assert np.mean(exceeding) < 0.01, exceeding


def test_mcalens_converges_and_says_when_it_has_not(prior, survey):
  """Its default tolerance leaves hardly anything of what it would still do."""
  noisy = dataclasses.replace(survey, noise_std=4 * survey.noise_std)
  shear_map = simulate.observe_like(_haloes(), noisy, 1)
  kappa = mcalens.estimate(shear_map, prior, (3, 2)).kappa
  limit = mcalens.estimate(shear_map, prior, (3, 2), tolerance=2e-5).kappa
  assert np.std(kappa - limit) < 0.02 * np.std(limit)
  with pytest.raises(RuntimeError, match="max_iterations"):
    mcalens.estimate(shear_map, prior, (3, 2), tolerance=1e-5, max_iterations=1)


def test_glimpse_reaches_its_minimum(survey):
  """No small step to either side of it lowers the objective."""
  shear_map = simulate.observe_like(_haloes(), survey, 1)
  shear, weight = noise_propagation.weighted_data(shear_map)
  filters, limits = glimpse.penalty(weight.numpy(), np.full([3, 1, 1], 3.0))

  def objective(kappa):
    residual = shear - lensing.shear_from_convergence(tf.constant(kappa, tf.float32))
    modes = np.fft.rfft2(kappa)
    coefficients = np.fft.irfft2(filters * modes, s=GRID.shape)
    return 0.5 * np.sum(weight * residual**2) + np.sum(limits * np.abs(coefficients))

  found = glimpse.estimate(
      shear_map, (3, 3, 3), 3000, num_reweightings=0, positive=False
  ).kappa.astype(np.float64)
  least = objective(found)
  rng = np.random.default_rng(0)
  for scale in (0.5, 2.0, 4.0):
    bump = np.fft.irfft2(
        np.fft.rfft2(rng.standard_normal(GRID.shape))
        * kaiser_squires.transfer(GRID, scale * u.arcmin), s=GRID.shape,
    )
    for step in (-0.03, 0.03):
      moved = found + step * np.abs(found).max() * bump / np.abs(bump).max()
      assert objective(moved) > least


@pytest.mark.parametrize("shape", [(48, 64), (33, 40)])
def test_sparse_methods_take_any_shape_and_a_batch_is_its_maps(fiducial, shape):
  grid = geometry.PixelGrid(shape, 1.0 * u.arcmin)
  prior = prior_lib.GaussianPrior.from_spectrum(fiducial, grid)
  mock = simulate.mock_observation(
      prior.sample(seed=(0, 1)).numpy(), grid,
      simulate.uniform_survey(100 / u.arcmin**2, 0.3), 2,
  )
  first = mcalens.estimate(mock, prior, (3, 2))
  assert first.kappa.shape == shape and first.method == "mcalens"
  assert glimpse.estimate(mock, (3, 2, 2), num_iterations=5).kappa.shape == shape


def test_propagated_noise_of_a_linear_method_is_its_exact_noise(survey):
  transfer = kaiser_squires.transfer(GRID, 2 * u.arcmin).astype(np.float32)
  linear = lambda shear: spectra.fourier_filter(
      lensing.convergence_from_shear(shear)[0], tf.constant(transfer)
  )
  found = noise_propagation.standard_deviation(linear, survey, 200, 0)
  exact = kaiser_squires.standard_deviation(survey, 2 * u.arcmin)
  # Some 90 independent pixels, each a chi square of 199.
  assert abs(np.mean((found / exact) ** 2) - 1) < 5 * np.sqrt(2 / 199 / 90)


def test_propagated_noise_of_the_sparse_methods(prior, survey):
  """Less than the noise of the unfiltered map, more than nothing, and reproducible."""
  shear_map = simulate.observe_like(_haloes(), survey, 1)
  raw = kaiser_squires.standard_deviation(survey, 0 * u.arcmin)[survey.mask].mean()
  for std in (
      mcalens.standard_deviation(shear_map, prior, (3, 3, 3), num_realisations=4),
      glimpse.standard_deviation(shear_map, (3, 2, 2), num_realisations=4),
      inpainted_kaiser_squires.standard_deviation(
          shear_map, num_iterations=10, num_realisations=4
      ),
  ):
    assert std.shape == GRID.shape and 0.03 * raw < std[survey.mask].mean() < raw
  again = mcalens.standard_deviation(shear_map, prior, (3, 3, 3), num_realisations=4)
  first = mcalens.standard_deviation(shear_map, prior, (3, 3, 3), num_realisations=4)
  np.testing.assert_array_equal(again, first)


def test_estimated_power_is_that_of_the_field(fiducial):
  """A field of twice the power: mean of three nodes within four of their errors."""
  grid = geometry.PixelGrid((96, 96), 1.0 * u.arcmin)
  doubled = spectra.PowerSpectrum(fiducial.ell, 2 * fiducial.c_ell)
  truth = prior_lib.GaussianPrior.from_spectrum(doubled, grid).sample(seed=(3, 4))
  survey = simulate.uniform_survey(300 / u.arcmin**2, 0.3)
  mock = simulate.mock_observation(truth.numpy(), grid, survey, 1)
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
    kaiser_squires.choose_smoothing(bare, np.zeros([1, *GRID.shape]), 0)
  with pytest.raises(TypeError, match="needs a prior.GaussianPrior"):
    wiener.estimate(survey, fiducial)
  other = geometry.PixelGrid((32, 32), 1.0 * u.arcmin)
  with pytest.raises(ValueError, match="periodic maps of shape"):
    mcalens.estimate(survey, prior_lib.GaussianPrior.from_spectrum(fiducial, other))
  lopsided = prior.mode_variance.numpy()
  lopsided[1, 0] *= 3
  with pytest.raises(ValueError, match="not that of a real periodic field"):
    wiener.estimate(survey, prior_lib.GaussianPrior(lopsided, GRID.shape))
  for call, message in (
      (lambda: wiener.estimate(survey, prior, "newton"), "solver must be one of"),
      (lambda: wiener.estimate(survey, prior, max_iterations=0), "at least 1, or None"),
      (lambda: wiener.standard_deviation(survey, prior, 0), "num_samples"),
      (lambda: kaiser_squires.estimate(survey, -1 * u.arcmin), "not be negative"),
      (lambda: inpainted_kaiser_squires.estimate(survey, num_iterations=0), "positive"),
      (lambda: glimpse.estimate(survey, (3, 0)), "thresholds must be positive"),
      (lambda: kaiser_squires.choose_smoothing(survey, [], 0), "at least one map"),
      (lambda: kaiser_squires.choose_smoothing(survey, np.zeros([2, 8, 8]), 0),
       "truths must be .* got \\(2, 8, 8\\)"),
      (lambda: glimpse.estimate(survey), "6 thresholds.* 2 to 64 pixels.* room for 5"),
      (lambda: mcalens.estimate(survey, prior, 5 * (3,)),
       "5 thresholds.* 4 to 64 pixels.* room for 4"),
      (lambda: mcalens.estimate(survey, prior, (3,), finest_scale=7), "room for 0"),
      (lambda: mcalens.estimate(survey, prior, 4), "one for each starlet scale"),
      (lambda: mcalens.estimate(survey, prior, finest_scale=0), "finest_scale must"),
      (lambda: mcalens.standard_deviation(survey, prior, (3, 3),
                                          num_realisations=1), "at least 2 noise"),
      (lambda: power_estimation.estimate(survey, fiducial, num_nodes=1), "num_nodes"),
  ):
    with pytest.raises(ValueError, match=message):
      call()
