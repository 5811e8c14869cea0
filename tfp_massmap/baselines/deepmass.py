"""DeepMass: a network trained to give the posterior mean in one evaluation.

Jeffrey et al. (2020), as used by Remy et al. (2022, sections 3.4 and 7.2.2). From the
Wiener map w and the signal-to-noise ratio of every pixel, a U-net F gives

  kappa = w + s F([w / s, s N^-1/2], typical noise),

s the standard deviation of a pixel of the prior. Trained on the squared error, it tends
to the mean of kappa given the Wiener map and the noise: the check on the mean of samples.
"""

import dataclasses
import pathlib

from astropy import units as u
import keras
import numpy as np
import tensorflow as tf
import tqdm

from tfp_massmap import gaussian_posterior
from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import prior as prior_lib
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.baselines import mass_map
from tfp_massmap.nn import devices
from tfp_massmap.nn import muon
from tfp_massmap.nn import network_file
from tfp_massmap.nn import unet

_CARD = ("architecture", "spectrum", "pixel_scale_arcmin", "pixel_std")
ARCHITECTURE = unet.Architecture(channels=(32, 64, 96), num_blocks=(1, 1, 2))


@dataclasses.dataclass(frozen=True)
class DeepMassSettings:
  """How to train.

  Attributes:
    num_steps, batch_size: length of the training, and maps in a step.
    learning_rate: at first; falls to 0 along a cosine.
    averaging: decay per step of the exponential moving average of the weights.
    mixed_precision: whether convolutions compute in bfloat16.
    seed: of examples and first weights.
    checkpoint_every: steps between checkpoints.
  """

  num_steps: int = 3000
  batch_size: int = 4
  learning_rate: float = 2e-3
  averaging: float = 0.995
  mixed_precision: bool = False
  seed: int = 0
  checkpoint_every: int = 200


def estimate(shear_map, model="cosmos-deepmass", compute_dtype="auto"):
  """Posterior mean by a trained network.

  Args:
    shear_map: `shear_map.ShearMap`.
    model: name of a model that ships, or path of one that `train` wrote.
    compute_dtype: as `hybrid_prior.HybridPrior.load`.

  Returns:
    A `MassMap`.

  Raises:
    FileNotFoundError, ValueError: as `nn.network_file.find`; or for pixels of another
      size than those of the training.
  """
  card, weights_path = network_file.find(model, "deepmass", _CARD)
  given = shear_map.grid.pixel_scale.to_value(u.arcmin)
  if abs(given / card["pixel_scale_arcmin"] - 1) > 0.02:
    raise ValueError(
        f"The model was trained on pixels of {card['pixel_scale_arcmin']:.4g} arcmin;"
        f" got {given:.4g} arcmin. Bin the catalogue anew, or train a model."
    )
  architecture = unet.Architecture(**card["architecture"])
  network = unet.build(architecture, devices.resolve_compute_dtype(compute_dtype))
  network.load_weights(weights_path)
  spectrum = spectra.PowerSpectrum(**card["spectrum"])
  prior = prior_lib.GaussianPrior.from_spectrum(spectrum, shear_map.grid)
  shear, weight = (tf.constant(a[np.newaxis]) for a in _data(shear_map))
  kappa = _mean(network, prior, card["pixel_std"], shear, weight)[0]
  return mass_map.MassMap(
      kappa.numpy(), shear_map.grid, "deepmass",
      dict(model=pathlib.Path(model).name, weights=card["weights_sha256"][:16]),
  )


