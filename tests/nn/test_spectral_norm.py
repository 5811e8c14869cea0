"""The bound on the spectral norm of a layer."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap.nn import spectral_norm

BOUND = 2.0


def _bounded_kernel(scale):
  """Returns a kernel before and after power iterations in 40 training steps."""
  rng = np.random.default_rng(1)
  layer = spectral_norm.SpectralBound(keras.layers.Conv2D(6, 3), bound=BOUND)
  x = tf.constant(rng.standard_normal([2, 8, 8, 3]), tf.float32)
  layer(x)
  kernel = scale * rng.standard_normal([3, 3, 3, 6]).astype(np.float32)
  layer.layer.kernel.assign(kernel)
  for _ in range(40):
    layer(x, training=True)
  return kernel.reshape(-1, 6), np.array(layer.layer.kernel).reshape(-1, 6)


def test_large_kernels_are_scaled_to_the_bound():
  kernel, matrix = _bounded_kernel(5.0)
  norm = np.linalg.svd(matrix, compute_uv=False)[0]
  assert norm == pytest.approx(BOUND, rel=1e-3)
  cosine = np.sum(matrix * kernel) / np.linalg.norm(matrix) / np.linalg.norm(kernel)
  assert cosine == pytest.approx(1, abs=1e-5)


def test_kernels_below_the_bound_stay():
  kernel, matrix = _bounded_kernel(0.01)
  np.testing.assert_array_equal(matrix, kernel)


def test_bounds_that_are_not_positive_are_refused():
  with pytest.raises(ValueError, match="bound must be positive"):
    spectral_norm.SpectralBound(keras.layers.Dense(3), bound=0.0)
