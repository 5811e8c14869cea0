"""DeepMass: a network trained to give the posterior mean in one evaluation.

Jeffrey et al. (2020), as used by Remy et al. (2022, sections 3.4 and 7.2.2). From the
Wiener map w and the signal-to-noise ratio of every pixel, a U-net F gives

  kappa = w + s F([w / s, s N^-1/2], typical noise),

with s the standard deviation of a pixel under the prior. Trained on the squared error,
it tends to the mean of kappa given the Wiener map and the noise: a check on the mean of
samples.
"""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import os
import pathlib
import typing

from astropy import units as u
import keras
import numpy as np
import tensorflow as tf

from tfp_massmap import devices
from tfp_massmap import gaussian_posterior
from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import priors
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.baselines import mass_map
from tfp_massmap.baselines import noise_propagation
from tfp_massmap.nn import architectures
from tfp_massmap.nn import muon
from tfp_massmap.nn import network_file
from tfp_massmap.nn import training_folder
from tfp_massmap.nn import training_loop

_CARD = ("architecture", "spectrum", "pixel_scale_arcmin", "pixel_std")
# Relative residual of the Wiener filter: far below the error of the network.
_RTOL = 1e-4
_CLIP_NORM = 1.0  # Gradients are scaled down to this global norm.
# Fields that the standard deviation of a pixel is estimated from, and their seed.
_NUM_FIELDS, _FIELD_SEED = 8, (0, 0)
_SHAPE = (360, 360)  # Of the examples, that of the COSMOS field.
# Half the weights of the prior's default network: the posterior mean is smooth.
ARCHITECTURE = architectures.Architecture(channels=(32, 64, 96), num_blocks=(1, 1, 2))


@dataclasses.dataclass(frozen=True)
class DeepMassSettings:
  """The settings with which a model is trained.

  Attributes:
    num_steps: Length of the training.
    batch_size: Maps in a step.
    learning_rate: Learning rate at first; it falls to 0 along a cosine.
    averaging: Decay per step of the exponential moving average of the weights, in
      [0, 1).
    mixed_precision: Whether convolutions compute in bfloat16.
    seed: Seed of examples and first weights.
    checkpoint_every: Steps between checkpoints, and between lines of the log.

  Raises:
    ValueError: If a number is not positive, or the averaging outside of [0, 1).
  """

  num_steps: int = 3000
  batch_size: int = 4
  _: dataclasses.KW_ONLY
  learning_rate: float = 2e-3
  averaging: float = 0.995
  mixed_precision: bool = False
  seed: int = 0
  checkpoint_every: int = 200

  def __post_init__(self) -> None:
    for name in ("num_steps", "batch_size", "learning_rate", "checkpoint_every"):
      if not getattr(self, name) > 0:
        raise ValueError(f"{name} must be positive; got {getattr(self, name)}.")
    if not 0 <= self.averaging < 1:
      raise ValueError(f"averaging must lie in [0, 1); got {self.averaging}.")


_MAY_CHANGE = ("num_steps", "learning_rate", "checkpoint_every")


