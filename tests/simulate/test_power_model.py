"""The ratio of kappaTNG to halofit."""

import numpy as np

from tfp_massmap.simulate import power_model


def test_wanted_power_over_halofit():
  ratio = power_model.kappatng_over_halofit(np.array([100.0, 1500.0, 46000.0, 1e5]))
  np.testing.assert_allclose(ratio[1:], [ratio[0], 0.55, 0.55], rtol=1e-6)
