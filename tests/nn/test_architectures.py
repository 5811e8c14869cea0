"""Networks by name: their sizes, their dtypes and what they refuse."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap.nn import architectures

TINY = architectures.Architecture(channels=(8, 12), num_blocks=(1, 1))
TINY_PAPER = architectures.Architecture(
  kind="paper", channels=(6, 8, 8), num_blocks=(1, 1, 1), spectral_bound=1.0
)


@pytest.mark.parametrize("architecture", [TINY, TINY_PAPER])
@pytest.mark.parametrize("shape", [(32, 32), (21, 30)])
def test_networks_take_maps_of_any_size(architecture, shape):
  network = architectures.build(architecture)
  rng = np.random.default_rng(0)
  maps = rng.standard_normal([2, *shape, architecture.num_inputs]).astype(np.float32)
  output = network([maps, np.array([0.1, 0.3], np.float32)])
  assert output.shape == (2, *shape) and np.isfinite(output).all()


def test_a_new_default_network_returns_zero():
  """Training starts from the Gaussian denoiser."""
  maps = tf.random.stateless_normal([2, 16, 16, 2], (1, 2))
  network = architectures.build(TINY)
  np.testing.assert_array_equal(network([maps, tf.constant([0.1, 0.2])]), 0)


def test_presets_have_the_sizes_of_the_design():
  paper = architectures.PRESETS["paper"]
  assert paper.channels == (32, 64, 128, 128) and paper.spectral_bound == 1
  assert 1e6 < architectures.build("paper").count_params() < 2e6
  assert architectures.build("default").count_params() < 5e6


@pytest.mark.parametrize(
  "architecture, coarsening, returns_score", [(TINY, 4, False), (TINY_PAPER, 4, True)]
)
def test_properties_of_a_kind(architecture, coarsening, returns_score):
  assert architecture.coarsening == coarsening
  assert architecture.returns_score == returns_score


def test_weights_stay_float32_and_the_policy_of_the_user_is_kept():
  before = keras.config.dtype_policy()
  network = architectures.build(TINY, "bfloat16")
  assert keras.config.dtype_policy() == before
  assert network.layers[-1].compute_dtype == "bfloat16"
  assert {w.dtype for w in network.weights} == {"float32"}


@pytest.mark.parametrize(
  "changes, message",
  [
    (dict(kind="resnet"), "kind must be one of .*default.*paper"),
    (dict(channels=(8,)), "one number for each level"),
    (dict(num_blocks=(0, 1)), "positive"),
  ],
)
def test_impossible_architectures_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(TINY, **changes)


def test_names_and_dtypes_that_do_not_exist_are_refused():
  with pytest.raises(ValueError, match="presets"):
    architectures.build("large")
  with pytest.raises(ValueError, match="got 'float16'"):
    architectures.build(TINY, "float16")
