"""Posterior samples in some tens of network evaluations, guided by the data.

The likelihood is linear and Gaussian, and half of the prior is Gaussian with a known
power spectrum S. So the posterior of that half has exact draws, without the network: the
power is right at all scales, but haloes are missing and voids are too deep. Sweeps of
`split_gibbs` start there. Each draws anew, by the full prior, what the data and the
structures around it leave open, and forgets all but the largest structures in gaps.

Sweeps can also start from the probability flow of the full prior. With D the prior's
denoiser at x_s = x + s z, one network evaluation, and V the covariance it leaves, the
mean of the posterior given x_s is

  m(x_s, s) = argmin_u (u - D)' V^-1 (u - D) + (gamma - A u)' N^-1 (gamma - A u),

found by conjugate gradients, without the network. With a Gaussian prior V = S s^2 /
(S + s^2), m is exact and (m - x_s) / s^2 the score of the smoothed posterior; with a
hybrid prior V is that, times what D was seen to err more or less, on both sides
(`nn.error_scale`), or s^2 times the Jacobian of D (Chung et al. 2023; Boys et al. 2023).
The flow then carries samples from s_max, where the smoothed prior is Gaussian, to 0, one
network evaluation a step, its steps exact for a Gaussian with the mean noise everywhere.

V is a model, and all of the data enter by it: the flow alone has too little power at
large scales and too few deep voids. A sweep needs V for a small part of the data only.
"""

import dataclasses
import logging
import pathlib

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import gaussian_posterior
from tfp_massmap import spectra
from tfp_massmap.nn import devices
from tfp_massmap.samplers import batches
from tfp_massmap.samplers import probability_flow
from tfp_massmap.samplers import sample_set
from tfp_massmap.samplers import split_gibbs

_LOG = logging.getLogger(__name__)

COVARIANCES = ("local", "gaussian", "jacobian")

# Cap of the first solution, to which no other one is near; or `max_iterations`, if more.
_START_ITERATIONS = 500


