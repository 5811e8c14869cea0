"""The simulator's convergence power as a `spectra.PowerSpectrum`, for priors."""

import numpy as np

from tfp_massmap import spectra
from tfp_massmap.simulate import convergence_power

# Multipoles of the table: fields up to 36 deg, pixels down to 0.1 arcmin.
_ELL = np.geomspace(10, 3e5, 240)


def convergence_spectrum(
  plane_weights: np.ndarray | None = None,
) -> spectra.PowerSpectrum:
  """Returns the power of the simulator's maps from ell 10 to 300,000.

  Args:
    plane_weights: Weights of the 40 source planes, `[40]`; None for the shape catalogue
      of COSMOS.

  Raises:
    ValueError: If there are not 40 weights, or some are negative.
  """
  power = convergence_power.kappatng_power(_ELL, plane_weights)
  return spectra.PowerSpectrum(_ELL, power, name="kappaTNG power, by the simulator")
