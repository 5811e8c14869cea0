"""Surveys: footprints, holes and numbers of galaxies."""

import dataclasses

from astropy import units as u
from matplotlib import path
import numpy as np
import pytest

from tfp_massmap import geometry
from tfp_massmap import simulate

GRID = geometry.PixelGrid((360, 360), 0.29 * u.arcmin)


def test_cosmos_like_survey_looks_like_cosmos():
  """COSMOS: 53 % of the field, 417,000 galaxies, 64 per square arcmin seen."""
  survey = simulate.cosmos_like_survey()
  count = survey.galaxy_counts(GRID, np.random.default_rng(0))
  mask = count > 0
  assert 0.50 < mask.mean() < 0.58
  assert 360_000 < count.sum() < 440_000
  # Pixels of 0.0841 square arcmin have 5.4 galaxies; 1 in 220 of the footprint is
  # empty.
  assert count[mask].mean() == pytest.approx(5.4, rel=0.02)
  edges = np.concatenate([mask[:20], mask[-20:], mask[:, :20].T, mask[:, -20:].T])
  assert not edges.any()


@pytest.mark.parametrize("shape", [(50, 50), (100, 100), (180, 180), (361, 355)])
def test_outline_against_matplotlib(shape):
  """At 50 and 100 pixels, centres lie on the outline, where rounding decides."""
  grid = geometry.PixelGrid(shape, 0.29 * u.arcmin)
  survey = simulate.cosmos_like_survey()
  without_holes = dataclasses.replace(survey, hole_density=0 / u.deg**2)
  y, x = ((indices + 0.5) / n for indices, n in zip(np.indices(shape), shape))
  centres = np.stack([x.ravel(), y.ravel()], axis=-1)
  expected = path.Path(survey.outline).contains_points(centres).reshape(shape)
  found = without_holes.footprint(grid, np.random.default_rng(0))
  np.testing.assert_array_equal(found, expected)


def test_an_outline_that_crosses_itself():
  """Inside the inner loop of a pentagram, a ray crosses the outline twice."""
  angles = np.pi * (0.5 + 0.8 * np.arange(5))
  star = tuple(zip(0.5 + 0.4 * np.cos(angles), 0.5 + 0.4 * np.sin(angles)))
  survey = simulate.Survey(density=1 / u.arcmin**2, sigma_e=0.3, outline=star)
  inside = survey.footprint(GRID, np.random.default_rng(0))
  assert not inside[180, 180] and inside[300, 180] and not inside[60, 180]


def test_star_holes_have_the_density_and_size_asked_for():
  survey = simulate.Survey(
    density=500 / u.arcmin**2,
    sigma_e=0.3,
    hole_density=30 / u.deg**2,
    hole_radius=(1 * u.arcmin, 1 * u.arcmin),
  )
  masked = [
    1 - survey.footprint(GRID, np.random.default_rng(seed)).mean() for seed in range(20)
  ]
  # Without overlap, the covered fraction is density times area: 2.6 %, +- 3 % of it for
  # 1,800 holes. The edge of the field loses about 1 % of them.
  area = (30 / u.deg**2 * np.pi * u.arcmin**2).to_value(u.one)
  assert np.mean(masked) == pytest.approx(1 - np.exp(-area), rel=0.12)


@pytest.mark.parametrize(
  "changes, message",
  [
    (dict(density=0 / u.arcmin**2), "density must be positive"),
    (dict(sigma_e=0.0), "sigma_e must be positive"),
    (dict(hole_density=-1 / u.deg**2), "hole_density"),
    (dict(hole_radius=(2 * u.arcmin, 1 * u.arcmin)), "smallest, largest"),
    (dict(outline=((0, 0), (1, 1))), "three corners"),
  ],
)
def test_bad_surveys(changes, message):
  with pytest.raises(ValueError, match=message):
    simulate.Survey(**{"density": 1 / u.arcmin**2, "sigma_e": 0.3, **changes})
