"""Priors on disk and in memory: saved, loaded, and warned of."""

from astropy import units as u
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import priors
from tfp_massmap import simulate
from tfp_massmap import theory
from tfp_massmap.simulate import source_planes


@pytest.fixture(name="path", scope="module")
def _path(toys, tmp_path_factory):
  path = tmp_path_factory.mktemp("saved") / "new" / "prior"
  toys.save_prior(path)
  return path


@pytest.fixture(name="prior", scope="module")
def _prior(toys, path):
  return priors.HybridPrior.load(path, toys.grid, compute_dtype="float32")


def test_saved_priors_come_back(toys, path, prior):
  assert prior.compute_dtype == "float32"
  noisy = tf.random.stateless_normal([3, 32, 32], (1, 2))
  sigma = tf.constant([0.02, 0.1, 0.9])
  wiener = prior.gaussian.denoise(noisy, sigma)
  residual = toys.make_denoiser()(noisy, wiener, sigma)
  # The network does not change the mean of a map.
  expected = wiener + residual - tf.reduce_mean(residual, axis=(-2, -1), keepdims=True)
  np.testing.assert_allclose(prior.denoise(noisy, sigma), expected, atol=1e-6)
  assert np.abs(expected - wiener).max() > 1e-3
  score = (expected - noisy) / tf.square(sigma)[:, None, None]
  np.testing.assert_allclose(prior.score(noisy, sigma), score, rtol=1e-4, atol=1e-3)
  assert prior.card["training"] == dict(data="none")
  with pytest.raises(FileExistsError):
    toys.save_prior(path)


def test_batches_broadcasts_and_the_range_of_sigma(prior):
  noisy = tf.random.stateless_normal([2, 3, 32, 32], (1, 2))
  together = prior.denoise(noisy, 0.1)
  np.testing.assert_allclose(together[1, 2], prior.denoise(noisy[1, 2], 0.1), atol=1e-5)
  np.testing.assert_allclose(
    prior.denoise(noisy, 5.0), prior.gaussian.denoise(noisy, 5.0), atol=1e-6
  )
  low, _ = prior.sigma_range
  for sigma in (0.0, 0.5 * low):
    expected = prior.gaussian.score(noisy, sigma) + prior.residual_score(noisy, low)
    np.testing.assert_allclose(
      prior.score(noisy, sigma), expected, rtol=1e-4, atol=1e-3
    )
  compiled = tf.function(prior.denoise, jit_compile=True)
  np.testing.assert_allclose(compiled(noisy, tf.constant(0.1)), together, atol=1e-5)


def test_arithmetic_of_the_network(toys, path, prior):
  """bfloat16 has 8 bits: the residual agrees to some per cent."""
  noisy = tf.random.stateless_normal([2, 32, 32], (1, 2))
  coarse = priors.HybridPrior.load(path, toys.grid, compute_dtype="bfloat16")
  assert coarse.compute_dtype == "bfloat16"
  assert coarse.denoise(noisy, 0.1).dtype == tf.float32
  exact = prior.residual_score(noisy, 0.1).numpy()
  difference = np.std(coarse.residual_score(noisy, 0.1) - exact) / np.std(exact)
  assert 0 < difference < 0.03
  with pytest.raises(ValueError, match="got 'float16'"):
    priors.HybridPrior.load(path, toys.grid, compute_dtype="float16")


def test_other_pixels_give_a_warning_with_numbers(path):
  grid = geometry.PixelGrid((32, 32), 0.58 * u.arcmin)
  with pytest.warns(UserWarning, match=r"1.16 arcmin .* 0.58 arcmin, 0.5 times"):
    priors.HybridPrior.load(path, grid)


def test_other_redshifts_give_a_warning_with_numbers(toys, path, recwarn):
  load = lambda sources: priors.HybridPrior.load(path, toys.grid, sources=sources)
  # The redshifts of the training: the planes, each as often as its weight, or the n(z)
  # that these stand for.
  counts = np.round(1e4 * np.array(source_planes.COSMOS_WEIGHTS))
  load(theory.SourceRedshifts(source_planes.source_redshifts(), counts))
  load(theory.SourceRedshifts.of_survey("cosmos"))
  assert not [w for w in recwarn if "redshift" in str(w.message)]
  message = r"redshift 1.35 and is used for 0.50: .* 0.2"
  with pytest.warns(UserWarning, match=message):
    load(theory.SourceRedshifts.from_galaxies(np.full(100, 0.5)))


def test_unknown_redshifts_of_the_training_give_a_warning(toys, tmp_path):
  toys.save_prior(tmp_path / "prior", sources=None)
  with pytest.warns(UserWarning, match="source redshifts"):
    priors.HybridPrior.load(
      tmp_path / "prior", toys.grid, sources=theory.SourceRedshifts.of_mean(0.5)
    )


@pytest.mark.parametrize("name", priors.shipped())
def test_shipped_priors_beat_the_gaussian_one(name):
  """On a simulated map of a seed that no training used, by a tenth of the error."""
  grid = geometry.PixelGrid((256, 256), 0.29 * u.arcmin)
  prior = priors.HybridPrior.load(
    name, grid, sources=source_planes.sources(), corrections=False
  )
  clean = simulate.ConvergenceSimulator(grid, seed=987654, periodic=False).map(0)
  noisy = clean + 0.05 * tf.random.stateless_normal(clean.shape, (1, 2))
  errors = [
    np.mean((denoiser.denoise(noisy, 0.05) - clean) ** 2)
    for denoiser in (prior, prior.gaussian)
  ]
  assert errors[0] < 0.9 * errors[1]
  record = prior.card["training"]
  assert record["num_steps"] > 0 and record["data"]
  assert set(prior.card["constants"]) == set(prior.card["constants_source"])


def test_a_name_that_does_not_ship(toys):
  with pytest.raises(FileNotFoundError, match="The package has the priors"):
    priors.HybridPrior.load("euclid", toys.grid)


def test_the_default_prior_is_ready_for_cosmos(tmp_path, monkeypatch):
  """Its card has the corrections of COSMOS, which need not be measured."""
  monkeypatch.setenv("TFP_MASSMAP_CACHE", str(tmp_path / "none"))
  prior = priors.HybridPrior.load(
    "universal",
    geometry.PixelGrid.tangent((150.1, 2.2), (40, 40), pixel_scale=0.29 * u.arcmin),
    sources=theory.SourceRedshifts.of_survey("cosmos"),
  )
  assert prior.error_scale is not None and prior.linear_response is not None
  assert not (tmp_path / "none").exists()
  assert "corrections" in prior.description
