"""Band powers of samples, against the truths' and against those of all maps."""

import numpy as np
import pytest

from tfp_massmap import calibration


def test_calibrated_samples_have_the_power_of_the_truths(calibrated):
  """Four bands within 4.5 errors, one false alarm in 4,000 with normal errors."""
  power = calibration.band_power(calibrated)
  assert (abs(power.value - 1) < 4.5 * power.error).all()
  assert calibration.chi_square(calibrated).p_value > 0.01


def test_power_of_the_population_is_known_better_than_that_of_few_truths(toy):
  """Noise is three times the scatter of truths; samples are 5 % too strong.

  30 truths must show the 5 % within 4.5 errors in every one of 40 bands: one false
  alarm in 250, with 28 degrees of freedom. Errors are less than half those of
  `band_power`, and agree to 15 % with the scatter between 20 sets of truths and
  populations.
  """
  rng = np.random.default_rng(8)
  bands, num_samples, num_truths = 40, 400, 30

  def records():
    truth = 1 + 0.1 * rng.standard_normal([num_truths, bands])
    seen = truth + 0.3 * rng.standard_normal(truth.shape)
    mean, std = 1 + (seen - 1) / 10, 0.1 * np.sqrt(0.9)
    members = mean + std * rng.standard_normal([num_samples, *truth.shape])
    power = np.concatenate([truth[np.newaxis], 1.05 * members]).swapaxes(0, 1)
    return [
      calibration.Record(
        {"band power": 0},
        {},
        band_power=p,
        band_edges=np.arange(bands + 1),
        settings=toy.settings,
      )
      for p in power
    ]

  def population():
    return 1 + 0.1 * rng.standard_normal([500, bands])

  few = records()
  found = calibration.population_power(few, population())
  assert (abs(found.value - 1.05) < 4.5 * found.error).all()
  assert np.median(calibration.band_power(few).error / found.error) > 2
  sets = [calibration.population_power(records(), population()) for _ in range(20)]
  scatter = np.std([each.value for each in sets], axis=0, ddof=1)
  ratio = np.mean([each.error for each in sets]) / np.sqrt(np.mean(scatter**2))
  assert abs(ratio - 1) < 0.15


def test_impossible_populations_are_refused(toy):
  maps = toy.field(np.random.default_rng(0), 4)
  record = calibration.measure(maps[:2], maps[3], grid=toy.grid, settings=toy.settings)
  with pytest.raises(ValueError, match="more samples than bands"):
    calibration.chi_square([record])
  with pytest.raises(ValueError, match="8 records or more"):
    calibration.population_power(7 * [record], np.ones([9, 4]))
  for population in (np.ones([9, 3]), np.ones(4), np.ones([1, 4])):
    with pytest.raises(ValueError, match="population must be"):
      calibration.population_power(8 * [record], population)
