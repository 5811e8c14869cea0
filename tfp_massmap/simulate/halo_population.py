"""Haloes of a shell: their numbers, masses and places.

Numbers follow the mass function, and positions the shell's overdensity. A halo of
linear bias b falls into a pixel with a probability proportional to max(1 + b delta, 0).
"""

from collections.abc import Callable
import dataclasses
import itertools

import numpy as np
import numpy.typing as npt

from tfp_massmap import theory
from tfp_massmap.simulate import nfw
from tfp_massmap.simulate import recipe as recipe_lib
from tfp_massmap.simulate import shells

# Steps in ln M of the abundance, and bins of mass whose haloes share one bias. The mean
# mass of a bin agrees with its table to 3 % (tests/simulate/test_halo_population.py).
_NUM_MASSES = 480
_NUM_BIAS_BINS = 5
# Distances of a shell at which the lensing kernel is interpolated. The nearest shell
# begins at 0, where no halo has a finite size, and starts at this fraction of its end.
_NUM_DISTANCES = 33
_NEAREST = 1e-3


@dataclasses.dataclass(frozen=True)
class Haloes:
  """Haloes on a map, as arrays of one length.

  Attributes:
    pixel: Flat index of the pixel, int.
    angle: Outer radius r_200 as an angle in radians.
    concentration: r_200 over the scale radius.
    amplitude: Sum over pixels of the convergence.
  """

  pixel: np.ndarray
  angle: np.ndarray
  _: dataclasses.KW_ONLY
  concentration: np.ndarray
  amplitude: np.ndarray


class MassBin:
  """Haloes of one range of mass in one shell, which share one bias.

  Args:
    log_mass: ln of the mass in Msun/h at equal steps, `[n]`.
    abundance: dn/dlnM in (Mpc/h)^-3, `[n]`.
    bias: Linear halo bias, `[n]`.
    field: The shell's overdensity.
    mean_density: Comoving density of all matter in h^2 Msun/Mpc^3.

  Attributes:
    expected: Mean number per comoving volume, (Mpc/h)^-3.
    slope: Bias with which the haloes are placed, before clipping.
    bias: Linear bias that remains after clipping at zero.
    mass, density: Nodes of mass, and the mean number per volume around each.
  """

  def __init__(
    self,
    log_mass: np.ndarray,
    abundance: np.ndarray,
    *,
    bias: np.ndarray,
    field: shells.LognormalField,
    mean_density: float,
  ) -> None:
    self._mean_density = mean_density
    step = log_mass[1] - log_mass[0]
    self.mass = np.exp(log_mass)
    self.density = abundance * step
    self.density[[0, -1]] /= 2
    self.expected = self.density.sum()
    in_mass = self.density * self.mass
    self.slope = float(in_mass @ bias / in_mass.sum())
    self.bias = field.moments_of_clipped(self.slope)[1]
    self._log_mass = log_mass
    middle = (abundance[1:] + abundance[:-1]) / 2
    self._cumulative = np.append(0.0, np.cumsum(middle)) / middle.sum()

  def sample_mass(self, num: int, rng: np.random.Generator) -> np.ndarray:
    """Returns random masses in Msun/h, `[num]`.

    Args:
      num: Number of haloes.
      rng: Generator of the masses.
    """
    return np.exp(np.interp(rng.random(num), self._cumulative, self._log_mass))

  @property
  def matter_fraction(self) -> float:
    """Fraction of all matter that is in these haloes."""
    return self.density @ self.mass / self._mean_density


