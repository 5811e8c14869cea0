"""Layers of the U-nets, on small maps."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap.nn import layers


@pytest.fixture(name="maps", scope="module")
def _maps():
  return tf.random.stateless_normal([2, 5, 6, 3], (1, 2))


def test_padding_reflects_and_cropping_undoes_it(maps):
  padded = layers.Pad(4)(maps)
  assert padded.shape == (2, 8, 8, 3)
  np.testing.assert_array_equal(
    padded[:, 5], tf.pad(maps[:, 3], [[0] * 2, [0, 2], [0] * 2], "REFLECT")
  )
  np.testing.assert_array_equal(layers.Crop()([padded, maps]), maps)


def test_groups_of_pixels_become_channels_and_return(maps):
  even = maps[:, :4]
  channels = layers.SpaceToDepth()(even)
  assert channels.shape == (2, 2, 3, 12)
  np.testing.assert_array_equal(layers.DepthToSpace()(channels), even)


def test_sigma_becomes_features_or_a_channel(maps):
  sigma = tf.constant([0.1, 2.0])
  features = layers.NoiseFeatures(num=4)(sigma).numpy()
  np.testing.assert_allclose(features[:, :4] ** 2 + features[:, 4:] ** 2, 1, rtol=1e-5)
  lowest = 0.2 * np.log(sigma)
  np.testing.assert_allclose(features[:, 0], np.sin(lowest), rtol=1e-5)
  with_sigma = layers.ConcatenateSigma()([maps, sigma])
  np.testing.assert_array_equal(with_sigma[..., :3], maps)
  np.testing.assert_array_equal(with_sigma[1, ..., 3], 2.0)


@pytest.mark.parametrize(
  "layer, shapes, expected",
  [
    (layers.Pad(4), (None, 5, 6, 3), (None, None, None, 3)),
    (layers.Crop(), [(None, 8, 8, 3), (None, 5, 6, 2)], (None, 5, 6, 3)),
    (layers.SpaceToDepth(), (None, 4, None, 3), (None, 2, None, 12)),
    (layers.DepthToSpace(), (None, 2, None, 12), (None, 4, None, 3)),
    (layers.NoiseFeatures(num=4), (None,), (None, 8)),
    (layers.ConcatenateSigma(), [(None, 5, 6, 3), (None,)], (None, 5, 6, 4)),
  ],
)
def test_shapes_that_keras_is_told(layer, shapes, expected):
  assert layer.compute_output_shape(shapes) == expected
