"""One sweep of split Gibbs that starts from simulated truths.

    python examples/benchmarks/sweeps.py [--quantile Q] [--steps N] [--full]
        [--prior NAME]

A truth is a draw of the posterior of its own data. So a sweep (`samplers.split_gibbs`)
should leave every average over truths: here of the observed part of 128 x 128 pixels, the
mean of each map removed, in a survey like COSMOS. What moves comes from the model of the
covariance, few steps, and the prior's network; it moves farther with more sweeps.

  mean, std, quantiles   of the convergence of the observed pixels, in 1e-4
  log power              of the observed part, 6 bands

each after the sweep minus before it, with its error over truths.
"""

import argparse

from astropy import units as u
import numpy as np
import tensorflow as tf
import tqdm.auto

from tfp_massmap import geometry
from tfp_massmap import hybrid_prior
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.samplers import guided
from tfp_massmap.samplers import split_gibbs

PIXEL = 0.29 * u.arcmin
SIZE = 128
CROPS_A_MAP = 32
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
  power = spectra.band_power(maps * mask, grid, BAND_EDGES)
  pixels = maps[:, mask]
  values = [pixels.mean(axis=1), pixels.std(axis=1)]
  values += list(np.quantile(pixels, QUANTILES, axis=1))
  return np.concatenate([
      1e4 * np.mean(values, axis=1), np.mean(np.log(power), axis=0)
  ])


def compiled_sweep(survey, prior, options):
  """Function of a seed and maps to maps, and the variable with the shear."""
  likelihood = likelihood_lib.ShearLikelihood(survey, prior.dtype)
  likelihood.shear = tf.Variable(likelihood.shear)
  posterior = posterior_lib.Posterior(likelihood, prior)
  settings = guided.GuidedSettings(
      sweeps=(options.quantile,), sweep_steps=options.steps
  )
  (rho,), (ladder,) = settings.sweep_ladders(posterior)
  print(f"rho {rho:.3f}, {options.steps} evaluations")
  sweep = lambda x, seed: split_gibbs.sweep(posterior, x, rho, ladder, seed)[0]
  return tf.function(sweep, autograph=False), likelihood.shear


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--prior", default="cosmos-halo")
  parser.add_argument("--quantile", type=float, default=0.9, help="rho, of the noise")
  parser.add_argument("--steps", type=int, default=8, help="network evaluations")
  parser.add_argument("--full", action="store_true", help="64 truths, not 4")
  options = parser.parse_args()
  grid = geometry.PixelGrid((SIZE, SIZE), PIXEL)
  empty = np.zeros(grid.shape)
  survey = simulate.mock_observation(empty, grid, simulate.cosmos_like_survey(), seed=1)
  prior = hybrid_prior.HybridPrior.load(options.prior, grid)
  sweep, shear = compiled_sweep(survey, prior, options)
  moved = []
  truths = simulated_truths(64 if options.full else 4)
  for index, truth in enumerate(tqdm.auto.tqdm(truths, unit="truth")):
    observed = simulate.observe_like(truth, survey, seed=index)
    shear.assign(np.where(survey.mask, observed.shear, 0))
    after = sweep(tf.constant(np.repeat(truth[np.newaxis], 3, 0)), tf.constant([index, 5]))
    before, after = (
        statistics(maps, survey.mask, grid) for maps in (truth[np.newaxis], after.numpy())
    )
    moved.append(after - before)
  errors = np.std(moved, axis=0, ddof=1) / np.sqrt(len(moved))
  for name, value, error in zip(NAMES, np.mean(moved, axis=0), errors):
    print(f"{name:>34s} {value:8.3f} +- {error:.3f}")


if __name__ == "__main__":
  main()
