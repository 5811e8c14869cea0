"""Residual denoising score matching (Remy et al. 2022, Eq. 23 and 24).

The loss of an example is the squared error of the denoiser over c(sigma)^2, the squared
error of the Gaussian one (weighting "error", so that every sigma counts alike), or over
sigma^2, which is Eq. 24 (weighting "score").
"""

import tensorflow as tf

from tfp_massmap.priors import example_denoisers
from tfp_massmap.priors import training_settings


class DenoisingLoss:
  """The loss of a residual denoiser; a loss function of `nn.training_loop`.

  Args:
    denoiser: `example_denoisers.ExampleDenoiser`.
    settings: `training_settings.TrainingSettings`.
  """

  def __init__(
    self,
    denoiser: example_denoisers.ExampleDenoiser,
    *,
    settings: training_settings.TrainingSettings,
  ) -> None:
    self._denoiser, self._settings = denoiser, settings

  def __call__(
    self, batch: dict[str, tf.Tensor], *, step: tf.Tensor, replica: tf.Tensor
  ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Returns the loss of a training step, and no further figures.

    Args:
      batch: Examples, see `training_examples`.
      step: Number of steps done, int scalar.
      replica: Number of the replica, int scalar.
    """
    if self._settings.gaussian_share:
      batch = self.with_gaussian_fields(batch, step=step, replica=replica)
    return self.of(batch, training=True), {}

  def of(self, batch: dict[str, tf.Tensor], *, training: bool) -> tf.Tensor:
    """Returns the mean loss of a batch.

    Args:
      batch: Examples, see `training_examples`; with `is_gaussian`, bool
        `[batch, 1, 1]`, where some are Gaussian fields.
      training: Whether batch statistics of the network are used and updated.
    """
    wiener = self._denoiser.wiener(batch)
    denoised = wiener + self._denoiser.residual(batch, wiener, training=training)
    target, weight = batch["clean"], 1.0
    if "is_gaussian" in batch:
      weight = tf.where(batch["is_gaussian"], self._settings.gaussian_weight, 1.0)
      # The Wiener filter is the mean of all Gaussian fields that the noise may hide. It
      # gives the same gradient on average as the field itself, without its scatter.
      target = tf.where(batch["is_gaussian"], wiener, target)
    scale = batch["sigma"]
    if self._settings.weighting == "error":
      scale = self._denoiser.error_std(batch)
    error = (denoised - target) / scale[:, tf.newaxis, tf.newaxis]
    return tf.reduce_mean(weight * tf.square(error))

  def with_gaussian_fields(
    self,
    batch: dict[str, tf.Tensor],
    *,
    step: tf.Tensor | int,
    replica: tf.Tensor | int,
  ) -> dict[str, tf.Tensor]:
    """Returns a batch with Gaussian fields in the place of some maps.

    Seed, step and replica decide which maps are replaced, and by which fields.

    Args:
      batch: Examples, see `training_examples`.
      step: Number of steps done, int scalar.
      replica: Number of the replica, int scalar.
    """
    seed = tf.stack(
      [tf.cast(self._settings.seed, tf.int64), 1 + tf.cast(replica, tf.int64)]
    )
    seed = tf.random.fold_in(seed, step)
    choice_seed, field_seed = tf.unstack(tf.random.split(seed, 2))
    num = batch["clean"].shape[0]
    chosen = tf.random.stateless_uniform([num, 1, 1], choice_seed)
    chosen = chosen < self._settings.gaussian_share
    fields = self._denoiser.gaussian_fields(batch, field_seed)
    clean = tf.where(chosen, fields, batch["clean"])
    noisy = batch["noisy"] + (clean - batch["clean"])
    return {**batch, "clean": clean, "noisy": noisy, "is_gaussian": chosen}
