"""Detection of clusters: filter and criterion, a known posterior, the catalogue."""

from astropy import units as u
from astropy.table import Table
from lenspack.image import filters
import numpy as np
import pytest
from scipy import ndimage
from scipy import stats
import tensorflow as tf

from tfp_massmap import detection
from tfp_massmap import geometry
from tfp_massmap import io
from tfp_massmap import lensing
from tfp_massmap import priors
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate
from tfp_massmap.detection import figures

GRID = geometry.PixelGrid.tangent((150.1, 2.2), (96, 80), pixel_scale=0.29 * u.arcmin)
MASS = 3e14 * u.Msun


def _empty(grid, noise_std=0.1, seed=None):
  noise = np.zeros([2, *grid.shape])
  if seed is not None:
    noise = noise_std * np.random.default_rng(seed).standard_normal(noise.shape)
  mask = np.ones(grid.shape, bool)
  return shear_map_lib.ShearMap(
    noise, np.full(grid.shape, noise_std), mask=mask, grid=grid
  )


def _bump(center, height=1.0, width=3.0, shape=GRID.shape):
  rows, columns = np.ogrid[: shape[0], : shape[1]]
  square = (rows - center[0]) ** 2 + (columns - center[1]) ** 2
  return height * np.exp(-0.5 * square / width**2)


def test_filter_against_lenspack():
  image = ndimage.gaussian_filter(
    np.random.default_rng(0).standard_normal([129, 129]), 2.0
  )
  for scale in (3, 4):
    ours = detection.aperture_mass(image, scale)
    oracle = filters.aperture_mass(image, 2**scale, "starlet")
    inner = (slice(40, -40), slice(40, -40))
    # The starlet is a product of two splines; lenspack's filter is the same in every
    # direction.
    assert np.corrcoef(ours[inner].ravel(), oracle[inner].ravel())[0, 1] > 0.999
    assert ours[inner].std() / oracle[inner].std() == pytest.approx(1, abs=0.05)


def test_rate_of_several_fields_has_their_scatter():
  """Fields that detect all or nothing: 40 samples of each say nothing of the next."""
  share, low, high = figures.pooled_rate([40, 0, 40, 0, 0, 40], 40)
  error = np.std([1, 0, 1, 0, 0, 1], ddof=1) / np.sqrt(6)
  np.testing.assert_allclose([share, low, high], [0.5, 0.5 - error, 0.5 + error])
  # Fields alike, and one field: the binomial interval.
  binomial = detection.binomial_interval(120, 240)
  np.testing.assert_allclose(figures.pooled_rate([20] * 6, 40)[1:], binomial)
  np.testing.assert_allclose(figures.pooled_rate(120, 240)[1:], binomial)
  # One of all the samples, in one field: the error ends at zero.
  assert figures.pooled_rate([0, 0, 1], 40)[1] == 0


def test_filter_is_compensated_and_linear():
  maps = np.random.default_rng(1).standard_normal([2, 64, 64])
  coefficients = detection.aperture_mass(maps, 3)
  np.testing.assert_allclose(
    detection.aperture_mass(2 * maps[0] - maps[1] + 5.0, 3),
    2 * coefficients[0] - coefficients[1],
    atol=1e-12,
  )
  point = np.zeros([64, 64])
  point[32, 32] = 1
  assert abs(detection.aperture_mass(point, 3).sum()) < 1e-12


def test_input_signal_to_noise():
  background = np.random.default_rng(2).standard_normal([3, *GRID.shape])
  mask = np.zeros(GRID.shape, bool)
  mask[20:70, 10:60] = True
  cluster = _bump((40, 40))
  expected = detection.aperture_mass(cluster).max() / np.std(
    detection.aperture_mass(background)[:, mask]
  )
  found = detection.input_snr([cluster, 3 * cluster], background, mask=mask)
  np.testing.assert_allclose(found, [expected, 3 * expected])


