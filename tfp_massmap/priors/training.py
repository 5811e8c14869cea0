"""Training of a prior, from convergence maps to the prior's files."""

from collections.abc import Mapping
import dataclasses
import json
import logging
import os
import pathlib
import typing

from astropy import units as u
import keras
import numpy as np
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import spectra
from tfp_massmap.nn import architectures
from tfp_massmap.nn import muon
from tfp_massmap.nn import network_file
from tfp_massmap.nn import training_folder
from tfp_massmap.nn import training_loop
from tfp_massmap.priors import denoising_loss
from tfp_massmap.priors import error_scale
from tfp_massmap.priors import gaussian as gaussian_prior
from tfp_massmap.priors import hybrid
from tfp_massmap.priors import measurement
from tfp_massmap.priors import noise_laws
from tfp_massmap.priors import residual
from tfp_massmap.priors import training_examples
from tfp_massmap.priors import training_settings

_LOG = logging.getLogger(__name__)

VALIDATION_SIGMAS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
# Memory of Adam's squared gradients, shorter than the usual 0.999 as trainings have
# some thousand steps.
_ADAM_BETA_2 = 0.99


@dataclasses.dataclass(frozen=True)
class Origin:
  """The data and the weights that a training comes from.

  Attributes:
    data: None, or a dict for JSON that describes the maps, such as name and seed. A
      training is resumed only with data of the same description.
    start: None, or a `priors.HybridPrior` whose weights a new training starts from.
    start_name: None, or the name of `start`, for the record. The record has the
      checksum of its weights in any case.
  """

  data: Mapping | None = None
  start: hybrid.HybridPrior | None = None
  _: dataclasses.KW_ONLY
  start_name: str | None = None

  def describe_start(self) -> dict | None:
    """Returns the start as a dict for JSON; None for new weights."""
    if self.start is None:
      return None
    name = self.start_name or _shipped_name(self.start)
    return dict(name=name, weights_sha256=self.start.card.get("weights_sha256"))


