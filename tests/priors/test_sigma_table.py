"""Tables over log sigma."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap.priors import sigma_table

LOGS = np.log([0.01, 0.1, 1.0])


@pytest.mark.parametrize("is_even", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_rows_are_linear_in_log_sigma_and_held_at_the_edges(is_even, compiled):
  """The even axis ends a thousandth of a step early."""
  values = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
  table = sigma_table.SigmaTable(LOGS, values, is_even=is_even)
  function = tf.function(table, jit_compile=compiled)
  sigma = tf.constant([[0.01, 0.1**1.5, 0.1], [0.5, 1e-4, 7.0]])
  place = np.array([[0, 1, 2], [2 + 2 * np.log10(5), 0, 4]])
  rows = function(sigma)
  assert rows.shape == (2, 3, 2)
  np.testing.assert_allclose(rows, place[..., None] + [0, 1], atol=2.1e-3)
  inner = table(tf.constant(0.05, tf.float64))
  np.testing.assert_allclose(inner, 2 * np.log10(5) + np.array([0, 1]), rtol=1e-12)


def test_uneven_axes_may_have_any_steps():
  table = sigma_table.SigmaTable(np.array([0.0, 1.0, 3.0]), np.array([0.0, 1.0, -1.0]))
  sigma = tf.exp(tf.constant([0.5, 1.0, 2.0, 2.5], tf.float64))
  np.testing.assert_allclose(table(sigma), [0.5, 1, 0, -0.5], atol=1e-12)
