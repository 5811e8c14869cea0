"""Haloes: abundance, masses and bias against theory."""

import numpy as np
import pytest

from tfp_massmap import simulate
from tfp_massmap import theory
from tfp_massmap.simulate import halo_population
from tfp_massmap.simulate import shells
from tfp_massmap.simulate import source_planes

SOURCES = source_planes.sources(np.full(40, 1 / 40))
HALOES = theory.kappatng_haloes()


def _population(field, pixel_radians, haloes=HALOES):
  return halo_population.HaloPopulation(
    shells.Shell(820.0, 1025.0, cosmology=haloes.cosmology),
    field,
    lensing_kernel=lambda d: theory.lensing_kernel(d, SOURCES),
    pixel_radians=pixel_radians,
    haloes=haloes,
    recipe=simulate.Recipe(
      mass_range=(3e12, 6e14), concentration_factor=0.7, concentration_scatter=0.2
    ),
  )


def test_haloes_have_the_abundance_and_mass_of_theory(make_field):
  """Poisson numbers, 4.5 sigma; the mean mass within 3 %."""
  field, _ = make_field()
  pixel = 3e-4
  population = _population(field, pixel)
  rng = np.random.default_rng(2)
  overdensity = field.sample(rng)
  volume = population.shell.volume(overdensity.size * pixel**2)
  haloes = population.sample(overdensity, rng)
  log_mass = np.linspace(np.log(3e12), np.log(6e14), 2000)
  abundance = HALOES.abundance(np.exp(log_mass), population.shell.redshift)
  expected = abundance.sum() * (log_mass[1] - log_mass[0]) * volume
  number = sum(h.pixel.size for h in haloes)
  assert abs(number - expected) < 4.5 * np.sqrt(expected) + 0.01 * expected
  for mass_bin in population.bins[:3]:
    masses = mass_bin.sample_mass(20000, rng)
    mean = mass_bin.density @ mass_bin.mass / mass_bin.expected
    assert masses.mean() == pytest.approx(mean, rel=0.03)


def test_haloes_follow_the_overdensity_with_their_bias(make_field):
  field, _ = make_field(amplitude=10.0)
  rng = np.random.default_rng(3)
  population = _population(field, 2e-3)
  overdensity = field.sample(rng)
  counts = np.bincount(population.sample(overdensity, rng)[0].pixel, minlength=128**2)
  contrast = counts / counts.mean() - 1
  delta = overdensity.ravel().astype(np.float64)
  slope = (contrast @ delta) / (delta @ delta)
  error = 1 / np.sqrt(counts.mean() * (delta @ delta))
  assert slope == pytest.approx(population.bins[0].bias, abs=4.5 * error + 0.05)


def test_other_cosmologies_have_peaks_of_equal_height(make_field):
  """More structure: larger haloes in the end, and each as concentrated as its peak."""
  field, _ = make_field()
  rich = theory.HaloStatistics(theory.Cosmology(0.3089, 0.95))
  population = _population(field, 3e-4, rich)
  largest = population.bins[-1].mass[-1]
  assert largest > 7e14
  np.testing.assert_allclose(
    rich.sigma(largest, 0.0), HALOES.sigma(6e14, 0.0), rtol=1e-4
  )
  usual = _population(field, 3e-4)
  redshift = usual.shell.redshift
  twin = HALOES.mass_of(rich.sigma(1e14, redshift), redshift)
  assert twin < 1e14
  np.testing.assert_allclose(
    population.concentration(1e14), usual.concentration(twin), rtol=1e-9
  )
  # The fraction of matter in haloes grows, and the bias of a halo falls.
  assert population.mean_bias() != pytest.approx(usual.mean_bias(), rel=1e-3)
  assert rich.bias(1e14, 0.5) < HALOES.bias(1e14, 0.5)
