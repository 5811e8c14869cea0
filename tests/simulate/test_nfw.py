"""NFW profiles against integrals."""

import numpy as np
import pytest
from scipy import integrate
from scipy import special

from tfp_massmap.simulate import nfw


@pytest.mark.parametrize("concentration", [0.8, 3.0, 9.0])
@pytest.mark.parametrize("x", [0.02, 0.5, 0.999, 1.0, 1.00001, 1.7, 8.0, 12.0])
def test_convergence_is_the_projected_density(x, concentration, projected_nfw):
  np.testing.assert_allclose(
    nfw.convergence_shape(x, concentration),
    projected_nfw(x, concentration),
    rtol=3e-6,
    atol=1e-12,
  )


@pytest.mark.parametrize("concentration", [0.8, 3.0, 9.0])
@pytest.mark.parametrize("x", [0.05, 0.5, 1.0, 1.7, 8.0, 12.0])
def test_shear_is_mean_convergence_within_minus_convergence(x, concentration):
  def mass(radius):
    return radius * nfw.convergence_shape(radius, concentration)

  edge = min(x, concentration)
  enclosed = integrate.quad(mass, 0, edge, points=[edge / 50], limit=200)[0]
  expected = 2 * enclosed / x**2 - nfw.convergence_shape(x, concentration)
  np.testing.assert_allclose(
    nfw.shear_shape(x, concentration), expected, rtol=1e-5, atol=1e-9
  )


def test_total_mass_and_fourier_transform():
  concentration = 5.0
  for frequency in (1e-3, 0.7, 4.0):

    def integrand(x, frequency=frequency):
      shape = nfw.convergence_shape(x, concentration)
      return x * shape * special.j0(frequency * x)

    transform = integrate.quad(integrand, 0, concentration, limit=300)[0]
    np.testing.assert_allclose(
      nfw.fourier_profile(frequency, concentration),
      transform / nfw.mass_factor(concentration),
      rtol=1e-5,
    )
  assert nfw.fourier_profile(1e-4, concentration) == pytest.approx(1, abs=1e-6)
