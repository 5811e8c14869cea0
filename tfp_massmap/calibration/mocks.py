"""Mocks of one survey, flawed on purpose or not, and samplers compiled once for all."""

from collections.abc import Callable
import dataclasses

import numpy as np
import tensorflow as tf

from tfp_massmap import devices
from tfp_massmap import gaussian_posterior
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import samplers
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate
from tfp_massmap.calibration import runs
from tfp_massmap.samplers import guided


@dataclasses.dataclass(frozen=True, eq=False)
class Mocks:
  """Truths, and what the analysis is told of their shear.

  Attributes:
    truth: function of a number to a convergence map `[ny, nx]`.
    survey: `shear_map.ShearMap` with the mask and the true noise; its shear is unused.
    noise_factor: noise that the analysis assumes, over the true one.
    shear_bias: multiplicative bias m of the measured shear, (1 + m) gamma + noise.
    seed: integer, of the noise.
  """

  truth: Callable
  survey: shear_map_lib.ShearMap
  _: dataclasses.KW_ONLY
  noise_factor: float = 1.0
  shear_bias: float = 0.0
  seed: int = 0

  def observe(self, index):
    """`(truth, shear_map)` of a number; the shear map as the analysis gets it."""
    truth = np.asarray(self.truth(index))
    biased = (1 + self.shear_bias) * truth
    seed = np.random.SeedSequence([self.seed, index])
    return truth, self._as_assumed(
      simulate.observe_like(biased, self.survey, seed=seed)
    )

  def posterior(self, prior):
    """That of the survey's own shear, of which settings of samplers `resolve`."""
    survey = self._as_assumed(self.survey)
    return posterior_lib.Posterior(
      likelihood_lib.ShearLikelihood(survey, prior.dtype), prior
    )

  def _as_assumed(self, shear_map):
    noise_std = self.noise_factor * shear_map.noise_std
    return dataclasses.replace(shear_map, noise_std=noise_std)

  def draw(self, sampler):
    """What `runs.run` needs, from a function `(shear_map, seed) -> samples`."""

    def draw(index):
      truth, shear_map = self.observe(index)
      return truth, sampler(shear_map, index), self.survey.mask

    return draw


def exact_sampler(prior, num_samples):
  """Exact draws of a Gaussian prior's posterior.

  Args:
    prior: `priors.GaussianPrior`.
    num_samples: a truth.

  Returns:
    Function `(shear_map, seed) -> [num_samples, ny, nx]`; raises RuntimeError if
    conjugate gradients do not converge.
  """

  def sample(shear_map, seed):
    likelihood = likelihood_lib.ShearLikelihood(shear_map, prior.dtype)
    return gaussian_posterior.sample(
      likelihood, prior, num_samples=num_samples, seed=(seed, 1)
    ).numpy()

  return sample


def guided_sampler(
  prior,
  num_samples,
  *,
  settings=guided.GuidedSettings(),
  batch_size=8,
  jit_compile=None,
):
  """`samplers.guided.draw`, compiled once for shear maps of one mask and noise.

  Args:
    prior: Gaussian or hybrid.
    num_samples: a truth.
    settings: `guided.GuidedSettings`.
    batch_size: samples drawn together, a divisor of `num_samples`.
    jit_compile: whether to use XLA; None is for Gaussian priors only.

  Returns:
    Function `(shear_map, seed) -> [num_samples, ny, nx]`.

  Raises:
    ValueError: if the batches do not come out even; by the function, if noise or mask
      change.
  """
  batch_size = min(batch_size, num_samples)
  if num_samples % batch_size:
    raise ValueError(
      f"batch_size = {batch_size} must divide num_samples = {num_samples}."
    )
  jit_compile = devices.resolve_jit_compile(
    jit_compile, has_network=not prior.is_gaussian
  )
  compiled = {}

  def compile_for(shear_map):
    likelihood = likelihood_lib.ShearLikelihood(shear_map, prior.dtype)
    likelihood.shear = tf.Variable(likelihood.shear)
    posterior = posterior_lib.Posterior(likelihood, prior)
    draw = tf.function(
      lambda seed: guided.draw(posterior, batch_size, seed=seed, settings=settings)[0],
      autograph=False,
      jit_compile=jit_compile,
    )
    compiled.update(survey=shear_map, shear=likelihood.shear, draw=draw)

  def sample(shear_map, seed):
    if not compiled:
      compile_for(shear_map)
    for name in ("noise_std", "mask"):
      if not np.array_equal(
        getattr(shear_map, name), getattr(compiled["survey"], name)
      ):
        raise ValueError(
          f"The {name} of this shear map is not that of the first, for which the"
          " sampler was compiled: make another sampler for it."
        )
    compiled["shear"].assign(np.where(shear_map.mask, shear_map.shear, 0))
    seeds = [tf.constant([seed, batch]) for batch in range(num_samples // batch_size)]
    return np.concatenate([compiled["draw"](s).numpy() for s in seeds])

  return sample


def posterior_sampler(
  prior, num_samples, *, method, settings=None, options=samplers.RunOptions()
):
  """`samplers.sample` by any method; compiles for every truth.

  Args:
    prior: Gaussian or hybrid.
    num_samples: a truth.
    method: of `samplers.sample`.
    settings: of the method; None for its defaults.
    options: `samplers.RunOptions`.

  Returns:
    Function `(shear_map, seed) -> [num_samples, ny, nx]`; raises what
    `samplers.sample` does.
  """

  def sample(shear_map, seed):
    likelihood = likelihood_lib.ShearLikelihood(shear_map, prior.dtype)
    posterior = posterior_lib.Posterior(likelihood, prior)
    result = samplers.sample(
      posterior,
      num_samples,
      seed=seed,
      method=method,
      settings=settings,
      options=dataclasses.replace(options, progress=False),
    )
    return np.asarray(result.samples)

  return sample


def interval_sampler(estimate, num_samples):
  """Independent pixels of a method that gives a mean and an error.

  Good for the tests of pixels only, see `runs.samples_of_intervals`.

  Args:
    estimate: function of a shear map to `(mean, std)`, `[ny, nx]` each.
    num_samples: a truth.

  Returns:
    Function `(shear_map, seed) -> [num_samples, ny, nx]`; raises ValueError for a mean
    and std that do not fit each other.
  """

  def sample(shear_map, seed):
    return runs.samples_of_intervals(
      *estimate(shear_map), num_samples=num_samples, seed=seed
    )

  return sample
