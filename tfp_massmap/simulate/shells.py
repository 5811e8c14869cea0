"""The matter before the sources, cut into shells with one projected overdensity each.

A shell between comoving distances a and b adds W delta (b - a) to the convergence, with
the lensing kernel of sources at distances chi_n and weights w_n

  W(chi) = 3/2 Omega_m (H0/c)^2 (1 + z) chi sum_n w_n max(0, 1 - chi/chi_n).

Limber's approximation gives the power of delta, the overdensity averaged over the
shell,

  C(ell) = (b - a)^-2 int_a^b dchi chi^-2 P(ell / chi, z).

delta is a lognormal field with the lower bound -shift,
delta = shift (exp(g - var/2) - 1). The correlation of the Gaussian field g is
log(1 + xi / shift^2), where xi is that of delta (Coles and Jones 1991).
"""

import dataclasses
import itertools
import typing

import numpy as np
import numpy.typing as npt
from scipy import fft

from tfp_massmap import geometry
from tfp_massmap.simulate import cosmology
from tfp_massmap.simulate import cosmology_tables
from tfp_massmap.simulate import source_planes

# Distances in a shell and before the last plane at which integrands are evaluated: with
# them, shells and Limber's integral agree to 2 % (tests/simulate/test_shells.py).
_NUM_STEPS = 8
_NUM_LIMBER_STEPS = 300
# Smallest correlation over shift^2, where the logarithm diverges at -1. Only grids much
# coarser than the field come near it.
_LEAST_CORRELATION = -0.9
# Gauss-Hermite nodes: the density is clipped, so that its moments need many.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(121)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def lensing_kernel(distance: npt.ArrayLike, plane_weights: np.ndarray) -> np.ndarray:
  """Returns W(chi) in h/Mpc, of the shape of the distance.

  Args:
    distance: Comoving distances in Mpc/h, of any shape.
    plane_weights: Weights of the source planes, `[40]`.
  """
  distance = np.asarray(distance, np.float64)
  reach = np.maximum(1 - distance[..., None] / source_planes.source_distances(), 0)
  return kernel_prefactor(distance) * (reach @ plane_weights)


def kernel_prefactor(distance: npt.ArrayLike) -> np.ndarray:
  """Returns W(chi) in h/Mpc for sources infinitely far, of the shape of the distance.

  Args:
    distance: Comoving distances in Mpc/h, of any shape.
  """
  prefactor = 1.5 * cosmology.OMEGA_MATTER / cosmology.HUBBLE_DISTANCE**2
  return prefactor * (1 + cosmology.redshift_at(distance)) * distance


def limber_power(
  ell: npt.ArrayLike,
  plane_weights: np.ndarray,
  *,
  tables: cosmology_tables.CosmologyTables,
) -> np.ndarray:
  """Returns Limber's power spectrum of the convergence, in steradian, `[n]`.

  Args:
    ell: Multipoles, `[n]`.
    plane_weights: Weights of the source planes, `[40]`.
    tables: Tables of the cosmology.
  """
  farthest = source_planes.source_distances()[-1]
  steps = np.arange(_NUM_LIMBER_STEPS) + 0.5
  distances = steps * farthest / _NUM_LIMBER_STEPS
  kernel = lensing_kernel(distances, plane_weights)
  power = 0.0
  for distance, weight in zip(distances, kernel):
    matter_power = tables.power_at(float(cosmology.redshift_at(distance)))
    power = power + weight**2 / distance**2 * matter_power(ell / distance)
  return power * farthest / _NUM_LIMBER_STEPS