@dataclasses.dataclass(frozen=True)
class GuidedSettings:
  """Settings of the guided sampler.

  Attributes:
    num_steps: sigmas of the flow, each one evaluation of the prior's denoiser (two, but
      for the last, with Heun's method); 0 for none, and then initial_sigma and the
      integrator do nothing.
    initial_sigma: s_max; there the smoothed prior must be close to Gaussian.
    final_sigma: from it the flow's last step goes to 0. None is .02 before sweeps, which
      draw small structures anew, .004 without, or the smallest sigma the prior knows if
      that is larger.
    integrator: "multistep" or "heun", see `probability_flow.flow`.
    covariance: V in the flow; sweeps take "local" always.
      "local", the Gaussian one times the prior's `error_scale`; "gaussian"; or
      "jacobian", s^2 times the derivative of the denoiser, by vector-Jacobian products,
      one in each conjugate-gradient iteration.
    tolerance: of m, in standard deviations of the posterior at s, the mean over modes;
      with the jacobian, of the equation's residual.
    max_iterations: cap of the conjugate-gradient iterations of a step (of the exact
      draws at the start 500, or this if it is more); where it is reached, `sample`
      warns.
    sweeps: of `split_gibbs`; the white part of each, as a quantile of the noise of the
      measured pixels.
    sweep_steps: evaluations of the prior's denoiser in a sweep, one number or one for
      each; the last sweep decides how fine structures are drawn.
  """

  num_steps: int = 0
  initial_sigma: float = 1.0
  final_sigma: float | None = None
  integrator: str = "multistep"
  covariance: str = "local"
  tolerance: float = 5e-4
  max_iterations: int = 60
  sweeps: tuple = (0.9, 0.5, 0.1)
  sweep_steps: int | tuple = (7, 7, 10)

  def __post_init__(self):
    if self.integrator not in probability_flow.INTEGRATORS:
      raise ValueError(
          f"integrator must be one of {probability_flow.INTEGRATORS}; got"
          f" {self.integrator!r}."
      )
    if self.covariance not in COVARIANCES:
      raise ValueError(
          f"covariance must be one of {COVARIANCES}; got {self.covariance!r}."
      )
    if not self.tolerance > 0 or self.max_iterations < 1:
      raise ValueError(
          "tolerance and max_iterations must be positive; got"
          f" {self.tolerance} and {self.max_iterations}."
      )
    if self.num_steps < 0 or self.num_steps == 1 or not (self.num_steps or self.sweeps):
      raise ValueError(
          "num_steps is 2 or more, or 0 with sweeps: without both, samples are those of"
          f" the Gaussian half; got {self.num_steps} and sweeps {self.sweeps}."
      )
    if not all(0 <= share <= 1 for share in self.sweeps):
      raise ValueError(f"sweeps are quantiles, from 0 to 1; got {self.sweeps}.")
    steps = self.steps_of_sweeps
    if len(steps) != len(self.sweeps) or any(num < 3 for num in steps):
      raise ValueError(
          "sweep_steps is one number for all sweeps, or one for each, 3 or more; got"
          f" {self.sweep_steps} for the {len(self.sweeps)} sweeps {self.sweeps}."
      )

  @property
  def steps_of_sweeps(self):
    """Evaluations of the prior's denoiser, of each sweep."""
    if not self.sweeps:
      return ()
    if np.ndim(self.sweep_steps) == 0:
      return (self.sweep_steps,) * len(self.sweeps)
    return tuple(self.sweep_steps)

  @property
  def num_score_evaluations(self):
    flow = self.num_steps
    if self.integrator == "heun" and flow:
      flow = 2 * flow - 1
    return flow + sum(self.steps_of_sweeps)

  @property
  def num_solutions(self):
    """By conjugate gradients: one at the start, one with each evaluation."""
    return 1 + self.num_score_evaluations

  def smallest_sigma(self, prior):
    """Where the flow's last step begins."""
    if self.final_sigma is not None:
      return self.final_sigma
    smallest = getattr(prior, "sigma_range", (0.0,))[0]
    return max(0.02 if self.sweeps else 0.004, smallest)

  def sigmas(self, prior):
    """The ladder of a prior, `[num_steps]`, of two steps or more."""
    return probability_flow.sigma_ladder(
        self.initial_sigma, self.smallest_sigma(prior), self.num_steps
    )

  def sweep_ladders(self, posterior):
    """rho of each sweep, `[n]`, and the sigmas of its flow, `[n, steps]`.

    One step less than evaluations; shorter ladders end with zeros.
    """
    rhos = posterior.likelihood.noise_std_quantiles(self.sweeps)
    ladders = np.zeros([len(rhos), max(self.steps_of_sweeps) - 1])
    for ladder, rho, num in zip(ladders, rhos, self.steps_of_sweeps):
      ladder[: num - 1] = split_gibbs.sigma_ladder(posterior.prior, rho, num - 1)
    return rhos, ladders


def denoise(posterior, x, sigma, settings=GuidedSettings()):
  """Mean of the posterior given x + sigma noise.

  Args:
    posterior: has `likelihood` and `prior`.
    x: `[batch, ny, nx]`.
    sigma: positive scalar.
    settings: `GuidedSettings`.

  Returns:
    `(mean, iterations, is_converged)`: `[batch, ny, nx]`, conjugate-gradient
    iterations, int32, and whether they were enough, bool.
  """
  prior, likelihood = posterior.prior, posterior.likelihood
  x = tf.convert_to_tensor(x)
  sigma = tf.convert_to_tensor(sigma, x.dtype)
  if settings.covariance == "jacobian":
    return _denoise_by_jacobian(posterior, x, sigma, settings)
  clean, variance, scale = split_gibbs.with_error(prior, x, sigma)
  if settings.covariance == "gaussian":
    scale = tf.ones([], x.dtype)
  local = likelihood.linearised(clean)
  update, iterations, _ = gaussian_posterior.solve(
      gaussian_posterior.Scaled(local, scale), variance,
      tf.signal.rfft2d(scale * local.score(clean)), rtol=0.0, atol=settings.tolerance,
      max_iterations=settings.max_iterations,
  )
  update = tf.signal.irfft2d(update, fft_length=list(posterior.shape))
  return clean + scale * update, iterations, iterations < settings.max_iterations