def estimate(
  shear_map: shear_map_lib.ShearMap,
  model: str | os.PathLike = "cosmos-deepmass",
  *,
  compute_dtype: str = "auto",
) -> mass_map.MassMap:
  """Returns the posterior mean by a trained network.

  Args:
    shear_map: `shear_map.ShearMap`.
    model: Name of a model that ships, or path of one that `train` wrote.
    compute_dtype: As `priors.HybridPrior.load`.

  Raises:
    TypeError: If `shear_map` is not a `ShearMap`.
    FileNotFoundError: If a file of the model is missing.
    ValueError: If the model cannot be read, or the pixels have another size than those
      of its training.
    RuntimeError: If the Wiener filter does not converge.
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
  shear_map: shear_map_lib.ShearMap,
  model: str | os.PathLike = "cosmos-deepmass",
  *,
  compute_dtype: str = "auto",
  num_realisations: int = 16,
  seed: int = 0,
) -> np.ndarray:
  """Returns the noise propagated through the network, float32 `[ny, nx]`.

  It is the scatter of the estimate under new noise on its own shear. The bias of the
  network is not included, so that it is smaller than the error, and than the width of
  the posterior, of which DeepMass gives the mean alone.

  Args:
    shear_map: `shear_map.ShearMap`.
    model: As `estimate`.
    compute_dtype: As `estimate`.
    num_realisations: Number of noise realisations, at least 2; the relative error of a
      pixel is (2 (num_realisations - 1))^-1/2.
    seed: Seed of the noise.

  Raises:
    ValueError: For fewer than two realisations; this and other errors as `estimate`.
  """
  reconstruct, _ = _reconstructor(shear_map, model, compute_dtype)
  return noise_propagation.standard_deviation(
    reconstruct, shear_map, num_realisations=num_realisations, seed=seed
  )


def _reconstructor(shear_map, model, compute_dtype):
  """Returns the function of shear `[batch, 2, ny, nx]` to convergence, and the card."""
  mass_map.check_shear_map(shear_map, "DeepMass")
  card, weights_path = network_file.find(model, "deepmass", needed=_CARD)
  mismatch = geometry.pixel_scale_mismatch(shear_map.grid, card["pixel_scale_arcmin"])
  if mismatch is not None:
    raise ValueError(
      f"The model was {mismatch}. Bin the catalogue again, or train a model."
    )
  architecture = architectures.Architecture(**card["architecture"])
  network = architectures.build(
    architecture, devices.resolve_compute_dtype(compute_dtype)
  )
  network.load_weights(weights_path)
  spectrum = spectra.PowerSpectrum(**card["spectrum"])
  prior = priors.GaussianPrior.from_spectrum(spectrum, shear_map.grid)
  _, weight = noise_propagation.weighted_data(shear_map)
  weight, pixel_std = weight[tf.newaxis], card["pixel_std"]

  def reconstruct(shear):
    wiener, iterations, residual = _wiener(shear, weight, variance=prior.mode_variance)
    _check_converged(iterations, residual)
    output = network(_inputs(wiener, weight, pixel_std=pixel_std), training=False)
    return wiener + pixel_std * tf.cast(output, wiener.dtype)

  return reconstruct, card


def train(
  maps: np.ndarray,
  survey: simulate.Survey | shear_map_lib.ShearMap,
  *,
  spectrum: spectra.PowerSpectrum,
  pixel_scale: u.Quantity,
  folder: str | os.PathLike,
  settings: DeepMassSettings = DeepMassSettings(),
  shape: tuple[int, int] | None = None,
  architecture: architectures.Architecture = ARCHITECTURE,
  progress: bool = True,
) -> float:
  """Trains a model on mock observations, or resumes its training, and writes it.

  Args:
    maps: Simulated convergence maps, `[n, ny, nx]`, of at least the size of the fields.
      They must be tori, as those of `simulate.ConvergenceSimulator`, because fields are
      cut across their edges.
    survey: `simulate.Survey`; every example has holes and galaxies of its own. Or a
      `shear_map.ShearMap`, whose mask and noise every example has.
    spectrum: `spectra.PowerSpectrum` of the maps, for the Wiener filter.
    pixel_scale: Side of a pixel, an angle.
    folder: Path of the folder of checkpoints, `settings.json`, `log.csv` and the model,
      `model.json` and `model.weights.h5`. If it holds a checkpoint of the same
      arguments, the training is resumed; num_steps, learning_rate and checkpoint_every
      may differ.
    settings: `DeepMassSettings`.
    shape: `(ny, nx)` of the fields that are observed; None for 360 x 360, or the shape
      of the shear map.
    architecture: `nn.architectures.Architecture` with two inputs.
    progress: Whether to show a progress bar on standard error.

  Returns:
    The mean squared error over that of the Wiener filter, in the mask, of the last
    tenth of the steps, those before an interruption included.

  Raises:
    ValueError: If the maps are smaller than the fields, the shear map has another shape
      or pixel scale, the architecture has not two inputs, or the folder holds a training
      with other arguments or more steps.
    RuntimeError: If the Wiener filter of a batch does not converge.
    FloatingPointError: If weights are no longer finite; the last checkpoint stays.
  """
  observed = _observed(survey, shape, u.Quantity(pixel_scale))
  grid = observed.grid
  _check_examples(maps, grid.shape, architecture)
  circumstances = dict(num_maps=len(maps), survey=observed.description)
  notes = _open_folder(
    folder,
    dict(
      architecture=dataclasses.asdict(architecture), shape=grid.shape, **circumstances
    ),
    settings=settings,
    field=training_folder.describe_field(spectrum, grid),
  )
  prior = priors.GaussianPrior.from_spectrum(spectrum, grid)
  fields = prior.sample([_NUM_FIELDS], seed=_FIELD_SEED).numpy()
  loss = _Loss(architecture, prior, settings=settings, pixel_std=float(fields.std()))
  loop = _make_loop(loss, notes, settings)
  loop.run(
    lambda first: _batches(maps, observed, settings=settings, first=first),
    check=lambda figures: _check_converged(figures["iterations"], figures["residual"]),
    progress=progress,
  )
  ratio = float(np.mean(loop.history[-max(1, settings.num_steps // 10) :]))
  record = dict(settings=dataclasses.asdict(settings), **circumstances)
  card = dict(
    kind="deepmass",
    architecture=dataclasses.asdict(architecture),
    spectrum=dict(
      ell=spectrum.ell.tolist(), c_ell=spectrum.c_ell.tolist(), name=spectrum.name
    ),
    pixel_scale_arcmin=grid.pixel_scale.value,
    pixel_std=loss.pixel_std,
    training=dict(record, squared_error_over_wiener=ratio),
  )
  with loop.averaged_weights():
    network_file.save(
      pathlib.Path(folder) / "model", loss.network, card=card, overwrite=True
    )
  return ratio


class _Observed(typing.NamedTuple):
  """The way in which examples are observed.

  Attributes:
    grid: Their `geometry.PixelGrid`.
    description: The survey in words, by which a training is resumed.
    observe: Function of a convergence map and a seed to a `shear_map.ShearMap`.
  """

  grid: geometry.PixelGrid
  description: str
  observe: Callable[[np.ndarray, int], shear_map_lib.ShearMap]


def _observed(survey, shape, pixel_scale):
  """Returns how examples of a survey, or of a shear map, are observed."""
  if not isinstance(survey, shear_map_lib.ShearMap):
    grid = geometry.PixelGrid(shape or _SHAPE, pixel_scale)
    return _Observed(
      grid,
      str(survey),
      lambda kappa, seed: simulate.mock_observation(
        kappa, grid, survey=survey, seed=seed
      ),
    )
  given = float(pixel_scale.to_value(u.arcmin))
  mismatch = geometry.pixel_scale_mismatch(survey.grid, given)
  if mismatch is not None or shape not in (None, survey.grid.shape):
    raise ValueError(
      "The examples are observed with mask and noise of the shear map, which has"
      f" {survey.grid.shape} pixels of {survey.grid.pixel_scale:g}; got shape = {shape}"
      f" and pixel_scale = {pixel_scale:g}."
    )
  return _Observed(
    survey.grid,
    f"mask and noise {survey.noise_checksum()[:16]}",
    lambda kappa, seed: simulate.observe_like(kappa, survey, seed=seed),
  )


def _check_examples(maps, shape, architecture):
  size = np.shape(maps)[1:]
  if len(size) != 2 or not len(maps) or size[0] < shape[0] or size[1] < shape[1]:
    raise ValueError(
      f"maps must be [n, ny, nx], of at least {shape[0]} x {shape[1]} pixels, as the"
      f" fields that are observed; got shape {np.shape(maps)}."
    )
  if architecture.num_inputs != 2:
    raise ValueError(
      "The network has two input maps, Wiener filter and signal-to-noise ratio:"
      f" architecture.num_inputs must be 2; got {architecture.num_inputs}."
    )


def _open_folder(folder, described, *, settings, field):
  own = dataclasses.asdict(settings)
  fixed = {name: value for name, value in own.items() if name not in _MAY_CHANGE}
  return training_folder.TrainingFolder(
    folder,
    {**described, **field, **fixed},
    changeable={name: own[name] for name in _MAY_CHANGE},
  )


def _make_loop(loss, folder, settings):
  schedule = keras.optimizers.schedules.CosineDecay(
    settings.learning_rate, settings.num_steps
  )
  return training_loop.TrainingLoop(
    loss.network,
    muon.Muon(settings.learning_rate),
    loss=loss,
    folder=folder,
    settings=training_loop.LoopSettings(
      settings.num_steps,
      lambda step: float(schedule(step)),
      averaging=settings.averaging,
      clip_norm=_CLIP_NORM,
      checkpoint_every=settings.checkpoint_every,
      log_every=settings.checkpoint_every,
      watched="squared_error_over_wiener",
    ),
  )


def _batches(
  maps, observed, *, settings, first
) -> Iterator[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
  """Yields convergence, shear and inverse variance of batches, fixed by number."""
  for step in range(first, settings.num_steps):
    examples = [
      _example(maps, observed, np.random.default_rng([settings.seed, step, index]))
      for index in range(settings.batch_size)
    ]
    yield tuple(tf.constant(np.stack(a).astype(np.float32)) for a in zip(*examples))


def _example(maps, observed, rng):
  """Returns convergence, shear and inverse variance of an example."""
  kappa = maps[rng.integers(len(maps))]
  kappa = np.roll(kappa, rng.integers(kappa.shape), axis=(0, 1))
  rows, columns = observed.grid.shape
  kappa = kappa[:rows, :columns]
  kappa = kappa[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
  mock = observed.observe(kappa, int(rng.integers(2**31)))
  shear, weight = noise_propagation.weighted_data(mock)
  return kappa - kappa.mean(), shear, weight


@tf.function(autograph=False)
def _wiener(shear, weight, *, variance):
  """Returns the Wiener filter of a batch, iterations done and relative residual.

  The mean of the maps is removed, because shear does not constrain it.
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


