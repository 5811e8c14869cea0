"""The part that trainings of all priors share: network, loss, folder, validation."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import json
import os
import typing

import keras
import numpy as np
import tensorflow as tf

from tfp_massmap.nn import architectures
from tfp_massmap.nn import muon
from tfp_massmap.nn import network_file
from tfp_massmap.nn import training_folder
from tfp_massmap.nn import training_loop
from tfp_massmap.priors import denoising_loss
from tfp_massmap.priors import example_denoisers
from tfp_massmap.priors import hybrid
from tfp_massmap.priors import noise_laws
from tfp_massmap.priors import residual
from tfp_massmap.priors import training_examples
from tfp_massmap.priors import training_settings

VALIDATION_SIGMAS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
# Memory of Adam's squared gradients, shorter than the usual 0.999 as trainings have
# some thousand steps.
_ADAM_BETA_2 = 0.99


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
  """The network that a training starts from.

  Attributes:
    network: Keras model.
    architecture: Its `architectures.Architecture`.
    card: Card of its prior.
  """

  network: keras.Model
  architecture: architectures.Architecture
  card: Mapping

  @classmethod
  def of_prior(cls, prior: hybrid.HybridPrior) -> typing.Self:
    """Returns the network of a prior in memory.

    Args:
      prior: `priors.HybridPrior` with a network.
    """
    denoiser = typing.cast(residual.ResidualDenoiser, prior.residual)
    return cls(denoiser.network, denoiser.architecture, prior.card)

  @classmethod
  def read(cls, path: str | os.PathLike) -> typing.Self:
    """Reads the network of a prior, whatever its survey.

    Args:
      path: Name or path of a trained prior.

    Raises:
      FileNotFoundError: If one of its two files is missing.
      ValueError: If it cannot be read.
    """
    card, weights = network_file.find(path, "prior", needed=("architecture",))
    architecture = architectures.Architecture(**card["architecture"])
    network = architectures.build(architecture)
    network.load_weights(weights)
    return cls(network, architecture, card)


@dataclasses.dataclass(frozen=True)
class Origin:
  """The data and the weights that a training comes from.

  Attributes:
    data: None, or a dict for JSON that describes the maps, such as name and seed. A
      training is resumed only with data of the same description.
    start: None, or the `Start` whose weights a new training starts from.
    start_name: None, or the name of `start`, for the record. The record has the
      checksum of its weights in any case.
  """

  data: Mapping | None = None
  start: Start | None = None
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
    architecture: `architectures.Architecture`.
    settings: `training_settings.TrainingSettings`.
    folder: Path of the folder of checkpoints, `log.csv` and, with TensorBoard
      installed, its events. If it holds a checkpoint of the same settings, except those
      of `training_settings.MAY_CHANGE`, and of the same data, the training is resumed.
    field: Dict for JSON of what else may not change, such as the power of the maps.
    make_denoiser: Function of the network to its `example_denoisers.ExampleDenoiser`.
    origin: `Origin`.
    strategy: None, or a `tf.distribute` strategy, see `training_loop.TrainingLoop`.

  Attributes:
    network: The Keras model.
    loss: `denoising_loss.DenoisingLoss`.
    loop: `training_loop.TrainingLoop`.
    origin: Dict of `data` and `start` as the folder has them.
    record: Dict of the architecture and the settings.

  Raises:
    ValueError: If the folder's checkpoint has other settings, field, data or start,
      `start` has another architecture, or batches cannot be split over the replicas.
  """

  def __init__(
    self,
    *,
    architecture: architectures.Architecture,
    settings: training_settings.TrainingSettings,
    folder: str | os.PathLike,
    field: Mapping,
    make_denoiser: Callable[[keras.Model], example_denoisers.ExampleDenoiser],
    origin: Origin = Origin(),
    strategy: tf.distribute.Strategy | None = None,
  ) -> None:
    training_loop.check_batch_size(settings.batch_size, strategy)
    if origin.start is not None:
      _check_architecture(origin.start.architecture, architecture)
    self._settings = settings
    self.record = _record(architecture, settings)
    notes = _open_folder(folder, self.record, field=field, origin=origin)
    self.origin = notes.origin
    keras.utils.set_random_seed(settings.seed)
    with (strategy or tf.distribute.get_strategy()).scope():
      dtype = "bfloat16" if settings.mixed_precision else "float32"
      self.network = architectures.build(architecture, dtype)
      if origin.start is not None:
        architectures.copy_weights(origin.start.network, self.network)
      optimizer = _make_optimizer(settings)
    self.loss = denoising_loss.DenoisingLoss(
      make_denoiser(self.network), settings=settings
    )
    self.loop = training_loop.TrainingLoop(
      self.network,
      optimizer,
      loss=self.loss,
      folder=notes,
      settings=_loop_settings(settings),
      strategy=strategy,
    )

  def run(
    self,
    make_examples: Callable[[int], tf.data.Dataset],
    validation: dict[float, list[dict[str, tf.Tensor]]],
    *,
    progress: bool = True,
  ) -> dict[float, float]:
    """Trains until `num_steps`, from the last checkpoint.

    Args:
      make_examples: Function of the number of the first batch to batches of examples.
      validation: Dict of sigma to batches, see `at_sigmas`.
      progress: Whether to show a progress bar on standard error.

    Returns:
      The last validation losses, dict of sigma to mean loss.

    Raises:
      FloatingPointError: If weights are no longer finite; the last checkpoint stays.
      ValueError: If the training is longer than `num_steps` already.
    """
    losses = {}

    def validate():
      losses.update(self.validate(validation))
      return {f"sigma_{sigma:g}": loss for sigma, loss in losses.items()}

    self.loop.run(make_examples, validate=validate, progress=progress)
    return losses

  def validate(
    self, examples: dict[float, list[dict[str, tf.Tensor]]]
  ) -> dict[float, float]:
    """Returns the loss of the present weights, dict of sigma to mean loss.

    Args:
      examples: Dict of sigma to batches.
    """
    return {
      sigma: float(np.mean([self._validation_step(batch) for batch in batches]))
      for sigma, batches in examples.items()
    }

  @tf.function(autograph=False)
  def _validation_step(self, batch):
    return self.loss.of(batch, training=False)


