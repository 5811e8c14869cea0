# %% [markdown]
# # Samples of the neural prior beside simulated maps
#
#     python examples/06_sample_the_prior.py [--prior NAME] [--full]
#
# The probability flow turns noise into draws of the prior, with one evaluation of the
# network in each step. They should look like the maps that the network was trained on,
# and have their power, one-point distribution and peak counts, which are compared in
# `prior_samples.png`. The samples are written to `prior_samples.fits`.

# %%
import argparse
import pathlib

from astropy import units as u
from astropy.io import fits
from matplotlib import figure as mpl_figure
import numpy as np
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import io
from tfp_massmap import map_statistics
from tfp_massmap import priors
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap import theory
from tfp_massmap.samplers import probability_flow

parser = argparse.ArgumentParser(description="Samples of the neural prior.")
parser.add_argument("--prior", default="universal", help="name, or path of a card")
parser.add_argument("--output", default=pathlib.Path("."), type=pathlib.Path)
parser.add_argument("--overwrite", action="store_true")
parser.add_argument("--full", action="store_true", help="48 samples, not 2")
parser.add_argument("--seed", default=0, type=int)
options = parser.parse_args()
picture = options.output / "prior_samples.png"
product = options.output / "prior_samples.fits"
for path in (picture, product):
  io.check_writable(path, options.overwrite)

# %% [markdown]
# ## Samples
# The flow runs from sigma = 2, where the prior is nearly Gaussian, in 24 steps.

# %%
SIZE = 360
grid = geometry.PixelGrid((SIZE, SIZE), 0.29 * u.arcmin)
sources = theory.SourceRedshifts.of_survey("cosmos")
prior = priors.HybridPrior.load(options.prior, grid, sources=sources)
sigmas = probability_flow.sigma_ladder(2.0, 0.004, num_steps=24)
draw = tf.function(
  lambda seed: probability_flow.sample_prior(prior, 2, seed=seed, sigmas=sigmas)
)
num_batches = 24 if options.full else 1
samples = np.concatenate(
  [draw(tf.constant([options.seed, k])).numpy() for k in range(num_batches)]
)

header = grid.to_header()
header.update(
  io.provenance_header(
    dict(
      prior=str(options.prior),
      card=prior.card["card_sha256"],
      seed=options.seed,
      num_evaluations=len(sigmas),
    )
  )
)
io.write_fits(product, [fits.PrimaryHDU(samples, header)], overwrite=options.overwrite)

# %% [markdown]
# ## Simulated maps
# These are crops of maps whose seed no training used.

# %%
large = geometry.PixelGrid((1024, 1024), grid.pixel_scale)
simulator = simulate.ConvergenceSimulator(large, seed=options.seed + 10**7)
corners = [(r, c) for r in (0, 512) for c in (0, 512)]
crops = np.stack(
  [
    kappa[r : r + SIZE, c : c + SIZE]
    for kappa in simulator.maps(12 if options.full else 1)
    for r, c in corners
  ]
)

# %% [markdown]
# ## Side by side
# Error bars are standard errors over maps.

# %%
ell_edges = np.geomspace(400, 40000, 15)
ell = np.sqrt(ell_edges[1:] * ell_edges[:-1])
values = np.linspace(-0.08, 0.3, 41)
heights = np.linspace(0, 0.1, 11)

figure = mpl_figure.Figure(figsize=(13, 8), layout="constrained")
fields = figure.subfigures(2, 1, height_ratios=(1, 1))
panels = fields[0].subplots(1, 4, sharey=True)
curves = fields[1].subplots(1, 3)
extent = [0, SIZE * grid.pixel_scale.value] * 2
for index, (name, maps, color) in enumerate(
  (("simulated", crops, "k"), ("sample of the prior", samples, "C0"))
):
  for panel, kappa in zip(panels[2 * index : 2 * index + 2], maps):
    shown = panel.imshow(
      kappa, origin="lower", extent=extent, cmap="inferno", vmin=-0.05, vmax=0.2
    )
    panel.set(title=name, xlabel="arcmin")
  maps = maps - maps.mean(axis=(1, 2), keepdims=True)
  smooth = map_statistics.smooth(maps, grid, scale=1 * u.arcmin)
  for axis, x, y in (
    (
      curves[0],
      ell,
      ell**2 / (2 * np.pi) * spectra.band_power(maps, grid, edges=ell_edges),
    ),
    (
      curves[1],
      (values[1:] + values[:-1]) / 2,
      [np.histogram(kappa, values, density=True)[0] for kappa in maps],
    ),
    (
      curves[2],
      (heights[1:] + heights[:-1]) / 2,
      map_statistics.peak_counts(smooth, heights),
    ),
  ):
    error = np.std(y, axis=0, ddof=1) / np.sqrt(len(maps))
    axis.errorbar(x, np.mean(y, axis=0), error, color=color, label=name, marker=".")
  print(
    f"{name}: standard deviation {maps.std():.4f}, skewness"
    f" {map_statistics.skewness(maps).mean():.2f}, largest"
    f" {maps.max(axis=(1, 2)).mean():.2f} ({len(maps)} maps)"
  )
panels[0].set_ylabel("arcmin")
fields[0].colorbar(shown, ax=panels, label=r"convergence $\kappa$", extend="both")
curves[0].set(xscale="log", yscale="log", xlabel=r"multipole $\ell$")
curves[0].set_ylabel(r"$\ell^2 C_\ell / 2\pi$")
curves[1].set(yscale="log", xlabel=r"$\kappa$", ylabel="probability density")
curves[2].set(yscale="log", xlabel="height of peaks, smoothed by 1 arcmin")
curves[2].set_ylabel("peaks in a map")
curves[0].legend()
io.write_figure(
  picture, figure, settings=vars(options), overwrite=options.overwrite, dpi=120
)
print(f"wrote {product} and {picture}")
