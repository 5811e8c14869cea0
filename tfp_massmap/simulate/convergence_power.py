"""Power spectrum of the convergence for an n(z), without building a simulator.

Halofit power in the Limber approximation, times the ratio of kappaTNG to halofit
(`power_model.kappatng_over_halofit`). `ConvergenceSimulator` filters its maps to it.
"""

import numpy as np

from tfp_massmap.simulate import cosmology_tables
from tfp_massmap.simulate import power_model
from tfp_massmap.simulate import shells
from tfp_massmap.simulate import source_planes

# Power up to ell 1,500 over that of `power_model.kappatng_over_halofit`; it rises to 1 at
# ell 3,000. `examples/benchmarks/simulator.py` compares it with kappaTNG.
LARGE_SCALE_POWER = 0.96


def kappatng_power(
  ell: np.ndarray,
  plane_weights: np.ndarray | None = None,
  *,
  tables: cosmology_tables.CosmologyTables | None = None,
  large_scale_power: float = LARGE_SCALE_POWER,
) -> np.ndarray:
  """Returns C_ell of kappaTNG for sources on its planes, in steradian, `[n]`.

  Args:
    ell: Multipoles, `[n]`.
    plane_weights: Weights of the 40 source planes, `[40]`; None for the shape catalogue
      of COSMOS.
    tables: `CosmologyTables`; None for the cosmology of kappaTNG.
    large_scale_power: Power up to ell 1,500 over the ratio of kappaTNG to halofit.

  Raises:
    ValueError: If there are not 40 weights, or some are negative.
  """
  weights = source_planes.COSMOS_WEIGHTS if plane_weights is None else plane_weights
  weights = source_planes.check_weights(weights)
  tables = tables or cosmology_tables.CosmologyTables.load()
  halofit = shells.convergence_power(ell, weights, tables=tables)
  large_scales = np.interp(np.log(ell), np.log([1500, 3000]), [large_scale_power, 1.0])
  return halofit * power_model.kappatng_over_halofit(ell) * large_scales
