# %% [markdown]
# # The COSMOS field from its shape catalogue
#
# This example bins the HST/ACS catalogue of Schrabback et al. (2010), samples the
# posterior of the convergence, and shows it with the X-ray clusters of Finoguenov et
# al. (2006).
#
#     python examples/01_reconstruct_cosmos.py --data DIR
#
# DIR holds `ra`, `dec`, `e1`, `e2` and `nhweight_int` `.fits` of
# https://github.com/CosmoStat/jax-lensing (data/COSMOS). `xray.txt` is there or one
# folder up. Without flags it draws 8 samples. With `--full` it draws 64, and maps the
# probabilities that the convergence exceeds 0.05 and 0.1. The same command resumes an
# interrupted run. `--method annealed` uses the sampler of Remy et al. (2022), for
# comparison.

# %%
import argparse
import pathlib

from astropy import units as u
import numpy as np

from tfp_massmap import catalog
from tfp_massmap import geometry
from tfp_massmap import io
from tfp_massmap import reconstruction
from tfp_massmap import samplers
from tfp_massmap import sign_check
from tfp_massmap import theory

parser = argparse.ArgumentParser(description="Reconstructs the COSMOS field.")
parser.add_argument("--data", required=True, type=pathlib.Path)
parser.add_argument("--output", default=pathlib.Path("cosmos"), type=pathlib.Path)
parser.add_argument("--full", action="store_true")
parser.add_argument("--num-samples", type=int)
parser.add_argument("--method", default="guided", choices=sorted(samplers.METHODS))
parser.add_argument("--prior", default="universal", help="name or path of a prior")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--overwrite", action="store_true")
options = parser.parse_args()
for name in ("posterior.fits", "posterior.png"):
  io.check_writable(options.output / name, options.overwrite)
num_samples = options.num_samples or (64 if options.full else 8)

# %% [markdown]
# ## Catalogue to maps
#
# The grid is the box of the released maps: 0.87 deg to each side of the median
# position, with right ascension not scaled by cos(dec). The x axis of the catalogue
# runs to the west, so e2 changes sign.

# %%
catalogue = catalog.read_schrabback2010(options.data)
num_pixels = 360
grid = geometry.PixelGrid.plate_carree(
  center=(np.median(catalogue.ra), np.median(catalogue.dec)),
  shape=(num_pixels, num_pixels),
  pixel_scale=1.74 * u.deg / num_pixels,
)
shear_map = catalog.bin_catalogue(catalogue, grid, flip_e2=True)
print(
  f"{len(catalogue)} galaxies; {shear_map.mask.mean():.1%} of {num_pixels}^2 pixels"
  f" measured\n{sign_check.check_handedness(shear_map)}"
)
xray = options.data / "xray.txt"
xray = xray if xray.is_file() else options.data.resolve().parent / "xray.txt"
cluster_ra, cluster_dec = np.loadtxt(xray, usecols=(1, 2)).T

# %% [markdown]
# ## Posterior samples, and their mean at the known clusters

# %%
result = reconstruction.reconstruct(
  shear_map,
  options.prior,
  sources=theory.SourceRedshifts.of_survey("cosmos"),
  num_samples=num_samples,
  seed=options.seed,
  sampler=reconstruction.Sampler(options.method),
  products=reconstruction.Products(
    options.output / "samples.fits",
    overwrite=options.overwrite,
    thresholds=(0.05, 0.1) if options.full else (),
    header={"data": "COSMOS, Schrabback et al. 2010"},
  ),
)
samples = result.sample_set
print(
  f"{num_samples} samples, {samples.num_score_evaluations:.0f} score evaluations"
  f" each, {samples.seconds:.0f} s"
)

row, column = (
  np.rint(p).astype(int) for p in grid.world_to_pixel(cluster_ra, cluster_dec)
)
inside = (row >= 0) & (row < num_pixels) & (column >= 0) & (column < num_pixels)
inside[inside] = shear_map.mask[row[inside], column[inside]]
at_clusters = result.summary.mean[row[inside], column[inside]]
error = at_clusters.std(ddof=1) / np.sqrt(inside.sum())
print(
  f"Mean kappa at {inside.sum()} X-ray clusters: {at_clusters.mean():.4f} +-"
  f" {error:.4f}; in the whole mask: {result.summary.mean[shear_map.mask].mean():.4f}"
)

# %%
result.save_products(
  options.output / "posterior.fits",
  options.output / "posterior.png",
  overwrite=options.overwrite,
  markers=(cluster_ra, cluster_dec),
  title="COSMOS: posterior of the convergence, and X-ray clusters (circles)",
)
print(f"Wrote {options.output}/posterior.fits, posterior.png and samples.fits")
