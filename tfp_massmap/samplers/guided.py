"""The default sampler: 24 network evaluations a sample.

The likelihood is linear and Gaussian, and the prior has a Gaussian component with power
spectrum S. A sample is drawn in two steps:

1. An exact draw of the posterior of the Gaussian component, by conjugate gradients and
   without the network. Its power is right at all scales, but haloes are missing and voids
   are too deep.
2. Three sweeps of split Gibbs sampling (`split_gibbs`). Each redraws, with the full
   prior, what the data and the structures around it leave open, and forgets all but the
   largest structures in gaps.

`docs/method.md` derives both, and says which steps are exact.
"""

from collections.abc import Callable
import dataclasses
import logging
import typing

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import devices
from tfp_massmap import gaussian_posterior
from tfp_massmap.samplers import runs
from tfp_massmap.samplers import sample_set
from tfp_massmap.samplers import split_gibbs

if typing.TYPE_CHECKING:
  from tfp_massmap import posterior as posterior_lib

_LOG = logging.getLogger(__name__)

# Iteration cap of the initial solve, which has no warm start (or `max_iterations` if that
# is larger), and its tolerance over that of the sweeps: an error of the start lasts.
_START_ITERATIONS = 500
_START_TOLERANCE = 0.2


@dataclasses.dataclass(frozen=True)
class GuidedSettings:
  """Settings of the guided sampler.

  `examples/benchmarks/sweeps.py` varies all but the cap.

  Attributes:
    sweeps: One rho for each sweep of `split_gibbs`, as a quantile of the noise of the
      measured pixels. Large first, to forget the start; small last, where the model of
      the denoiser's error is hardly used.
    sweep_steps: Evaluations of the prior's denoiser in a sweep, one number or one for
      each. The last sweep decides how fine structures are drawn.
    tolerance: Error of the conjugate gradients, in standard deviations of the posterior,
      in the mean over all modes.
    max_iterations: Cap of the conjugate-gradient iterations of a step (500, or this if
      it is larger, for the exact draws at the start). `sample` warns if it is reached.

  Raises:
    ValueError: If a number is out of its range.
  """

  sweeps: tuple[float, ...] = (0.9, 0.5, 0.1)
  sweep_steps: int | tuple[int, ...] = (7, 7, 10)
  _: dataclasses.KW_ONLY
  tolerance: float = 5e-4
  max_iterations: int = 60

  def __post_init__(self) -> None:
    if not self.tolerance > 0 or self.max_iterations < 1:
      raise ValueError(
        "tolerance and max_iterations must be positive; got"
        f" {self.tolerance} and {self.max_iterations}."
      )
    if not self.sweeps or not all(0 <= share <= 1 for share in self.sweeps):
      raise ValueError(
        "sweeps must be one or more quantiles, from 0 to 1: without sweeps, samples"
        f" are those of the Gaussian component; got {self.sweeps}."
      )
    steps = self.steps_of_sweeps
    if len(steps) != len(self.sweeps) or any(num < 3 for num in steps):
      raise ValueError(
        "sweep_steps must be one number for all sweeps, or one for each, 3 or more;"
        f" got {self.sweep_steps} for the {len(self.sweeps)} sweeps {self.sweeps}."
      )

  @property
  def steps_of_sweeps(self) -> tuple[int, ...]:
    """Evaluations of the prior's denoiser in each sweep."""
    if isinstance(self.sweep_steps, int):
      return (self.sweep_steps,) * len(self.sweeps)
    return tuple(self.sweep_steps)

  @property
  def solver(self) -> split_gibbs.Solver:
    """Settings of the conjugate gradients in the sweeps."""
    return split_gibbs.Solver(self.tolerance, self.max_iterations)

  @property
  def num_score_evaluations(self) -> int:
    """Evaluations of the prior's denoiser for a sample."""
    return sum(self.steps_of_sweeps)

  @property
  def num_solutions(self) -> int:
    """Solutions by conjugate gradients: one at the start, one with each evaluation."""
    return 1 + self.num_score_evaluations


def draw(
  posterior: "posterior_lib.Posterior",
  num_samples: int,
  *,
  seed: typing.Any,
  settings: GuidedSettings = GuidedSettings(),
) -> tuple[tf.Tensor, split_gibbs.Counts]:
  """Draws posterior samples in one batch; can be traced by `tf.function` and XLA.

  Args:
    posterior: `posterior.Posterior`.
    num_samples: Number of samples.
    seed: Stateless TFP seed.
    settings: `GuidedSettings`.

  Returns:
    `(samples, counts)`: `[num_samples, ny, nx]`, and the `split_gibbs.Counts` of the
    `settings.num_solutions` solutions.
  """
  # Three seeds, of which the second is unused: other splits would draw other samples.
  field_seed, _, sweep_seed = tfp.random.split_seed(seed, n=3, salt="guided")
  samples, counts = _gaussian_draw(posterior, num_samples, field_seed, settings)
  return split_gibbs.sweeps(
    posterior,
    samples,
    quantiles=settings.sweeps,
    num_evaluations=settings.steps_of_sweeps,
    seed=sweep_seed,
    counts=counts,
    solver=settings.solver,
  )


