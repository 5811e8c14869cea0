"""The power spectrum of the simulated maps before the last filter, by the halo model.

  C(ell) = sum_s C_s(ell) (smooth_s + sum_j b_j k_sj(ell))^2 + sum_h A_h^2 u_h(ell)^2,

where s runs over shells, j over bins of halo mass, h over haloes; A is the sum over
pixels of a halo's convergence, u its profile, and k_sj the mean convergence of the
haloes of a bin. `transfer` turns it into the filter that gives the power one wants.
"""

import numpy as np

# Convergence power of kappaTNG over that of halofit: baryons and the softening of the
# ray tracing take power from small scales.
_MULTIPOLES = (
  1500,
  2000,
  2500,
  3100,
  4100,
  5300,
  6900,
  8900,
  11600,
  15000,
  19500,
  25300,
  32800,
  46000,
)  # pyformat: disable
_RATIOS = (
  1.0,
  0.95,
  0.92,
  0.88,
  0.86,
  0.835,
  0.81,
  0.78,
  0.74,
  0.695,
  0.645,
  0.595,
  0.575,
  0.55,
)  # pyformat: disable
_SCATTER_NODES = 5


def kappatng_over_halofit(ell):
  """Power of kappaTNG over halofit's, `[n]`; constant beyond ell 1500 and 46000.

  Averages of genuine maps agree with it to some 5 %.
  """
  return np.exp(np.interp(np.log(ell), np.log(_MULTIPOLES), np.log(_RATIOS)))


def halo_moments(population, painter, *, mass_bin, scatter):
  """Mean sum of A and of A^2 over the haloes of a bin, per pixel and template.

  Args:
    population: `halo_population.HaloPopulation`.
    painter: `painting.HaloPainter`.
    mass_bin: one of the population's bins.
    scatter: standard deviation of ln c.

  Returns:
    Two float64 arrays `[num_angles, num_concentrations]`.
  """
  nodes, weights = np.polynomial.hermite_e.hermegauss(_SCATTER_NODES)
  weights = weights / weights.sum()
  mass = mass_bin.mass[:, None, None]
  distance = population.shell.distances()[:, None]
  shares = distance**2 / (distance**2).sum()
  volume = population.shell.volume(population.pixel_radians**2)
  number = mass_bin.density[:, None, None] * volume * shares * weights
  amplitude = population.amplitude(mass, distance) + 0 * weights
  concentration = population.concentration(mass) * np.exp(scatter * nodes)
  angle, concentration = np.broadcast_arrays(
    population.angle(mass, distance), concentration + 0 * distance
  )
  rows, columns = painter.nodes(angle, concentration)
  first, second = np.zeros([2, np.prod(painter.num_nodes)])
  for row_step in (0, 1):
    for column_step in (0, 1):
      row, column = rows.astype(int), columns.astype(int)
      share = np.abs(1 - row_step - (rows - row)) * np.abs(
        1 - column_step - (columns - column)
      )
      index = (row + row_step, column + column_step)
      flat = np.ravel_multi_index(index, painter.num_nodes).ravel()
      mean = share * number * amplitude
      first += np.bincount(flat, mean.ravel(), first.size)
      second += np.bincount(flat, (mean * amplitude).ravel(), first.size)
  return first.reshape(painter.num_nodes), second.reshape(painter.num_nodes)
