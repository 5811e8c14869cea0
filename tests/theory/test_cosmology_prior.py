"""Cosmologies that are known within errors: texts and draws."""

import numpy as np
import pytest
from scipy import stats

from tfp_massmap import theory

UNCERTAIN = theory.CosmologyPrior(
  theory.Cosmology(0.3, 0.8), omega_matter_std=0.02, sigma_8_std=0.03
)


@pytest.mark.parametrize(
  "text, expected",
  [
    ("", theory.CosmologyPrior()),
    ("sigma_8=0.9", theory.CosmologyPrior(theory.Cosmology(sigma_8=0.9))),
    ("sigma_8=0.80+-0.03,Omega_m=0.30+-0.02", UNCERTAIN),
    ("Omega_m=0.30±0.02 sigma8=0.80+/-0.03", UNCERTAIN),
    ("Omega_m=0.30 ± 0.02, sigma8=0.80 +-0.03", UNCERTAIN),
  ],
)
def test_texts(text, expected):
  found = theory.CosmologyPrior.parse(text)
  assert found == expected
  assert theory.CosmologyPrior.parse(str(found)) == found
  assert found.is_uncertain == (expected is UNCERTAIN)


@pytest.mark.parametrize(
  "text, message",
  [
    ("h=0.7+-0.1", "'h=0.7' is not one of the two"),
    ("sigma_8=0.8+-wide", "An error is one number"),
    ("sigma_8=0.8+-0.1+-0.2", "An error is one number"),
    ("+-0.03", "An error is one number"),
    ("sigma_8=0.8+--0.1", "must not be negative; got -0.1"),
    ("sigma_8=0.8+-nan", "must not be negative; got nan"),
    ("sigma_8=1.3+-0.1", "from 0.5 to 1.1; got 1.3"),
  ],
)
def test_words_that_are_no_cosmology(text, message):
  with pytest.raises(ValueError, match=message):
    theory.CosmologyPrior.parse(text)


def test_draws_have_the_distribution():
  """One draw in each of 64 shares: the distribution function is met to half a share."""
  drawn = UNCERTAIN.draw(64, seed=3)
  columns = ([c.omega_matter for c in drawn], [c.sigma_8 for c in drawn])
  for values, (mean, std) in zip(columns, ((0.3, 0.02), (0.8, 0.03))):
    assert stats.kstest(values, stats.norm(mean, std).cdf).statistic < 0.009
  assert abs(np.corrcoef(columns)[0, 1]) < 0.4  # Three standard errors of 64.
  assert UNCERTAIN.draw(64, seed=3) == drawn != UNCERTAIN.draw(64, seed=4)
  (alone,) = UNCERTAIN.draw(1, seed=3)
  assert alone.sigma_8 == pytest.approx(0.8) and alone.omega_matter == pytest.approx(
    0.3
  )


def test_draws_stay_in_the_tables_and_known_values_stay():
  wide = theory.CosmologyPrior(theory.Cosmology(0.3, 1.05), sigma_8_std=0.3)
  drawn = wide.draw(100, seed=0)
  assert all(c.omega_matter == 0.3 and 0.5 <= c.sigma_8 <= 1.1 for c in drawn)
  assert np.ptp([c.sigma_8 for c in drawn]) > 0.4
