"""Figures of merit: exact answers on a conjugate model, an oracle, errors.

Seeds are fixed. Bounds at 4 standard errors fail by chance for one seed in 16,000,
p-values below 0.001 for one in a thousand.
"""

import numpy as np
import pytest

from tfp_massmap import calibration
from tfp_massmap.calibration import ranks as ranks_lib
from tfp_massmap.calibration import statistics


def test_calibrated_samples_pass(calibrated):
  tests = calibration.names(calibrated, "pixels")
  tests += calibration.names(calibrated, "modes")
  assert any("own kappa, highest 1 %" in n for n in tests)
  assert any("0 to 1 arcmin from a gap" in n for n in tests)
  for name in tests:
    covered = calibration.coverage(calibrated, name)
    # Classes of a few pixels in few truths have tails wider than normal.
    bound = 4.5 * covered.error + 0.005
    assert (abs(covered.value - covered.expected) < bound).all(), name
    spread = calibration.std_over_error(calibrated, name)
    assert abs(spread.value - 1) < 4.5 * spread.error, name
    offset = calibration.bias(calibrated, name)
    assert abs(offset.value) < 4.5 * offset.error, name
  assert calibration.rank_histogram(calibrated, "pixels: observed").p_value > 0.01
  for name in ("distances: patches", "distances: map"):
    assert calibration.tarp(calibrated, name)[2].p_value > 0.01


def test_coverage_is_exact_for_few_samples():
  """Ordinary quantiles of 5 samples would cover 68 % only 57 % of the time."""
  rng = np.random.default_rng(1)
  values = rng.standard_normal([6, 200_000])
  everywhere = {"all": np.ones(200_000, bool)}
  histogram, _ = ranks_lib.tally(values, everywhere, rng=rng)["all"]
  for level in (0.1, 0.68, 0.95):
    weights = statistics.interval_weights(level, 6)
    assert weights.sum() == pytest.approx(6 * level)
    assert histogram[0] @ weights / 200_000 == pytest.approx(level, abs=0.0045)
  inside = np.quantile(values[1:], [0.16, 0.84], axis=0)
  ordinary = np.mean((values[0] > inside[0]) & (values[0] < inside[1]))
  assert ordinary < 0.6


def test_coverage_of_pixels_chosen_by_the_truth_is_expected_below_the_level(calibrated):
  covered = calibration.coverage(calibrated, "pixels: own kappa, highest 1 %")
  assert covered.expected[0] < 0.5
  strict = calibration.coverage(calibrated, "pixels: posterior mean, highest 1 %")
  np.testing.assert_allclose(strict.expected, [0.68, 0.95])


@pytest.mark.parametrize("scale, shift", [(0.8, 0.0), (1.25, 0.0), (1.0, 0.5)])
def test_flawed_samples_fail_by_the_known_amount(toy, scale, shift):
  records, num = toy.records(scale, shift), toy.num_samples
  name = "pixels: observed"
  covered = calibration.coverage(records, name, levels=[0.68])
  # truth - mean is a unit normal, samples - mean N(shift, scale); M = 13 ranks.
  wanted = toy.expected_ranks(scale, shift, num)
  wanted = wanted @ statistics.interval_weights(0.68, num + 1)
  assert abs(covered.value - wanted) < 4 * covered.error
  spread = calibration.std_over_error(records, name)
  assert abs(spread.value - scale / np.hypot(1, shift)) < 4 * spread.error
  assert calibration.rank_histogram(records, name).p_value < 0.002
  offset = calibration.bias(records, name)
  if shift:
    assert offset.value > 10 * offset.error
    from_mean = 1 + 1 / num + shift**2  # squared, truth from the samples' mean
    truth = (num / 13) ** 2 * from_mean
    rms = np.sqrt((truth + num * (1 - 1 / num + from_mean / 169)) / 13)
    assert abs(offset.value - shift / rms) < 4 * offset.error
  else:
    assert abs(offset.value) < 4 * offset.error
    assert calibration.tarp(records)[2].p_value < 0.002
    power = calibration.band_power(records)
    assert abs(power.value[-1] - (4 + scale**2) / 5) < 4 * power.error[-1]


