"""Convergence maps that look like those of kappaTNG, in a second or two each.

A map is the sum over 20 shells of matter of a lognormal field and of haloes placed
after it, and a last isotropic filter:

  kappa = T * [sum_s W_s (1 - B_s) delta_s (b_s - a_s) + sum_h kappa_h - mean].

B_s is the mean of bias times matter fraction of the haloes of shell s: the smooth part
makes room for them, so that large scales keep the power of all matter. T(ell) takes the
power, known from the halo model, to the wanted one. Born approximation, one cosmology;
there are no filaments, and haloes have no substructure.
"""

import collections
from concurrent import futures
from concurrent.futures import process
import contextlib
import dataclasses
import multiprocessing
import pathlib
import pickle
import tempfile

import numpy as np
from scipy import fft
import tqdm

from tfp_massmap.simulate import convergence_power
from tfp_massmap.simulate import cosmology_tables
from tfp_massmap.simulate import halo_population
from tfp_massmap.simulate import painting
from tfp_massmap.simulate import power_model
from tfp_massmap.simulate import shells
from tfp_massmap.simulate import source_planes

MODES = ("fast", "quality")


@dataclasses.dataclass(frozen=True)
class Recipe:
  """The numbers of the simulator that no theory gives.

  Shift, largest mass and concentration were fitted to moments, peak counts and starlet
  l1 norms of five of ten genuine kappaTNG crops, on the grid of
  `examples/benchmarks/simulator.py --fit`: chi^2 is least, and flat, for shift 1 between
  5e14 and 7e14 and between 0.68 and 0.72. The benchmark tells how they fare on the other
  five.

  Attributes:
    num_shells: shells up to the last source plane.
    shift: lower bound of the shells' overdensity, times -1; the smaller, the more
      skewed the large scales.
    damping: length in Mpc/h that takes the haloes' own power out of the shells'.
    mass_range: smallest and largest mass of a halo, Msun/h. The box of the
      simulations, 205 Mpc/h wide, has hardly any larger one.
    concentration_factor: concentrations over those of Duffy et al. (2008).
    concentration_scatter: standard deviation of ln c.
    large_scale_power: power up to ell 1500 over that of
      `power_model.kappatng_over_halofit`; from there it rises to 1 at ell 3000.

  Raises:
    ValueError: for numbers that are not positive (the scatter may be 0).
  """

  num_shells: int = 20
  shift: float = 1.0
  _: dataclasses.KW_ONLY
  damping: float = 0.6
  mass_range: tuple = (3e11, 6e14)
  concentration_factor: float = 0.72
  concentration_scatter: float = 0.2
  large_scale_power: float = convergence_power.LARGE_SCALE_POWER

  def __post_init__(self):
    for name in (
      "num_shells",
      "shift",
      "damping",
      "concentration_factor",
      "large_scale_power",
    ):
      if not getattr(self, name) > 0:
        raise ValueError(f"{name} must be positive; got {getattr(self, name)}.")
    if self.concentration_scatter < 0:
      raise ValueError(
        f"concentration_scatter must not be negative; got {self.concentration_scatter}."
      )