def draw(posterior, num_samples, seed, settings=GuidedSettings()):
  """Posterior samples, all in one batch; traceable by `tf.function` and XLA.

  Args:
    posterior: has `likelihood` (a `likelihood.ShearLikelihood`) and `prior`.
    num_samples: how many.
    seed: stateless TFP seed.
    settings: `GuidedSettings`.

  Returns:
    `(samples, iterations, num_capped)`: `[num_samples, ny, nx]`; conjugate-gradient
    iterations in all, and in how many of the `settings.num_solutions` they reached
    their cap, int32.
  """
  prior, likelihood = posterior.prior, posterior.likelihood
  field_seed, noise_seed, sweep_seed = tfp.random.split_seed(seed, n=3, salt="guided")
  gaussian = getattr(prior, "gaussian", prior)
  start, right_side = gaussian_posterior.perturbed_right_side(
      likelihood, gaussian, num_samples, field_seed
  )
  max_iterations = max(_START_ITERATIONS, settings.max_iterations)
  update, iterations, _ = gaussian_posterior.solve(
      likelihood.linearised(), gaussian.mode_variance, right_side, rtol=0.0,
      atol=0.2 * settings.tolerance, max_iterations=max_iterations,
  )
  samples = start + tf.signal.irfft2d(update, fft_length=list(posterior.shape))
  counts = iterations, tf.cast(iterations >= max_iterations, tf.int32)
  if settings.num_steps:
    sigmas = settings.sigmas(prior)
    noise = tf.random.stateless_normal(samples.shape, noise_seed, dtype=samples.dtype)
    samples += tf.cast(sigmas[0], samples.dtype) * noise
    samples, counts = flow(posterior, samples, sigmas, counts, settings)
  if settings.sweeps:
    return _sweep(posterior, samples, counts, sweep_seed, settings)
  return (samples, *counts)


def flow(posterior, x, sigmas, counts, settings=GuidedSettings()):
  """Carries draws of the smoothed posterior to sigma 0.

  Args:
    posterior: as `draw`.
    x: `[batch, ny, nx]`, at the first of the sigmas.
    sigmas: falling, `[n]`.
    counts: `(iterations, num_capped)` so far, int32, see `draw`.
    settings: `GuidedSettings`; those of the flow's ladder are not looked at.

  Returns:
    `(samples, counts)`: `[batch, ny, nx]`, and the counts with those of the flow.
  """

  def step(x, sigma, counts):
    mean, iterations, is_converged = denoise(posterior, x, sigma, settings)
    capped = tf.cast(~is_converged, tf.int32)
    return mean, (counts[0] + iterations, counts[1] + capped)

  return probability_flow.flow(
      step, x, sigmas,
      split_gibbs.typical_variance(posterior.prior, posterior.fourier_precision()),
      settings.integrator, carry=counts,
  )


def _sweep(posterior, samples, counts, seed, settings):
  rhos, ladders = (
      tf.constant(values, samples.dtype) for values in settings.sweep_ladders(posterior)
  )
  num_sweeps = len(settings.sweeps)
  seeds = tf.random.split(seed, num_sweeps)

  def body(index, x, counts):
    x, *more = split_gibbs.sweep(
        posterior, x, rhos[index], ladders[index], seeds[index], settings.tolerance,
        settings.max_iterations,
    )
    return index + 1, x, tuple(a + b for a, b in zip(counts, more))

  _, samples, counts = tf.while_loop(
      lambda index, *_: index < num_sweeps, body, (0, samples, counts),
      maximum_iterations=num_sweeps,
  )
  return (samples, *counts)


def sample(posterior, num_samples, seed, settings=None, batch_size=8, output=None,
           overwrite=False, jit_compile=None, progress=True):
  """Independent posterior samples by the guided flow.

  Args:
    posterior: has `likelihood` and `prior`, see `draw`.
    num_samples: number of samples.
    seed: integer; a batch's result depends on it, the batch's number and size.
    settings: `GuidedSettings`.
    batch_size: samples drawn together; bounds the memory.
    output: None, or name of a FITS cube for the samples, see `samplers.batches`.
    overwrite: whether an output of another run may be replaced.
    jit_compile: whether to compile with XLA; None is what serves the device best.
    progress: whether to show a progress bar.

  Returns:
    A `sample_set.SampleSet`.

  Raises:
    FloatingPointError: if a sample is not finite.
    FileExistsError: if the output exists.
    ValueError: if `num_samples` or `batch_size` is not positive.
  """
  settings = settings or GuidedSettings()
  batch_size = max(1, min(batch_size, num_samples))
  if jit_compile is None:
    has_network = hasattr(posterior.prior, "residual")
    jit_compile = devices.compile_networks() or not has_network
  compiled = tf.function(
      lambda seed: draw(posterior, batch_size, seed, settings),
      autograph=False,
      jit_compile=jit_compile,
  )

  def draw_batch(seed, bar):
    samples, iterations, num_capped = compiled(tf.constant(seed, tf.int32))
    samples = samples.numpy()
    bar.update()
    return samples, {
        "conjugate-gradient iterations": float(iterations),
        "steps at the iteration cap": float(num_capped),
    }

  samples, diagnostics, seconds = batches.run(
      draw_batch, num_samples, batch_size, posterior.shape, seed,
      batches.record("guided", posterior, settings), output,
      batches.grid_of(posterior), overwrite, progress=progress,
  )
  warn_of_cap(diagnostics, settings.num_solutions, settings)
  return sample_set.SampleSet(
      samples=samples,
      method="guided",
      num_score_evaluations=float(settings.num_score_evaluations),
      seconds=seconds,
      settings=dataclasses.asdict(settings),
      diagnostics={name: float(values.mean()) for name, values in diagnostics.items()},
      path=None if output is None else pathlib.Path(output),
  )


