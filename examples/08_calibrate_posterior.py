# %% [markdown]
# # Are the posterior samples calibrated?
#
#     python examples/08_calibrate_posterior.py [RUN ...] [--full] [--prior NAME]
#
# Mock surveys like COSMOS: if samples are right, the truth is as one of them. Without
# flags few truths on small maps; `--full` is the run of docs/calibration.md. RUN are names,
# by default all; a wrong one prints them. Stopped runs go on from their records.

# %%
import argparse
import pathlib

from astropy import units as u
import numpy as np

from tfp_massmap import baselines
from tfp_massmap import calibration
from tfp_massmap import geometry
from tfp_massmap import priors
from tfp_massmap import samplers
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.calibration import figures

parser = argparse.ArgumentParser(description="Calibration of posterior samples.")
parser.add_argument("runs", nargs="*", metavar="RUN")
parser.add_argument("--prior", default="cosmos-halo", help="name, or path of a card")
parser.add_argument("--output", default=pathlib.Path("calibration"), type=pathlib.Path)
parser.add_argument("--full", action="store_true", help="the reported size")
options = parser.parse_args()
small, large, num_samples = (128, 256, 32) if options.full else (64, 128, 16)
few, some, many, num_large = (8, 50, 200, 26) if options.full else (0, 2, 4, 2)

# %% [markdown]
# ## Truths
# Fields drawn from the Gaussian prior, and crops of simulated maps that no training
# saw. Mask and noise are of one survey in every mock.

# %%
grid_of = lambda size: geometry.PixelGrid((size, size), 0.29 * u.arcmin)
load_hybrid = lambda size: priors.HybridPrior.load(options.prior, grid_of(size))
survey_of = lambda size: simulate.mock_observation(
  np.zeros([size, size]), grid_of(size), survey=simulate.cosmos_like_survey(), seed=1
)
power = spectra.PowerSpectrum.fiducial_cosmos()
fiducial = priors.GaussianPrior.from_spectrum(power, grid_of(small))
simulator = simulate.ConvergenceSimulator(grid_of(1024), seed=31_000_000)
truths = {
  "gaussian": lambda index: fiducial.sample(seed=(index, 7)).numpy(),
  "hybrid": lambda index: simulator.map(index)[:large, :large],
  "small hybrid": lambda index: simulator.map(index)[:small, :small],
}
# By chance a few truths have more power than all simulated maps, or less.
more = lambda index: simulator.map(10_000 + index)[np.newaxis]

# %% [markdown]
# ## Runs
# Each: number of truths, sampler (of `METHODS`, or a function of the prior), what is wrong
# with the data (sigma_8: truths are scaled). A name begins with where truths are from.

# %%
METHODS = {
  "guided": samplers.guided.GuidedSettings(),
  "flow": samplers.guided.GuidedSettings(16, covariance="gaussian", sweeps=()),
  "guided+hmc": samplers.refine.RefineSettings(),
  "annealed": samplers.annealed.AnnealedSettings(),
}


def sampler_of(sampler, prior):
  if sampler not in METHODS:
    return sampler(prior)
  how = dict(settings=METHODS[sampler], batch_size=16)
  if sampler in ("guided", "flow"):
    return calibration.guided_sampler(prior, num_samples, **how)
  return calibration.posterior_sampler(prior, num_samples, method=sampler, **how)


def intervals(method, *given, **accuracy):
  std = lambda data: method.standard_deviation(data, *given, **accuracy)
  both = lambda data: (method.estimate(data, *given).kappa, std(data))
  return calibration.interval_sampler(both, num_samples)