class HaloPopulation:
  """The haloes of a shell.

  Args:
    shell: The shell.
    field: The shell's overdensity.
    lensing_kernel: Function of distances in Mpc/h that returns W(chi).
    pixel_radians: Side of a pixel in radians.
    haloes: `theory.HaloStatistics` of the cosmology.
    recipe: Range of masses, and concentrations.

  Attributes:
    shell, pixel_radians, recipe: As given.
    bins: List of `MassBin`.
  """

  def __init__(
    self,
    shell: shells.Shell,
    field: shells.LognormalField,
    *,
    lensing_kernel: Callable[[np.ndarray], np.ndarray],
    pixel_radians: float,
    haloes: theory.HaloStatistics,
    recipe: recipe_lib.Recipe,
  ) -> None:
    self.shell = shell
    self.recipe = recipe
    nearest = max(shell.near, _NEAREST * shell.far)
    self._distance = np.linspace(nearest, shell.far, _NUM_DISTANCES)
    self._lensing = lensing_kernel(self._distance)
    self.pixel_radians = pixel_radians
    self._haloes = haloes
    self._mean_density = haloes.cosmology.mean_density
    lowest, highest = np.log(_mass_range(recipe, haloes))
    log_mass = np.linspace(lowest, highest, _NUM_MASSES + 1)
    abundance = haloes.abundance(np.exp(log_mass), shell.redshift)
    bias = haloes.bias(np.exp(log_mass), shell.redshift)
    edges = np.linspace(0, _NUM_MASSES, _NUM_BIAS_BINS + 1).astype(int)
    ranges = [slice(i, j + 1) for i, j in itertools.pairwise(edges)]
    self.bins = [
      MassBin(
        log_mass[r],
        abundance[r],
        bias=bias[r],
        field=field,
        mean_density=self._mean_density,
      )
      for r in ranges
    ]

  def mean_bias(self) -> float:
    """Returns the sum over the haloes of matter fraction times bias."""
    return sum(b.matter_fraction * b.bias for b in self.bins)

  def concentration(self, mass: npt.ArrayLike) -> np.ndarray:
    """Returns the median concentration, of the shape of the mass in Msun/h."""
    redshift = self.shell.redshift
    if self._haloes.cosmology != theory.KAPPATNG:
      # Concentrations are nearly a function of the height of the peak alone.
      sigma = self._haloes.sigma(mass, redshift)
      mass = theory.kappatng_haloes().mass_of(sigma, redshift)
    duffy = nfw.duffy_concentration(mass, redshift)
    return self.recipe.concentration_factor * duffy

  def angle(self, mass: npt.ArrayLike, distance: npt.ArrayLike) -> np.ndarray:
    """Returns the outer radius as an angle in radians.

    Args:
      mass: Masses in Msun/h.
      distance: Comoving distances in Mpc/h, broadcast with the masses.
    """
    return nfw.outer_radius(mass, self._mean_density) / distance

  def amplitude(
    self, mass: float | np.ndarray, distance: float | np.ndarray
  ) -> np.ndarray:
    """Returns the sum over pixels of the convergence of a halo.

    Args:
      mass: Masses in Msun/h.
      distance: Comoving distances in Mpc/h, broadcast with the masses.
    """
    kernel = np.interp(distance, self._distance, self._lensing)
    area = (distance * self.pixel_radians) ** 2
    return kernel * mass / (self._mean_density * area)

  def sample(self, overdensity: np.ndarray, rng: np.random.Generator) -> list[Haloes]:
    """Draws the haloes.

    Args:
      overdensity: The shell's field, float32 `[ny, nx]`.
      rng: Generator of the haloes.

    Returns:
      `Haloes` of each bin of mass.
    """
    solid_angle = overdensity.size * self.pixel_radians**2
    volume = self.shell.volume(solid_angle)
    return [self._sample_bin(b, overdensity, volume, rng) for b in self.bins]

  def _sample_bin(self, mass_bin, overdensity, volume, rng):
    num = rng.poisson(mass_bin.expected * volume)
    mass = mass_bin.sample_mass(num, rng)
    near, far = self.shell.near, self.shell.far
    distance = np.cbrt(near**3 + (far**3 - near**3) * rng.random(num))
    log_scatter = rng.standard_normal(num, dtype=np.float32)
    scatter = np.exp(self.recipe.concentration_scatter * log_scatter)
    return Haloes(
      pixel=_sample_pixels(overdensity, mass_bin.slope, num, rng),
      angle=self.angle(mass, distance),
      concentration=self.concentration(mass) * scatter,
      amplitude=self.amplitude(mass, distance),
    )


def _sample_pixels(overdensity, slope, num, rng):
  """Returns pixels with probability proportional to max(1 + slope * overdensity, 0)."""
  if num == 0:
    return np.zeros([0], np.int64)
  density = np.maximum(1 + np.float32(slope) * overdensity, 0)
  cumulative = np.cumsum(density, dtype=np.float64)
  # Ordered uniform numbers, as sums of exponential ones, make the search local.
  ordered = np.cumsum(rng.standard_exponential(num + 1))
  ordered = ordered[:-1] * (cumulative[-1] / ordered[-1])
  return np.minimum(np.searchsorted(cumulative, ordered), overdensity.size - 1)


def _mass_range(recipe, haloes):
  """The range of masses; the largest is a peak as rare as in the recipe's cosmology."""
  smallest, largest = recipe.mass_range
  if haloes.cosmology == theory.KAPPATNG:
    return smallest, largest
  sigma = theory.kappatng_haloes().sigma(largest, 0.0)
  return smallest, float(haloes.mass_of(sigma, 0.0))