def _inputs(wiener, weight, *, pixel_std):
  """Returns the inputs of the network: channels and typical noise."""
  mean_weight = tf.reduce_mean(weight, axis=1)
  observed = tf.cast(mean_weight > 0, weight.dtype)
  typical = tf.reduce_sum(mean_weight, axis=(1, 2))
  typical /= tf.reduce_sum(observed, axis=(1, 2))
  channels = tf.stack([wiener / pixel_std, pixel_std * tf.sqrt(mean_weight)], axis=-1)
  return [channels, tf.math.rsqrt(typical)]


class _Loss:
  """The squared error of the network's map, a loss function of `nn.training_loop`.

  It also returns the squared error over that of the Wiener filter, in the mask, and how
  far the Wiener filter converged.
  """

  def __init__(self, architecture, prior, *, settings, pixel_std):
    keras.utils.set_random_seed(settings.seed)
    dtype = "bfloat16" if settings.mixed_precision else "float32"
    self.network = architectures.build(architecture, dtype)
    self.pixel_std = pixel_std
    self._variance = prior.mode_variance

  def __call__(self, batch, *, step, replica):
    del step, replica  # The batch is all that the loss depends on.
    kappa, shear, weight = batch
    wiener, iterations, residual = _wiener(shear, weight, variance=self._variance)
    inputs = _inputs(wiener, weight, pixel_std=self.pixel_std)
    output = tf.cast(self.network(inputs, training=True), wiener.dtype)
    before = (wiener - kappa) / self.pixel_std
    error = tf.square(before + output)
    observed = tf.cast(weight[:, 0] > 0, error.dtype)
    ratio = tf.reduce_sum(observed * error)
    ratio /= tf.reduce_sum(observed * tf.square(before))
    return tf.reduce_mean(error), dict(
      squared_error_over_wiener=ratio,
      iterations=tf.cast(iterations, error.dtype),
      residual=residual,
    )
