"""Power spectrum of the convergence for any n(z) and cosmology.

Limber's approximation gives, with the lensing kernel W of sources of weights w_n at
comoving distances chi_n,

  C(ell) = int dchi W(chi)^2 / chi^2 P((ell + 1/2) / chi, z(chi)),
  W(chi) = 3/2 Omega_m (H0/c)^2 (1 + z) chi sum_n w_n max(0, 1 - chi / chi_n).
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tfp_massmap.theory import cosmology as cosmology_lib
from tfp_massmap.theory import matter_power
from tfp_massmap.theory import source_redshifts

# Distances of the integral. They are even in the square root of the distance, as near
# matter makes the small scales; twice as many change no power by 0.1 %
# (tests/theory/test_convergence.py).
_NUM_DISTANCES = 240


def lensing_kernel(
  distance: npt.ArrayLike,
  sources: source_redshifts.SourceRedshifts,
  *,
  cosmology: cosmology_lib.Cosmology = cosmology_lib.KAPPATNG,
) -> np.ndarray:
  """Returns W(chi) in h/Mpc, of the shape of the distance.

  Args:
    distance: Comoving distances in Mpc/h, of any shape.
    sources: `theory.SourceRedshifts`.
    cosmology: `theory.Cosmology`.
  """
  distance = np.asarray(distance, np.float64)
  ends = cosmology.comoving_distance(sources.redshift)
  reach = np.maximum(1 - distance[..., np.newaxis] / ends, 0)
  return cosmology.lensing_prefactor(distance) * (reach @ sources.weight)


def convergence_power(
  ell: npt.ArrayLike,
  sources: source_redshifts.SourceRedshifts,
  *,
  cosmology: cosmology_lib.Cosmology = cosmology_lib.KAPPATNG,
  boost: Callable[[np.ndarray], np.ndarray] | None = None,
  num_distances: int = _NUM_DISTANCES,
) -> np.ndarray:
  """Returns C_ell of the convergence in steradian, `[n]`.

  Args:
    ell: Multipoles, `[n]`.
    sources: `theory.SourceRedshifts`.
    cosmology: `theory.Cosmology` within the tables of the matter power.
    boost: None, or the matter power over that of halofit, a function of wavenumbers in
      h/Mpc.
    num_distances: Steps of the integral.

  Raises:
    ValueError: If the cosmology lies outside the tables.
  """
  power = matter_power.MatterPower(cosmology)
  farthest = float(cosmology.comoving_distance(sources.redshift[-1]))
  root = (np.arange(num_distances) + 0.5) / num_distances
  distance = farthest * root**2
  step = 2 * farthest * root / num_distances
  kernel = lensing_kernel(distance, sources, cosmology=cosmology)
  redshift = cosmology.redshift_at(distance)
  wavenumber = (np.asarray(ell, np.float64)[:, np.newaxis] + 0.5) / distance
  values = power(wavenumber, redshift)
  if boost is not None:
    values = values * boost(wavenumber)
  return values @ (step * np.square(kernel / distance))


def mean_lens_distance(
  sources: source_redshifts.SourceRedshifts,
  *,
  cosmology: cosmology_lib.Cosmology = cosmology_lib.KAPPATNG,
) -> float:
  """Returns the mean comoving distance of the lenses in Mpc/h, weighted by W.

  Args:
    sources: `theory.SourceRedshifts`.
    cosmology: `theory.Cosmology`.
  """
  farthest = float(cosmology.comoving_distance(sources.redshift[-1]))
  distance = farthest * (np.arange(_NUM_DISTANCES) + 0.5) / _NUM_DISTANCES
  kernel = lensing_kernel(distance, sources, cosmology=cosmology)
  return float(np.average(distance, weights=kernel))
