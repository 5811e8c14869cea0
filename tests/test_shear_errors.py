"""Errors of the shear: the likelihood they stand for, how they are drawn and read."""

from astropy import units as u
import numpy as np
import pytest
from scipy import stats

from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import shear_errors
from tfp_massmap import shear_map as shear_map_lib

GRID = geometry.PixelGrid((8, 8), 1 * u.arcmin)


@pytest.mark.parametrize(
  "likelihood", [likelihood_lib.ShearLikelihood, likelihood_lib.ReducedShearLikelihood]
)
def test_the_likelihood_is_that_of_biased_shear_and_scaled_noise(likelihood):
  rng = np.random.default_rng(0)
  shear, noise = rng.normal(0, 0.1, (2, 8, 8)), rng.uniform(0.1, 0.2, (2, 8, 8))
  shear_map = shear_map_lib.ShearMap(
    shear, noise, mask=rng.uniform(size=(8, 8)) < 0.8, grid=GRID
  )
  factors = shear_errors.Factors(0.07, 1.3)
  made = likelihood(factors.apply(shear_map), dtype="float64")
  kappa = rng.normal(0, 0.1, (3, 8, 8))
  model = np.asarray(lensing.shear_from_convergence(kappa))
  if likelihood is likelihood_lib.ReducedShearLikelihood:
    model = model / (1 - kappa[:, np.newaxis])
  each = stats.norm.logpdf(shear, 1.07 * model, 1.3 * noise)
  expected = np.where(shear_map.mask, each, 0).sum(axis=(1, 2, 3))
  # They differ by the volume of the data, which is that of each pixel divided by 1 + m.
  expected += 2 * shear_map.mask.sum() * np.log(1.07)
  np.testing.assert_allclose(made.log_prob(kappa), expected, rtol=1e-10)


def test_no_errors_leave_a_map_as_it_is():
  shear = np.random.default_rng(0).normal(0, 0.1, (2, 8, 8)).astype(np.float32)
  given = shear_map_lib.ShearMap(
    shear, np.full((8, 8), 0.2, np.float32), mask=np.ones((8, 8), bool), grid=GRID
  )
  found = shear_errors.ShearErrors().mean.apply(given)
  np.testing.assert_array_equal(found.shear, given.shear)
  np.testing.assert_array_equal(found.noise_std, given.noise_std)
  assert found.shear.dtype == found.noise_std.dtype == np.float32


def test_draws_fill_the_distribution():
  errors = shear_errors.ShearErrors(
    bias=0.02, bias_std=0.01, noise_scale=1.1, noise_scale_std=0.05
  )
  drawn = np.array(errors.draw(64, seed=4))
  expected = stats.norm.ppf((np.arange(64) + 0.5) / 64)
  for column, (mean, std) in enumerate([(0.02, 0.01), (1.1, 0.05)]):
    np.testing.assert_allclose(np.sort(drawn[:, column]), mean + std * expected)
  # Ranks of 64 independent pairs are correlated by 0.32 in 1 of 100 seeds.
  assert abs(stats.spearmanr(*drawn.T).statistic) < 0.32
  assert errors.draw(64, seed=4) == errors.draw(64, seed=4) != errors.draw(64, seed=5)
  assert errors.draw(1, seed=4) == [errors.mean]


@pytest.mark.parametrize(
  "text, expected",
  [
    ("m=-0.01+-0.005,noise=1.10 ± 0.02", (-0.01, 0.005, 1.1, 0.02)),
    ("noise=0.9", (0.0, 0.0, 0.9, 0.0)),
    ("m = 0.02 +/- 0.01", None),
    ("m=0.02 +/- 0.01", (0.02, 0.01, 1.0, 0.0)),
  ],
)
def test_texts_are_read(text, expected):
  if expected is None:
    with pytest.raises(ValueError, match="have the form m="):
      shear_errors.ShearErrors.parse(text)
    return
  errors = shear_errors.ShearErrors.parse(text)
  found = (errors.bias, errors.bias_std, errors.noise_scale, errors.noise_scale_std)
  assert found == expected
  assert shear_errors.ShearErrors.parse(str(errors)) == errors
  assert errors.is_uncertain == any(expected[1::2])


@pytest.mark.parametrize(
  "text, message",
  [
    ("", "have the form"),
    ("m=0.1,m=0.2", "have the form"),
    ("q=1", "have the form"),
    ("m=few", "have the form"),
    ("m=0+-0+-0", "have the form"),
    ("m=0+-nan", "must be 0 or more; got nan for 1 .m"),
    ("noise=1+--0.1", "must be 0 or more; got -0.1 for The scale"),
    ("m=0.1+-0.3", "must be positive within 4 standard deviations; got 1.1 .- 0.3"),
    ("m=-1", "must be positive within"),
    ("noise=nan", "must be positive within"),
    ("noise=0", "must be positive within"),
  ],
)
def test_bad_texts_are_refused(text, message):
  with pytest.raises(ValueError, match=message.replace("1 .m", r"1 \+ m")):
    shear_errors.ShearErrors.parse(text)
