"""Network architectures by name: the place to add another one.

A new architecture is a function `body(architecture, maps, *, sigma, conditions)`, as
those of `nn.unet`, with an entry in `KINDS`, and a preset in `PRESETS` if it is to have
a name on the command line. Every network maps channels `[batch, ny, nx, c]` and sigma
`[batch]` to one channel `[batch, ny, nx]`, for maps of any size: they are padded by
reflection to a multiple of the coarsest pixel, and cropped at the end. Conditional
networks also take numbers that describe the maps, `[batch, n]`.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses

import keras
import numpy as np

from tfp_massmap.nn import layers as nn_layers
from tfp_massmap.nn import unet


@dataclasses.dataclass(frozen=True)
class Kind:
  """Properties that networks of one kind share.

  Attributes:
    body: Function of an `Architecture`, padded maps `[batch, ny, nx, c]`, `sigma`
      `[batch]` and `conditions`, `[batch, n]` or None, all Keras tensors, to
      `[batch, ny, nx, 1]`.
    own_halvings: Number of times the body halves the resolution, besides once between
      every two levels.
    returns_score: Whether a prior gives networks of this kind the noisy map and the
      Gaussian score, and takes their output for the residual score (Remy et al. 2022,
      Eq. 23). Other networks have the noisy map and its Wiener filter as input and
      return the residual of the denoiser, all scaled to unit variance
      (`priors.residual`).
    takes_conditions: Whether the body has a place for conditions.
  """

  body: Callable
  _: dataclasses.KW_ONLY
  own_halvings: int
  returns_score: bool
  takes_conditions: bool


KINDS = {
  "default": Kind(
    unet.modulated_body, own_halvings=1, returns_score=False, takes_conditions=True
  ),
  "paper": Kind(
    unet.paper_body, own_halvings=0, returns_score=True, takes_conditions=False
  ),
}


@dataclasses.dataclass(frozen=True)
class Architecture:
  """All that decides the layers of a network.

  Attributes:
    kind: Name in `KINDS`.
    channels: Channels of the levels, the finest first.
    num_blocks: Residual blocks of each level, on the way down and again on the way up.
    num_inputs: Channels of the input.
    activation: Name of a Keras activation.
    spectral_bound: Largest spectral norm of a convolution (`nn.spectral_norm`); None
      for no bound.
    num_conditions: Numbers that describe the maps of an example, besides sigma.

  Raises:
    ValueError: For a kind that is not in `KINDS`, or numbers that fit no network.
  """

  kind: str = "default"
  channels: tuple[int, ...] = (48, 96, 128)
  _: dataclasses.KW_ONLY
  num_blocks: tuple[int, ...] = (2, 2, 2)
  num_inputs: int = 2
  activation: str = "relu"
  spectral_bound: float | None = None
  num_conditions: int = 0

  def __post_init__(self) -> None:
    # Cards hold lists; an architecture must be hashable and comparable.
    object.__setattr__(self, "channels", tuple(self.channels))
    object.__setattr__(self, "num_blocks", tuple(self.num_blocks))
    if self.kind not in KINDS:
      raise ValueError(f"kind must be one of {sorted(KINDS)}; got {self.kind!r}.")
    if len(self.channels) != len(self.num_blocks) or not self.channels:
      raise ValueError(
        "channels and num_blocks need one number for each level; got"
        f" {self.channels} and {self.num_blocks}."
      )
    if min(self.channels) < 1 or min(self.num_blocks) < 1 or self.num_inputs < 1:
      raise ValueError(f"Channels, blocks and inputs must be positive; got {self}.")
    if self.num_conditions < 0:
      raise ValueError(f"num_conditions must not be negative; got {self}.")
    if self.num_conditions and not KINDS[self.kind].takes_conditions:
      raise ValueError(f"Networks of the kind {self.kind!r} take no conditions.")

  @property
  def coarsening(self) -> int:
    """Side of the coarsest pixel, in pixels of the map."""
    return 2 ** (len(self.channels) - 1 + KINDS[self.kind].own_halvings)

  @property
  def returns_score(self) -> bool:
    """See `Kind`."""
    return KINDS[self.kind].returns_score


PRESETS = {
  "default": Architecture(),
  # The channels and the bound of Remy et al. (2022, appendix C).
  "paper": Architecture(
    kind="paper",
    channels=(32, 64, 128, 128),
    num_blocks=(1, 1, 1, 1),
    spectral_bound=1.0,
  ),
}


def resolve(architecture: Architecture | str) -> Architecture:
  """Returns an `Architecture` as it is, or the preset of a name.

  Raises:
    ValueError: If there is no preset of that name.
  """
  if not isinstance(architecture, str):
    return architecture
  if architecture not in PRESETS:
    raise ValueError(f"The presets are {sorted(PRESETS)}; got {architecture!r}.")
  return PRESETS[architecture]


def build(
  architecture: Architecture | str, compute_dtype: str = "float32"
) -> keras.Model:
  """Returns a Keras model of `[maps, sigma]`, or of `[maps, sigma, conditions]`.

  Args:
    architecture: `Architecture`, or the name of a preset.
    compute_dtype: "float32", or "bfloat16" for convolutions in bfloat16; weights are
      float32.

  Returns:
    A `keras.Model`: maps `[batch, ny, nx, num_inputs]`, sigma `[batch]`, positive, and
    for a conditional network conditions `[batch, num_conditions]`, to `[batch, ny, nx]`.

  Raises:
    ValueError: If there is no preset of that name, or for another dtype.
  """
  policies = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
  if compute_dtype not in policies:
    raise ValueError(
      f"compute_dtype must be 'float32' or 'bfloat16'; got {compute_dtype!r}."
    )
  architecture = resolve(architecture)
  with _dtype_policy(policies[compute_dtype]):
    maps = keras.Input([None, None, architecture.num_inputs], name="maps")
    sigma = keras.Input([], name="sigma")
    inputs, conditions = [maps, sigma], None
    if architecture.num_conditions:
      conditions = keras.Input([architecture.num_conditions], name="conditions")
      inputs.append(conditions)
    padded = nn_layers.Pad(architecture.coarsening)(maps)
    body = KINDS[architecture.kind].body(
      architecture, padded, sigma=sigma, conditions=conditions
    )
    output = nn_layers.Crop()([body, maps])
    return keras.Model(inputs, output[..., 0], name=f"unet_{architecture.kind}")


def copy_weights(source: keras.Model, target: keras.Model) -> None:
  """Gives a network the weights of one that has fewer conditions, or as many.

  The target computes what the source does, whatever its further conditions are, until
  it is trained.

  Args:
    source: Model of `build`.
    target: Model of `build`, of an architecture that differs in `num_conditions` alone.

  Raises:
    ValueError: If the two differ in more.
  """
  given = [w for w in source.weights if not unet.is_of_conditions(w)]
  taken = [w for w in target.weights if not unet.is_of_conditions(w)]
  rows = [(tuple(g.shape[:-2]), g.shape[-1:]) for g in given]
  if rows != [(tuple(t.shape[:-2]), t.shape[-1:]) for t in taken]:
    raise ValueError(
      "Weights can be copied only between networks that differ in their number of"
      " conditions alone."
    )
  if len(source.inputs) == len(target.inputs):
    target.set_weights(source.get_weights())
    return
  for one, other in zip(given, taken):
    # Layers that read the features of the conditions have further rows for them.
    value = np.zeros(other.shape, np.float32)
    value[tuple(slice(n) for n in one.shape)] = one.numpy()
    other.assign(value)


@contextlib.contextmanager
def _dtype_policy(name: str) -> Iterator[None]:
  """Sets Keras's dtype policy within the block."""
  before = keras.config.dtype_policy()
  keras.config.set_dtype_policy(name)
  try:
    yield
  finally:
    keras.config.set_dtype_policy(before)
