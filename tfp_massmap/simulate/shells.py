"""The matter before the sources, cut into shells, each a field of projected overdensity.

A shell between comoving distances a and b adds W delta (b - a) to the convergence,
with the lensing kernel of sources at distances chi_n and weights w_n

  W(chi) = 3/2 Omega_m (H0/c)^2 (1 + z) chi sum_n w_n max(0, 1 - chi/chi_n).

Limber's approximation gives the power of delta, the overdensity averaged over the
shell,

  C(ell) = (b - a)^-2 int_a^b dchi chi^-2 P(ell / chi, z).

delta is a lognormal field shifted to -shift at least: delta = shift (exp(g - var/2) - 1)
with the Gaussian field g whose correlation is log(1 + xi / shift^2); xi is that of delta
(Coles & Jones 1991).
"""

import dataclasses

import numpy as np
from scipy import fft

from tfp_massmap import geometry
from tfp_massmap.simulate import cosmology
from tfp_massmap.simulate import source_planes

_NUM_STEPS = 8
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(121)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def lensing_kernel(distance, plane_weights):
  """W(chi) in h/Mpc, for distances in Mpc/h of any shape."""
  distance = np.asarray(distance, np.float64)
  reach = np.maximum(1 - distance[..., None] / source_planes.source_distances(), 0)
  return kernel_prefactor(distance) * (reach @ plane_weights)


def kernel_prefactor(distance):
  """W(chi) for sources infinitely far, in h/Mpc."""
  prefactor = 1.5 * cosmology.OMEGA_MATTER / cosmology.HUBBLE_DISTANCE**2
  return prefactor * (1 + cosmology.redshift_at(distance)) * distance


def convergence_power(ell, plane_weights, *, tables):
  """Limber's power spectrum of the convergence, without shells.

  Args:
    ell: multipoles `[n]`.
    plane_weights: `[40]`.
    tables: `CosmologyTables`.

  Returns:
    C_ell in steradian, `[n]`.
  """
  farthest = source_planes.source_distances()[-1]
  distances = (np.arange(300) + 0.5) * farthest / 300
  kernel = lensing_kernel(distances, plane_weights)
  power = 0.0
  for distance, weight in zip(distances, kernel):
    matter_power = tables.power_at(float(cosmology.redshift_at(distance)))
    power = power + weight**2 / distance**2 * matter_power(ell / distance)
  return power * farthest / 300


@dataclasses.dataclass(frozen=True)
class Shell:
  """A shell of matter between two comoving distances in Mpc/h."""

  near: float
  far: float

  @property
  def width(self):
    return self.far - self.near

  @property
  def redshift(self):
    """That of the middle, by volume."""
    return float(cosmology.redshift_at(np.cbrt((self.near**3 + self.far**3) / 2)))

  def distances(self):
    """Distances at equal steps within the shell, `[8]`."""
    steps = (np.arange(_NUM_STEPS) + 0.5) / _NUM_STEPS
    return self.near + self.width * steps

  def volume(self, solid_angle):
    """Comoving volume in (Mpc/h)^3 over a solid angle in steradian."""
    return solid_angle * (self.far**3 - self.near**3) / 3

  def overdensity_power(self, ell, tables, *, damping):
    """C(ell) of the projected overdensity, in steradian.

    Args:
      ell: multipoles `[n]`.
      tables: `CosmologyTables`.
      damping: length R in Mpc/h; the matter power is damped by exp(-k R), which takes
        out what the haloes add.
    """
    power = 0.0
    for distance in self.distances():
      matter_power = tables.power_at(float(cosmology.redshift_at(distance)))
      wavenumber = ell / distance
      damped = matter_power(wavenumber) * np.exp(-wavenumber * damping)
      power = power + damped / distance**2
    return power / (_NUM_STEPS * self.width)


def shells_before(distance, num_shells):
  """Shells of equal width from here to a distance in Mpc/h."""
  edges = np.linspace(0, distance, num_shells + 1)
  return [Shell(near, far) for near, far in zip(edges[:-1], edges[1:])]


class LognormalField:
  """A periodic lognormal field of zero mean on a pixel grid.

  Attributes:
    shape: `(ny, nx)`.
    shift: the field is above -shift.
    variance: that of the Gaussian field g.

  Args:
    power: power per unitary mode of `rfft2`, `[ny, nx // 2 + 1]`.
    shape: `(ny, nx)`.
    shift: positive.
  """

  def __init__(self, power, shape, *, shift):
    self.shape = shape
    self.shift = shift
    correlation = fft.irfft2(power.astype(np.float32), s=shape)
    # Only grids coarser than the field could make this correlation reach -shift^2.
    correlation = np.maximum(correlation / np.float32(shift**2), np.float32(-0.9))
    gaussian_power = np.maximum(fft.rfft2(np.log1p(correlation)).real, 0)
    gaussian_power[0, 0] = 0
    multiplicity = geometry.half_plane_multiplicity(shape)
    modes_variance = gaussian_power.sum(axis=0, dtype=np.float64) @ multiplicity[0]
    self.variance = float(modes_variance / np.prod(shape))
    # A mode of the half plane is complex, with half its power in either part; irfft2
    # drops one of the two where the mode is its own partner's column.
    share = np.where(multiplicity == 1, 1.0, 0.5).astype(np.float32)
    self._std = np.sqrt(gaussian_power * share)

  def sample(self, rng):
    """One field, float32 `[ny, nx]`."""
    noise = rng.standard_normal([*self._std.shape, 2], dtype=np.float32)
    modes = noise.view(np.complex64)[..., 0] * self._std
    field = fft.irfft2(modes, s=self.shape, norm="ortho")
    np.exp(field - np.float32(self.variance / 2), out=field)
    field -= 1
    field *= np.float32(self.shift)
    return field

  def moments_of_clipped(self, slope):
    """Mean of w and its response to the field, for w = max(1 + slope delta, 0).

    Returns:
      `(mean, bias)`: E[w], and E[w delta] / (E[w] E[delta^2]), the linear bias of
      objects placed with a density proportional to w.
    """
    gaussian = np.sqrt(self.variance) * _NODES - self.variance / 2
    delta = self.shift * np.expm1(gaussian)
    density = np.maximum(1 + slope * delta, 0)
    mean = _WEIGHTS @ density
    return mean, (_WEIGHTS @ (density * delta)) / (mean * (_WEIGHTS @ delta**2))
