"""The power of kappaTNG by theory: its large scales, and the spectrum for priors."""

import numpy as np

from tfp_massmap import simulate
from tfp_massmap.simulate import convergence_power
from tfp_massmap.simulate import power_model
from tfp_massmap.simulate import shells
from tfp_massmap.simulate import source_planes


def test_power_over_halofit():
  """Up to ell 1,500 it is the large-scale power, from 3,000 on the ratio alone."""
  ell = np.array([300.0, 1500.0, 3000.0, 20000.0])
  tables = simulate.CosmologyTables.load()
  weights = source_planes.resolve_weights(None)
  halofit = shells.limber_power(ell, weights, tables=tables)
  ratio = convergence_power.kappatng_power(ell, large_scale_power=0.9) / halofit
  expected = power_model.kappatng_over_halofit(ell) * [0.9, 0.9, 1, 1]
  np.testing.assert_allclose(ratio, expected, rtol=1e-12)


def test_spectrum_for_priors_is_that_power():
  ell = np.geomspace(20, 1e5, 30)
  weights = np.eye(40)[20]
  spectrum = simulate.convergence_spectrum(weights)
  # Linear interpolation in log-log between 240 multipoles.
  expected = simulate.kappatng_power(ell, weights)
  np.testing.assert_allclose(spectrum(ell), expected, rtol=2e-3)
