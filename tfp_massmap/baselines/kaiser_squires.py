"""Kaiser-Squires inversion with Gaussian smoothing (paper section 3.1, Eq. 10, 11).

N. Kaiser and G. Squires 1993, ApJ 404, 441. Masked pixels count as zero shear.
"""

from astropy import units as u
import numpy as np
import tensorflow as tf

from tfp_massmap import lensing
from tfp_massmap import spectra
from tfp_massmap.baselines import mass_map

DEFAULT_SMOOTHING = 1 * u.arcmin


def estimate(shear_map, smoothing=DEFAULT_SMOOTHING):
  """E-mode convergence smoothed by a Gaussian.

  Args:
    shear_map: `shear_map.ShearMap`.
    smoothing: standard deviation of the Gaussian, an angle.

  Returns:
    A `MassMap`.
  """
  grid = shear_map.grid
  sigma = u.Quantity(smoothing).to_value(u.rad)
  transfer = np.exp(-0.5 * (grid.multipoles() * sigma) ** 2)
  shear = np.where(shear_map.mask, shear_map.shear, 0)
  kappa = lensing.convergence_from_shear(tf.constant(shear, tf.float32))[0]
  smooth = spectra.fourier_filter(kappa, tf.constant(transfer, tf.float32))
  arcmin = u.Quantity(smoothing).to_value(u.arcmin)
  return mass_map.MassMap(
      smooth.numpy(), grid, "kaiser_squires", dict(smoothing_arcmin=float(arcmin))
  )
