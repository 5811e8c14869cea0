"""E- and B-mode power of a shear map: does its sign convention make sense?

Lensing makes E modes. If e2 has the wrong sign (an x axis to the west taken for one
to the east, or the reverse), a mode at angle phi is turned by 4 phi, and the signal
spreads evenly over E and B. So the catalogue with the right handedness has the more
E-mode power, and no B-mode power beyond the noise, but for the tenth or so of the
E-mode excess that the mask turns into B modes. Nothing is changed here: the caller
decides.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import spectra

_NOISE_BATCH = 8
_MIN_PIXELS = 100


@dataclasses.dataclass(frozen=True)
class HandednessTest:
  """Excess power over shape noise, in standard deviations of the noise power.

  Attributes:
    e_mode, b_mode: of the shear as given.
    e_mode_flipped, b_mode_flipped: with the sign of e2 changed.
    difference: of `e_mode` minus `e_mode_flipped` as powers, in standard deviations
      of that difference: positive if the sign given is the right one.
    num_pixels: measured pixels.
  """

  e_mode: float
  b_mode: float
  _: dataclasses.KW_ONLY
  e_mode_flipped: float
  b_mode_flipped: float
  difference: float
  num_pixels: int

  @property
  def verdict(self):
    """ "consistent", "wrong sign of e2", or "undecided".

    Undecided within 3 sigma, and below 100 measured pixels, where the powers are too
    few to have Gaussian errors.
    """
    if self.num_pixels < _MIN_PIXELS:
      return "undecided"
    if self.difference > 3:
      return "consistent"
    return "wrong sign of e2" if self.difference < -3 else "undecided"

  def __str__(self):
    return (
      f"E-mode excess {self.e_mode:.1f} sigma, B-mode {self.b_mode:.1f} sigma; with"
      f" the sign of e2 changed E {self.e_mode_flipped:.1f}, B"
      f" {self.b_mode_flipped:.1f} sigma: {self.verdict}"
    )


def check_handedness(shear_map, num_noise_maps=128, *, seed=(1, 2)):
  """Compares the E-mode power of a shear map with either sign of e2.

  Inverse-variance weighted modes, each weighted by k^-1 (near the optimum for a
  spectrum that falls as a convergence spectrum does under noise), summed; null
  distribution from maps of Gaussian shape noise in the same mask.

  Args:
    shear_map: `shear_map.ShearMap`.
    num_noise_maps: noise maps for the null distribution, rounded up to 8.
    seed: a pair of integers, stateless seed of the noise maps.

  Returns:
    A `HandednessTest`. With no lensing signal at all, the chance of a wrong verdict
    is 1 in 370 (Gaussian tails beyond 3 sigma).
  """
  weight = np.where(
    shear_map.mask, 1 / np.where(shear_map.mask, shear_map.noise_std, 1) ** 2, 0
  )
  # Unit weights on average keep the statistic of order one in float32.
  weight = tf.constant(weight / weight.mean(), tf.float32)
  noise_std = np.where(shear_map.mask, shear_map.noise_std, 0)
  noise_std = tf.constant(noise_std, tf.float32)

  def null_powers(index):
    # A few maps at a time: memory must not grow with their number.
    white = tf.random.stateless_normal(
      [_NOISE_BATCH, *noise_std.shape], seed=[seed[0], seed[1] + index]
    )
    return np.concatenate(_powers(noise_std * white * weight))

  data = tf.constant(np.where(shear_map.mask, shear_map.shear, 0), tf.float32)
  observed = np.concatenate(_powers(data * weight))
  batches = [null_powers(i) for i in range(-(-num_noise_maps // _NOISE_BATCH))]
  null = np.concatenate(batches, axis=-1)
  excess = (observed - null.mean(axis=-1)) / null.std(axis=-1)
  null_difference = null[0] - null[2]
  difference = (observed[0] - observed[2]) / null_difference.std()
  return HandednessTest(
    *(float(x) for x in [*excess, difference]), int(shear_map.mask.sum())
  )


def _powers(shear):
  """[E, B] and [E, B] with e2 negated, weighted power sums `[2, ...]` each."""
  flip = tf.constant([1.0, -1.0])[:, tf.newaxis, tf.newaxis]
  return [_weighted_power(shear), _weighted_power(shear * flip)]


def _weighted_power(shear):
  k = np.hypot(*geometry.fourier_frequencies(shear.shape[-2:]))
  k[0, 0] = np.inf
  filtered = [
    spectra.fourier_filter(mode, tf.constant(k**-0.5, tf.float32))
    for mode in lensing.convergence_from_shear(shear)
  ]
  return np.stack([np.mean(np.square(f), axis=(-2, -1)) for f in filtered])
