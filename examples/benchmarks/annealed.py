"""Compares annealed HMC with exact posterior samples of a Gaussian prior.

    python examples/benchmarks/annealed.py [--data DIR] [--paper] [--size N] [--full]
        [--step-size E] [--final-share S] [--json FILE]

The survey has 360 x 360 pixels, or the N x N in its middle. Its mask and noise are
those of the real COSMOS maps if DIR holds them (`cosmos_full_mask_0.29arcmin360.fits`,
`std1.fits`, `std2.fits`), else those of a mock like it. Exact samples come from
conjugate gradients (`gaussian_posterior.sample`). Columns, for each of 8 Fourier bands:

  std ratio   Standard deviation of the samples over the exact one.
  error       Monte-Carlo error of that ratio.
  mean        Root mean square of (mean of samples - exact mean), in units of its
              Monte-Carlo error.

Without flags 16 chains run against 64 exact samples, with --full 64 against 256.
--paper takes the choices of Remy et al. (2022): identity mass, slow cooling, straight
path integrals, and smoothed factors, at the cost of the paper, 1.1e5 score evaluations
a chain. --step-size and --final-share replace the leapfrog step and the last sigma of
the prior's `constants`.
"""

import argparse
import dataclasses
import json
import pathlib

from astropy import units as u
import cosmos_survey
import numpy as np

from tfp_massmap import gaussian_posterior
from tfp_massmap import geometry
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import samplers
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate
from tfp_massmap import spectra

GRID = geometry.PixelGrid((360, 360), 0.29 * u.arcmin)
NUM_BANDS = 8

