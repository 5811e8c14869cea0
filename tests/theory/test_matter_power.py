"""The matter power against pyccl, and the edges of its tables."""

import numpy as np
import pytest

from tfp_massmap import theory


def test_power_between_the_nodes_against_pyccl():
  """Values of pyccl 3.3.6 with camb, in (Mpc/h)^3, of `build_matter_power.universe`."""
  power = theory.MatterPower(theory.Cosmology(0.27, 0.77))
  wavenumber, redshift = [0.003, 0.1, 0.5, 20.0], [0.0, 0.3, 1.0, 0.7]
  expected = [13391.0, 3765.5, 169.81, 0.65275]
  np.testing.assert_allclose(power(wavenumber, redshift), expected, rtol=2e-3)


def test_linear_scales_grow_with_the_square_of_sigma_8():
  low, high = (
    theory.MatterPower(theory.Cosmology(0.3, s))(1e-3, 0.5) for s in (0.63, 0.94)
  )
  assert high / low == pytest.approx((0.94 / 0.63) ** 2, rel=2e-3)


def test_beyond_the_wavenumbers_the_power_is_a_power_law():
  power = theory.MatterPower()
  for edge, step in ((1e-4, 0.1), (1e3, 10.0)):
    slope = np.log(power(edge * step**0.01, 1.0) / power(edge, 1.0)) / 0.01
    farther = power(edge * step**2, 1.0) / power(edge, 1.0)
    assert np.log(farther) == pytest.approx(2 * slope, rel=0.02)


@pytest.mark.parametrize(
  "cosmology, message",
  [
    ((0.1, 0.8), r"Omega_m from 0.15 to 0.45; got 0.1\."),
    ((0.3, 1.2), r"sigma_8 from 0.5 to 1.1; got 1.2\."),
  ],
)
def test_cosmologies_outside_the_tables_are_refused(cosmology, message):
  with pytest.raises(ValueError, match=message):
    theory.MatterPower(theory.Cosmology(*cosmology))


def test_redshifts_outside_the_tables_are_refused():
  power = theory.MatterPower()
  assert power(1.0, 6.0) > 0
  with pytest.raises(ValueError, match="redshifts from 0 to 6; got values from 7 to 7"):
    power(1.0, 7.0)


@pytest.mark.parametrize("cosmology", [(0.15, 0.5), (0.45, 1.1)])
def test_the_ends_of_the_tables_are_within_them(cosmology):
  assert theory.MatterPower(theory.Cosmology(*cosmology))(1.0, 0.0) > 0
