"""MCALens: a Gaussian field plus a sparse one (Starck et al. 2021, A&A 649, A99).

The data are gamma = A (kappa_G + kappa_S) + n, where kappa_G has a power spectrum, and
kappa_S is positive and sparse in starlets. The two are updated in turn,

  kappa_G <- Wiener filter of gamma - A kappa_S,
  kappa_S <- [sum_j threshold_j(F_j (kappa_S + D A' N^-1 r))]_+,
  r = gamma - A kappa_G - A kappa_S,

with F_j the starlet scale j and D = S + N the step with which both converge fast.
Thresholds are in units of the standard deviation that noise and Gaussian field give a
coefficient without a sparse component, pixel by pixel.

Starck et al. keep the coefficients that are detected and fit them without penalty. The
error then has its minimum after some iterations, and rises later. Here coefficients are
shrunk (soft thresholds), so that the iteration converges, and it stops when the fit to
the data stops changing.
"""

from collections.abc import Callable
import dataclasses
import typing

import numpy as np
import tensorflow as tf

from tfp_massmap import gaussian_posterior
from tfp_massmap import lensing
from tfp_massmap import priors
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import spectra
from tfp_massmap import wavelets
from tfp_massmap.baselines import mass_map
from tfp_massmap.baselines import noise_propagation

# Conjugate-gradient iterations that update kappa_G. It starts from the last kappa_G, so
# that few are enough; the first and the last update have twice as many.
_WIENER_ITERATIONS = 4
# Residual at which an update of kappa_G stops earlier, that of `wiener.estimate`.
_WIENER_RTOL = 1e-5


@dataclasses.dataclass(frozen=True)
class MCALensSettings:
  """Settings of MCALens.

  Thresholds and scales were chosen for the smallest error on 12 simulated fields of the
  COSMOS survey with pixels of 0.29 arcmin. `examples/benchmarks/baseline_settings.py`
  varies each alone: on four fields the error rises by 0.7 % for thresholds 20 % lower,
  by 0.1 % for 25 % higher ones, and by 5 % with finest scale 1. Tolerances from 0.001
  to 0.01 make no difference.

  Attributes:
    thresholds: In standard deviations of a coefficient, one for each starlet scale of
      kappa_S. The other scales belong to kappa_G.
    finest_scale: The first of these scales, with structure of 2^finest_scale pixels.
    tolerance: Largest change of the model of the shear at which the iteration stops, a
      root mean square in standard deviations of the noise.
    max_iterations: Cap of the iterations.

  Raises:
    ValueError: If `finest_scale` is less than 1.
  """

  thresholds: tuple[float, ...] = (2.25, 1.75, 1.5, 1.25)
  finest_scale: int = 2
  _: dataclasses.KW_ONLY
  tolerance: float = 0.003
  max_iterations: int = 30

  def __post_init__(self) -> None:
    if self.finest_scale < 1:
      raise ValueError(f"finest_scale must be at least 1; got {self.finest_scale}.")


def estimate(
  shear_map: shear_map_lib.ShearMap,
  prior: priors.GaussianPrior,
  *,
  settings: MCALensSettings = MCALensSettings(),
) -> mass_map.MassMap:
  """Returns the sum of the Gaussian and the sparse component.

  Args:
    shear_map: Data with their noise and mask.
    prior: Prior of kappa_G on the same grid; computed in float32.
    settings: `MCALensSettings`.

  Returns:
    A `MassMap`. `components` returns its two parts.

  Raises:
    TypeError: If `shear_map` is not a `ShearMap`, or `prior` is not a `GaussianPrior`.
    ValueError: If the prior is for another grid, thresholds are not positive, or there
      are more of them than scales fit into the map.
    RuntimeError: If the cap of the iterations is reached first.
  """
  gaussian, sparse, iterations = components(shear_map, prior, settings=settings)
  described = dict(
    thresholds=str(tuple(settings.thresholds)),
    finest_scale=settings.finest_scale,
    tolerance=float(settings.tolerance),
    iterations=iterations,
  )
  return mass_map.MassMap(
    gaussian + sparse, shear_map.grid, method="mcalens", settings=described
  )


def components(
  shear_map: shear_map_lib.ShearMap,
  prior: priors.GaussianPrior,
  *,
  settings: MCALensSettings = MCALensSettings(),
) -> tuple[np.ndarray, np.ndarray, int]:
  """Returns `(kappa_G, kappa_S, iterations)`, two maps `[ny, nx]` and a number.

  Arguments and errors are those of `estimate`.
  """
  separate = separator(shear_map, prior, settings=settings)
  shear, _ = noise_propagation.weighted_data(shear_map)
  gaussian, sparse, iterations = separate(shear[tf.newaxis])
  return gaussian[0].numpy(), sparse[0].numpy(), int(iterations)


def standard_deviation(
  shear_map: shear_map_lib.ShearMap,
  prior: priors.GaussianPrior,
  *,
  settings: MCALensSettings = MCALensSettings(),
  num_realisations: int = 16,
  seed: int = 0,
) -> np.ndarray:
  """Returns the noise propagated through the method, `[ny, nx]`.

  New noise is added to the shear of the estimate itself. The signal that shrinkage and
  filter remove is not included, so that intervals made from it are too narrow.

  Args:
    shear_map: Data with their noise and mask.
    prior: Prior of kappa_G on the same grid; computed in float32.
    settings: `MCALensSettings`.
    num_realisations: Number of noise draws, at least 2. The relative error of a pixel
      is (2 (num_realisations - 1))^-1/2.
    seed: Seed of the draws.

  Raises:
    TypeError, RuntimeError: As `estimate`.
    ValueError: As `estimate`, or if there are fewer than two draws.
  """
  separate = separator(shear_map, prior, settings=settings)
  return noise_propagation.standard_deviation(
    lambda shear: tf.add(*separate(shear)[:2]),
    shear_map,
    num_realisations=num_realisations,
    seed=seed,
  )


