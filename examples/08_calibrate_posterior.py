# %% [markdown]
# # Are the posterior samples calibrated?
#
#     python examples/08_calibrate_posterior.py [RUN ...] [--full] [--prior NAME]
#     python examples/08_calibrate_posterior.py --tables --output docs/calibration
#
# Mock surveys like COSMOS. If samples are calibrated, the truth is like one of them.
# Without flags there are few truths on small maps. `--full` makes the runs of
# docs/calibration.md. RUN are names, by default all; a wrong one prints them. An
# interrupted run resumes; a finished one is the file `records/NAME.npz`. Tables and
# figures are of all finished runs, and `--tables` makes no others.

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
from tfp_massmap import shear_errors
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.calibration import figures

parser = argparse.ArgumentParser(description="Calibration of posterior samples.")
parser.add_argument("runs", nargs="*", metavar="RUN")
parser.add_argument("--prior", default="cosmos-halo", help="name, or path of a card")
parser.add_argument("--output", default=pathlib.Path("calibration"), type=pathlib.Path)
parser.add_argument("--full", action="store_true", help="the reported size")
parser.add_argument("--tables", action="store_true", help="of finished runs only")
options = parser.parse_args()
small, large, num_samples = (128, 256, 32) if options.full else (64, 128, 16)
few, some, many, num_large = (8, 50, 200, 26) if options.full else (0, 2, 4, 2)

# %% [markdown]
# ## Truths
# Truths are drawn from the Gaussian prior, or are crops of simulated maps that no
# training has used. Mask and noise are those of one survey in every mock.

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
# By chance, a few truths have more or less power than all simulated maps.
more = lambda index: simulator.map(10_000 + index)[np.newaxis]

# %% [markdown]
# ## Runs
# A run has a number of truths, a sampler (of `METHODS`, or a function of the prior),
# and flaws of the data (for sigma_8, truths are scaled). Its name begins with the
# truths.

# %%
METHODS = {
  "guided": samplers.GuidedSettings(),
  "guided+hmc": samplers.GuidedHmcSettings(),
  "annealed": samplers.AnnealedSettings(),
}


def sampler_of(sampler, prior):
  if sampler not in METHODS:
    return sampler(prior)
  given = dict(settings=METHODS[sampler])
  if sampler == "guided":
    return calibration.guided_sampler(prior, num_samples, batch_size=16, **given)
  run_options = samplers.RunOptions(batch_size=16)
  return calibration.posterior_sampler(
    prior, num_samples, method=sampler, options=run_options, **given
  )


def intervals(method, *given, **accuracy):
  std = lambda data: method.standard_deviation(data, *given, **accuracy)
  both = lambda data: (method.estimate(data, *given).kappa, std(data))
  return calibration.interval_sampler(both, num_samples)


exact = lambda prior: calibration.exact_sampler(prior.gaussian, num_samples)
wiener = lambda prior: intervals(baselines.wiener, prior.gaussian, num_samples=256)
mcalens = lambda prior: intervals(
  baselines.mcalens, prior.gaussian, num_realisations=64
)
kaiser_squires = lambda prior: intervals(baselines.kaiser_squires)
RUNS = {
  "gaussian, exact": (many, exact, {}),
  "gaussian, guided": (many, "guided", {}),
  "gaussian, guided+hmc": (few, "guided+hmc", {}),
  "gaussian, annealed": (few, "annealed", {}),
  "gaussian, wiener intervals": (some, wiener, {}),
  "hybrid, guided": (num_large, "guided", {}),
  "hybrid, guided+hmc": (2 * few, "guided+hmc", {}),
  "small hybrid, gaussian component": (some, exact, {}),
  "small hybrid, guided": (2 * few if options.full else some, "guided", {}),
  "small hybrid, guided+hmc": (2 * few, "guided+hmc", {}),
  "small hybrid, annealed": (few, "annealed", {}),
  "small hybrid, wiener intervals": (2 * few, wiener, {}),
  "small hybrid, mcalens intervals": (2 * few, mcalens, {}),
  "small hybrid, kaiser_squires intervals": (2 * few, kaiser_squires, {}),
}
biased = shear_errors.Factors(bias=0.01, noise_scale=1.0)
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
    f"{kind}, shear 1 % too large": (num, sampler, dict(factors=lambda _: biased)),
  }
RUNS = {name: run for name, run in RUNS.items() if run[0]}
if unknown := set(options.runs) - set(RUNS):
  raise SystemExit("\n".join([f"No runs {sorted(unknown)}, but:", *RUNS]))


# %%
def run(name):
  num_truths, sampler, flaws = RUNS[name]
  kind = name.split(",")[0]
  size = large if kind == "hybrid" else small
  prior = fiducial if kind == "gaussian" else load_hybrid(size)
  mocks = calibration.Mocks(**dict(truth=truths[kind], survey=survey_of(size)) | flaws)
  less = dict(num_bands=0, patch=0) if "intervals" in name else {}
  settings = calibration.Settings(remove_mean=kind != "gaussian", **less)
  used = METHODS.get(sampler)
  if sampler in ("guided+hmc", "annealed"):  # settings that depend on the survey
    used = used.resolve(mocks.posterior(prior))
  label = f"{name}; {grid_of(size).shape}, {num_samples} samples, {used}"
  label += f", prior {prior.fingerprint()[:16]}"
  given = dict(grid=grid_of(size), settings=settings)
  draw = mocks.draw(sampler_of(sampler, prior))
  path = kept / f"{name.replace(', ', '-').replace(' ', '_')}.npz"
  calibration.run(draw, num_truths, path=path, label=label, **given)
  if num_truths >= 8 and kind != "gaussian" and not less and "truth" not in flaws:
    given.update(path=population_of(path), mask=mocks.survey.mask, label=kind)
    calibration.population(more, 100, **given)


kept = options.output / "records"
population_of = lambda path: kept / f"{path.stem.split('-')[0]}-population.npz"
for name in [] if options.tables else options.runs or RUNS:
  run(name)

# %% [markdown]
# ## Tables and figures

# %%
records, populations = {}, {}
for path in sorted({*kept.glob("*.npz")} - {*kept.glob("*-population.npz")}):
  found = calibration.load_run(path)
  name = found[0].label.split(";")[0]
  records[name] = found
  if population_of(path).exists() and not ("intervals" in name or "sigma_8" in name):
    populations[name] = calibration.load_population(population_of(path))
print(calibration.compare(records, populations))
calibration.write_tables(
  options.output / "calibration.md", records, populations=populations
)
figures.save_all(options.output, {n: r for n, r in records.items() if "taken" not in n})
print(f"wrote {options.output}/calibration.md and figures beside it")