def example_settings(
  settings: training_settings.TrainingSettings, *, periodic: bool
) -> training_examples.ExampleSettings:
  """Returns how the examples of a training are made.

  Args:
    settings: `training_settings.TrainingSettings`.
    periodic: Whether the maps are tori.
  """
  return training_examples.ExampleSettings(
    (settings.crop, settings.crop),
    settings.batch_size,
    sigma_law=settings.make_sigma_law(),
    seed=settings.seed,
    periodic=periodic,
  )


def validation_settings(
  settings: training_settings.TrainingSettings, *, periodic: bool
) -> training_examples.ExampleSettings:
  """Returns how the examples of a validation are made, before `at_sigmas`.

  Args:
    settings: `training_settings.TrainingSettings`.
    periodic: Whether the maps are tori.
  """
  return training_examples.ExampleSettings(
    (settings.crop, settings.crop),
    min(settings.batch_size, settings.num_validation),
    sigma_law=noise_laws.LogUniformSigma(1.0, 1.0),
    seed=settings.seed + 1,  # Other crops than those of the training.
    periodic=periodic,
  )


def at_sigmas(
  batches: Iterable[dict[str, tf.Tensor]],
) -> dict[float, list[dict[str, tf.Tensor]]]:
  """Returns examples at fixed sigma, dict of sigma to a list of batches.

  Args:
    batches: Batches of examples of sigma = 1.
  """
  batches = list(batches)
  return {
    sigma: [_scale_noise(batch, sigma) for batch in batches]
    for sigma in VALIDATION_SIGMAS
  }


def _scale_noise(batch, sigma):
  """Returns a batch of another noise level, from one of sigma = 1."""
  noise = batch["noisy"] - batch["clean"]
  noisy = batch["clean"] + sigma * noise
  return dict(batch, noisy=noisy, sigma=sigma * batch["sigma"])


def _record(architecture, settings):
  """Returns architecture and settings as JSON gives them back."""
  record = dict(
    architecture=dataclasses.asdict(architecture), **dataclasses.asdict(settings)
  )
  return json.loads(json.dumps(record))


def _open_folder(folder, record, *, field, origin):
  may_change = training_settings.MAY_CHANGE
  fixed = {name: v for name, v in record.items() if name not in may_change}
  return training_folder.TrainingFolder(
    folder,
    {**fixed, **field},
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


def _check_architecture(start, architecture):
  """Refuses a start that differs in more than in having no conditions."""
  same = start
  if start.num_conditions == 0:
    same = dataclasses.replace(start, num_conditions=architecture.num_conditions)
  if same != architecture:
    raise ValueError(
      "The training cannot start from a network of another architecture: it has"
      f" {start}, and {architecture} is wanted."
    )


def _shipped_name(start):
  """Returns the name of the shipped prior with these weights; None for another one."""
  checksum = start.card.get("weights_sha256")
  for name in hybrid.shipped():
    if network_file.find(name, "prior", needed=())[0]["weights_sha256"] == checksum:
      return name
  return None
