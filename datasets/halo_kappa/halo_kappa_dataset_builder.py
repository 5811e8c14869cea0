"""Convergence maps of the package's simulator, made on the spot."""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import typing

from astropy import units as u
import numpy as np
import numpy.typing as npt
import tensorflow_datasets as tfds

from tfp_massmap import geometry
from tfp_massmap import simulate
from tfp_massmap import theory
from tfp_massmap.datasets import building
from tfp_massmap.simulate import source_planes
from tfp_massmap.theory import source_redshifts


@dataclasses.dataclass(eq=False, kw_only=True)
class HaloKappaConfig(building.Config):
  """The maps to simulate.

  Attributes:
    mode: "quality" or "fast", see `simulate.ConvergenceSimulator`.
    num_maps: Numbers of maps for train, validation and test.
    periodic: Whether the maps are periodic.
    pixel_scale_arcmin: Side of a pixel in arcmin.
    sources: The n(z): `theory.SourceRedshifts`, redshifts of galaxies `[n]`, or a
      function n(z).
    omega_matter, sigma_8: The cosmology, see `theory.Cosmology`.
    seed: Integer, not negative.
    shape: `(ny, nx)`.
    num_processes: Number of processes that make the maps; it does not change them.

  Raises:
    ValueError: If there are not three numbers of maps, one is negative, the sources are
      no n(z), or the cosmology is outside of the tables.
  """

  FREE: typing.ClassVar[frozenset[str]] = frozenset({"num_processes"})

  mode: str = "quality"
  num_maps: tuple[int, int, int] = (40, 4, 4)
  periodic: bool = True
  pixel_scale_arcmin: float = 300 / 1024  # That of kappaTNG.
  sources: (
    theory.SourceRedshifts | npt.ArrayLike | Callable[[np.ndarray], npt.ArrayLike]
  ) = dataclasses.field(default_factory=source_planes.sources)
  omega_matter: float = theory.KAPPATNG.omega_matter
  sigma_8: float = theory.KAPPATNG.sigma_8
  seed: int = 0
  shape: tuple[int, int] = (1024, 1024)  # That of kappaTNG.
  num_processes: int = 1

  def __post_init__(self) -> None:
    building.check_num_maps(self.num_maps)
    self.sources = source_redshifts.resolve(self.sources)
    theory.MatterPower(self.cosmology)

  def settings(self) -> dict[str, typing.Any]:
    """Returns the fields that decide the data, by name, for JSON."""
    sources = typing.cast(theory.SourceRedshifts, self.sources)
    return super().settings() | dict(sources=sources.as_card())

  @property
  def cosmology(self) -> theory.Cosmology:
    """The cosmology."""
    return theory.Cosmology(self.omega_matter, self.sigma_8)


class Builder(building.PackagedBuilder):
  """Builder of `halo_kappa`; see README.md."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: typing.ClassVar = {"1.0.0": "First version."}
  BUILDER_CONFIGS: typing.ClassVar = [
    HaloKappaConfig(name="cosmos", description="Redshifts of COSMOS, 5 x 5 deg."),
    HaloKappaConfig(
      name="uniform",
      description="All source planes of kappaTNG alike, 5 x 5 deg.",
      sources=source_planes.sources((1.0,) * source_planes.NUM_PLANES),
    ),
  ]

  def _info(self) -> tfds.core.DatasetInfo:
    config = self.builder_config
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        dict(
          kappa=building.map_feature(*config.shape),
          index=tfds.features.Scalar(np.int64),
        )
      ),
      homepage="https://arxiv.org/abs/2201.05561",
      metadata=tfds.core.MetadataDict(config.settings()),
    )

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, Iterator]:
    del dl_manager
    return building.simulated_splits(
      self._generate_examples, self.builder_config.num_maps
    )

  def _generate_examples(self, first: int, num_maps: int) -> Iterator[tuple[int, dict]]:
    config = self.builder_config
    simulator = simulate.ConvergenceSimulator(
      geometry.PixelGrid(config.shape, config.pixel_scale_arcmin * u.arcmin),
      config.sources,
      cosmology=config.cosmology,
      mode=config.mode,
      seed=config.seed,
      periodic=config.periodic,
    )
    maps = simulator.maps(num_maps, first=first, num_processes=config.num_processes)
    for index, kappa in enumerate(maps, start=first):
      yield index, dict(kappa=kappa, index=index)