@dataclasses.dataclass(frozen=True)
class Shell:
  """A shell of matter between two comoving distances.

  Attributes:
    near, far: The distances in Mpc/h.
  """

  near: float
  far: float

  @property
  def width(self) -> float:
    """Width in Mpc/h."""
    return self.far - self.near

  @property
  def redshift(self) -> float:
    """Redshift of the distance that halves the volume."""
    return float(cosmology.redshift_at(np.cbrt((self.near**3 + self.far**3) / 2)))

  def distances(self) -> np.ndarray:
    """Returns distances at equal steps within the shell, `[8]`."""
    steps = (np.arange(_NUM_STEPS) + 0.5) / _NUM_STEPS
    return self.near + self.width * steps

  def volume(self, solid_angle: float) -> float:
    """Returns the comoving volume in (Mpc/h)^3.

    Args:
      solid_angle: In steradian.
    """
    return solid_angle * (self.far**3 - self.near**3) / 3

  def overdensity_power(
    self,
    ell: np.ndarray,
    tables: cosmology_tables.CosmologyTables,
    *,
    damping: float,
  ) -> np.ndarray:
    """Returns C(ell) of the projected overdensity, in steradian, `[n]`.

    Args:
      ell: Multipoles, `[n]`.
      tables: Tables of the cosmology.
      damping: Length R in Mpc/h. The matter power is damped by exp(-k R), which removes
        the power that the haloes add.
    """
    power: typing.Any = 0.0
    for distance in self.distances():
      matter_power = tables.power_at(float(cosmology.redshift_at(distance)))
      wavenumber = ell / distance
      damped = matter_power(wavenumber) * np.exp(-wavenumber * damping)
      power = power + damped / distance**2
    return power / (_NUM_STEPS * self.width)


def shells_before(distance: float, num_shells: int) -> list[Shell]:
  """Returns shells of equal width from the observer to a distance in Mpc/h.

  Args:
    distance: The end of the last shell.
    num_shells: Number of shells.
  """
  edges = np.linspace(0, distance, num_shells + 1)
  return [Shell(near, far) for near, far in itertools.pairwise(edges)]


class LognormalField:
  """A periodic lognormal field of zero mean on a pixel grid.

  Args:
    power: Power of the unitary modes of `rfft2`, `[ny, nx // 2 + 1]`.
    shape: `(ny, nx)`.
    shift: Lower bound of the field, times -1.

  Attributes:
    shape, shift: As given.
    variance: Variance of the Gaussian field g.
  """

  def __init__(
    self, power: np.ndarray, shape: tuple[int, int], *, shift: float
  ) -> None:
    self.shape = shape
    self.shift = shift
    correlation = fft.irfft2(power.astype(np.float32), s=shape)
    correlation = np.maximum(
      correlation / np.float32(shift**2), np.float32(_LEAST_CORRELATION)
    )
    gaussian_power = np.maximum(fft.rfft2(np.log1p(correlation)).real, 0)
    gaussian_power[0, 0] = 0
    multiplicity = geometry.half_plane_multiplicity(shape)
    modes_variance = gaussian_power.sum(axis=0, dtype=np.float64) @ multiplicity[0]
    self.variance = float(modes_variance / np.prod(shape))
    # A mode of the half plane is complex, with half its power in each part. In columns
    # that are their own partners, irfft2 drops one of the two.
    share = np.where(multiplicity == 1, 1.0, 0.5).astype(np.float32)
    self._std = np.sqrt(gaussian_power * share)

  def sample(self, rng: np.random.Generator) -> np.ndarray:
    """Returns one field, float32 `[ny, nx]`.

    Args:
      rng: Generator of the field.
    """
    noise = rng.standard_normal([*self._std.shape, 2], dtype=np.float32)
    modes = noise.view(np.complex64)[..., 0] * self._std
    field = fft.irfft2(modes, s=self.shape, norm="ortho")
    np.exp(field - np.float32(self.variance / 2), out=field)
    field -= 1
    field *= np.float32(self.shift)
    return field

  def moments_of_clipped(self, slope: float) -> tuple[float, float]:
    """Returns the mean of w = max(1 + slope delta, 0), and its linear bias.

    Args:
      slope: Bias before clipping.

    Returns:
      `(mean, bias)`: E[w], and E[w delta] / (E[w] E[delta^2]), the linear bias of
        objects
      placed with a density proportional to w.
    """
    gaussian = np.sqrt(self.variance) * _NODES - self.variance / 2
    delta = self.shift * np.expm1(gaussian)
    density = np.maximum(1 + slope * delta, 0)
    mean = _WEIGHTS @ density
    return mean, (_WEIGHTS @ (density * delta)) / (mean * (_WEIGHTS @ delta**2))
