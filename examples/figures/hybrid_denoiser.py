# %% [markdown]
# # Figure 3 of Remy et al. (2022): the components of the hybrid denoiser
#
#     python examples/figures/hybrid_denoiser.py [--data DIR] [--full]
#
# The figure shows a convergence map with noise of standard deviation 0.15 a pixel, as
# in the paper, and of 0.05. Beside it are the estimate of the Gaussian component of the
# denoiser, the correction by the network, and their sum. `--full` adds two noise
# levels. The script writes `hybrid_denoiser.png`.

# %%
import argparse

from astropy import units as u
from matplotlib import figure as mpl_figure
import numpy as np
import paper_mock
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import io
from tfp_massmap import priors

parser = argparse.ArgumentParser(description="Figure 3 of Remy et al. (2022).")
paper_mock.add_options(parser, "four noise levels instead of two")
parser.add_argument("--prior", default="cosmos-halo", help="name or path of a prior")
options = parser.parse_args()
picture = options.output / "hybrid_denoiser.png"
io.check_writable(picture, options.overwrite)
sigmas = (0.5, 0.15, 0.05, 0.02) if options.full else (0.15, 0.05)

# %%
kappa, name = paper_mock.truth(options.data, options.seed)
kappa = kappa - kappa.mean()
grid = geometry.PixelGrid(kappa.shape, 1.74 * 60 / kappa.shape[0] * u.arcmin)
prior = priors.HybridPrior.load(options.prior, grid)
white = np.random.default_rng(options.seed).standard_normal(kappa.shape)
width = grid.extent[1].value
style = dict(origin="lower", extent=(0, width, 0, width), cmap="inferno")

size = (15.5, 2.9 * len(sigmas) + 0.3)
figure = mpl_figure.Figure(figsize=size, layout="constrained")
axes = figure.subplots(len(sigmas), 5, sharex=True, sharey=True, squeeze=False)
for row, sigma in zip(axes, sigmas):
  noisy = tf.constant((kappa + sigma * white)[np.newaxis], tf.float32)
  gaussian = prior.gaussian.denoise(noisy, sigma)[0].numpy()
  hybrid = prior.denoise(noisy, sigma)[0].numpy()
  panels = (
    (rf"(a) with noise, $\sigma$ = {sigma:g}", noisy[0], (-3 * sigma, 3 * sigma)),
    (f"(b) {name}", kappa, (-0.05, 0.2)),
    ("(c) Gaussian denoiser", gaussian, (-0.05, 0.2)),
    ("(d) correction by the network", hybrid - gaussian, (-0.05, 0.2)),
    ("(e) hybrid denoiser", hybrid, (-0.05, 0.2)),
  )
  for axis, (title, values, limits) in zip(row, panels):
    image = axis.imshow(values, **style, vmin=limits[0], vmax=limits[1])
    axis.set_title(title, fontsize=10)
  figure.colorbar(row[0].images[0], ax=row[0], extend="both", pad=0.02)
  bar = figure.colorbar(image, ax=row[1:], extend="both", pad=0.01)
  bar.set_label(r"convergence $\kappa$")
  row[0].set_ylabel("arcmin")
  error = [np.mean((estimate - kappa) ** 2) for estimate in (gaussian, hybrid)]
  print(
    f"sigma {sigma}: root mean square error {error[0] ** 0.5:.4f} Gaussian,"
    f" {error[1] ** 0.5:.4f} hybrid; ratio of the squares {error[1] / error[0]:.3f}"
  )
for axis in axes[-1]:
  axis.set_xlabel("arcmin")
io.write_figure(picture, figure, settings=vars(options), overwrite=options.overwrite)
print(f"wrote {picture}")
