"""Power spectrum of the convergence for an n(z), without building a simulator.

It is the halofit power in the Limber approximation, times the ratio of kappaTNG to
halofit (`power_model.kappatng_over_halofit`). `ConvergenceSimulator` filters its maps
to this power.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tfp_massmap.simulate import cosmology_tables
from tfp_massmap.simulate import power_model
from tfp_massmap.simulate import shells
from tfp_massmap.simulate import source_planes

# Power up to ell 1,500 over that of `power_model.kappatng_over_halofit`. It rises to 1
# at ell 3,000. `examples/benchmarks/simulator.py` compares it with kappaTNG.
LARGE_SCALE_POWER = 0.96
_LARGE_SCALES = (1500, 3000)


def kappatng_power(
  ell: npt.ArrayLike,
  plane_weights: npt.ArrayLike | Callable | None = None,
  *,
  tables: cosmology_tables.CosmologyTables | None = None,
  large_scale_power: float = LARGE_SCALE_POWER,
) -> np.ndarray:
  """Returns C_ell of kappaTNG for sources on its planes, in steradian, `[n]`.

  Args:
    ell: Multipoles, `[n]`.
    plane_weights: Sources, as `source_planes.resolve_weights` takes them; None for the
      shape catalogue of COSMOS.
    tables: Tables of the cosmology; None for that of kappaTNG.
    large_scale_power: Power up to ell 1,500 over the ratio of kappaTNG to halofit.

  Raises:
    ValueError: If there are not 40 weights, or some are negative.
  """
  weights = source_planes.resolve_weights(plane_weights)
  tables = tables or cosmology_tables.CosmologyTables.load()
  halofit = shells.limber_power(ell, weights, tables=tables)
  return halofit * kappatng_over_halofit(ell, large_scale_power)


def kappatng_over_halofit(
  ell: npt.ArrayLike, large_scale_power: float = LARGE_SCALE_POWER
) -> np.ndarray:
  """Returns the power of the simulator's maps over that of halofit, `[n]`.

  Args:
    ell: Multipoles, `[n]`.
    large_scale_power: As in `kappatng_power`.
  """
  large_scales = np.interp(np.log(ell), np.log(_LARGE_SCALES), [large_scale_power, 1.0])
  return power_model.kappatng_over_halofit(ell) * large_scales