def test_errors_include_the_correlation_of_pixels(toy, calibrated):
  """The error over truths is the scatter between independent sets of truths.

  The ratio of the two is chi with 7 degrees of freedom, out of bounds in 3e-3.
  """
  share = lambda records: calibration.coverage(
    records, "pixels: observed", levels=[0.68]
  )
  starts = range(0, toy.num_truths, 5)
  shares = [share(calibrated[i : i + 5]).value[0] for i in starts]
  own = share(calibrated).error[0]
  scatter = np.std(shares, ddof=1) / np.sqrt(len(shares))
  assert 0.4 < own / scatter < 2.2
  pixels = toy.num_truths * toy.mask.sum()
  assert own > 2 * np.sqrt(0.68 * 0.32 / pixels)


def test_tarp_against_the_reference_implementation(toy):
  tarp = pytest.importorskip("tarp", reason="needs tarp and deprecation")
  rng = np.random.default_rng(3)
  truths, samples = rng.standard_normal([60, 4]), 0.7 * rng.standard_normal([20, 60, 4])
  points = rng.standard_normal([60, 4])
  records = [
    _distance_record(toy, truths[t], samples[:, t], points[t]) for t in range(60)
  ]
  levels, covered, _ = calibration.tarp(records)
  theirs, alpha = tarp.get_tarp_coverage(
    samples,
    truths,
    references=points,
    metric="euclidean",
    norm=False,
    num_alpha_bins=21,
  )
  # 21 bins for the 21 possible shares of 20 samples, of which 0 and 1 both occur.
  assert alpha[0] == 0 and alpha[-1] == 1 and len(levels) == 22
  np.testing.assert_allclose(covered.value, theirs, atol=1e-12)


def test_tarp_in_one_dimension_is_exact(toy):
  """A ball around a far point is a half-line: TARP is the distribution of ranks."""
  rng = np.random.default_rng(4)
  records = [
    _distance_record(toy, rng.normal(size=1), 0.5 * rng.standard_normal([9, 1]), [-1e3])
    for _ in range(2500)
  ]
  levels, covered, largest = calibration.tarp(records)
  wanted = np.concatenate([[0], np.cumsum(toy.expected_ranks(0.5, 0.0, 9))])
  np.testing.assert_allclose(covered.value, wanted, atol=4 * 0.5 / np.sqrt(2500))
  assert largest.value == pytest.approx(np.abs(wanted - levels).max(), abs=0.03)
  assert largest.p_value < 0.002 and largest.expected < 0.02


def _distance_record(toy, truth, samples, point):
  members = np.concatenate([[truth], samples])
  squares = np.sum((members - point) ** 2, axis=1, keepdims=True)
  rng = np.random.default_rng(0)
  histogram, sums = ranks_lib.tally(squares, {"all": np.ones(1, bool)}, rng=rng)["all"]
  name = "distances: patches"
  return calibration.Record(
    {name: histogram},
    {name: sums},
    band_power=np.zeros([len(members), 0]),
    band_edges=np.zeros(0),
    settings=toy.settings,
  )


def test_impossible_records_are_refused(toy):
  maps = toy.field(np.random.default_rng(0), 4)
  pair = [
    calibration.measure(maps[:n], maps[3], grid=toy.grid, settings=toy.settings)
    for n in (2, 3)
  ]
  with pytest.raises(ValueError, match="no records"):
    calibration.names([])
  with pytest.raises(ValueError, match="one number of samples"):
    calibration.coverage(pair, "pixels: observed")
  with pytest.raises(ValueError, match="No record has a test"):
    calibration.coverage(pair[:1], "nothing")
