"""Measures what the sweeps of the guided sampler change on average.

    python examples/benchmarks/sweeps.py [--quantiles Q ...] [--steps N ...]
        [--start truth|gaussian] [--reference N] [--flow-start R] [--flow-end R]
        [--tolerance T] [--full] [--prior NAME]

A truth is a draw of the posterior of its own data. So a sweep (`samplers.split_gibbs`)
should leave every average over truths unchanged. The script compares averages of the
observed part of simulated maps of 128 x 128 pixels, without the mean of each map, in a
survey like COSMOS. Differences come from the model of the denoiser's covariance, from
few steps, and from the network of the prior. They grow with the number of sweeps.

  mean, std, quantiles   of the convergence of the observed pixels, in 1e-4
  log power              of the observed part, in 6 bands

Each line is the average after the sweeps minus that of the truths, with its error over
truths. With --reference it is minus that of the same sweeps with N evaluations each,
the default flow and tolerance, and the same random numbers, which shows the effect of
few steps, or of another flow or tolerance. With --start gaussian, sweeps start from the
posterior of the Gaussian component, and are by default those of the sampler.
"""

import argparse
from collections.abc import Callable
import contextlib
from unittest import mock

from astropy import units as u
import numpy as np
import tensorflow as tf
import tqdm.auto

from tfp_massmap import geometry
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.samplers import guided
from tfp_massmap.samplers import probability_flow
from tfp_massmap.samplers import split_gibbs

PIXEL = 0.29 * u.arcmin
SIZE = 128
NUM_SAMPLES = 3
# Maps are cut into 8 x 8 squares, of which every other is taken.
CROPS_A_MAP = 32
# Seed of the simulator. Trainings use smaller seeds.
SEED = 60_000_000
# The lowest bands hold too few modes of 128 x 128 pixels.
BAND_EDGES = np.geomspace(560, 52667, 9)[2:]
QUANTILES = (0.05, 0.1, 0.5, 0.9, 0.99, 0.999)
NAMES = ["mean", "std", *(f"quantile {q}" for q in QUANTILES)]
NAMES += [f"log power, ell {low:.0f} and above" for low in BAND_EDGES[:-1]]


