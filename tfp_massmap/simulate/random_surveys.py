"""Maps of surveys and cosmologies that differ from map to map.

A prior that is to serve any survey learns from them: each map has a pixel scale, a
distribution of source redshifts and a cosmology of its own, drawn from wide ranges.
"""

from collections.abc import Iterator
import dataclasses

from astropy import units as u
import numpy as np
from scipy import special

from tfp_massmap import geometry
from tfp_massmap import theory
from tfp_massmap.simulate import convergence
from tfp_massmap.simulate import processes
from tfp_massmap.simulate import source_planes

# Redshifts at which every n(z) is given: narrow enough for a tomographic bin.
NODES = (np.arange(160) + 0.5) * 0.025
# Widest field in degrees, and sides of a map in pixels. Coarse maps of the fewest pixels
# are wider than that, which costs the curvature of the sky and nothing else.
_WIDEST_FIELD = 10.0
_SIDES = (192, 384)
_SIDE_STEP = 16
# Exponents of n(z) proportional to z^a exp(-(z / z0)^b), and widths of tomographic bins
# over 1 + z: those of ground- and space-based surveys lie between them.
_RISE = (1.5, 2.5)
_FALL = (1.0, 2.0)
_BIN_WIDTH = (0.03, 0.12)


@dataclasses.dataclass(frozen=True)
class SurveyRanges:
  """The ranges from which surveys are drawn, each evenly.

  Attributes:
    pixel_scale_arcmin: Side of a pixel in arcmin, even in its logarithm.
    mean_redshift: Mean redshift of the sources.
    omega_matter, sigma_8: The cosmology, see `theory.Cosmology`.
    tomographic_share: Share of the surveys whose sources are a Gaussian in redshift;
      the others follow Smail et al. (1994).
    cosmos_share: Share of the maps that are those of COSMOS: its n(z), pixels of 0.29
      arcmin and the cosmology of kappaTNG.

  Raises:
    ValueError: If a range is not positive and rising, or the shares exceed 1.
  """

  pixel_scale_arcmin: tuple[float, float] = (0.14, 4.3)
  mean_redshift: tuple[float, float] = (0.38, 1.65)
  omega_matter: tuple[float, float] = (0.19, 0.41)
  sigma_8: tuple[float, float] = (0.58, 1.02)
  _: dataclasses.KW_ONLY
  tomographic_share: float = 0.3
  cosmos_share: float = 0.1

  def __post_init__(self) -> None:
    for name in ("pixel_scale_arcmin", "mean_redshift", "omega_matter", "sigma_8"):
      low, high = getattr(self, name)
      if not 0 < low <= high < np.inf:
        raise ValueError(f"{name} must be a positive, rising range; got {low}, {high}.")
      object.__setattr__(self, name, (float(low), float(high)))
    shares = (self.tomographic_share, self.cosmos_share)
    if min(shares) < 0 or max(shares) > 1:
      raise ValueError(f"Shares must lie between 0 and 1; got {shares}.")
    if self.mean_redshift[1] > NODES[-1] / 2:
      raise ValueError(
        f"Mean redshifts above {NODES[-1] / 2:.2f} leave sources beyond {NODES[-1]:.2f},"
        f" where n(z) ends; got up to {self.mean_redshift[1]}."
      )
    for omega_matter in self.omega_matter:
      for sigma_8 in self.sigma_8:
        theory.MatterPower(theory.Cosmology(omega_matter, sigma_8))


