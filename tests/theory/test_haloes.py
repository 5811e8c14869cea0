"""Abundance and bias of haloes against pyccl, and integrals over them."""

import numpy as np
import pytest

from tfp_massmap import theory
from tfp_massmap.theory import haloes

# Of pyccl 3.3.6, for Omega_m = 0.25 and sigma_8 = 0.95: dn/dlnM of Tinker et al. (2008),
# bias of Tinker et al. (2010) and sigma, by redshift.
MASSES = np.array([1e12, 1e14, 8e14])
PYCCL = {
  0.0: (
    (0.0031576, 4.1837e-05, 1.9817e-06),
    (0.77744, 1.7446, 3.9217),
    (2.2543, 1.0323, 0.64507),
  ),
  1.0: (
    (0.0029809, 1.1436e-05, 3.953e-08),
    (1.147, 3.8493, 10.054),
    (1.4225, 0.65138, 0.40703),
  ),
}


@pytest.fixture(name="rich", scope="module")
def _rich():
  return theory.HaloStatistics(theory.Cosmology(0.25, 0.95))


@pytest.mark.parametrize("redshift, expected", PYCCL.items())
def test_haloes_against_pyccl(rich, redshift, expected):
  found = (
    function(MASSES, redshift) for function in (rich.abundance, rich.bias, rich.sigma)
  )
  for values, reference in zip(found, expected):
    np.testing.assert_allclose(values, reference, rtol=5e-3)


@pytest.mark.parametrize("parameters", [(0.3089, 0.8159), (0.2, 1.0), (0.4, 0.6)])
def test_sigma_8_is_the_one_asked_for(parameters):
  """A sphere of 8 Mpc/h has that standard deviation today."""
  cosmology = theory.Cosmology(*parameters)
  mass = 4 * np.pi / 3 * 8**3 * cosmology.mean_density
  found = theory.HaloStatistics(cosmology).sigma(mass, 0.0)
  assert found == pytest.approx(parameters[1], rel=1e-3)


def test_masses_of_a_height(rich):
  for redshift in (0.0, 1.5):
    sigma = rich.sigma(MASSES, redshift)
    np.testing.assert_allclose(rich.mass_of(sigma, redshift), MASSES, rtol=1e-4)
  assert rich.mass_of(1e-9, 0.0) == pytest.approx(haloes.MASSES[1], rel=1e-6)


def test_haloes_hold_no_more_than_all_matter(rich):
  """And their bias, weighted by matter, is about 1 if small masses count for theirs."""
  log_mass = np.linspace(np.log(1e10), np.log(1e16), 4000)
  mass = np.exp(log_mass)
  share = rich.abundance(mass, 0.0) * mass / rich.cosmology.mean_density
  step = log_mass[1] - log_mass[0]
  assert 0.5 < share.sum() * step < 1
  assert 0.5 < (share * rich.bias(mass, 0.0)).sum() * step < 1.1


def test_masses_outside_are_refused(rich):
  with pytest.raises(ValueError, match=r"between 1e\+10 and 1e\+16 Msun/h; got"):
    rich.abundance([1e9, 1e12], 0.0)
