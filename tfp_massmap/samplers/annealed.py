"""Annealed Hamiltonian Monte Carlo, then the probability-flow ODE to temperature zero.

Another cooling schedule is a setting of `AnnealedSettings` that `make_kernel` hands to
`mcmc.TemperedMC`, which takes any falling ladder of sigmas.

After Remy et al. (2022), section 4.3: start from white noise at a high temperature, cool
geometrically while Hamiltonian Monte Carlo with path-integral acceptance follows the
smoothed posterior, and carry the last state to sigma = 0 by the ODE. Every chain gives
one sample; chains run in batches.

It differs from their procedure where the defaults of `AnnealedSettings` and
`posterior.Posterior` do: the smoothed posterior instead of smoothed factors, a
Fourier-diagonal mass matrix instead of the identity, Simpson's rule along the trajectory
instead of the straight line, faster cooling, and the corrections below. The mode k = 0,
which shear does not constrain, always has its own prior precision as mass: with an
identity mass it is by far the softest direction and would keep a part of its start.

The score of a network is poor at small sigma: the difference D(x) - x, of which it is
made, is then a tiny part of x. Two corrections keep chains stable: the network's linear
response is subtracted (`priors.linear_response`), and the remaining residual is
down-weighted where its error exceeds any plausible signal
(`priors.HybridPrior.chain_score`). States are rescaled as the temperature falls, so that
no noise of higher temperatures is left over. Even so, chains of the shipped prior diverge
below 0.2 of the pixel noise, so HMC stops at `priors.SamplerConstants.last_sigma`.
"""

import dataclasses
import logging
import typing

import numpy as np
import tensorflow as tf

from tfp_massmap import devices
from tfp_massmap import gaussian_posterior
from tfp_massmap import mcmc
from tfp_massmap import spectra
from tfp_massmap.samplers import probability_flow
from tfp_massmap.samplers import runs
from tfp_massmap.samplers import sample_set

if typing.TYPE_CHECKING:
  from tfp_massmap import posterior as posterior_lib

_LOG = logging.getLogger(__name__)

# Below this many of the last proposals accepted, chains have hardly moved there.
_LOW_ACCEPTANCE = 0.3

# Largest leapfrog step, on maps of a few pixels: beyond it the error is not of fourth
# order in the step any more.
_LARGEST_STEP = 0.4

# A trajectory is a quarter of a turn, 2 x 0.78 radians: the least correlated with its
# start for a Gaussian target.
_HALF_TRAJECTORY = 0.78

# With the smoothing "factors", a standard deviation is too small by up to
# (sigma / noise)^2: a warning is due above this share of the noise.
_LARGE_SHARE_OF_FACTORS = 0.25

# HMC steps between progress reports, one compiled call.
_CHUNK_STEPS = 4

_CENTER_ITERATIONS = 5000


