"""Measures the cost and the accuracy of the score-only kernels.

    python examples/benchmarks/kernels.py [--data DIR] [--full] [--json FILE]

It prints four tables:

1. The time per score evaluation of ScoreHamiltonianMonteCarlo over the time per gradient of
   tfp.mcmc.HamiltonianMonteCarlo, for the same Gaussian target, in dimensions 1e2 to 1e5,
   with and without XLA. The two kernels alternate in one process. Below 1 the score-only
   kernel is the faster one.
2. The score evaluations per step, for each path integral.
3. The root mean square error of the path integral of a step in nats, for a Gaussian, a
   banana and a lognormal field, beside the energy error of the leapfrog itself.
4. The effective samples per 1,000 score evaluations on the Gaussian posterior of COSMOS
   (its real mask and noise with --data, otherwise a survey like it), with and without the
   Fourier mass matrix, and with the split integrator.
"""

import argparse
import itertools
import json
import pathlib
import time

from astropy import units as u
import cosmos_survey
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import baselines
from tfp_massmap import gaussian_posterior
from tfp_massmap import geometry
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import mcmc
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import simulate
from tfp_massmap import spectra

# The length of a typical trajectory; even, so that Simpson's rule covers it in pairs.
NUM_LEAPFROG_STEPS = 16

RULES = {
  "trajectory": "trajectory",
  "Simpson, 4 intervals": "straight",
  "Gauss-Lobatto, 4 nodes": mcmc.gauss_lobatto(4),
}


def cyclic_gaussian():
  """Returns log-density and score of a Gaussian in which neighbours are coupled."""

  def score(x):
    return tf.roll(x, 1, axis=-1) + tf.roll(x, -1, axis=-1) - 2.5 * x

  def log_prob(x):
    return 0.5 * tf.reduce_sum(x * score(x), axis=-1)

  return log_prob, score


def step_fn(kernel, *, num_steps, jit_compile):
  """Returns a compiled function of state and seed that takes `num_steps` steps."""

  @tf.function(jit_compile=jit_compile)
  def run(state, seed):
    results = kernel.bootstrap_results(state)

    def one(i, state, results):
      seeds = tf.stack([seed, i])
      return (i + 1, *kernel.one_step(state, results, seed=seeds))

    return tf.while_loop(
      lambda i, *_: i < num_steps,
      one,
      (0, state, results),
      maximum_iterations=num_steps,
    )[1]

  return run


def time_ratios(dimensions, *, repeats, rule):
  """Returns {dimension: {xla: median ratio of times per evaluation, ours over TFP's}}."""
  table = {}
  log_prob, score = cyclic_gaussian()
  for dimension in dimensions:
    step_size = 0.3 * dimension**-0.25
    ours = mcmc.ScoreHamiltonianMonteCarlo(
      score,
      step_size,
      num_leapfrog_steps=NUM_LEAPFROG_STEPS,
      event_ndims=1,
      path_integral=rule,
    )
    theirs = tfp.mcmc.HamiltonianMonteCarlo(log_prob, step_size, NUM_LEAPFROG_STEPS)
    extra = mcmc.simpson().num_score_evaluations if rule == "straight" else 0
    # So many that a run takes long against the overhead of its call.
    num_steps = max(4, int(2e6 / (dimension + 5000) / NUM_LEAPFROG_STEPS))
    table[dimension] = {}
    for jit_compile in (False, True):
      runs = [
        step_fn(k, num_steps=num_steps, jit_compile=jit_compile) for k in (ours, theirs)
      ]
      state = tf.zeros([8, dimension])
      times = [[], []]
      for repeat in range(repeats + 1):
        for index, run in enumerate(runs):
          started = time.perf_counter()
          run(state, tf.constant(repeat)).numpy()
          times[index].append(time.perf_counter() - started)
      ratio = np.array(times[0][1:]) / np.array(times[1][1:])
      per_evaluation = NUM_LEAPFROG_STEPS / (NUM_LEAPFROG_STEPS + extra)
      table[dimension][jit_compile] = float(np.median(ratio) * per_evaluation)
  return table