def separator(
  shear_map: shear_map_lib.ShearMap,
  prior: priors.GaussianPrior,
  *,
  settings: MCALensSettings,
) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
  """Returns the method as a function of shear, for the noise and mask of the data.

  Args:
    shear_map: Data with their noise and mask.
    prior: Prior of kappa_G on the same grid.
    settings: `MCALensSettings`.

  Returns:
    Function of shear, float32 `[batch, 2, ny, nx]`, that returns kappa_G and kappa_S,
    `[batch, ny, nx]` each, and the number of iterations. The whole batch is iterated
    until the last map has converged.

  Raises:
    TypeError, ValueError: As `estimate`.
  """
  mass_map.check_shear_map(shear_map, "MCALens")
  mass_map.check_prior(prior, shear_map, method="MCALens")
  _, weight = noise_propagation.weighted_data(shear_map)
  shrinkage = _shrinkage(weight, prior, settings)
  tolerance = tf.constant(settings.tolerance, tf.float32)
  max_iterations = tf.constant(settings.max_iterations)
  variance = tf.cast(prior.mode_variance, tf.float32)

  def separate(shear):
    gaussian, sparse, iterations, change = _separate(
      shear, weight, variance, shrinkage, tolerance, max_iterations
    )
    if not change <= settings.tolerance:
      raise RuntimeError(
        f"MCALens stopped after {int(iterations)} iterations, when the model still"
        f" changed by {float(change):.2g} noise standard deviations, above tolerance ="
        f" {settings.tolerance:g}. Allow more with max_iterations, or raise tolerance."
      )
    return gaussian, sparse, iterations

  return separate


class _Shrinkage(typing.NamedTuple):
  """Constants of the update of kappa_S, float32.

  Attributes:
    filters: F_j, `[num_scales, ny, nx // 2 + 1]`.
    limits: Thresholds of every coefficient, `[num_scales, ny, nx]`.
    step: D of every mode, `[ny, nx // 2 + 1]`.
  """

  filters: tf.Tensor
  limits: tf.Tensor
  step: tf.Tensor


def _shrinkage(weight, prior, settings):
  finest_scale = settings.finest_scale
  factors = noise_propagation.checked_thresholds(
    settings.thresholds, prior.shape, finest_scale=finest_scale
  )
  num_scales = finest_scale - 1 + len(factors)
  filters = wavelets.fourier_filters(prior.shape, num_scales)[finest_scale - 1 : -1]
  weight = weight.numpy()
  noise = 1 / weight[weight > 0].mean()
  step = prior.mode_variance.numpy().astype(np.float64) + noise
  # For a Gaussian field and noise, A' N^-1 r of the Wiener filter has the covariance of
  # A' n', with noise n' of variance N^-1, times N / (S + N).
  transfer = filters * step * np.sqrt(noise / step)
  variance = noise_propagation.filtered_variance(weight, transfer)
  limits = factors * np.sqrt(variance)
  return _Shrinkage(*(tf.constant(a, tf.float32) for a in (filters, limits, step)))


@tf.function(autograph=False)
def _separate(shear, weight, variance, shrinkage, tolerance, max_iterations):
  weighted = gaussian_posterior.Weighted(weight)
  sides = list(weighted.shape)
  num_data = 2 * tf.reduce_sum(tf.cast(weight[0] > 0, tf.float32))
  filters, limits, step = shrinkage
  inverse = lambda modes: tf.signal.irfft2d(modes, fft_length=sides)
  data = lensing.modes_from_shear(weight * shear)

  def score(modes):
    return data - weighted.precision_modes(modes)

  def improve_wiener(modes, sparse, num_iterations):
    prior_score = spectra.scale_modes(1 / variance, modes)
    update, _, _ = gaussian_posterior.solve(
      weighted,
      variance,
      right_side=score(sparse + modes) - prior_score,
      rtol=_WIENER_RTOL,
      max_iterations=num_iterations,
    )
    return modes + update

  def iterate(iteration, gaussian, sparse, change):
    del change
    gaussian_next = improve_wiener(gaussian, sparse, _WIENER_ITERATIONS)
    candidate = sparse + spectra.scale_modes(step, score(gaussian_next + sparse))
    coefficients = wavelets.coefficients_of_modes(candidate, filters, shape=sides)
    kept = coefficients - tf.clip_by_value(coefficients, -limits, limits)
    sparse_next = tf.signal.rfft2d(tf.nn.relu(tf.reduce_sum(kept, axis=1)))
    moved = lensing.shear_from_modes(
      gaussian_next + sparse_next - gaussian - sparse, sides
    )
    squared = tf.reduce_sum(weight * tf.square(moved), axis=(1, 2, 3)) / num_data
    return iteration + 1, gaussian_next, sparse_next, tf.sqrt(tf.reduce_max(squared))

  zero = tf.zeros_like(data)
  gaussian = improve_wiener(zero, zero, 2 * _WIENER_ITERATIONS)
  iterations, gaussian, sparse, change = tf.while_loop(
    lambda i, gaussian, sparse, change: change > tolerance,
    iterate,
    (0, gaussian, zero, tf.constant(np.inf, tf.float32)),
    maximum_iterations=max_iterations,
  )
  gaussian = improve_wiener(gaussian, sparse, 2 * _WIENER_ITERATIONS)
  return inverse(gaussian), inverse(sparse), iterations, change
