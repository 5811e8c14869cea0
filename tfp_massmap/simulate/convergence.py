"""Convergence maps that look like those of kappaTNG, in a second or two each.

A map is the sum over shells of matter of a lognormal field and of haloes that follow
it, after an isotropic filter:

  kappa = T * [sum_s W_s (1 - B_s) delta_s (b_s - a_s) + sum_h kappa_h - mean].

B_s is the mean of bias times matter fraction of the haloes of shell s. Reducing the
smooth part by it keeps the large-scale power that of all matter. T(ell) takes the
power, known from the halo model, to the wanted one. The maps are in the Born
approximation; there are no filaments, and haloes have no substructure.
"""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import typing

import numpy as np
import numpy.typing as npt
from scipy import fft

from tfp_massmap import geometry
from tfp_massmap import theory
from tfp_massmap.simulate import halo_population
from tfp_massmap.simulate import painting
from tfp_massmap.simulate import power_model
from tfp_massmap.simulate import processes
from tfp_massmap.simulate import recipe as recipe_lib
from tfp_massmap.simulate import shells
from tfp_massmap.simulate import source_planes
from tfp_massmap.theory import haloes as haloes_lib
from tfp_massmap.theory import source_redshifts

MODES = ("fast", "quality")
# Share of the sources before which no shells are made.
_FEWEST_SOURCES = 1e-3


