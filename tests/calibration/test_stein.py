"""Stein's identity for exact samples, and for samples with known flaws."""

from astropy import units as u
import dense_gaussian
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import calibration
from tfp_massmap import geometry
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import spectra

SHAPE = (24, 20)
NUM_SAMPLES = 64


@pytest.fixture(name="problem", scope="module")
def _problem(fiducial):
  """A posterior, its mean, exact samples, and edges of three bands."""
  rng = np.random.default_rng(0)
  grid = geometry.PixelGrid(SHAPE, 1.0 * u.arcmin)
  noise = rng.uniform(0.05, 0.1, [2, *SHAPE])
  shear = noise * rng.standard_normal(noise.shape)
  shear_map = shear_map_lib.ShearMap(
    shear, noise, mask=rng.uniform(size=SHAPE) > 0.3, grid=grid
  )
  posterior = dense_gaussian.problem(fiducial, shear_map)
  variance = posterior.prior.gaussian.mode_variance
  mean, covariance = dense_gaussian.moments(posterior.likelihood, variance)
  white = rng.standard_normal([NUM_SAMPLES, mean.size])
  samples = mean + white @ np.linalg.cholesky(covariance).T
  ell = grid.multipoles()
  edges = np.geomspace(ell[ell > 0].min(), ell.max() * 1.01, 4)
  return posterior, mean.reshape(SHAPE), samples.reshape(-1, *SHAPE), edges


def test_exact_samples_pass(problem):
  """No excess beyond 4 errors, mean scores within 5: 1 in 4,000 for three bands."""
  posterior, _, samples, edges = problem
  found = calibration.stein_test(posterior, samples, edges=edges)
  assert (np.abs(found.excess) < 4 * found.excess_error).all(), found
  assert (np.abs(found.mean_score - 1) < 5 * found.mean_score_error).all(), found
  assert found.ksd_p_value.min() > 1e-3 and found.p_value > 1e-3
  assert len(str(found).splitlines()) == 4


def test_wrong_variances_are_seen_with_their_size(problem):
  """Samples 20 % too wide: the excess is that of the map, diluted by the noise."""
  posterior, mean, samples, edges = problem
  wide = mean + np.sqrt(1.2) * (samples - mean)
  found = calibration.stein_test(posterior, wide, edges=edges)
  exact = calibration.stein_test(posterior, samples, edges=edges)
  gain = found.excess - exact.excess
  assert (gain > 0).all() and (gain < 0.2 * 1.1).all()
  assert found.p_value < 1e-4 < exact.p_value


def test_a_flaw_of_one_band_is_seen_there(problem):
  posterior, mean, samples, edges = problem
  grid = posterior.likelihood.grid
  ell = grid.multipoles()
  factor = np.where((ell >= edges[1]) & (ell < edges[2]), 1.2**0.5, 1.0)
  flawed = mean + spectra.fourier_filter(samples - mean, factor).numpy()
  gain = calibration.stein_test(posterior, flawed, edges=edges).excess
  gain = gain - calibration.stein_test(posterior, samples, edges=edges).excess
  assert gain[1] > 0.05 and np.abs(gain[[0, 2]]).max() < 0.02


def test_wrong_means_are_seen(problem):
  """Half a standard deviation of the prior, in all samples."""
  posterior, _, samples, edges = problem
  shift = posterior.prior.gaussian.sample(seed=(1, 2)).numpy()
  found = calibration.stein_test(posterior, samples + 0.5 * shift, edges=edges)
  assert found.mean_score.max() > 1 + 5 * found.mean_score_error.max()
  assert found.ksd_p_value.min() < 0.01


def test_kernel_discrepancy_of_normal_draws():
  """p-values of 200 exact samples are uniform; a wider normal is found out."""
  rng = np.random.default_rng(1)
  values = []
  for _ in range(200):
    x = rng.standard_normal([40, 3])
    values.append(
      calibration.kernel_stein_discrepancy(x, -x, rng=rng, num_bootstrap=199)[1]
    )
  # The mean of 200 uniform numbers is within 0.1 of 1/2 but 1 in 1e6 times.
  assert abs(np.mean(values) - 0.5) < 0.1
  x = 1.3 * rng.standard_normal([300, 3])
  discrepancy, p_value = calibration.kernel_stein_discrepancy(x, -x, rng=rng)
  assert discrepancy > 0 and p_value < 0.01


def test_the_kernel_against_automatic_derivatives():
  """h(x, y) = s.s k + s(x).dk/dy + s(y).dk/dx + tr d2k/dxdy, summed over pairs."""
  rng = np.random.default_rng(2)
  x, scores = rng.standard_normal([2, 5, 3])
  squares = np.sum((x[:, np.newaxis] - x) ** 2, axis=-1)
  width = np.median(squares[~np.eye(5, dtype=bool)])

  def kernel(a, b):
    return (1 + tf.reduce_sum((a - b) ** 2) / width) ** -0.5

  table = np.zeros([5, 5])
  for i in range(5):
    for j in range(5):
      a, b = tf.constant(x[i]), tf.constant(x[j])
      with tf.GradientTape() as outer:
        outer.watch(b)
        with tf.GradientTape(persistent=True) as inner:
          inner.watch([a, b])
          value = kernel(a, b)
        by_a = inner.gradient(value, a)
      by_b = inner.gradient(value, b)
      mixed = tf.linalg.trace(outer.jacobian(by_a, b)).numpy()
      by_a, by_b, value = (t.numpy() for t in (by_a, by_b, value))
      table[i, j] = (
        scores[i] @ scores[j] * value + scores[i] @ by_b + scores[j] @ by_a + mixed
      )
  expected = table[~np.eye(5, dtype=bool)].mean() / np.trace(table) * 5
  found, _ = calibration.kernel_stein_discrepancy(x, scores, rng=rng, num_bootstrap=9)
  assert found == pytest.approx(expected, rel=1e-9)


def test_the_noise_may_be_chosen_below_that_of_the_data(problem):
  posterior, _, samples, edges = problem
  least = float(posterior.likelihood.noise_std_quantiles([0.0])[0])
  small = calibration.stein_test(posterior, samples, edges=edges, rho=0.3 * least)
  assert small.rho == pytest.approx(0.3 * least)
  assert (np.abs(small.excess) < 4 * small.excess_error).all()
  with pytest.raises(ValueError, match=r"0\.81 of the smallest noise of a pixel; got"):
    calibration.stein_test(posterior, samples, edges=edges, rho=least)


@pytest.mark.parametrize(
  "change, message",
  [
    (dict(samples=np.zeros([4, *SHAPE])), "8 or more samples"),
    (dict(samples=np.zeros([9, 3, 3])), "8 or more samples"),
    (dict(samples=np.full([9, *SHAPE], np.nan)), "4320 values are not finite"),
    (dict(edges=[1.0, 2.0]), "from 1 to 2 holds no two modes"),
    (dict(edges=[100.0]), "two or more increasing"),
  ],
)
def test_bad_requests_are_refused(problem, change, message):
  posterior, _, samples, edges = problem
  given = dict(samples=samples, edges=edges) | change
  with pytest.raises(ValueError, match=message):
    calibration.stein_test(posterior, given["samples"], edges=given["edges"])


def test_reduced_shear_is_refused(problem):
  posterior, _, samples, edges = problem
  likelihood = likelihood_lib.ReducedShearLikelihood(
    posterior.likelihood.shear_map, dtype=posterior.dtype
  )
  reduced = posterior_lib.Posterior(likelihood, posterior.prior)
  with pytest.raises(ValueError, match="needs a linear likelihood"):
    calibration.stein_test(reduced, samples, edges=edges)
