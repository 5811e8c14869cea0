"""The training loop of all networks: steps, averaged weights, checkpoints, log.

A training is given a loss and a source of batches. It can be stopped at any time and
resumed from its folder, and computes the same as one that was never stopped.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import dataclasses
import logging

import keras
import numpy as np
import tensorflow as tf
import tqdm

from tfp_massmap.nn import training_folder

_LOG = logging.getLogger(__name__)

# One checkpoint more than a resumed training needs, to go back to by hand.
_NUM_CHECKPOINTS = 2

Loss = Callable[..., tuple[tf.Tensor, dict[str, tf.Tensor]]]


@dataclasses.dataclass(frozen=True)
class LoopSettings:
  """Length and rhythm of a training.

  Attributes:
    num_steps: Number of steps of the whole training.
    rate_at: Function of a step, from 0, to its learning rate.
    averaging: Decay per step of the exponential moving average of the weights.
    clip_norm: Gradients are scaled down to this global norm.
    checkpoint_every: Steps between checkpoints.
    log_every: Steps between lines of the log, each with a validation.
    watched: Name of the figure, "loss" or one of those that the loss function returns,
      which is logged and kept for every step.
  """

  num_steps: int
  rate_at: Callable[[int], float]
  _: dataclasses.KW_ONLY
  averaging: float
  clip_norm: float
  checkpoint_every: int
  log_every: int
  watched: str = "loss"


class TrainingLoop:
  """Trains a network, with checkpoints in a folder.

  Args:
    network: Keras model, built within the scope of the strategy.
    optimizer: Keras optimizer, likewise.
    loss: Function `loss(batch, *, step, replica)` of a batch, the number of steps done
      and the number of the replica, both scalar tensors, to the loss and a dict of
      further scalars to be watched.
    folder: `training_folder.TrainingFolder`, whose last checkpoint is restored.
    settings: `LoopSettings`.
    strategy: None, or a `tf.distribute` strategy, over whose replicas every batch is
      split. On several machines, each runs the same program, with a folder of its own
      for all but the first.

  Attributes:
    network: The network.
    step: Variable, the number of steps done.
    history: List of the watched figure at every step done.
  """

  def __init__(
    self,
    network: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    *,
    loss: Loss,
    folder: training_folder.TrainingFolder,
    settings: LoopSettings,
    strategy: tf.distribute.Strategy | None = None,
  ) -> None:
    self.network, self._optimizer, self._loss = network, optimizer, loss
    self._folder, self._settings = folder, settings
    self._strategy = strategy or tf.distribute.get_strategy()
    with self._strategy.scope():
      self._average = [
        tf.Variable(tf.identity(w.value), trainable=False) for w in network.weights
      ]
      optimizer.build(network.trainable_variables)
      self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
      self._is_averaged = tf.Variable(False, trainable=False)
      self._last_figure = tf.Variable(0.0, trainable=False)
    self._saved_history = tf.Variable(tf.zeros([0]), trainable=False, shape=[None])
    checkpoint = tf.train.Checkpoint(
      weights=_values(network.weights),
      average=self._average,
      optimizer=_values(optimizer.variables),
      step=self.step,
      history=self._saved_history,
    )
    self._manager = tf.train.CheckpointManager(
      checkpoint, str(folder.checkpoints), max_to_keep=_NUM_CHECKPOINTS
    )
    if self._manager.latest_checkpoint:
      checkpoint.restore(self._manager.latest_checkpoint).assert_consumed()
    self.history = self._saved_history.numpy().tolist()

  def run(
    self,
    make_batches: Callable[[int], Iterable],
    *,
    validate: Callable[[], dict[str, float]] | None = None,
    check: Callable[[dict[str, float]], None] | None = None,
    progress: bool = True,
  ) -> dict[str, float]:
    """Trains until `num_steps`, from the last checkpoint.

    An interruption (KeyboardInterrupt) saves the last complete step, and is raised
    again. On several machines nothing is saved then, because each is interrupted at a
    step of its own and all must resume from one: that of the checkpoint they share.

    Args:
      make_batches: Function of the number of the first batch to an iterable of batches;
        with several replicas, to a `tf.data.Dataset`.
      validate: None, or a function without arguments, called while the network has its
        averaged weights, to a dict of figures by name.
      check: None, or a function of the figures of a step that raises if they are wrong.
      progress: Whether to show a progress bar on standard error.

    Returns:
      The last figures of `validate`; an empty dict without it.

    Raises:
      FloatingPointError: If weights are no longer finite; the last checkpoint stays.
      ValueError: If the training has done more than `num_steps` steps already.
    """
    settings, done = self._settings, self._steps_done()
    if done > settings.num_steps:
      raise ValueError(
        f"The training in {self._folder.path} has {done} steps, and num_steps is"
        f" {settings.num_steps}. Ask for {done} or more, or choose another folder."
      )
    logged = self._folder.cut_log(done)
    batches = self._distributed(make_batches(done))
    bar = tqdm.tqdm(
      total=settings.num_steps, initial=done, unit="step", disable=not progress
    )
    validation = {}
    with bar, self._saved_when_interrupted():
      if done and self._is_due(done, settings.log_every):
        validation = self._validate(validate)
        if logged < done:  # The interruption came before the end of the validation.
          self._log(done, logged, validation)
          logged = done
      for step, batch in zip(range(done + 1, settings.num_steps + 1), batches):
        self._advance(batch, check)
        logs = self._is_due(step, settings.log_every)
        saves = self._is_due(step, settings.checkpoint_every)
        if logs or saves:
          self._check_finite()
        if logs:
          validation = self._validate(validate)
          mean = self._log(step, logged, validation)
          bar.set_postfix({settings.watched: f"{mean:.4f}"})
          logged = step
        if saves:
          self._save()
        bar.update()
    return validation

  def _advance(self, batch, check):
    """Makes a step, and keeps its watched figure."""
    done = self._steps_done()
    self._optimizer.learning_rate.assign(self._settings.rate_at(done))
    figures = self._train_step(batch)
    if check is not None:
      check({name: float(value) for name, value in figures.items()})
    self._complete_history()

  def _complete_history(self):
    """Adds the last step, which an interruption may have kept from the history."""
    if len(self.history) < self._steps_done():
      self.history.append(float(self._last_figure.read_value()))

  def _is_due(self, step, every):
    return step % every == 0 or step == self._settings.num_steps

  def _steps_done(self):
    return int(self.step.read_value())

  def _validate(self, validate):
    if validate is None:
      return {}
    with self.averaged_weights():
      return validate()

  def _log(self, step, logged, validation):
    """Logs a step; returns the mean of the watched figure since step `logged`."""
    # The mean of float32 numbers, as the steps computed them.
    recent = np.asarray(self.history[logged:], np.float32)
    mean = float(np.mean(recent))
    self._folder.log(
      step,
      {self._settings.watched: mean, **validation},
      learning_rate=self._settings.rate_at(step),
    )
    return mean

  def _save(self):
    self._complete_history()
    self._saved_history.assign(self.history)
    self._manager.save(checkpoint_number=self._steps_done())

  @contextlib.contextmanager
  def _saved_when_interrupted(self) -> Iterator[None]:
    """Leaves a checkpoint of the last complete step when interrupted."""
    try:
      yield
    except KeyboardInterrupt:
      self._save_interrupted()
      raise

  def _save_interrupted(self):
    if isinstance(self._strategy, tf.distribute.MultiWorkerMirroredStrategy):
      return
    if bool(self._is_averaged.read_value()):
      self._exchange_weights()
    step = self._steps_done()
    latest = self._manager.latest_checkpoint
    if step == 0 or (latest and latest.endswith(f"-{step}")):
      return
    try:
      self._check_finite()
    except FloatingPointError as error:
      _LOG.warning("The interrupted training is not saved: %s", error)
      return
    self._save()

  def _check_finite(self):
    """Raises before a checkpoint of weights that are lost replaces a good one."""
    if all(np.isfinite(np.asarray(weight)).all() for weight in self.network.weights):
      return
    step, before = self._steps_done(), self._manager.latest_checkpoint
    where = (
      "there is no checkpoint yet"
      if before is None
      else f"{before} is the last good one"
    )
    raise FloatingPointError(
      f"The training diverged: weights are not finite at step {step}; {where}. Resume"
      " with a smaller learning_rate, which may change within a training (now"
      f" {self._settings.rate_at(step):g}), or start again in another folder."
    )

  @contextlib.contextmanager
  def averaged_weights(self) -> Iterator[None]:
    """Gives the network its averaged weights within the block."""
    self._exchange_weights()
    try:
      yield
    finally:
      self._exchange_weights()

  @tf.function(autograph=False)
  def _exchange_weights(self):
    """Exchanges all weights and their averages, and notes it, in one call.

    An interruption thus finds them exchanged or not, and never in between.
    """
    for one, other in zip(self.network.weights, self._average):
      value = tf.identity(one.value)
      one.assign(tf.identity(other))
      other.assign(value)
    self._is_averaged.assign(tf.logical_not(self._is_averaged))

  def _distributed(self, batches):
    if self._strategy.num_replicas_in_sync == 1:
      return batches
    return self._strategy.experimental_distribute_dataset(batches)

  @tf.function(autograph=False)
  def _train_step(self, batch):
    figures = self._strategy.run(self._replica_step, args=(batch,))
    self.step.assign_add(1)
    # A short memory at first, or the first weights would linger.
    step = tf.cast(self.step, tf.float32)
    decay = tf.minimum(self._settings.averaging, (1 + step) / (10 + step))
    for mean, variable in zip(self._average, self.network.weights):
      value = tf.cast(tf.identity(variable.value), mean.dtype)
      mean.assign(decay * tf.identity(mean) + (1 - decay) * value)
    mean = tf.distribute.ReduceOp.MEAN
    figures = {n: self._strategy.reduce(mean, v, axis=None) for n, v in figures.items()}
    self._last_figure.assign(figures[self._settings.watched])
    return figures

  def _replica_step(self, batch):
    """Averages the gradients of all replicas' shares of a batch, and applies them."""
    replica = tf.distribute.get_replica_context()
    with tf.GradientTape() as tape:
      loss, figures = self._loss(
        batch, step=self.step, replica=replica.replica_id_in_sync_group
      )
    variables = self.network.trainable_variables
    gradients = tape.gradient(loss, _values(variables))
    if self._strategy.num_replicas_in_sync > 1:
      gradients = replica.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
    gradients, _ = tf.clip_by_global_norm(gradients, self._settings.clip_norm)
    self._optimizer.apply(gradients, variables)
    return {**figures, "loss": loss}


def check_batch_size(
  batch_size: int, strategy: tf.distribute.Strategy | None = None
) -> None:
  """Raises ValueError if batches cannot be split over the replicas of a strategy."""
  num_replicas = (strategy or tf.distribute.get_strategy()).num_replicas_in_sync
  if batch_size % num_replicas:
    raise ValueError(
      f"Batches of {batch_size} cannot be split over {num_replicas} replicas. Choose a"
      " multiple of their number."
    )


def _values(variables):
  """Returns the TensorFlow variables of Keras variables."""
  return [v.value for v in variables]
