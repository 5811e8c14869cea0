"""Convergence maps of the package's simulator, made on the spot."""

import dataclasses

from astropy import units as u
from etils import epath
import numpy as np
import tensorflow_datasets as tfds

from tfp_massmap import geometry
from tfp_massmap import simulate
from tfp_massmap.datasets import building
from tfp_massmap.simulate import source_planes

# Maps of different splits have different indices, hence independent random numbers.
_FIRST_INDEX = {"train": 0, "validation": 10**9, "test": 2 * 10**9}


@dataclasses.dataclass(eq=False, kw_only=True)
class HaloKappaConfig(tfds.core.BuilderConfig):
  """Which maps to simulate.

  Attributes:
    num_maps: numbers of maps for train, validation and test.
    shape: `(ny, nx)`.
    pixel_scale_arcmin: pixel side.
    plane_weights: of the 40 source planes of kappaTNG, or a callable n(z).
    mode: "quality" or "fast", see `simulate.ConvergenceSimulator`.
    periodic: whether the maps are tori.
    seed: integer, not negative.
    num_processes: how many make the maps; it does not change them.
  """

  num_maps: tuple = (40, 4, 4)
  shape: tuple = (1024, 1024)
  pixel_scale_arcmin: float = 300 / 1024
  plane_weights: tuple = source_planes.COSMOS_WEIGHTS
  mode: str = "quality"
  periodic: bool = True
  seed: int = 0
  num_processes: int = 1

  def __post_init__(self):
    if len(self.num_maps) != len(_FIRST_INDEX) or min(self.num_maps) < 0:
      raise ValueError(
        f"num_maps must be the numbers of {tuple(_FIRST_INDEX)} maps; got"
        f" {self.num_maps}."
      )
    if callable(self.plane_weights):
      self.plane_weights = source_planes.weights_from_density(self.plane_weights)
    weights = source_planes.check_weights(self.plane_weights)
    self.plane_weights = tuple(weights.tolist())

  def settings(self):
    """What decides the data; kept with them."""
    names = [f.name for f in dataclasses.fields(HaloKappaConfig)]
    own = set(names) - {f.name for f in dataclasses.fields(tfds.core.BuilderConfig)}
    return {name: getattr(self, name) for name in sorted(own - {"num_processes"})}


class Builder(tfds.core.GeneratorBasedBuilder):
  """Builder of `halo_kappa`; see README.md."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "First version."}
  BUILDER_CONFIGS = [
    HaloKappaConfig(name="cosmos", description="Redshifts of COSMOS, 5 x 5 deg."),
    HaloKappaConfig(
      name="uniform",
      description="All source planes of kappaTNG alike, 5 x 5 deg.",
      plane_weights=(1.0,) * source_planes.NUM_PLANES,
    ),
  ]
  # tfds would look for these below the package, where a checkout has no such folder.
  code_path = epath.Path(__file__)
  pkg_dir_path = epath.Path(__file__).parent

  def __init__(self, **kwargs):
    super().__init__(**kwargs)
    building.check_prepared(self)

  def _info(self):
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

  def _download_and_prepare(self, dl_manager, download_config):
    with building.small_shuffle_buffer():
      super()._download_and_prepare(dl_manager, download_config)

  def _split_generators(self, dl_manager):
    del dl_manager
    return {
      split: self._generate_examples(first, num_maps)
      for (split, first), num_maps in zip(
        _FIRST_INDEX.items(), self.builder_config.num_maps
      )
      if num_maps
    }

  def _generate_examples(self, first, num_maps):
    config = self.builder_config
    simulator = simulate.ConvergenceSimulator(
      geometry.PixelGrid(config.shape, config.pixel_scale_arcmin * u.arcmin),
      plane_weights=config.plane_weights,
      mode=config.mode,
      seed=config.seed,
      periodic=config.periodic,
    )
    maps = simulator.maps(num_maps, first=first, num_processes=config.num_processes)
    for index, kappa in enumerate(maps, start=first):
      yield index, dict(kappa=kappa, index=index)