@dataclasses.dataclass(frozen=True)
class AnnealedSettings:
  """Settings of annealed HMC; the defaults are for the Fourier mass matrix.

  What is None is chosen for a posterior by `resolve`. `examples/benchmarks/annealed.py`
  measures power and means against exact samples.

  Attributes:
    initial_sigma: Smoothing at the start, well above the pixel noise.
    final_sigma: Smoothing at which HMC hands over to the ODE. None is the typical pixel
      noise times the prior's `constants.last_sigma`, or `last_sigma_of_factors` with
      smoothing "factors", which biases the variance of a mode by up to
      -2 (final_sigma / noise)^2.
    cooling: Factor of sigma from one temperature to the next.
    min_steps: HMC steps at each temperature.
    final_steps: Further HMC steps at `final_sigma`.
    step_size: Leapfrog step in units of the mass matrix. The energy error grows with the
      number of pixels; None is the prior's `constants.step_size` times
      (360^2 / num_pixels)^(1/4), at most 0.4, for an acceptance that does not depend on
      the map.
    num_leapfrog_steps: Leapfrog steps in one HMC step; None is the even number next to
      1.56 / step_size, a quarter of a turn.
    rescale: Whether each mode of the state shrinks about the mean of the Gaussian
      posterior as the temperature falls, in proportion to that posterior's standard
      deviations at the two temperatures (with the mean noise everywhere). None is True
      for a prior that is not Gaussian, with the Fourier mass matrix.
    path_integral: "trajectory" or "straight", see `mcmc`.
    preconditioner: "fourier", or "identity", the choice of Remy et al. (2022). The unit
      of the step is then the posterior's smallest standard deviation at each sigma, and
      many more leapfrog steps are needed.
    ode_rtol, ode_atol: Tolerances of `probability_flow.finish_by_ode`.

  Raises:
    ValueError: If a number is out of its range.
  """

  initial_sigma: float = 1.0
  final_sigma: float | None = None
  _: dataclasses.KW_ONLY
  cooling: float = 0.8
  min_steps: int = 2
  final_steps: int = 8
  step_size: float | None = None
  num_leapfrog_steps: int | None = None
  rescale: bool | None = None
  path_integral: str = "trajectory"
  preconditioner: str = "fourier"
  ode_rtol: float = 1e-3
  ode_atol: float = 1e-4

  def __post_init__(self) -> None:
    final_sigma = self.initial_sigma if self.final_sigma is None else self.final_sigma
    if not 0 < final_sigma <= self.initial_sigma:
      raise ValueError(
        "final_sigma must be positive and at most initial_sigma; got"
        f" {self.final_sigma} and {self.initial_sigma}."
      )
    if self.step_size is not None and not self.step_size > 0:
      raise ValueError(f"step_size must be positive; got {self.step_size}.")
    if self.min_steps < 1 or self.final_steps < 0 or not 0 < self.cooling < 1:
      raise ValueError(
        "min_steps must be at least 1, final_steps not negative and cooling in"
        f" (0, 1); got {self.min_steps}, {self.final_steps} and {self.cooling}."
      )
    if self.preconditioner not in ("fourier", "identity"):
      raise ValueError(
        f"preconditioner must be 'fourier' or 'identity'; got {self.preconditioner!r}."
      )

  def resolve(self, posterior: "posterior_lib.Posterior") -> "AnnealedSettings":
    """Returns the settings with a value for everything that is None."""
    final_sigma, step_size, rescale = self.final_sigma, self.step_size, self.rescale
    typical = posterior.likelihood.typical_noise_std
    is_large = final_sigma and final_sigma > _LARGE_SHARE_OF_FACTORS * typical
    if final_sigma is None:
      final_sigma = min(last_sigma(posterior), self.initial_sigma)
    elif is_large and posterior.smoothing == "factors":
      _LOG.warning(
        "final_sigma = %g is not small against the typical pixel noise %.3g: the"
        " posterior will be too narrow by up to %.0f %%.",
        final_sigma,
        typical,
        100 * (final_sigma / typical) ** 2,
      )
    if step_size is None:
      pixels = posterior.shape[0] * posterior.shape[1]
      scaled = posterior.prior.constants.step_size * (360**2 / pixels) ** 0.25
      step_size = min(scaled, _LARGEST_STEP)
    if rescale is None:
      rescale = not posterior.prior.is_gaussian and self.preconditioner == "fourier"
    num_steps = self.num_leapfrog_steps
    num_steps = num_steps or max(2, 2 * round(_HALF_TRAJECTORY / step_size))
    return dataclasses.replace(
      self,
      final_sigma=final_sigma,
      step_size=step_size,
      num_leapfrog_steps=num_steps,
      rescale=rescale,
    )

  @property
  def num_steps(self) -> int:
    """HMC steps of a chain, once resolved."""
    assert self.final_sigma is not None, "Only `resolve` makes the last sigma."
    ratio = np.log(self.final_sigma / self.initial_sigma) / np.log(self.cooling)
    num_coolings = int(np.ceil(ratio - 1e-9))
    return num_coolings * self.min_steps + self.min_steps + self.final_steps