def test_injection_adds_the_cluster_where_there_is_data():
  mask = np.random.default_rng(3).uniform(size=GRID.shape) > 0.3
  noise = np.where(mask, _empty(GRID, seed=4).shear, 0)
  before = shear_map_lib.ShearMap(noise, np.full(GRID.shape, 0.1), mask=mask, grid=GRID)
  after, kappa = detection.inject_cluster(before, MASS, center=(50, 30))
  expected, shear = simulate.nfw_cluster(
    GRID, MASS, redshift=0.5, concentration=1.0, source_redshift=1.0, center=(50, 30)
  )
  np.testing.assert_array_equal(kappa, expected)
  np.testing.assert_allclose(
    (after.shear - before.shear)[:, mask], shear[:, mask], atol=1e-15
  )
  assert not after.shear[:, ~mask].any() and not np.any(before.shear - noise)
  assert after.settings["cluster_mass_msun"] == 3e14
  assert after.settings["cluster_center"] == "50, 30"
  both, _ = detection.inject_cluster(after, 2 * MASS)
  assert both.settings.items() >= after.settings.items()
  assert both.settings["cluster2_mass_msun"] == 6e14
  peak = np.unravel_index(detection.aperture_mass(kappa).argmax(), GRID.shape)
  assert peak == (50, 30)
  denser = detection.inject_cluster(before, MASS, concentration=None)[1]
  assert denser.max() > 1.5 * kappa.max()


def test_highest_coefficient_near_a_place():
  maps = np.random.default_rng(5).standard_normal([4, *GRID.shape])
  coefficients = detection.aperture_mass(maps, 2)
  found = detection.highest_coefficient(
    maps, GRID, centers=([30, 60.5], [40, 10.5]), radius=1 * u.arcmin, scale=2
  )
  rows, columns = np.ogrid[: GRID.shape[0], : GRID.shape[1]]
  for index, (row, column) in enumerate([(30, 40), (60.5, 10.5)]):
    near = np.hypot(rows - row, columns - column) <= 1 / 0.29
    np.testing.assert_array_equal(found[:, index], coefficients[:, near].max(axis=1))
  one = detection.highest_coefficient(
    maps, GRID, centers=(30, 40), radius=1 * u.arcmin, scale=2
  )
  np.testing.assert_array_equal(one, found[:, 0])
  with pytest.raises(ValueError, match="Widen the radius"):
    detection.highest_coefficient(maps, GRID, centers=(-10, 0))


@pytest.mark.parametrize(
  "name, oracle",
  [
    ("wilson", "wilson"),
    ("clopper-pearson", "exact"),
  ],
)  # pyformat: disable
def test_binomial_intervals_against_scipy(name, oracle):
  successes = np.array([0, 1, 7, 19, 20])
  low, high = detection.binomial_interval(successes, 20, confidence=0.9, method=name)
  for k, *ends in zip(successes, low, high):
    expected = stats.binomtest(k, 20).proportion_ci(0.9, oracle)
    np.testing.assert_allclose(ends, expected, atol=1e-9)
    assert ends[0] <= k / 20 <= ends[1]
  with pytest.raises(ValueError, match="number of trials"):
    detection.binomial_interval(3, 2)
  with pytest.raises(ValueError, match="method"):
    detection.binomial_interval(1, 2, method="wald")


# A posterior that is known: a Gaussian field, with or without a cluster.

SMALL = geometry.PixelGrid((16, 16), 1 * u.arcmin)


def _mixture(height=0.12):
  ell = np.maximum(SMALL.multipoles(), SMALL.multipoles()[0, 1])
  variance = 4e-3 * (ell / ell[0, 1]) ** -1.5
  prior = priors.GaussianPrior(variance, SMALL.shape, dtype=tf.float64)
  cluster = _bump((8, 7), height, 1.6, SMALL.shape)
  return detection.ClusterMixture(prior, cluster, probability=0.4)


def _observe(kappa, seed, noise_std=0.06):
  """A quarter of the pixels masked."""
  empty = _empty(SMALL, noise_std)
  mask = np.random.default_rng(7).uniform(size=SMALL.shape) > 0.25
  survey = shear_map_lib.ShearMap(empty.shear, empty.noise_std, mask=mask, grid=SMALL)
  return simulate.observe_like(np.asarray(kappa), survey, seed=seed)