def simulated_truths(num: int) -> np.ndarray:
  """Returns every other square of simulated maps, float32 `[num, SIZE, SIZE]`."""
  large = geometry.PixelGrid((8 * SIZE, 8 * SIZE), PIXEL)
  simulator = simulate.ConvergenceSimulator(large, seed=SEED)
  maps = np.stack(list(simulator.maps(-(-num // CROPS_A_MAP))))
  squares = maps.reshape(-1, 8, SIZE, 8, SIZE).swapaxes(2, 3)
  return squares.reshape(-1, SIZE, SIZE)[::2][:num].astype(np.float32)


def statistics(
  maps: np.ndarray, mask: np.ndarray, *, grid: geometry.PixelGrid
) -> np.ndarray:
  """Returns means over maps `[n, ny, nx]`, in the order of `NAMES`."""
  maps = maps - maps.mean(axis=(-2, -1), keepdims=True)
  power = spectra.band_power(maps * mask, grid, edges=BAND_EDGES)
  pixels = maps[:, mask]
  values = [pixels.mean(axis=1), pixels.std(axis=1)]
  values += list(np.quantile(pixels, QUANTILES, axis=1))
  return np.concatenate([1e4 * np.mean(values, axis=1), np.mean(np.log(power), axis=0)])


class Sweeps:
  """Sweeps of mock observations that differ in their shear alone, compiled once.

  Args:
    survey: `ShearMap` with mask and noise.
    prior: `priors.Prior`.
  """

  def __init__(self, survey: shear_map_lib.ShearMap, prior: priors.Prior) -> None:
    self.survey = survey
    likelihood = likelihood_lib.ShearLikelihood(survey, dtype=prior.dtype)
    self._shear = likelihood.shear = tf.Variable(likelihood.shear)
    self._posterior = posterior_lib.Posterior(likelihood, prior)

  def observe(self, truth: np.ndarray, seed: int) -> None:
    """Sets the shear to that of a mock observation."""
    observed = simulate.observe_like(truth, self.survey, seed=seed)
    self._shear.assign(np.where(self.survey.mask, observed.shear, 0))

  def compiled(self, settings: guided.GuidedSettings, start: str) -> Callable:
    """Returns a function of a truth and a seed to maps `[NUM_SAMPLES, ny, nx]`.

    It is traced here, so that it keeps the present constants of the flow.
    """
    draw = self._draw if start == "gaussian" else self._sweep
    function = tf.function(
      lambda truth, seed: draw(settings, truth, seed), autograph=False
    ).get_concrete_function(
      tf.TensorSpec(self.survey.grid.shape, tf.float32), tf.TensorSpec([2], tf.int32)
    )
    return lambda truth, seed: function(tf.constant(truth), tf.constant(seed)).numpy()

  def _draw(self, settings, truth, seed):
    del truth
    return guided.draw(self._posterior, NUM_SAMPLES, seed=seed, settings=settings)[0]

  def _sweep(self, settings, truth, seed):
    x = tf.repeat(truth[tf.newaxis], NUM_SAMPLES, axis=0)
    seeds = tf.random.split(seed, len(settings.sweeps))
    ladders = settings.sweep_ladders(self._posterior)
    zero = tf.constant(0, tf.int32)
    counts = split_gibbs.Counts(zero, zero)
    for rho, sigmas, own in zip(*ladders, tf.unstack(seeds)):
      x, counts = split_gibbs.sweep(
        self._posterior,
        x,
        rho=rho,
        sigmas=sigmas,
        seed=own,
        counts=counts,
        tolerance=settings.tolerance,
        max_iterations=settings.max_iterations,
      )
    return x


@contextlib.contextmanager
def flow_constants(start: float | None, end: float | None):
  """Replaces the first and last sigma of flows, in units of rho, where not None.

  They are private constants, because no user has had a reason to choose others.
  """
  with contextlib.ExitStack() as stack:
    for module, name, value in (
      (split_gibbs, "_START", start),
      (probability_flow, "_END", end),
    ):
      if value is not None:
        stack.enter_context(mock.patch.object(module, name, value))
    yield


def settings_of(
  options: argparse.Namespace,
) -> tuple[guided.GuidedSettings, guided.GuidedSettings | None]:
  """Returns the settings of the sweeps, and those of the reference or None."""
  default = guided.GuidedSettings()
  is_sampler = options.start == "gaussian"
  quantiles = tuple(options.quantiles or (default.sweeps if is_sampler else (0.9,)))
  steps = options.steps
  if steps is None:
    steps = default.steps_of_sweeps if quantiles == default.sweeps else (8,)
  reference = options.reference and guided.GuidedSettings(quantiles, options.reference)
  settings = guided.GuidedSettings(
    quantiles,
    steps[0] if len(steps) == 1 else tuple(steps),
    tolerance=options.tolerance,
  )
  return settings, reference


def parse() -> tuple[argparse.Namespace, guided.GuidedSettings, guided.GuidedSettings]:
  """Returns the options of the command line, and the settings they stand for."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--prior", default="cosmos-halo")
  parser.add_argument(
    "--quantiles", type=float, nargs="+", help="rho of the sweeps, quantiles of noise"
  )
  parser.add_argument(
    "--steps", type=int, nargs="+", help="network evaluations of the sweeps"
  )
  parser.add_argument("--start", choices=("truth", "gaussian"), default="truth")
  parser.add_argument(
    "--reference", type=int, help="evaluations in a sweep of the reference"
  )
  parser.add_argument(
    "--flow-start", type=float, help="first sigma of flows, over rho; default 4"
  )
  parser.add_argument(
    "--flow-end", type=float, help="last sigma of flows, over rho; default 0.03"
  )
  parser.add_argument(
    "--tolerance", type=float, default=guided.GuidedSettings().tolerance
  )
  parser.add_argument("--full", action="store_true", help="64 truths instead of 4")
  options = parser.parse_args()
  try:
    return options, *settings_of(options)
  except ValueError as error:
    parser.error(str(error))


def main() -> None:
  options, settings, reference = parse()
  grid = geometry.PixelGrid((SIZE, SIZE), PIXEL)
  survey = simulate.mock_observation(
    np.zeros(grid.shape), grid, survey=simulate.cosmos_like_survey(), seed=1
  )
  sweeps = Sweeps(survey, priors.HybridPrior.load(options.prior, grid))
  run_reference = reference and sweeps.compiled(reference, options.start)
  with flow_constants(options.flow_start, options.flow_end):
    run = sweeps.compiled(settings, options.start)
  print(f"rho at quantiles {settings.sweeps}, evaluations {settings.steps_of_sweeps}")
  changes = []
  truths = simulated_truths(64 if options.full else 4)
  for index, truth in enumerate(tqdm.auto.tqdm(truths, unit="truth")):
    sweeps.observe(truth, index)
    seed = [index, 5]
    before = run_reference(truth, seed) if reference else truth[np.newaxis]
    before, after = (
      statistics(maps, survey.mask, grid=grid) for maps in (before, run(truth, seed))
    )
    changes.append(after - before)
  errors = np.std(changes, axis=0, ddof=1) / np.sqrt(len(changes))
  for name, value, error in zip(NAMES, np.mean(changes, axis=0), errors):
    print(f"{name:>34s} {value:8.3f} +- {error:.3f}")


if __name__ == "__main__":
  main()
