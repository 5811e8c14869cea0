"""GLIMPSE: sparse recovery in starlets (Lanusse et al. 2016, A&A 591, A2).

  min over kappa >= 0 of 1/2 |gamma - A kappa|^2_N + sum_j |t_j F_j kappa|_1

F_j are the starlet scales but the smooth rest, which has no penalty; t_j is a threshold
times the standard deviation that noise gives the scale j of the gradient A' N^-1 gamma,
pixel by pixel. The minimum is found by the primal-dual iteration of Condat (2013) and
Vu (2013). Re-weighting (Candes, Wakin and Boyd 2008) then divides t_j by
1 + |F_j kappa| w / t_j and goes on, which gives strong coefficients back what shrinkage
took. With w the mean inverse variance of measured pixels, t_j / w is the threshold of
the coefficient itself: one as large as that has its penalty halved.

Shear does not know the mean of the map: positivity is with respect to a level that is
free. The level rises as the iteration goes on, and positivity binds ever fewer pixels.
Thresholds and numbers of iterations were chosen together, on simulated fields.
"""

import numpy as np
import tensorflow as tf

from tfp_massmap import gaussian_posterior
from tfp_massmap import lensing
from tfp_massmap import wavelets
from tfp_massmap.baselines import mass_map
from tfp_massmap.baselines import noise_propagation

DEFAULT_THRESHOLDS = (3.25, 2.25, 2.25, 2.25, 2.25, 2.25)
_LEAST_NOISE = 0.5


def estimate(
  shear_map,
  thresholds=DEFAULT_THRESHOLDS,
  *,
  num_iterations=50,
  num_reweightings=1,
  positive=True,
):
  """Sparse estimate of the convergence.

  Args:
    shear_map: `shear_map.ShearMap`.
    thresholds: weights of the penalty, in standard deviations of the noise, one for
      each starlet scale from the finest.
    num_iterations: primal-dual iterations, before and after each re-weighting.
    num_reweightings: how often the penalty is re-weighted.
    positive: whether convergence is kept positive.

  Returns:
    A `MassMap` of mean zero.

  Raises:
    TypeError, ValueError: for what is no `ShearMap`, thresholds that are not positive,
      more of them than scales of 2, 4, 8, ... pixels fit into the map, or less than one
      iteration.
  """
  shear, weight = _data(shear_map)
  reconstruct = _reconstructor(
    weight, thresholds, num_iterations, num_reweightings, positive
  )
  kappa = reconstruct(shear[tf.newaxis])[0].numpy()
  settings = dict(
    thresholds=str(tuple(thresholds)),
    num_iterations=num_iterations,
    num_reweightings=num_reweightings,
    positive=positive,
  )
  return mass_map.MassMap(kappa, shear_map.grid, method="glimpse", settings=settings)


def standard_deviation(
  shear_map,
  thresholds=DEFAULT_THRESHOLDS,
  *,
  num_iterations=50,
  num_reweightings=1,
  positive=True,
  num_realisations=16,
  seed=0,
):
  """Noise propagated through the method, `[ny, nx]`.

  New noise on the shear of the estimate itself; what shrinkage takes from the signal is
  not in it.

  Args:
    num_realisations: at least 2; the relative error of a pixel is
      (2 (num_realisations - 1))^-1/2.
    seed: integer.
    (the others): as `estimate`.

  Raises:
    TypeError, ValueError: as `estimate`; ValueError for fewer than two realisations.
  """
  _, weight = _data(shear_map)
  reconstruct = _reconstructor(
    weight, thresholds, num_iterations, num_reweightings, positive
  )
  return noise_propagation.standard_deviation(
    reconstruct, shear_map, num_realisations=num_realisations, seed=seed
  )


