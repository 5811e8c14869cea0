"""GLIMPSE: sparse recovery in starlets (Lanusse et al. 2016, A&A 591, A2).

The estimate is the minimum

  min over kappa >= 0 of 1/2 |gamma - A kappa|^2_N + sum_j |t_j F_j kappa|_1.

F_j are the starlet scales without the smooth remainder, which is not penalised. t_j is
a threshold times the standard deviation that noise gives the scale j of the gradient
A' N^-1 gamma, pixel by pixel. The minimum is found by the primal-dual iteration of
Condat (2013) and Vu (2013).

Shrinkage biases strong coefficients low. Re-weighting (Candes, Wakin and Boyd 2008)
reduces this bias: t_j is divided by 1 + |F_j kappa| w / t_j, and the iteration resumes.
With w the mean inverse variance of measured pixels, t_j / w is the threshold of the
coefficient itself, and the penalty of a coefficient of that size is halved.

Shear carries no information about the mean of the map, so that positivity holds
relative to a free level. The level rises with the iterations, and positivity binds
fewer and fewer pixels. The number of iterations is therefore part of the method.
"""

from collections.abc import Callable
import dataclasses
import typing

import numpy as np
import tensorflow as tf

from tfp_massmap import gaussian_posterior
from tfp_massmap import lensing
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import spectra
from tfp_massmap import wavelets
from tfp_massmap.baselines import mass_map
from tfp_massmap.baselines import noise_propagation

# Smallest noise that sets t_j, over that of a typical measured pixel. Without it, the
# penalty vanishes inside gaps of the data, and spikes grow there.
_LEAST_NOISE = 0.5


@dataclasses.dataclass(frozen=True)
class GlimpseSettings:
  """Settings of GLIMPSE.

  They were chosen together, for the smallest error on simulated fields of the COSMOS
  survey. `examples/benchmarks/baseline_settings.py` varies each alone: on four fields
  the error rises by 1 % for thresholds 10 % lower or higher, by 0.5 % at most for 25 to
  200 iterations, by 0.3 % without or with a second re-weighting, and by 2 % without
  positivity.

  Attributes:
    thresholds: Weights of the penalty in standard deviations of the noise, one for each
      starlet scale from the finest. The scales need maps of at least 64 pixels a side.
    num_iterations: Number of primal-dual iterations, before and after each
      re-weighting.
    num_reweightings: Number of times that the penalty is re-weighted.
    positive: Whether the convergence is kept positive.

  Raises:
    ValueError: If there is not at least one iteration, or `num_reweightings` is
      negative.
  """

  thresholds: tuple[float, ...] = (3.25, 2.25, 2.25, 2.25, 2.25, 2.25)
  num_iterations: int = 50
  _: dataclasses.KW_ONLY
  num_reweightings: int = 1
  positive: bool = True

  def __post_init__(self) -> None:
    if self.num_iterations < 1 or self.num_reweightings < 0:
      raise ValueError(
        "num_iterations must be positive and num_reweightings not negative; got"
        f" {self.num_iterations} and {self.num_reweightings}."
      )


def estimate(
  shear_map: shear_map_lib.ShearMap, settings: GlimpseSettings = GlimpseSettings()
) -> mass_map.MassMap:
  """Returns the sparse estimate of the convergence.

  Args:
    shear_map: Data with their noise and mask.
    settings: `GlimpseSettings`.

  Returns:
    A `MassMap` of mean zero.

  Raises:
    TypeError: If `shear_map` is not a `ShearMap`.
    ValueError: If thresholds are not positive, or there are more of them than scales of
      2, 4, 8, ... pixels fit into the map.
  """
  reconstruct = reconstructor(shear_map, settings)
  shear, _ = noise_propagation.weighted_data(shear_map)
  kappa = reconstruct(shear[tf.newaxis])[0].numpy()
  described = dict(
    thresholds=str(tuple(settings.thresholds)),
    num_iterations=settings.num_iterations,
    num_reweightings=settings.num_reweightings,
    positive=settings.positive,
  )
  return mass_map.MassMap(kappa, shear_map.grid, method="glimpse", settings=described)


def standard_deviation(
  shear_map: shear_map_lib.ShearMap,
  settings: GlimpseSettings = GlimpseSettings(),
  *,
  num_realisations: int = 16,
  seed: int = 0,
) -> np.ndarray:
  """Returns the noise propagated through the method, `[ny, nx]`.

  New noise is added to the shear of the estimate itself. The signal that shrinkage
  removes is not included.

  Args:
    shear_map: Data with their noise and mask.
    settings: `GlimpseSettings`.
    num_realisations: Number of noise draws, at least 2. The relative error of a pixel
      is (2 (num_realisations - 1))^-1/2.
    seed: Seed of the draws.

  Raises:
    TypeError: As `estimate`.
    ValueError: As `estimate`, or if there are fewer than two draws.
  """
  return noise_propagation.standard_deviation(
    reconstructor(shear_map, settings),
    shear_map,
    num_realisations=num_realisations,
    seed=seed,
  )


