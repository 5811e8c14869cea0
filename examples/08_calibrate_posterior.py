# %% [markdown]
# # Are the posterior samples calibrated?
#
#     python examples/08_calibrate_posterior.py [RUN ...] [--full] [--prior NAME]
#
# Mock surveys like COSMOS of known truths: if samples are right, the truth is as one of
# them. Without flags a few truths on small maps; `--full` is the run reported in
# docs/calibration.md. RUN are names of runs, by default all; a name that is none prints
# them. Records of truths are kept in `calibration/records`, so that the same command
# goes on where it was stopped; `calibration/calibration.md` has the tables.

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
from tfp_massmap import likelihood
from tfp_massmap import prior as prior_lib
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.calibration import figures

parser = argparse.ArgumentParser(description="Calibration of posterior samples.")
parser.add_argument("runs", nargs="*", metavar="RUN")
parser.add_argument("--prior", default="cosmos-halo", help="name, or path of a card")
parser.add_argument("--output", default=pathlib.Path("calibration"), type=pathlib.Path)
parser.add_argument("--full", action="store_true", help="the reported size")
options = parser.parse_args()
PIXEL = 0.29 * u.arcmin


# %% [markdown]
# ## Truths
# Fields drawn from the Gaussian prior, and crops of simulated maps that no training
# saw. Mask and noise are of one survey in every mock.

# %%
def grid_of(size):
  return geometry.PixelGrid((size, size), PIXEL)


def survey_of(size):
  grid, survey = grid_of(size), simulate.cosmos_like_survey()
  return simulate.mock_observation(np.zeros(grid.shape), grid, survey, seed=1)


def gaussian_prior(factor=1.0):
  """With the power times `factor`."""
  fiducial = spectra.PowerSpectrum.fiducial_cosmos()
  power = spectra.PowerSpectrum(fiducial.ell, factor * fiducial.c_ell)
  return prior_lib.GaussianPrior.from_spectrum(power, grid_of(small))


load_hybrid = lambda size: hybrid_prior.HybridPrior.load(options.prior, grid_of(size))
simulator = functools.cache(
    lambda: simulate.ConvergenceSimulator(grid_of(1024), seed=31_000_000)
)
small, large, num_samples = (128, 256, 32) if options.full else (64, 128, 16)
few, some, many, num_large = (8, 50, 200, 26) if options.full else (0, 2, 4, 2)
truths = {
    "gaussian": lambda index: gaussian_prior().sample(seed=(index, 7)).numpy(),
    "hybrid": lambda index: simulator().map(index)[:large, :large],
    "small hybrid": lambda index: simulator().map(index)[:small, :small],
}


# %% [markdown]
# ## Runs
# Each is the number of truths, the sampler, and what is wrong with the data. The first
# part of a name says where truths are from. `wiener intervals` shows how a method comes
# in that gives a mean and an error: any function of a shear map.

# %%
def exact(factor=1.0):
  return calibration.exact_sampler(gaussian_prior(factor), num_samples)


def wiener_intervals():
  prior = gaussian_prior()
  data = likelihood.ShearLikelihood(survey_of(small))
  std = np.std(gaussian_posterior.sample(data, prior, 1024, (0, 3)), axis=0)
  estimate = lambda shear_map: (baselines.wiener.estimate(shear_map, prior).kappa, std)
  return calibration.interval_sampler(estimate, num_samples)


def sampler_of(prior, method="guided"):
  if method == "guided":
    return calibration.guided_sampler(prior, num_samples, batch_size=16)
  return calibration.posterior_sampler(prior, num_samples, method, batch_size=16)


hybrid = lambda *method: sampler_of(load_hybrid(small), *method)
half = lambda: calibration.exact_sampler(load_hybrid(small).gaussian, num_samples)
gaussian = lambda *method: sampler_of(gaussian_prior(), *method)
large_noise, small_noise = dict(noise_factor=1.2), dict(noise_factor=0.8)
RUNS = {
    "gaussian, exact": (many, exact, {}),
    "gaussian, guided": (many, gaussian, {}),
    "gaussian, guided+hmc": (few, lambda: gaussian("guided+hmc"), {}),
    "gaussian, annealed": (few, lambda: gaussian("annealed"), {}),
    "gaussian, wiener intervals": (some, wiener_intervals, {}),
    "gaussian, noise taken 20 % too large": (some, exact, large_noise),
    "gaussian, noise taken 20 % too small": (some, exact, small_noise),
    "gaussian, sigma_8 taken 10 % too large": (some, lambda: exact(1.1**2), {}),
    "gaussian, sigma_8 taken 10 % too small": (some, lambda: exact(0.9**2), {}),
    "gaussian, shear 1 % too large": (some, exact, dict(shear_bias=0.01)),
    "hybrid, guided": (num_large, lambda: sampler_of(load_hybrid(large)), {}),
    "small hybrid, gaussian half": (some, half, {}),
    "small hybrid, guided": (2 * few if options.full else some, hybrid, {}),
    "small hybrid, guided+hmc": (2 * few, lambda: hybrid("guided+hmc"), {}),
    "small hybrid, noise taken 20 % too large": (2 * few, hybrid, large_noise),
    "small hybrid, noise taken 20 % too small": (2 * few, hybrid, small_noise),
    "small hybrid, shear 1 % too large": (2 * few, hybrid, dict(shear_bias=0.01)),
}
RUNS = {name: run for name, run in RUNS.items() if run[0]}
if unknown := set(options.runs) - set(RUNS):
  raise SystemExit("\n".join([f"No runs {sorted(unknown)}, but:", *RUNS]))

# %%
records = {}
for name in options.runs or RUNS:
  num_truths, sampler, flaws = RUNS[name]
  kind = name.split(",")[0]
  survey = survey_of(large if kind == "hybrid" else small)
  settings = calibration.Settings(remove_mean=kind != "gaussian")
  if "intervals" in name:
    settings = calibration.Settings(num_bands=0, patch=0)
  draw = calibration.Mocks(truths[kind], survey, **flaws).draw(sampler())
  label = f"{name}; {survey.grid.shape}, {num_samples} samples, prior {options.prior}"
  folder = options.output / "records" / name.replace(", ", "-").replace(" ", "_")
  found = calibration.run(draw, num_truths, survey.grid, settings, folder, label)
  records[name] = found
  print(calibration.compare({name: found}), flush=True)

# %% [markdown]
# ## Tables and figures

# %%
calibration.write_tables(options.output / "calibration.md", records)
figures.save_all(options.output, {n: r for n, r in records.items() if "taken" not in n})
print(f"wrote {options.output}/calibration.md and figures beside it")
