"""Measures which flaws of samples `calibration.stein_test` sees, without a truth.

    python examples/benchmarks/stein.py [--size 128] [--samples 64]
        [--prior gaussian | NAME] [--data DIR]

With `--prior gaussian` the samples are exact draws of a posterior with a Gaussian prior,
on a survey like COSMOS, and flaws are made in them:

  exact      none
  wide       deviations from the mean times 1.025: variances 5 % too large
  band       the same in the middle one of five bands of multipoles
  level      every sample raised by a tenth of its mean standard deviation, where shear
             is measured
  smooth     fluctuations of the mean of all samples times 0.9

With the name of a trained prior, samples are those of "guided" for a mock, or with
`--data` for the released maps of COSMOS, and only the first two rows are printed: what
the test says of the sampler, and of the same flaw in it.
"""

import argparse
import dataclasses
import pathlib

from astropy import units as u
from astropy.io import fits
import cosmos_survey
import numpy as np

from tfp_massmap import calibration
from tfp_massmap import gaussian_posterior
from tfp_massmap import geometry
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import samplers
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap import theory

PIXEL = 0.29 * u.arcmin
SEED = 50_000_000


def mock(size):
  """Returns the shear of a simulated field, observed like COSMOS."""
  grid = geometry.PixelGrid((size, size), PIXEL)
  simulator = simulate.ConvergenceSimulator(
    geometry.PixelGrid((512, 512), PIXEL), seed=SEED
  )
  truth = simulator.map(0)[:size, :size]
  survey = simulate.cosmos_like_survey()
  return simulate.mock_observation(truth - truth.mean(), grid, survey=survey, seed=1)


def released(data):
  """Returns the released maps of COSMOS."""
  survey = cosmos_survey.released_maps(data, geometry.PixelGrid((360, 360), PIXEL))
  names = (f"cosmos_full_e{i}_0.29arcmin360.fits" for i in (1, 2))
  shear = [fits.getdata(cosmos_survey.find(data, name)) for name in names]
  shear = np.where(survey.mask, np.asarray(shear, np.float64), 0)
  return dataclasses.replace(survey, shear=shear)


def draw(posterior, num, name):
  """Returns samples: exact ones of a Gaussian prior, guided ones of another."""
  if name == "gaussian":
    return gaussian_posterior.sample(
      posterior.likelihood, posterior.prior.gaussian, num_samples=num, seed=(1, 2)
    ).numpy()
  options = samplers.RunOptions(batch_size=8)
  return samplers.sample(posterior, num, seed=0, options=options).samples


def flawed(samples, grid, edges, mask, all_of_them):
  """Yields names and samples with flaws."""
  mean = samples.mean(axis=0)
  deviations = samples - mean
  yield "exact", samples
  yield "wide", mean + 1.025 * deviations
  if not all_of_them:
    return
  ell = grid.multipoles()
  factor = np.where((ell >= edges[2]) & (ell < edges[3]), 1.025, 1.0)
  yield "band", mean + np.asarray(spectra.fourier_filter(deviations, factor))
  yield "level", samples + 0.1 * samples.std(axis=0)[mask].mean() * mask
  yield "smooth", samples - 0.1 * (mean - mean.mean())


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--size", type=int, default=128)
  parser.add_argument("--samples", type=int, default=64)
  parser.add_argument("--prior", default="gaussian")
  parser.add_argument("--data", type=pathlib.Path)
  options = parser.parse_args()
  shear_map = released(options.data) if options.data else mock(options.size)
  grid = shear_map.grid
  if options.prior == "gaussian":
    power = spectra.PowerSpectrum.fiducial_cosmos()
    prior = priors.GaussianPrior.from_spectrum(power, grid)
  else:
    sources = theory.SourceRedshifts.of_survey("cosmos")
    prior = priors.HybridPrior.load(options.prior, grid, sources=sources)
  likelihood = likelihood_lib.ShearLikelihood(shear_map)
  posterior = posterior_lib.Posterior(likelihood, prior)
  samples = draw(posterior, options.samples, options.prior)
  ell = grid.multipoles()
  edges = np.geomspace(2 * ell[0, 1], 35_000, 6)
  is_gaussian = options.prior == "gaussian"
  for name, values in flawed(samples, grid, edges, shear_map.mask, is_gaussian):
    found = calibration.stein_test(posterior, values, edges=edges)
    print(f"\n{name}: rho {found.rho:.4f}, p of the variances {found.p_value:.2g}")
    print(found, flush=True)


if __name__ == "__main__":
  main()