def penalty(inverse_variance, factors):
  """Scales and their weights t_j.

  Args:
    inverse_variance: `[2, ny, nx]`, zero in masked pixels.
    factors: thresholds in standard deviations, `[num_scales, 1, 1]`.

  Returns:
    `(filters, limits)`: transfer functions `[num_scales, ny, nx // 2 + 1]`, and t_j,
    `[num_scales, ny, nx]`. Where the mask leaves hardly any noise, t_j is held up: what
    the data do not see is not free.
  """
  shape = inverse_variance.shape[-2:]
  filters = wavelets.fourier_filters(shape, len(factors))[:-1]
  noise = np.sqrt(noise_propagation.filtered_variance(inverse_variance, filters))
  typical = np.mean(noise, axis=(1, 2), where=inverse_variance[0] > 0, keepdims=True)
  return filters, factors * np.maximum(noise, _LEAST_NOISE * typical)


def _data(shear_map):
  mass_map.check_shear_map(shear_map, "GLIMPSE")
  return noise_propagation.weighted_data(shear_map)


def _reconstructor(weight, thresholds, num_iterations, num_reweightings, positive):
  """Function of shear `[batch, 2, ny, nx]` to convergence `[batch, ny, nx]`."""
  factors = noise_propagation.checked_thresholds(thresholds, weight.shape[-2:])
  if num_iterations < 1 or num_reweightings < 0:
    raise ValueError(
      "num_iterations must be positive and num_reweightings not negative; got"
      f" {num_iterations} and {num_reweightings}."
    )
  inverse_variance = weight.numpy()
  filters, limits = penalty(inverse_variance, factors)
  constants = (
    tf.constant(filters, tf.float32),
    tf.constant(limits, tf.float32),
    tf.constant(inverse_variance[inverse_variance > 0].mean(), tf.float32),
    tf.constant(np.max(np.sum(filters**2, axis=0)), tf.float32),
  )
  counts = tf.constant(num_iterations), tf.constant(num_reweightings)
  return lambda shear: _minimise(
    shear, weight, *constants, *counts, tf.constant(positive)
  )


@tf.function(autograph=False)
def _minimise(
  shear,
  weight,
  filters,
  limits,
  typical_weight,
  frame_bound,
  num_iterations,
  num_reweightings,
  positive,
):
  weighted = gaussian_posterior.Weighted(weight)
  sides = list(weighted.shape)
  inverse = lambda modes: tf.signal.irfft2d(modes, fft_length=sides)
  scaled = lambda factor, modes: tf.cast(factor, modes.dtype) * modes
  analyse = lambda modes: inverse(scaled(filters, modes[:, tf.newaxis]))
  synthesise = lambda dual: tf.reduce_sum(
    scaled(filters, tf.signal.rfft2d(dual)), axis=1
  )
  data = lensing.modes_from_shear(weight * shear)
  # Converges for 1 / primal - dual |F|^2 >= L / 2, L the largest inverse noise.
  lipschitz = tf.reduce_max(weight)
  dual_step = lipschitz / 2
  primal_step = 1 / (lipschitz / 2 + dual_step * frame_bound)

  def iterate(limit, modes, dual):
    gradient = weighted.precision_modes(modes) - data + synthesise(dual)
    stepped = inverse(modes - scaled(primal_step, gradient))
    stepped = tf.where(positive, tf.nn.relu(stepped), stepped)
    following = tf.signal.rfft2d(stepped)
    dual = dual + dual_step * analyse(2 * following - modes)
    return following, tf.clip_by_value(dual, -limit, limit)

  def minimise(limit, modes, dual):
    _, modes, dual = tf.while_loop(
      lambda i, modes, dual: i < num_iterations,
      lambda i, modes, dual: (i + 1, *iterate(limit, modes, dual)),
      (0, modes, tf.clip_by_value(dual, -limit, limit)),
    )
    return modes, dual

  def reweight(index, modes, dual):
    # Over typical_weight, the threshold of a gradient is that of a coefficient.
    size = tf.abs(analyse(modes)) * typical_weight / limits
    return index + 1, *minimise(limits / (1 + size), modes, dual)

  batch = tf.shape(shear)[0]
  every = tf.broadcast_to(limits, [batch, *limits.shape])
  modes, dual = minimise(every, tf.zeros_like(data), tf.zeros_like(every))
  _, modes, _ = tf.while_loop(
    lambda index, modes, dual: index < num_reweightings, reweight, (0, modes, dual)
  )
  kappa = inverse(modes)
  return kappa - tf.reduce_mean(kappa, axis=(1, 2), keepdims=True)
