"""Shells against Limber's integral, lognormal fields against their moments."""

from astropy import units as u
import numpy as np
import pytest
from scipy import fft

from tfp_massmap import geometry
from tfp_massmap import spectra
from tfp_massmap.simulate import cosmology_tables
from tfp_massmap.simulate import shells
from tfp_massmap.simulate import source_planes
from tfp_massmap.theory import source_redshifts

TABLES = cosmology_tables.CosmologyTables.load()
WEIGHTS = np.full(40, 1 / 40)


def test_lensing_kernel_of_one_plane():
  """W = 3/2 Omega_m (H0/c)^2 (1 + z) chi (1 - chi/chi_s), and nothing behind."""
  plane = np.eye(40)[9]
  kernel = shells.lensing_kernel([512.5, 1025.0, 1500.0], plane)
  redshift = source_planes.source_redshifts()[4]
  expected = 1.5 * 0.3089 / 2997.92458**2 * (1 + redshift) * 512.5 * 0.5
  np.testing.assert_allclose(kernel, [expected, 0, 0], rtol=1e-6)


def test_limber_power_against_the_shipped_spectrum():
  """For the COSMOS n(z), which the planes only sample; another transfer function."""
  fiducial = spectra.PowerSpectrum.fiducial_cosmos()
  weights = source_planes.weights_from_density(source_redshifts.cosmos_density)
  ell = np.geomspace(300, 20000, 12)
  power = shells.limber_power(ell, weights, tables=TABLES)
  np.testing.assert_allclose(power, fiducial(ell), rtol=0.06)


def test_shells_have_the_power_of_all_matter():
  """Without damping, the sum of W^2 width^2 C(ell) is Limber's integral."""
  ell = np.array([400.0, 3000.0, 20000.0])
  total = 0.0
  for shell in shells.shells_before(4100, 40):
    kernel = shells.lensing_kernel(shell.distances(), WEIGHTS).mean()
    power = shell.overdensity_power(ell, TABLES, damping=0.0)
    total = total + (kernel * shell.width) ** 2 * power
  expected = shells.limber_power(ell, WEIGHTS, tables=TABLES)
  np.testing.assert_allclose(total, expected, rtol=0.02)


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