def _gaussian_draw(posterior, num_samples, seed, settings):
  """Exact draws of the posterior of the Gaussian component."""
  gaussian = posterior.prior.gaussian
  linear = posterior.likelihood.linearised()
  start, right_side = gaussian_posterior.perturbed_right_side(
    linear, gaussian, num_samples=num_samples, seed=seed
  )
  max_iterations = max(_START_ITERATIONS, settings.max_iterations)
  update, iterations, _ = gaussian_posterior.solve(
    linear,
    gaussian.mode_variance,
    right_side=right_side,
    rtol=0.0,
    atol=_START_TOLERANCE * settings.tolerance,
    max_iterations=max_iterations,
  )
  samples = start + tf.signal.irfft2d(update, fft_length=list(posterior.shape))
  zero = tf.constant(0, tf.int32)
  return samples, split_gibbs.Counts(zero, zero).plus(iterations, max_iterations)


def sample(
  posterior: "posterior_lib.Posterior",
  num_samples: int,
  *,
  seed: int,
  settings: GuidedSettings | None = None,
  options: runs.RunOptions = runs.RunOptions(),
) -> sample_set.SampleSet:
  """Returns independent posterior samples of the guided sampler.

  Args:
    posterior: `posterior.Posterior`.
    num_samples: Number of samples.
    seed: Integer; a batch depends on it, on the batch's number and on its size.
    settings: `GuidedSettings`.
    options: `runs.RunOptions`.

  Raises:
    FloatingPointError: If a sample is not finite.
    FileExistsError: If the output exists.
    ValueError: If `num_samples` or the batch size is not positive.
  """
  settings = settings or GuidedSettings()
  draw_batch = batch_sampler(posterior, num_samples, settings=settings, options=options)
  run = runs.run(
    draw_batch,
    num_samples,
    seed=seed,
    posterior=posterior,
    record=runs.record("guided", posterior, settings=dataclasses.asdict(settings)),
    options=options,
  )
  warn_of_cap(run.diagnostics, settings.num_solutions, settings=settings)
  return run.sample_set(
    "guided",
    num_score_evaluations=settings.num_score_evaluations,
    settings=dataclasses.asdict(settings),
  )


def batch_sampler(
  posterior: "posterior_lib.Posterior",
  num_samples: int,
  *,
  settings: GuidedSettings,
  options: runs.RunOptions,
) -> Callable:
  """Returns the function that draws a batch, for `runs.run`.

  Args:
    posterior: `posterior.Posterior`.
    num_samples: Number of samples of the run.
    settings: `GuidedSettings`.
    options: `runs.RunOptions`.
  """
  compiled = tf.function(
    lambda seed: draw(
      posterior, options.size_of(num_samples), seed=seed, settings=settings
    ),
    autograph=False,
    jit_compile=devices.resolve_jit_compile(
      options.jit_compile, has_network=not posterior.prior.is_gaussian
    ),
  )

  def draw_batch(seed, bar):
    samples, counts = compiled(tf.constant(seed, tf.int32))
    samples = samples.numpy()
    bar.update()
    return samples, count_diagnostics(counts)

  return draw_batch


def count_diagnostics(counts: split_gibbs.Counts) -> dict[str, float]:
  """Returns the counts of a batch under the names that headers have."""
  return {
    "conjugate-gradient iterations": float(counts.iterations),
    "steps at the iteration cap": float(counts.num_capped),
  }


def warn_of_cap(
  diagnostics: dict[str, np.ndarray], num_solutions: int, *, settings: GuidedSettings
) -> None:
  """Logs a warning if conjugate gradients reached their cap in a batch.

  Args:
    diagnostics: Arrays `[num_batches]` by name, see `runs.Run`.
    num_solutions: Solutions by conjugate gradients in a batch.
    settings: `GuidedSettings`.
  """
  num_capped = diagnostics["steps at the iteration cap"].mean()
  if num_capped:
    _LOG.warning(
      "Conjugate gradients reached their cap of %d iterations (%d at the start) in"
      " %.1f of %d solutions. Allow more with max_iterations, or a larger tolerance"
      " (now %g).",
      settings.max_iterations,
      max(_START_ITERATIONS, settings.max_iterations),
      num_capped,
      num_solutions,
      settings.tolerance,
    )
