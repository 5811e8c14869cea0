"""The paper's sampler: annealed score-HMC, then the ODE to temperature zero.

Paper section 4.3: start from white noise at a high temperature, cool geometrically
while Hamiltonian Monte Carlo with path-integral acceptance follows the smoothed
posterior, and carry the last state to sigma = 0 by the probability-flow ODE. Every
chain gives one sample; chains run in batches. The smoothed posterior is that of
`posterior.Posterior`, which has the paper's as an option.

The mass matrix is the paper's identity, or the Fourier-diagonal precision of the
posterior at each temperature. The mode k = 0, which shear leaves free, always has
its own prior precision as mass: with an identity mass it is by far the softest
direction and would keep a part of its starting value.

The score of a network is poor once sigma is small: the difference D(x) - x, from which it
comes, is then a tiny part of x. A prior takes out what it adds in proportion to x
(`nn.linear_response`), and weighs down the rest where it can only be wrong
(`hybrid_prior.HybridPrior.chain_score`): both led chains astray on large scales, as what
noise of higher temperatures left over does. Below a fifth of the noise haloes grow
without bounds even so. With a network, states are therefore rescaled as the temperature
falls, steps are smaller, and the last sigma is larger.
"""

import dataclasses
import logging
import pathlib

import numpy as np
import tensorflow as tf

from tfp_massmap import gaussian_posterior
from tfp_massmap import mcmc
from tfp_massmap import spectra
from tfp_massmap.samplers import batches
from tfp_massmap.samplers import ode
from tfp_massmap.samplers import sample_set

_LOG = logging.getLogger(__name__)

# The last sigma over the typical noise. With a network .15 is too little: chains of the
# shipped prior had grown haloes of .8 to 5 after 20 steps. And so is .25: what keeps them
# from it (`HybridPrior.chain_score`) takes 7 % of the power for ell of 1,000 to 5,500. The
# paper's factors, too narrow for a large one, end there even so.
_LAST_SHARE, _LAST_SHARE_WITH_NETWORK, _LAST_SHARE_OF_FACTORS = 0.08, 0.4, 0.25

# Below this many of the last proposals accepted, chains have hardly moved there.
_LOW_ACCEPTANCE = 0.3


