# %% [markdown]
# # Figure 11 of Remy et al. (2022): power of samples of the COSMOS field
#
#     python examples/figures/cosmos_power.py --data DIR --samples FILE
#
# FILE is the `samples.fits` of `01_reconstruct_cosmos.py`. The figure compares its
# power with that of samples of a mock of the same survey, and of simulated maps like
# those that the prior was trained on. The script writes `cosmos_power.png`.

# %%
import argparse
import pathlib

from astropy import units as u
from astropy.io import fits
from matplotlib import figure as mpl_figure
import numpy as np
import paper_mock

from tfp_massmap import geometry
from tfp_massmap import io
from tfp_massmap import likelihood
from tfp_massmap import posterior
from tfp_massmap import priors
from tfp_massmap import samplers
from tfp_massmap import simulate
from tfp_massmap import spectra

parser = argparse.ArgumentParser(description="Figure 11 of Remy et al. (2022).")
paper_mock.add_options(parser, "64 samples of the mock and 48 maps instead of 8 and 4")
parser.add_argument("--samples", required=True, type=pathlib.Path)
parser.add_argument("--num-samples", type=int, help="samples of the mock")
parser.add_argument("--prior", default="cosmos-halo", help="name or path of a prior")
options = parser.parse_args()
if options.data is None or not paper_mock.find(options.data, "nhweight_int.fits"):
  parser.error("--data is needed: the folder of the COSMOS catalogue.")
num_samples = options.num_samples or (64 if options.full else 8)
picture = options.output / "cosmos_power.png"
io.check_writable(picture, options.overwrite)

# %%
_, name, shear_map = paper_mock.observe(options.data, options.seed, noise="weighted")
grid = shear_map.grid
prior = priors.HybridPrior.load(options.prior, grid)
target = posterior.Posterior(likelihood.ShearLikelihood(shear_map), prior)
# Seeds of trainings are smaller. Maps of 360 x 360 pixels are cut out of larger ones.
large = geometry.PixelGrid((1024, 1024), 0.29 * u.arcmin)
simulator = simulate.ConvergenceSimulator(large, seed=70_000_000 + options.seed)
corners = [(row, column) for row in (0, 512) for column in (0, 512)]
sets = {
  "simulated maps": [
    kappa[row : row + 360, column : column + 360]
    for kappa in simulator.maps(12 if options.full else 1)
    for row, column in corners
  ],
  f"samples of a mock, {name}": samplers.sample(
    target, num_samples, seed=options.seed
  ).samples,
  "samples of COSMOS": fits.getdata(options.samples),
}

# %%
edges, ell = paper_mock.BAND_EDGES, paper_mock.BAND_CENTERS
scale = ell * (ell + 1) / (2 * np.pi)
figure = mpl_figure.Figure(figsize=(6.4, 6), layout="constrained")
axes, ratios = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
reference = None
for color, (label, maps) in zip(("C1", "C3", "C0"), sets.items()):
  power = scale * spectra.band_power(np.asarray(maps, np.float64), grid, edges=edges)
  mean, std = power.mean(axis=0), power.std(axis=0, ddof=1)
  reference = mean if reference is None else reference
  for axis, norm in ((axes, 1), (ratios, reference)):
    axis.plot(ell, mean / norm, color=color, label=f"{label} ({len(maps)})")
    axis.fill_between(
      ell, (mean - std) / norm, (mean + std) / norm, color=color, alpha=0.25, lw=0
    )
  print(f"{label}: over simulated maps {np.round((mean / reference)[2:-2], 2)}")
axes.set(xscale="log", yscale="log", ylabel=r"$\ell (\ell + 1) C_\ell / 2\pi$")
axes.legend(fontsize=8)
ratios.set(xlabel=r"multipole $\ell$", ylabel="over simulated maps", ylim=(0.4, 1.8))
ratios.axhline(1, color="k", lw=0.6)
io.write_figure(picture, figure, settings=vars(options), overwrite=options.overwrite)
print(f"wrote {picture}")