def test_mixture_against_dense_matrices():
  """Bayes factor and posterior moments by matrices of all pixels."""
  mixture = _mixture(0.06)
  data = _observe(mixture.draw((1, 2))[0], seed=3)
  unit = np.eye(256).reshape(256, 16, 16)
  prior = mixture.prior
  modes = prior.mode_variance.numpy() * np.fft.rfft2(unit)
  covariance = np.fft.irfft2(modes, SMALL.shape).reshape(256, 256)
  seen = np.broadcast_to(data.mask, (2, 16, 16)).ravel()
  operator = np.reshape(lensing.shear_from_convergence(tf.constant(unit)), [256, -1])
  operator = operator.T[seen]
  noise = np.full(seen.sum(), 0.06**2)
  of_data = operator @ covariance @ operator.T + np.diag(noise)
  shear = data.shear.ravel()[seen]
  cluster = mixture.cluster.numpy().ravel()
  densities = [
    stats.multivariate_normal(mean, of_data).logpdf(shear)
    for mean in (0 * shear, operator @ cluster)
  ]
  odds = 0.4 / 0.6 * np.exp(densities[1] - densities[0])
  expected = odds / (1 + odds)
  probability = mixture.posterior_probability(data, rtol=1e-9)
  assert 0.02 < expected < 0.98
  assert probability == pytest.approx(expected, rel=1e-5)
  samples, has_cluster = mixture.sample(data, 4000, seed=(5, 6))
  # 4.5 standard errors.
  error = np.sqrt(expected * (1 - expected) / 4000)
  assert abs(has_cluster.mean() - expected) < 4.5 * error
  gain = covariance @ operator.T @ np.linalg.inv(of_data)
  for present in (False, True):
    exact = gain @ (shear - present * operator @ cluster) + present * cluster
    spread = np.sqrt(np.diag(covariance - gain @ operator @ covariance))
    chosen = samples[has_cluster == present].reshape(-1, 256)
    z = (chosen.mean(axis=0) - exact) / spread * np.sqrt(len(chosen))
    assert np.abs(z).max() < 5  # 256 pixels: false alarm 1e-4


def test_share_of_samples_is_the_true_probability():
  """On 240 mocks with and without a cluster; and wrong samples are found out."""
  mixture = _mixture()
  truths, samples, probabilities, labels = [], [], [], []
  for mock in range(240):
    kappa, has_cluster = mixture.draw((mock, 1))
    data = _observe(kappa, seed=mock)
    drawn, _ = mixture.sample(data, 31, seed=(mock, 2), rtol=1e-4)
    highest = detection.highest_coefficient(
      np.concatenate([kappa[tf.newaxis], drawn]),
      SMALL,
      centers=(8, 7),
      radius=1.5 * u.arcmin,
      scale=2,
    )
    truths.append(highest[0] > 0.035)
    samples.append(highest[1:] > 0.035)
    probabilities.append(mixture.posterior_probability(data, rtol=1e-4))
    labels.append(has_cluster)
  truths, samples = np.array(truths), np.array(samples)
  result = detection.reliability(samples, truths, edges=np.linspace(0, 1, 6))
  assert 40 < truths.sum() < 200
  assert abs(result.z) < 3.3 and result.p_value > 1e-3
  assert result.count.sum() == 240
  shares = samples.mean(axis=1)
  assert np.mean(shares[truths]) > np.mean(shares[~truths]) + 0.2
  # The label itself: outcomes minus probabilities, 3.3 standard deviations.
  probabilities = np.array(probabilities)
  variance = np.sum(probabilities * (1 - probabilities))
  assert abs(np.sum(labels - probabilities)) < 3.3 * np.sqrt(variance)
  wrong = samples & (np.random.default_rng(0).uniform(size=samples.shape) < 0.6)
  assert detection.reliability(wrong, truths).p_value < 1e-3
  table = detection.reliability_table({"a": result, "b": result})
  assert list(table["test"]) == ["a"] * len(result.count) + ["b"] * len(result.count)
  np.testing.assert_array_equal(table["observed"][: len(result.count)], result.observed)


