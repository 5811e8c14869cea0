"""Guided samples, corrected by Hamiltonian Monte Carlo on the noisy map.

A guided sample and the data give a draw of its noisy map, whose posterior is exact
(`noise_split`). A chain of Hamiltonian Monte Carlo starts there; then the flow of a sweep
draws the map given the noisy one. Guided samples forget their start by conditional draws
alone; chains forget it also by the network's score of the noisy map. A ladder of sigmas
repeats this, the smaller ones last.

The Gaussian with the mean noise everywhere is rotated exactly, kicks come from the rest
of the score, and the acceptance takes the likelihood and the prior's Gaussian component
from their log-densities: only the network's part is integrated along the trajectory.
"""

import dataclasses
import functools
import logging
import typing

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import devices
from tfp_massmap import mcmc
from tfp_massmap.mcmc import diagnostics as mcmc_diagnostics
from tfp_massmap.samplers import guided
from tfp_massmap.samplers import noise_split
from tfp_massmap.samplers import runs
from tfp_massmap.samplers import sample_set
from tfp_massmap.samplers import split_gibbs

if typing.TYPE_CHECKING:
  from tfp_massmap import posterior as posterior_lib

_LOG = logging.getLogger(__name__)

# Below this many accepted proposals the chains have hardly moved.
_LOW_ACCEPTANCE = 0.3

# Sigma over the typical noise, and over the smallest noise of a pixel. Below the first,
# the network's error grows (`priors.HybridPrior.chain_score`); near the second, the pixel
# with the smallest noise holds the noisy map in place.
_SHARE_OF_TYPICAL, _SHARE_OF_LEAST = 0.4, 0.8

# Sigma is not below this share of the typical noise, however small the noise of one pixel.
# Then the noise of a pixel counts as at least `MARGIN` sigma^2 in the chain; what the
# pixel measures beyond that enters in the draw of the map alone.
_SMALLEST_SHARE, MARGIN = 0.25, 1.5

# Accuracy of the mean that the rotation turns about. An error of the mean costs
# acceptance, not exactness.
_CENTER_RTOL, _CENTER_ITERATIONS = 1e-3, 500

# A larger step is not of the order of a radian any more, on maps of a few pixels.
_LARGEST_STEP = 0.5


@dataclasses.dataclass(frozen=True)
class GuidedHmcSettings:
  """Settings of guided samples with Hamiltonian Monte Carlo.

  `examples/benchmarks/posterior.py refine` varies them.

  Attributes:
    start: `guided.GuidedSettings` of the samples that chains start from.
    sigmas: Falling sigmas of the noisy maps. None is 0.8 of the smallest noise of a
      pixel, at most 0.4 and at least 0.25 of the typical noise. Where the noise of a
      pixel is below 1.22 sigma, the rest of its information enters in the draw of the
      map alone, and `sample` warns.
    num_steps: HMC steps at each sigma, at least two.
    step_size: Step in radians, for a map of 360 x 360 pixels; it scales with
      num_pixels^(-1/4), as the energy error does.
    num_leapfrog_steps: Leapfrog steps in one HMC step.
    num_flow_steps: Network evaluations of each flow that draws the map, 3 or more.

  Raises:
    ValueError: If a number is out of its range.
  """

  start: guided.GuidedSettings = guided.GuidedSettings()
  sigmas: tuple[float, ...] | None = None
  _: dataclasses.KW_ONLY
  num_steps: int = 6
  step_size: float = 0.05
  num_leapfrog_steps: int = 16
  num_flow_steps: int = 12

  def __post_init__(self) -> None:
    sigmas = np.asarray((1.0,) if self.sigmas is None else self.sigmas, float)
    falling = sigmas.ndim == 1 and len(sigmas) and (np.diff(sigmas) < 0).all()
    if not falling or sigmas[-1] <= 0:
      raise ValueError(f"sigmas must be positive and falling; got {self.sigmas}.")
    if self.sigmas is not None:
      object.__setattr__(self, "sigmas", tuple(sigmas.tolist()))
    if not self.step_size > 0 or self.num_leapfrog_steps < 1 or self.num_steps < 2:
      raise ValueError(
        "step_size and num_leapfrog_steps must be positive and num_steps at least 2;"
        f" got {self.step_size}, {self.num_leapfrog_steps} and {self.num_steps}."
      )
    if self.num_flow_steps < 3:
      raise ValueError(f"num_flow_steps must be 3 or more; got {self.num_flow_steps}.")

  def resolve(self, posterior: "posterior_lib.Posterior") -> "GuidedHmcSettings":
    """Returns the settings with sigmas for a posterior, if they were None."""
    if self.sigmas is not None:
      return self
    typical = posterior.likelihood.typical_noise_std
    least = _least_noise(posterior.likelihood)
    sigma = min(_SHARE_OF_TYPICAL * typical, _SHARE_OF_LEAST * least)
    return dataclasses.replace(self, sigmas=(max(sigma, _SMALLEST_SHARE * typical),))

  @property
  def num_sigmas(self) -> int:
    """Number of sigmas in the ladder."""
    return 1 if self.sigmas is None else len(self.sigmas)

  @property
  def num_score_evaluations(self) -> int:
    """Network evaluations of a sample: start, HMC with its first score, flows."""
    chain = 1 + self.num_steps * self.num_leapfrog_steps
    return self.start.num_score_evaluations + self.num_sigmas * (
      chain + self.num_flow_steps
    )

  @property
  def num_solutions(self) -> int:
    """Solutions by conjugate gradients: start, and centre and flow of each sigma."""
    return self.start.num_solutions + self.num_sigmas * (1 + self.num_flow_steps)

  @property
  def flat(self) -> dict:
    """Settings by name for headers; those of the start begin with "start"."""
    values = dataclasses.asdict(self)
    start_values = {f"start {name}": v for name, v in values.pop("start").items()}
    if self.sigmas is not None:
      values["sigmas"] = " ".join(f"{s:g}" for s in self.sigmas)
    return {**values, **start_values}


