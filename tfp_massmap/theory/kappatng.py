"""Small scales of the kappaTNG simulations (Osato et al. 2021) against halofit.

Baryons, and the softening of the ray tracing, take power from small scales. Which
multipoles that concerns depends on the distance of the lenses, and so on n(z): the table
here is of wavenumbers. It is the smooth one whose projection for the n(z) of COSMOS is
the ratio that the simulator uses (`simulate.power_model.kappatng_over_halofit` and
`simulate.convergence_power.LARGE_SCALE_POWER`), within 1.3 % from ell 300 to 60,000
(tests/theory/test_kappatng.py; `examples/benchmarks/theory.py --boost` fits it).
"""

import numpy as np
import numpy.typing as npt

WAVENUMBERS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)  # h/Mpc
RATIOS = (0.954, 1.014, 0.911, 0.854, 0.775, 0.577, 0.534, 0.56)


def boost(wavenumber: npt.ArrayLike) -> np.ndarray:
  """Returns the matter power of kappaTNG over that of halofit.

  It is constant below 0.5 and above 64 h/Mpc. It was found at one cosmology and one
  n(z), and that it depends on the wavenumber alone is an assumption.

  Args:
    wavenumber: Comoving, in h/Mpc, of any shape.
  """
  return np.interp(np.log(wavenumber), np.log(WAVENUMBERS), RATIOS)
