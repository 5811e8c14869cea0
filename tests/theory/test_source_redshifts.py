"""Redshift distributions, from galaxies, functions and tables."""

import json

from astropy.table import Table
import numpy as np
import pytest

from tfp_massmap import theory
from tfp_massmap.theory import source_redshifts

ELL = np.array([100.0, 2000.0, 20000.0])


def test_galaxies_are_binned_without_a_change_of_their_lensing():
  """Against each galaxy as a source of its own, to 0.1 % of the kernel."""
  rng = np.random.default_rng(0)
  redshift, weight = rng.gamma(3, 0.3, 4000), rng.uniform(0.5, 1.5, 4000)
  binned = theory.SourceRedshifts.from_galaxies(redshift, weight)
  assert len(binned.redshift) < 400
  assert binned.mean == pytest.approx(np.average(redshift, weights=weight), rel=1e-12)
  distance = np.array([100.0, 500.0, 1500.0])
  chi = theory.KAPPATNG.comoving_distance(redshift)
  reach = np.maximum(1 - distance[:, np.newaxis] / chi, 0) @ weight / weight.sum()
  expected = theory.KAPPATNG.lensing_prefactor(distance) * reach
  np.testing.assert_allclose(
    theory.lensing_kernel(distance, binned), expected, rtol=1e-3
  )


def test_a_function_and_a_table_are_the_same(tmp_path):
  """Points of 0.02 in a table, and steps of 0.01 of a function, to 0.2 %."""
  density = lambda z: z**2 * np.exp(-((z / 0.6) ** 1.5))
  smooth = theory.SourceRedshifts.from_density(density)
  redshift = np.arange(0, 5, 0.02)
  path = tmp_path / "nz.csv"
  Table(dict(z=redshift, nz=density(redshift))).write(path)
  table = theory.SourceRedshifts.read(path)
  assert table.name == "n(z) of nz.csv"
  powers = [theory.convergence_power(ELL, n) for n in (smooth, table)]
  np.testing.assert_allclose(powers[1], powers[0], rtol=2e-3)


def test_bins_of_uneven_width_count_by_their_width(tmp_path):
  redshift = np.concatenate([np.arange(0.01, 1, 0.01), np.arange(1.0, 6, 0.05)])
  density = redshift * np.exp(-2 * redshift)
  np.savetxt(tmp_path / "nz.txt", np.stack([redshift, density], axis=1))
  found = theory.SourceRedshifts.read(tmp_path / "nz.txt")
  expected = theory.SourceRedshifts.from_density(lambda z: z * np.exp(-2 * z))
  assert found.mean == pytest.approx(expected.mean, rel=0.01)


@pytest.mark.parametrize("mean", [0.3, 1.0, 2.0])
def test_the_mean_is_the_one_asked_for(mean):
  assert theory.SourceRedshifts.of_mean(mean).mean == pytest.approx(mean, rel=2e-3)


def test_a_card_keeps_the_distribution():
  given = theory.SourceRedshifts.smail(0.5)
  entry = json.loads(json.dumps(given.as_card()))
  found = theory.SourceRedshifts.from_card(entry)
  np.testing.assert_array_equal(found.redshift, given.redshift)
  np.testing.assert_allclose(found.weight, given.weight, rtol=1e-14)
  assert found.name == given.name
  del entry["weight"], entry["name"]
  with pytest.raises(ValueError, match="lacks weight and name"):
    theory.SourceRedshifts.from_card(entry)


@pytest.mark.parametrize(
  "name, mean, error", [("cosmos", 1.41, 0.05), ("lsst-y10", 1.05, 0.01)]
)
def test_surveys_have_their_published_mean_redshifts(name, mean, error):
  """The histogram that comes with the catalogue of COSMOS has 1.41."""
  assert theory.SourceRedshifts.of_survey(name).mean == pytest.approx(mean, abs=error)


def test_euclid_has_its_published_median():
  found = theory.SourceRedshifts.of_survey("euclid")
  below = np.cumsum(found.weight)
  assert np.interp(0.5, below, found.redshift) == pytest.approx(0.9, abs=0.01)
  with pytest.raises(ValueError, match=r"'lsst-y10'\] are known; got 'sdss'"):
    theory.SourceRedshifts.of_survey("sdss")


def test_what_a_user_gives_becomes_a_distribution():
  given = theory.SourceRedshifts.of_mean(0.7)
  assert source_redshifts.resolve(given) is given
  assert source_redshifts.resolve([0.5, 0.5, 1.0]).weight == pytest.approx(
    [2 / 3, 1 / 3]
  )
  assert source_redshifts.resolve(lambda z: np.exp(-z)).mean == pytest.approx(
    1, abs=0.1
  )


@pytest.mark.parametrize(
  "redshift, weight, message",
  [
    ([0.5, 1.0], [1.0], "one length"),
    ([], [], "one length"),
    ([0.0, 1.0], [1, 1], "increase between 0 and 6; got 2 from 0 to 1"),
    ([1.0, 0.5], [1, 1], "must increase"),
    ([0.5, 7.0], [1, 1], "between 0 and 6"),
    ([0.5, np.nan], [1, 1], "must increase"),
    ([0.5, 1.0], [1, -1], "not negative"),
    ([0.5, 1.0], [0, 0], "positive sum"),
    ([0.5, 1.0], [1, np.inf], "finite"),
  ],
)
def test_what_is_no_distribution_is_refused(redshift, weight, message):
  with pytest.raises(ValueError, match=message):
    theory.SourceRedshifts(redshift, weight)


@pytest.mark.parametrize(
  "redshifts, weights, message",
  [
    ([0.5, np.nan], None, "1 redshifts and 0 weights are not finite"),
    ([0.5, 0.6], [1, -1], "not be negative"),
    ([0.5, 0.6], [1], "one weight for each redshift"),
    (
      [-99.0, 0.5],
      None,
      "50% of the galaxies, by weight, have redshifts outside 0 to 6",
    ),
    ([150.0] * 5, None, "Is this the column of redshifts"),
    ([0.5, 0.6], [0, 0], "outside 0 to 6"),
  ],
)
def test_galaxies_that_have_no_redshifts_are_refused(redshifts, weights, message):
  with pytest.raises(ValueError, match=message):
    theory.SourceRedshifts.from_galaxies(redshifts, weights)


def test_few_failed_redshifts_are_left_out():
  found = theory.SourceRedshifts.from_galaxies([0.5] * 95 + [-99.0] * 5)
  assert found.redshift == pytest.approx([0.5])


@pytest.mark.parametrize("scale", [0, -1, 3.1, np.nan])
def test_scales_out_of_range_are_refused(scale):
  with pytest.raises(ValueError, match="got"):
    theory.SourceRedshifts.smail(scale)
  with pytest.raises(ValueError, match="got"):
    theory.SourceRedshifts.of_mean(2 * scale)


def test_tables_that_are_no_distribution_are_refused(tmp_path):
  with pytest.raises(FileNotFoundError):
    theory.SourceRedshifts.read(tmp_path / "none.csv")
  three = tmp_path / "three.csv"
  Table(dict(a=[0.1, 0.2], b=[1, 1], c=[1, 1])).write(three)
  with pytest.raises(
    ValueError, match="the columns z and nz, or two columns; it has a"
  ):
    theory.SourceRedshifts.read(three)
  binary = tmp_path / "nz.fits"
  binary.write_bytes(bytes(range(256)))
  with pytest.raises(ValueError, match="cannot read"):
    theory.SourceRedshifts.read(binary)