def sample(
  posterior: "posterior_lib.Posterior",
  num_samples: int,
  *,
  seed: int,
  settings: GuidedHmcSettings | None = None,
  options: runs.RunOptions = runs.RunOptions(),
) -> sample_set.SampleSet:
  """Returns independent posterior samples, each the end of a chain of its own.

  Args:
    posterior: `posterior.Posterior`.
    num_samples: Number of samples.
    seed: Integer; chains start from the guided samples of this seed and batch size.
    settings: `GuidedHmcSettings`.
    options: `runs.RunOptions`.

  Returns:
    A `sample_set.SampleSet`. Its diagnostics include the acceptance, and R-hat and
    effective size of the noisy map's misfit, -2 log-likelihood, over the chains of a
    batch at the last sigma (each has a white part of its own, so R-hat may stay above 1).

  Raises:
    FloatingPointError, FileExistsError, ValueError: As `guided.sample`.
  """
  settings = (settings or GuidedHmcSettings()).resolve(posterior)
  assert settings.sigmas is not None  # `resolve` sets them.
  _warn_of_little_noise(posterior.likelihood, settings.sigmas[0])
  draw_batch = _compiled_draw(posterior, settings, num_samples, options)
  run = runs.run(
    draw_batch,
    num_samples,
    seed=seed,
    posterior=posterior,
    record=runs.record("guided+hmc", posterior, settings=settings.flat),
    options=options,
    num_steps=2,
  )
  guided.warn_of_cap(run.diagnostics, settings.num_solutions, settings=settings.start)
  acceptance = run.mean("final acceptance")
  if acceptance < _LOW_ACCEPTANCE:
    _LOG.warning(
      "Only %.0f %% of the proposals were accepted at the last sigma: the samples are"
      " hardly corrected. Use a smaller step_size (now %.3g).",
      100 * acceptance,
      settings.step_size,
    )
  return run.sample_set(
    "guided+hmc",
    num_score_evaluations=settings.num_score_evaluations,
    settings=settings.flat,
  )


def _compiled_draw(posterior, settings, num_samples, options):
  """Returns the function that draws a batch, see `runs.run`."""
  batch_size = options.size_of(num_samples)
  compile_fn = functools.partial(
    tf.function,
    autograph=False,
    jit_compile=devices.resolve_jit_compile(
      options.jit_compile, has_network=not posterior.prior.is_gaussian
    ),
  )
  begin = compile_fn(
    lambda seed: guided.draw(posterior, batch_size, seed=seed, settings=settings.start)
  )
  walk = compile_fn(
    lambda state, counts, seed: _walk(posterior, state, counts, seed, settings)
  )

  def draw_batch(seed, bar):
    seed = tf.constant(seed, tf.int32)
    start, counts = begin(seed)
    bar.update()
    samples, counts, trace = walk(start, counts, seed)
    bar.update()
    return samples.numpy(), {
      **guided.count_diagnostics(counts),
      **_diagnostics(trace, settings),
    }

  return draw_batch


