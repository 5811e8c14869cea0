"""Mocks with known flaws, samplers compiled once, and a prior of a user's own."""

import dataclasses
import types

from astropy import units as u
import mixture_prior
import numpy as np
import pytest

from tfp_massmap import calibration
from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import priors
from tfp_massmap import samplers
from tfp_massmap import shear_errors
from tfp_massmap import simulate
from tfp_massmap import spectra


@pytest.fixture(scope="module")
def survey():
  """A small survey, the Gaussian prior on its grid, and truths drawn from it."""
  grid = geometry.PixelGrid((32, 32), 0.29 * u.arcmin)
  galaxies = simulate.uniform_survey(20 / u.arcmin**2, 0.26)
  shear_map = simulate.mock_observation(
    np.zeros(grid.shape), grid, survey=galaxies, seed=1
  )
  power = spectra.PowerSpectrum.fiducial_cosmos()
  prior = priors.GaussianPrior.from_spectrum(power, grid)
  truth = lambda index: prior.sample(seed=(index, 1)).numpy()
  return types.SimpleNamespace(
    grid=grid, prior=prior, truth=truth, mocks=calibration.Mocks(truth, shear_map)
  )


def test_exact_samples_pass_and_wrong_noise_shows(survey):
  """30 truths within 4 errors; noise taken 40 % too small shows in 20 truths."""
  # The mean of so small a map has a seventh of its variance, whatever the noise.
  settings = calibration.Settings(remove_mean=True, num_bands=4, patch=8)
  exact = calibration.exact_sampler(survey.prior, 16)
  given = dict(grid=survey.grid, settings=settings)
  records = calibration.run(survey.mocks.draw(exact), 30, **given)
  covered = calibration.coverage(records, "pixels: observed")
  assert (abs(covered.value - covered.expected) < 4 * covered.error).all()
  assert calibration.tarp(records)[2].p_value > 0.01
  flawed = dataclasses.replace(survey.mocks, noise_factor=0.6)
  records = calibration.run(flawed.draw(exact), 20, **given)
  spread = calibration.std_over_error(records, "pixels: observed")
  assert spread.value < 1 - 4 * spread.error
  noise, assumed = (
    m.posterior(survey.prior).likelihood.typical_noise_std
    for m in (survey.mocks, flawed)
  )
  assert assumed == pytest.approx(0.6 * noise)


def test_each_mock_may_have_its_own_errors_of_the_shear(survey):
  """Signal and noise grow as they say, and the analysis does not know."""
  pairs = [shear_errors.Factors(0.0, 1.0), shear_errors.Factors(0.5, 2.0)]
  mocks = dataclasses.replace(survey.mocks, factors=pairs.__getitem__)
  for index, (bias, scale) in enumerate(pairs):
    truth, found = mocks.observe(index)
    _, plain = survey.mocks.observe(index)
    signal = np.asarray(lensing.shear_from_convergence(truth))
    expected = (1 + bias) * signal + scale * (plain.shear - signal)
    measured = plain.mask
    np.testing.assert_allclose(
      found.shear[:, measured], expected[:, measured], atol=1e-6
    )
    np.testing.assert_array_equal(found.noise_std, plain.noise_std)


def test_compiled_sampler_takes_the_data_of_each_mock(survey):
  """Guided samples of a Gaussian prior have the mean of exact ones for their mock only.

  The difference of two means of 64 samples is sqrt(2 / 64) of the standard deviation.
  """
  sampler = calibration.guided_sampler(
    survey.prior,
    64,
    settings=samplers.GuidedSettings(sweeps=(0.5,), sweep_steps=4),
    batch_size=64,
    jit_compile=False,
  )
  first, second = (survey.mocks.observe(i)[1] for i in range(2))
  samples = sampler(first, 0)
  for data, same in ((first, True), (second, False)):
    mean = calibration.exact_sampler(survey.prior, 64)(data, 1).mean(axis=0)
    difference = np.std(samples.mean(axis=0) - mean) / samples.std(axis=0).mean()
    assert (difference < 0.4) == same
  sampler(second, 0)
  np.testing.assert_array_equal(sampler(first, 0), samples)
  flawed = dataclasses.replace(survey.mocks, noise_factor=0.6)
  with pytest.raises(ValueError, match="The noise_std of this shear map"):
    sampler(flawed.observe(0)[1], 0)
  fewer = dataclasses.replace(first, mask=first.mask & (np.arange(32) > 3))
  with pytest.raises(ValueError, match="The mask of this shear map"):
    sampler(fewer, 0)


def test_posterior_sampler_is_that_of_samplers(survey):
  options = samplers.RunOptions(batch_size=2, jit_compile=False)
  _, shear_map = survey.mocks.observe(0)
  posterior = survey.mocks.posterior(survey.prior)
  assert posterior.likelihood.shear_map.noise_std is not None
  settings = samplers.GuidedSettings(sweeps=(0.5,), sweep_steps=3)
  sampler = calibration.posterior_sampler(
    survey.prior, 2, method="guided", settings=settings, options=options
  )
  compiled = calibration.guided_sampler(
    survey.prior, 2, settings=settings, batch_size=2, jit_compile=False
  )
  np.testing.assert_array_equal(sampler(shear_map, 3), compiled(shear_map, 3))


def test_batches_need_not_come_out_even(survey):
  """Five samples in batches of two: the last batch loses one."""
  _, shear_map = survey.mocks.observe(0)
  given = dict(
    settings=samplers.GuidedSettings(sweeps=(0.5,), sweep_steps=3), jit_compile=False
  )
  make = lambda num, size: calibration.guided_sampler(
    survey.prior, num, batch_size=size, **given
  )
  samples = make(5, 2)(shear_map, 3)
  assert samples.shape == (5, 32, 32)
  np.testing.assert_array_equal(samples, make(6, 2)(shear_map, 3)[:5])
  assert make(5, 4)(shear_map, 3).shape == (5, 32, 32)


def test_impossible_samplers_are_refused(survey):
  with pytest.raises(ValueError, match="must be positive; got 10, 0"):
    calibration.guided_sampler(survey.prior, 10, batch_size=0)
  with pytest.raises(ValueError, match="written to one file"):
    calibration.posterior_sampler(
      survey.prior, 2, method="guided", options=samplers.RunOptions(output="x.fits")
    )


def test_a_prior_of_a_users_own_runs_through_calibration(survey):
  """A prior that is not in the package gives a finite table, and calibrated pixels.

  Coverages lie within 4.5 errors; those of 12 truths have wider tails than normal.
  """
  prior = mixture_prior.MixturePrior(
    survey.prior, weights=(0.6, 0.4), factors=(0.5, 4.0)
  )

  def truth(index):
    chosen = np.random.default_rng(index).choice(2, p=prior.weights)
    return prior.parts[chosen].sample(seed=(index, 2)).numpy()

  mocks = calibration.Mocks(truth, survey.mocks.survey)
  sampler = calibration.guided_sampler(prior, 12, batch_size=12)
  settings = calibration.Settings(remove_mean=True, num_bands=3, patch=8)
  records = calibration.run(
    mocks.draw(sampler), 12, grid=survey.grid, settings=settings, label="mixture"
  )
  rows = calibration.table(records)
  figures = [[r["value"], r["error"], r["expected"]] for r in rows]
  assert len(rows) > 50 and np.isfinite(figures).all()
  covered = calibration.coverage(records, "pixels: observed")
  assert (abs(covered.value - covered.expected) < 4.5 * covered.error).all()
