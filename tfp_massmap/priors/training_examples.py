"""Training examples from convergence maps: crops, symmetries, noise.

Denoising score matching (Remy et al. 2022, section 4.1) gives a network x + sigma n and
sigma, and asks it for x. Example number i depends on the seed and i alone, so that a
training can be resumed where it stopped.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses

import numpy as np
import tensorflow as tf

from tfp_massmap.priors import noise_laws

_NUM_SYMMETRIES = 8  # Symmetries of the square.
# Independent random choices of an example: place, symmetry, sigma, noise and map.
_NUM_CHOICES = 5


@dataclasses.dataclass(frozen=True)
class ExampleSettings:
  """The settings with which examples are made of maps.

  Attributes:
    crop_shape: `(height, width)` of the crops, equal, since crops are also transposed.
    batch_size: Examples in a batch.
    sigma_law: `noise_laws.NoiseLaw`.
    seed: Seed of all random choices.
    periodic: Whether the maps are tori, so that crops may reach across their edges.

  Raises:
    ValueError: If the crops are not square, or the batch size is not positive.
  """

  crop_shape: tuple[int, int]
  batch_size: int
  _: dataclasses.KW_ONLY
  sigma_law: noise_laws.NoiseLaw
  seed: int
  periodic: bool = False

  def __post_init__(self) -> None:
    if self.batch_size < 1:
      raise ValueError(f"batch_size must be positive; got {self.batch_size}.")
    if self.crop_shape[0] != self.crop_shape[1] or self.crop_shape[0] < 1:
      raise ValueError(
        "Crops must be square, since they are also transposed; got"
        f" {tuple(self.crop_shape)}."
      )


def training_examples(
  maps: np.ndarray | tf.data.Dataset,
  settings: ExampleSettings,
  *,
  first_batch: int = 0,
) -> tf.data.Dataset:
  """Returns endless batches of noisy crops.

  Args:
    maps: Float array `[n, ny, nx]`, of which each example takes one at random; or a
      `tf.data.Dataset` of maps `[ny, nx]` (or of dicts with `kappa`, as tfds gives
      them), which is repeated in its own order, one example a map.
    settings: `ExampleSettings`.
    first_batch: Number of the first batch, to resume.

  Returns:
    A `tf.data.Dataset` of dicts of float32 tensors: `clean` and `noisy`
    `[batch, height, width]`, `sigma` `[batch]`.

  Raises:
    ValueError: If the maps are not `[n, ny, nx]`, hold values that are not finite or
      are smaller than the crops.
  """
  source = _dataset_source if isinstance(maps, tf.data.Dataset) else _array_source
  numbered = source(maps, settings, first_batch * settings.batch_size)
  return _batches(numbered.map(lambda number, kappa: (number, kappa, {})), settings)


def survey_examples(
  maps: Sequence[np.ndarray],
  settings: ExampleSettings,
  *,
  map_std: np.ndarray,
  first_survey: int = 0,
  first_batch: int = 0,
) -> tf.data.Dataset:
  """Returns endless batches of noisy crops of maps that belong to different surveys.

  Args:
    maps: Maps `[ny, nx]` of any sizes, one of each survey.
    settings: `ExampleSettings`, in which sigma is that of a network, see
      `priors.conditions`.
    map_std: Sigma of a map over that of the network, `[n]`.
    first_survey: Number of the survey of the first map.
    first_batch: Number of the first batch, to resume.

  Returns:
    As `training_examples`, with sigma that of the maps, and `survey`, int32 `[batch]`.

  Raises:
    ValueError: If a map has values that are not finite or is smaller than the crops.
  """
  for kappa in maps:
    if not np.isfinite(kappa).all():
      raise ValueError("maps have values that are not finite.")
    _check_crop(np.shape(kappa), settings.crop_shape)
  pixels = tf.constant(np.concatenate([np.ravel(kappa) for kappa in maps]), tf.float32)
  shapes = np.array([np.shape(kappa) for kappa in maps])
  ends = np.cumsum(shapes.prod(axis=1))
  starts, ends, shapes = (
    tf.constant(values, tf.int64)
    for values in (ends - shapes.prod(axis=1), ends, shapes)
  )
  factors = tf.constant(map_std, tf.float32)

  def pick(number):
    index = _random_index(settings, number, len(maps))
    kappa = tf.reshape(pixels[starts[index] : ends[index]], shapes[index])
    return number, kappa, dict(survey=first_survey + index, factor=factors[index])

  numbers = _numbers(first_batch * settings.batch_size)
  return _batches(numbers.map(pick), settings)


def _batches(numbered, settings):
  """Returns batches of examples, from numbers, maps and what is known of them."""
  examples = numbered.map(
    _example_function(settings),
    num_parallel_calls=tf.data.AUTOTUNE,
    deterministic=True,
  )
  batches = examples.batch(settings.batch_size, drop_remainder=True)
  return batches.prefetch(tf.data.AUTOTUNE)


def _example_function(settings: ExampleSettings) -> Callable:
  """Returns the function of a number and a map to an example."""

  def make(number, kappa, about):
    seeds = _seeds(settings.seed, number)
    clean = _crop(kappa, settings.crop_shape, seed=seeds[0], periodic=settings.periodic)
    clean = _turn(clean, seeds[1])
    sigma = tf.cast(settings.sigma_law.sample(seeds[2]), tf.float32)
    about = dict(about)
    sigma *= about.pop("factor", 1.0)
    noise = tf.random.stateless_normal(tf.shape(clean), seeds[3])
    clean = tf.ensure_shape(clean, settings.crop_shape)
    return dict(clean=clean, noisy=clean + sigma * noise, sigma=sigma, **about)

  return make


def _array_source(maps, settings, first):
  maps = np.asarray(maps)
  if maps.ndim != 3 or not len(maps):
    raise ValueError(f"maps must be [n, ny, nx]; got shape {maps.shape}.")
  if not np.isfinite(maps).all():
    raise ValueError("maps have values that are not finite.")
  _check_crop(maps.shape[1:], settings.crop_shape)
  stored = tf.constant(maps, tf.float32)

  return _numbers(first).map(
    lambda number: (number, stored[_random_index(settings, number, len(maps))])
  )


def _dataset_source(maps, settings, first):
  spec = maps.element_spec
  if isinstance(spec, dict):
    if "kappa" not in spec:
      raise ValueError(f"The examples have no feature kappa; they have {sorted(spec)}.")
    maps = maps.map(lambda example: example["kappa"])
    spec = maps.element_spec
  if spec.shape.rank != 2 or not spec.shape.is_fully_defined():
    raise ValueError(f"Each example must be one map [ny, nx]; got shape {spec.shape}.")
  _check_crop(spec.shape, settings.crop_shape)
  maps = maps.map(lambda kappa: tf.cast(kappa, tf.float32))
  return maps.repeat().enumerate().skip(first)


def _check_crop(shape, crop_shape):
  if any(crop > side for crop, side in zip(crop_shape, shape)):
    raise ValueError(
      f"Crops of {tuple(crop_shape)} do not fit into maps of {tuple(shape)}."
    )


def _numbers(first):
  return tf.data.Dataset.range(first, np.iinfo(np.int64).max)


def _random_index(settings, number, num_maps):
  seed = _seeds(settings.seed, number)[4]
  return tf.random.stateless_uniform([], seed, maxval=num_maps, dtype=tf.int32)


def _seeds(seed, number):
  """Returns independent stateless seeds of one example, int `[5, 2]`."""
  seed = tf.random.fold_in(tf.constant([seed, 0], tf.int64), number)
  return tf.random.split(seed, _NUM_CHOICES)


def _crop(kappa, crop_shape, *, seed, periodic):
  shape = tf.shape(kappa)
  places = []
  for axis, axis_seed in enumerate(tf.unstack(tf.random.split(seed, 2))):
    side, crop = shape[axis], crop_shape[axis]
    last = side if periodic else side - crop + 1
    start = tf.random.stateless_uniform([], axis_seed, maxval=last, dtype=tf.int32)
    places.append((start + tf.range(crop)) % side)
  return tf.gather(tf.gather(kappa, places[0], axis=0), places[1], axis=1)


def _turn(kappa, seed):
  """Returns the map under one of the eight symmetries of the square, at random."""
  which = tf.random.stateless_uniform([], seed, maxval=_NUM_SYMMETRIES, dtype=tf.int32)
  kappa = tf.cond(which & 1 > 0, lambda: kappa[::-1], lambda: kappa)
  kappa = tf.cond(which & 2 > 0, lambda: kappa[:, ::-1], lambda: kappa)
  return tf.cond(which & 4 > 0, lambda: tf.transpose(kappa), lambda: kappa)