def _walk(posterior, state, counts, seed, settings):
  """Posterior samples after HMC at every sigma, counts, and the trace of all steps."""
  traces = []
  for sigma in settings.sigmas:
    seed, *seeds = tfp.random.split_seed(seed, n=5, salt="refine")
    rho = tf.constant(sigma, posterior.dtype)
    parts = noise_split.split(
      posterior.likelihood, state, rho=rho, seed=seeds[0], margin=MARGIN
    )
    noisy, iterations, trace = _run_chain(posterior, parts, seeds[1], settings)
    ladder = split_gibbs.sigma_ladder(
      posterior.prior, sigma, num_steps=settings.num_flow_steps - 1
    )
    state, counts = split_gibbs.draw(
      posterior.prior,
      dataclasses.replace(parts, noisy=noisy),
      sigmas=ladder,
      seeds=seeds[2:],
      counts=counts.plus(iterations, _CENTER_ITERATIONS),
      solver=settings.start.solver,
    )
    traces.append(trace)
  return state, counts, tuple(tf.concat(values, axis=0) for values in zip(*traces))


def _make_kernel(target, shape, center, settings):
  scaled = settings.step_size * (360**2 / (shape[0] * shape[1])) ** 0.25
  return mcmc.ScoreHamiltonianMonteCarlo(
    target.score,
    step_size=tf.cast(min(scaled, _LARGEST_STEP), center.dtype),
    num_leapfrog_steps=settings.num_leapfrog_steps,
    event_ndims=2,
    path_integral="trajectory",
    momentum_distribution=mcmc.FourierDiagonalNormal(target.fourier_precision(), shape),
    analytic_log_prob_fn=target.analytic_log_prob,
    integrator="split",
    gaussian_mean=center,
  )


def _run_chain(posterior, parts, seed, settings):
  """The last noisy map, and the trace of all steps; states are too large to be kept."""
  target = noise_split.NoisyPosterior(posterior.prior, parts)
  center, iterations = target.gaussian_mean(
    rtol=_CENTER_RTOL, max_iterations=_CENTER_ITERATIONS
  )
  kernel = _make_kernel(target, posterior.shape, center, settings)
  state = parts.noisy

  def trace_fn(state, results):
    acceptance = tf.exp(tf.minimum(results.log_accept_ratio, 0))
    return acceptance, -2 * posterior.likelihood.log_prob(state)

  results = kernel.bootstrap_results(state)
  seeds = tf.random.split(seed, settings.num_steps)
  arrays = tuple(
    tf.TensorArray(value.dtype, settings.num_steps, element_shape=value.shape)
    for value in trace_fn(state, results)
  )

  def step(index, state, results, arrays):
    state, results = kernel.one_step(state, results, seed=seeds[index])
    values = trace_fn(state, results)
    arrays = tuple(a.write(index, value) for a, value in zip(arrays, values))
    return index + 1, state, results, arrays

  _, state, _, arrays = tf.while_loop(
    lambda index, *_: index < settings.num_steps, step, (0, state, results, arrays)
  )
  return state, iterations, tuple(array.stack() for array in arrays)


def _warn_of_little_noise(likelihood, sigma):
  least, needed = _least_noise(likelihood), MARGIN**0.5 * sigma
  if least < needed:
    _LOG.warning(
      "The smallest noise of a pixel is %.3g, below %.2f sigma = %.3g of the chains:"
      " the additional information of such pixels does not guide the chains. With a"
      " sigma of %.3g or less there are no such pixels.",
      least,
      MARGIN**0.5,
      needed,
      least / MARGIN**0.5,
    )


def _least_noise(likelihood):
  return float(likelihood.noise_std_quantiles([0.0])[0])


def _diagnostics(trace, settings):
  acceptance, misfit = (values.numpy() for values in trace)
  last = tf.constant(misfit[-settings.num_steps :])
  diagnostics = {
    "acceptance": float(acceptance.mean()),
    "final acceptance": float(acceptance[-settings.num_steps :].mean()),
  }
  if last.shape[1] > 1:
    size = mcmc_diagnostics.effective_sample_size(last, cross_chain_dims=1)
    diagnostics["effective sample size of the misfit"] = float(size)
    diagnostics["R-hat of the misfit"] = float(tfp.mcmc.potential_scale_reduction(last))
  return diagnostics
