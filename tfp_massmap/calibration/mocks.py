"""Mocks of one survey, flawed on purpose or not, and samplers compiled once for all."""

from collections.abc import Callable
import dataclasses
import typing

import numpy as np
import tensorflow as tf

from tfp_massmap import devices
from tfp_massmap import gaussian_posterior
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import samplers
from tfp_massmap import shear_errors
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate
from tfp_massmap.calibration import runs
from tfp_massmap.samplers import guided

Sampler = Callable[[shear_map_lib.ShearMap, int], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Mocks:
  """Truths, and the assumptions about their shear that the analysis makes.

  Attributes:
    truth: Function of a number to a convergence map `[ny, nx]`.
    survey: `shear_map.ShearMap` with the mask and the true noise; its shear is unused.
    noise_factor: Noise that the analysis assumes, over the true noise.
    factors: Function of a number to the true `shear_errors.Factors`: the bias m of the
      measured shear, (1 + m) gamma + noise, and the scale of this noise.
    seed: Integer; of the noise.
  """

  truth: Callable[[int], np.ndarray]
  survey: shear_map_lib.ShearMap
  _: dataclasses.KW_ONLY
  noise_factor: float = 1.0
  factors: Callable[[int], shear_errors.Factors] = shear_errors.no_errors
  seed: int = 0

  def observe(self, index: int) -> tuple[np.ndarray, shear_map_lib.ShearMap]:
    """Returns the truth of a number, and its shear map as the analysis gets it."""
    truth = np.asarray(self.truth(index))
    bias, noise_scale = self.factors(index)
    noise_std = noise_scale * self.survey.noise_std
    seed = np.random.SeedSequence([self.seed, index])
    observed = simulate.observe_like(
      (1 + bias) * truth,
      dataclasses.replace(self.survey, noise_std=noise_std),
      seed=seed,
    )
    claimed = dataclasses.replace(observed, noise_std=self.survey.noise_std)
    return truth, self._as_assumed(claimed)

  def posterior(self, prior: priors.Prior) -> posterior_lib.Posterior:
    """Returns the posterior of the survey's own shear, with the noise that is assumed.

    Settings of samplers that depend on the survey are resolved with it.
    """
    survey = self._as_assumed(self.survey)
    likelihood = likelihood_lib.ShearLikelihood(survey, dtype=prior.dtype)
    return posterior_lib.Posterior(likelihood, prior)

  def draw(
    self, sampler: Sampler
  ) -> Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Returns the `draw` function that `runs.run` takes.

    Args:
      sampler: Function `(shear_map, seed)` to samples `[num_samples, ny, nx]`.
    """

    def draw(index):
      truth, shear_map = self.observe(index)
      return truth, sampler(shear_map, index), self.survey.mask

    return draw

  def _as_assumed(self, shear_map):
    noise_std = self.noise_factor * shear_map.noise_std
    return dataclasses.replace(shear_map, noise_std=noise_std)


def exact_sampler(prior: priors.GaussianPrior, num_samples: int) -> Sampler:
  """Returns a sampler that draws exactly from the posterior of a Gaussian prior.

  Args:
    prior: `priors.GaussianPrior`.
    num_samples: Number of samples for each truth.

  Returns:
    Function `(shear_map, seed)` to samples `[num_samples, ny, nx]`, which raises
    RuntimeError if conjugate gradients do not converge.
  """

  def sample(shear_map, seed):
    likelihood = likelihood_lib.ShearLikelihood(shear_map, dtype=prior.dtype)
    return gaussian_posterior.sample(
      likelihood, prior, num_samples=num_samples, seed=(seed, 1)
    ).numpy()

  return sample


def guided_sampler(
  prior: priors.Prior,
  num_samples: int,
  *,
  settings: guided.GuidedSettings = guided.GuidedSettings(),
  batch_size: int = 8,
  jit_compile: bool | None = None,
) -> Sampler:
  """Returns a guided sampler, compiled once for shear maps of one mask and noise.

  Args:
    prior: `priors.Prior`.
    num_samples: Number of samples for each truth.
    settings: `guided.GuidedSettings`.
    batch_size: Most samples drawn together. Batches are of one size; where they do not
      come out even, the last samples of the last one are left out.
    jit_compile: Whether to compile with XLA; None is the choice of `devices`.

  Returns:
    Function `(shear_map, seed)` to samples `[num_samples, ny, nx]`, which raises
    ValueError if the noise or the mask is not that of the first shear map.

  Raises:
    ValueError: If a number is not positive.
  """
  if min(num_samples, batch_size) < 1:
    raise ValueError(
      f"num_samples and batch_size must be positive; got {num_samples}, {batch_size}."
    )
  num_batches = -(-num_samples // batch_size)
  batch_size = -(-num_samples // num_batches)
  jit_compile = devices.resolve_jit_compile(
    jit_compile, has_network=not prior.is_gaussian
  )
  compiled: dict[str, typing.Any] = {}

  def compile_for(shear_map):
    likelihood = likelihood_lib.ShearLikelihood(shear_map, dtype=prior.dtype)
    # The compiled function reads the shear of each mock from this variable.
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
    _check_same_survey(shear_map, compiled["survey"])
    compiled["shear"].assign(np.where(shear_map.mask, shear_map.shear, 0))
    seeds = [tf.constant([seed, batch]) for batch in range(num_batches)]
    return np.concatenate([compiled["draw"](s).numpy() for s in seeds])[:num_samples]

  return sample


def posterior_sampler(
  prior: priors.Prior,
  num_samples: int,
  *,
  method: str,
  settings: samplers.GuidedSettings
  | samplers.GuidedHmcSettings
  | samplers.AnnealedSettings
  | None = None,
  options: samplers.RunOptions = samplers.RunOptions(),
) -> Sampler:
  """Returns a sampler of any method; it compiles for every truth.

  Args:
    prior: `priors.Prior`.
    num_samples: Number of samples for each truth.
    method: Name of the method, see `samplers.sample`.
    settings: Settings of the method; None for its defaults.
    options: `samplers.RunOptions`; no progress bar is shown.

  Returns:
    Function `(shear_map, seed)` to samples `[num_samples, ny, nx]`, which raises what
    `samplers.sample` does.

  Raises:
    ValueError: If the options name an output file, which all truths would share.
  """
  if options.output is not None:
    raise ValueError(
      f"The truths would all be written to one file; got output = {options.output}."
      " Leave `output` out: `calibration.run` keeps the records."
    )
  options = dataclasses.replace(options, progress=False)

  def sample(shear_map, seed):
    likelihood = likelihood_lib.ShearLikelihood(shear_map, dtype=prior.dtype)
    posterior = posterior_lib.Posterior(likelihood, prior)
    result = samplers.sample(
      posterior,
      num_samples,
      seed=seed,
      method=method,
      settings=settings,
      options=options,
    )
    return np.asarray(result.samples)

  return sample


def interval_sampler(
  estimate: Callable[[shear_map_lib.ShearMap], tuple[np.ndarray, np.ndarray]],
  num_samples: int,
) -> Sampler:
  """Returns a sampler of independent pixels, for a method that gives mean and error.

  It allows the tests of pixels only, see `runs.samples_of_intervals`.

  Args:
    estimate: Function of a shear map to `(mean, std)`, `[ny, nx]` each.
    num_samples: Number of samples for each truth.

  Returns:
    Function `(shear_map, seed)` to samples `[num_samples, ny, nx]`, which raises
    ValueError if the shapes of mean and std differ.
  """

  def sample(shear_map, seed):
    return runs.samples_of_intervals(
      *estimate(shear_map), num_samples=num_samples, seed=seed
    )

  return sample


def _check_same_survey(shear_map, first):
  same = {
    "noise_std": np.array_equal(shear_map.noise_std, first.noise_std),
    "mask": np.array_equal(shear_map.mask, first.mask),
  }
  for name, is_same in same.items():
    if not is_same:
      raise ValueError(
        f"The {name} of this shear map is not that of the first, for which the"
        " sampler was compiled: make another sampler for it."
      )
