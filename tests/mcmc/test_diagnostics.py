"""Effective sample sizes."""

import logging

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap.mcmc import diagnostics


def test_effective_sample_size_is_tfps_without_a_warning(caplog):
  states = tf.random.stateless_normal([50, 4], (1, 2))
  with caplog.at_level(logging.WARNING, logger="tensorflow"):
    ours = diagnostics.effective_sample_size(states, filter_beyond_positive_pairs=True)
  assert "complex" not in caplog.text
  theirs = tfp.mcmc.effective_sample_size(states, filter_beyond_positive_pairs=True)
  np.testing.assert_array_equal(ours, theirs)
