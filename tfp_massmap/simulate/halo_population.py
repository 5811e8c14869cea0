"""Haloes of a shell: how many, of what mass, and where.

Numbers follow the mass function, positions the shell's overdensity: a halo of linear
bias b falls into a pixel with probability proportional to max(1 + b delta, 0).
"""

import dataclasses

import numpy as np

from tfp_massmap.simulate import cosmology
from tfp_massmap.simulate import nfw

_NUM_MASSES = 480
_NUM_BIAS_BINS = 5


@dataclasses.dataclass(frozen=True)
class Haloes:
  """Haloes on a map, arrays of one length.

  Attributes:
    pixel: flat index of the pixel, int.
    angle: outer radius r_200 as an angle in radians.
    concentration: r_200 over the scale radius.
    amplitude: sum over pixels of the convergence.
  """

  pixel: np.ndarray
  angle: np.ndarray
  _: dataclasses.KW_ONLY
  concentration: np.ndarray
  amplitude: np.ndarray


class MassBin:
  """Haloes of one range of mass in one shell, which share one bias.

  Attributes:
    expected: mean number per comoving volume, (Mpc/h)^-3.
    slope: bias with which they are placed, before clipping.
    bias: linear bias that clipping at zero leaves.
    mass, density: nodes of mass, and mean number per volume around each.
  """

  def __init__(self, log_mass, abundance, *, bias, field):
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

  def sample_mass(self, num, rng):
    return np.exp(np.interp(rng.random(num), self._cumulative, self._log_mass))

  @property
  def matter_fraction(self):
    """Share of all matter that is in these haloes."""
    return self.density @ self.mass / cosmology.MEAN_DENSITY


class HaloPopulation:
  """The haloes of a shell.

  Args:
    shell: `shells.Shell`.
    field: `shells.LognormalField`, the shell's overdensity.
    lensing_kernel: callable, W(chi) of distances in Mpc/h.
    pixel_radians: pixel side.
    tables: `CosmologyTables`.
    mass_range: smallest and largest mass, Msun/h.
    concentration_factor: concentrations are this times those of Duffy et al. (2008).
    concentration_scatter: standard deviation of ln c.

  Attributes:
    bins: list of `MassBin`.
  """

  def __init__(
    self,
    shell,
    field,
    *,
    lensing_kernel,
    pixel_radians,
    tables,
    mass_range,
    concentration_factor,
    concentration_scatter,
  ):
    self.shell = shell
    self._factor = concentration_factor
    self._scatter = concentration_scatter
    self._distance = np.linspace(max(shell.near, 1e-3 * shell.far), shell.far, 33)
    self._lensing = lensing_kernel(self._distance)
    self.pixel_radians = pixel_radians
    log_mass = np.linspace(*np.log(mass_range), _NUM_MASSES + 1)
    nodes = np.log(tables.mass)
    logarithm = np.log(np.maximum(tables.abundance_at(shell.redshift), 1e-300))
    abundance = np.exp(np.interp(log_mass, nodes, logarithm))
    bias = np.interp(log_mass, nodes, tables.bias_at(shell.redshift))
    edges = np.linspace(0, _NUM_MASSES, _NUM_BIAS_BINS + 1).astype(int)
    ranges = [slice(i, j + 1) for i, j in zip(edges[:-1], edges[1:])]
    self.bins = [
      MassBin(log_mass[r], abundance[r], bias=bias[r], field=field) for r in ranges
    ]

  def mean_bias(self):
    """Sum over the haloes of matter fraction times bias."""
    return sum(b.matter_fraction * b.bias for b in self.bins)

  def concentration(self, mass):
    """Median concentration."""
    return self._factor * nfw.duffy_concentration(mass, self.shell.redshift)

  def angle(self, mass, distance):
    """Outer radius as an angle in radians."""
    return nfw.outer_radius(mass) / distance

  def amplitude(self, mass, distance):
    """Sum over pixels of the convergence of a halo."""
    kernel = np.interp(distance, self._distance, self._lensing)
    area = (distance * self.pixel_radians) ** 2
    return kernel * mass / (cosmology.MEAN_DENSITY * area)

  def sample(self, overdensity, rng):
    """Draws the haloes.

    Args:
      overdensity: the shell's field, float32 `[ny, nx]`.
      rng: `numpy.random.Generator`.

    Returns:
      List of `Haloes`, one for each bin of mass.
    """
    solid_angle = overdensity.size * self.pixel_radians**2
    volume = self.shell.volume(solid_angle)
    return [self._sample_bin(b, overdensity, volume, rng) for b in self.bins]

  def _sample_bin(self, mass_bin, overdensity, volume, rng):
    num = rng.poisson(mass_bin.expected * volume)
    mass = mass_bin.sample_mass(num, rng)
    near, far = self.shell.near, self.shell.far
    distance = np.cbrt(near**3 + (far**3 - near**3) * rng.random(num))
    scatter = np.exp(self._scatter * rng.standard_normal(num, dtype=np.float32))
    return Haloes(
      pixel=_sample_pixels(overdensity, mass_bin.slope, num, rng),
      angle=self.angle(mass, distance),
      concentration=self.concentration(mass) * scatter,
      amplitude=self.amplitude(mass, distance),
    )


def _sample_pixels(overdensity, slope, num, rng):
  """Pixels with probability proportional to max(1 + slope * overdensity, 0)."""
  if num == 0:
    return np.zeros([0], np.int64)
  density = np.maximum(1 + np.float32(slope) * overdensity, 0)
  cumulative = np.cumsum(density, dtype=np.float64)
  # Ordered uniform numbers, as sums of exponential ones, make the search local.
  ordered = np.cumsum(rng.standard_exponential(num + 1))
  ordered = ordered[:-1] * (cumulative[-1] / ordered[-1])
  return np.minimum(np.searchsorted(cumulative, ordered), overdensity.size - 1)
