"""Measures the error of the reference methods against their settings.

    python examples/benchmarks/baseline_settings.py [--num-fields N]

On simulated fields of a survey like COSMOS, each setting of GLIMPSE, MCALens and the
inpainted Kaiser-Squires is varied alone. Printed are the root mean squared error in the
mask over that with the defaults, with its standard error over fields, and the
iterations of MCALens and the Wiener solvers, to compare with their caps.
"""

import argparse
import dataclasses
import functools

from astropy import units as u
import numpy as np

from tfp_massmap import baselines
from tfp_massmap import geometry
from tfp_massmap import priors
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap import summary
from tfp_massmap.simulate import source_planes

GRID = geometry.PixelGrid((360, 360), 0.29 * u.arcmin)
MAP_GRID = geometry.PixelGrid((1024, 1024), GRID.pixel_scale)
# Near the best for such fields (example 07).
SMOOTHING = 1 * u.arcmin
FACTORS = (0.8, 0.9, 1.1, 1.25)


def scaled(thresholds, factor):
  return tuple(factor * threshold for threshold in thresholds)


def variants(prior):
  """Returns the methods by name, those with the defaults first."""
  glimpse = baselines.glimpse.GlimpseSettings()
  mcalens = baselines.mcalens.MCALensSettings()
  changes = {
    "GLIMPSE": [
      *(dict(thresholds=scaled(glimpse.thresholds, f)) for f in FACTORS),
      *(dict(num_iterations=number) for number in (25, 100, 200)),
      *(dict(num_reweightings=number) for number in (0, 2)),
      dict(positive=False),
    ],
    "MCALens": [
      *(dict(thresholds=scaled(mcalens.thresholds, f)) for f in FACTORS),
      *(dict(finest_scale=scale) for scale in (1, 3)),
      dict(thresholds=mcalens.thresholds[:-1]),
      dict(thresholds=(*mcalens.thresholds, mcalens.thresholds[-1])),
      *(dict(tolerance=tolerance) for tolerance in (0.001, 0.01)),
    ],
    "KS inpainted": [dict(num_iterations=number) for number in (10, 25, 100, 200)],
  }

  def run(family, change, data):
    if family == "GLIMPSE":
      settings = dataclasses.replace(glimpse, **change)
      return baselines.glimpse.estimate(data, settings)
    if family == "MCALens":
      settings = dataclasses.replace(mcalens, **change)
      return baselines.mcalens.estimate(data, prior, settings=settings)
    return baselines.inpainted_kaiser_squires.estimate(data, SMOOTHING, **change)

  return {
    (family, str(change)): functools.partial(run, family, change)
    for family, several in changes.items()
    for change in [{}, *several]
  }


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--num-fields", default=8, type=int)
  arguments = parser.parse_args()
  spectrum = spectra.PowerSpectrum.theory(
    source_planes.sources(), small_scales="kappatng"
  )
  prior = priors.GaussianPrior.from_spectrum(spectrum, GRID)
  simulator = simulate.ConvergenceSimulator(MAP_GRID, seed=70_000_000)
  survey = simulate.cosmos_like_survey()
  methods = variants(prior)
  errors, iterations = {name: [] for name in methods}, {}
  for index in range(arguments.num_fields):
    truth = simulator.map(index)[: GRID.shape[0], : GRID.shape[1]]
    data = simulate.mock_observation(truth, GRID, survey=survey, seed=index)
    for name, method in methods.items():
      found = method(data)
      error = summary.root_mean_square_error(found.kappa, truth, mask=data.mask)
      errors[name].append(error)
      if name == ("MCALens", "{}"):
        iterations.setdefault("MCALens", []).append(found.settings["iterations"])
    for solver in baselines.wiener.SOLVERS:
      found = baselines.wiener.estimate(data, prior, solver=solver)
      iterations.setdefault(solver, []).append(found.settings["iterations"])
    print(f"field {index + 1} of {arguments.num_fields}", flush=True)
  for (family, change), values in errors.items():
    ratios = np.array(values) / errors[family, "{}"]
    spread = ratios.std(ddof=1) / np.sqrt(len(ratios)) if len(ratios) > 1 else np.nan
    print(f"{family:>12s} {ratios.mean():.4f} +- {spread:.4f}  {change}")
  for solver, numbers in iterations.items():
    print(f"{solver:>20s}: {min(numbers)} to {max(numbers)} iterations")


if __name__ == "__main__":
  main()
