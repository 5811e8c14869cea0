"""R-hat and effective sizes of chains whose autocorrelation is known."""

from logging import handlers

from astropy import units as u
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import calibration
from tfp_massmap import geometry
from tfp_massmap.calibration import figures


def test_chains(monkeypatch):
  """First-order autoregression of coefficient a: effective share (1 - a) / (1 + a)."""
  heard = handlers.BufferingHandler(100)
  monkeypatch.setattr(tf.get_logger(), "handlers", [heard])
  rng = np.random.default_rng(6)
  grid = geometry.PixelGrid((12, 12), 0.29 * u.arcmin)
  states = rng.standard_normal([400, 8, 12, 12])
  for step in range(1, 400):
    states[step] = 0.6 * states[step - 1] + 0.8 * states[step]
  found = calibration.diagnose(states, grid, num_bands=3)
  assert found.names[0] == "pixels" and len(found.r_hat) == 4
  np.testing.assert_allclose(found.effective_size, 3200 * 0.25, rtol=0.1)
  assert (found.r_hat < 1.01).all()
  assert not heard.buffer  # TensorFlow would warn of TFP's casts.
  states[:, 0] += 2
  assert calibration.diagnose(states, grid, num_bands=3).r_hat[0] > 1.1
  figure, _ = figures.plot_chains(found)
  assert len(figure.axes) == 2
  with pytest.raises(ValueError, match="num_steps, num_chains"):
    calibration.diagnose(states[:, 0], grid)
