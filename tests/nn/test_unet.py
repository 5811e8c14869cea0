"""Bodies of the U-nets."""

import numpy as np
import tensorflow as tf

from tfp_massmap.nn import architectures
from tfp_massmap.nn import spectral_norm


def test_all_kernels_of_the_paper_are_bounded():
  network = architectures.build("paper")
  bounded = {
    layer.layer.kernel.path
    for layer in network.layers
    if isinstance(layer, spectral_norm.SpectralBound)
  }
  kernels = [w for w in network.trainable_variables if len(w.shape) == 4]
  assert len(bounded) == len(kernels)


def test_sigma_modulates_the_default_network():
  """With weights that are not zero, another sigma gives another output."""
  network = architectures.build(
    architectures.Architecture(channels=(8, 12), num_blocks=(1, 1))
  )
  rng = np.random.default_rng(0)
  for weight in network.weights:
    weight.assign(0.3 * rng.standard_normal(weight.shape))
  maps = tf.random.stateless_normal([1, 16, 16, 2], (1, 2))
  low, high = (network([maps, tf.constant([s])]).numpy() for s in (0.01, 1.0))
  assert np.std(high - low) > 0.1 * np.std(low)
