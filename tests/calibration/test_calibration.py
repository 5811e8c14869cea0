"""Calibration: exact answers on conjugate toys, an oracle, errors.

Seeds are fixed; bounds at 4 standard errors fail by chance once in 16,000 draws of a
seed, p-values below .001 once in a thousand.
"""

import dataclasses
from logging import handlers

from astropy import units as u
import numpy as np
import pytest
from scipy import stats
import tensorflow as tf

from tfp_massmap import calibration
from tfp_massmap import geometry
from tfp_massmap import priors
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.calibration import figures
from tfp_massmap.calibration import ranks as ranks_lib
from tfp_massmap.calibration import statistics
from tfp_massmap.samplers import guided

GRID = geometry.PixelGrid((32, 32), 0.29 * u.arcmin)
SETTINGS = calibration.Settings(num_bands=4, patch=8, mask_distances=(1.0,))
NUM_TRUTHS, NUM = 40, 12
MASK = np.ones(GRID.shape, bool)
MASK[:8, :12] = False
TRANSFER = 1 / (1 + (GRID.multipoles() / 5000) ** 2)
TRANSFER /= np.sqrt(
  np.sum(TRANSFER**2 * geometry.half_plane_multiplicity(GRID.shape)) / MASK.size
)


def field(rng, *shape):
  """Correlated pixels of unit variance."""
  white = rng.standard_normal([*shape, *GRID.shape])
  return np.fft.irfft2(np.fft.rfft2(white) * TRANSFER, s=GRID.shape)


def toy_records(scale=1.0, shift=0.0, settings=SETTINGS, num_truths=NUM_TRUTHS):
  """Truth and samples are mean + correlated field, as in a conjugate Gaussian model."""
  records = []
  for index in range(num_truths):
    rng = np.random.default_rng([7, index])
    mean = 2 * field(rng)
    truth = mean + field(rng)
    samples = mean + scale * field(rng, NUM) + shift
    records.append(
      calibration.measure(
        samples, truth, grid=GRID, mask=MASK, settings=settings, seed=index
      )
    )
  return records


@pytest.fixture(scope="module")
def calibrated():
  return toy_records()


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
  power = calibration.band_power(calibrated)
  assert (abs(power.value - 1) < 4.5 * power.error).all()
  assert calibration.chi_square(calibrated).p_value > 0.01


