"""Injected clusters are added where there are data, and are recorded."""

from astropy import units as u
import numpy as np

from tfp_massmap import detection
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate

MASS = 3e14 * u.Msun


def test_injection_adds_the_cluster_where_there_is_data(field):
  mask = np.random.default_rng(3).uniform(size=field.grid.shape) > 0.3
  noise = np.where(mask, field.empty(field.grid, seed=4).shear, 0)
  before = shear_map_lib.ShearMap(
    noise, np.full(field.grid.shape, 0.1), mask=mask, grid=field.grid
  )
  after, kappa = detection.inject_cluster(before, MASS, center=(50, 30))
  expected, shear = simulate.nfw_cluster(
    field.grid,
    MASS,
    redshift=0.5,
    concentration=1.0,
    source_redshift=1.0,
    center=(50, 30),
  )
  np.testing.assert_array_equal(kappa, expected)
  np.testing.assert_allclose(
    (after.shear - before.shear)[:, mask], shear[:, mask], atol=1e-15
  )
  assert not after.shear[:, ~mask].any() and not np.any(before.shear - noise)
  assert after.settings["cluster_mass_msun"] == 3e14
  assert after.settings["cluster_center"] == "50, 30"
  both, _ = detection.inject_cluster(after, 2 * MASS)
  assert both.settings.items() >= after.settings.items()
  assert both.settings["cluster2_mass_msun"] == 6e14
  peak = np.unravel_index(detection.aperture_mass(kappa).argmax(), field.grid.shape)
  assert peak == (50, 30)
  denser = detection.inject_cluster(before, MASS, concentration=None)[1]
  assert denser.max() > 1.5 * kappa.max()