def sample(
  posterior: "posterior_lib.Posterior",
  num_samples: int,
  *,
  seed: int,
  settings: AnnealedSettings | None = None,
  options: runs.RunOptions = runs.RunOptions(),
) -> sample_set.SampleSet:
  """Returns independent posterior samples by annealed HMC and the ODE.

  Args:
    posterior: `posterior.Posterior`.
    num_samples: Number of samples, one chain each.
    seed: Integer; a batch depends on it, on the batch's number and on its size.
    settings: `AnnealedSettings`.
    options: `runs.RunOptions`.

  Raises:
    FloatingPointError: If a sample is not finite.
    FileExistsError: If the output exists.
    RuntimeError: If states are rescaled, and the mean of the Gaussian posterior takes
      conjugate gradients more than 5,000 iterations.
    ValueError: If `num_samples` is not positive, or the likelihood is not linear:
      reduced shear is singular at the white noise of the start.
  """
  if not posterior.likelihood.is_linear:
    raise ValueError(
      "Annealing starts from white noise, where reduced shear is singular. Use"
      " method='guided' or 'guided+hmc', or a likelihood of the shear."
    )
  settings = (settings or AnnealedSettings()).resolve(posterior)
  jit_compile = devices.resolve_jit_compile(
    options.jit_compile, has_network=not posterior.prior.is_gaussian
  )
  chain = _Chain(posterior, settings, options.size_of(num_samples), jit_compile)
  run = runs.run(
    chain.run,
    num_samples,
    seed=seed,
    posterior=posterior,
    record=runs.record("annealed", posterior, settings=dataclasses.asdict(settings)),
    options=options,
    num_steps=settings.num_steps + 1,
  )
  acceptance = run.mean("final acceptance")
  if acceptance < _LOW_ACCEPTANCE:
    _LOG.warning(
      "Only %.0f %% of the proposals were accepted at the last temperature: the"
      " samples may not have reached the posterior. Use a smaller step_size (now"
      " %.3g) with more num_leapfrog_steps, or more final_steps.",
      100 * acceptance,
      settings.step_size,
    )
  return run.sample_set(
    "annealed",
    num_score_evaluations=run.diagnostics.pop("score evaluations per sample").mean(),
    settings=dataclasses.asdict(settings),
  )


def make_kernel(
  posterior: "posterior_lib.Posterior", settings: AnnealedSettings
) -> mcmc.TemperedMC:
  """Returns the kernel of the procedure, for `[chains, ny, nx]` states.

  Args:
    posterior: `posterior.Posterior`.
    settings: `AnnealedSettings`, resolved.
  """

  def make_kernel_fn(score_fn, sigma):
    precision = _mass(posterior, settings, sigma)
    analytic = None
    if not posterior.prior.is_gaussian:
      # Only the rest of the density has to be integrated.
      analytic = lambda x: posterior.analytic_log_prob(x, sigma)
    return mcmc.ScoreHamiltonianMonteCarlo(
      target_score_fn=score_fn,
      step_size=tf.cast(settings.step_size, posterior.dtype),
      num_leapfrog_steps=settings.num_leapfrog_steps,
      event_ndims=2,
      path_integral=settings.path_integral,
      analytic_log_prob_fn=analytic,
      momentum_distribution=mcmc.FourierDiagonalNormal(precision, posterior.shape),
    )

  return mcmc.TemperedMC(
    target_score_fn=posterior.chain_score,
    make_kernel_fn=make_kernel_fn,
    initial_sigma=settings.initial_sigma,
    min_sigma=settings.final_sigma,
    cooling=settings.cooling,
    min_steps=settings.min_steps,
    move_fn=_rescaling(posterior) if settings.rescale else None,
  )


def last_sigma(posterior: "posterior_lib.Posterior") -> float:
  """Returns the smallest sigma at which chains stay, see `AnnealedSettings`."""
  constants = posterior.prior.constants
  share = constants.last_sigma
  if posterior.smoothing == "factors":
    share = constants.last_sigma_of_factors
  return share * posterior.likelihood.typical_noise_std


