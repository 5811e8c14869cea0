"""The power spectrum of the simulated maps before the last filter, by the halo model.

  C(ell) = sum_s C_s(ell) (smooth_s + sum_j b_j k_sj(ell))^2 + sum_h A_h^2 u_h(ell)^2,

where s runs over shells, j over bins of halo mass and h over haloes. A is the sum over
pixels of a halo's convergence, u its profile, and k_sj the mean convergence of the
haloes of a bin. `ConvergenceSimulator` divides the wanted power by this one to get its
filter.
"""

import typing

import numpy as np

if typing.TYPE_CHECKING:
  from tfp_massmap.simulate import halo_population
  from tfp_massmap.simulate import painting

# Gauss-Hermite nodes over the scatter of concentrations, which a halo's power depends
# on smoothly.
_SCATTER_NODES = 5


def halo_moments(
  population: "halo_population.HaloPopulation",
  painter: "painting.HaloPainter",
  *,
  mass_bin: "halo_population.MassBin",
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the mean sums of A and A^2 over haloes of a bin, by pixel and template.

  Args:
    population: Haloes of a shell.
    painter: Painter of the map.
    mass_bin: One of the population's bins.

  Returns:
    Two float64 arrays `[num_angles, num_concentrations]`.
  """
  number, amplitude, angle, concentration = _quadrature(population, mass_bin)
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


def _quadrature(population, mass_bin):
  """Returns number per pixel, A, angle and concentration of the haloes of a bin.

  The axes are mass, distance and scatter of the concentration.
  """
  nodes, weights = np.polynomial.hermite_e.hermegauss(_SCATTER_NODES)
  weights = weights / weights.sum()
  mass = mass_bin.mass[:, None, None]
  distance = population.shell.distances()[:, None]
  shares = distance**2 / (distance**2).sum()
  volume = population.shell.volume(population.pixel_radians**2)
  number = mass_bin.density[:, None, None] * volume * shares * weights
  amplitude = population.amplitude(mass, distance) + 0 * weights
  scatter = np.exp(population.recipe.concentration_scatter * nodes)
  concentration = population.concentration(mass) * scatter
  angle, concentration = np.broadcast_arrays(
    population.angle(mass, distance), concentration + 0 * distance
  )
  return number, amplitude, angle, concentration
