"""Painted haloes: mass, profile, and transforms of the templates."""

import numpy as np
import pytest
from scipy import fft

from tfp_massmap.simulate import halo_population
from tfp_massmap.simulate import nfw
from tfp_massmap.simulate import painting


def _haloes(pixel, angle, concentration, amplitude):
  return halo_population.Haloes(
    np.atleast_1d(pixel),
    np.atleast_1d(angle),
    concentration=np.atleast_1d(concentration),
    amplitude=np.atleast_1d(amplitude),
  )


@pytest.mark.parametrize("elliptical", [False, True])
def test_painting_keeps_mass(elliptical):
  painter = painting.HaloPainter((64, 72), 1e-4, elliptical=elliptical)
  rng = np.random.default_rng(4)
  haloes = _haloes(
    rng.integers(64 * 72, size=300),
    1e-4 * rng.uniform(0.1, 40, 300),
    rng.uniform(0.5, 20, 300),
    rng.uniform(0, 1, 300),
  )
  modes = painter.paint(
    painter.assign(haloes, rng), haloes.pixel, amplitude=haloes.amplitude
  )
  kappa = fft.irfft2(modes, s=(64, 72))
  assert kappa.sum() == pytest.approx(haloes.amplitude.sum(), rel=1e-4)
  assert kappa.min() > -1e-5


def test_painted_halo_is_an_nfw_halo():
  """The mean over haloes, which go to neighbouring templates at random, is compared."""
  painter = painting.HaloPainter((64, 64), 1e-4, elliptical=False)
  rng = np.random.default_rng(5)
  radius, concentration = 12.0, 4.0
  many = np.ones(4000)
  haloes = _haloes(
    (many * (32 * 64 + 32)).astype(int),
    many * radius * 1e-4,
    many * concentration,
    many / many.size,
  )
  modes = painter.paint(
    painter.assign(haloes, rng), haloes.pixel, amplitude=haloes.amplitude
  )
  kappa = fft.irfft2(modes, s=(64, 64))
  distance = np.arange(2, 9)
  profile = nfw.convergence_shape(distance * concentration / radius, concentration)
  norm = 2 * np.pi * (radius / concentration) ** 2 * nfw.mass_factor(concentration)
  np.testing.assert_allclose(kappa[32, 32 + distance], profile / norm, rtol=0.08)


def test_profiles_are_the_templates_transforms():
  painter = painting.HaloPainter((64, 64), 1e-4, elliptical=False)
  frequency = 2 * np.pi * np.fft.rfftfreq(64)[1:]
  profiles, squares = painter.profiles(frequency)
  rng = np.random.default_rng(6)
  for angle, concentration in ((2, 1), (9, 3), (13, 2)):
    radius = 0.25 * 10 ** (0.15 * angle)
    c = 0.9 * 10 ** (0.2 * concentration)
    haloes = _haloes([0], [radius * 1e-4 * 1.0000001], [c * 1.0000001], [1.0])
    modes = painter.paint(
      painter.assign(haloes, rng), haloes.pixel, amplitude=haloes.amplitude
    )
    column = modes[0, 1:].real
    diagonal = modes[np.arange(1, 33), np.arange(1, 33)].real
    diagonal = np.interp(frequency, np.sqrt(2) * frequency, diagonal)
    low, high = np.minimum(column, diagonal), np.maximum(column, diagonal)
    mean, square = profiles[angle, concentration], squares[angle, concentration]
    assert ((low - 0.02 < mean) & (mean < high + 0.02)).all()
    assert ((low - 0.02) ** 2 < square + 0.02).all() and (
      square >= mean**2 - 1e-12
    ).all()
