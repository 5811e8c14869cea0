"""Records: ranks of exchangeable members, ties, classes and what is refused."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from tfp_massmap import calibration
from tfp_massmap.calibration import ranks as ranks_lib


def test_members_are_exchangeable_in_every_symmetric_test(calibrated):
  for each in calibrated[:3]:
    for name, ranks in each.ranks.items():
      if "own" not in name:
        assert (ranks.sum(axis=0) == ranks[0].sum()).all(), name
      assert (ranks.sum(axis=1) == ranks[0].sum()).all(), name


def test_ties_are_broken_evenly():
  """The p-value of equal counts is below 1e-3 once in a thousand seeds."""
  rng = np.random.default_rng(2)
  ranks = ranks_lib.member_ranks(np.zeros([5, 20_000]), rng)
  counts = np.bincount(ranks[0], minlength=5)
  assert stats.chisquare(counts).pvalue > 1e-3
  assert (np.sort(ranks, axis=0) == np.arange(5)[:, None]).all()


def test_band_power_of_maps_is_that_of_records(toy):
  """It also has the expectation of white noise, within 4 errors in 4 bands, twice."""
  maps = toy.field(np.random.default_rng(9), 3)
  record = calibration.measure(
    maps[1:], maps[0], grid=toy.grid, mask=toy.mask, settings=toy.settings
  )
  given = dict(mask=toy.mask, settings=toy.settings)
  power = calibration.map_band_power(maps, toy.grid, **given)
  np.testing.assert_allclose(power, record.band_power)
  white = np.random.default_rng(10).standard_normal([300, *toy.grid.shape])
  centred = dict(given, settings=dataclasses.replace(toy.settings, remove_mean=True))
  for kind in (given, centred):
    power = calibration.map_band_power(white, toy.grid, **kind)
    error = power.std(axis=0) / np.sqrt(len(power))
    assert (abs(power.mean(axis=0) - toy.grid.pixel_radians**2) < 4 * error).all()
  shifted = calibration.map_band_power(white + 1, toy.grid, **centred)
  np.testing.assert_allclose(shifted, power)


def test_small_surveys_have_no_distances_of_the_map(toy, calibrated):
  """A map observed by less than half has no distance, and no rank of it.

  Its distance would be 0 for all members, whose random ranks had p = 0.0005.
  """
  mask = np.zeros(toy.grid.shape, bool)
  mask[8:24, 4:24] = True
  records = []
  for index in range(3):
    maps = toy.field(np.random.default_rng(index), 5)
    records.append(
      calibration.measure(
        maps[1:], maps[0], grid=toy.grid, mask=mask, settings=toy.settings, seed=index
      )
    )
  assert calibration.names(records, "distances") == ["distances: patches"]
  tests = [row["test"] for row in calibration.table(records)]
  assert sum("TARP" in test for test in tests) == 1
  assert "TARP" in calibration.compare({"small": records, "toy": calibrated})


def test_arrays_of_a_record_give_it_again(calibrated):
  arrays = calibrated[0].to_arrays()
  again = calibration.Record.from_arrays(arrays).to_arrays()
  assert list(arrays) == list(again)
  for name, values in arrays.items():
    np.testing.assert_array_equal(values, again[name])


def test_impossible_maps_are_refused(toy):
  maps = toy.field(np.random.default_rng(0), 4)
  grid = toy.grid
  with pytest.raises(ValueError, match="at least two"):
    calibration.measure(maps[:1], maps[0], grid=grid)
  with pytest.raises(ValueError, match="truth must have shape"):
    calibration.measure(maps, maps[0, 1:], grid=grid)
  with pytest.raises(ValueError, match="not finite"):
    calibration.measure(maps, np.full(grid.shape, np.nan), grid=grid)
  with pytest.raises(ValueError, match="mask is empty"):
    calibration.measure(maps, maps[0], grid=grid, mask=np.zeros(grid.shape, bool))
  with pytest.raises(ValueError, match="too many"):
    narrow = calibration.Settings(num_bands=60)
    calibration.measure(maps, maps[0], grid=grid, settings=narrow)
  with pytest.raises(ValueError, match="maps must be"):
    calibration.map_band_power(maps[0], grid)
  with pytest.raises(ValueError, match="not finite"):
    calibration.map_band_power(np.full([2, *grid.shape], np.nan), grid)


def test_impossible_settings_are_refused():
  with pytest.raises(ValueError, match="kappa_quantiles must increase"):
    calibration.Settings(kappa_quantiles=(0.5, 0.4))
  with pytest.raises(ValueError, match="must not be negative"):
    calibration.Settings(patch=-1)
