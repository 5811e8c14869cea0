"""Steps of the optimizer, against a singular value decomposition."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap.nn import muon


@pytest.mark.parametrize("shape", [(3, 3, 4, 16), (1, 1, 8, 32)])
def test_gradients_become_semi_orthogonal_steps(shape):
  """One step moves a kernel by lr 0.2 sqrt(largest side) U V', and a bias like Adam."""
  rng = np.random.default_rng(0)
  kernel, bias = keras.Variable(np.zeros(shape)), keras.Variable(np.zeros(16))
  optimizer = muon.Muon(0.1)
  optimizer.build([kernel, bias])
  gradient = rng.standard_normal(shape).astype(np.float32)
  optimizer.apply([tf.constant(gradient), tf.ones(16)], [kernel, bias])
  step = -np.array(kernel).reshape(-1, shape[-1]) / 0.1
  step /= 0.2 * np.sqrt(max(step.shape))
  left, _, right = np.linalg.svd(gradient.reshape(step.shape), full_matrices=False)
  singular = np.linalg.svd(step, compute_uv=False)
  # Five iterations of the quintic leave singular values within 0.3 of 1.
  assert 0.65 < singular.min() and singular.max() < 1.25
  cosine = np.sum(step * (left @ right)) / np.linalg.norm(step) / np.sqrt(len(singular))
  assert cosine > 0.97
  np.testing.assert_allclose(bias, -0.05, rtol=1e-4)


def test_kernels_of_few_outputs_have_adam():
  """A first step of Adam has the learning rate's length in every weight."""
  kernel = keras.Variable(np.zeros([3, 3, 4, 4]))
  optimizer = muon.Muon(0.1)
  optimizer.build([kernel])
  optimizer.apply([tf.random.stateless_normal(kernel.shape, (1, 2))], [kernel])
  np.testing.assert_allclose(np.abs(kernel), 0.05, rtol=1e-4)
