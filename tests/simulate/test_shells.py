"""Shells against Limber's integral, lognormal fields against their moments."""

from astropy import units as u
import numpy as np
import pytest
from scipy import fft

from tfp_massmap import geometry
from tfp_massmap import spectra
from tfp_massmap import theory
from tfp_massmap.simulate import shells
from tfp_massmap.simulate import source_planes

SOURCES = source_planes.sources(np.full(40, 1 / 40))


@pytest.mark.parametrize("parameters", [(0.3089, 0.8159), (0.25, 1.0)])
def test_shells_have_the_power_of_all_matter(parameters):
  """Without damping, the sum of W^2 width^2 C(ell) is Limber's integral."""
  cosmology = theory.Cosmology(*parameters)
  matter_power = theory.MatterPower(cosmology)
  ell = np.array([400.0, 3000.0, 20000.0])
  total = 0.0
  for shell in shells.shells_before(4100, 100.0, cosmology=cosmology):
    kernel = theory.lensing_kernel(shell.distances(), SOURCES, cosmology=cosmology)
    power = shell.overdensity_power(ell, matter_power, damping=0.0)
    total = total + (kernel.mean() * shell.width) ** 2 * power
  expected = theory.convergence_power(ell, SOURCES, cosmology=cosmology)
  np.testing.assert_allclose(total, expected, rtol=0.02)


def test_shells_are_as_wide_as_a_whole_number_allows():
  found = shells.shells_before(1000.0, 205.0)
  assert len(found) == 5 and found[0].near == 0 and found[-1].far == 1000
  assert len(shells.shells_before(90.0, 205.0)) == 1


def test_lognormal_field_has_its_power_and_bound(make_field):
  """Band power of 200 fields within 4.5 standard errors: 1 in 10,000 for ten bands."""
  field, power = make_field()
  rng = np.random.default_rng(0)
  fields = np.stack([field.sample(rng) for _ in range(200)])
  assert fields.dtype == np.float32 and fields.min() > -field.shift
  grid = geometry.PixelGrid((128, 128), 1 * u.rad)
  edges = np.linspace(0.03, 1.0, 11)
  measured = spectra.band_power(fields, grid, edges=edges)
  flat = fft.irfft2(np.sqrt(power) * 128, s=(128, 128))
  expected = spectra.band_power(flat, grid, edges=edges)
  error = measured.std(axis=0, ddof=1) / np.sqrt(200)
  assert (
    np.abs(measured.mean(axis=0) - expected) < 4.5 * error + 0.01 * expected
  ).all()


@pytest.mark.parametrize("slope", [0.5, 3.0])
def test_bias_of_clipped_density(slope, make_field):
  """Against sample averages over 60 fields; 5 standard errors."""
  field, _ = make_field(amplitude=90.0)
  rng = np.random.default_rng(1)
  responses = []
  for _ in range(60):
    delta = field.sample(rng).astype(np.float64)
    density = np.maximum(1 + slope * delta, 0)
    responses.append([density.mean(), (density * delta).mean(), (delta**2).mean()])
  mean, product, variance = np.mean(responses, axis=0)
  expected_mean, expected_bias = field.moments_of_clipped(slope)
  assert mean == pytest.approx(expected_mean, rel=0.02)
  assert product / mean / variance == pytest.approx(expected_bias, rel=0.05)
