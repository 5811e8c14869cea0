"""Noise-conditional residual U-nets for maps of any size (Keras 3).

A network maps channels `[batch, ny, nx, c]` and sigma `[batch]` to one channel
`[batch, ny, nx]`. Maps are padded to a multiple of the coarsest pixel by reflection and
cropped at the end. There are two presets:

  paper    Remy et al. (2022), appendix C, after Ronneberger et al. (2015) and He et al.
           (2016): residual blocks of two convolutions with batch normalisation and
           ReLU, average pooling, 32-64-128-128 channels, a map of sigma beside the
           inputs (map and Gaussian score, Eq. 23) and the input of the bottleneck,
           output divided by sigma.
  default  pixels in groups of 2 x 2 as channels, so that all convolutions work at half
           the resolution or below; 48-96-128 channels; sigma scales and shifts the
           channels of every block (Perez et al. 2018).
"""

import contextlib
import dataclasses
import math

import keras
from keras import layers
import tensorflow as tf

from tfp_massmap.nn import spectral_norm


@dataclasses.dataclass(frozen=True)
class Architecture:
  """What decides a network's layers.

  Attributes:
    kind: "default" or "paper".
    channels: of the levels, the finest first.
    num_blocks: residual blocks on the way down, and on the way up, of each level.
    num_inputs: channels of the input.
    activation: name of a Keras activation.
    spectral_bound: largest spectral norm of a convolution (`nn.spectral_norm`); None for
      no bound.
  """

  kind: str = "default"
  channels: tuple = (48, 96, 128)
  _: dataclasses.KW_ONLY
  num_blocks: tuple = (2, 2, 2)
  num_inputs: int = 2
  activation: str = "relu"
  spectral_bound: float | None = None

  def __post_init__(self):
    object.__setattr__(self, "channels", tuple(self.channels))
    object.__setattr__(self, "num_blocks", tuple(self.num_blocks))
    if self.kind not in ("default", "paper"):
      raise ValueError(f"kind must be 'default' or 'paper'; got {self.kind!r}.")
    if len(self.channels) != len(self.num_blocks) or not self.channels:
      raise ValueError(
        "channels and num_blocks need one number for each level; got"
        f" {self.channels} and {self.num_blocks}."
      )
    if min(self.channels) < 1 or min(self.num_blocks) < 1 or self.num_inputs < 1:
      raise ValueError(f"Channels, blocks and inputs must be positive; got {self}.")

  @property
  def coarsening(self):
    """Side of the coarsest pixel in pixels of the map."""
    return 2 ** (len(self.channels) - (1 if self.kind == "paper" else 0))


PRESETS = {
  "default": Architecture(),
  "paper": Architecture(
    kind="paper",
    channels=(32, 64, 128, 128),
    num_blocks=(1, 1, 1, 1),
    spectral_bound=1.0,
  ),
}


def resolve(architecture):
  """An `Architecture`, or that of a preset's name; ValueError for the name of none."""
  if not isinstance(architecture, str):
    return architecture
  if architecture not in PRESETS:
    raise ValueError(f"The presets are {sorted(PRESETS)}; got {architecture!r}.")
  return PRESETS[architecture]


def build(architecture, compute_dtype="float32"):
  """A Keras model of `[maps, sigma]`.

  Args:
    architecture: `Architecture`, or the name of a preset.
    compute_dtype: "float32", or "bfloat16" for convolutions in bfloat16; weights are
      float32.

  Returns:
    A `keras.Model`: maps `[batch, ny, nx, num_inputs]` and sigma `[batch]`, positive, to
    `[batch, ny, nx]`.

  Raises:
    ValueError: for the name of no preset, or another dtype.
  """
  if compute_dtype not in ("float32", "bfloat16"):
    raise ValueError(
      f"compute_dtype must be 'float32' or 'bfloat16'; got {compute_dtype!r}."
    )
  architecture = resolve(architecture)
  policy = "mixed_bfloat16" if compute_dtype == "bfloat16" else "float32"
  with _policy(policy):
    return _build(architecture)


@contextlib.contextmanager
def _policy(name):
  """Keras's dtype policy within the block."""
  before = keras.config.dtype_policy()
  keras.config.set_dtype_policy(name)
  try:
    yield
  finally:
    keras.config.set_dtype_policy(before)


def _build(architecture):
  body = _default if architecture.kind == "default" else _paper
  maps = keras.Input([None, None, architecture.num_inputs], name="maps")
  sigma = keras.Input([], name="sigma")
  padded = Pad(architecture.coarsening)(maps)
  output = Crop()([body(architecture, padded, sigma), maps])
  return keras.Model([maps, sigma], output[..., 0], name=f"unet_{architecture.kind}")


@keras.saving.register_keras_serializable("tfp_massmap")
class Pad(layers.Layer):
  """Reflects maps at their far edges, up to a multiple of `multiple` pixels."""

  def __init__(self, multiple, **kwargs):
    super().__init__(**kwargs)
    self.multiple = multiple

  def call(self, maps):
    ny, nx = tf.shape(maps)[1], tf.shape(maps)[2]
    margins = [[0, 0], [0, -ny % self.multiple], [0, -nx % self.multiple], [0, 0]]
    return tf.pad(maps, margins, mode="REFLECT")

  def compute_output_shape(self, input_shape):
    return (input_shape[0], None, None, input_shape[3])


@keras.saving.register_keras_serializable("tfp_massmap")
class Crop(layers.Layer):
  """The first of two inputs, in the map size of the second."""

  def call(self, inputs):
    maps, like = inputs
    shape = tf.shape(like)
    return maps[:, : shape[1], : shape[2]]

  def compute_output_shape(self, input_shapes):
    return (*input_shapes[1][:3], input_shapes[0][3])


