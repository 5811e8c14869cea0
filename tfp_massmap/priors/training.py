"""Residual denoising score matching (Remy et al. 2022, Eq. 23-24), to be resumed at will.

The loss of an example is the squared error of the denoiser over c(sigma)^2, the error
of the Gaussian one ("error", so that every sigma counts alike), or over sigma^2, which
is Eq. 24 ("score").
"""

import contextlib
import dataclasses
import json
import logging
import pathlib

import keras
import numpy as np
import tensorflow as tf
import tqdm

from tfp_massmap import geometry
from tfp_massmap.nn import muon
from tfp_massmap.nn import network_file
from tfp_massmap.nn import training_folder
from tfp_massmap.nn import unet
from tfp_massmap.priors import error_scale
from tfp_massmap.priors import gaussian as gaussian_prior
from tfp_massmap.priors import hybrid
from tfp_massmap.priors import measurement
from tfp_massmap.priors import residual
from tfp_massmap.priors import training_examples
from tfp_massmap.priors import training_settings

_LOG = logging.getLogger(__name__)


class Trainer:
  """Trains a residual network, with checkpoints in a folder.

  Args:
    spectrum: `spectra.PowerSpectrum` of the Gaussian half of the prior.
    grid: `geometry.PixelGrid` of the crops, `settings.crop` pixels a side.
    architecture: `unet.Architecture`, or the name of a preset.
    settings: `training_settings.TrainingSettings`.
    folder: where checkpoints, `log.csv` and, with TensorBoard installed, its events go.
      If it holds a checkpoint of the same settings, but for num_steps and the learning
      rates, and of the same data, the training goes on there.
    start: None, or a prior with a `residual` of the same architecture, whose weights a
      new training starts from.
    strategy: None, or a `tf.distribute` strategy, over whose replicas every batch is
      split; on several machines, each calls this with the same arguments, and a folder
      of its own for all but the first.
    data: None, or dict for JSON that describes the maps, such as name and seed.
    start_name: None, or what `start` is called, for the record.

  Attributes:
    denoiser: `priors.residual.ResidualDenoiser` of the network.
    step: variable, the number of steps done.
    origin: dict of `data` and `start`, what this training is of, as its folder has them.

  Raises:
    ValueError: if the folder's checkpoint is of other settings, pixels, power, data or
      start, the grid of another size, the name that of no preset, or `start` of another
      architecture.
  """

  def __init__(
    self,
    spectrum,
    grid,
    *,
    architecture,
    settings,
    folder,
    start=None,
    strategy=None,
    data=None,
    start_name=None,
  ):
    if grid.shape != (settings.crop, settings.crop):
      raise ValueError(
        f"The grid must have {settings.crop} x {settings.crop} pixels, as the crops;"
        f" got {grid.shape}."
      )
    architecture = unet.resolve(architecture)
    self.settings = settings
    self._strategy = strategy or tf.distribute.get_strategy()
    if settings.batch_size % self._strategy.num_replicas_in_sync:
      raise ValueError(
        f"Batches of {settings.batch_size} cannot be split over"
        f" {self._strategy.num_replicas_in_sync} replicas."
      )
    self.folder = pathlib.Path(folder)
    self._gaussian = gaussian_prior.GaussianPrior.from_spectrum(spectrum, grid)
    keras.utils.set_random_seed(settings.seed)
    scales = residual.Scales.from_spectrum(spectrum, grid.pixel_scale)
    with self._strategy.scope():
      network = unet.build(
        architecture, "bfloat16" if settings.mixed_precision else "float32"
      )
      if start is not None:
        _copy_weights(start.residual, network, architecture)
      self._average = [
        tf.Variable(tf.identity(w.value), trainable=False) for w in network.weights
      ]
      self._optimizer = _make_optimizer(settings)
      self._optimizer.build(network.trainable_variables)
      self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
      self._is_averaged = tf.Variable(False, trainable=False)
    self.denoiser = residual.ResidualDenoiser(network, architecture, scales=scales)
    checkpoint = tf.train.Checkpoint(
      weights=_values(network.weights),
      average=self._average,
      optimizer=_values(self._optimizer.variables),
      step=self.step,
    )
    self._manager = tf.train.CheckpointManager(
      checkpoint, str(self.folder / "checkpoints"), max_to_keep=2
    )
    fixed = {
      k: v for k, v in self.record.items() if k not in training_settings.MAY_CHANGE
    }
    self._notes = training_folder.TrainingFolder(
      self.folder,
      fixed | training_folder.describe_field(spectrum, grid),
      free={k: self.record[k] for k in training_settings.MAY_CHANGE},
      data=data,
      start=training_folder.describe_start(start, start_name),
      goes_on=bool(self._manager.latest_checkpoint),
    )  # pyformat: disable
    self.origin = self._notes.origin
    if self._manager.latest_checkpoint:
      checkpoint.restore(self._manager.latest_checkpoint).assert_consumed()

  def train(self, maps, validation_maps, *, periodic=False, progress=True):
    """Trains until `num_steps`, from the last checkpoint.

    An interruption (KeyboardInterrupt) saves the last complete step, and is raised again.
    Not so on several machines, which must go on from one step: that of the checkpoint
    they have in common.

    Args:
      maps: `[n, ny, nx]`, or a `tf.data.Dataset` of them.
      validation_maps: `[m, ny, nx]`, of which the validation loss comes.
      periodic: whether the maps are tori.
      progress: whether to show a progress bar on standard error.

    Returns:
      The last validation losses, dict of sigma to mean loss.

    Raises:
      FloatingPointError: if weights are no longer finite; the last checkpoint stays.
      ValueError: if the training is longer than `num_steps` already.
    """
    settings = self.settings
    done = int(self.step.read_value())
    if done > settings.num_steps:
      raise ValueError(
        f"The training in {self.folder} has {done} steps, and num_steps is"
        f" {settings.num_steps}. Ask for {done} or more, or choose another folder."
      )
    logged = self._notes.cut_log(done)
    examples = training_examples.training_examples(
      maps,
      (settings.crop, settings.crop),
      batch_size=settings.batch_size,
      sigma_law=settings.make_sigma_law(),
      seed=settings.seed,
      first_batch=done,
      periodic=periodic,
      subtract_mean=False,
    )  # pyformat: disable
    validation = validation_examples(validation_maps, settings, periodic=periodic)
    bar = tqdm.tqdm(
      total=settings.num_steps, initial=done, unit="step", disable=not progress
    )
    losses, recent = {}, []
    with bar, self._kept_when_interrupted():
      if done and (done == settings.num_steps or done % settings.validate_every == 0):
        losses = self.validate(validation)
        if logged < done:  # The interruption came before the end of the validation.
          self._log(done, np.nan, losses)
      for batch in self._distributed(examples.take(settings.num_steps - done)):
        self._optimizer.learning_rate.assign(
          settings.rate_at(int(self.step.read_value()))
        )
        recent.append(self._train_step(batch))
        step = int(self.step.read_value())
        last = step == settings.num_steps
        if last or 0 in (
          step % settings.validate_every,
          step % settings.checkpoint_every,
        ):
          self._check_finite(step)
        if step % settings.validate_every == 0 or last:
          losses = self.validate(validation)
          self._log(step, float(np.mean(recent)), losses)
          bar.set_postfix(loss=f"{np.mean(recent):.4f}")
          recent = []
        if step % settings.checkpoint_every == 0 or last:
          self._manager.save(checkpoint_number=step)
        bar.update()
    return losses

  @contextlib.contextmanager
  def _kept_when_interrupted(self):
    """Context that leaves a checkpoint of the last complete step when interrupted."""
    try:
      yield
    except KeyboardInterrupt:
      self._save_interrupted()
      raise

  def _save_interrupted(self):
    # Each machine is interrupted at a step of its own.
    if isinstance(self._strategy, tf.distribute.MultiWorkerMirroredStrategy):
      return
    if bool(self._is_averaged.read_value()):
      self._exchange_weights()
    step = int(self.step.read_value())
    latest = self._manager.latest_checkpoint
    if step == 0 or (latest and latest.endswith(f"-{step}")):
      return
    try:
      self._check_finite(step)
    except FloatingPointError as error:
      _LOG.warning("The interrupted training is not saved: %s", error)
      return
    self._manager.save(checkpoint_number=step)

  def _log(self, step, loss, validation):
    self._notes.log(
      step, loss, learning_rate=self.settings.rate_at(step), validation=validation
    )

  def _check_finite(self, step):
    """Before a checkpoint replaces a good one by weights that are lost."""
    weights = self.denoiser.network.weights
    if all(np.isfinite(np.asarray(weight)).all() for weight in weights):
      return
    before = self._manager.latest_checkpoint
    where = (
      "there is no checkpoint yet"
      if before is None
      else f"{before} is the last good one"
    )
    raise FloatingPointError(
      f"The training diverged: weights are not finite at step {step}; {where}. Go on with"
      f" a smaller learning_rate (now {self.settings.learning_rate:g}; it may change"
      " within a training), or start anew in another folder."
    )

  def validate(self, examples):
    """Loss of the averaged weights, dict of sigma to mean loss.

    Args:
      examples: dict of sigma to batches, from `validation_examples`.
    """
    with self.averaged_weights():
      return {
        sigma: float(np.mean([self._validation_step(b) for b in batches]))
        for sigma, batches in examples.items()
      }

  @contextlib.contextmanager
  def averaged_weights(self):
    """Context within which the network has its averaged weights."""
    self._exchange_weights()
    try:
      yield
    finally:
      self._exchange_weights()

  @tf.function(autograph=False)
  def _exchange_weights(self):
    """All at once, with a note of it: an interruption finds them exchanged or not."""
    for one, other in zip(self.denoiser.network.weights, self._average):
      value = tf.identity(one.value)
      one.assign(tf.identity(other))
      other.assign(value)
    self._is_averaged.assign(tf.logical_not(self._is_averaged))

  def _loss(self, batch, training):
    noisy, sigma = batch["noisy"], batch["sigma"]
    wiener = self._gaussian.denoise(noisy, sigma)
    denoised = wiener + self.denoiser(noisy, wiener, sigma, training)
    target, weight = batch["clean"], 1.0
    if "is_gaussian" in batch:
      weight = tf.where(batch["is_gaussian"], self.settings.gaussian_weight, 1.0)
      # The mean of all Gaussian fields that may be behind the noise, without their scatter.
      target = tf.where(batch["is_gaussian"], wiener, target)
    scale = sigma
    if self.settings.weighting == "error":
      scale = self.denoiser.error_std(sigma)
    error = (denoised - target) / scale[:, tf.newaxis, tf.newaxis]
    return tf.reduce_mean(weight * tf.square(error))

  def _with_gaussian_fields(self, batch, replica):
    """Puts Gaussian fields in the place of some maps, chosen by seed and step."""
    seed = tf.stack(
      [tf.cast(self.settings.seed, tf.int64), 1 + tf.cast(replica, tf.int64)]
    )
    seed = tf.random.fold_in(seed, self.step)
    choice_seed, field_seed = tf.unstack(tf.random.split(seed, 2))
    num = batch["clean"].shape[0]
    chosen = tf.random.stateless_uniform([num, 1, 1], choice_seed)
    chosen = chosen < self.settings.gaussian_share
    clean = tf.where(chosen, self._gaussian.sample([num], field_seed), batch["clean"])
    noisy = batch["noisy"] + (clean - batch["clean"])
    return {**batch, "clean": clean, "noisy": noisy, "is_gaussian": chosen}

  @tf.function(autograph=False)
  def _validation_step(self, batch):
    return self._loss(batch, training=False)

  def _distributed(self, examples):
    if self._strategy.num_replicas_in_sync == 1:
      return examples
    return self._strategy.experimental_distribute_dataset(examples)

  @tf.function(autograph=False)
  def _train_step(self, batch):
    losses = self._strategy.run(self._replica_step, args=(batch,))
    self.step.assign_add(1)
    # A short memory at first, or the first weights would linger.
    step = tf.cast(self.step, tf.float32)
    decay = tf.minimum(self.settings.averaging, (1 + step) / (10 + step))
    for mean, variable in zip(self._average, self.denoiser.network.weights):
      value = tf.cast(tf.identity(variable.value), mean.dtype)
      mean.assign(decay * tf.identity(mean) + (1 - decay) * value)
    return self._strategy.reduce(tf.distribute.ReduceOp.MEAN, losses, axis=None)

  def _replica_step(self, batch):
    """Gradients of this replica's share, averaged over all, and the update."""
    network = self.denoiser.network
    replica = tf.distribute.get_replica_context()
    if self.settings.gaussian_share:
      batch = self._with_gaussian_fields(batch, replica.replica_id_in_sync_group)
    with tf.GradientTape() as tape:
      loss = self._loss(batch, training=True)
    gradients = tape.gradient(loss, _values(network.trainable_variables))
    if self._strategy.num_replicas_in_sync > 1:
      gradients = replica.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
    gradients, _ = tf.clip_by_global_norm(gradients, self.settings.clip_norm)
    self._optimizer.apply(gradients, network.trainable_variables)
    return loss

  @property
  def record(self):
    """Architecture and settings, as JSON holds them."""
    record = dict(
      architecture=dataclasses.asdict(self.denoiser.architecture),
      **dataclasses.asdict(self.settings),
    )
    return json.loads(json.dumps(record))