@dataclasses.dataclass(frozen=True)
class AnnealedSettings:
  """Settings of annealed HMC; the defaults are for the Fourier mass matrix.

  What is None is chosen for the posterior at hand, by `resolve`.

  Attributes:
    initial_sigma: smoothing at the start, well above the pixel noise.
    final_sigma: smoothing at which HMC hands over to the ODE; None is .08 of the
      typical pixel noise, and .4 with a network. With the paper's smoothing (see
      `posterior.Posterior`) it is .08 and .25, and biases the variance of a mode by up to
      -2 (final_sigma / noise)^2: 1.3 and 12.5 %.
    cooling: factor of sigma from one temperature to the next.
    min_steps: HMC steps at each temperature.
    final_steps: further HMC steps at `final_sigma`.
    step_size: leapfrog step in units of the mass matrix's own scale. The energy error
      grows with the number of pixels; None is .13 (360^2 / pixels)^(1/4), at most
      .4, for an acceptance that does not depend on the map, and .07 instead of .13
      with a network.
    num_leapfrog_steps: leapfrog steps in one HMC step; None is the even number next
      to 1.56 / step_size, a quarter of a turn.
    rescale: whether a falling temperature shrinks each mode of the state about the
      mean of the Gaussian posterior, in proportion to that posterior's standard
      deviations at the two temperatures (with the mean noise everywhere); None is True
      with a network, but not with the identity, the paper's choice.
    path_integral: "trajectory" or "straight", see `mcmc`.
    preconditioner: "fourier", or "identity" for the paper's choice; the unit of the
      step is then the posterior's smallest standard deviation at each sigma, and
      many more leapfrog steps are needed.
    ode_rtol, ode_atol: tolerances of the finisher.
  """

  initial_sigma: float = 1.0
  final_sigma: float | None = None
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

  def __post_init__(self):
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
          "preconditioner must be 'fourier' or 'identity'; got"
          f" {self.preconditioner!r}."
      )

  def resolve(self, posterior):
    """Settings with a value for everything that is None."""
    final_sigma, step_size = self.final_sigma, self.step_size
    typical = posterior.likelihood.typical_noise_std
    has_network = _has_network(posterior)
    if final_sigma is None:
      final_sigma = min(last_sigma(posterior), self.initial_sigma)
    elif final_sigma > 0.25 * typical and getattr(posterior, "smoothing", "") == "factors":
      _LOG.warning(
          "final_sigma = %g is not small against the typical pixel noise %.3g: the"
          " posterior will be too narrow by up to %.0f %%.",
          final_sigma, typical, 100 * (final_sigma / typical) ** 2,
      )
    if step_size is None:
      pixels = posterior.shape[0] * posterior.shape[1]
      largest = 0.07 if has_network else 0.13
      step_size = min(largest * (360**2 / pixels) ** 0.25, 0.4)
    num_steps = self.num_leapfrog_steps or max(2, 2 * round(0.78 / step_size))
    return dataclasses.replace(
        self, final_sigma=final_sigma, step_size=step_size,
        num_leapfrog_steps=num_steps,
        rescale=(
            has_network and self.preconditioner == "fourier"
            if self.rescale is None else self.rescale
        ),
    )

  @property
  def num_steps(self):
    """HMC steps of a chain, once resolved."""
    ratio = np.log(self.final_sigma / self.initial_sigma) / np.log(self.cooling)
    num_coolings = int(np.ceil(ratio - 1e-9))
    return num_coolings * self.min_steps + self.min_steps + self.final_steps


def sample(posterior, num_samples, seed, settings=None, batch_size=8, output=None,
           overwrite=False, chunk_steps=4, jit_compile=True, progress=True):
  """Independent posterior samples by annealed HMC and the ODE.

  Args:
    posterior: `posterior.Posterior`.
    num_samples: number of samples, one chain each.
    seed: integer; a batch's result depends on it, the batch's number and size.
    settings: `AnnealedSettings`.
    batch_size: chains run together; bounds the memory.
    output: None, or name of a FITS cube for the samples, see `samplers.batches`.
    overwrite: whether an output of another run may be replaced.
    chunk_steps: HMC steps between progress reports, one compiled call.
    jit_compile: whether to compile with XLA.
    progress: whether to show a progress bar.

  Returns:
    A `sample_set.SampleSet`.

  Raises:
    FloatingPointError: if a sample is not finite.
    FileExistsError: if the output exists.
    RuntimeError: if states are rescaled, and the mean of the Gaussian posterior takes
      conjugate gradients more than 5,000 iterations.
    ValueError: if `num_samples` or `batch_size` is not positive, or the likelihood not
      linear: white noise is no place to start for reduced shear.
  """
  if not getattr(posterior.likelihood, "is_linear", True):
    raise ValueError(
        "Annealing starts from white noise, where reduced shear is singular. Use"
        " method='guided' or 'guided+hmc', or a likelihood of the shear."
    )
  settings = (settings or AnnealedSettings()).resolve(posterior)
  batch_size = max(1, min(batch_size, num_samples))
  chain = _Chain(posterior, settings, batch_size, chunk_steps, jit_compile)
  samples, diagnostics, seconds = batches.run(
      chain.run, num_samples, batch_size, posterior.shape, seed,
      batches.record("annealed", posterior, settings), output,
      batches.grid_of(posterior), overwrite, settings.num_steps + 1, progress,
  )
  evaluations = diagnostics.pop("score evaluations per sample")
  means = {name: float(values.mean()) for name, values in diagnostics.items()}
  final_acceptance = means["final acceptance"]
  if final_acceptance < _LOW_ACCEPTANCE:
    _LOG.warning(
        "Only %.0f %% of the proposals were accepted at the last temperature: the"
        " samples may not have reached the posterior. Use a smaller step_size (now"
        " %.3g) with more num_leapfrog_steps, or more final_steps.",
        100 * final_acceptance, settings.step_size,
    )
  return sample_set.SampleSet(
      samples=samples,
      method="annealed",
      num_score_evaluations=float(np.mean(evaluations)),
      seconds=seconds,
      settings=dataclasses.asdict(settings),
      diagnostics=means,
      path=None if output is None else pathlib.Path(output),
  )