def test_power_of_the_population_is_known_better_than_that_of_few_truths():
  """Truths seen through noise of three times their scatter; samples 5 % too strong.

  30 truths must show the 5 % within 4.5 errors in every one of 40 bands: one false alarm
  in 250, with 28 degrees of freedom. Errors are less than half those of `band_power`, and
  what the scatter between 20 sets of truths and populations says, to 15 %.
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
      ranks_lib.Record(
        {"band power": 0},
        {},
        band_power=p,
        band_edges=np.arange(bands + 1),
        settings=SETTINGS,
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


def test_band_power_of_maps_is_that_of_records(calibrated):
  """And its expectation, for white noise."""
  maps = field(np.random.default_rng(9), 3)
  record = calibration.measure(
    maps[1:], maps[0], grid=GRID, mask=MASK, settings=SETTINGS
  )
  power = calibration.map_band_power(maps, GRID, mask=MASK, settings=SETTINGS)
  np.testing.assert_allclose(power, record.band_power)
  white = np.random.default_rng(10).standard_normal([300, *GRID.shape])
  centred = dataclasses.replace(SETTINGS, remove_mean=True)
  for settings in (SETTINGS, centred):
    power = calibration.map_band_power(white, GRID, mask=MASK, settings=settings)
    error = power.std(axis=0) / np.sqrt(len(power))
    assert (abs(power.mean(axis=0) - GRID.pixel_radians**2) < 4 * error).all()
  shifted = calibration.map_band_power(white + 1, GRID, mask=MASK, settings=centred)
  np.testing.assert_allclose(shifted, power)


def test_population_of_pieces_is_kept(tmp_path, capsys):
  calls, rng = [], np.random.default_rng(11)
  large = rng.standard_normal([3, 2, 64, 96])

  def maps(index):
    calls.append(index)
    return large[index]

  folder = tmp_path / "records"
  run = lambda num: calibration.population(
    maps, num, grid=GRID, mask=MASK, settings=SETTINGS, folder=folder
  )
  run(2)
  power = run(3)
  pieces = [
    large[1, i, 32 * y : 32 * y + 32, 32 * x : 32 * x + 32]
    for i in range(2)
    for y in range(2)
    for x in range(3)
  ]
  one = calibration.map_band_power(pieces, GRID, mask=MASK, settings=SETTINGS).mean(
    axis=0
  )
  np.testing.assert_allclose(power[1], one)
  np.testing.assert_array_equal(run(2), power[:2])
  assert calls == [0, 1, 2] and "map/s" in capsys.readouterr().err
  for change in (
    dict(grid=geometry.PixelGrid((32, 32), 0.6 * u.arcmin)),
    dict(mask=None),
    dict(settings=dataclasses.replace(SETTINGS, remove_mean=True)),
    dict(label="more"),
  ):
    given = dict(grid=GRID, mask=MASK, settings=SETTINGS, folder=folder) | change
    with pytest.raises(ValueError, match="is of another run"):
      calibration.population(maps, 3, **given)
  with pytest.raises(ValueError, match="maps must be"):
    calibration.population(lambda _: np.ones([1, 32, 40]), 2, grid=GRID)


def test_coverage_is_exact_for_few_samples():
  """Ordinary quantiles of 5 samples would cover 68 % only 57 % of the time."""
  rng = np.random.default_rng(1)
  values = rng.standard_normal([6, 200_000])
  histogram, _ = ranks_lib.tally(values, {"all": np.ones(200_000, bool)}, rng=rng)[
    "all"
  ]
  for level in (0.1, 0.68, 0.95):
    weights = statistics.interval_weights(level, 6)
    assert weights.sum() == pytest.approx(6 * level)
    assert histogram[0] @ weights / 200_000 == pytest.approx(level, abs=0.0045)
  inside = np.quantile(values[1:], [0.16, 0.84], axis=0)
  ordinary = np.mean((values[0] > inside[0]) & (values[0] < inside[1]))
  assert ordinary < 0.6


def test_truth_selected_pixels_are_not_nominal_and_expectation_knows(calibrated):
  covered = calibration.coverage(calibrated, "pixels: own kappa, highest 1 %")
  assert covered.expected[0] < 0.5
  strict = calibration.coverage(calibrated, "pixels: posterior mean, highest 1 %")
  np.testing.assert_allclose(strict.expected, [0.68, 0.95])


@pytest.mark.parametrize("scale, shift", [(0.8, 0.0), (1.25, 0.0), (1.0, 0.5)])
def test_flawed_samples_fail_by_the_known_amount(scale, shift):
  records = toy_records(scale, shift)
  name = "pixels: observed"
  covered = calibration.coverage(records, name, levels=[0.68])
  # (truth - shift) has this normal distribution, samples N(0, scale); M = 13 ranks.
  ranks = _expected_ranks(scale, shift, NUM)
  wanted = ranks @ statistics.interval_weights(0.68, NUM + 1)
  assert abs(covered.value - wanted) < 4 * covered.error
  spread = calibration.std_over_error(records, name)
  wanted = scale / np.hypot(1, shift)
  assert abs(spread.value - wanted) < 4 * spread.error
  assert calibration.rank_histogram(records, name).p_value < 0.002
  offset = calibration.bias(records, name)
  if shift:
    assert offset.value > 10 * offset.error
    from_mean = 1 + 1 / NUM + shift**2  # squared, truth from the samples' mean
    truth = (NUM / 13) ** 2 * from_mean
    rms = np.sqrt((truth + NUM * (1 - 1 / NUM + from_mean / 169)) / 13)
    assert abs(offset.value - shift / rms) < 4 * offset.error
  else:
    assert abs(offset.value) < 4 * offset.error
    assert calibration.tarp(records)[2].p_value < 0.002
    power = calibration.band_power(records)
    assert abs(power.value[-1] - (4 + scale**2) / 5) < 4 * power.error[-1]


def _expected_ranks(scale, shift, num):
  """Probability of ranks 0 ... num, by quadrature over the truth."""
  x = np.linspace(-9, 9, 20001)
  below = stats.norm.cdf((x - shift) / scale)
  weight = stats.norm.pdf(x) * (x[1] - x[0])
  return np.array([stats.binom.pmf(k, num, below) @ weight for k in range(num + 1)])


def test_members_are_exchangeable_in_every_symmetric_test(calibrated):
  for each in calibrated[:3]:
    for name, ranks in each.ranks.items():
      if "own" not in name:
        assert (ranks.sum(axis=0) == ranks[0].sum()).all(), name
      assert (ranks.sum(axis=1) == ranks[0].sum()).all(), name


def test_ties_are_broken_evenly():
  rng = np.random.default_rng(2)
  ranks = ranks_lib.member_ranks(np.zeros([5, 20_000]), rng)
  counts = np.bincount(ranks[0], minlength=5)
  assert stats.chisquare(counts).pvalue > 1e-3
  assert (np.sort(ranks, axis=0) == np.arange(5)[:, None]).all()


def test_errors_know_that_pixels_are_correlated(calibrated):
  """The error over truths is the scatter between independent sets of truths."""
  shares = [
    calibration.coverage(
      calibrated[i : i + 5], "pixels: observed", levels=[0.68]
    ).value[0]
    for i in range(0, NUM_TRUTHS, 5)
  ]
  own = calibration.coverage(calibrated, "pixels: observed", levels=[0.68]).error[0]
  scatter = np.std(shares, ddof=1) / np.sqrt(len(shares))
  assert 0.4 < own / scatter < 2.2  # chi with 7 degrees of freedom: 3e-3
  pixels = NUM_TRUTHS * MASK.sum()
  assert own > 2 * np.sqrt(0.68 * 0.32 / pixels)


def test_tarp_against_the_reference_implementation():
  tarp = pytest.importorskip("tarp", reason="needs tarp and deprecation")
  rng = np.random.default_rng(3)
  truths, samples = rng.standard_normal([60, 4]), 0.7 * rng.standard_normal([20, 60, 4])
  points = rng.standard_normal([60, 4])
  records = [_distance_record(truths[t], samples[:, t], points[t]) for t in range(60)]
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


def test_tarp_in_one_dimension_is_exact():
  """A ball around a far point is a half-line: TARP is the distribution of ranks."""
  rng = np.random.default_rng(4)
  records = [
    _distance_record(rng.normal(size=1), 0.5 * rng.standard_normal([9, 1]), [-1e3])
    for _ in range(2500)
  ]
  levels, covered, largest = calibration.tarp(records)
  wanted = np.concatenate([[0], np.cumsum(_expected_ranks(0.5, 0.0, 9))])
  np.testing.assert_allclose(covered.value, wanted, atol=4 * 0.5 / np.sqrt(2500))
  assert largest.value == pytest.approx(np.abs(wanted - levels).max(), abs=0.03)
  assert largest.p_value < 0.002 and largest.expected < 0.02


def _distance_record(truth, samples, point):
  members = np.concatenate([[truth], samples])
  squares = np.sum((members - point) ** 2, axis=1, keepdims=True)
  rng = np.random.default_rng(0)
  histogram, sums = ranks_lib.tally(squares, {"all": np.ones(1, bool)}, rng=rng)["all"]
  name = "distances: patches"
  power = np.zeros([len(members), 0])
  return calibration.Record(
    {name: histogram},
    {name: sums},
    band_power=power,
    band_edges=np.zeros(0),
    settings=SETTINGS,
  )


def test_fourier_components_are_all_and_each_once():
  rng = np.random.default_rng(5)
  for shape in ((16, 16), (15, 16), (16, 15), (15, 15)):
    grid = geometry.PixelGrid(shape, 1 * u.arcmin)
    maps = rng.standard_normal([400, *shape])
    edges = spectra.band_edges(grid, 3)
    values, bands, power = ranks_lib.modes(
      maps, np.ones(shape, bool), grid=grid, edges=edges
    )
    assert values.shape[1] == np.prod(shape)  # as many as pixels, with k = 0
    assert (bands < 0).sum() == 1
    correlation = np.corrcoef(values.T) - np.eye(values.shape[1])
    assert abs(correlation).max() < 6 / np.sqrt(400)
    other = spectra.band_power(maps, grid, edges=edges)
    np.testing.assert_allclose(power.mean(axis=0), other.mean(axis=0), rtol=0.1)


def test_gaps_are_gaps_and_sparse_pixels_are_not():
  mask = np.ones([40, 40], bool)
  mask[0:4, 0:4] = False
  mask[20, 20] = False
  distance = ranks_lib.gap_distance(mask, 0.5)
  assert distance[0, 4] == 0.5 and distance[0, 39] == 0.5  # maps are periodic
  assert distance[20, 21] > 5
  assert np.isinf(ranks_lib.gap_distance(np.ones([9, 9], bool))).all()


def test_runs_go_on_and_refuse_others(tmp_path):
  calls = []

  def draw(index):
    calls.append(index)
    rng = np.random.default_rng(index)
    return field(rng), field(rng, 4), MASK

  first = calibration.run(
    draw, 2, grid=GRID, settings=SETTINGS, folder=tmp_path, label="a"
  )
  again = calibration.run(
    draw, 3, grid=GRID, settings=SETTINGS, folder=tmp_path, label="a"
  )
  assert calls == [0, 1, 2]
  for name, ranks in first[1].ranks.items():
    np.testing.assert_array_equal(ranks, again[1].ranks[name])
    np.testing.assert_array_equal(first[1].residuals[name], again[1].residuals[name])
  assert again[1].settings == SETTINGS
  with pytest.raises(ValueError, match="of another run"):
    calibration.run(draw, 3, grid=GRID, settings=SETTINGS, folder=tmp_path, label="b")
  coarse = geometry.PixelGrid(GRID.shape, 0.6 * u.arcmin)
  with pytest.raises(ValueError, match="another size or pixel scale"):
    calibration.run(draw, 3, grid=coarse, settings=SETTINGS, folder=tmp_path, label="a")
  wanted = [f"truth_0000{i}.npz" for i in range(3)]
  assert sorted(p.name for p in tmp_path.iterdir()) == wanted
  np.savez(tmp_path / "x.npz", a=1)
  with pytest.raises(ValueError, match="not a calibration record"):
    calibration.Record.load(tmp_path / "x.npz")


def test_mocks_and_samplers():
  """Exact samples pass on mocks; noise taken 40 % too small shows."""
  grid = geometry.PixelGrid((32, 32), 0.29 * u.arcmin)
  galaxies = simulate.uniform_survey(20 / u.arcmin**2, 0.26)
  survey = simulate.mock_observation(
    np.zeros(grid.shape), grid, survey=galaxies, seed=1
  )
  power = spectra.PowerSpectrum.fiducial_cosmos()
  prior = priors.GaussianPrior.from_spectrum(power, grid)
  truth = lambda index: prior.sample(seed=(index, 1)).numpy()
  # The mean of so small a map has a seventh of its variance, whatever the noise.
  settings = calibration.Settings(remove_mean=True, num_bands=4, patch=8)
  exact = calibration.exact_sampler(prior, 16)
  mocks = calibration.Mocks(truth, survey)
  records = calibration.run(mocks.draw(exact), 30, grid=grid, settings=settings)
  covered = calibration.coverage(records, "pixels: observed")
  assert (abs(covered.value - covered.expected) < 4 * covered.error).all()
  assert calibration.tarp(records)[2].p_value > 0.01
  flawed = calibration.Mocks(truth, survey, noise_factor=0.6)
  records = calibration.run(flawed.draw(exact), 20, grid=grid, settings=settings)
  spread = calibration.std_over_error(records, "pixels: observed")
  assert spread.value < 1 - 4 * spread.error
  noise, assumed = (
    m.posterior(prior).likelihood.typical_noise_std for m in (mocks, flawed)
  )
  assert assumed == pytest.approx(0.6 * noise)

  true, biased = calibration.Mocks(truth, survey, shear_bias=0.2).observe(3)
  _, plain = mocks.observe(3)
  signal, none = (
    simulate.observe_like(k, survey, seed=0).shear for k in (true, 0 * true)
  )
  np.testing.assert_allclose(
    biased.shear - plain.shear, 0.2 * (signal - none), atol=1e-7
  )

  # The compiled sampler takes each mock's data; it is the exact one but for its steps.
  sampler = calibration.guided_sampler(
    prior,
    64,
    settings=guided.GuidedSettings(num_steps=4),
    batch_size=64,
    jit_compile=False,
  )
  first, second = (mocks.observe(i)[1] for i in range(2))
  samples = sampler(first, 0)
  for data, same in ((first, True), (second, False)):
    mean = calibration.exact_sampler(prior, 64)(data, 1).mean(axis=0)
    difference = np.std(samples.mean(axis=0) - mean) / samples.std(axis=0).mean()
    assert (difference < 0.4) == same  # sqrt(2 / 64) from the numbers of samples
  sampler(second, 0)
  np.testing.assert_array_equal(sampler(first, 0), samples)
  with pytest.raises(ValueError, match="The noise_std of this shear map"):
    sampler(flawed.observe(0)[1], 0)
  fewer = dataclasses.replace(first, mask=first.mask & (np.arange(32) > 3))
  with pytest.raises(ValueError, match="The mask of this shear map"):
    sampler(fewer, 0)


def test_intervals_as_samples():
  """A mean with its error passes the tests of pixels, with half the error it fails."""
  results = {}
  for factor in (1.0, 0.5):
    records = []
    for index in range(20):
      rng = np.random.default_rng([3, index])
      mean = field(rng)
      truth = mean + field(rng)
      std = factor * np.ones(GRID.shape)
      samples = calibration.samples_of_intervals(mean, std, num_samples=NUM, seed=index)
      settings = calibration.Settings(num_bands=0, patch=0)
      records.append(
        calibration.measure(samples, truth, grid=GRID, mask=None, settings=settings)
      )
    results[factor] = calibration.coverage(records, "pixels: observed")
  assert (abs(results[1.0].value - [0.68, 0.95]) < 4 * results[1.0].error).all()
  wanted = _expected_ranks(0.5, 0.0, NUM) @ statistics.interval_weights(0.68, NUM + 1)
  assert abs(results[0.5].value[0] - wanted) < 4 * results[0.5].error[0]
  with pytest.raises(ValueError, match="must not be negative"):
    calibration.samples_of_intervals(
      np.zeros([2, 2]), -np.ones([2, 2]), num_samples=3, seed=0
    )


def test_chains(monkeypatch):
  """First-order autoregression of coefficient a: effective share (1 - a) / (1 + a)."""
  heard = handlers.BufferingHandler(100)
  monkeypatch.setattr(tf.get_logger(), "handlers", [heard])
  rng = np.random.default_rng(6)
  grid = geometry.PixelGrid((12, 12), 0.29 * u.arcmin)
  states = rng.standard_normal([400, 8, 12, 12])
  for step in range(1, 400):
    states[step] = 0.6 * states[step - 1] + 0.8 * states[step]
  found = calibration.diagnose(states, grid, num_bands=3)
  assert found.names[0] == "pixels" and len(found.r_hat) == 4
  np.testing.assert_allclose(found.effective_size, 3200 * 0.25, rtol=0.1)
  assert (found.r_hat < 1.01).all()
  assert not heard.buffer  # TensorFlow warns of TFP's casts.
  states[:, 0] += 2
  assert calibration.diagnose(states, grid, num_bands=3).r_hat[0] > 1.1
  figure, _ = figures.plot_chains(found)
  assert len(figure.axes) == 2
  with pytest.raises(ValueError, match="num_steps, num_chains"):
    calibration.diagnose(states[:, 0], grid)


def test_table_and_figures(calibrated, tmp_path):
  rows = calibration.table(calibrated)
  assert all(np.isfinite([r["value"], r["error"], r["expected"]]).all() for r in rows)
  by_test = {row["test"]: row for row in rows}
  pixels = calibration.names(calibrated, "pixels")
  biases = [test.removeprefix("bias, ") for test in by_test if test.startswith("bias")]
  assert biases == pixels and "pixels: own kappa, highest 1 %" in biases
  ranks = [row for row in rows if row["test"].startswith("deviation of ranks")]
  assert len(ranks) == 2
  for row in ranks:
    # Calibrated: within 4.5 standard deviations of chance.
    assert abs(row["value"] - row["expected"]) < 4.5 * row["error"]
    name = row["test"].split(", ", 1)[1]
    assert row["p_value"] == calibration.rank_histogram(calibrated, name).p_value > 1e-3
  power = np.stack([r.band_power for r in calibrated])
  more = calibration.table(calibrated, power[:, 1])
  assert sum("population" in row["test"] for row in more) == SETTINGS.num_bands
  assert [row for row in more if "population" not in row["test"]] == rows
  calibration.write_tables(
    tmp_path / "tables.md", {"toy": calibrated}, populations={"toy": power[:, 1]}
  )
  written = (tmp_path / "tables.md").read_text()
  assert written.count("power over the population's") == SETTINGS.num_bands
  text = calibration.compare({"toy": calibrated})
  assert text.count("\n") == 2 and "40 x 12" in text
  assert len(calibration.markdown(rows).splitlines()) == len(rows) + 2
  runs = {"toy": calibrated, "the same": calibrated[:10]}
  for plot in (
    figures.plot_coverage,
    figures.plot_classes,
    figures.plot_ranks,
    figures.plot_tarp,
    figures.plot_band_power,
  ):
    figure, axes = plot(runs)
    drawn = np.ravel(axes)[0]
    assert drawn.get_ylabel() and len(drawn.get_legend().get_texts()) == 2


def test_small_surveys_have_no_distances_of_the_map(calibrated):
  """Less than half of the map is observed: the ranks of no distance were p = .0005."""
  mask = np.zeros(GRID.shape, bool)
  mask[8:24, 4:24] = True
  records = []
  for index in range(3):
    maps = field(np.random.default_rng(index), 5)
    records.append(
      calibration.measure(
        maps[1:], maps[0], grid=GRID, mask=mask, settings=SETTINGS, seed=index
      )
    )
  assert calibration.names(records, "distances") == ["distances: patches"]
  tests = [row["test"] for row in calibration.table(records)]
  assert sum("TARP" in test for test in tests) == 1
  both = {"small": records, "toy": calibrated}
  assert "TARP" in calibration.compare(both)


def test_figure_has_classes_that_only_some_runs_have():
  """A run without gaps has no pixels near them; its point is under its own name."""
  whole = []
  for index in range(2):
    maps = field(np.random.default_rng(index), NUM + 1)
    whole.append(
      calibration.measure(
        maps[1:], maps[0], grid=GRID, mask=None, settings=SETTINGS, seed=index
      )
    )
  gaps = toy_records(num_truths=2)
  for runs, place in (
    ({"gaps": gaps, "none": whole}, 1.15),
    ({"none": whole, "gaps": gaps}, 0.85),
  ):  # pyformat: disable
    _, axes = figures.plot_classes(runs)
    labels = [text.get_text() for text in axes[3].get_xticklabels()]
    assert labels == ["0 to 1 arcmin", "beyond 1 arcmin"]
    points = axes[3].containers[list(runs).index("none")].lines[0]
    np.testing.assert_allclose(points.get_xdata(), [place])


def test_the_table_shows_a_shift():
  """Half a standard deviation, for every class of many pixels and in the ranks."""
  rows = calibration.table(toy_records(shift=0.5, num_truths=20))
  for row in rows:
    if row["test"].startswith("bias") and "1 %" not in row["test"]:
      assert row["value"] > 4 * row["error"], row
    if row["test"].startswith("deviation of ranks, pixels: observed"):
      assert row["value"] > 2 * row["expected"] and row["p_value"] < 0.002


def test_bad_input():
  rng = np.random.default_rng(0)
  maps = field(rng, 4)
  with pytest.raises(ValueError, match="at least two"):
    calibration.measure(maps[:1], maps[0], grid=GRID)
  with pytest.raises(ValueError, match="truth must have shape"):
    calibration.measure(maps, maps[0, 1:], grid=GRID)
  with pytest.raises(ValueError, match="not finite"):
    calibration.measure(maps, np.full(GRID.shape, np.nan), grid=GRID)
  with pytest.raises(ValueError, match="mask is empty"):
    calibration.measure(maps, maps[0], grid=GRID, mask=~np.ones(GRID.shape, bool))
  with pytest.raises(ValueError, match="too many"):
    narrow = calibration.Settings(num_bands=60)
    calibration.measure(maps, maps[0], grid=GRID, settings=narrow)
  with pytest.raises(ValueError, match="kappa_quantiles must increase"):
    calibration.Settings(kappa_quantiles=(0.5, 0.4))
  with pytest.raises(ValueError, match="must not be negative"):
    calibration.Settings(patch=-1)
  with pytest.raises(ValueError, match="no records"):
    calibration.table([])
  pair = [
    calibration.measure(maps[:n], maps[3], grid=GRID, settings=SETTINGS) for n in (2, 3)
  ]
  with pytest.raises(ValueError, match="one number of samples"):
    calibration.coverage(pair, "pixels: observed")
  with pytest.raises(ValueError, match="No record has a test"):
    calibration.coverage(pair[:1], "nothing")
  with pytest.raises(ValueError, match="more samples than bands"):
    calibration.chi_square(pair[:1])
  with pytest.raises(ValueError, match="8 records or more"):
    calibration.population_power(7 * pair[:1], np.ones([9, 4]))
  for population in (np.ones([9, 3]), np.ones(4), np.ones([1, 4])):
    with pytest.raises(ValueError, match="population must be"):
      calibration.population_power(8 * pair[:1], population)
  with pytest.raises(ValueError, match="maps must be"):
    calibration.map_band_power(maps[0], GRID)
  with pytest.raises(ValueError, match="not finite"):
    calibration.map_band_power(np.full([2, *GRID.shape], np.nan), GRID)
  with pytest.raises(ValueError, match="must divide"):
    calibration.guided_sampler(None, 10, batch_size=4)
