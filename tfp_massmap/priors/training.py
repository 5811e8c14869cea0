"""Training of a prior of one survey, from convergence maps to the prior's files."""

from collections.abc import Mapping
import dataclasses
import logging
import os
import pathlib

from astropy import units as u
import numpy as np
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import spectra
from tfp_massmap.nn import architectures
from tfp_massmap.nn import network_file
from tfp_massmap.nn import training_folder
from tfp_massmap.priors import conditions
from tfp_massmap.priors import error_scale
from tfp_massmap.priors import example_denoisers
from tfp_massmap.priors import from_dataset
from tfp_massmap.priors import gaussian as gaussian_prior
from tfp_massmap.priors import hybrid
from tfp_massmap.priors import measurement
from tfp_massmap.priors import residual
from tfp_massmap.priors import trainer as trainer_lib
from tfp_massmap.priors import training_examples
from tfp_massmap.priors import training_settings

_LOG = logging.getLogger(__name__)


class Trainer(trainer_lib.Trainer):
  """Trains the residual network of one survey, with checkpoints in a folder.

  Args:
    spectrum: `spectra.PowerSpectrum` of the Gaussian component of the prior.
    grid: `geometry.PixelGrid` of the crops, `settings.crop` pixels a side.
    architecture: `architectures.Architecture`, or the name of a preset.
    settings: `training_settings.TrainingSettings`.
    folder: As `trainer.Trainer`.
    origin: `trainer.Origin`.
    survey: `conditions.NetworkSurvey` for a conditional network, which a prior of many
      surveys can be the start of; None for another one.
    strategy: None, or a `tf.distribute` strategy, see `training_loop.TrainingLoop`.

  Attributes:
    denoiser: `residual.ResidualDenoiser` of the network.

  Raises:
    ValueError: As `trainer.Trainer`, or if the grid has another size than the crops, or
      no preset the name.
  """

  def __init__(
    self,
    spectrum: spectra.PowerSpectrum,
    grid: geometry.PixelGrid,
    *,
    architecture: architectures.Architecture | str,
    settings: training_settings.TrainingSettings,
    folder: str | os.PathLike,
    origin: trainer_lib.Origin = trainer_lib.Origin(),
    survey: conditions.NetworkSurvey | None = None,
    strategy: tf.distribute.Strategy | None = None,
  ) -> None:
    if grid.shape != (settings.crop, settings.crop):
      raise ValueError(
        f"The grid must have {settings.crop} x {settings.crop} pixels, as the crops;"
        f" got {grid.shape}."
      )
    architecture = architectures.resolve(architecture)
    if survey is not None:
      architecture = dataclasses.replace(
        architecture, num_conditions=len(survey.values)
      )

    def make_denoiser(network):
      self.denoiser = residual.ResidualDenoiser(
        network,
        architecture,
        scales=residual.Scales.from_spectrum(spectrum, grid.pixel_scale),
        survey=survey,
      )
      gaussian = gaussian_prior.GaussianPrior.from_spectrum(spectrum, grid)
      return example_denoisers.OneSurvey(self.denoiser, gaussian)

    super().__init__(
      architecture=architecture,
      settings=settings,
      folder=folder,
      field={
        **training_folder.describe_field(spectrum, grid),
        "network_survey": None if survey is None else survey.as_card(),
      },
      make_denoiser=make_denoiser,
      origin=origin,
      strategy=strategy,
    )

  def train(
    self,
    maps: np.ndarray | tf.data.Dataset,
    validation_maps: np.ndarray,
    *,
    periodic: bool = False,
    progress: bool = True,
  ) -> dict[float, float]:
    """Trains until `num_steps`, from the last checkpoint.

    Args:
      maps: `[n, ny, nx]`, or a `tf.data.Dataset` of them.
      validation_maps: `[m, ny, nx]`, of which the validation loss is computed.
      periodic: Whether the maps are tori.
      progress: Whether to show a progress bar on standard error.

    Returns:
      The last validation losses, dict of sigma to mean loss.

    Raises:
      FloatingPointError: If weights are no longer finite; the last checkpoint stays.
      ValueError: If the training is longer than `num_steps` already, or the maps cannot
        be cropped.
    """
    examples = trainer_lib.example_settings(self._settings, periodic=periodic)
    return self.run(
      lambda first: training_examples.training_examples(
        maps, examples, first_batch=first
      ),
      validation_examples(validation_maps, self._settings, periodic=periodic),
      progress=progress,
    )