def evaluations_per_step():
  """Returns {rule: score evaluations of a step}."""
  counts = {}
  for name, rule in RULES.items():
    kernel = mcmc.ScoreHamiltonianMonteCarlo(
      lambda x: -x,
      0.1,
      num_leapfrog_steps=NUM_LEAPFROG_STEPS,
      event_ndims=1,
      path_integral=rule,
    )
    state = tf.zeros([1, 3])
    _, results = kernel.one_step(state, kernel.bootstrap_results(state), seed=(1, 2))
    counts[name] = int(results.num_score_evaluations[0]) - 1
  return counts


def _field_distribution():
  """Returns a Gaussian field of 16 x 16 pixels with a falling spectrum."""
  k1, k2 = geometry.fourier_frequencies((16, 16))
  variance = 0.5 / (0.2 + np.hypot(k1, k2)) ** 2
  return mcmc.FourierDiagonalNormal(tf.constant(variance), (16, 16))


def shapes(num_chains):
  """Returns {name: (draws, log-density, step size, leapfrog steps, event axes)}."""
  white = tf.random.stateless_normal([num_chains, 2], (1, 2), dtype=tf.float64)
  banana = tf.stack([white[:, 0], white[:, 1] + 0.3 * white[:, 0] ** 2], axis=-1)
  field = _field_distribution()

  def banana_log_prob(x):
    return -0.5 * (x[..., 0] ** 2 + (x[..., 1] - 0.3 * x[..., 0] ** 2) ** 2)

  def lognormal_log_prob(x):
    log_field = tf.math.log1p(x)
    return field.log_prob(log_field / 0.3) - tf.reduce_sum(log_field, axis=(-2, -1))

  lognormal = tf.math.expm1(0.3 * field.sample(num_chains, seed=(3, 4)))
  return {
    "Gaussian": (white, lambda x: -0.5 * tf.reduce_sum(x**2, axis=-1), 0.5, 8, 1),
    "banana": (banana, banana_log_prob, 0.4, 8, 1),
    "lognormal field": (lognormal, lognormal_log_prob, 0.02, 8, 2),
  }


def quadrature_errors(num_chains):
  """Returns {target: {rule: rms error in nats}}; "leapfrog" is its energy error."""
  table = {}
  for target, (start, log_prob, step_size, steps, event_ndims) in shapes(
    num_chains
  ).items():
    table[target] = {}
    for name, rule in RULES.items():
      kernel = mcmc.ScoreHamiltonianMonteCarlo(
        lambda x, log_prob=log_prob: tfp.math.value_and_gradient(log_prob, x)[1],
        tf.constant(step_size, tf.float64),
        num_leapfrog_steps=steps,
        event_ndims=event_ndims,
        path_integral=rule,
      )
      _, results = kernel.one_step(start, kernel.bootstrap_results(start), seed=(5, 6))
      proposed = results.proposed_results
      exact = (log_prob(results.proposed_state) - log_prob(start)).numpy()
      energy = exact + proposed.log_acceptance_correction.numpy()
      error = proposed.log_prob_difference.numpy() - exact
      good = np.isfinite(error) & np.isfinite(energy)
      table[target][name] = float(np.sqrt(np.mean(error[good] ** 2)))
      table[target]["leapfrog"] = float(np.sqrt(np.mean(energy[good] ** 2)))
  return table


def cosmos_posterior(data):
  """Returns the Gaussian posterior of a mock with the mask and noise of COSMOS."""
  grid = geometry.PixelGrid((360, 360), 0.29 * u.arcmin)
  prior = priors.GaussianPrior.from_spectrum(
    spectra.PowerSpectrum.fiducial_cosmos(), grid
  )
  truth = prior.sample(seed=(1, 1)).numpy()
  survey = cosmos_survey.released_maps(data, grid)
  shear_map = simulate.observe_like(truth, survey, seed=1)
  return posterior_lib.Posterior(likelihood_lib.ShearLikelihood(shear_map), prior)


