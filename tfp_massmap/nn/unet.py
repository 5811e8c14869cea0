"""Bodies of two residual U-nets, which `nn.architectures` names and builds.

Each takes padded maps `[batch, ny, nx, channels]` and sigma `[batch]` as Keras tensors
and returns one channel, `[batch, ny, nx, 1]`.
"""

import typing

from keras import KerasTensor
from keras import Variable
from keras import layers

from tfp_massmap.nn import layers as nn_layers
from tfp_massmap.nn import spectral_norm

if typing.TYPE_CHECKING:
  from tfp_massmap.nn import architectures

# Width of the layer that turns sigma into the features every block scales with, and of
# the two that turn sigma and the conditions into further ones.
_NOISE_CHANNELS = 64
_CONDITION_CHANNELS = (128, 64)
_CONDITIONS = "conditions"  # Layers of the conditions have names that begin so.


def modulated_body(
  architecture: "architectures.Architecture",
  maps: KerasTensor,
  *,
  sigma: KerasTensor,
  conditions: KerasTensor | None = None,
) -> KerasTensor:
  """Returns the output of the default U-net.

  Pixels are grouped by 2 x 2 into channels, so that all convolutions work at half the
  resolution or below. Sigma and the conditions scale and shift the channels of every
  block (Perez et al. 2018).

  Args:
    architecture: `architectures.Architecture`.
    maps: `[batch, ny, nx, channels]`, sides a multiple of the coarsest pixel.
    sigma: `[batch]`, positive.
    conditions: None, or numbers of order one that describe the maps, `[batch, n]`.
  """
  waves = nn_layers.NoiseFeatures()(sigma)
  noise = layers.Dense(_NOISE_CHANNELS, activation="silu")(waves)
  if conditions is not None:
    further = layers.Concatenate()([waves, conditions])
    for number, width in enumerate(_CONDITION_CHANNELS):
      name = f"{_CONDITIONS}_{number}"
      further = layers.Dense(width, activation="silu", name=name)(further)
    noise = layers.Concatenate()([noise, further])
  x = nn_layers.SpaceToDepth()(maps)
  x = _convolution(architecture, architecture.channels[0])(x)
  levels = list(zip(architecture.channels, architecture.num_blocks))
  skips = []
  for channels, num_blocks in levels[:-1]:
    for _ in range(num_blocks):
      x = _modulated_block(architecture, x, noise=noise, channels=channels)
    skips.append(x)
    x = layers.AveragePooling2D(2)(x)
  channels, num_blocks = levels[-1]
  for _ in range(2 * num_blocks):
    x = _modulated_block(architecture, x, noise=noise, channels=channels)
  for channels, num_blocks in reversed(levels[:-1]):
    x = _convolution(architecture, channels, size=1)(x)
    x = layers.UpSampling2D(2)(x) + skips.pop()
    for _ in range(num_blocks):
      x = _modulated_block(architecture, x, noise=noise, channels=channels)
  x = layers.Activation(architecture.activation)(x)
  # The last layer starts at zero: training starts from the Gaussian denoiser.
  return nn_layers.DepthToSpace()(
    layers.Conv2D(4, 3, padding="same", kernel_initializer="zeros")(x)
  )


def is_of_conditions(weight: Variable) -> bool:
  """Returns whether a weight belongs to a layer that conditional networks alone have.

  Args:
    weight: Keras variable of a network.
  """
  return weight.path.split("/")[-2].startswith(_CONDITIONS)


def paper_body(
  architecture: "architectures.Architecture",
  maps: KerasTensor,
  *,
  sigma: KerasTensor,
  conditions: None = None,
) -> KerasTensor:
  """Returns the output of the U-net of Remy et al. (2022, appendix C).

  It follows Ronneberger et al. (2015) and He et al. (2016): residual blocks of two
  convolutions with batch normalisation, average pooling, a map of sigma beside the
  input and beside that of the bottleneck, and an output divided by sigma.

  Args:
    architecture: `architectures.Architecture`.
    maps: `[batch, ny, nx, channels]`, sides a multiple of the coarsest pixel.
    sigma: `[batch]`, positive.
    conditions: None: this network has no place for them.
  """
  del conditions
  x = nn_layers.ConcatenateSigma()([maps, sigma])
  levels = list(zip(architecture.channels, architecture.num_blocks))
  skips = []
  for channels, num_blocks in levels[:-1]:
    for _ in range(num_blocks):
      x = _normalised_block(architecture, x, channels=channels, num_convolutions=2)
    skips.append(x)
    x = layers.AveragePooling2D(2)(x)
  x = nn_layers.ConcatenateSigma()([x, sigma])
  channels, num_blocks = levels[-1]
  for _ in range(num_blocks):
    x = _normalised_block(architecture, x, channels=channels, num_convolutions=3)
  for channels, num_blocks in reversed(levels[:-1]):
    x = _bounded(architecture, layers.Conv2DTranspose(channels, 2, strides=2))(x)
    x = layers.Concatenate()([x, skips.pop()])
    for _ in range(num_blocks):
      x = _normalised_block(architecture, x, channels=channels, num_convolutions=2)
  x = _convolution(architecture, 1)(x)
  return x / sigma[:, None, None, None]


def _modulated_block(architecture, x, *, noise, channels):
  shortcut = x
  if x.shape[-1] != channels:
    shortcut = _convolution(architecture, channels, size=1)(x)
  h = layers.Activation(architecture.activation)(x)
  h = _convolution(architecture, channels)(h)
  factors = layers.Dense(2 * channels, kernel_initializer="zeros")(noise)
  factors = layers.Reshape([1, 1, 2 * channels])(factors)
  h = h * (1 + factors[..., :channels]) + factors[..., channels:]
  h = layers.Activation(architecture.activation)(h)
  return shortcut + _convolution(architecture, channels)(h)


def _normalised_block(architecture, x, *, channels, num_convolutions):
  shortcut = _convolution(architecture, channels, size=1)(x)
  for index in range(num_convolutions):
    x = _convolution(architecture, channels)(x)
    x = layers.BatchNormalization()(x)
    if index < num_convolutions - 1:
      x = layers.Activation(architecture.activation)(x)
  return layers.Activation(architecture.activation)(x + shortcut)


def _convolution(architecture, channels, *, size=3):
  return _bounded(architecture, layers.Conv2D(channels, size, padding="same"))


def _bounded(architecture, layer):
  """Returns the layer with the architecture's bound on its spectral norm, if any."""
  if architecture.spectral_bound is None:
    return layer
  return spectral_norm.SpectralBound(layer, architecture.spectral_bound)