# 6,000 HMC steps of 19 evaluations: 16 leapfrog steps, and 3 for the path integral.
PAPER = samplers.AnnealedSettings(
  initial_sigma=1.0,
  final_sigma=0.01,
  cooling=0.98,
  min_steps=26,
  final_steps=46,
  num_leapfrog_steps=16,
  path_integral="straight",
  preconditioner="identity",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Bands:
  """Comparison of samples with exact ones in bands of ell, arrays `[NUM_BANDS]`.

  Attributes:
    edges: Edges of the bands, `[NUM_BANDS + 1]`.
    ratio: Standard deviation of the samples over the exact one.
    error: Monte-Carlo error of `ratio`.
    offset: Offset of the mean in units of its Monte-Carlo error.
  """

  edges: np.ndarray
  ratio: np.ndarray
  _: dataclasses.KW_ONLY
  error: np.ndarray
  offset: np.ndarray


def compare(
  samples: np.ndarray, exact: np.ndarray, *, mean: np.ndarray, grid: geometry.PixelGrid
) -> Bands:
  """Compares samples with exact ones, `[n, ny, nx]` each, about the exact mean."""
  edges = spectra.band_edges(grid, NUM_BANDS)
  exact_power = spectra.band_power(exact - mean, grid, edges=edges)
  power = spectra.band_power(samples - mean, grid, edges=edges)
  expected = exact_power.mean(axis=0)
  scatter = exact_power.std(axis=0, ddof=1) / expected / 2
  offset = spectra.band_power(samples.mean(axis=0) - mean, grid, edges=edges)
  return Bands(
    edges,
    np.sqrt(power.mean(axis=0) / expected),
    error=scatter * np.sqrt(1 / len(samples) + 1 / len(exact)),
    offset=np.sqrt(offset / (expected / len(samples))),
  )


def observe(options: argparse.Namespace) -> shear_map_lib.ShearMap:
  """Returns a mock of a Gaussian field in the survey."""
  survey = cosmos_survey.released_maps(options.data, GRID)
  survey = cosmos_survey.center(survey, options.size)
  truth = gaussian_prior(survey.grid).sample(seed=(options.seed, 1)).numpy()
  return simulate.observe_like(truth, survey, seed=1)


def gaussian_prior(grid: geometry.PixelGrid) -> priors.GaussianPrior:
  """Returns the prior of mocks and samples."""
  return priors.GaussianPrior.from_spectrum(
    spectra.PowerSpectrum.fiducial_cosmos(), grid
  )


def settings_of(
  options: argparse.Namespace, posterior: posterior_lib.Posterior
) -> samplers.AnnealedSettings:
  """Returns the settings that the options ask for."""
  settings = PAPER if options.paper else samplers.AnnealedSettings()
  if options.step_size is not None:
    settings = dataclasses.replace(settings, step_size=options.step_size)
  if options.final_share is not None:
    sigma = options.final_share * posterior.likelihood.typical_noise_std
    settings = dataclasses.replace(settings, final_sigma=sigma)
  return settings


def print_figures(
  bands: Bands, result: samplers.SampleSet, *, mean_std: float, json_path: pathlib.Path
) -> None:
  """Prints the table, and writes it as JSON if `json_path` is not None.

  Args:
    bands: `Bands`.
    result: `samplers.SampleSet`.
    mean_std: Exact standard deviation of the mean of a map, the mode k = 0.
    json_path: File, or None.
  """
  num_chains = len(result.samples)
  mean_ratio = result.samples.mean(axis=(1, 2)).std(ddof=1) / mean_std
  seconds = result.seconds / num_chains
  print("\n    ell              std ratio   error    mean")
  for low, high, *row in zip(
    bands.edges[:-1], bands.edges[1:], bands.ratio, bands.error, bands.offset
  ):
    print(f"{low:7.0f} - {high:6.0f}    {row[0]:8.3f}  {row[1]:7.3f} {row[2]:7.2f}")
  print(
    f"k = 0: std ratio {mean_ratio:.3f} +- {1 / np.sqrt(2 * num_chains):.3f}\n"
    f"{result.num_score_evaluations:.0f} score evaluations and {seconds:.1f} s per"
    f" sample; acceptance {result.acceptance:.2f}, {result.final_acceptance:.2f} at the"
    " last temperature"
  )
  if json_path is None:
    return
  figures = {
    "num_chains": num_chains,
    "std_ratio": bands.ratio.tolist(),
    "std_ratio_error": bands.error.tolist(),
    "mean_offset_in_errors": bands.offset.tolist(),
    "mean_mode_std_ratio": float(mean_ratio),
    "score_evaluations_per_sample": result.num_score_evaluations,
    "acceptance": result.acceptance,
    "final_acceptance": result.final_acceptance,
    "seconds_per_sample": seconds,
  }
  json_path.write_text(json.dumps(figures, indent=1), encoding="utf-8")


def parse() -> argparse.Namespace:
  """Returns the options of the command line."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--data", type=pathlib.Path)
  parser.add_argument("--paper", action="store_true", help="with the paper's settings")
  parser.add_argument("--size", type=int, default=GRID.shape[0], help="pixels a side")
  parser.add_argument("--full", action="store_true")
  parser.add_argument("--step-size", type=float, help="leapfrog step")
  parser.add_argument(
    "--final-share", type=float, help="last sigma over the typical noise"
  )
  parser.add_argument("--json", type=pathlib.Path)
  parser.add_argument("--seed", type=int, default=0)
  options = parser.parse_args()
  largest = GRID.shape[0]
  if not 16 <= options.size <= largest:
    parser.error(f"--size must be from 16 to {largest}; got {options.size}")
  return options


def main() -> None:
  options = parse()
  num_chains, num_exact = (64, 256) if options.full else (16, 64)
  shear_map = observe(options)
  grid = shear_map.grid
  prior = gaussian_prior(grid)
  posterior = posterior_lib.Posterior(
    likelihood_lib.ShearLikelihood(shear_map),
    prior,
    smoothing="factors" if options.paper else "posterior",
  )
  mean = gaussian_posterior.mean(posterior.likelihood, prior)[0].numpy()
  exact = np.concatenate(
    [
      gaussian_posterior.sample(
        posterior.likelihood, prior, num_samples=32, seed=(options.seed, 100 + batch)
      )
      for batch in range(num_exact // 32)
    ]
  )
  result = samplers.sample(
    posterior,
    num_chains,
    seed=options.seed,
    method="annealed",
    settings=settings_of(options, posterior),
    options=samplers.RunOptions(batch_size=16 if options.paper else 8),
  )
  print_figures(
    compare(result.samples, exact, mean=mean, grid=grid),
    result,
    mean_std=np.sqrt(prior.mode_variance.numpy()[0, 0] / np.prod(grid.shape)),
    json_path=options.json,
  )


if __name__ == "__main__":
  main()
