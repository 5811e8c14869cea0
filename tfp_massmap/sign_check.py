"""A check of the sign of e2, by the E- and B-mode power of a shear map.

Lensing makes E modes. If e2 has the wrong sign, because an x axis to the west was taken
for one to the east or the reverse, a mode at angle phi is turned by 4 phi, and the
signal spreads evenly over E and B modes. The map with the right sign therefore has more
E-mode power. It also has no B-mode power beyond the noise, except for about a tenth of
the E-mode excess, which the mask turns into B modes.

Nothing is changed here: the decision is the caller's.
"""

import dataclasses
import typing

import numpy as np
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import spectra

# Noise maps that are transformed at once: memory must not grow with their number.
_NOISE_BATCH = 8

# With fewer measured pixels the powers are sums of too few modes to have Gaussian
# errors.
_MIN_PIXELS = 100

# In standard deviations. Without any signal a verdict is wrong once in 370 maps.
_SIGNIFICANCE = 3


@dataclasses.dataclass(frozen=True)
class HandednessTest:
  """Excess power over shape noise, in standard deviations of the power of the noise.

  Attributes:
    e_mode: Excess of the E modes, with the sign of e2 as given.
    b_mode: Excess of the B modes, with the sign of e2 as given.
    e_mode_flipped: Excess of the E modes, with the sign of e2 changed.
    b_mode_flipped: Excess of the B modes, with the sign of e2 changed.
    difference: E-mode power with the sign as given minus that with the sign changed, in
      standard deviations of this difference. It is positive if the sign is right.
    num_pixels: Number of measured pixels.
  """

  e_mode: float
  b_mode: float
  _: dataclasses.KW_ONLY
  e_mode_flipped: float
  b_mode_flipped: float
  difference: float
  num_pixels: int

  @property
  def verdict(self) -> typing.Literal["consistent", "wrong sign of e2", "undecided"]:
    """The outcome of the test.

    It is "undecided" if the difference is within 3 standard deviations, and below 100
    measured pixels, where the powers do not have Gaussian errors.
    """
    if self.num_pixels < _MIN_PIXELS or not abs(self.difference) > _SIGNIFICANCE:
      return "undecided"
    return "consistent" if self.difference > 0 else "wrong sign of e2"

  def __str__(self) -> str:
    conclusion = {
      "consistent": "The sign of e2 is consistent with lensing.",
      "wrong sign of e2": "The catalogue has the wrong sign of e2.",
      "undecided": "The sign of e2 remains undecided.",
    }
    return (
      f"The E-mode power exceeds that of the noise by {self.e_mode:.1f} sigma and the"
      f" B-mode power by {self.b_mode:.1f} sigma; with the other sign of e2 it would be"
      f" {self.e_mode_flipped:.1f} and {self.b_mode_flipped:.1f} sigma."
      f" {conclusion[self.verdict]}"
    )


def check_handedness(
  shear_map: shear_map_lib.ShearMap,
  *,
  num_noise_maps: int = 128,
  seed: tuple[int, int] = (1, 2),
) -> HandednessTest:
  """Compares the E-mode power of a shear map with that for the other sign of e2.

  The shear is weighted by its inverse variance, and its modes by k^-1, which is near
  the optimum for a convergence spectrum that falls under the noise. The powers of all
  modes are summed. Maps of Gaussian shape noise in the same mask give the distribution
  of the sums without signal.

  Args:
    shear_map: The data.
    num_noise_maps: Number of noise maps, rounded up to a multiple of 8.
    seed: Stateless seed of the noise maps.

  Returns:
    The test. Without any lensing signal the chance of a wrong verdict is 1 in 370
    (Gaussian tails beyond 3 sigma).
  """
  mask = shear_map.mask
  weight = np.where(mask, 1 / np.where(mask, shear_map.noise_std, 1) ** 2, 0)
  # Weights with mean one keep the statistic of order one in float32.
  weight = tf.constant(weight / weight.mean(), tf.float32)
  noise_std = tf.constant(np.where(mask, shear_map.noise_std, 0), tf.float32)

  def null_powers(index):
    white = tf.random.stateless_normal(
      [_NOISE_BATCH, *noise_std.shape], seed=[seed[0], seed[1] + index]
    )
    return np.concatenate(_powers(noise_std * white * weight))

  data = tf.constant(np.where(mask, shear_map.shear, 0), tf.float32)
  observed = np.concatenate(_powers(data * weight))
  batches = [null_powers(i) for i in range(-(-num_noise_maps // _NOISE_BATCH))]
  null = np.concatenate(batches, axis=-1)
  excess = (observed - null.mean(axis=-1)) / null.std(axis=-1)
  null_difference = null[0] - null[2]
  difference = (observed[0] - observed[2]) / null_difference.std()
  e_mode, b_mode, e_mode_flipped, b_mode_flipped = (float(x) for x in excess)
  return HandednessTest(
    e_mode,
    b_mode,
    e_mode_flipped=e_mode_flipped,
    b_mode_flipped=b_mode_flipped,
    difference=float(difference),
    num_pixels=int(mask.sum()),
  )


def _powers(shear):
  """Returns the powers of E and B, as given and with e2 negated, `[2, ...]` each."""
  flip = tf.constant([1.0, -1.0])[:, tf.newaxis, tf.newaxis]
  return [_weighted_power(shear), _weighted_power(shear * flip)]


def _weighted_power(shear):
  """Returns the sums over all modes of the power of E and B over k, `[2, ...]`."""
  k = np.hypot(*geometry.fourier_frequencies(shear.shape[-2:]))
  k[0, 0] = np.inf
  filtered = [
    spectra.fourier_filter(mode, tf.constant(k**-0.5, tf.float32))
    for mode in lensing.convergence_from_shear(shear)
  ]
  return np.stack([np.mean(np.square(f), axis=(-2, -1)) for f in filtered])
