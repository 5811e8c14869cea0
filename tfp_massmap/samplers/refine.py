"""Guided samples, corrected by Metropolis steps at a small temperature.

A guided sample and the data give a draw of its noisy map (`white_part`), which starts a
chain of Hamiltonian Monte Carlo on that map's posterior; then the flow of a sweep draws the
map given the noisy one. Guided samples forget where they began by conditional draws alone;
chains also by what the network knows of the noisy map's density. A ladder repeats this with
smaller sigmas. With more steps the samples forget where they began.

The Gaussian with the mean noise everywhere is rotated exactly, kicks come from the rest
of the score, and the acceptance takes the likelihood and the Gaussian half of the prior
from their log-densities: only the network's part is integrated along the trajectory.
"""

import dataclasses
import functools
import logging
import pathlib

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc
from tfp_massmap.mcmc import diagnostics as mcmc_diagnostics
from tfp_massmap.nn import devices
from tfp_massmap.samplers import batches
from tfp_massmap.samplers import guided
from tfp_massmap.samplers import sample_set
from tfp_massmap.samplers import split_gibbs
from tfp_massmap.samplers import white_part

_LOG = logging.getLogger(__name__)
_LOW_ACCEPTANCE = 0.3

# Sigma over the typical noise, and over the least one. Smaller than the first, networks err
# too much; nearer the second, the pixel with that noise ties the noisy map down.
_SHARE_OF_TYPICAL, _SHARE_OF_LEAST = 0.4, 0.8
# But no smaller than this share of the typical noise. The variance of pixels is then cut in
# two as that of a pixel with this times sigma^2.
_SMALLEST_SHARE, _MARGIN = 0.25, 1.5

# Of the mean that the rotation turns about.
_CENTER_RTOL, _CENTER_ITERATIONS = 1e-3, 500


@dataclasses.dataclass(frozen=True)
class RefineSettings:
  """Settings of guided samples with Hamiltonian Monte Carlo.

  Attributes:
    start: `guided.GuidedSettings` of the samples that chains start from.
    sigmas: falling, of the noisy maps; None is .8 of the least noise of a pixel, at most
      .4 and at least .25 of the typical one. Of a pixel whose noise is below 1.22 sigma,
      what it says beyond that enters in the draw of the map alone, and `sample` warns.
    num_steps: HMC steps at each sigma, at least two.
    step_size: in radians, for a map of 360 x 360 pixels; scaled by pixels^(-1/4).
    num_leapfrog_steps: in one HMC step.
    num_flow_steps: network evaluations of each flow that draws the map, 3 or more.
  """

  start: guided.GuidedSettings = guided.GuidedSettings()
  sigmas: tuple | None = None
  num_steps: int = 6
  step_size: float = 0.05
  num_leapfrog_steps: int = 16
  num_flow_steps: int = 12

  def __post_init__(self):
    sigmas = np.asarray((1.0,) if self.sigmas is None else self.sigmas, float)
    if sigmas.ndim != 1 or not len(sigmas) or sigmas[-1] <= 0 or (np.diff(sigmas) >= 0).any():
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

  def resolve(self, posterior):
    """Settings with sigmas, if they were None."""
    if self.sigmas is not None:
      return self
    likelihood = posterior.likelihood
    typical = likelihood.typical_noise_std
    least = _least_noise(likelihood)
    sigma = min(_SHARE_OF_TYPICAL * typical, _SHARE_OF_LEAST * least)
    return dataclasses.replace(self, sigmas=(max(sigma, _SMALLEST_SHARE * typical),))

  @property
  def num_sigmas(self):
    return 1 if self.sigmas is None else len(self.sigmas)

  @property
  def num_score_evaluations(self):
    """Network evaluations of a sample: start, HMC with its first score, flows."""
    chain = 1 + self.num_steps * self.num_leapfrog_steps
    return self.start.num_score_evaluations + self.num_sigmas * (
        chain + self.num_flow_steps
    )

  @property
  def num_solutions(self):
    """By conjugate gradients, of the start, and at each sigma of center and flow."""
    return self.start.num_solutions + self.num_sigmas * (1 + self.num_flow_steps)


