# %% [markdown]
# # Every method of the paper's Table 1, side by side
#
#     python examples/07_compare_methods.py [--data DIR] [--full]
#
# Remy et al. (2022), Table 1 and Fig. G.1, over simulated truths, which no method was
# tuned or trained on, and over noise seeds of the genuine kappaTNG field with `--data`.
# Methods share a mock, so differences from the Wiener filter and the posterior mean are
# paired. Figures of the mean of n samples are without their variance over n, its error.

# %%
import argparse
import pathlib
import sys
import time

from astropy.io import fits
from astropy import units as u
from matplotlib import figure as mpl_figure
import numpy as np

sys.path.append(str(pathlib.Path(__file__).parent / "benchmarks"))
# pylint: disable=g-import-not-at-top
import cosmos_survey
import map_scores
from tfp_massmap import baselines
from tfp_massmap import geometry
from tfp_massmap import hybrid_prior
from tfp_massmap import io
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import plot
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import simulate
from tfp_massmap.nn import network_file

parser = argparse.ArgumentParser(description="All methods on the same mocks.")
parser.add_argument("--data", type=pathlib.Path, help="released COSMOS maps, kappaTNG")
parser.add_argument("--prior", default="cosmos-halo", help="name, or path of a card")
parser.add_argument("--output", default=pathlib.Path("."), type=pathlib.Path)
parser.add_argument("--overwrite", action="store_true")
parser.add_argument("--full", action="store_true", help="16 truths, 8 seeds, 64 draws")
parser.add_argument("--num-samples", type=int, help="of the posterior, at least 2")
parser.add_argument("--seed", default=0, type=int)
options = parser.parse_args()
paths = [options.output / f"compare_methods{end}" for end in (
    ".fits", "_maps.png", "_scales.png")]
for path in paths:
  io.check_writable(path, options.overwrite)
num_truths, num_seeds, num_samples = (16, 8, 64) if options.full else (2, 2, 8)
num_samples = options.num_samples or num_samples

# %% [markdown]
# ## Mocks, and the methods
# The smoothing of Kaiser-Squires is the best one on Gaussian mocks.

# %%
size = 360 if options.full or options.data else 180
grid = geometry.PixelGrid((size, size), 0.29 * u.arcmin)
survey = cosmos_survey.released_maps(options.data, grid)
mask = survey.mask
prior = hybrid_prior.HybridPrior.load(options.prior, grid)
gaussian = prior.gaussian
large = geometry.PixelGrid((1024, 1024), grid.pixel_scale)
simulator = simulate.ConvergenceSimulator(large, seed=options.seed + 60_000_000)
fields = {"simulated": [(k[:size, :size], 1000 + i)
                        for i, k in enumerate(simulator.maps(num_truths))]}
if options.data:
  path = cosmos_survey.find(options.data, "ktng_kappa360v2.fits")
  genuine = fits.getdata(path).astype(np.float64)
  fields["genuine"] = [(genuine, seed) for seed in range(num_seeds)]
best, _ = baselines.kaiser_squires.choose_smoothing(
    survey, gaussian.sample([4], seed=(options.seed, 1)).numpy(), options.seed
)
methods = {
    "KS 1 arcmin": lambda data: baselines.kaiser_squires.estimate(data),
    f"KS {best.value:.2f} arcmin":
        lambda data: baselines.kaiser_squires.estimate(data, best),
    "KS inpainted":
        lambda data: baselines.inpainted_kaiser_squires.estimate(data, best),
    "Wiener": lambda data: baselines.wiener.estimate(data, gaussian),
    "GLIMPSE": lambda data: baselines.glimpse.estimate(data),
    "MCALens": lambda data: baselines.mcalens.estimate(data, gaussian),
}  # pyformat: disable
models = network_file.shipped("deepmass")
if models:
  methods["DeepMass"] = lambda data: baselines.deepmass.estimate(data, models[0])
else:
  print("No DeepMass: no trained model ships with this version.")

# %% [markdown]
# ## Scores
# RMSE, Pearson's r, r in bands of ell, and the RMSE of pixels by true convergence.

# %%
figure = mpl_figure.Figure(figsize=(12, 4.2 * len(fields)), layout="constrained")
axes = figure.subplots(len(fields), 2, squeeze=False)
for (field, mocks), (left, right) in zip(fields.items(), axes):
  found, seconds = {}, {}
  for index, (truth, noise_seed) in enumerate(mocks):
    data = simulate.observe_like(truth, survey, noise_seed)
    maps = {"Truth": truth}
    for name, method in methods.items():
      start = time.perf_counter()
      maps[name] = method(data).kappa
      seconds.setdefault(name, []).append(time.perf_counter() - start)
      found.setdefault(name, []).append(
          map_scores.score(maps[name], truth, mask, grid))
    posterior = posterior_lib.Posterior(likelihood_lib.ShearLikelihood(data), prior)
    result = posterior.sample(num_samples, options.seed + index, progress=False)
    samples = np.asarray(result.samples)
    maps["Posterior mean"] = samples.mean(axis=0)
    seconds.setdefault("a posterior sample", []).append(result.seconds / num_samples)
    found.setdefault("Posterior mean", []).append(
        map_scores.score(maps["Posterior mean"], truth, mask, grid, samples))
  maps["Posterior sample"] = samples[0]
  print(f"\n{len(mocks)} mocks of {field} truths, {num_samples} posterior samples each")
  map_scores.print_tables(found, ("Wiener", "Posterior mean"))
  print("seconds, without the first mock: " + ", ".join(
      f"{name} {np.mean(s[1:]):.2f}" for name, s in seconds.items()))
  wiener_error = map_scores.mean_of(found["Wiener"], "bin_rmse")
  for number, (name, some) in enumerate(found.items()):
    style = dict(color=f"C{number}", label=name, marker=".")
    left.plot(np.sqrt(map_scores.ELL_EDGES[1:] * map_scores.ELL_EDGES[:-1]),
              map_scores.mean_of(some, "band_r"), **style)
    right.plot(map_scores.mean_of(some, "bin_rmse") / wiener_error, **style)
  left.set(xscale="log", xlabel=r"multipole $\ell$", title=f"{field} truths")
  left.set_ylabel("correlation with the truth")
  right.set(title=f"{field} truths", ylabel="RMSE over that of the Wiener filter")
  right.set_xlabel(r"bins of true $\kappa$, up to")
  right.set_xticks(range(len(wiener_error)),
                   [f"{edge:g}" for edge in map_scores.KAPPA_EDGES[1:]])
axes[0, 1].legend(fontsize=8)

# %%
settings = dict(seed=options.seed, prior=str(options.prior), num_samples=num_samples,
                weights=prior.card["weights_sha256"], noise_seed=noise_seed)
deviation = samples.std(axis=0, ddof=1)
hdus = [io.primary_hdu(truth, grid, "true convergence", settings)] + [
    io.image_hdu(kappa, grid, name.upper(), "convergence")
    for name, kappa in [*maps.items(), ("Posterior std", deviation)][1:]
]
io.write_fits(paths[0], hdus, options.overwrite)
shown = {name: kappa - kappa[mask].mean() for name, kappa in maps.items()}
shown["Standard deviation of the posterior"] = deviation
panels, _ = plot.plot_maps(shown, grid, mask, title=f"{field}, noise {noise_seed}")
for path, picture in zip(paths[1:], (panels, figure)):
  io.write_figure(path, picture, vars(options), options.overwrite, dpi=110)
print("Wrote " + ", ".join(map(str, paths)))