@dataclasses.dataclass(frozen=True, eq=False)
class Survey:
  """A pixel scale, an n(z) and a cosmology.

  Attributes:
    pixel_scale_arcmin: Side of a pixel in arcmin.
    source_weights: Share of the sources at each of `NODES`, `[160]`.
    cosmology: `theory.Cosmology`.
  """

  pixel_scale_arcmin: float
  source_weights: np.ndarray
  cosmology: theory.Cosmology

  @property
  def sources(self) -> theory.SourceRedshifts:
    """The n(z)."""
    used = self.source_weights > 0
    return theory.SourceRedshifts(NODES[used], self.source_weights[used])

  @property
  def grid(self) -> geometry.PixelGrid:
    """The grid of its maps: 10 deg wide, but 192 to 384 pixels."""
    wanted = _WIDEST_FIELD * 60 / self.pixel_scale_arcmin
    side = int(np.clip(wanted, *_SIDES)) // _SIDE_STEP * _SIDE_STEP
    return geometry.PixelGrid((side, side), self.pixel_scale_arcmin * u.arcmin)


class SurveySimulator:
  """Makes one map of each of many random surveys.

  Survey and map depend on the ranges, the seed and the index alone.

  Args:
    ranges: `SurveyRanges`.
    mode: "quality" or "fast", see `simulate.ConvergenceSimulator`.
    seed: Seed of surveys and maps, not negative.

  Attributes:
    ranges, mode, seed: As given.

  Raises:
    ValueError: If the seed is negative, or the mode unknown.
  """

  def __init__(
    self,
    ranges: SurveyRanges = SurveyRanges(),
    *,
    mode: str = "quality",
    seed: int = 0,
  ) -> None:
    if seed < 0:
      raise ValueError(f"seed must not be negative; got {seed}.")
    if mode not in convergence.MODES:
      raise ValueError(f"mode must be one of {convergence.MODES}; got {mode!r}.")
    self.ranges, self.mode, self.seed = ranges, mode, int(seed)

  def survey(self, index: int) -> Survey:
    """Returns one survey.

    Args:
      index: Its number, not negative.
    """
    rng = np.random.default_rng([self.seed, index])
    ranges = self.ranges
    if rng.uniform() < ranges.cosmos_share:
      weights = _on_nodes(source_planes.sources())
      return Survey(0.29, weights, theory.KAPPATNG)
    pixel_scale = float(np.exp(rng.uniform(*np.log(ranges.pixel_scale_arcmin))))
    cosmology = theory.Cosmology(
      rng.uniform(*ranges.omega_matter), rng.uniform(*ranges.sigma_8)
    )
    return Survey(pixel_scale, _random_sources(ranges, rng), cosmology)

  def map(self, index: int) -> np.ndarray:
    """Returns the convergence of one survey, a torus, float32 `[n, n]`.

    Args:
      index: Number of the survey, not negative.
    """
    survey = self.survey(index)
    simulator = convergence.ConvergenceSimulator(
      survey.grid,
      survey.sources,
      cosmology=survey.cosmology,
      mode=self.mode,
      seed=self.seed,
    )
    return simulator.map(index)

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
      num_processes: Number of processes, see `ConvergenceSimulator.maps`.
      progress: Whether to show a progress bar on standard error.

    Yields:
      As `map`.

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


def _random_sources(ranges, rng):
  mean = rng.uniform(*ranges.mean_redshift)
  if rng.uniform() < ranges.tomographic_share:
    width = rng.uniform(*_BIN_WIDTH) * (1 + mean)
    weights = np.exp(-0.5 * ((NODES - mean) / width) ** 2)
  else:
    rise, fall = rng.uniform(*_RISE), rng.uniform(*_FALL)
    gamma = special.gamma
    scale = mean * gamma((rise + 1) / fall) / gamma((rise + 2) / fall)
    weights = NODES**rise * np.exp(-((NODES / scale) ** fall))
  return weights / weights.sum()


def _on_nodes(sources):
  """Shares weights among the nodes on both sides, so that the mean redshift stays."""
  place = np.interp(sources.redshift, NODES, np.arange(len(NODES)))
  lower = np.minimum(place.astype(int), len(NODES) - 2)
  weights = np.zeros(len(NODES))
  np.add.at(weights, lower, sources.weight * (1 - (place - lower)))
  np.add.at(weights, lower + 1, sources.weight * (place - lower))
  return weights
