"""The matter before the sources, cut into shells with one projected overdensity each.

A shell between comoving distances a and b adds W delta (b - a) to the convergence, with
the lensing kernel W (`theory.lensing_kernel`). Limber's approximation gives the power of
delta, the overdensity averaged over the shell,

  C(ell) = (b - a)^-2 int_a^b dchi chi^-2 P((ell + 1/2) / chi, z).

delta is a lognormal field with the lower bound -shift,
delta = shift (exp(g - var/2) - 1). The correlation of the Gaussian field g is
log(1 + xi / shift^2), where xi is that of delta (Coles and Jones 1991).
"""

import dataclasses
import itertools

import numpy as np
from scipy import fft

from tfp_massmap import geometry
from tfp_massmap import theory

# Distances in a shell at which integrands are evaluated: with them, shells and Limber's
# integral agree to 2 % (tests/simulate/test_shells.py).
_NUM_STEPS = 8
# Smallest correlation over shift^2, where the logarithm diverges at -1. Only grids much
# coarser than the field come near it.
_LEAST_CORRELATION = -0.9
# Gauss-Hermite nodes: the density is clipped, so that its moments need many.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(121)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


@dataclasses.dataclass(frozen=True)
class Shell:
  """A shell of matter between two comoving distances.

  Attributes:
    near, far: The distances in Mpc/h.
    cosmology: `theory.Cosmology`.
  """

  near: float
  far: float
  _: dataclasses.KW_ONLY
  cosmology: theory.Cosmology = theory.KAPPATNG

  @property
  def width(self) -> float:
    """Width in Mpc/h."""
    return self.far - self.near

  @property
  def redshift(self) -> float:
    """Redshift of the distance that halves the volume."""
    middle = np.cbrt((self.near**3 + self.far**3) / 2)
    return float(self.cosmology.redshift_at(middle))

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
    matter_power: theory.MatterPower,
    *,
    damping: float,
  ) -> np.ndarray:
    """Returns C(ell) of the projected overdensity, in steradian, `[n]`.

    Args:
      ell: Multipoles, `[n]`.
      matter_power: `theory.MatterPower` of the cosmology.
      damping: Length R in Mpc/h. The matter power is damped by exp(-k R), which removes
        the power that the haloes add.
    """
    distance = self.distances()[:, np.newaxis]
    wavenumber = (ell + 0.5) / distance
    power = matter_power(wavenumber, self.cosmology.redshift_at(distance))
    damped = power * np.exp(-wavenumber * damping)
    return (damped / distance**2).sum(axis=0) / (_NUM_STEPS * self.width)


def shells_before(
  distance: float,
  width: float,
  *,
  cosmology: theory.Cosmology = theory.KAPPATNG,
) -> list[Shell]:
  """Returns shells of equal width from the observer to a distance in Mpc/h.

  Args:
    distance: The end of the last shell.
    width: About the width of a shell: as near to it as a whole number of shells allows.
    cosmology: `theory.Cosmology`.
  """
  edges = np.linspace(0, distance, max(1, round(distance / width)) + 1)
  return [
    Shell(near, far, cosmology=cosmology) for near, far in itertools.pairwise(edges)
  ]


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