def test_detections_rise_with_mass_from_the_background_to_one():
  rates = []
  for height in (0, 0.03, 0.06, 0.1, 0.15, 0.25, 0.4):
    mixture = _mixture(0.2)  # samples that know of clusters of another size
    kappa = mixture.prior.sample(seed=(1, 1)) + _bump((8, 7), height, 1.6, SMALL.shape)
    drawn, _ = mixture.sample(_observe(kappa, seed=5), 400, seed=(3, 4))
    highest = detection.highest_coefficient(
      drawn, SMALL, centers=(8, 7), radius=1.5 * u.arcmin, scale=2
    )
    rates.append(np.mean(highest > 0.06))
  assert rates[0] < 0.1 and rates[-1] > 0.99
  assert np.all(np.diff(rates) > -0.03)  # two standard errors of equal shares


@pytest.mark.parametrize(
  "arguments, message",
  [
    (dict(cluster=np.zeros([16, 16]), probability=1.0), "probability"),
    (dict(cluster=np.zeros([8, 8])), "shape"),
  ],
)  # pyformat: disable
def test_impossible_mixtures(arguments, message):
  with pytest.raises(ValueError, match=message):
    detection.ClusterMixture(_mixture().prior, **arguments)


def test_mixtures_refuse_shear_of_another_shape():
  with pytest.raises(ValueError, match=r"\(96, 80\), the prior \(16, 16\)"):
    _mixture().posterior_probability(_empty(GRID))


def test_reliability_with_few_samples_is_not_biased():
  """Three samples of a case are enough: 4,000 cases of any probability."""
  rng = np.random.default_rng(0)
  probability = rng.uniform(size=4000)[:, np.newaxis]
  cases = rng.uniform(size=[4000, 4]) < probability
  result = detection.reliability(
    cases[:, 1:], cases[:, 0], edges=np.linspace(-0.1, 1.1, 6)
  )
  np.testing.assert_allclose(result.predicted, np.arange(5) / 4, atol=1e-9)
  assert abs(result.z) < 3.3 and result.p_value > 1e-3
  error = np.sqrt(result.predicted * (1 - result.predicted) / result.count)
  assert np.all(np.abs(result.observed - result.predicted) <= 4 * error)
  with pytest.raises(ValueError, match="nothing to compare"):
    detection.reliability(np.ones([5, 3]), np.ones(5))
  with pytest.raises(ValueError, match="num_cases"):
    detection.reliability(np.ones([5, 3]), np.ones(4))
  with pytest.raises(ValueError, match="samples must be true or false; got .* 0.4"):
    detection.reliability(np.full([5, 3], 0.4), np.ones(5))
  with pytest.raises(ValueError, match="edges must increase from 0 to 1"):
    detection.reliability(cases[:, 1:], cases[:, 0], edges=[0.2, 0.8])


def test_reliability_has_shares_on_an_edge_in_the_bin_above():
  """Of ten, .3 and .6 and .7 are not what `linspace` makes of them."""
  cases = np.arange(10) < np.arange(1, 10)[:, np.newaxis]
  result = detection.reliability(cases[:, 1:], cases[:, 0])
  np.testing.assert_array_equal(result.count, np.ones(9))
  np.testing.assert_allclose(result.predicted, np.arange(1, 10) / 10)


# The catalogue.


def _samples():
  """Twenty samples: a bump in 15 of them, one in all, a twin beside that, noise."""
  noise = 0.002 * np.random.default_rng(8).standard_normal([20, *GRID.shape])
  certain = _bump((60, 50)) + _bump((60, 53), 0.9)
  samples = noise + 0.3 * certain
  samples[:15] += 0.2 * _bump((25, 20))
  return samples


