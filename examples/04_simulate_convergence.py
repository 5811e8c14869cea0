# %% [markdown]
# # Simulated convergence beside genuine kappaTNG
#
#     python examples/04_simulate_convergence.py [--data DIR] [--full]
#
# This example simulates maps of 5 x 5 deg and writes one as
# `simulated_convergence.fits`. If DIR holds `kappatng_uniform_weights_256_x10.npz`, it
# compares them with the ten genuine crops in that file: `simulated_convergence.png`
# shows a field of each, and the power, the one-point distribution and the peak counts
# of all. Without DIR, only the simulation is shown.

# %%
import argparse
import pathlib

from astropy import units as u
from astropy.io import fits
from matplotlib import figure as mpl_figure
import numpy as np

from tfp_massmap import geometry
from tfp_massmap import io
from tfp_massmap import map_statistics
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.simulate import source_planes

# The guard is needed because several processes make the maps.
if __name__ == "__main__":
  parser = argparse.ArgumentParser(description="Simulates convergence maps.")
  parser.add_argument("--data", type=pathlib.Path)
  parser.add_argument("--output", default=pathlib.Path("."), type=pathlib.Path)
  parser.add_argument("--overwrite", action="store_true")
  parser.add_argument("--full", action="store_true", help="25 maps, not 2")
  parser.add_argument("--seed", default=0, type=int)
  options = parser.parse_args()
  picture = options.output / "simulated_convergence.png"
  product = options.output / "simulated_convergence.fits"
  for path in (picture, product):
    io.check_writable(path, options.overwrite)

  # %% [markdown]
  # ## Maps
  # All source planes of kappaTNG have the same weight in the crops, and so they have
  # here.

  # %%
  PIXEL = 300 / 1024 * u.arcmin
  grid = geometry.PixelGrid((1024, 1024), PIXEL)
  simulator = simulate.ConvergenceSimulator(
    grid, source_planes.sources(np.full(40, 1 / 40)), seed=options.seed
  )
  maps = list(
    simulator.maps(
      25 if options.full else 2,
      num_processes=2 if options.full else 1,
      progress=True,
    )
  )

  header = grid.to_header()
  settings = dict(seed=options.seed, mode=simulator.mode, plane_weights="uniform")
  header.update(io.provenance_header(settings))
  image = fits.PrimaryHDU(maps[0], header)
  io.write_fits(product, [image], overwrite=options.overwrite)

  # %% [markdown]
  # ## Crops
  # Crops are 256 pixels, 1.25 deg, wide, and their means are removed, as those of the
  # genuine crops are.

  # %%
  crop_grid = geometry.PixelGrid((256, 256), PIXEL)
  tiles = np.stack(maps).reshape(-1, 4, 256, 4, 256).swapaxes(2, 3)
  crops = {"simulated": tiles.reshape(-1, 256, 256)}
  if options.data is not None:
    name = "kappatng_uniform_weights_256_x10.npz"
    paths = sorted(options.data.rglob(name))
    if not paths:
      raise SystemExit(f"No {name} in {options.data}.")
    with np.load(paths[0], allow_pickle=False) as file:
      crops["kappaTNG"] = file["kappa"]
  crops = {n: c - c.mean(axis=(1, 2), keepdims=True) for n, c in crops.items()}

  # %% [markdown]
  # ## Statistics
  # Opposite edges of a crop do not fit together, so a Hann window fades them out before
  # the Fourier transform. Error bars are standard errors over crops.

  # %%
  window = np.outer(np.hanning(256), np.hanning(256))
  window /= np.sqrt((window**2).mean())
  ell_edges = np.geomspace(500, 40000, 16)
  ell = np.sqrt(ell_edges[1:] * ell_edges[:-1])
  values = np.linspace(-0.05, 0.15, 41)
  heights = np.linspace(0, 0.06, 13)

  figure = mpl_figure.Figure(figsize=(11, 8), layout="constrained")
  fields = figure.subfigures(2, 1, height_ratios=(1.15, 1))
  panels = fields[0].subplots(1, 2, squeeze=False)[0]
  curves = fields[1].subplots(1, 3)
  for panel, (name, cut), color in zip(panels, crops.items(), ("C0", "k")):
    extent = [0, 256 * PIXEL.value] * 2
    shown = panel.imshow(
      cut[0], origin="lower", extent=extent, cmap="inferno", vmin=-0.03, vmax=0.1
    )
    panel.set(title=name, xlabel="arcmin", ylabel="arcmin")
    figure.colorbar(shown, ax=panel, label=r"convergence $\kappa$", extend="both")

    smooth = map_statistics.smooth(cut, crop_grid, scale=1 * u.arcmin)
    power = spectra.band_power(window * cut, crop_grid, edges=ell_edges)
    density = [np.histogram(c, values, density=True)[0] for c in cut]
    peaks = map_statistics.peak_counts(smooth, heights)
    for axis, x, y in (
      (curves[0], ell, ell**2 / (2 * np.pi) * power),
      (curves[1], (values[1:] + values[:-1]) / 2, density),
      (curves[2], (heights[1:] + heights[:-1]) / 2, peaks),
    ):
      error = np.std(y, axis=0, ddof=1) / np.sqrt(len(cut))
      axis.errorbar(x, np.mean(y, axis=0), error, color=color, label=name, marker=".")
    moments = [map_statistics.skewness(m).mean() for m in (cut, smooth)]
    print(
      f"{name}: standard deviation {cut.std():.4f}, skewness {moments[0]:.2f},"
      f" after 1 arcmin {moments[1]:.2f} ({len(cut)} crops)"
    )
  if len(crops) == 1:
    panels[1].set_visible(False)
  curves[0].set(xscale="log", yscale="log", xlabel=r"multipole $\ell$")
  curves[0].set_ylabel(r"$\ell^2 C_\ell / 2\pi$ of a crop")
  curves[1].set(yscale="log", xlabel=r"$\kappa$", ylabel="probability density")
  curves[2].set(yscale="log", xlabel=r"height of peaks, smoothed by 1 arcmin")
  curves[2].set_ylabel("peaks in a crop (1.6 deg$^2$)")
  curves[0].legend()
  io.write_figure(
    picture, figure, settings=vars(options), overwrite=options.overwrite, dpi=130
  )
  print(f"wrote {product} and {picture}")
