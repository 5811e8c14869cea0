"""DeepMass: a network trained to give the posterior mean in one evaluation.

Jeffrey et al. (2020), as used by Remy et al. (2022, sections 3.4 and 7.2.2). From the
Wiener map w and the signal-to-noise ratio of every pixel, a U-net F gives

  kappa = w + s F([w / s, s N^-1/2], typical noise),

s the standard deviation of a pixel of the prior. Trained on the squared error, it tends
to the mean of kappa given the Wiener map and the noise: the check on the mean of samples.
"""

import dataclasses
import json
import pathlib

from astropy import units as u
import keras
import numpy as np
import tensorflow as tf
import tqdm

from tfp_massmap import devices
from tfp_massmap import gaussian_posterior
from tfp_massmap import geometry
from tfp_massmap import io
from tfp_massmap import lensing
from tfp_massmap import priors
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.baselines import mass_map
from tfp_massmap.baselines import noise_propagation
from tfp_massmap.nn import muon
from tfp_massmap.nn import network_file
from tfp_massmap.nn import unet

_CARD = ("architecture", "spectrum", "pixel_scale_arcmin", "pixel_std")
_RTOL = 1e-4
ARCHITECTURE = unet.Architecture(channels=(32, 64, 96), num_blocks=(1, 1, 2))


@dataclasses.dataclass(frozen=True)
class DeepMassSettings:
  """How to train.

  Attributes:
    num_steps, batch_size: length of the training, and maps in a step.
    learning_rate: at first; falls to 0 along a cosine.
    averaging: decay per step of the exponential moving average of the weights, in
      [0, 1).
    mixed_precision: whether convolutions compute in bfloat16.
    seed: of examples and first weights.
    checkpoint_every: steps between checkpoints.

  Raises:
    ValueError: for a number that is not positive, or an averaging outside of [0, 1).
  """

  num_steps: int = 3000
  batch_size: int = 4
  _: dataclasses.KW_ONLY
  learning_rate: float = 2e-3
  averaging: float = 0.995
  mixed_precision: bool = False
  seed: int = 0
  checkpoint_every: int = 200

  def __post_init__(self):
    for name in ("num_steps", "batch_size", "learning_rate", "checkpoint_every"):
      if not getattr(self, name) > 0:
        raise ValueError(f"{name} must be positive; got {getattr(self, name)}.")
    if not 0 <= self.averaging < 1:
      raise ValueError(f"averaging must lie in [0, 1); got {self.averaging}.")


_MAY_CHANGE = ("num_steps", "learning_rate", "checkpoint_every")


def estimate(shear_map, model="cosmos-deepmass", *, compute_dtype="auto"):
  """Posterior mean by a trained network.

  Args:
    shear_map: `shear_map.ShearMap`.
    model: name of a model that ships, or path of one that `train` wrote.
    compute_dtype: as `priors.HybridPrior.load`.

  Returns:
    A `MassMap`.

  Raises:
    TypeError: for what is no `ShearMap`.
    FileNotFoundError, ValueError: as `nn.network_file.find`; or for pixels of another
      size than those of the training.
    RuntimeError: if the Wiener filter does not converge.
  """
  reconstruct, card = _reconstructor(shear_map, model, compute_dtype)
  shear, _ = noise_propagation.weighted_data(shear_map)
  return mass_map.MassMap(
    reconstruct(shear[tf.newaxis])[0].numpy(),
    shear_map.grid,
    method="deepmass",
    settings=dict(model=pathlib.Path(model).name, weights=card["weights_sha256"][:16]),
  )


def standard_deviation(
  shear_map,
  model="cosmos-deepmass",
  *,
  compute_dtype="auto",
  num_realisations=16,
  seed=0,
):
  """Noise propagated through the network, `[ny, nx]`.

  New noise on the shear of the estimate itself. What the network takes from the signal
  is not in it: it is less than the error, and than the width of the posterior, of which
  DeepMass knows the mean only.

  Args:
    shear_map, model, compute_dtype: as `estimate`.
    num_realisations: at least 2; the relative error of a pixel is
      (2 (num_realisations - 1))^-1/2.
    seed: integer.

  Raises:
    TypeError, FileNotFoundError, ValueError, RuntimeError: as `estimate`; ValueError for
      fewer than two realisations.
  """
  reconstruct, _ = _reconstructor(shear_map, model, compute_dtype)
  return noise_propagation.standard_deviation(
    reconstruct, shear_map, num_realisations=num_realisations, seed=seed
  )


