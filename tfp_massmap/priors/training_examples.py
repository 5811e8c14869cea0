"""Training examples from convergence maps: crops, symmetries, noise.

Denoising score matching (Remy et al. 2022, section 4.1) shows a network x + sigma n and
sigma, and asks it for x. Example number i depends on the seed and i alone, so a training
run can go on where it stopped.
"""

import dataclasses

import numpy as np
import tensorflow as tf

_NUM_SYMMETRIES = 8


@dataclasses.dataclass(frozen=True)
class HalfNormalSigma:
  """sigma = |N(0, std^2)|, the law of the paper (section 5.2).

  Attributes:
    std: positive.
  """

  std: float

  def __post_init__(self):
    if not self.std > 0:
      raise ValueError(f"std must be positive; got {self.std}.")

  def sample(self, seed):
    """One sigma, float32 scalar."""
    return self.std * tf.abs(tf.random.stateless_normal([], seed))


@dataclasses.dataclass(frozen=True)
class LogUniformSigma:
  """log sigma uniform between the logarithms of two bounds.

  Attributes:
    low, high: 0 < low <= high.
  """

  low: float
  high: float

  def __post_init__(self):
    if not 0 < self.low <= self.high:
      raise ValueError(f"0 < low <= high is needed; got {self.low} and {self.high}.")

  def sample(self, seed):
    """One sigma, float32 scalar."""
    share = tf.random.stateless_uniform([], seed)
    return self.low * (self.high / self.low) ** share


def training_examples(
  maps,
  crop_shape,
  *,
  batch_size,
  sigma_law,
  seed,
  first_batch=0,
  periodic=False,
  subtract_mean=True,
):
  """Endless batches of noisy crops.

  Args:
    maps: float array `[n, ny, nx]`, of which each example takes one at random; or a
      `tf.data.Dataset` of maps `[ny, nx]` (or of dicts with `kappa`, as tfds gives
      them), which is repeated in its own order, one example a map.
    crop_shape: `(height, width)`.
    batch_size: examples in a batch.
    sigma_law: an object with `sample(seed)`, such as `LogUniformSigma`.
    seed: integer.
    first_batch: number of the first batch, to resume.
    periodic: whether the maps are tori, so that crops may reach over their edges.
    subtract_mean: whether crops lose their mean, which shear does not show.

  Returns:
    A `tf.data.Dataset` of dicts of float32 tensors: `clean` and `noisy`
    `[batch, height, width]`, `sigma` `[batch]`.

  Raises:
    ValueError: for maps that are not `[n, ny, nx]`, hold values that are not finite, or
      are smaller than the crops; or a batch size that is not positive.
  """
  if batch_size < 1 or first_batch < 0:
    raise ValueError(
      "batch_size must be positive and first_batch not negative; got"
      f" {batch_size} and {first_batch}."
    )
  source = _dataset_source if isinstance(maps, tf.data.Dataset) else _array_source
  numbered = source(maps, crop_shape, seed, first_batch * batch_size)

  def make(number, kappa):
    seeds = _seeds(seed, number)
    clean = _crop(kappa, crop_shape, seeds[0], periodic)
    clean = _turn(clean, seeds[1])
    if subtract_mean:
      clean -= tf.reduce_mean(clean)
    sigma = tf.cast(sigma_law.sample(seeds[2]), tf.float32)
    noise = tf.random.stateless_normal(tf.shape(clean), seeds[3])
    clean = tf.ensure_shape(clean, crop_shape)
    return dict(clean=clean, noisy=clean + sigma * noise, sigma=sigma)

  examples = numbered.map(make, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
  return examples.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def _array_source(maps, crop_shape, seed, first):
  maps = np.asarray(maps)
  if maps.ndim != 3 or not len(maps):
    raise ValueError(f"maps must be [n, ny, nx]; got shape {maps.shape}.")
  if not np.isfinite(maps).all():
    raise ValueError("maps have values that are not finite.")
  _check_crop(maps.shape[1:], crop_shape)
  stored = tf.constant(maps, tf.float32)

  def pick(number):
    index = tf.random.stateless_uniform(
      [], _seeds(seed, number)[4], maxval=len(maps), dtype=tf.int32
    )
    return number, stored[index]

  return tf.data.Dataset.range(first, np.iinfo(np.int64).max).map(pick)


def _dataset_source(maps, crop_shape, seed, first):
  del seed  # The order is the data set's own.
  spec = maps.element_spec
  if isinstance(spec, dict):
    if "kappa" not in spec:
      raise ValueError(f"The examples have no feature kappa; they have {sorted(spec)}.")
    maps = maps.map(lambda example: example["kappa"])
    spec = maps.element_spec
  if spec.shape.rank != 2 or not spec.shape.is_fully_defined():
    raise ValueError(f"Each example must be one map [ny, nx]; got shape {spec.shape}.")
  _check_crop(spec.shape, crop_shape)
  maps = maps.map(lambda kappa: tf.cast(kappa, tf.float32))
  return maps.repeat().enumerate().skip(first)


def _check_crop(shape, crop_shape):
  if any(crop > side for crop, side in zip(crop_shape, shape)) or min(crop_shape) < 1:
    raise ValueError(
      f"Crops of {tuple(crop_shape)} do not fit into maps of {tuple(shape)}."
    )
  if crop_shape[0] != crop_shape[1]:
    raise ValueError(
      f"Crops must be square, since they are also transposed; got {tuple(crop_shape)}."
    )


def _seeds(seed, number):
  """Independent stateless seeds of one example, int `[5, 2]`."""
  seed = tf.random.fold_in(tf.constant([seed, 0], tf.int64), number)
  return tf.random.split(seed, 5)


def _crop(kappa, crop_shape, seed, periodic):
  shape = kappa.shape
  places = []
  for axis, seed in enumerate(tf.unstack(tf.random.split(seed, 2))):
    side, crop = shape[axis], crop_shape[axis]
    last = side if periodic else side - crop + 1
    start = tf.random.stateless_uniform([], seed, maxval=last, dtype=tf.int32)
    places.append((start + tf.range(crop)) % side)
  return tf.gather(tf.gather(kappa, places[0], axis=0), places[1], axis=1)


def _turn(kappa, seed):
  """One of the eight symmetries of the square."""
  which = tf.random.stateless_uniform([], seed, maxval=_NUM_SYMMETRIES, dtype=tf.int32)
  kappa = tf.cond(which & 1 > 0, lambda: kappa[::-1], lambda: kappa)
  kappa = tf.cond(which & 2 > 0, lambda: kappa[:, ::-1], lambda: kappa)
  return tf.cond(which & 4 > 0, lambda: tf.transpose(kappa), lambda: kappa)
