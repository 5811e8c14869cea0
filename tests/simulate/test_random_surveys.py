"""Random surveys: their ranges, their n(z), and maps that have their power."""

import dataclasses

from astropy import units as u
import numpy as np
import pytest

from tfp_massmap import geometry
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap import theory
from tfp_massmap.simulate import random_surveys
from tfp_massmap.simulate import source_planes

RANGES = random_surveys.SurveyRanges(cosmos_share=0.0)


@pytest.fixture(name="surveys", scope="module")
def _surveys():
  simulator = random_surveys.SurveySimulator(RANGES, seed=3)
  return [simulator.survey(index) for index in range(400)]


def test_surveys_fill_their_ranges(surveys):
  """400 even draws come within 3 % of both ends: false alarms one in 10,000."""
  values = dict(
    pixel_scale_arcmin=np.log([s.pixel_scale_arcmin for s in surveys]),
    omega_matter=[s.cosmology.omega_matter for s in surveys],
    sigma_8=[s.cosmology.sigma_8 for s in surveys],
  )
  for name, drawn in values.items():
    low, high = getattr(RANGES, name)
    if name == "pixel_scale_arcmin":
      low, high = np.log([low, high])
    margin = 0.03 * (high - low)
    assert low <= np.min(drawn) <= low + margin
    assert high - margin <= np.max(drawn) <= high
    # The mean of 400 even numbers, within four standard errors.
    error = (high - low) / np.sqrt(12 * 400)
    assert np.mean(drawn) == pytest.approx((low + high) / 2, abs=4 * error)


def test_mean_redshifts_are_those_asked_for(surveys):
  """Up to what n(z) loses beyond its last node, a hundredth at most."""
  means = np.array([survey.sources.mean for survey in surveys])
  low, high = RANGES.mean_redshift
  assert low * 0.98 <= means.min() < 1.05 * low
  assert high * 0.95 < means.max() <= 1.02 * high
  widths = [
    np.sqrt(s.source_weights @ (random_surveys.NODES - s.sources.mean) ** 2)
    for s in surveys
  ]
  assert min(widths) < 0.07 and max(widths) > 0.6  # A tomographic bin, and all sources.


def test_grids_are_ten_degrees_wide_at_most_or_have_the_fewest_pixels(surveys):
  for survey in surveys:
    (side, other), scale = survey.grid.shape, survey.pixel_scale_arcmin
    assert side == other and 192 <= side <= 384 and side % 16 == 0
    assert side == 192 or side * scale <= 600
    assert side == 384 or (side + 16) * scale > 600


def test_the_cosmos_share():
  """A tenth of 400, within four standard deviations."""
  simulator = random_surveys.SurveySimulator()
  some = [simulator.survey(index) for index in range(400)]
  cosmos = [s for s in some if s.cosmology == theory.KAPPATNG]
  assert 16 <= len(cosmos) <= 64
  assert {s.pixel_scale_arcmin for s in cosmos} == {0.29}
  wanted = source_planes.sources()
  assert cosmos[0].sources.mean == pytest.approx(wanted.mean, rel=1e-3)
  power = [theory.convergence_power([1000.0], n) for n in (cosmos[0].sources, wanted)]
  assert power[0] == pytest.approx(power[1], rel=0.003)


def test_maps_are_those_of_their_survey():
  ranges = dataclasses.replace(RANGES, pixel_scale_arcmin=(2.0, 4.0))
  simulator = random_surveys.SurveySimulator(ranges, mode="fast", seed=1)
  survey = simulator.survey(5)
  kappa = simulator.map(5)
  assert kappa.shape == survey.grid.shape
  expected = simulate.ConvergenceSimulator(
    survey.grid, survey.sources, cosmology=survey.cosmology, mode="fast", seed=1
  ).map(5)
  np.testing.assert_array_equal(kappa, expected)
  np.testing.assert_array_equal(kappa, next(iter(simulator.maps(1, first=5))))
  spectrum = spectra.PowerSpectrum.theory(
    survey.sources, survey.cosmology, small_scales="kappatng"
  )
  variance = spectrum.mode_variance(survey.grid)
  modes = geometry.half_plane_multiplicity(survey.grid.shape) * variance
  expected = (np.sum(modes) - variance[0, 0]) / kappa.size
  # Haloes make the variance of one map scatter by some 10 %.
  assert kappa.var() == pytest.approx(expected, rel=0.4)
  assert survey.grid.pixel_scale.to_value(u.arcmin) == survey.pixel_scale_arcmin


@pytest.mark.parametrize(
  "changes, message",
  [
    (dict(sigma_8=(0.9, 0.8)), "sigma_8 must be a positive, rising range"),
    (dict(pixel_scale_arcmin=(0.0, 1.0)), "pixel_scale_arcmin must be a positive"),
    (dict(cosmos_share=1.5), "Shares must lie between 0 and 1"),
    (dict(mean_redshift=(0.5, 2.5)), "leave sources beyond"),
    (dict(sigma_8=(0.2, 0.8)), "sigma_8 from 0.5 to 1.1; got 0.2"),
  ],
)
def test_impossible_ranges(changes, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(RANGES, **changes)


def test_bad_simulators_and_numbers():
  with pytest.raises(ValueError, match="seed must not be negative"):
    random_surveys.SurveySimulator(seed=-1)
  with pytest.raises(ValueError, match="mode must be one of"):
    random_surveys.SurveySimulator(mode="slow")
  with pytest.raises(ValueError, match="num_processes positive; got 1, 0 and 0"):
    next(random_surveys.SurveySimulator().maps(1, num_processes=0))
