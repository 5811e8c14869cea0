"""The mixture's probability of a cluster, against dense matrices and on mocks."""

import dataclasses

from astropy import units as u
import numpy as np
import pytest
from scipy import stats
import tensorflow as tf

from tfp_massmap import detection
from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import priors
from tfp_massmap import simulate

SMALL = geometry.PixelGrid((16, 16), 1 * u.arcmin)


@pytest.fixture
def make_mixture(field):
  """Function of the height of the cluster to a mixture on 16 x 16 pixels."""

  def make(height=0.12):
    cluster = field.bump((8, 7), height, 1.6, SMALL.shape)
    return detection.ClusterMixture(_prior(), cluster, probability=0.4)

  return make


@pytest.fixture
def observe(field):
  """Function of (kappa, seed) to a shear map with a quarter of its pixels masked."""

  def observe_kappa(kappa, seed):
    empty = field.empty(SMALL, 0.06)
    mask = np.random.default_rng(7).uniform(size=SMALL.shape) > 0.25
    survey = dataclasses.replace(empty, mask=mask)
    return simulate.observe_like(np.asarray(kappa), survey, seed=seed)

  return observe_kappa


def _prior():
  ell = np.maximum(SMALL.multipoles(), SMALL.multipoles()[0, 1])
  variance = 4e-3 * (ell / ell[0, 1]) ** -1.5
  return priors.GaussianPrior(variance, SMALL.shape, dtype=tf.float64)


def test_mixture_against_dense_matrices(make_mixture, observe):
  """The Bayes factor and the posterior moments are those of matrices of all pixels."""
  mixture = make_mixture(0.06)
  data = observe(mixture.draw((1, 2))[0], seed=3)
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


def test_share_of_samples_is_the_true_probability(make_mixture, observe):
  """It is on 240 mocks with and without a cluster, and wrong samples are detected.

  Calibrated samples are out of the bounds for one seed in 500.
  """
  mixture = make_mixture()
  truths, samples, probabilities, labels = [], [], [], []
  for mock in range(240):
    kappa, has_cluster = mixture.draw((mock, 1))
    data = observe(kappa, seed=mock)
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


def test_detections_rise_with_mass_from_the_background_to_one(
  field, make_mixture, observe
):
  # The samples' prior has clusters of another size.
  mixture, rates = make_mixture(0.2), []
  for height in (0, 0.03, 0.06, 0.1, 0.15, 0.25, 0.4):
    cluster = field.bump((8, 7), height, 1.6, SMALL.shape)
    kappa = mixture.prior.sample(seed=(1, 1)) + cluster
    drawn, _ = mixture.sample(observe(kappa, seed=5), 400, seed=(3, 4))
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
)
def test_impossible_mixtures(arguments, message):
  with pytest.raises(ValueError, match=message):
    detection.ClusterMixture(_prior(), **arguments)


def test_mixtures_refuse_shear_of_another_shape(field, make_mixture):
  with pytest.raises(ValueError, match=r"\(96, 80\), the prior \(16, 16\)"):
    make_mixture().posterior_probability(field.empty(field.grid))