half = lambda prior: getattr(prior, "gaussian", prior)
exact = lambda prior: calibration.exact_sampler(half(prior), num_samples)
wiener = lambda prior: intervals(baselines.wiener, half(prior), num_samples=256)
mcalens = lambda prior: intervals(baselines.mcalens, half(prior), num_realisations=64)
kaiser_squires = lambda prior: intervals(baselines.kaiser_squires)
RUNS = {
  "gaussian, exact": (many, exact, {}),
  "gaussian, guided": (many, "guided", {}),
  "gaussian, guided+hmc": (few, "guided+hmc", {}),
  "gaussian, annealed": (few, "annealed", {}),
  "gaussian, wiener intervals": (some, wiener, {}),
  "hybrid, guided": (num_large, "guided", {}),
  "hybrid, guided+hmc": (2 * few, "guided+hmc", {}),
  "small hybrid, gaussian half": (some, exact, {}),
  "small hybrid, guided": (2 * few if options.full else some, "guided", {}),
  "small hybrid, flow alone": (2 * few, "flow", {}),
  "small hybrid, guided+hmc": (2 * few, "guided+hmc", {}),
  "small hybrid, annealed": (few, "annealed", {}),
  "small hybrid, wiener intervals": (2 * few, wiener, {}),
  "small hybrid, mcalens intervals": (2 * few, mcalens, {}),
  "small hybrid, kaiser_squires intervals": (2 * few, kaiser_squires, {}),
}
for kind, num, sampler in (
  ("gaussian", some, exact),
  ("small hybrid", 2 * few, "guided"),
):
  times = lambda factor, kind=kind: dict(truth=lambda i: factor * truths[kind](i))
  RUNS |= {
    f"{kind}, noise taken 20 % too large": (num, sampler, dict(noise_factor=1.2)),
    f"{kind}, noise taken 20 % too small": (num, sampler, dict(noise_factor=0.8)),
    f"{kind}, sigma_8 taken 10 % too large": (num, sampler, times(1 / 1.1)),
    f"{kind}, sigma_8 taken 10 % too small": (num, sampler, times(1 / 0.9)),
    f"{kind}, shear 1 % too large": (num, sampler, dict(shear_bias=0.01)),
  }
RUNS = {name: run for name, run in RUNS.items() if run[0]}
if unknown := set(options.runs) - set(RUNS):
  raise SystemExit("\n".join([f"No runs {sorted(unknown)}, but:", *RUNS]))

# %%
records, populations = {}, {}
for name in options.runs or RUNS:
  num_truths, sampler, flaws = RUNS[name]
  kind = name.split(",")[0]
  size = large if kind == "hybrid" else small
  prior = fiducial if kind == "gaussian" else load_hybrid(size)
  mocks = calibration.Mocks(**dict(truth=truths[kind], survey=survey_of(size)) | flaws)
  less = dict(num_bands=0, patch=0) if "intervals" in name else {}
  settings = calibration.Settings(remove_mean=kind != "gaussian", **less)
  used = METHODS.get(sampler)
  if hasattr(used, "resolve"):  # what chains take for the survey decides their samples
    used = used.resolve(mocks.posterior(prior))
  label = f"{name}; {grid_of(size).shape}, {num_samples} samples, {used}"
  label += f", network {getattr(prior, 'card', {}).get('card_sha256', '')[:16]}"
  folder = options.output / "records" / name.replace(", ", "-").replace(" ", "_")
  draw = mocks.draw(sampler_of(sampler, prior))
  records[name] = calibration.run(
    draw, num_truths, grid=grid_of(size), settings=settings, folder=folder, label=label
  )
  if num_truths >= 8 and kind != "gaussian" and not less and "truth" not in flaws:
    kept = folder.with_name(f"{folder.name.split('-')[0]}-population")
    others = grid_of(size), mocks.survey.mask, settings, kept, kind
    populations[name] = calibration.population(more, 100, *others)
  print(calibration.compare({name: records[name]}, populations), flush=True)

# %%
calibration.write_tables(
  options.output / "calibration.md", records, populations=populations
)
figures.save_all(options.output, {n: r for n, r in records.items() if "taken" not in n})
print(f"wrote {options.output}/calibration.md and figures beside it")