def make_kernel(posterior, settings):
  """The `mcmc.TemperedMC` kernel of the procedure, for `[chains, ny, nx]` states."""

  def make_kernel_fn(score_fn, sigma):
    precision = _mass(posterior, settings, sigma)
    analytic = None
    if _has_network(posterior):
      # Then only the network's part of the density has to be integrated.
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


def last_sigma(posterior):
  """The smallest sigma at which chains stay, see `AnnealedSettings.final_sigma`."""
  share = _LAST_SHARE
  if _has_network(posterior):
    of_factors = getattr(posterior, "smoothing", "") == "factors"
    share = _LAST_SHARE_OF_FACTORS if of_factors else _LAST_SHARE_WITH_NETWORK
  return share * posterior.likelihood.typical_noise_std


def _has_network(posterior):
  return hasattr(posterior.prior, "residual_score")


def _rescaling(posterior):
  """Shrinks the modes of a state as those of the Gaussian posterior shrink."""
  center, _, _ = gaussian_posterior.mean(
      posterior.likelihood, posterior.prior, max_iterations=5000
  )

  def rescale(x, sigma, next_sigma):
    before, after = map(posterior.fourier_precision, (sigma, next_sigma))
    return center + spectra.fourier_filter(x - center, tf.sqrt(before / after))

  return rescale


class _Chain:
  """Compiled steps of one batch of chains, run in chunks."""

  def __init__(self, posterior, settings, batch_size, chunk_steps, jit_compile):
    self._posterior = posterior
    self._settings = settings
    self._shape = [batch_size, *posterior.shape]
    self._chunk_steps = chunk_steps
    kernel = make_kernel(posterior, settings)

    @tf.function(autograph=False, jit_compile=jit_compile)
    def start(seed):
      white = tf.random.stateless_normal(self._shape, seed, dtype=posterior.dtype)
      state = settings.initial_sigma * white
      return state, kernel.bootstrap_results(state)

    # The last chunk may be shorter; a number of steps keeps it the same program.
    @tf.function(autograph=False, jit_compile=jit_compile)
    def advance(state, results, seeds, num_steps):
      probability = tf.TensorArray(posterior.dtype, chunk_steps)

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
      return ode.finish(
          posterior.smoothed_score, state, settings.final_sigma,
          rtol=settings.ode_rtol, atol=settings.ode_atol,
      )

    self._start, self._advance, self._finish = start, advance, finish

  def run(self, seed, bar):
    """Samples, and score evaluations and acceptance of a batch, see `batches.run`."""
    num_steps = self._settings.num_steps
    # One seed per step, drawn at once: the result does not depend on the chunks.
    seeds = tf.random.stateless_uniform(
        [num_steps + 1 + self._chunk_steps, 2], seed, None, None, tf.int32
    )
    state, results = self._start(seeds[0])
    acceptance = []
    for first in range(0, num_steps, self._chunk_steps):
      chunk = seeds[1 + first : 1 + first + self._chunk_steps]
      count = min(self._chunk_steps, num_steps - first)
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
    evaluations = float(tf.reduce_mean(tf.cast(results.num_score_evaluations, tf.float32)))
    acceptance = np.concatenate(acceptance)
    return samples, {
        "score evaluations per sample": evaluations + float(ode_evaluations),
        "acceptance": float(acceptance.mean()),
        "final acceptance": float(acceptance[-self._settings.final_steps or None :].mean()),
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