def test_catalogue_gives_places_shares_and_signals(tmp_path):
  samples = _samples()
  std = 0.01
  table = detection.peak_probabilities(samples, GRID, background_std=std)
  assert len(table) == 2
  certain, likely = table
  assert certain["probability"] == 1 and likely["probability"] == 0.75
  assert (likely["row"], likely["column"]) == (25, 20)
  ra, dec = GRID.pixel_to_world(25, 20)
  assert (likely["ra"], likely["dec"]) == (ra, dec)
  signals = detection.aperture_mass(samples)[:, 25, 20]
  np.testing.assert_allclose(likely["aperture_mass"], signals.mean())
  np.testing.assert_allclose(
    [likely["aperture_mass_low"], likely["aperture_mass_high"]],
    np.quantile(signals, [0.15865, 0.84135]),
  )
  assert likely["signal_to_noise"] == likely["aperture_mass"] / std
  expected = stats.binomtest(15, 20).proportion_ci(0.6827, "exact")
  np.testing.assert_allclose(
    [likely["probability_low"], likely["probability_high"]], expected
  )
  path = tmp_path / "structures.ecsv"
  io.write_table(path, table, settings=dict(seed=3, nothing=None))
  back = Table.read(path, format="ascii.ecsv")
  assert back.meta["SETTINGS"] == {"seed": 3} and back.meta["num_samples"] == 20
  assert back["ra"].unit == u.deg and back.meta["CREATOR"].startswith("tfp_massmap")
  np.testing.assert_array_equal(back["probability"], table["probability"])
  with pytest.raises(FileExistsError):
    io.write_table(path, table, settings={})


def test_catalogue_keeps_to_the_survey():
  samples = _samples()
  mask = np.ones(GRID.shape, bool)
  mask[45:75, 35:70] = False
  table = detection.peak_probabilities(samples, GRID, mask=mask, background_std=0.01)
  assert table["row"].tolist() == [25] and table["coverage"][0] == 1
  region = detection.covered(mask)
  assert region[25, 20] and not region[60, 50]
  # The corner's aperture is three quarters outside.
  assert not detection.covered(np.ones(GRID.shape, bool))[0, 0]
  flat = geometry.PixelGrid(GRID.shape, GRID.pixel_scale)
  everything = detection.peak_probabilities(samples, flat, background_std=0.01)
  assert "ra" not in everything.colnames and len(everything) == 2
  nothing = detection.peak_probabilities(samples, GRID, background_std=1.0)
  assert not len(nothing) and "ra" in nothing.colnames


def test_background_of_the_samples_themselves():
  samples = _samples()
  mask = np.zeros(GRID.shape, bool)
  mask[10:90, 10:70] = True
  table = detection.peak_probabilities(samples, GRID, mask=mask)
  assert table.meta["background_std"] == pytest.approx(
    detection.background_std(samples, mask=mask), rel=1e-9
  )


@pytest.mark.parametrize(
  "arguments, message",
  [
    (dict(samples=np.zeros([3, 8, 8])), "samples must be"),
    (dict(background_std=0.0), "background_std"),
    (dict(background_std=np.nan), "background_std"),
    (dict(threshold=-3.0), "threshold must be positive"),
    (dict(threshold=np.nan), "threshold must be positive"),
    (dict(mask=np.ones([8, 8])), "mask must have shape"),
    (dict(mask=np.zeros(GRID.shape)), "mask is empty"),
    (dict(samples=np.full([3, *GRID.shape], np.nan), background_std=1.0), "not finite"),
    (dict(min_probability=1.2), "min_probability"),
    (dict(scale=7), "num_scales"),
  ],
)  # pyformat: disable
def test_impossible_catalogues(arguments, message):
  with pytest.raises(ValueError, match=message):
    detection.peak_probabilities(**{**dict(samples=_samples(), grid=GRID), **arguments})


def test_catalogue_of_few_samples_says_that_it_is_biased(caplog):
  """Of noise: the places are chosen for what the samples have there."""
  noise = np.random.default_rng(5).standard_normal([40, *GRID.shape])
  few, others = noise[:8], noise[8:]
  table = detection.peak_probabilities(few, GRID, min_probability=0)
  assert "8 samples choose the structures and measure them" in caplog.text
  again = detection.aperture_mass(others)[:, table["row"], table["column"]].mean()
  assert table["aperture_mass"].mean() > 5 * abs(again)
  caplog.clear()
  detection.peak_probabilities(noise, GRID)
  assert not caplog.text


