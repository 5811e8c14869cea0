"""Guided samples, corrected by Metropolis steps at small temperatures.

The guided sampler approximates the covariance that a hybrid prior's denoiser leaves. Here
its samples start chains of Hamiltonian Monte Carlo on the tempered posterior of Remy et
al. (2022), down a short ladder of small sigma, as theirs end after annealing; then the
guided flow carries them to sigma 0. With more steps the samples forget where they began.

The Gaussian with the mean noise everywhere is rotated exactly, kicks come from the rest
of the score, and the acceptance takes the likelihood and the Gaussian half of the prior
from their log-densities: only the network's part is integrated along the trajectory.
"""

import dataclasses
import logging
import pathlib

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import gaussian_posterior
from tfp_massmap import mcmc
from tfp_massmap.nn import devices
from tfp_massmap.samplers import batches
from tfp_massmap.samplers import guided
from tfp_massmap.samplers import probability_flow
from tfp_massmap.samplers import sample_set

_LOG = logging.getLogger(__name__)
_LOW_ACCEPTANCE = 0.3


@dataclasses.dataclass(frozen=True)
class RefineSettings:
  """Settings of guided samples with Hamiltonian Monte Carlo.

  Attributes:
    start: `guided.GuidedSettings` of the samples that chains start from.
    sigmas: falling ladder of the tempered posterior. The last biases the variance of a
      mode by up to -2 (sigma / noise)^2.
    num_steps: HMC steps at each sigma, at least two at the last.
    step_size: in radians, for a map of 360 x 360 pixels; scaled by pixels^(-1/4).
    num_leapfrog_steps: in one HMC step.
    num_flow_steps: network evaluations of the last flow, from the last sigma to 0.
  """

  start: guided.GuidedSettings = guided.GuidedSettings()
  sigmas: tuple = (0.03, 0.015)
  num_steps: int = 4
  step_size: float = 0.035
  num_leapfrog_steps: int = 12
  num_flow_steps: int = 6

  def __post_init__(self):
    sigmas = np.asarray(self.sigmas, float)
    if sigmas.ndim != 1 or not len(sigmas) or sigmas[-1] <= 0 or (np.diff(sigmas) >= 0).any():
      raise ValueError(f"sigmas must be positive and falling; got {self.sigmas}.")
    object.__setattr__(self, "sigmas", tuple(sigmas.tolist()))
    if not self.step_size > 0 or self.num_leapfrog_steps < 1 or self.num_steps < 2:
      raise ValueError(
          "step_size and num_leapfrog_steps must be positive and num_steps at least 2;"
          f" got {self.step_size}, {self.num_leapfrog_steps} and {self.num_steps}."
      )


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
    effective size of the misfit, -2 log-likelihood, over the chains of a batch at the
    last sigma.

  Raises:
    As `guided.sample`.
  """
  settings = settings or RefineSettings()
  batch_size = max(1, min(batch_size, num_samples))
  if jit_compile is None:
    jit_compile = devices.compile_networks() or not hasattr(posterior.prior, "residual")
  compile_fn = lambda fn: tf.function(fn, jit_compile=jit_compile)
  center = gaussian_posterior.mean(
      posterior.likelihood.linearised(), posterior.prior
  )[0]
  begin = compile_fn(
      lambda seed: guided.draw(posterior, batch_size, seed, settings.start)
  )
  walk = compile_fn(lambda state, seed: _walk(posterior, center, state, seed, settings))
  end = compile_fn(lambda state: _finish(posterior, state, settings))

  def draw_batch(seed, bar):
    seed = tf.constant(seed, tf.int32)
    start, iterations, num_capped = begin(seed)
    bar.update()
    state, trace = walk(start, tfp.random.split_seed(seed, n=2, salt="refine")[0])
    bar.update()
    samples = end(state).numpy()
    bar.update()
    return samples, {
        "conjugate-gradient iterations": float(iterations),
        "steps at the iteration cap": float(num_capped),
        **_diagnostics(trace, settings),
    }

  samples, diagnostics, seconds = batches.run(
      draw_batch, num_samples, batch_size, posterior.shape, seed,
      batches.record("guided+hmc", posterior, settings), output,
      batches.grid_of(posterior), overwrite, 3, progress,
  )
  means = {name: float(values.mean()) for name, values in diagnostics.items()}
  evaluations = means.pop("score evaluations of HMC")
  if means["final acceptance"] < _LOW_ACCEPTANCE:
    _LOG.warning(
        "Only %.0f %% of the proposals were accepted at the last sigma: the samples are"
        " hardly corrected. Use a smaller step_size (now %.3g).",
        100 * means["final acceptance"], settings.step_size,
    )
  first_and_last = settings.start.num_score_evaluations + settings.num_flow_steps
  return sample_set.SampleSet(
      samples=samples,
      method="guided+hmc",
      num_score_evaluations=evaluations + first_and_last,
      seconds=seconds,
      settings=_flat(settings),
      diagnostics=means,
      path=None if output is None else pathlib.Path(output),
  )


def _walk(posterior, center, state, seed, settings):
  """HMC down the ladder; the last state and the trace at each step."""
  noise_seed, chain_seed = tf.unstack(tf.random.split(seed, 2))
  noise = tf.random.stateless_normal(state.shape, noise_seed, dtype=state.dtype)
  pixels = posterior.shape[0] * posterior.shape[1]
  step_size = settings.step_size * (360**2 / pixels) ** 0.25

  def make_kernel(score_fn, sigma):
    return mcmc.ScoreHamiltonianMonteCarlo(
        score_fn,
        step_size=tf.cast(min(step_size, 0.5), posterior.dtype),
        num_leapfrog_steps=settings.num_leapfrog_steps,
        event_ndims=2,
        path_integral="trajectory",
        momentum_distribution=mcmc.FourierDiagonalNormal(
            posterior.fourier_precision(sigma), posterior.shape
        ),
        analytic_log_prob_fn=lambda x: posterior.analytic_log_prob(x, sigma),
        integrator="split",
        gaussian_mean=center,
    )

  kernel = mcmc.TemperedMC(
      posterior.score, make_kernel, sigmas=settings.sigmas, min_steps=settings.num_steps
  )

  def trace_fn(state, results):
    ratio = results.inner_results.log_accept_ratio
    return (
        tf.exp(tf.minimum(ratio, 0)),
        -2 * posterior.likelihood.log_prob(state, settings.sigmas[-1]),
        results.num_score_evaluations,
    )

  return _run_chain(
      kernel, state + settings.sigmas[0] * noise, chain_seed,
      settings.num_steps * len(settings.sigmas), trace_fn,
  )


def _run_chain(kernel, state, seed, num_steps, trace_fn):
  """The last state alone, and the trace of all: states are large."""
  results = kernel.bootstrap_results(state)
  seeds = tf.random.split(seed, num_steps)
  arrays = tuple(
      tf.TensorArray(value.dtype, num_steps, element_shape=value.shape)
      for value in trace_fn(state, results)
  )

  def step(index, state, results, arrays):
    state, results = kernel.one_step(state, results, seed=seeds[index])
    values = trace_fn(state, results)
    arrays = tuple(a.write(index, value) for a, value in zip(arrays, values))
    return index + 1, state, results, arrays

  _, state, _, arrays = tf.while_loop(
      lambda index, *_: index < num_steps, step, (0, state, results, arrays)
  )
  return state, tuple(array.stack() for array in arrays)


def _finish(posterior, state, settings):
  """Guided flow from the last sigma to 0."""
  smallest = settings.start.sigmas(posterior.prior)[-1]
  ladder = probability_flow.sigma_ladder(
      settings.sigmas[-1], min(smallest, 0.5 * settings.sigmas[-1]),
      settings.num_flow_steps,
  )
  return probability_flow.flow(
      lambda x, sigma: guided.denoise(posterior, x, sigma, settings.start)[0],
      state, ladder, 1 / posterior.fourier_precision(),
  )


def _diagnostics(trace, settings):
  acceptance, misfit, evaluations = (values.numpy() for values in trace)
  last = tf.constant(misfit[-settings.num_steps :])
  diagnostics = {
      "acceptance": float(acceptance.mean()),
      "final acceptance": float(acceptance[-settings.num_steps :].mean()),
      "score evaluations of HMC": float(evaluations[-1].mean()),
  }
  if last.shape[1] > 1:
    size = tfp.mcmc.effective_sample_size(last, cross_chain_dims=1)
    diagnostics["effective sample size of the misfit"] = float(size)
    diagnostics["R-hat of the misfit"] = float(tfp.mcmc.potential_scale_reduction(last))
  return diagnostics


def _flat(settings):
  """Settings with those of the guided sampler under their own names."""
  values = dataclasses.asdict(settings)
  start_values = {f"start {name}": v for name, v in values.pop("start").items()}
  values["sigmas"] = " ".join(f"{s:g}" for s in values["sigmas"])
  return {**values, **start_values}