def _rescaling(posterior):
  """Shrinks the modes of a state as those of the Gaussian posterior shrink."""
  center, _, _ = gaussian_posterior.mean(
    posterior.likelihood, posterior.prior.gaussian, max_iterations=_CENTER_ITERATIONS
  )

  def rescale(x, sigma, next_sigma):
    before, after = map(posterior.fourier_precision, (sigma, next_sigma))
    return center + spectra.fourier_filter(x - center, tf.sqrt(before / after))

  return rescale


class _Chain:
  """Compiled steps of one batch of chains, run in chunks."""

  def __init__(self, posterior, settings, batch_size, jit_compile):
    self._posterior = posterior
    self._settings = settings
    self._shape = [batch_size, *posterior.shape]
    kernel = make_kernel(posterior, settings)

    @tf.function(autograph=False, jit_compile=jit_compile)
    def start(seed):
      white = tf.random.stateless_normal(self._shape, seed, dtype=posterior.dtype)
      state = settings.initial_sigma * white
      return state, kernel.bootstrap_results(state)

    # The last chunk may be shorter; a number of steps keeps it the same program.
    @tf.function(autograph=False, jit_compile=jit_compile)
    def advance(state, results, seeds, num_steps):
      probability = tf.TensorArray(posterior.dtype, _CHUNK_STEPS)

      def step(i, state, results, probability):
        state, results = kernel.one_step(state, results, seed=seeds[i])
        ratio = results.inner_results.log_accept_ratio
        accept = tf.reduce_mean(tf.exp(tf.minimum(ratio, 0)))
        return i + 1, state, results, probability.write(i, accept)

      _, state, results, probability = tf.while_loop(
        lambda i, *_: i < num_steps, step, (0, state, results, probability)
      )
      return state, results, probability.stack()

    @tf.function(autograph=False, jit_compile=jit_compile)
    def finish(state):
      return probability_flow.finish_by_ode(
        posterior.score,
        state,
        sigma=settings.final_sigma,
        rtol=settings.ode_rtol,
        atol=settings.ode_atol,
      )

    self._start, self._advance, self._finish = start, advance, finish

  def run(self, seed, bar):
    """Samples, and score evaluations and acceptance of a batch, see `runs.run`."""
    num_steps = self._settings.num_steps
    # One seed per step, drawn at once: the result does not depend on the chunks.
    seeds = tf.random.stateless_uniform(
      [num_steps + 1 + _CHUNK_STEPS, 2], seed, None, None, tf.int32
    )
    state, results = self._start(seeds[0])
    acceptance = []
    for first in range(0, num_steps, _CHUNK_STEPS):
      chunk = seeds[1 + first : 1 + first + _CHUNK_STEPS]
      count = min(_CHUNK_STEPS, num_steps - first)
      state, results, probability = self._advance(
        state, results, chunk, tf.constant(count)
      )
      acceptance.append(probability[:count].numpy())
      bar.update(count)
      bar.set_postfix(
        sigma=f"{float(results.sigma[0]):.4f}",
        acceptance=f"{acceptance[-1].mean():.2f}",
      )
    samples, ode_evaluations = self._finish(state)
    samples = samples.numpy()
    bar.update(1)
    evaluations = float(
      tf.reduce_mean(tf.cast(results.num_score_evaluations, tf.float32))
    )
    acceptance = np.concatenate(acceptance)
    return samples, {
      "score evaluations per sample": evaluations + float(ode_evaluations),
      "acceptance": float(acceptance.mean()),
      "final acceptance": float(
        acceptance[-self._settings.final_steps or None :].mean()
      ),
    }


def _mass(posterior, settings, sigma):
  precision = posterior.fourier_precision(sigma)
  if settings.preconditioner == "fourier":
    return precision
  # One mass for all modes, the stiffest, so that the step is in its units.
  stiffest = tf.reduce_max(precision, axis=(-2, -1), keepdims=True)
  sides = precision.shape[-2:]
  is_mean = tf.scatter_nd([[0, 0]], tf.ones([1], precision.dtype), sides)
  return tf.where(is_mean > 0, precision, stiffest)
