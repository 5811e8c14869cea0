# %% [markdown]
# # Every method of Remy et al. (2022), Table 1, side by side
#
#     python examples/07_compare_methods.py [--data DIR] [--full]
#
# This example repeats Table 1 and Fig. G.1 of Remy et al. (2022) on simulated truths
# that were used neither for tuning nor for training. With `--data` it also repeats them
# over noise seeds of the genuine kappaTNG field. Methods share their mocks, so
# differences are paired. The scores of the posterior mean are corrected for the error
# of a mean of n samples, their variance over n.

# %%
import argparse
import pathlib
import shutil
import sys
import time

from astropy import units as u
from astropy.io import fits
from matplotlib import figure as mpl_figure
import numpy as np

sys.path.append(str(pathlib.Path(__file__).parent / "benchmarks"))
import cosmos_survey
import map_scores

from tfp_massmap import baselines
from tfp_massmap import geometry
from tfp_massmap import io
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import plot
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import resumable
from tfp_massmap import samplers
from tfp_massmap import simulate
from tfp_massmap import theory

parser = argparse.ArgumentParser(description="All methods on the same mocks.")
parser.add_argument("--data", type=pathlib.Path, help="released COSMOS maps, kappaTNG")
parser.add_argument("--prior", default="universal", help="name, or path of a card")
parser.add_argument("--output", default=pathlib.Path("."), type=pathlib.Path)
parser.add_argument("--overwrite", action="store_true")
parser.add_argument("--full", action="store_true", help="16 truths, 8 seeds, 64 draws")
parser.add_argument("--num-samples", type=int, help="of the posterior, at least 2")
parser.add_argument("--seed", default=0, type=int)
options = parser.parse_args()
stem = str(options.output / "compare_methods")
paths = [pathlib.Path(stem + end) for end in (".fits", "_maps.png", "_scales.png")]
for path in paths:
  io.check_writable(path, options.overwrite)
num_truths, num_seeds, num_samples = (16, 8, 64) if options.full else (2, 2, 8)
num_samples = options.num_samples or num_samples

# %% [markdown]
# ## Mocks, and the methods
# The smoothing of Kaiser-Squires is the best one on Gaussian mocks.

# %%
size, sky = (360, 1024) if options.full or options.data else (180, 512)
grid = geometry.PixelGrid((size, size), 0.29 * u.arcmin)
survey = cosmos_survey.released_maps(options.data, grid)
mask = survey.mask
sources = theory.SourceRedshifts.of_survey("cosmos")
prior = priors.HybridPrior.load(options.prior, grid, sources=sources)
gaussian = prior.gaussian
large = geometry.PixelGrid((sky, sky), grid.pixel_scale)
simulator = simulate.ConvergenceSimulator(large, seed=options.seed + 60_000_000)
mocks = [("simulated", index, 1000 + index) for index in range(num_truths)]
if options.data:
  path = cosmos_survey.find(options.data, "ktng_kappa360v2.fits")
  genuine = fits.getdata(path).astype(np.float64)
  mocks += [("genuine", seed, seed) for seed in range(num_seeds)]
truths = gaussian.sample([4], seed=(options.seed, 1)).numpy()
kaiser_squires, inpainted = baselines.kaiser_squires, baselines.inpainted_kaiser_squires
best, _ = kaiser_squires.choose_smoothing(survey, truths, seed=options.seed)
methods = {
  "KS 1 arcmin": kaiser_squires.estimate,
  f"KS {best.value:.2f} arcmin": lambda data: kaiser_squires.estimate(data, best),
  "KS inpainted": lambda data: inpainted.estimate(data, best),
  "Wiener": lambda data: baselines.wiener.estimate(data, gaussian),
  "GLIMPSE": baselines.glimpse.estimate,
  "MCALens": lambda data: baselines.mcalens.estimate(data, gaussian),
  "DeepMass": baselines.deepmass.estimate,
}

# %% [markdown]
# ## Scores
# They are the RMSE, Pearson's r, r in bands of ell, and the RMSE of pixels by true
# convergence. Results of each mock are kept, so that a run that was stopped resumes.

# %%
names = [*methods, "Posterior mean"]


def compare(number):
  field, index, noise_seed = mocks[number]
  truth = genuine if field == "genuine" else simulator.map(index)[:size, :size]
  data = simulate.observe_like(truth, survey, seed=noise_seed)
  maps, times = [], []
  for method in methods.values():
    start = time.perf_counter()
    maps.append(method(data).kappa)
    times.append(time.perf_counter() - start)
  posterior = posterior_lib.Posterior(likelihood_lib.ShearLikelihood(data), prior)
  run = dict(seed=options.seed + index, options=samplers.RunOptions(progress=False))
  result = samplers.sample(posterior, num_samples, **run)
  samples = np.asarray(result.samples)
  mean = samples.mean(axis=0)
  scores = [map_scores.score(kappa, truth, mask=mask, grid=grid) for kappa in maps]
  scores.append(map_scores.score(mean, truth, mask=mask, grid=grid, samples=samples))
  times.append(result.seconds / num_samples)
  maps = np.array([truth, *maps, mean, samples[0], samples.std(axis=0, ddof=1)])
  return dict(**map_scores.pack(scores), times=times, maps=maps.astype(np.float32))


settings = dict(seed=options.seed, prior=str(options.prior), num_samples=num_samples)
settings.update(card=prior.card["card_sha256"], methods=", ".join(names))
records, label = pathlib.Path(stem + "_records"), f"{settings}, {mocks}"
results = resumable.collect(compare, len(mocks), folder=records, label=label)

# %%
kinds = list(dict.fromkeys(field for field, *_ in mocks))
figure = mpl_figure.Figure(figsize=(12, 4.2 * len(kinds)), layout="constrained")
axes = figure.subplots(len(kinds), 2, squeeze=False)
for kind, pair in zip(kinds, axes):
  rows = [row for row, mock in enumerate(mocks) if mock[0] == kind]
  some = {name: values[rows] for name, values in results.items()}
  found = map_scores.unpack(some, names)
  print(f"\n{len(rows)} mocks of {kind} truths, {num_samples} posterior samples each")
  map_scores.print_tables(found, ("Wiener", "Posterior mean"))
  map_scores.print_seconds([*methods, "a posterior sample"], some["times"])
  map_scores.plot(found, "Wiener", axes=pair, title=f"{kind} truths")
axes[0, 1].legend(fontsize=8)
truth, *others = results["maps"][-1]
maps = dict(zip([*names, "Posterior sample", "Posterior std"], others))
hdus = [io.primary_hdu(truth, grid, description="true convergence", settings=settings)]
for name, kappa in maps.items():
  hdus.append(io.image_hdu(kappa, grid, name=name.upper(), description="convergence"))
io.write_fits(paths[0], hdus, overwrite=options.overwrite)
std = maps.pop("Posterior std")
shown = {n: m - m[mask].mean() for n, m in {"Truth": truth, **maps}.items()}
shown["Standard deviation of the posterior"] = std
title = "{0} truth, noise {2}".format(*mocks[-1])
panels, _ = plot.plot_maps(shown, grid, mask=mask, title=title)
style = dict(settings=settings, overwrite=options.overwrite, dpi=110)
for path, picture in zip(paths[1:], (panels, figure)):
  io.write_figure(path, picture, **style)
shutil.rmtree(records)
print("Wrote " + ", ".join(map(str, paths)))