def reconstructor(
  shear_map: shear_map_lib.ShearMap, settings: GlimpseSettings
) -> Callable[[tf.Tensor], tf.Tensor]:
  """Returns the estimator as a function of shear, for the noise and mask of the data.

  Args:
    shear_map: Data with their noise and mask.
    settings: `GlimpseSettings`.

  Returns:
    Function of shear, float32 `[batch, 2, ny, nx]`, that returns convergence
    `[batch, ny, nx]`.

  Raises:
    TypeError, ValueError: As `estimate`.
  """
  mass_map.check_shear_map(shear_map, "GLIMPSE")
  _, weight = noise_propagation.weighted_data(shear_map)
  shape = shear_map.grid.shape
  factors = noise_propagation.checked_thresholds(settings.thresholds, shape)
  inverse_variance = weight.numpy()
  filters, limits = penalty(inverse_variance, factors)
  constants = _Penalty(
    filters=tf.constant(filters, tf.float32),
    limits=tf.constant(limits, tf.float32),
    typical_weight=tf.constant(
      inverse_variance[inverse_variance > 0].mean(), tf.float32
    ),
    frame_bound=tf.constant(np.max(np.sum(filters**2, axis=0)), tf.float32),
  )
  num_iterations = tf.constant(settings.num_iterations)
  num_reweightings = tf.constant(settings.num_reweightings)
  positive = tf.constant(settings.positive)
  return lambda shear: _minimise(
    shear, weight, constants, num_iterations, num_reweightings, positive
  )


def penalty(
  inverse_variance: np.ndarray, factors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the starlet scales and their weights t_j.

  Args:
    inverse_variance: `[2, ny, nx]`, zero in masked pixels.
    factors: Thresholds in standard deviations, `[num_scales, 1, 1]`.

  Returns:
    `(filters, limits)`: transfer functions `[num_scales, ny, nx // 2 + 1]`, and t_j,
    `[num_scales, ny, nx]`. Where the mask leaves hardly any noise, t_j is held up to
    that of half the typical noise.
  """
  shape = inverse_variance.shape[-2:]
  filters = wavelets.fourier_filters(shape, len(factors))[:-1]
  noise = np.sqrt(noise_propagation.filtered_variance(inverse_variance, filters))
  typical = np.mean(noise, axis=(1, 2), where=inverse_variance[0] > 0, keepdims=True)
  return filters, factors * np.maximum(noise, _LEAST_NOISE * typical)


class _Penalty(typing.NamedTuple):
  """The penalty of one noise map, float32.

  Attributes:
    filters: F_j, `[num_scales, ny, nx // 2 + 1]`.
    limits: t_j, `[num_scales, ny, nx]`.
    typical_weight: w.
    frame_bound: |F|^2, the largest of sum_j F_j^2.
  """

  filters: tf.Tensor
  limits: tf.Tensor
  typical_weight: tf.Tensor
  frame_bound: tf.Tensor


@tf.function(autograph=False)
def _minimise(shear, weight, sparsity, num_iterations, num_reweightings, positive):
  weighted = gaussian_posterior.Weighted(weight)
  sides = list(weighted.shape)
  filters, limits = sparsity.filters, sparsity.limits
  inverse = lambda modes: tf.signal.irfft2d(modes, fft_length=sides)
  analyse = lambda modes: wavelets.coefficients_of_modes(modes, filters, shape=sides)
  synthesise = lambda dual: tf.reduce_sum(
    spectra.scale_modes(filters, tf.signal.rfft2d(dual)), axis=1
  )
  data = lensing.modes_from_shear(weight * shear)
  # Converges for 1 / primal - dual |F|^2 >= L / 2, where L is the largest inverse
  # noise.
  lipschitz = tf.reduce_max(weight)
  dual_step = lipschitz / 2
  primal_step = 1 / (lipschitz / 2 + dual_step * sparsity.frame_bound)

  def iterate(limit, modes, dual):
    gradient = weighted.precision_modes(modes) - data + synthesise(dual)
    stepped = inverse(modes - spectra.scale_modes(primal_step, gradient))
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
    # Divided by the typical weight, a threshold of the gradient is one of a
    # coefficient.
    size = tf.abs(analyse(modes)) * sparsity.typical_weight / limits
    return index + 1, *minimise(limits / (1 + size), modes, dual)

  batch = tf.shape(shear)[0]
  every = tf.broadcast_to(limits, [batch, *limits.shape])
  modes, dual = minimise(every, tf.zeros_like(data), tf.zeros_like(every))
  _, modes, _ = tf.while_loop(
    lambda index, modes, dual: index < num_reweightings, reweight, (0, modes, dual)
  )
  kappa = inverse(modes)
  return kappa - tf.reduce_mean(kappa, axis=(1, 2), keepdims=True)