def train(maps, survey, spectrum, pixel_scale, folder, settings=DeepMassSettings(),
          shape=(360, 360), architecture=ARCHITECTURE, progress=True):
  """Trains a model on mock observations, or goes on with it, and writes it.

  Args:
    maps: simulated convergence maps, tori, `[n, ny, nx]`.
    survey: `simulate.Survey`; every example has holes and galaxies of its own.
    spectrum: `spectra.PowerSpectrum` of the maps, for the Wiener filter.
    pixel_scale: angle.
    folder: of checkpoints and of the model, `model.json` and `model.weights.h5`.
    settings: `DeepMassSettings`.
    shape: of the fields that are observed.
    architecture: `nn.unet.Architecture` with two inputs.
    progress: whether to show a progress bar.

  Returns:
    Mean squared error over that of the Wiener filter, in the mask, of the last tenth
    of the steps.
  """
  folder = pathlib.Path(folder)
  grid = geometry.PixelGrid(shape, u.Quantity(pixel_scale))
  prior = prior_lib.GaussianPrior.from_spectrum(spectrum, grid)
  trainer = _Trainer(prior, architecture, settings, folder)
  ratios = []
  first = int(trainer.step)
  for step in tqdm.trange(
      first, settings.num_steps, initial=first, total=settings.num_steps,
      disable=not progress, unit="step",
  ):
    ratios.append(trainer.advance(*_examples(maps, survey, grid, settings, step)))
  tail = ratios[-max(1, settings.num_steps // 10) :]
  ratio = float(np.mean(tail)) if tail else float("nan")
  card = dict(
      kind="deepmass",
      architecture=dataclasses.asdict(architecture),
      spectrum=dict(
          ell=spectrum.ell.tolist(), c_ell=spectrum.c_ell.tolist(), name=spectrum.name
      ),
      pixel_scale_arcmin=grid.pixel_scale.value,
      pixel_std=trainer.pixel_std,
      training=dict(
          settings=dataclasses.asdict(settings), num_maps=len(maps), survey=str(survey),
          squared_error_over_wiener=ratio,
      ),
  )
  with trainer.averaged_weights() as network:
    network_file.save(folder / "model", network, card, overwrite=True)
  return ratio


def _data(shear_map):
  """Shear and inverse variance of a map, float32, zero outside of the mask."""
  mask = shear_map.mask
  noise_std = np.where(mask, shear_map.noise_std, 1)
  shear = np.where(mask, shear_map.shear, 0).astype(np.float32)
  return shear, (mask / noise_std**2).astype(np.float32)


def _examples(maps, survey, grid, settings, step):
  """Convergence, shear and inverse variance of a batch that depends on the step alone."""
  kappas, shears, weights = [], [], []
  for index in range(settings.batch_size):
    rng = np.random.default_rng([settings.seed, step, index])
    kappa = maps[rng.integers(len(maps))]
    kappa = np.roll(kappa, rng.integers(kappa.shape), axis=(0, 1))
    kappa = kappa[: grid.shape[0], : grid.shape[1]]
    kappa = kappa[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    mock = simulate.mock_observation(kappa, grid, survey, rng.integers(2**31))
    shear, weight = _data(mock)
    kappas.append(kappa - kappa.mean())
    shears.append(shear)
    weights.append(weight)
  return (np.stack(values).astype(np.float32) for values in (kappas, shears, weights))


def _wiener(prior, shear, weight):
  """Wiener filter of a batch, mean removed: shear does not know it."""
  right_side = lensing.modes_from_shear(weight * shear)
  modes, _, _ = gaussian_posterior.solve(
      gaussian_posterior.Weighted(weight), prior.mode_variance, right_side, rtol=1e-4
  )
  kappa = tf.signal.irfft2d(modes, fft_length=list(prior.shape))
  return kappa - tf.reduce_mean(kappa, axis=(-2, -1), keepdims=True)


def _inputs(wiener, weight, pixel_std):
  """Channels and typical noise that the network sees."""
  mean_weight = tf.reduce_mean(weight, axis=1)
  seen = tf.cast(mean_weight > 0, weight.dtype)
  typical = tf.reduce_sum(mean_weight, axis=(1, 2)) / tf.reduce_sum(seen, axis=(1, 2))
  channels = tf.stack([wiener / pixel_std, pixel_std * tf.sqrt(mean_weight)], axis=-1)
  return [channels, tf.math.rsqrt(typical)]


def _mean(network, prior, pixel_std, shear, weight):
  wiener = _wiener(prior, shear, weight)
  output = network(_inputs(wiener, weight, pixel_std), training=False)
  return wiener + pixel_std * tf.cast(output, wiener.dtype)


class _Trainer:
  """Network, optimizer and averaged weights, restored from the last checkpoint."""

  def __init__(self, prior, architecture, settings, folder):
    keras.utils.set_random_seed(settings.seed)
    dtype = "bfloat16" if settings.mixed_precision else "float32"
    self._network = unet.build(architecture, dtype)
    self._optimizer = muon.Muon(
        keras.optimizers.schedules.CosineDecay(
            settings.learning_rate, settings.num_steps
        )
    )
    self._optimizer.build(self._network.trainable_variables)
    self._average = [
        tf.Variable(tf.identity(w.value), trainable=False) for w in self._network.weights
    ]
    self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
    self._prior, self._settings = prior, settings
    self.pixel_std = float(prior.sample([8], seed=(0, 0)).numpy().std())
    checkpoint = tf.train.Checkpoint(
        weights=[w.value for w in self._network.weights],
        average=self._average,
        optimizer=[v.value for v in self._optimizer.variables],
        step=self.step,
    )
    self._manager = tf.train.CheckpointManager(
        checkpoint, str(folder / "checkpoints"), max_to_keep=1
    )
    if self._manager.latest_checkpoint:
      checkpoint.restore(self._manager.latest_checkpoint).assert_consumed()

  def advance(self, kappa, shear, weight):
    """One step; squared error over that of the Wiener filter, in the mask."""
    ratio = self._train_step(*(tf.constant(a) for a in (kappa, shear, weight)))
    step = int(self.step)
    if step % self._settings.checkpoint_every == 0 or step == self._settings.num_steps:
      self._manager.save(checkpoint_number=step)
    return float(ratio)

  @tf.function
  def _train_step(self, kappa, shear, weight):
    wiener = _wiener(self._prior, shear, weight)
    inputs = _inputs(wiener, weight, self.pixel_std)
    with tf.GradientTape() as tape:
      output = tf.cast(self._network(inputs, training=True), wiener.dtype)
      error = tf.square((wiener - kappa) / self.pixel_std + output)
      loss = tf.reduce_mean(error)
    variables = self._network.trainable_variables
    gradients = tape.gradient(loss, [v.value for v in variables])
    gradients, _ = tf.clip_by_global_norm(gradients, 1.0)
    self._optimizer.apply(gradients, variables)
    self.step.assign_add(1)
    step = tf.cast(self.step, tf.float32)
    decay = tf.minimum(self._settings.averaging, (1 + step) / (10 + step))
    for mean, variable in zip(self._average, self._network.weights):
      value = tf.cast(tf.identity(variable.value), mean.dtype)
      mean.assign(decay * tf.identity(mean) + (1 - decay) * value)
    seen = tf.cast(weight[:, 0] > 0, error.dtype)
    before = tf.square((wiener - kappa) / self.pixel_std)
    return tf.reduce_sum(seen * error) / tf.reduce_sum(seen * before)

  def averaged_weights(self):
    return _Averaged(self._network, self._average)


class _Averaged:
  """Context in which a network has other weights."""

  def __init__(self, network, average):
    self._network, self._average = network, average

  def __enter__(self):
    self._own = [tf.identity(w.value) for w in self._network.weights]
    for weight, value in zip(self._network.weights, self._average):
      weight.assign(tf.identity(value))
    return self._network

  def __exit__(self, *unused):
    for weight, value in zip(self._network.weights, self._own):
      weight.assign(value)
