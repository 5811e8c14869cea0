"""Targets and drivers that several tests of the score-only kernels share."""

import numpy as np
import tensorflow as tf

MODES = {"eager": None, "graph": False, "xla": True}
PRECISION = np.array([[1.0, 0.5, 0.0], [0.5, 2.0, 0.3], [0.0, 0.3, 0.7]])


def run(function, mode):
  """Calls a function eagerly, in a graph or under XLA."""
  if MODES[mode] is None:
    return function()
  return tf.function(function, jit_compile=MODES[mode])()


def gaussian(dtype):
  """Log-density and score of three coupled Gaussian numbers."""
  precision = tf.constant(PRECISION, dtype)

  def log_prob(x):
    return -0.5 * tf.einsum("...i,ij,...j->...", x, precision, x)

  return log_prob, lambda x: -tf.einsum("ij,...j->...i", precision, x)
