# %% [markdown]
# # Are the posterior samples calibrated?
#
#     python examples/08_calibrate_posterior.py [RUN ...] [--full] [--prior NAME]
#
# Mock surveys like COSMOS of known truths: if samples are right, the truth is as one of
# them. Without flags some truths and samples each, on small maps; `--full` is the run
# reported in docs/calibration.md. Records of truths are kept in `calibration/records`,
# so that the same command goes on where it was stopped; `calibration/calibration.md`
# has the tables, and `calibration/*.png` the figures. RUN are names of runs, by default
# all; `--list` prints them.

# %%
import argparse
import functools
import pathlib

from astropy import units as u
import numpy as np

from tfp_massmap import baselines
from tfp_massmap import calibration
from tfp_massmap import gaussian_posterior
from tfp_massmap import geometry
from tfp_massmap import hybrid_prior
from tfp_massmap import io
from tfp_massmap import likelihood
from tfp_massmap import prior as prior_lib
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.calibration import figures

parser = argparse.ArgumentParser(description="Calibration of posterior samples.")
parser.add_argument("runs", nargs="*", metavar="RUN")
parser.add_argument("--list", action="store_true", help="print the runs and stop")
parser.add_argument("--prior", default="cosmos-halo", help="name, or path of a card")
parser.add_argument("--output", default=pathlib.Path("calibration"), type=pathlib.Path)
parser.add_argument("--full", action="store_true", help="the reported size")
options = parser.parse_args()
PIXEL = 0.29 * u.arcmin


# %% [markdown]
# ## Truths
# Fields drawn from the Gaussian prior, and crops of simulated maps that no training saw.
# Mask and noise are of one survey in every mock.

# %%
class Field:
  """A map size, its survey, and what is drawn on it."""

  def __init__(self, size):
    self.grid = geometry.PixelGrid((size, size), PIXEL)
    self.survey = simulate.mock_observation(
        np.zeros(self.grid.shape), self.grid, simulate.cosmos_like_survey(), seed=1
    )

  def gaussian_prior(self, factor=1.0):
    """With the power times `factor`."""
    power = spectra.PowerSpectrum.fiducial_cosmos()
    power = spectra.PowerSpectrum(power.ell, factor * power.c_ell)
    return prior_lib.GaussianPrior.from_spectrum(power, self.grid)

  @functools.cached_property
  def hybrid_prior(self):
    return hybrid_prior.HybridPrior.load(options.prior, self.grid)

  @functools.cached_property
  def simulator(self):
    large = geometry.PixelGrid((1024, 1024), PIXEL)
    return simulate.ConvergenceSimulator(large, seed=31_000_000)

  def simulated(self, index):
    ny, nx = self.grid.shape
    return self.simulator.map(index)[:ny, :nx]

  def gaussian(self, index):
    return self.gaussian_prior().sample(seed=(index, 7)).numpy()


field = Field(128 if options.full else 64)
large_field = Field(256 if options.full else 128)
num_samples = 32 if options.full else 16
num_hybrid = 32 if options.full else 8


# %% [markdown]
# ## Runs
# Each is truths, a sampler, and the number of truths. `wiener` shows how a method comes
# in that gives a mean and an error: any function of a shear map.

# %%
def exact(factor=1.0):
  return calibration.exact_sampler(field.gaussian_prior(factor), num_samples)


def wiener():
  prior = field.gaussian_prior()
  draws = gaussian_posterior.sample(
      likelihood.ShearLikelihood(field.survey), prior, 256, (0, 3)
  )
  std = np.std(draws, axis=0)  # data do not change it
  estimate = lambda shear_map: (baselines.wiener.estimate(shear_map, prior).kappa, std)
  return calibration.interval_sampler(estimate, num_samples)


def other(method, on, prior, number):
  return lambda: calibration.posterior_sampler(prior(), number, method, batch_size=number)


def hybrid_guided():
  return calibration.guided_sampler(large_field.hybrid_prior, num_hybrid)


def gaussian_run(sampler, num_truths, **flaws):
  return field, field.gaussian, sampler, num_truths, flaws


def hybrid_run(sampler, num_truths, **flaws):
  return large_field, large_field.simulated, sampler, num_truths, flaws


few, many = (50, 200) if options.full else (2, 4)
RUNS = {
    "gaussian, exact": gaussian_run(exact, many),
    "gaussian, guided": gaussian_run(
        lambda: calibration.guided_sampler(field.gaussian_prior(), num_samples, batch_size=16), many),
    "hybrid, guided": hybrid_run(hybrid_guided, 32 if options.full else 2),
}