def validation_examples(
  maps: np.ndarray,
  settings: training_settings.TrainingSettings,
  *,
  periodic: bool,
) -> dict[float, list[dict[str, tf.Tensor]]]:
  """Returns fixed examples at fixed sigma, dict of sigma to a list of batches.

  Args:
    maps: `[n, ny, nx]`.
    settings: `training_settings.TrainingSettings`.
    periodic: Whether the maps are tori.
  """
  wanted = trainer_lib.validation_settings(settings, periodic=periodic)
  examples = training_examples.training_examples(maps, wanted)
  return trainer_lib.at_sigmas(
    examples.take(settings.num_validation // wanted.batch_size)
  )


def train(
  maps: np.ndarray,
  validation_maps: np.ndarray,
  *,
  pixel_scale: u.Quantity,
  spectrum: spectra.PowerSpectrum,
  folder: str | os.PathLike,
  architecture: architectures.Architecture | str = "default",
  settings: training_settings.TrainingSettings = training_settings.TrainingSettings(),
  periodic: bool = False,
  data: Mapping | None = None,
  start: hybrid.HybridPrior | None = None,
  start_name: str | None = None,
  strategy: tf.distribute.Strategy | None = None,
  progress: bool = True,
) -> hybrid.HybridPrior:
  """Trains a prior, or resumes its training, and writes it as `prior` into a folder.

  Args:
    maps: Convergence maps, `[n, ny, nx]`.
    validation_maps: Other maps of their kind, `[m, ny, nx]`.
    pixel_scale: Side of a pixel, an angle.
    spectrum: `spectra.PowerSpectrum` of the maps.
    folder: Path of the folder of the prior, the checkpoints and the log.
    architecture: `nn.architectures.Architecture`, or the name of a preset.
    settings: `training_settings.TrainingSettings`.
    periodic: Whether the maps are tori.
    data: Dict for JSON that describes the maps, for the card, see `trainer.Origin`.
    start: `priors.HybridPrior` whose weights a new training starts from; if it is one
      for any survey, loaded for that of the maps.
    start_name: Name of `start`, for the card; None for the name that it ships with.
    strategy: None, or a `tf.distribute` strategy, see `training_loop.TrainingLoop`.
    progress: Whether to show a progress bar on standard error.

  Returns:
    The `priors.HybridPrior` on maps of the size of the crops. If the validation maps
    are too few for the linear response and the error scale, it lacks them, with a
    warning.

  Raises:
    FloatingPointError: If weights are no longer finite; the last checkpoint stays.
    ValueError: As `Trainer` and its `train`.
  """
  grid = geometry.PixelGrid((settings.crop, settings.crop), pixel_scale)
  trainer = Trainer(
    spectrum,
    grid,
    architecture=architecture,
    settings=settings,
    folder=folder,
    origin=_origin(data, start, start_name),
    survey=_network_survey(start, folder),
    strategy=strategy,
  )
  losses = trainer.train(maps, validation_maps, periodic=periodic, progress=progress)
  path = pathlib.Path(folder) / "prior"
  record = dict(
    trainer.origin,
    data=data or trainer.origin["data"] or {},
    num_maps=len(maps),
    settings=trainer.record,
    num_steps=int(trainer.loop.step.read_value()),
    validation_loss={f"{sigma:g}": loss for sigma, loss in losses.items()},
  )
  with trainer.loop.averaged_weights():
    hybrid.save(
      path,
      trainer.denoiser,
      spectrum=spectrum,
      pixel_scale=pixel_scale,
      sigma_range=settings.sigma_range,
      training=record,
      sources=from_dataset.sources_of(record["data"]),
      overwrite=True,
    )
  _measure(path, validation_maps, settings.crop, progress=progress)
  return hybrid.HybridPrior.load(path, grid)


def _network_survey(start, folder):
  """Returns the survey that a conditional network is told of, also where one resumes."""
  if start is not None:
    return start.network_survey
  entry = training_folder.earlier(folder).get("network_survey")
  return None if entry is None else conditions.NetworkSurvey.from_card(entry)


def _origin(data, start, start_name):
  begin = None if start is None else trainer_lib.Start.of_prior(start)
  return trainer_lib.Origin(data, begin, start_name=start_name)


def _measure(path, validation_maps, side, *, progress):
  """Completes the card of a new prior."""
  card, _ = network_file.find(path, "prior", needed=())
  network_file.rewrite_card(path, card | measurement.default_constants())
  num_pixels = np.size(measurement.crops_of(validation_maps, side))
  if num_pixels >= error_scale.FEWEST_PIXELS:
    measurement.measure_card(path, validation_maps, side=side, progress=progress)
    return
  _LOG.warning(
    "The prior gets no linear_response and no error_scale: the validation maps have %d"
    " pixels in crops of %d x %d, and %d are needed. Without the two, samples may have"
    " too much or too little power on large scales, and samplers assume that the"
    " network errs like a Wiener filter, at haloes too, where its error is larger. Give"
    " more validation maps, or call priors.measurement.measure_card(%r, maps, side=%d)"
    " with other maps of that kind.",
    num_pixels,
    side,
    side,
    error_scale.FEWEST_PIXELS,
    str(path),
    side,
  )
