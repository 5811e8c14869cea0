"""Training of one prior for many surveys, from maps each of which is a survey.

The network is conditional (`priors.conditions`). Noise levels of the settings are those
of the network: of maps whose standard deviation is `conditions.REFERENCE_STD`.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import os
import pathlib

from astropy import units as u
import numpy as np
import tensorflow as tf
import tqdm

from tfp_massmap import geometry
from tfp_massmap import spectra
from tfp_massmap.nn import architectures
from tfp_massmap.nn import network_file
from tfp_massmap.nn import training_folder
from tfp_massmap.priors import conditions
from tfp_massmap.priors import example_denoisers
from tfp_massmap.priors import measurement
from tfp_massmap.priors import residual
from tfp_massmap.priors import trainer as trainer_lib
from tfp_massmap.priors import training_examples
from tfp_massmap.priors import training_settings
from tfp_massmap.simulate import random_surveys

# Small scales of the Gaussian component: those of the simulator.
SMALL_SCALES = "kappatng"


@dataclasses.dataclass(frozen=True, eq=False)
class SurveyMaps:
  """Maps and their surveys.

  Attributes:
    maps: Convergence maps `[ny, nx]` of any sizes, `[n]`.
    surveys: `simulate.random_surveys.Survey` of each, `[n]`.

  Raises:
    ValueError: If there are none, or their numbers differ.
  """

  maps: Sequence[np.ndarray]
  surveys: Sequence[random_surveys.Survey]

  def __post_init__(self) -> None:
    if not self.maps or len(self.maps) != len(self.surveys):
      raise ValueError(
        f"Every map needs a survey; got {len(self.maps)} maps and"
        f" {len(self.surveys)} surveys."
      )


class SurveyTables:
  """Tables of many surveys, for the Gaussian component and the network.

  Args:
    surveys: `simulate.random_surveys.Survey`s, `[n]`.
    crop: Side of the crops in pixels.
    progress: Whether to show a progress bar on standard error.

  Attributes:
    mode_variance: S of the crops, float32 `[n, crop, crop // 2 + 1]`.
    scales: `residual.Scales`, `[n]`.
    map_std: Standard deviation of the maps over that of the reference, `[n]`.
    values: Numbers of `conditions.NAMES`, `[n, 5]`.
  """

  def __init__(
    self,
    surveys: Sequence[random_surveys.Survey],
    *,
    crop: int,
    progress: bool = True,
  ) -> None:
    variances, self.scales, values = [], [], []
    for survey in tqdm.tqdm(surveys, unit="survey", disable=not progress):
      pixel_scale = survey.pixel_scale_arcmin * u.arcmin
      sources, cosmology = survey.sources, survey.cosmology
      spectrum = spectra.PowerSpectrum.theory(
        sources, cosmology, small_scales=SMALL_SCALES
      )
      grid = geometry.PixelGrid((crop, crop), pixel_scale)
      variances.append(spectrum.mode_variance(grid).astype(np.float32))
      scales = residual.Scales.from_spectrum(spectrum, pixel_scale)
      self.scales.append(scales)
      values.append(
        conditions.of_survey(
          pixel_scale, scales.map_std, sources=sources, cosmology=cosmology
        )
      )
    self.mode_variance = np.stack(variances)
    self.values = np.stack(values)
    stds = np.array([scales.map_std for scales in self.scales])
    self.map_std = stds / conditions.REFERENCE_STD


def train(
  maps: SurveyMaps,
  validation: SurveyMaps,
  *,
  ranges: random_surveys.SurveyRanges,
  folder: str | os.PathLike,
  architecture: architectures.Architecture | str = "default",
  settings: training_settings.TrainingSettings = training_settings.TrainingSettings(),
  periodic: bool = True,
  data: Mapping | None = None,
  start: str | os.PathLike | None = None,
  strategy: tf.distribute.Strategy | None = None,
  progress: bool = True,
) -> pathlib.Path:
  """Trains a prior for many surveys, or resumes it, and writes it into a folder.

  Args:
    maps: `SurveyMaps`.
    validation: Other `SurveyMaps` of their kind.
    ranges: What the surveys were drawn from, for the card.
    folder: Path of the folder of the prior, the checkpoints and the log.
    architecture: `nn.architectures.Architecture` without conditions, or the name of a
      preset.
    settings: `training_settings.TrainingSettings`.
    periodic: Whether the maps are tori.
    data: Dict for JSON that describes the maps, see `trainer.Origin`.
    start: Name or path of a trained prior whose weights a new training starts from, of
      one survey or of many.
    strategy: None, or a `tf.distribute` strategy, see `training_loop.TrainingLoop`.
    progress: Whether to show a progress bar on standard error.

  Returns:
    Path of the prior, for `HybridPrior.load`.

  Raises:
    FloatingPointError: If weights are no longer finite; the last checkpoint stays.
    ValueError: As `trainer.Trainer`, or if maps cannot be cropped.
  """
  begin = _start(start, folder)
  architecture = dataclasses.replace(
    architectures.resolve(architecture), num_conditions=len(conditions.NAMES)
  )
  _check_crop([*maps.maps, *validation.maps], settings.crop)
  tables = SurveyTables(
    [*maps.surveys, *validation.surveys], crop=settings.crop, progress=progress
  )
  conditioning = _conditioning(tables, ranges, begin)
  trainer = trainer_lib.Trainer(
    architecture=architecture,
    settings=settings,
    folder=folder,
    field=dict(conditioning=dataclasses.asdict(conditioning)),
    make_denoiser=lambda network: _denoiser(network, tables, conditioning),
    origin=trainer_lib.Origin(
      data, begin, start_name=None if start is None else str(start)
    ),
    strategy=strategy,
  )
  examples = _examples(
    maps, validation, settings, map_std=tables.map_std, periodic=periodic
  )
  losses = trainer.run(*examples, progress=progress)
  path = pathlib.Path(folder) / "prior"
  _save(trainer, path, settings, conditioning=conditioning, losses=losses, start=begin)
  return path


def _examples(maps, validation, settings, *, map_std, periodic):
  """Returns a function of a batch to the examples from there, and those of validation."""
  num = len(maps.maps)
  examples = trainer_lib.example_settings(settings, periodic=periodic)

  def make_examples(first_batch):
    return training_examples.survey_examples(
      maps.maps, examples, map_std=map_std[:num], first_batch=first_batch
    )

  wanted = trainer_lib.validation_settings(settings, periodic=periodic)
  batches = training_examples.survey_examples(
    validation.maps, wanted, map_std=map_std[num:], first_survey=num
  )
  batches = batches.take(settings.num_validation // wanted.batch_size)
  return make_examples, trainer_lib.at_sigmas(batches)


def _check_crop(maps, crop):
  smallest = min(min(np.shape(kappa)) for kappa in maps)
  if crop > smallest:
    raise ValueError(f"Crops of {crop} pixels do not fit into maps of {smallest}.")


def _conditioning(tables, ranges, start):
  """Returns the units of the conditions, those of the start if there is one."""
  conditioning = conditions.Conditioning.from_examples(
    tables.values, ranges=_drawn_from(ranges)
  )
  if start is None or "conditioning" not in start.card:
    return conditioning
  # The weights expect their own units.
  units = start.card["conditioning"]
  return dataclasses.replace(
    conditioning, low=tuple(units["low"]), high=tuple(units["high"])
  )


def _start(path, folder):
  """Returns the network to start from: the one given, or that of the training to resume.

  The units of its conditions stay those of the training. To resume, it need not be given
  again, and is then read by the name that the folder has.
  """
  if path is None:
    earlier = training_folder.earlier(folder).get("start") or {}
    path = earlier.get("name")
  return None if path is None else trainer_lib.Start.read(path)


def _denoiser(network, tables, conditioning):
  surveys = [
    conditions.NetworkSurvey(conditioning.network_values(values), 1 / map_std)
    for values, map_std in zip(tables.values, tables.map_std)
  ]
  return example_denoisers.ManySurveys(
    network,
    mode_variance=tables.mode_variance,
    scales=tables.scales,
    surveys=surveys,
  )


def _drawn_from(ranges):
  """Returns the ranges of a conditioning."""
  names = ("pixel_scale_arcmin", "mean_redshift", "omega_matter", "sigma_8")
  return {name: getattr(ranges, name) for name in names}


def inherited_constants(card: Mapping) -> dict:
  """Returns `constants` and `constants_source` for a card, from that of the start.

  Args:
    card: Card of the prior that a training started from.
  """
  source = "that of the prior from which the training started"
  constants = dict(card["constants"])
  return dict(constants=constants, constants_source=dict.fromkeys(constants, source))


def _save(trainer, path, settings, *, conditioning, losses, start):
  """Writes the averaged weights and the card of a trained network."""
  training = dict(
    trainer.origin,
    data=trainer.origin["data"] or {},
    settings=trainer.record,
    num_steps=int(trainer.loop.step.read_value()),
    validation_loss={f"{sigma:g}": loss for sigma, loss in losses.items()},
  )
  card = dict(
    kind="prior",
    architecture=trainer.record["architecture"],
    conditioning=dataclasses.asdict(conditioning),
    small_scales=SMALL_SCALES,
    sigma_range=list(settings.sigma_range),
    training=training,
    **measurement.default_constants(),
  )
  if start is not None and "constants" in start.card:
    card.update(inherited_constants(start.card))
  with trainer.loop.averaged_weights():
    network_file.save(path, trainer.network, card=card, overwrite=True)