def test_histogram_shows_coefficients_beyond_the_usual():
  values = np.array([3.0, 20.0, 20.0, 20.0])
  noise = np.array([-1.0, 0.0, 1.0])
  _, axes = figures.plot_coefficients(
    {"noise": noise}, {"cluster": values}, threshold=3
  )
  filled = axes.patches[-1].get_xy()
  assert axes.get_xlim()[1] > 20
  # Three of four values, in a bin of half a standard deviation.
  assert filled[filled[:, 0] > 15, 1].max() == pytest.approx(0.75 / 0.5)


def test_matches_and_chance():
  region = np.zeros(GRID.shape, bool)
  region[8:88, 8:72] = True
  structures = np.array([[20, 20, 70], [20, 60, 40]])
  radius = 1.45 * u.arcmin  # 5 pixels
  objects = np.array([[22, 70, 50, 2, np.nan], [23, 44.5, 50, 2, 9]])
  result = detection.match_positions(
    structures, objects, region=region, grid=GRID, radius=radius
  )
  assert result.matched.tolist() == [True, True, False, False, False]
  assert (result.num_inside, result.num_matched) == (3, 2)
  np.testing.assert_allclose(result.separation[:2], 0.29 * np.hypot([2, 0], [3, 4.5]))
  # Three discs of 5 pixels in 80 x 64; the number matched is binomial.
  share = 3 * np.pi * 25 / (80 * 64)
  assert result.expected == pytest.approx(3 * share, rel=0.1)
  assert result.p_value == pytest.approx(stats.binom.sf(1, 3, share), rel=0.25)
  shifted = detection.match_positions(
    structures, objects, region=region, grid=GRID, radius=radius, null="shifted"
  )
  assert shifted.expected == pytest.approx(3 * share, rel=0.1)
  none = detection.match_positions(
    np.empty([2, 0]), objects, region=region, grid=GRID, radius=radius
  )
  assert none.num_matched == 0 and none.p_value == 1


def test_shifts_keep_the_clustering_of_objects():
  """Ten objects in one place match all or none, so their number varies more."""
  region = np.ones(GRID.shape, bool)
  objects = np.full([2, 10], 40.0)
  structures = np.array([[30.0, 70.0], [20.0, 60.0]])
  uniform, shifted = (
    detection.match_positions(
      structures, objects, region=region, grid=GRID, null=null, num_random=2000
    )
    for null in ("uniform", "shifted")
  )
  assert shifted.expected == pytest.approx(uniform.expected, rel=0.15)
  assert shifted.expected_std > 2.5 * uniform.expected_std


def test_impossible_matches():
  region = np.ones(GRID.shape, bool)
  with pytest.raises(ValueError, match="null"):
    detection.match_positions(
      ([1], [1]), ([1], [1]), region=region, grid=GRID, null="none"
    )
  with pytest.raises(ValueError, match="None of the 1 objects"):
    detection.match_positions(([1], [1]), ([200], [1]), region=region, grid=GRID)
  with pytest.raises(ValueError, match="region must have the shape"):
    detection.match_positions(([1], [1]), ([1], [1]), region=region[1:], grid=GRID)
  for wrong in (dict(radius=-1 * u.arcmin), dict(num_random=0)):
    with pytest.raises(ValueError, match="radius and num_random must be positive"):
      detection.match_positions(
        ([1], [1]), ([1], [1]), region=region, grid=GRID, **wrong
      )


def test_one_object_may_be_numbers():
  region = np.ones(GRID.shape, bool)
  found = detection.match_positions(
    (9, 9), (10.0, 9.0), region=region, grid=GRID, num_random=5
  )
  assert found.num_matched == 1


def test_shifts_that_never_keep_half_of_the_objects_are_refused():
  """Two pixels in opposite corners: a shift hits one of them once in 3,840 draws."""
  region = np.zeros(GRID.shape, bool)
  region[0, 0] = region[-1, -1] = True
  with pytest.raises(ValueError, match="None of 10000 shifts left half of the 1 obj"):
    detection.match_positions(
      ([1], [1]), ([0], [0]), region=region, grid=GRID, null="shifted"
    )