def warn_of_cap(diagnostics, num_solutions, settings):
  """Logs a warning if conjugate gradients reached their cap in a batch.

  Args:
    diagnostics: dict of arrays `[num_batches]`, see `samplers.batches`.
    num_solutions: by conjugate gradients, in a batch.
    settings: `GuidedSettings`.
  """
  num_capped = diagnostics["steps at the iteration cap"].mean()
  if num_capped:
    _LOG.warning(
        "Conjugate gradients reached their cap of %d iterations (%d at the start) in"
        " %.1f of %d solutions. Allow more with max_iterations, or a larger tolerance"
        " (now %g).",
        settings.max_iterations, max(_START_ITERATIONS, settings.max_iterations),
        num_capped, num_solutions, settings.tolerance,
    )


def _denoise_by_jacobian(posterior, x, sigma, settings):
  """V = sigma^2 dD/dx, and the equation in the space of the data, where N is known.

  m = D + V A' W q with (1 + W A V A' W) q = W (gamma - A D), W = N^-1/2, precondi-
  tioned by what it is with the Gaussian V and the least noise in every pixel.
  """
  prior, likelihood = posterior.prior, posterior.likelihood
  with tf.GradientTape(persistent=True) as tape:
    tape.watch(x)
    clean = prior.denoise(x, sigma)
  local = likelihood.linearised(clean)
  weight = tf.sqrt(local.inverse_variance())
  largest = tf.reduce_max(tf.square(weight))
  inverse = (prior.mode_variance + tf.square(sigma)) / (
      prior.mode_variance * tf.square(sigma)
  )

  def spread(q):
    """V A' W q."""
    adjoint = local.adjoint(weight * q)
    return tf.square(sigma) * tape.gradient(clean, x, output_gradients=adjoint)

  def apply(q):
    return q + weight * local.model(spread(q))

  def precondition(q):
    kappa = spectra.fourier_filter(local.adjoint(weight * q), 1 / (inverse + largest))
    return q - weight * local.model(kappa)

  right_side = weight * local.residual(clean)
  solution, iterations, is_converged = _conjugate_gradients(
      apply, precondition, right_side, settings.tolerance, settings.max_iterations
  )
  return clean + spread(solution), iterations, is_converged


def _conjugate_gradients(apply, precondition, right_side, tolerance, max_iterations):
  """Solves a symmetric positive system; `[batch, 2, ny, nx]`, no better than asked."""
  axes = (-3, -2, -1)
  dot = lambda a, b: tf.reduce_sum(a * b, axis=axes, keepdims=True)

  def iterate(iteration, q, residual, direction, squared):
    applied = apply(direction)
    going = squared > goal
    alpha = tf.where(going, tf.math.divide_no_nan(squared, dot(direction, applied)), 0)
    q += alpha * direction
    residual -= alpha * applied
    conditioned = precondition(residual)
    next_squared = tf.where(going, dot(residual, conditioned), squared)
    beta = tf.math.divide_no_nan(next_squared, squared)
    return iteration + 1, q, residual, conditioned + beta * direction, next_squared

  direction = precondition(right_side)
  squared = dot(right_side, direction)
  goal = tf.square(tf.cast(tolerance, squared.dtype)) * squared
  iterations, solution, _, _, squared = tf.while_loop(
      lambda i, q, r, d, squared: tf.reduce_any(squared > goal),
      iterate, (0, tf.zeros_like(right_side), right_side, direction, squared),
      maximum_iterations=max_iterations,
  )
  return solution, iterations, tf.reduce_all(squared <= goal)
