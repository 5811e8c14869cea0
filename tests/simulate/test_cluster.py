"""Clusters against astropy and the operators of `lensing`."""

from astropy import constants
from astropy import units as u
from astropy.cosmology import FlatLambdaCDM
import numpy as np
import pytest
from scipy import ndimage

from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import simulate
from tfp_massmap.simulate import source_planes
from tfp_massmap.theory import cosmology

GRID = geometry.PixelGrid((96, 96), 0.25 * u.arcmin)


def test_cluster_in_physical_units(projected_nfw):
  """The reference is the projected proper density over Sigma_crit, all by astropy."""
  universe = FlatLambdaCDM(
    H0=100 * cosmology.HUBBLE, Om0=cosmology.KAPPATNG.omega_matter
  )
  mass, redshift, c, source_redshift = 5e14 * u.Msun, 0.3, 4.0, 1.2
  kappa, _ = simulate.nfw_cluster(
    GRID,
    mass,
    redshift=redshift,
    concentration=c,
    source_redshift=source_redshift,
    center=(40, 48),
    mass_definition="200c",
  )
  radius = np.cbrt(3 * mass / (800 * np.pi * universe.critical_density(redshift)))
  density = mass / (4 * np.pi * (radius / c) ** 3 * (np.log(1 + c) - c / (1 + c)))
  to_lens, to_source = universe.angular_diameter_distance([redshift, source_redshift])
  between = universe.angular_diameter_distance(redshift, source_redshift)
  critical = constants.c**2 * to_source / (4 * np.pi * constants.G * to_lens * between)
  for pixels in (12, 20):
    x = (pixels * GRID.pixel_radians * to_lens * c / radius).to_value(u.one)
    surface = 2 * density * radius / c * projected_nfw(x, c)
    expected = (surface / critical).to_value(u.one)
    assert kappa[40 + pixels, 48] == pytest.approx(expected, rel=2e-3)


def test_cluster_shear_is_that_of_its_convergence():
  kappa, shear = simulate.nfw_cluster(
    GRID,
    2e14 * u.Msun,
    redshift=0.5,
    concentration=6.0,
    source_redshift=1.0,
    center=(45.3, 52.8),
  )
  expected = lensing.shear_from_convergence(kappa - kappa.mean()).numpy()
  # The cusp has structure smaller than pixels, so both are smoothed. They are compared
  # in the middle, where the periodic copies of the operators add little.
  shear, expected = (ndimage.gaussian_filter(s, (0, 2, 2)) for s in (shear, expected))
  inner = (slice(None), slice(30, 62), slice(35, 70))
  assert np.abs(shear - expected)[inner].max() < 0.03 * np.abs(shear).max()


def test_cluster_before_source_planes():
  weights = np.eye(40)[19]
  by_weights = simulate.nfw_cluster(
    GRID, 1e14 * u.Msun, redshift=0.2, sources=source_planes.sources(weights)
  )
  redshift = source_planes.source_redshifts()[19]
  by_redshift = simulate.nfw_cluster(
    GRID, 1e14 * u.Msun, redshift=0.2, source_redshift=redshift
  )
  np.testing.assert_allclose(by_weights[0], by_redshift[0], rtol=1e-8)


def test_mass_definitions_meet_at_high_redshift():
  """Matter dominates there, so that the mean density is the critical one."""
  masses = [
    simulate.nfw_cluster(
      GRID,
      1e14 * u.Msun,
      redshift=9.0,
      concentration=5.0,
      source_redshift=11.0,
      mass_definition=definition,
    )[0].sum()
    for definition in ("200m", "200c")
  ]
  assert masses[0] == pytest.approx(masses[1], rel=3e-3)


@pytest.mark.parametrize(
  "arguments, message",
  [
    (dict(mass=-1e14 * u.Msun, redshift=0.5, source_redshift=1), "mass"),
    (dict(mass=1e14 * u.Msun, redshift=0.5, source_redshift=0.4), "in front"),
    (dict(mass=1e14 * u.Msun, redshift=0.5), "either"),
    (
      dict(mass=1e14 * u.Msun, redshift=0.5, concentration=0, source_redshift=1),
      "concentration",
    ),
    (
      dict(mass=1e14 * u.Msun, redshift=0.5, source_redshift=1, mass_definition="vir"),
      "200m",
    ),
  ],
)
def test_impossible_clusters(arguments, message):
  with pytest.raises(ValueError, match=message):
    simulate.nfw_cluster(GRID, **arguments)
