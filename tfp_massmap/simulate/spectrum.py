"""The simulator's convergence power as a `spectra.PowerSpectrum`, for priors."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tfp_massmap import spectra
from tfp_massmap.simulate import convergence_power

# Multipoles of the table: fields up to 36 deg, pixels down to 0.1 arcmin.
_ELL = np.geomspace(10, 3e5, 240)


def convergence_spectrum(
  plane_weights: npt.ArrayLike | Callable | None = None,
) -> spectra.PowerSpectrum:
  """Returns the power of the simulator's maps from ell 10 to 300,000.

  Args:
    plane_weights: Sources, as `source_planes.resolve_weights` takes them; None for the
      shape catalogue of COSMOS.

  Raises:
    ValueError: If there are not 40 weights, or some are negative.
  """
  power = convergence_power.kappatng_power(_ELL, plane_weights)
  return spectra.PowerSpectrum(_ELL, power, name="kappaTNG power, by the simulator")
