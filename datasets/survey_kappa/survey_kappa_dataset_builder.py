"""Convergence maps of surveys and cosmologies that differ from map to map."""

from collections.abc import Iterator
import dataclasses
import typing

import numpy as np
import tensorflow_datasets as tfds

from tfp_massmap.datasets import building
from tfp_massmap.simulate import random_surveys

_RANGES = random_surveys.SurveyRanges()


@dataclasses.dataclass(eq=False, kw_only=True)
class SurveyKappaConfig(building.Config):
  """The surveys to simulate.

  Attributes:
    mode: "quality" or "fast", see `simulate.ConvergenceSimulator`.
    num_maps: Numbers of maps for train, validation and test.
    pixel_scale_arcmin, mean_redshift, omega_matter, sigma_8, tomographic_share,
      cosmos_share: See `simulate.random_surveys.SurveyRanges`.
    seed: Integer, not negative.
    num_processes: Number of processes that make the maps; it does not change them.

  Raises:
    ValueError: If there are not three numbers of maps, one is negative, or the ranges
      are not ranges, or leave the tables of the matter power.
  """

  FREE: typing.ClassVar[frozenset[str]] = frozenset({"num_processes"})

  mode: str = "quality"
  num_maps: tuple[int, int, int] = (1200, 64, 64)
  pixel_scale_arcmin: tuple[float, float] = _RANGES.pixel_scale_arcmin
  mean_redshift: tuple[float, float] = _RANGES.mean_redshift
  omega_matter: tuple[float, float] = _RANGES.omega_matter
  sigma_8: tuple[float, float] = _RANGES.sigma_8
  tomographic_share: float = _RANGES.tomographic_share
  cosmos_share: float = _RANGES.cosmos_share
  seed: int = 0
  num_processes: int = 1

  def __post_init__(self) -> None:
    building.check_num_maps(self.num_maps)
    self.simulator()

  def simulator(self) -> random_surveys.SurveySimulator:
    """Returns the simulator of the surveys and their maps."""
    fields = dataclasses.fields(random_surveys.SurveyRanges)
    ranges = {field.name: getattr(self, field.name) for field in fields}
    return random_surveys.SurveySimulator(
      random_surveys.SurveyRanges(**ranges), mode=self.mode, seed=self.seed
    )


class Builder(building.PackagedBuilder):
  """Builder of `survey_kappa`; see README.md."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: typing.ClassVar = {"1.0.0": "First version."}
  BUILDER_CONFIGS: typing.ClassVar = [
    SurveyKappaConfig(name="wide", description="Any survey, 192 to 384 pixels a side."),
  ]

  def _info(self) -> tfds.core.DatasetInfo:
    config = self.builder_config
    scalar = tfds.features.Scalar
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        dict(
          kappa=building.map_feature(None, None),
          pixel_scale_arcmin=scalar(np.float64),
          source_weights=tfds.features.Tensor(
            shape=random_surveys.NODES.shape, dtype=np.float64, encoding="bytes"
          ),
          omega_matter=scalar(np.float64),
          sigma_8=scalar(np.float64),
          index=scalar(np.int64),
        )
      ),
      homepage="https://arxiv.org/abs/2201.05561",
      metadata=tfds.core.MetadataDict(
        config.settings(),
        source_redshifts=random_surveys.NODES.tolist(),
        periodic=True,
      ),
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
    simulator = config.simulator()
    maps = simulator.maps(num_maps, first=first, num_processes=config.num_processes)
    for index, kappa in enumerate(maps, start=first):
      survey = simulator.survey(index)
      yield (
        index,
        dict(
          kappa=kappa,
          pixel_scale_arcmin=survey.pixel_scale_arcmin,
          source_weights=survey.source_weights,
          omega_matter=survey.cosmology.omega_matter,
          sigma_8=survey.cosmology.sigma_8,
          index=index,
        ),
      )
