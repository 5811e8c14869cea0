"""Haloes: abundance, masses and bias against the tables."""

import numpy as np
import pytest

from tfp_massmap import simulate
from tfp_massmap.simulate import cosmology_tables
from tfp_massmap.simulate import halo_population
from tfp_massmap.simulate import shells

TABLES = cosmology_tables.CosmologyTables.load()
WEIGHTS = np.full(40, 1 / 40)


def _population(field, pixel_radians):
  return halo_population.HaloPopulation(
    shells.Shell(820.0, 1025.0),
    field,
    lensing_kernel=lambda d: shells.lensing_kernel(d, WEIGHTS),
    pixel_radians=pixel_radians,
    tables=TABLES,
    recipe=simulate.Recipe(
      mass_range=(3e12, 6e14), concentration_factor=0.7, concentration_scatter=0.2
    ),
  )


def test_haloes_have_the_abundance_and_mass_of_the_tables(make_field):
  """Poisson numbers, 4.5 sigma; the mean mass within 3 %."""
  field, _ = make_field()
  pixel = 3e-4
  population = _population(field, pixel)
  rng = np.random.default_rng(2)
  overdensity = field.sample(rng)
  volume = population.shell.volume(overdensity.size * pixel**2)
  haloes = population.sample(overdensity, rng)
  abundance = TABLES.abundance_at(population.shell.redshift)
  inside = (TABLES.mass > 3e12) & (TABLES.mass < 6e14)
  table = np.interp(
    np.linspace(np.log(3e12), np.log(6e14), 2000),
    np.log(TABLES.mass[inside]),
    np.log(abundance[inside]),
  )
  step = np.log(200) / 1999
  expected = np.exp(table).sum() * step * volume
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