class ConvergenceSimulator:
  """Makes convergence maps.

  Map number `index` depends on the settings, the seed and the index alone, so maps can
  be made in any order and in any number of processes.

  Args:
    grid: `geometry.PixelGrid`, of any size up to some 10 deg; pixels from 0.1 to a few
      arcmin.
    plane_weights: weights of the 40 source planes of kappaTNG, `[40]`, or a callable
      n(z); None for the shape catalogue of COSMOS (`source_planes.COSMOS_WEIGHTS`).
    mode: "quality", or "fast", with round haloes.
    seed: integer, not negative.
    periodic: whether the map may be a torus, whose opposite edges fit together. If
      False, a torus larger by half is cut.
    tables: `CosmologyTables`; None for those of the cosmology of kappaTNG.
    recipe: `Recipe`.
    power: wanted power spectrum, a callable C_ell in steradian of multipoles `[n]`;
      None for that of kappaTNG.

  Attributes:
    grid, plane_weights, mode, seed, recipe: as given.
    wanted_power: callable, the power spectrum of the maps; None in a copy that came from
      another process.

  Raises:
    ValueError: for an unknown mode, a negative seed, weights that are not 40 or some
      negative, or a mass range outside the tables.
  """

  def __init__(
    self,
    grid,
    plane_weights=None,
    *,
    mode="quality",
    seed=0,
    periodic=True,
    tables=None,
    recipe=Recipe(),
    power=None,
  ):
    if mode not in MODES:
      raise ValueError(f"mode must be one of {MODES}; got {mode!r}.")
    if seed < 0:
      raise ValueError(f"seed must not be negative; got {seed}.")
    self.grid = grid
    self.mode = mode
    self.seed = int(seed)
    self.recipe = recipe
    self.plane_weights = _plane_weights(plane_weights)
    self._tables = tables or cosmology_tables.CosmologyTables.load()
    self._shape = grid.shape if periodic else _larger(grid.shape)
    _check_mass_range(recipe.mass_range, self._tables.mass)
    self._painter = painting.HaloPainter(
      self._shape, grid.pixel_radians, elliptical=mode == "quality"
    )
    frequencies = 2 * np.pi * np.fft.rfftfreq(max(self._shape))[1:]
    self._frequency = frequencies
    self._multipole = frequencies / grid.pixel_radians
    self._layers = [self._layer(shell) for shell in self._shells()]
    self.wanted_power = power or self._kappatng_power
    transfer = np.sqrt(self.wanted_power(self._multipole) / self.raw_power())
    self._transfer = self._radial(transfer).astype(np.float32)
    self._transfer[0, 0] = 0

  def __getstate__(self):
    # Maps need the filter alone, and a function of the user may not travel.
    return {**self.__dict__, "wanted_power": None}

  @property
  def multipoles(self):
    """Multipoles of `raw_power`, float64 `[n]`."""
    return self._multipole

  def raw_power(self):
    """Power by the halo model before the last filter, steradian, `[n]`."""
    profiles, squares = self._painter.profiles(self._frequency)
    scatter = self.recipe.concentration_scatter
    total = 0.0
    for layer in self._layers:
      factor = layer.smooth
      for mass_bin in layer.population.bins:
        first, second = power_model.halo_moments(
          layer.population, self._painter, mass_bin=mass_bin, scatter=scatter
        )
        factor = factor + mass_bin.bias * np.einsum("ij,ijk->k", first, profiles)
        one_halo = np.einsum("ij,ijk->k", second, squares)
        total = total + one_halo * self.grid.pixel_radians**2
      total = total + layer.power * factor**2
    return total

  def map(self, index):
    """Convergence map number `index`, float32 `[ny, nx]`, of mean zero if periodic."""
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

  def maps(self, num_maps, first=0, *, num_processes=1, progress=False):
    """Yields maps number `first` to `first + num_maps - 1`, in order.

    Args:
      num_maps: how many.
      first: index of the first.
      num_processes: how many processes make them; each takes some 400 MB for maps of
        1024 x 1024 pixels. With more than one, call it under
        `if __name__ == "__main__":`, as Python's multiprocessing asks.
      progress: whether to show a progress bar on standard error.

    Yields:
      float32 `[ny, nx]`, those of `map`, whatever the number of processes.

    Raises:
      ValueError: for numbers out of their range.
      RuntimeError: if a process dies.
    """
    if num_maps < 0 or first < 0 or num_processes < 1:
      raise ValueError(
        "num_maps and first must not be negative and num_processes positive; got"
        f" {num_maps}, {first} and {num_processes}."
      )
    indices = range(first, first + num_maps)
    bar = tqdm.tqdm(total=num_maps, unit="map", disable=not progress)
    with bar, _mapper(self, min(num_processes, num_maps)) as mapper:
      for kappa in mapper(indices):
        yield kappa
        bar.update()

  def _shells(self):
    farthest = source_planes.source_distances()[np.flatnonzero(self.plane_weights)[-1]]
    return shells.shells_before(farthest, self.recipe.num_shells)

  def _layer(self, shell):
    recipe = self.recipe
    power = shell.overdensity_power(
      self._multipole, self._tables, damping=recipe.damping
    )
    modes = self._radial(power) / self.grid.pixel_radians**2
    modes[0, 0] = 0
    field = shells.LognormalField(modes, self._shape, shift=recipe.shift)
    population = halo_population.HaloPopulation(
      shell,
      field,
      lensing_kernel=self._lensing_kernel,
      pixel_radians=self.grid.pixel_radians,
      tables=self._tables,
      mass_range=recipe.mass_range,
      concentration_factor=recipe.concentration_factor,
      concentration_scatter=recipe.concentration_scatter,
    )
    kernel = self._lensing_kernel(shell.distances()).mean()
    smooth = kernel * shell.width * (1 - population.mean_bias())
    return _Layer(field, population, power, smooth)

  def _lensing_kernel(self, distance):
    return shells.lensing_kernel(distance, self.plane_weights)

  def _radial(self, values):
    """A function of `multipoles`, on the modes of `rfft2`, float64."""
    k1 = 2 * np.pi * np.fft.rfftfreq(self._shape[1])
    k2 = 2 * np.pi * np.fft.fftfreq(self._shape[0])
    frequency = np.hypot(k1[None, :], k2[:, None])
    # The nodes are equally spaced: their place needs no search.
    place = frequency / self._frequency[0] - 1
    nodes = np.arange(self._frequency.size)
    return np.interp(place, nodes, values)

  def _kappatng_power(self, ell):
    return convergence_power.kappatng_power(
      ell,
      self.plane_weights,
      tables=self._tables,
      large_scale_power=self.recipe.large_scale_power,
    )


