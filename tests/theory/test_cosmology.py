"""Distances and densities against astropy, and the words of a cosmology."""

from astropy import cosmology as astropy_cosmology
from astropy import units as u
import numpy as np
import pytest

from tfp_massmap import theory
from tfp_massmap.theory import cosmology


@pytest.mark.parametrize("omega_matter", [0.2, 0.3089, 1.0])
def test_distances_and_densities_against_astropy(omega_matter):
  ours = theory.Cosmology(omega_matter, 0.8)
  theirs = astropy_cosmology.FlatLambdaCDM(
    H0=100 * cosmology.HUBBLE, Om0=omega_matter, Ob0=cosmology.OMEGA_BARYON
  )
  redshifts = np.array([0.01, 0.5, 2.568, 9.0])
  expected = theirs.comoving_distance(redshifts).to_value(u.Mpc) * cosmology.HUBBLE
  distances = ours.comoving_distance(redshifts)
  np.testing.assert_allclose(distances, expected, rtol=1e-9)
  np.testing.assert_allclose(ours.redshift_at(distances), redshifts, rtol=1e-9)
  # Comoving, in units of h^2 Msun / Mpc^3.
  density = theirs.critical_density(redshifts).to_value(u.Msun / u.Mpc**3)
  density /= cosmology.HUBBLE**2 * (1 + redshifts) ** 3
  np.testing.assert_allclose(ours.critical_density(redshifts), density, rtol=1e-6)
  assert ours.mean_density == pytest.approx(omega_matter * density[0], rel=0.1)


def test_prefactor_of_a_universe_of_matter():
  """There a = (1 - chi / 2)^2 and chi = 2 (1 - a^1/2), in units of c / H0."""
  einstein = theory.Cosmology(1.0, 0.8)
  chi = np.array([0.1, 0.5, 1.2])
  expected = 1.5 / cosmology.HUBBLE_DISTANCE * chi / (1 - chi / 2) ** 2
  found = einstein.lensing_prefactor(chi * cosmology.HUBBLE_DISTANCE)
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_redshift_outside_the_table():
  with pytest.raises(ValueError, match="between 0 and 12"):
    theory.KAPPATNG.comoving_distance(13.0)


@pytest.mark.parametrize(
  "text, expected",
  [
    ("", (0.3089, 0.8159)),
    ("sigma_8=0.9", (0.3089, 0.9)),
    ("Omega_m=0.25, sigma8=0.7", (0.25, 0.7)),
    ("sigma_8=.7 omega_matter=3e-1", (0.3, 0.7)),
  ],
)
def test_cosmologies_in_words(text, expected):
  found = theory.Cosmology.parse(text)
  assert (found.omega_matter, found.sigma_8) == expected
  assert theory.Cosmology.parse(str(found)) == found


@pytest.mark.parametrize(
  "text, message",
  [
    ("h=0.7", "'h=0.7' is not one of the two"),
    ("sigma_8", "'sigma_8' is not one of the two"),
    ("sigma_8=0.8,sigma8=0.9", "is a second value"),
    ("sigma_8=high", "'high' in 'sigma_8=high' is not a number"),
    ("sigma_8=-0.8", "sigma_8 must be positive; got -0.8"),
    ("sigma_8=nan", "sigma_8 must be positive; got nan"),
    ("Omega_m=0.01", "above 0.0486"),
    ("Omega_m=nan", "above 0.0486"),
  ],
)
def test_words_that_are_no_cosmology(text, message):
  with pytest.raises(ValueError, match=message):
    theory.Cosmology.parse(text)