def _reconstructor(shear_map, model, compute_dtype):
  """Function of shear `[batch, 2, ny, nx]` to convergence, and the model's card."""
  mass_map.check_shear_map(shear_map, "DeepMass")
  card, weights_path = network_file.find(model, "deepmass", needed=_CARD)
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
  prior = priors.GaussianPrior.from_spectrum(spectrum, shear_map.grid)
  _, weight = noise_propagation.weighted_data(shear_map)
  weight, pixel_std = weight[tf.newaxis], card["pixel_std"]

  def reconstruct(shear):
    wiener, iterations, residual = _wiener(shear, weight, prior.mode_variance)
    _check_converged(iterations, residual)
    output = network(_inputs(wiener, weight, pixel_std), training=False)
    return wiener + pixel_std * tf.cast(output, wiener.dtype)

  return reconstruct, card


def train(
  maps,
  survey,
  *,
  spectrum,
  pixel_scale,
  folder,
  settings=DeepMassSettings(),
  shape=(360, 360),
  architecture=ARCHITECTURE,
  progress=True,
):
  """Trains a model on mock observations, or goes on with it, and writes it.

  Args:
    maps: simulated convergence maps, `[n, ny, nx]`, of at least the size of the fields.
      They must be tori, as those of `simulate.ConvergenceSimulator`: fields are cut
      across their edges.
    survey: `simulate.Survey`; every example has holes and galaxies of its own.
    spectrum: `spectra.PowerSpectrum` of the maps, for the Wiener filter.
    pixel_scale: angle.
    folder: of checkpoints, `settings.json` and the model, `model.json` and
      `model.weights.h5`. If it holds a checkpoint of the same arguments, but for
      num_steps, learning_rate and checkpoint_every, the training goes on there.
    settings: `DeepMassSettings`.
    shape: of the fields that are observed.
    architecture: `nn.unet.Architecture` with two inputs.
    progress: whether to show a progress bar.

  Returns:
    Mean squared error over that of the Wiener filter, in the mask, of the last tenth
    of the steps, those before an interruption included.

  Raises:
    ValueError: for maps smaller than the fields, an architecture without two inputs, a
      folder of a training with other arguments, or one that has done more steps.
    RuntimeError: if the Wiener filter of a batch does not converge.
  """
  folder = pathlib.Path(folder)
  _check_examples(maps, shape, architecture)
  grid = geometry.PixelGrid(shape, u.Quantity(pixel_scale))
  described = dict(
    architecture=dataclasses.asdict(architecture),
    spectrum=dict(
      ell=spectrum.ell.tolist(), c_ell=spectrum.c_ell.tolist(), name=spectrum.name
    ),
    pixel_scale_arcmin=grid.pixel_scale.value,
  )
  training = dict(num_maps=len(maps), survey=str(survey))
  own = dataclasses.asdict(settings)
  _check_folder(
    folder,
    {
      **described,
      **training,
      "shape": grid.shape,
      **{name: value for name, value in own.items() if name not in _MAY_CHANGE},
    },
  )  # pyformat: disable
  prior = priors.GaussianPrior.from_spectrum(spectrum, grid)
  trainer = _Trainer(prior, architecture, settings, folder)
  first = int(trainer.step)
  for step in tqdm.trange(
    first,
    settings.num_steps,
    initial=first,
    total=settings.num_steps,
    disable=not progress,
    unit="step",
  ):
    trainer.advance(*_examples(maps, survey, grid, settings, step))
  ratio = float(np.mean(trainer.ratios[-max(1, settings.num_steps // 10) :]))
  card = dict(
    kind="deepmass",
    **described,
    pixel_std=trainer.pixel_std,
    training=dict(settings=own, **training, squared_error_over_wiener=ratio),
  )
  with trainer.averaged_weights() as network:
    network_file.save(folder / "model", network, card=card, overwrite=True)
  return ratio


def _check_examples(maps, shape, architecture):
  size = np.shape(maps)[1:]
  if len(size) != 2 or not len(maps) or size[0] < shape[0] or size[1] < shape[1]:
    raise ValueError(
      f"maps must be [n, ny, nx], of at least {shape[0]} x {shape[1]} pixels, as the"
      f" fields that are observed; got shape {np.shape(maps)}."
    )
  if architecture.num_inputs != 2:
    raise ValueError(
      "The network sees two maps, Wiener filter and signal-to-noise ratio:"
      f" architecture.num_inputs must be 2; got {architecture.num_inputs}."
    )


def _check_folder(folder, record):
  """Keeps the arguments of a training beside its checkpoints, and compares them."""
  path = folder / "settings.json"
  record = json.loads(json.dumps(record))
  if path.exists():
    before = json.loads(path.read_text(encoding="utf-8"))
    differ = sorted(name for name in record if before.get(name) != record[name])
    if differ:
      raise ValueError(
        f"{folder} has a training with another {' and '.join(differ)}. Choose another"
        " folder, or the same arguments to go on with it."
      )
    return
  if (folder / "checkpoints").exists():
    raise ValueError(
      f"{folder} has checkpoints but no settings.json that says of what. Choose"
      " another folder."
    )
  with io.atomic_path(path) as partial:
    pathlib.Path(partial).write_text(json.dumps(record, indent=1), encoding="utf-8")


def _examples(maps, survey, grid, settings, step):
  """Convergence, shear and inverse variance of a batch that depends on the step alone."""
  kappas, shears, weights = [], [], []
  for index in range(settings.batch_size):
    rng = np.random.default_rng([settings.seed, step, index])
    kappa = maps[rng.integers(len(maps))]
    kappa = np.roll(kappa, rng.integers(kappa.shape), axis=(0, 1))
    kappa = kappa[: grid.shape[0], : grid.shape[1]]
    kappa = kappa[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    mock = simulate.mock_observation(
      kappa, grid, survey=survey, seed=rng.integers(2**31)
    )
    shear, weight = noise_propagation.weighted_data(mock)
    kappas.append(kappa - kappa.mean())
    shears.append(shear)
    weights.append(weight)
  return (np.stack(values).astype(np.float32) for values in (kappas, shears, weights))


@tf.function(autograph=False)
def _wiener(shear, weight, variance):
  """Wiener filter of a batch, iterations done and relative residual.

  The mean of the maps is removed: shear does not know it.
  """
  right_side = lensing.modes_from_shear(weight * shear)
  weighted = gaussian_posterior.Weighted(weight)
  modes, iterations, residual = gaussian_posterior.solve(
    weighted, variance, right_side=right_side, rtol=_RTOL
  )
  kappa = tf.signal.irfft2d(modes, fft_length=list(weighted.shape))
  return (
    kappa - tf.reduce_mean(kappa, axis=(-2, -1), keepdims=True),
    iterations,
    residual,
  )


def _check_converged(iterations, residual):
  if not residual <= _RTOL:
    raise RuntimeError(
      f"The Wiener filter that DeepMass starts from stopped after {int(iterations)}"
      f" iterations at a relative residual of {float(residual):.2g}, above {_RTOL:g}."
      " Pixels whose noise_std is far below that of the others make it slow: mask"
      " them, or raise their noise."
    )


def _inputs(wiener, weight, pixel_std):
  """Channels and typical noise that the network sees."""
  mean_weight = tf.reduce_mean(weight, axis=1)
  seen = tf.cast(mean_weight > 0, weight.dtype)
  typical = tf.reduce_sum(mean_weight, axis=(1, 2)) / tf.reduce_sum(seen, axis=(1, 2))
  channels = tf.stack([wiener / pixel_std, pixel_std * tf.sqrt(mean_weight)], axis=-1)
  return [channels, tf.math.rsqrt(typical)]


class _Trainer:
  """Network, optimizer and averaged weights, restored from the last checkpoint.

  `ratios` has the squared error over that of the Wiener filter of every step so far.
  """

  def __init__(self, prior, architecture, settings, folder):
    keras.utils.set_random_seed(settings.seed)
    dtype = "bfloat16" if settings.mixed_precision else "float32"
    self._network = unet.build(architecture, dtype)
    self._optimizer = muon.Muon(
      keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.num_steps)
    )
    self._optimizer.build(self._network.trainable_variables)
    self._average = [
      tf.Variable(tf.identity(w.value), trainable=False) for w in self._network.weights
    ]
    self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
    self._saved_ratios = tf.Variable(tf.zeros([0]), trainable=False, shape=[None])
    self._prior, self._settings = prior, settings
    self.pixel_std = float(prior.sample([8], seed=(0, 0)).numpy().std())
    checkpoint = tf.train.Checkpoint(
      weights=[w.value for w in self._network.weights],
      average=self._average,
      optimizer=[v.value for v in self._optimizer.variables],
      step=self.step,
      ratios=self._saved_ratios,
    )
    self._manager = tf.train.CheckpointManager(
      checkpoint, str(folder / "checkpoints"), max_to_keep=1
    )
    if self._manager.latest_checkpoint:
      checkpoint.restore(self._manager.latest_checkpoint).assert_consumed()
    self.ratios = self._saved_ratios.numpy().tolist()
    if int(self.step) > settings.num_steps:
      raise ValueError(
        f"{folder} has a training of {int(self.step)} steps; got num_steps ="
        f" {settings.num_steps}. Ask for at least as many, or choose another folder."
      )

  def advance(self, kappa, shear, weight):
    """One step, and a checkpoint if it is due."""
    batch = (tf.constant(a) for a in (kappa, shear, weight))
    ratio, iterations, residual = self._train_step(*batch)
    _check_converged(iterations, residual)
    self.ratios.append(float(ratio))
    step = int(self.step)
    if step % self._settings.checkpoint_every == 0 or step == self._settings.num_steps:
      self._saved_ratios.assign(self.ratios)
      self._manager.save(checkpoint_number=step)

  @tf.function(autograph=False)
  def _train_step(self, kappa, shear, weight):
    wiener, iterations, residual = _wiener(shear, weight, self._prior.mode_variance)
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
    ratio = tf.reduce_sum(seen * error) / tf.reduce_sum(seen * before)
    return ratio, iterations, residual

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
