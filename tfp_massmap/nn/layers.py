"""Layers of the U-nets: padding, regrouping of pixels, and inputs for sigma.

Maps are `[batch, ny, nx, channels]`.
"""

import math
import typing

import keras
import tensorflow as tf

# Sigma enters as sines and cosines of log sigma at these angular frequencies. From the
# lowest, whose period is 31 e-foldings of sigma, to the highest, whose period is 1.6.
_LOWEST_FREQUENCY = 0.2
_HIGHEST_FREQUENCY = 4.0


@keras.saving.register_keras_serializable("tfp_massmap")
class Pad(keras.layers.Layer):
  """Reflects maps at their far edges, up to a multiple of `multiple` pixels.

  Args:
    multiple: Number of pixels that the sides are to be a multiple of.
    **kwargs: As `keras.layers.Layer`.
  """

  def __init__(self, multiple: int, **kwargs: typing.Any) -> None:
    super().__init__(**kwargs)
    self.multiple = multiple

  def call(self, maps: tf.Tensor) -> tf.Tensor:
    """Returns the padded maps."""
    ny, nx = tf.shape(maps)[1], tf.shape(maps)[2]
    margins = [[0, 0], [0, -ny % self.multiple], [0, -nx % self.multiple], [0, 0]]
    return tf.pad(maps, margins, mode="REFLECT")

  def compute_output_shape(self, input_shape: tuple) -> tuple:
    """Returns the shape of `call`; the sides depend on the map."""
    return (input_shape[0], None, None, input_shape[3])


@keras.saving.register_keras_serializable("tfp_massmap")
class Crop(keras.layers.Layer):
  """Cuts the first of two inputs to the map size of the second."""

  def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
    """Returns the corner of the first input that has the size of the second."""
    maps, like = inputs
    shape = tf.shape(like)
    return maps[:, : shape[1], : shape[2]]

  def compute_output_shape(self, input_shapes: list[tuple]) -> tuple:
    """Returns the shape of `call`."""
    return (*input_shapes[1][:3], input_shapes[0][3])


@keras.saving.register_keras_serializable("tfp_massmap")
class SpaceToDepth(keras.layers.Layer):
  """Makes four channels of each group of 2 x 2 pixels."""

  def call(self, maps: tf.Tensor) -> tf.Tensor:
    """Returns maps of half the side and four times the channels."""
    return tf.nn.space_to_depth(maps, 2)

  def compute_output_shape(self, input_shape: tuple) -> tuple:
    """Returns the shape of `call`."""
    batch, ny, nx, channels = input_shape
    halved = [None if n is None else n // 2 for n in (ny, nx)]
    return (batch, *halved, 4 * channels)


@keras.saving.register_keras_serializable("tfp_massmap")
class DepthToSpace(keras.layers.Layer):
  """Inverse of `SpaceToDepth`."""

  def call(self, maps: tf.Tensor) -> tf.Tensor:
    """Returns maps of twice the side and a quarter of the channels."""
    return tf.nn.depth_to_space(maps, 2)

  def compute_output_shape(self, input_shape: tuple) -> tuple:
    """Returns the shape of `call`."""
    batch, ny, nx, channels = input_shape
    doubled = [None if n is None else 2 * n for n in (ny, nx)]
    return (batch, *doubled, channels // 4)


@keras.saving.register_keras_serializable("tfp_massmap")
class NoiseFeatures(keras.layers.Layer):
  """Sines and cosines of log sigma, `[batch, 2 num]`.

  Args:
    num: Number of frequencies, evenly spaced in their logarithm.
    **kwargs: As `keras.layers.Layer`.
  """

  def __init__(self, num: int = 32, **kwargs: typing.Any) -> None:
    super().__init__(**kwargs)
    self.num = num

  def call(self, sigma: tf.Tensor) -> tf.Tensor:
    """Returns the features of `sigma`, which is `[batch]` and positive."""
    frequencies = tf.exp(
      tf.linspace(math.log(_LOWEST_FREQUENCY), math.log(_HIGHEST_FREQUENCY), self.num)
    )
    phase = tf.math.log(sigma)[:, tf.newaxis] * tf.cast(frequencies, sigma.dtype)
    return tf.concat([tf.sin(phase), tf.cos(phase)], axis=-1)

  def compute_output_shape(self, input_shape: tuple) -> tuple:
    """Returns the shape of `call`."""
    return (input_shape[0], 2 * self.num)


@keras.saving.register_keras_serializable("tfp_massmap")
class ConcatenateSigma(keras.layers.Layer):
  """Adds a channel of constant sigma to maps."""

  def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
    """Returns the maps, first of the inputs, with the channel of sigma behind."""
    maps, sigma = inputs
    channel = tf.zeros_like(maps[..., :1]) + tf.cast(
      sigma[:, tf.newaxis, tf.newaxis, tf.newaxis], maps.dtype
    )
    return tf.concat([maps, channel], axis=-1)

  def compute_output_shape(self, input_shapes: list[tuple]) -> tuple:
    """Returns the shape of `call`."""
    return (*input_shapes[0][:3], input_shapes[0][3] + 1)
