"""A bound on the spectral norm of a layer (Gouk et al. 2020; Remy et al. 2022, app. C).

Far from its training data a network may give anything; one whose layers stretch no
vector by more than a bound changes slowly from where it is known.
"""

import keras
from keras import layers
from keras import ops


@keras.saving.register_keras_serializable("tfp_massmap")
class SpectralBound(layers.SpectralNormalization):
  """Projects the kernel of a layer to a spectral norm of at most `bound`.

  The norm is that of the matrix of inputs by outputs, estimated by a power iteration in
  each training step. `keras.layers.SpectralNormalization` makes every norm 1 instead,
  which leaves small kernels no choice and large gains no room.

  Args:
    layer: with a `kernel`, such as `Dense` or `Conv2D`.
    bound: positive.
    power_iterations: in a step.
    **kwargs: as of a layer.

  Raises:
    ValueError: for a bound that is not positive.
  """

  def __init__(self, layer, bound=1.0, *, power_iterations=1, **kwargs):
    super().__init__(layer, power_iterations, **kwargs)
    if not bound > 0:
      raise ValueError(f"bound must be positive; got {bound}.")
    self.bound = float(bound)

  def normalized_weights(self):
    """The vector of the power iteration and the bounded kernel."""
    kernel = ops.convert_to_tensor(self.kernel)
    vector, normalised = super().normalized_weights()
    length = lambda x: ops.sqrt(ops.sum(ops.square(x)))
    norm = length(kernel) / length(normalised)
    return vector, kernel * ops.minimum(1.0, self.bound / norm)

  def get_config(self):
    return {**super().get_config(), "bound": self.bound}