@keras.saving.register_keras_serializable("tfp_massmap")
class SpaceToDepth(layers.Layer):
  """Makes channels of each group of 2 x 2 pixels."""

  def call(self, maps):
    return tf.nn.space_to_depth(maps, 2)

  def compute_output_shape(self, input_shape):
    batch, ny, nx, channels = input_shape
    half = [None if n is None else n // 2 for n in (ny, nx)]
    return (batch, *half, 4 * channels)


@keras.saving.register_keras_serializable("tfp_massmap")
class DepthToSpace(layers.Layer):
  """Inverse of `SpaceToDepth`."""

  def call(self, maps):
    return tf.nn.depth_to_space(maps, 2)

  def compute_output_shape(self, input_shape):
    batch, ny, nx, channels = input_shape
    double = [None if n is None else 2 * n for n in (ny, nx)]
    return (batch, *double, channels // 4)


@keras.saving.register_keras_serializable("tfp_massmap")
class NoiseFeatures(layers.Layer):
  """Sines and cosines of log sigma, `[batch, 2 num]`."""

  def __init__(self, num=32, **kwargs):
    super().__init__(**kwargs)
    self.num = num

  def call(self, sigma):
    frequencies = tf.exp(tf.linspace(math.log(0.2), math.log(4.0), self.num))
    phase = tf.math.log(sigma)[:, tf.newaxis] * tf.cast(frequencies, sigma.dtype)
    return tf.concat([tf.sin(phase), tf.cos(phase)], axis=-1)

  def compute_output_shape(self, input_shape):
    return (input_shape[0], 2 * self.num)


def _convolution(architecture, channels, size=3):
  return _bounded(architecture, layers.Conv2D(channels, size, padding="same"))


def _bounded(architecture, layer):
  if architecture.spectral_bound is None:
    return layer
  return spectral_norm.SpectralBound(layer, architecture.spectral_bound)


def _default(architecture, maps, sigma):
  noise = layers.Dense(64, activation="silu")(NoiseFeatures()(sigma))
  x = SpaceToDepth()(maps)
  x = _convolution(architecture, architecture.channels[0])(x)
  levels = list(zip(architecture.channels, architecture.num_blocks))
  skips = []
  for channels, num_blocks in levels[:-1]:
    for _ in range(num_blocks):
      x = _modulated_block(architecture, x, noise, channels)
    skips.append(x)
    x = layers.AveragePooling2D(2)(x)
  channels, num_blocks = levels[-1]
  for _ in range(2 * num_blocks):
    x = _modulated_block(architecture, x, noise, channels)
  for channels, num_blocks in reversed(levels[:-1]):
    x = _convolution(architecture, channels, 1)(x)
    x = layers.UpSampling2D(2)(x) + skips.pop()
    for _ in range(num_blocks):
      x = _modulated_block(architecture, x, noise, channels)
  x = layers.Activation(architecture.activation)(x)
  # Zeros at first: training starts from the Gaussian denoiser.
  return DepthToSpace()(
    layers.Conv2D(4, 3, padding="same", kernel_initializer="zeros")(x)
  )


def _modulated_block(architecture, x, noise, channels):
  shortcut = x
  if x.shape[-1] != channels:
    shortcut = _convolution(architecture, channels, 1)(x)
  h = layers.Activation(architecture.activation)(x)
  h = _convolution(architecture, channels)(h)
  factors = layers.Dense(2 * channels, kernel_initializer="zeros")(noise)
  factors = layers.Reshape([1, 1, 2 * channels])(factors)
  h = h * (1 + factors[..., :channels]) + factors[..., channels:]
  h = layers.Activation(architecture.activation)(h)
  return shortcut + _convolution(architecture, channels)(h)


@keras.saving.register_keras_serializable("tfp_massmap")
class ConcatenateSigma(layers.Layer):
  """Adds a channel of constant sigma."""

  def call(self, inputs):
    maps, sigma = inputs
    channel = tf.zeros_like(maps[..., :1]) + tf.cast(
      sigma[:, tf.newaxis, tf.newaxis, tf.newaxis], maps.dtype
    )
    return tf.concat([maps, channel], axis=-1)

  def compute_output_shape(self, input_shapes):
    return (*input_shapes[0][:3], input_shapes[0][3] + 1)


def _paper(architecture, maps, sigma):
  x = ConcatenateSigma()([maps, sigma])
  levels = list(zip(architecture.channels, architecture.num_blocks))
  skips = []
  for channels, num_blocks in levels[:-1]:
    for _ in range(num_blocks):
      x = _normalised_block(architecture, x, channels, 2)
    skips.append(x)
    x = layers.AveragePooling2D(2)(x)
  x = ConcatenateSigma()([x, sigma])
  channels, num_blocks = levels[-1]
  for _ in range(num_blocks):
    x = _normalised_block(architecture, x, channels, 3)
  for channels, num_blocks in reversed(levels[:-1]):
    x = _bounded(architecture, layers.Conv2DTranspose(channels, 2, strides=2))(x)
    x = layers.Concatenate()([x, skips.pop()])
    for _ in range(num_blocks):
      x = _normalised_block(architecture, x, channels, 2)
  x = _convolution(architecture, 1)(x)
  return x / sigma[:, None, None, None]


def _normalised_block(architecture, x, channels, num_convolutions):
  shortcut = _convolution(architecture, channels, 1)(x)
  for index in range(num_convolutions):
    x = _convolution(architecture, channels)(x)
    x = layers.BatchNormalization()(x)
    if index < num_convolutions - 1:
      x = layers.Activation(architecture.activation)(x)
  return layers.Activation(architecture.activation)(x + shortcut)