def sample(posterior, num_samples, seed, settings=None, batch_size=8, output=None,
           overwrite=False, jit_compile=None, progress=True):
  """Posterior samples, one a chain.

  Args:
    posterior: `posterior.Posterior`.
    num_samples: number of samples.
    seed: integer; chains start from the guided samples of this seed and batch size.
    settings: `RefineSettings`.
    batch_size, output, overwrite, jit_compile, progress: as `guided.sample`.

  Returns:
    A `sample_set.SampleSet`; its diagnostics have the acceptance, and R-hat and
    effective size of the noisy map's misfit, -2 log-likelihood, over the chains of a batch
    at the last sigma (each with a white part of its own, so R-hat may stay above 1).

  Raises:
    (all): as `guided.sample`.
  """
  settings = (settings or RefineSettings()).resolve(posterior)
  batch_size = max(1, min(batch_size, num_samples))
  if jit_compile is None:
    jit_compile = devices.compile_networks() or not hasattr(posterior.prior, "residual")
  compile_fn = functools.partial(
      tf.function, autograph=False, jit_compile=jit_compile
  )
  _warn_of_little_noise(posterior.likelihood, settings.sigmas[0])
  begin = compile_fn(
      lambda seed: guided.draw(posterior, batch_size, seed, settings.start)
  )
  walk = compile_fn(
      lambda state, counts, seed: _walk(posterior, state, counts, seed, settings)
  )

  def draw_batch(seed, bar):
    seed = tf.constant(seed, tf.int32)
    start, *counts = begin(seed)
    bar.update()
    samples, (iterations, num_capped), trace = walk(start, tuple(counts), seed)
    bar.update()
    return samples.numpy(), {
        "conjugate-gradient iterations": float(iterations),
        "steps at the iteration cap": float(num_capped),
        **_diagnostics(trace, settings),
    }

  samples, diagnostics, seconds = batches.run(
      draw_batch, num_samples, batch_size, posterior.shape, seed,
      batches.record("guided+hmc", posterior, settings), output,
      batches.grid_of(posterior), overwrite, 2, progress,
  )
  guided.warn_of_cap(diagnostics, settings.num_solutions, settings.start)
  means = {name: float(values.mean()) for name, values in diagnostics.items()}
  if means["final acceptance"] < _LOW_ACCEPTANCE:
    _LOG.warning(
        "Only %.0f %% of the proposals were accepted at the last sigma: the samples are"
        " hardly corrected. Use a smaller step_size (now %.3g).",
        100 * means["final acceptance"], settings.step_size,
    )
  return sample_set.SampleSet(
      samples=samples,
      method="guided+hmc",
      num_score_evaluations=settings.num_score_evaluations,
      seconds=seconds,
      settings=_flat(settings),
      diagnostics=means,
      path=None if output is None else pathlib.Path(output),
  )


def _walk(posterior, state, counts, seed, settings):
  """Posterior samples after HMC at every sigma, counts, and the trace of all steps."""
  traces = []
  start = settings.start
  for sigma in settings.sigmas:
    seed, *seeds = tfp.random.split_seed(seed, n=5, salt="refine")
    rho = tf.constant(sigma, posterior.dtype)
    parts = white_part.split(posterior.likelihood, state, rho, seeds[0], _MARGIN)
    noisy, iterations, trace = _run_chain(posterior, parts, seeds[1], settings)
    ladder = split_gibbs.sigma_ladder(posterior.prior, sigma, settings.num_flow_steps - 1)
    state, *more = split_gibbs.draw(
        posterior.prior, dataclasses.replace(parts, noisy=noisy), ladder, seeds[2:],
        start.tolerance, start.max_iterations,
    )
    more[0] += iterations
    more[1] += tf.cast(iterations >= _CENTER_ITERATIONS, tf.int32)
    counts = tuple(a + b for a, b in zip(counts, more))
    traces.append(trace)
  return state, counts, tuple(tf.concat(values, axis=0) for values in zip(*traces))


def _make_kernel(target, shape, center, settings):
  step_size = settings.step_size * (360**2 / (shape[0] * shape[1])) ** 0.25
  return mcmc.ScoreHamiltonianMonteCarlo(
      target.score,
      step_size=tf.cast(min(step_size, 0.5), center.dtype),
      num_leapfrog_steps=settings.num_leapfrog_steps,
      event_ndims=2,
      path_integral="trajectory",
      momentum_distribution=mcmc.FourierDiagonalNormal(target.fourier_precision(), shape),
      analytic_log_prob_fn=target.analytic_log_prob,
      integrator="split",
      gaussian_mean=center,
  )


def _run_chain(posterior, parts, seed, settings):
  """The last noisy map alone, and the trace of all: states are large."""
  target = white_part.NoisyPosterior(posterior.prior, parts)
  center, iterations = target.gaussian_mean(_CENTER_RTOL, _CENTER_ITERATIONS)
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
  least, needed = _least_noise(likelihood), _MARGIN**0.5 * sigma
  if least < needed:
    _LOG.warning(
        "The least noise of a pixel is %.3g, below %.2f sigma = %.3g of the chains: what such"
        " pixels say beyond that does not guide them. Sigmas of %.3g and less have no such"
        " pixels.", least, _MARGIN**0.5, needed, least / _MARGIN**0.5,
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


def _flat(settings):
  """Settings with those of the guided sampler under their own names."""
  values = dataclasses.asdict(settings)
  start_values = {f"start {name}": v for name, v in values.pop("start").items()}
  values["sigmas"] = " ".join(f"{s:g}" for s in values["sigmas"])
  return {**values, **start_values}
