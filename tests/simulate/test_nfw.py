"""NFW haloes: profiles against integrals, clusters against astropy and the operators."""

from astropy import constants
from astropy import units as u
from astropy.cosmology import FlatLambdaCDM
import numpy as np
import pytest
from scipy import integrate
from scipy import ndimage
from scipy import special

from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import simulate
from tfp_massmap.simulate import cosmology
from tfp_massmap.simulate import nfw
from tfp_massmap.simulate import source_planes

GRID = geometry.PixelGrid((96, 96), 0.25 * u.arcmin)


def _projected(x, c):
  """Line-of-sight integral of 1 / (r (1 + r)^2) within r < c."""
  if x >= c:
    return 0.0

  def density(depth):
    r = np.hypot(x, depth)
    return 1 / (r * (1 + r) ** 2)

  return integrate.quad(density, 0, np.sqrt(c**2 - x**2))[0]


@pytest.mark.parametrize("concentration", [0.8, 3.0, 9.0])
@pytest.mark.parametrize("x", [0.02, 0.5, 0.999, 1.0, 1.00001, 1.7, 8.0, 12.0])
def test_convergence_is_the_projected_density(x, concentration):
  np.testing.assert_allclose(
    nfw.convergence_shape(x, concentration),
    _projected(x, concentration),
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


def test_cluster_in_physical_units():
  """Proper density, projected, over the critical surface density, all by astropy."""
  universe = FlatLambdaCDM(H0=100 * cosmology.HUBBLE, Om0=cosmology.OMEGA_MATTER)
  mass, redshift, c, source_redshift = 5e14 * u.Msun, 0.3, 4.0, 1.2
  kappa, _ = simulate.nfw_cluster(
    GRID,
    mass,
    redshift=redshift,
    concentration=c,
    source_redshift=source_redshift,
    center=(40, 48),
    mass_definition="200c",
  )  # pyformat: disable
  radius = np.cbrt(3 * mass / (800 * np.pi * universe.critical_density(redshift)))
  density = mass / (4 * np.pi * (radius / c) ** 3 * (np.log(1 + c) - c / (1 + c)))
  to_lens, to_source = universe.angular_diameter_distance([redshift, source_redshift])
  between = universe.angular_diameter_distance(redshift, source_redshift)
  critical = constants.c**2 * to_source / (4 * np.pi * constants.G * to_lens * between)
  for pixels in (12, 20):
    x = (pixels * GRID.pixel_radians * to_lens * c / radius).to_value(u.one)
    surface = 2 * density * radius / c * _projected(x, c)
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
  # Smoothed, since the cusp has structure that pixels cannot hold; in the middle,
  # where the periodic copies that the operators see add little.
  shear, expected = (ndimage.gaussian_filter(s, (0, 2, 2)) for s in (shear, expected))
  inner = (slice(None), slice(30, 62), slice(35, 70))
  assert np.abs(shear - expected)[inner].max() < 0.03 * np.abs(shear).max()


def test_cluster_before_source_planes():
  weights = np.eye(40)[19]
  by_weights = simulate.nfw_cluster(
    GRID, 1e14 * u.Msun, redshift=0.2, plane_weights=weights
  )
  redshift = source_planes.source_redshifts()[19]
  by_redshift = simulate.nfw_cluster(
    GRID, 1e14 * u.Msun, redshift=0.2, source_redshift=redshift
  )
  np.testing.assert_allclose(by_weights[0], by_redshift[0], rtol=1e-8)


def test_mass_definitions_meet_at_high_redshift():
  """Matter is all there is then, so the mean density is the critical one."""
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
)  # pyformat: disable
def test_impossible_clusters(arguments, message):
  with pytest.raises(ValueError, match=message):
    simulate.nfw_cluster(GRID, **arguments)