class ConvergenceSimulator:
  """Makes convergence maps.

  A map depends on the settings, the seed and its index alone, so that maps can be made
  in any order and in any number of processes.

  Args:
    grid: Grid of the maps, up to about 10 deg wide, with pixels from 0.1 to a few
      arcmin.
    sources: The n(z): `theory.SourceRedshifts`, redshifts of galaxies `[n]`, or a
      function n(z); None for COSMOS on the source planes of kappaTNG
      (`source_planes.sources`).
    cosmology: `theory.Cosmology`, Omega_m from 0.15 to 0.45 and sigma_8 from 0.5 to 1.1.
    mode: "quality", or "fast", with round haloes.
    seed: Seed of the maps, not negative.
    periodic: Whether the map may be a torus, whose opposite edges fit together. If not,
      it is cut from a torus that is larger by half.
    recipe: Numbers that no theory gives.
    power: Wanted power spectrum, a function of multipoles `[n]` that returns C_ell in
      steradian; None for theory with the small scales of kappaTNG.

  Attributes:
    grid, cosmology, mode, seed, recipe: As given.
    sources: `theory.SourceRedshifts`.
    wanted_power: Function, the power spectrum of the maps; None in a copy that came
      from another process.

  Raises:
    ValueError: If the mode is unknown, the seed negative, the sources are no n(z), the
      cosmology is outside of the tables, or so is the range of masses.
  """

  def __init__(
    self,
    grid: geometry.PixelGrid,
    sources: theory.SourceRedshifts
    | npt.ArrayLike
    | Callable[[np.ndarray], npt.ArrayLike]
    | None = None,
    *,
    cosmology: theory.Cosmology = theory.KAPPATNG,
    mode: str = "quality",
    seed: int = 0,
    periodic: bool = True,
    recipe: recipe_lib.Recipe = recipe_lib.Recipe(),
    power: Callable[[np.ndarray], np.ndarray] | None = None,
  ) -> None:
    if mode not in MODES:
      raise ValueError(f"mode must be one of {MODES}; got {mode!r}.")
    if seed < 0:
      raise ValueError(f"seed must not be negative; got {seed}.")
    self.grid = grid
    self.mode = mode
    self.seed = int(seed)
    self.recipe = recipe
    if sources is None:
      sources = source_planes.sources()
    self.sources = source_redshifts.resolve(sources)
    self.cosmology = cosmology
    self._matter_power = theory.MatterPower(cosmology)
    self._haloes = theory.HaloStatistics(cosmology)
    self._shape = grid.shape if periodic else _larger(grid.shape)
    _check_mass_range(recipe.mass_range, haloes_lib.MASSES)
    self._painter = painting.HaloPainter(
      self._shape, grid.pixel_radians, elliptical=mode == "quality"
    )
    frequencies = 2 * np.pi * np.fft.rfftfreq(max(self._shape))[1:]
    self._frequency = frequencies
    self._multipole = frequencies / grid.pixel_radians
    self._layers = [self._layer(shell) for shell in self._shells()]
    self.wanted_power = power or self._theory_power
    transfer = np.sqrt(self.wanted_power(self._multipole) / self.raw_power())
    self._transfer = self._radial(transfer).astype(np.float32)
    self._transfer[0, 0] = 0

  def __getstate__(self):
    # Maps need only the filter, and a user's function may not be picklable.
    return {**self.__dict__, "wanted_power": None}

  @property
  def multipoles(self) -> np.ndarray:
    """Multipoles of `raw_power`, float64 `[n]`."""
    return self._multipole

  def raw_power(self) -> np.ndarray:
    """Returns the halo model's power before the last filter, in steradian, `[n]`."""
    profiles, squares = self._painter.profiles(self._frequency)
    total: typing.Any = 0.0
    for layer in self._layers:
      factor = layer.smooth
      for mass_bin in layer.population.bins:
        first, second = power_model.halo_moments(
          layer.population, self._painter, mass_bin=mass_bin
        )
        factor = factor + mass_bin.bias * np.einsum("ij,ijk->k", first, profiles)
        one_halo = np.einsum("ij,ijk->k", second, squares)
        total = total + one_halo * self.grid.pixel_radians**2
      total = total + layer.power * factor**2
    return total

  def map(self, index: int) -> np.ndarray:
    """Returns one convergence map, float32 `[ny, nx]`, of mean zero if periodic.

    Args:
      index: Number of the map, not negative.
    """
    seed = np.random.SeedSequence(self.seed, spawn_key=(int(index),))
    rng = np.random.Generator(np.random.SFC64(seed))
    smooth = np.zeros(self._shape, np.float32)
    haloes, templates = [], []
    for layer in self._layers:
      overdensity = layer.field.sample(rng)
      smooth += np.float32(layer.smooth) * overdensity
      for some in layer.population.sample(overdensity, rng):
        haloes.append((some.pixel, some.amplitude))
        templates.append(self._painter.assign(some, rng))
    pixel, amplitude = (np.concatenate(arrays) for arrays in zip(*haloes))
    modes = self._painter.paint(np.concatenate(templates), pixel, amplitude=amplitude)
    modes += fft.rfft2(smooth)
    modes *= self._transfer
    kappa = fft.irfft2(modes, s=self._shape)
    return kappa[: self.grid.shape[0], : self.grid.shape[1]]

  def maps(
    self,
    num_maps: int,
    first: int = 0,
    *,
    num_processes: int = 1,
    progress: bool = False,
  ) -> Iterator[np.ndarray]:
    """Yields the maps with numbers `first` to `first + num_maps - 1`, in order.

    Args:
      num_maps: Number of maps.
      first: Number of the first map.
      num_processes: Number of processes that make them. Each takes about 400 MB for
        maps of 1024 x 1024 pixels. With more than one, call this under
        `if __name__ == "__main__":`, as Python's multiprocessing requires.
      progress: Whether to show a progress bar on standard error.

    Yields:
      float32 `[ny, nx]`, the same as `map` returns for any number of processes.

    Raises:
      ValueError: If a number is out of its range.
      RuntimeError: If a process dies.
    """
    yield from processes.maps(
      self,
      num_maps,
      first=first,
      num_processes=num_processes,
      progress=progress,
    )

  def _shells(self):
    # Lenses before the last of the sources hardly count.
    behind = np.cumsum(self.sources.weight[::-1])[::-1]
    last = self.sources.redshift[behind > _FEWEST_SOURCES][-1]
    farthest = float(self.cosmology.comoving_distance(last))
    return shells.shells_before(
      farthest, self.recipe.shell_width, cosmology=self.cosmology
    )

  def _layer(self, shell):
    recipe = self.recipe
    power = shell.overdensity_power(
      self._multipole, self._matter_power, damping=recipe.damping
    )
    modes = self._radial(power) / self.grid.pixel_radians**2
    modes[0, 0] = 0
    field = shells.LognormalField(modes, self._shape, shift=recipe.shift)
    population = halo_population.HaloPopulation(
      shell,
      field,
      lensing_kernel=self._lensing_kernel,
      pixel_radians=self.grid.pixel_radians,
      haloes=self._haloes,
      recipe=recipe,
    )
    kernel = self._lensing_kernel(shell.distances()).mean()
    smooth = kernel * shell.width * (1 - population.mean_bias())
    return _Layer(field, population, power, smooth)

  def _lensing_kernel(self, distance):
    return theory.lensing_kernel(distance, self.sources, cosmology=self.cosmology)

  def _radial(self, values):
    """Returns a function of `multipoles` on the modes of `rfft2`, float64."""
    k1 = 2 * np.pi * np.fft.rfftfreq(self._shape[1])
    k2 = 2 * np.pi * np.fft.fftfreq(self._shape[0])
    frequency = np.hypot(k1[None, :], k2[:, None])
    # The nodes are equally spaced, so that their place needs no search.
    place = frequency / self._frequency[0] - 1
    nodes = np.arange(self._frequency.size)
    return np.interp(place, nodes, values)

  def _theory_power(self, ell):
    return theory.convergence_power(
      ell, self.sources, cosmology=self.cosmology, boost=theory.kappatng_boost
    )


@dataclasses.dataclass(frozen=True)
class _Layer:
  """A shell with field, haloes, power, and the weight of the field in the map."""

  field: shells.LognormalField
  population: halo_population.HaloPopulation
  power: np.ndarray
  smooth: float


def _larger(shape):
  return tuple(fft.next_fast_len(3 * n // 2, real=True) for n in shape)


def _check_mass_range(mass_range, masses):
  low, high = mass_range
  if not masses[0] <= low < high <= masses[-1]:
    raise ValueError(
      f"mass_range must increase within the tables' {masses[0]:.3g} to"
      f" {masses[-1]:.3g} Msun/h; got {mass_range}."
    )
