"""Annealed HMC against exact posterior samples of a Gaussian prior, band by band.

    python examples/benchmarks/annealed.py [--data DIR] [--paper] [--size N] [--full]
        [--json FILE]

A survey of 360 x 360 pixels, or the N x N in its middle: the mask and noise of the real
COSMOS maps if DIR holds them (`cosmos_full_mask_0.29arcmin360.fits`, `std1.fits`,
`std2.fits`), else a mock like it. Exact samples are by conjugate gradients (perturb and
solve). Columns:

  std ratio   standard deviation of the samples over the exact one, per Fourier band
  error       Monte-Carlo error of that ratio
  mean        rms of (mean of samples - exact mean), in its own Monte-Carlo errors

Without flags 16 chains and 64 exact samples; `--full` 64 and 256. `--paper` has the
cost of the paper's chains, 1.1e5 score evaluations, and its choices: identity mass, slow
cooling, straight path integrals, smoothed factors.
"""

import argparse
import json
import pathlib

from astropy import units as u
import cosmos_survey
import numpy as np

from tfp_massmap import baselines
from tfp_massmap import gaussian_posterior
from tfp_massmap import geometry
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.samplers import annealed

GRID = geometry.PixelGrid((360, 360), 0.29 * u.arcmin)
NUM_BANDS = 8

# 6,000 HMC steps of 19 evaluations: 16 leapfrog steps, 3 more for the path integral.
PAPER = annealed.AnnealedSettings(
  initial_sigma=1.0,
  final_sigma=0.01,
  cooling=0.98,
  min_steps=26,
  final_steps=46,
  num_leapfrog_steps=16,
  path_integral="straight",
  preconditioner="identity",
)


def compare(samples, exact, mean, grid):
  """Per band: std ratio, its error, and the offset of the mean in its errors."""
  edges = spectra.band_edges(grid, NUM_BANDS)
  exact_power = spectra.band_power(exact - mean, grid, edges=edges)
  power = spectra.band_power(samples - mean, grid, edges=edges)
  expected = exact_power.mean(axis=0)
  ratio = np.sqrt(power.mean(axis=0) / expected)
  scatter = exact_power.std(axis=0, ddof=1) / expected / 2
  error = scatter * np.sqrt(1 / len(samples) + 1 / len(exact))
  offset = spectra.band_power(samples.mean(axis=0) - mean, grid, edges=edges)
  return edges, ratio, error, np.sqrt(offset / (expected / len(samples)))


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
  parser.add_argument("--data", type=pathlib.Path)
  parser.add_argument("--paper", action="store_true", help="with the paper's settings")
  parser.add_argument("--size", type=int, default=GRID.shape[0], help="pixels a side")
  parser.add_argument("--full", action="store_true")
  parser.add_argument("--json", type=pathlib.Path)
  parser.add_argument("--seed", type=int, default=0)
  options = parser.parse_args()
  num_chains, num_exact = (64, 256) if options.full else (16, 64)

  largest = GRID.shape[0]
  if not 16 <= options.size <= largest:
    parser.error(f"--size must be from 16 to {largest}; got {options.size}")
  survey = cosmos_survey.released_maps(options.data, GRID)
  survey = cosmos_survey.center(survey, options.size)
  grid = survey.grid
  prior = priors.GaussianPrior.from_spectrum(
    spectra.PowerSpectrum.fiducial_cosmos(), grid
  )
  truth = prior.sample(seed=(options.seed, 1)).numpy()
  shear_map = simulate.observe_like(truth, survey, seed=1)
  likelihood = likelihood_lib.ShearLikelihood(shear_map)
  mean = baselines.wiener.estimate(shear_map, prior).kappa
  exact = np.concatenate(
    [
      gaussian_posterior.sample(
        likelihood, prior, num_samples=32, seed=(options.seed, 100 + batch)
      )
      for batch in range(num_exact // 32)
    ]
  )
  smoothing = "factors" if options.paper else "posterior"
  result = annealed.sample(
    posterior_lib.Posterior(likelihood, prior, smoothing=smoothing),
    num_chains,
    seed=options.seed,
    settings=PAPER if options.paper else None,
    batch_size=16 if options.paper else 8,
  )
  edges, ratio, error, offset = compare(result.samples, exact, mean, grid)
  means = result.samples.mean(axis=(1, 2))
  mean_std = np.sqrt(prior.mode_variance.numpy()[0, 0] / np.prod(grid.shape))

  print("\n    ell              std ratio   error    mean")
  for low, high, *row in zip(edges[:-1], edges[1:], ratio, error, offset):
    print(f"{low:7.0f} - {high:6.0f}    {row[0]:8.3f}  {row[1]:7.3f} {row[2]:7.2f}")
  figures = {
    "num_chains": num_chains,
    "num_exact": num_exact,
    "std_ratio": ratio.tolist(),
    "std_ratio_error": error.tolist(),
    "mean_offset_in_errors": offset.tolist(),
    "mean_mode_std_ratio": float(means.std(ddof=1) / mean_std),
    "score_evaluations_per_sample": result.num_score_evaluations,
    "acceptance": result.acceptance,
    "final_acceptance": result.final_acceptance,
    "seconds_per_sample": result.seconds / num_chains,
  }
  print(
    f"k = 0: std ratio {figures['mean_mode_std_ratio']:.3f} +-"
    f" {1 / np.sqrt(2 * num_chains):.3f}\n"
    f"{result.num_score_evaluations:.0f} score evaluations and"
    f" {figures['seconds_per_sample']:.1f} s per sample; acceptance"
    f" {result.acceptance:.2f}, {result.final_acceptance:.2f} at the last"
    " temperature"
  )
  if options.json:
    options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
  main()