@dataclasses.dataclass(frozen=True)
class _Layer:
  """A shell with its field, haloes, power, and weight of the field in the map."""

  field: shells.LognormalField
  population: halo_population.HaloPopulation
  power: np.ndarray
  smooth: float


@contextlib.contextmanager
def _mapper(simulator, num_processes):
  """Yields a function from indices to an iterator over maps."""
  if num_processes <= 1:
    yield lambda indices: map(simulator.map, indices)
    return
  with tempfile.TemporaryDirectory() as folder:
    # The start of a process waits for ever to send this much to one that has died.
    path = pathlib.Path(folder) / "simulator"
    path.write_bytes(pickle.dumps(simulator))
    # Forking is unsafe once TensorFlow or another library has started threads.
    context = multiprocessing.get_context("spawn")
    executor = futures.ProcessPoolExecutor(num_processes, context, _keep, (path,))
    try:
      yield lambda indices: _in_order(executor, indices, 2 * num_processes)
    except process.BrokenProcessPool as error:
      raise RuntimeError(
        "A process that makes maps died: for lack of memory, or because processes start"
        " by importing the script that asks for them. Scripts have to call"
        ' `maps(..., num_processes=2)` under `if __name__ == "__main__":`, or leave'
        " num_processes out."
      ) from error
    finally:
      executor.shutdown(cancel_futures=True)


def _in_order(executor, indices, num_ahead):
  """Results in order; no more than `num_ahead` maps wait to be taken."""
  pending = collections.deque()
  for index in indices:
    pending.append(executor.submit(_make, index))
    if len(pending) > num_ahead:
      yield pending.popleft().result()
  while pending:
    yield pending.popleft().result()


_KEPT = {}


def _keep(path):
  _KEPT["simulator"] = pickle.loads(path.read_bytes())


def _make(index):
  return _KEPT["simulator"].map(index)


def _plane_weights(weights):
  if weights is None:
    weights = source_planes.COSMOS_WEIGHTS
  elif callable(weights):
    weights = source_planes.weights_from_density(weights)
  return source_planes.check_weights(weights)


def _larger(shape):
  return tuple(fft.next_fast_len(3 * n // 2, real=True) for n in shape)


def _check_mass_range(mass_range, masses):
  low, high = mass_range
  if not masses[0] <= low < high <= masses[-1]:
    raise ValueError(
      f"mass_range must increase within the tables' {masses[0]:.3g} to"
      f" {masses[-1]:.3g} Msun/h; got {mass_range}."
    )
