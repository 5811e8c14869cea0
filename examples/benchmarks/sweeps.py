"""Sweeps of split Gibbs, from simulated truths or from draws of the Gaussian half.

    python examples/benchmarks/sweeps.py [--quantiles Q ...] [--steps N ...]
        [--start truth|gaussian] [--reference N] [--full] [--prior NAME]

A truth is a draw of the posterior of its own data. So a sweep (`samplers.split_gibbs`)
should leave every average over truths: here of the observed part of 128 x 128 pixels, the
mean of each map removed, in a survey like COSMOS. What moves comes from the model of the
covariance, few steps, and the prior's network; it moves farther with more sweeps.

  mean, std, quantiles   of the convergence of the observed pixels, in 1e-4
  log power              of the observed part, 6 bands

each after the sweeps minus that of the truth; or, with --reference, minus that of the same
with N evaluations in every sweep and the same random numbers, which shows what few steps
do; with its error over truths. With --start gaussian, and without --quantiles and --steps,
sweeps are those of the sampler.
"""

import argparse

from astropy import units as u
import numpy as np
import tensorflow as tf
import tqdm.auto

from tfp_massmap import geometry
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.samplers import guided
from tfp_massmap.samplers import split_gibbs

PIXEL = 0.29 * u.arcmin
SIZE = 128
CROPS_A_MAP = 32
NUM_SAMPLES = 3
SEED = 60_000_000  # of the simulator; trainings use small ones
BAND_EDGES = np.geomspace(560, 52667, 9)[2:]
QUANTILES = (0.05, 0.1, 0.5, 0.9, 0.99, 0.999)
NAMES = ["mean", "std", *(f"quantile {q}" for q in QUANTILES)]
NAMES += [f"log power, ell {low:.0f} and above" for low in BAND_EDGES[:-1]]


def simulated_truths(num):
  """Every other square of simulated maps, `[num, SIZE, SIZE]`."""
  large = geometry.PixelGrid((8 * SIZE, 8 * SIZE), PIXEL)
  simulator = simulate.ConvergenceSimulator(large, seed=SEED)
  maps = np.stack(list(simulator.maps(-(-num // CROPS_A_MAP))))
  squares = maps.reshape(-1, 8, SIZE, 8, SIZE).swapaxes(2, 3)
  return squares.reshape(-1, SIZE, SIZE)[::2][:num].astype(np.float32)


def statistics(maps, mask, grid):
  """Means over maps, in the order of `NAMES`."""
  maps = maps - maps.mean(axis=(-2, -1), keepdims=True)
  power = spectra.band_power(maps * mask, grid, edges=BAND_EDGES)
  pixels = maps[:, mask]
  values = [pixels.mean(axis=1), pixels.std(axis=1)]
  values += list(np.quantile(pixels, QUANTILES, axis=1))
  return np.concatenate([1e4 * np.mean(values, axis=1), np.mean(np.log(power), axis=0)])


class Sampler:
  """Sweeps of mock observations that differ in their shear, compiled once.

  Attributes:
    survey: `ShearMap` with mask and noise.
    prior: a hybrid one.
  """

  def __init__(self, survey, prior):
    self.survey = survey
    likelihood = likelihood_lib.ShearLikelihood(survey, prior.dtype)
    self._shear = likelihood.shear = tf.Variable(likelihood.shear)
    self._posterior = posterior_lib.Posterior(likelihood, prior)

  def observe(self, truth, seed):
    observed = simulate.observe_like(truth, self.survey, seed=seed)
    self._shear.assign(np.where(self.survey.mask, observed.shear, 0))

  def compiled(self, settings, start):
    """Function of a truth `[ny, nx]` and a seed to `NUM_SAMPLES` maps."""
    draw = self._draw if start == "gaussian" else self._sweep
    function = tf.function(
      lambda truth, seed: draw(settings, truth, seed), autograph=False
    )
    return lambda truth, seed: function(tf.constant(truth), tf.constant(seed)).numpy()

  def _draw(self, settings, truth, seed):
    del truth
    return guided.draw(self._posterior, NUM_SAMPLES, seed=seed, settings=settings)[0]

  def _sweep(self, settings, truth, seed):
    x = tf.repeat(truth[tf.newaxis], NUM_SAMPLES, axis=0)
    seeds = tf.random.split(seed, len(settings.sweeps))
    ladders = settings.sweep_ladders(self._posterior)
    for rho, sigmas, own in zip(*ladders, tf.unstack(seeds)):
      x = split_gibbs.sweep(self._posterior, x, rho=rho, sigmas=sigmas, seed=own)[0]
    return x


def settings_of(options):
  """`GuidedSettings` of the sweeps asked for, and of the reference, or None."""
  default = guided.GuidedSettings()
  quantiles = options.quantiles or (
    default.sweeps if options.start == "gaussian" else (0.9,)
  )
  steps = options.steps or (
    default.steps_of_sweeps if tuple(quantiles) == default.sweeps else (8,)
  )
  make = lambda steps: guided.GuidedSettings(sweeps=tuple(quantiles), sweep_steps=steps)
  reference = options.reference and make(options.reference)
  return make(steps[0] if len(steps) == 1 else tuple(steps)), reference


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--prior", default="cosmos-halo")
  parser.add_argument("--quantiles", type=float, nargs="+", help="rho, of the noise")
  parser.add_argument("--steps", type=int, nargs="+", help="network evaluations")
  parser.add_argument("--start", choices=("truth", "gaussian"), default="truth")
  parser.add_argument("--reference", type=int, help="evaluations in a sweep")
  parser.add_argument("--full", action="store_true", help="64 truths, not 4")
  options = parser.parse_args()
  try:
    settings, reference = settings_of(options)
  except ValueError as error:
    parser.error(str(error))
  grid = geometry.PixelGrid((SIZE, SIZE), PIXEL)
  empty = np.zeros(grid.shape)
  survey = simulate.mock_observation(
    empty, grid, survey=simulate.cosmos_like_survey(), seed=1
  )
  sampler = Sampler(survey, priors.HybridPrior.load(options.prior, grid))
  run = sampler.compiled(settings, options.start)
  run_reference = reference and sampler.compiled(reference, options.start)
  print(f"rho at quantiles {settings.sweeps}, evaluations {settings.steps_of_sweeps}")
  moved = []
  truths = simulated_truths(64 if options.full else 4)
  for index, truth in enumerate(tqdm.auto.tqdm(truths, unit="truth")):
    sampler.observe(truth, index)
    seed = [index, 5]
    before = run_reference(truth, seed) if reference else truth[np.newaxis]
    after = run(truth, seed)
    before, after = (statistics(maps, survey.mask, grid) for maps in (before, after))
    moved.append(after - before)
  errors = np.std(moved, axis=0, ddof=1) / np.sqrt(len(moved))
  for name, value, error in zip(NAMES, np.mean(moved, axis=0), errors):
    print(f"{name:>34s} {value:8.3f} +- {error:.3f}")


if __name__ == "__main__":
  main()
