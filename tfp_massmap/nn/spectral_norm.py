"""A bound on the spectral norm of layers (Gouk et al. 2020; Remy et al. 2022, app. C).

Far from its training data a network is unconstrained. If no layer stretches a vector by
more than a bound, the network changes slowly with the distance from the data.
"""

import typing

import keras
from keras import layers
from keras import ops


@keras.saving.register_keras_serializable("tfp_massmap")
class SpectralBound(layers.SpectralNormalization):
  """Projects the kernel of a layer to a spectral norm of at most `bound`.

  The norm is that of the kernel as a matrix of inputs by outputs, estimated by a power
  iteration in each training step. `keras.layers.SpectralNormalization` sets every norm
  to 1 instead: it amplifies kernels of smaller norm, and allows no larger one.

  Args:
    layer: Layer with a `kernel`, such as `Dense` or `Conv2D`.
    bound: Largest norm, positive.
    power_iterations: Power iterations in a step. One is enough, because the kernel
      changes little between steps (Miyato et al. 2018).
    **kwargs: As `keras.layers.Layer`.

  Raises:
    ValueError: If the bound is not positive.
  """

  def __init__(
    self,
    layer: layers.Layer,
    bound: float = 1.0,
    *,
    power_iterations: int = 1,
    **kwargs: typing.Any,
  ) -> None:
    super().__init__(layer, power_iterations, **kwargs)
    if not bound > 0:
      raise ValueError(f"bound must be positive; got {bound}.")
    self.bound = float(bound)

  def normalized_weights(self) -> tuple[typing.Any, typing.Any]:
    """Returns the vector of the power iteration and the bounded kernel."""
    kernel = ops.convert_to_tensor(self.kernel)
    vector, normalised = super().normalized_weights()
    length = lambda x: ops.sqrt(ops.sum(ops.square(x)))
    norm = length(kernel) / length(normalised)
    return vector, kernel * ops.minimum(1.0, self.bound / norm)

  def get_config(self) -> dict:
    """Returns the arguments, for Keras."""
    return {**super().get_config(), "bound": self.bound}