def effective_samples(posterior, *, preconditioned, num_steps, **integration):
  """Returns effective samples per 1,000 evaluations by Fourier band, and acceptance.

  Chains start from exact draws. With rho the autocorrelation of the modes about the exact
  mean from one step to the next, a step counts as (1 - rho) / (1 + rho) samples.
  """
  precision = posterior.fourier_precision()
  if not preconditioned:
    precision = tf.fill(precision.shape, tf.reduce_max(precision))
  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    posterior.score,
    event_ndims=2,
    path_integral="trajectory",
    momentum_distribution=mcmc.FourierDiagonalNormal(precision, posterior.shape),
    **integration,
  )
  mean = baselines.wiener.estimate(
    posterior.likelihood.shear_map, posterior.prior
  ).kappa
  start = gaussian_posterior.sample(
    posterior.likelihood, posterior.prior, num_samples=4, seed=(3, 4)
  )
  states, accepted = tf.function(
    lambda: tfp.mcmc.sample_chain(
      num_steps,
      start,
      kernel=kernel,
      seed=(1, 2),
      trace_fn=lambda _, r: r.is_accepted,
    ),
    jit_compile=True,
  )()
  grid = posterior.likelihood.shear_map.grid
  edges = spectra.band_edges(grid, 5)
  modes = np.fft.rfft2(states.numpy() - mean, norm="ortho")
  cross = np.real(modes[1:] * np.conj(modes[:-1])).mean(axis=(0, 1))
  power = (np.abs(modes) ** 2).mean(axis=(0, 1))
  ell = grid.multipoles()
  evaluations = integration["num_leapfrog_steps"]
  rates = []
  for low, high in itertools.pairwise(edges):
    band = (ell >= low) & (ell < high)
    rho = np.clip(cross[band].sum() / power[band].sum(), -0.99, 0.999999)
    rates.append(float((1 - rho) / (1 + rho) / evaluations * 1000))
  return rates, float(np.mean(accepted))


def print_time_ratios(full):
  """Prints the first table and returns its figures."""
  figures = {}
  for rule in ("trajectory", "straight"):
    table = time_ratios(
      (10**2, 10**3, 10**4, 10**5), repeats=31 if full else 11, rule=rule
    )
    print(f"\nTime per evaluation over tfp.mcmc.HamiltonianMonteCarlo, {rule}")
    print(" dimension    graph      XLA")
    for dimension, row in table.items():
      print(f"{dimension:10d} {row[False]:8.3f} {row[True]:8.3f}")
    figures[rule] = {
      str(d): {"graph": row[False], "xla": row[True]} for d, row in table.items()
    }
  return figures


def print_evaluations():
  """Prints the second table and returns its figures."""
  figures = evaluations_per_step()
  print(f"\nScore evaluations of a step of {NUM_LEAPFROG_STEPS} leapfrog steps")
  for name, count in figures.items():
    print(f"{name:>24s} {count:4d}")
  return figures


def print_quadrature_errors(full):
  """Prints the third table and returns its figures."""
  errors = quadrature_errors(10000 if full else 2000)
  print("\nError of the path integral of a step in nats, and the leapfrog's own")
  print(" " * 18 + "".join(f"{name:>24s}" for name in errors["Gaussian"]))
  for target, row in errors.items():
    print(f"{target:>18s}" + "".join(f"{error:24.2e}" for error in row.values()))
  return errors


def print_effective_samples(data, full):
  """Prints the fourth table and returns its figures."""
  posterior = cosmos_posterior(data)
  print("\nEffective samples per 1,000 score evaluations, COSMOS Gaussian posterior")
  figures = {}
  for name, preconditioned, step_size, steps, integrator in (
    ("Fourier mass", True, 0.13, 12, "leapfrog"),
    ("identity mass", False, 0.13, 12, "leapfrog"),
    ("Fourier mass, split, 12", True, 0.13, 12, "split"),
    ("Fourier mass, split, 8", True, 0.2, 8, "split"),
    ("Fourier mass, split, 4", True, 0.4, 4, "split"),
  ):
    rates, acceptance = effective_samples(
      posterior,
      preconditioned=preconditioned,
      num_steps=60 if full else 20,
      step_size=step_size,
      num_leapfrog_steps=steps,
      integrator=integrator,
    )
    figures[name] = dict(per_band=rates, acceptance=acceptance)
    row = " ".join(f"{rate:8.3f}" for rate in rates)
    print(f"{name:>24s}: {row}   acceptance {acceptance:.2f}")
  return figures


def main():
  """Prints the tables, and writes their figures if asked to."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
  parser.add_argument("--data", type=pathlib.Path)
  parser.add_argument("--full", action="store_true", help="more repeats and steps")
  parser.add_argument("--json", type=pathlib.Path)
  options = parser.parse_args()
  figures = {
    "time_ratio": print_time_ratios(options.full),
    "evaluations_per_step": print_evaluations(),
    "quadrature_error_nats": print_quadrature_errors(options.full),
    "effective_samples": print_effective_samples(options.data, options.full),
  }
  if options.json:
    options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
  main()
