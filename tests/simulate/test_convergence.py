"""The simulator's maps: their power, seeds, shapes and sources."""

import subprocess
import sys

from astropy import units as u
import numpy as np
import pytest

from tfp_massmap import geometry
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap import theory
from tfp_massmap.simulate import source_planes
from tfp_massmap.theory import source_redshifts

GRID = geometry.PixelGrid((128, 128), 1.2 * u.arcmin)
SMALL = geometry.PixelGrid((48, 40), 1 * u.arcmin)
SOURCES = source_planes.sources(np.full(40, 1 / 40))


@pytest.mark.parametrize("mode", simulate.MODES)
def test_maps_have_the_wanted_power(mode):
  """Mean of 24 maps (157 deg^2) within 8 %, or 4.5 standard errors where larger."""
  simulator = simulate.ConvergenceSimulator(GRID, SOURCES, mode=mode, seed=1)
  maps = np.stack([simulator.map(index) for index in range(24)])
  assert maps.dtype == np.float32 and abs(maps.mean()) < 1e-6
  wanted = np.interp(
    GRID.multipoles(),
    simulator.multipoles,
    simulator.wanted_power(simulator.multipoles),
  )
  white = spectra.fourier_filter(maps, (1 / np.sqrt(wanted)).astype(np.float32))
  edges = np.geomspace(900, 8500, 7)
  ratio = spectra.band_power(white, GRID, edges=edges)
  error = ratio.std(axis=0, ddof=1) / np.sqrt(24)
  assert (np.abs(ratio.mean(axis=0) - 1) < np.maximum(0.08, 4.5 * error)).all(), ratio


def test_power_can_be_asked_for():
  spectrum = spectra.PowerSpectrum.fiducial_cosmos()
  half = simulate.ConvergenceSimulator(SMALL, power=lambda ell: spectrum(ell) / 4)
  full = simulate.ConvergenceSimulator(SMALL, power=spectrum)
  np.testing.assert_allclose(half.map(0), full.map(0) / 2, rtol=1e-4, atol=1e-7)


def test_a_map_depends_on_seed_and_index_alone():
  simulator = simulate.ConvergenceSimulator(SMALL, seed=5)
  fourth = simulator.map(3)
  np.testing.assert_array_equal(list(simulator.maps(4))[3], fourth)
  again = simulate.ConvergenceSimulator(SMALL, seed=5)
  np.testing.assert_array_equal(next(again.maps(1, first=3)), fourth)
  assert np.abs(simulate.ConvergenceSimulator(SMALL, seed=6).map(3) - fourth).max() > 0
  assert np.abs(simulator.map(2) - fourth).max() > 0


@pytest.mark.parametrize("shape", [(41, 64), (64, 41)])
def test_any_shape(shape):
  grid = geometry.PixelGrid(shape, 1.5 * u.arcmin)
  kappa = simulate.ConvergenceSimulator(grid).map(0)
  assert kappa.shape == shape and np.isfinite(kappa).all() and kappa.std() > 0.005


def test_a_map_that_is_no_torus():
  """Edges of a torus continue each other; those of a cut map do not."""
  kappa = simulate.ConvergenceSimulator(SMALL, periodic=False, seed=1).map(0)
  assert kappa.shape == SMALL.shape
  torus = simulate.ConvergenceSimulator(GRID, seed=1).map(0)
  neighbours = np.corrcoef(torus[0], torus[-1])[0, 1]
  cut = simulate.ConvergenceSimulator(GRID, seed=1, periodic=False).map(0)
  assert neighbours > 0.5 > np.abs(np.corrcoef(cut[0], cut[-1])[0, 1])


def test_nearer_sources_see_less():
  near, far = (
    simulate.ConvergenceSimulator(SMALL, np.full(9, z)).map(0).std()
    for z in (0.35, 2.5)
  )
  assert near < 0.5 * far


def test_redshift_density_of_a_user():
  density = source_redshifts.cosmos_density
  simulator = simulate.ConvergenceSimulator(SMALL, density)
  assert simulator.sources.mean == pytest.approx(1.4, abs=0.02)


@pytest.mark.parametrize(
  "omega_matter, sigma_8, mean, pixel_scale",
  [(0.2, 1.0, 0.4, 5.0), (0.4, 0.6, 1.6, 0.1), (0.3, 0.9, 1.0, 1.0)],
)
def test_any_cosmology_sources_and_pixels(omega_matter, sigma_8, mean, pixel_scale):
  """Power of 16 maps in three bands: within 12 %, or 4.5 standard errors if larger."""
  grid = geometry.PixelGrid((64, 64), pixel_scale * u.arcmin)
  cosmology = theory.Cosmology(omega_matter, sigma_8)
  sources = theory.SourceRedshifts.of_mean(mean)
  simulator = simulate.ConvergenceSimulator(
    grid, sources, cosmology=cosmology, mode="fast", seed=3
  )
  maps = np.stack([simulator.map(index) for index in range(16)])
  wanted = spectra.PowerSpectrum.theory(sources, cosmology, small_scales="kappatng")
  white = spectra.fourier_filter(
    maps, (1 / np.sqrt(wanted(np.maximum(grid.multipoles(), 10)))).astype(np.float32)
  )
  ell = grid.multipoles()
  edges = np.geomspace(3 * ell[0, 1], ell.max() / 1.5, 4)
  ratio = spectra.band_power(white, grid, edges=edges)
  error = ratio.std(axis=0, ddof=1) / 4
  assert (np.abs(ratio.mean(axis=0) - 1) < np.maximum(0.12, 4.5 * error)).all(), ratio


def test_simulator_starts_without_tensorflow():
  code = (
    "import sys; from tfp_massmap import simulate; simulate.ConvergenceSimulator;"
    "print([m for m in ('tensorflow', 'matplotlib') if m in sys.modules])"
  )
  output = subprocess.run(
    [sys.executable, "-c", code], check=True, capture_output=True, text=True
  )
  assert output.stdout.strip() == "[]"


@pytest.mark.parametrize(
  "arguments, message",
  [
    (dict(mode="best"), "fast.*quality"),
    (dict(seed=-1), "seed"),
    (dict(sources=[-1.0, -2.0]), "redshifts outside"),
    (dict(cosmology=theory.Cosmology(0.1, 0.8)), "Omega_m from 0.15"),
    (dict(recipe=simulate.Recipe(mass_range=(1e9, 1e15))), "mass_range"),
  ],
)
def test_impossible_simulators(arguments, message):
  with pytest.raises(ValueError, match=message):
    simulate.ConvergenceSimulator(SMALL, **arguments)


def test_impossible_numbers_of_maps():
  simulator = simulate.ConvergenceSimulator(SMALL)
  with pytest.raises(ValueError, match="num_maps"):
    next(simulator.maps(-1))
