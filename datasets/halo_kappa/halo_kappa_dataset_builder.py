"""Convergence maps of the package's simulator, made on the spot."""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import typing

from astropy import units as u
import numpy as np
import tensorflow_datasets as tfds

from tfp_massmap import geometry
from tfp_massmap import simulate
from tfp_massmap import theory
from tfp_massmap.datasets import building
from tfp_massmap.simulate import source_planes


@dataclasses.dataclass(eq=False, kw_only=True)
class HaloKappaConfig(building.Config):
  """The maps to simulate.

  Attributes:
    mode: "quality" or "fast", see `simulate.ConvergenceSimulator`.
    num_maps: Numbers of maps for train, validation and test.
    periodic: Whether the maps are periodic.
    pixel_scale_arcmin: Side of a pixel in arcmin.
    plane_weights: Weights of the 40 source planes of kappaTNG, or a density of
      redshifts n(z).
    omega_matter, sigma_8: The cosmology, see `theory.Cosmology`.
    seed: Integer, not negative.
    shape: `(ny, nx)`.
    num_processes: Number of processes that make the maps; it does not change them.

  Raises:
    ValueError: If there are not three numbers of maps, one is negative, the weights are
      not 40 or are negative, or the cosmology is outside of the tables.
  """

  FREE: typing.ClassVar[frozenset[str]] = frozenset({"num_processes"})

  mode: str = "quality"
  num_maps: tuple[int, int, int] = (40, 4, 4)
  periodic: bool = True
  pixel_scale_arcmin: float = 300 / 1024  # That of kappaTNG.
  plane_weights: tuple[float, ...] | Callable[[np.ndarray], np.ndarray] = (
    source_planes.COSMOS_WEIGHTS
  )
  omega_matter: float = theory.KAPPATNG.omega_matter
  sigma_8: float = theory.KAPPATNG.sigma_8
  seed: int = 0
  shape: tuple[int, int] = (1024, 1024)  # That of kappaTNG.
  num_processes: int = 1

  def __post_init__(self) -> None:
    building.check_num_maps(self.num_maps)
    self.plane_weights = building.plane_weights(self.plane_weights)
    theory.MatterPower(self.cosmology)

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
      plane_weights=(1.0,) * source_planes.NUM_PLANES,
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
      source_planes.sources(config.plane_weights),
      cosmology=config.cosmology,
      mode=config.mode,
      seed=config.seed,
      periodic=config.periodic,
    )
    maps = simulator.maps(num_maps, first=first, num_processes=config.num_processes)
    for index, kappa in enumerate(maps, start=first):
      yield index, dict(kappa=kappa, index=index)