class Trainer:
  """Trains a residual network, with checkpoints in a folder.

  Args:
    spectrum: `spectra.PowerSpectrum` of the Gaussian component of the prior.
    grid: `geometry.PixelGrid` of the crops, `settings.crop` pixels a side.
    architecture: `architectures.Architecture`, or the name of a preset.
    settings: `training_settings.TrainingSettings`.
    folder: Path of the folder of checkpoints, `log.csv` and, with TensorBoard
      installed, its events. If it holds a checkpoint of the same settings, except those
      of `training_settings.MAY_CHANGE`, and of the same data, the training is resumed.
    origin: `Origin`.
    strategy: None, or a `tf.distribute` strategy, see `training_loop.TrainingLoop`.

  Attributes:
    denoiser: `residual.ResidualDenoiser` of the network.
    loss: `denoising_loss.DenoisingLoss`.
    loop: `training_loop.TrainingLoop`.
    origin: Dict of `data` and `start` as the folder has them.

  Raises:
    ValueError: If the folder's checkpoint has other settings, pixels, power, data or
      start, the grid another size, `start` another architecture, no preset the name, or
      batches cannot be split over the replicas.
  """

  def __init__(
    self,
    spectrum: spectra.PowerSpectrum,
    grid: geometry.PixelGrid,
    *,
    architecture: architectures.Architecture | str,
    settings: training_settings.TrainingSettings,
    folder: str | os.PathLike,
    origin: Origin = Origin(),
    strategy: tf.distribute.Strategy | None = None,
  ) -> None:
    if grid.shape != (settings.crop, settings.crop):
      raise ValueError(
        f"The grid must have {settings.crop} x {settings.crop} pixels, as the crops;"
        f" got {grid.shape}."
      )
    training_loop.check_batch_size(settings.batch_size, strategy)
    architecture = architectures.resolve(architecture)
    if origin.start is not None:
      _check_architecture(origin.start.residual, architecture)
    self._settings, self._grid = settings, grid
    self.record = _record(architecture, settings)
    notes = _open_folder(
      folder, self.record, spectrum=spectrum, grid=grid, origin=origin
    )
    self.origin = notes.origin
    keras.utils.set_random_seed(settings.seed)
    with (strategy or tf.distribute.get_strategy()).scope():
      dtype = "bfloat16" if settings.mixed_precision else "float32"
      network = architectures.build(architecture, dtype)
      if origin.start is not None:
        start = typing.cast(residual.ResidualDenoiser, origin.start.residual)
        network.set_weights(start.network.get_weights())
      optimizer = _make_optimizer(settings)
    self.denoiser = residual.ResidualDenoiser(
      network,
      architecture,
      scales=residual.Scales.from_spectrum(spectrum, grid.pixel_scale),
    )
    gaussian = gaussian_prior.GaussianPrior.from_spectrum(spectrum, grid)
    self.loss = denoising_loss.DenoisingLoss(self.denoiser, gaussian, settings=settings)
    self.loop = training_loop.TrainingLoop(
      network,
      optimizer,
      loss=self.loss,
      folder=notes,
      settings=_loop_settings(settings),
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
    settings = self._settings
    examples = training_examples.ExampleSettings(
      self._grid.shape,
      settings.batch_size,
      sigma_law=settings.make_sigma_law(),
      seed=settings.seed,
      periodic=periodic,
    )
    validation = validation_examples(validation_maps, settings, periodic=periodic)
    losses = {}

    def validate():
      losses.update(self.validate(validation))
      return {f"sigma_{sigma:g}": loss for sigma, loss in losses.items()}

    self.loop.run(
      lambda first: training_examples.training_examples(
        maps, examples, first_batch=first
      ),
      validate=validate,
      progress=progress,
    )
    return losses

  def validate(
    self, examples: dict[float, list[dict[str, tf.Tensor]]]
  ) -> dict[float, float]:
    """Returns the loss of the present weights, dict of sigma to mean loss.

    Args:
      examples: Dict of sigma to batches, from `validation_examples`.
    """
    return {
      sigma: float(np.mean([self._validation_step(batch) for batch in batches]))
      for sigma, batches in examples.items()
    }

  @tf.function(autograph=False)
  def _validation_step(self, batch):
    return self.loss.of(batch, training=False)


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
  size = min(settings.batch_size, settings.num_validation)
  examples = training_examples.training_examples(
    maps,
    training_examples.ExampleSettings(
      (settings.crop, settings.crop),
      size,
      sigma_law=noise_laws.LogUniformSigma(1.0, 1.0),
      seed=settings.seed + 1,  # Other crops than those of the training.
      periodic=periodic,
    ),
  )
  batches = list(examples.take(settings.num_validation // size))
  return {
    sigma: [_scale_noise(batch, sigma) for batch in batches]
    for sigma in VALIDATION_SIGMAS
  }


def _scale_noise(batch, sigma):
  """Returns a batch of another noise level, from one of sigma = 1."""
  noise = batch["noisy"] - batch["clean"]
  noisy = batch["clean"] + sigma * noise
  return dict(clean=batch["clean"], noisy=noisy, sigma=sigma * batch["sigma"])


def _record(architecture, settings):
  """Returns architecture and settings as JSON gives them back."""
  record = dict(
    architecture=dataclasses.asdict(architecture), **dataclasses.asdict(settings)
  )
  return json.loads(json.dumps(record))


def _open_folder(folder, record, *, spectrum, grid, origin):
  may_change = training_settings.MAY_CHANGE
  fixed = {name: v for name, v in record.items() if name not in may_change}
  return training_folder.TrainingFolder(
    folder,
    fixed | training_folder.describe_field(spectrum, grid),
    changeable={name: record[name] for name in may_change},
    data=origin.data,
    start=origin.describe_start(),
  )


def _loop_settings(settings):
  return training_loop.LoopSettings(
    settings.num_steps,
    settings.rate_at,
    averaging=settings.averaging,
    clip_norm=settings.clip_norm,
    checkpoint_every=settings.checkpoint_every,
    log_every=settings.validate_every,
  )


def _make_optimizer(settings):
  if settings.optimizer == "muon":
    return muon.Muon(settings.rate_at(0))
  return keras.optimizers.Adam(settings.rate_at(0), beta_2=_ADAM_BETA_2)


def _check_architecture(denoiser, architecture):
  if denoiser.architecture != architecture:
    raise ValueError(
      "The training cannot start from a network of another architecture: it has"
      f" {denoiser.architecture}, and {architecture} is wanted."
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
    data: Dict for JSON that describes the maps, for the card, see `Origin`.
    start: `priors.HybridPrior` whose weights a new training starts from.
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
    origin=Origin(data, start, start_name=start_name),
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
      plane_weights=record["data"].get("plane_weights"),
      overwrite=True,
    )
  _measure(path, validation_maps, settings.crop, progress=progress)
  return hybrid.HybridPrior.load(path, grid)


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


def _shipped_name(prior):
  """Returns the name of the shipped prior with these weights; None for another one."""
  checksum = prior.card.get("weights_sha256")
  for name in hybrid.shipped():
    if network_file.find(name, "prior", needed=())[0]["weights_sha256"] == checksum:
      return name
  return None