VALIDATION_SIGMAS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def validation_examples(maps, settings, *, periodic):
  """Fixed examples at fixed sigma, dict of sigma to a list of batches."""
  size = min(settings.batch_size, settings.num_validation)
  examples = training_examples.training_examples(
    maps,
    (settings.crop, settings.crop),
    batch_size=size,
    sigma_law=training_examples.LogUniformSigma(1.0, 1.0),
    seed=settings.seed + 1,
    periodic=periodic,
    subtract_mean=False,
  )  # pyformat: disable
  batches = list(examples.take(settings.num_validation // size))
  return {
    sigma: [_scale_noise(batch, sigma) for batch in batches]
    for sigma in VALIDATION_SIGMAS
  }


def _scale_noise(batch, sigma):
  """Batch of other noise levels, from one of sigma = 1."""
  noise = batch["noisy"] - batch["clean"]
  noisy = batch["clean"] + sigma * noise
  return dict(clean=batch["clean"], noisy=noisy, sigma=sigma * batch["sigma"])


def _make_optimizer(settings):
  if settings.optimizer == "muon":
    return muon.Muon(settings.rate_at(0))
  return keras.optimizers.Adam(settings.rate_at(0), beta_2=0.99)


def _copy_weights(denoiser, network, architecture):
  if denoiser.architecture != architecture:
    raise ValueError(
      "The training cannot start from a network of another architecture: it has"
      f" {denoiser.architecture}, and {architecture} is wanted."
    )
  for weight, given in zip(network.weights, denoiser.network.weights):
    weight.assign(given)


def _values(variables):
  """The TensorFlow variables of Keras variables."""
  return [v.value for v in variables]


def train(
  maps,
  validation_maps,
  *,
  pixel_scale,
  spectrum,
  folder,
  architecture="default",
  settings=training_settings.TrainingSettings(),
  periodic=False,
  data=None,
  start=None,
  strategy=None,
  progress=True,
  start_name=None,
):
  """Trains a prior, or goes on with it, and writes it as `prior` into a folder.

  Args:
    maps, validation_maps: `[n, ny, nx]`.
    pixel_scale: angle.
    spectrum: `spectra.PowerSpectrum` of the maps.
    folder: of the prior, the checkpoints and the log.
    architecture: `nn.unet.Architecture`, or the name of a preset.
    settings: `priors.training_settings.TrainingSettings`.
    periodic: whether the maps are tori.
    data: dict that describes them, for the card; a training goes on only with data of
      the same description.
    start: `priors.HybridPrior` whose weights a new training starts from.
    strategy: None, or a `tf.distribute` strategy, see `priors.training.Trainer`.
    progress: whether to show a progress bar.
    start_name: what `start` is called, for the card; None for the name that it ships
      with, if it does. The card has the checksum of its weights in any case.

  Returns:
    The `priors.HybridPrior` on maps of the size of the crops. Without the linear
    response and the error scale, and with a warning, if the validation maps are too few
    for them.

  Raises:
    FloatingPointError, ValueError: as `priors.training.Trainer` and its `train`.
  """
  grid = geometry.PixelGrid((settings.crop, settings.crop), pixel_scale)
  if start is not None and start_name is None:
    start_name = _shipped_name(start)
  trainer = Trainer(
    spectrum,
    grid,
    architecture=architecture,
    settings=settings,
    folder=folder,
    start=start,
    strategy=strategy,
    data=data,
    start_name=start_name,
  )
  losses = trainer.train(maps, validation_maps, periodic=periodic, progress=progress)
  path = pathlib.Path(folder) / "prior"
  record = dict(
    trainer.origin,
    data=data or trainer.origin.get("data") or {},
    num_maps=len(maps),
    settings=trainer.record,
    num_steps=int(trainer.step.read_value()),
    validation_loss={f"{sigma:g}": loss for sigma, loss in losses.items()},
  )
  with trainer.averaged_weights():
    hybrid.save(
      path,
      trainer.denoiser,
      spectrum=spectrum,
      pixel_scale=pixel_scale,
      sigma_range=settings.sigma_range,
      training=record,
      plane_weights=record["data"].get("plane_weights"),
      overwrite=True,
    )  # pyformat: disable
  num_pixels = np.size(measurement.crops_of(validation_maps, settings.crop))
  if num_pixels >= error_scale.FEWEST_PIXELS:
    measurement.measure_card(path, validation_maps, side=settings.crop)
  else:
    _LOG.warning(
      "The prior gets no linear_response and no error_scale: the validation maps have %d"
      " pixels in crops of %d x %d, and %d are needed. Without them samples may have"
      " too much or too little power on large scales, and samplers take the network's"
      " error for a Gaussian field's, at haloes too, where it is larger. Give more"
      " validation maps, or call priors.measurement.measure_card(%r, maps, side=%d) with other maps"
      " of that kind.",
      num_pixels,
      settings.crop,
      settings.crop,
      error_scale.FEWEST_PIXELS,
      str(path),
      settings.crop,
    )  # pyformat: disable
  return hybrid.HybridPrior.load(path, grid)


def _shipped_name(prior):
  """Name of the shipped prior that has these weights; None for another one."""
  checksum = prior.card.get("weights_sha256")
  for name in hybrid.shipped():
    if network_file.find(name, "prior", needed=())[0]["weights_sha256"] == checksum:
      return name
  return None
