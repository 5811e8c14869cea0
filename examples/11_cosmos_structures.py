# %% [markdown]
# # Structures in the COSMOS field, their probabilities, and X-ray clusters
#
#     python examples/11_cosmos_structures.py --data DIR [--full]
#
# Samples the posterior of the HST/ACS COSMOS field as `01_reconstruct_cosmos.py` does,
# lists the places where the aperture mass (starlets) of the samples exceeds 3 standard
# deviations, with the share of samples in which it does, and counts how many of the
# X-ray clusters of Finoguenov et al. (2006) have one within 1.5 arcmin, compared with
# chance. Writes `cosmos_structures.ecsv` and `cosmos_structures.png`. `--samples FILE`
# takes the `samples.fits` of that example instead of new samples.

# %%
import argparse
import pathlib

from astropy import units as u
from astropy.io import fits
import numpy as np

from tfp_massmap import catalog
from tfp_massmap import detection
from tfp_massmap import geometry
from tfp_massmap import io
from tfp_massmap import likelihood
from tfp_massmap import plot
from tfp_massmap import posterior
from tfp_massmap import priors
from tfp_massmap import samplers
from tfp_massmap import theory

parser = argparse.ArgumentParser(description="Structures of the COSMOS field.")
parser.add_argument("--data", required=True, type=pathlib.Path)
parser.add_argument("--output", default=pathlib.Path("."), type=pathlib.Path)
parser.add_argument("--samples", type=pathlib.Path, help="FITS cube of samples")
parser.add_argument("--num-samples", type=int)
parser.add_argument("--prior", default="universal", help="a trained prior")
parser.add_argument("--full", action="store_true", help="128 samples, not 32")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--overwrite", action="store_true")
options = parser.parse_args()
product = options.output / "cosmos_structures.ecsv"
picture = options.output / "cosmos_structures.png"
for path in (product, picture):
  io.check_writable(path, options.overwrite)

# %% [markdown]
# ## Samples

# %%
catalogue = catalog.read_schrabback2010(options.data)
grid = geometry.PixelGrid.plate_carree(
  center=(np.median(catalogue.ra), np.median(catalogue.dec)),
  shape=(360, 360),
  pixel_scale=1.74 * u.deg / 360,
)
shear_map = catalog.bin_catalogue(catalogue, grid, flip_e2=True)
xray = options.data / "xray.txt"
xray = xray if xray.is_file() else options.data.resolve().parent / "xray.txt"
ra, dec = np.loadtxt(xray, usecols=(1, 2)).T
if options.samples:
  samples, header = fits.getdata(options.samples, header=True)
  made = dict(io.read_settings(header), samples=options.samples.name)
else:
  sources = theory.SourceRedshifts.of_survey("cosmos")
  prior = priors.HybridPrior.load(options.prior, grid, sources=sources)
  target = posterior.Posterior(likelihood.ShearLikelihood(shear_map), prior)
  num_samples = options.num_samples or (128 if options.full else 32)
  samples = samplers.sample(target, num_samples, seed=options.seed).samples
  made = dict(prior=options.prior, card=prior.card["card_sha256"], seed=options.seed)

# %% [markdown]
# ## Structures

# %%
structures = detection.peak_probabilities(samples, grid, mask=shear_map.mask)
num_likely = np.sum(structures["probability"] >= 0.5)
print(
  f"{len(structures)} structures of probability 0.1 and more in {len(samples)}"
  f" samples, {num_likely} of 0.5 and more; the first:"
)
for row in structures[:8]:
  print(
    f"  RA {row['ra']:.4f}, Dec {row['dec']:.4f}: P = {row['probability']:.2f},"
    f" aperture mass {row['aperture_mass']:.4f}, {row['aperture_mass_low']:.4f} to"
    f" {row['aperture_mass_high']:.4f}"
  )

# %% [markdown]
# ## X-ray clusters
# Clusters are counted within the area where structures can be found, and in the whole
# catalogue. Chance is that of as many random positions in the area, or of the pattern
# of the clusters shifted.

# %%
region = detection.covered(shear_map.mask)
figures = {}
radius = 1.5 * u.arcmin
for least in (0.1, 0.3, 0.5):
  likely = structures[structures["probability"] >= least]
  for null in detection.NULLS:
    found = detection.match_positions(
      (likely["row"], likely["column"]),
      grid.world_to_pixel(ra, dec),
      region=region,
      grid=grid,
      radius=radius,
      null=null,
      num_random=10000 if options.full else 2000,
      seed=options.seed,
    )
    name = f"P {least:g} {null}"
    figures[name] = (
      f"{found.num_matched} of {found.num_inside}, by chance {found.expected:.1f} +-"
      f" {found.expected_std:.1f}, p = {found.p_value:.2g}"
    )
    print(f"P >= {least:g} ({len(likely)}), {null} null: {figures[name]}")
  everywhere = np.sum(found.separation <= radius.to_value(u.arcmin))
  figures[f"P {least:g} all"] = f"{everywhere} of {len(ra)}"
  print(f"  of all clusters in the catalogue: {everywhere} of {len(ra)}")

settings = dict(made, **figures, data="COSMOS, Schrabback et al. 2010")
io.write_table(product, structures, settings=settings, overwrite=options.overwrite)

# %%
mean = np.mean(samples, axis=0, dtype=np.float64)
figure, axes = plot.plot_maps(
  {
    f"Mean of {len(samples)} samples": mean,
    "Aperture mass of the mean": detection.aperture_mass(mean),
  },
  grid,
  mask=shear_map.mask,
  markers=(ra, dec),
  num_columns=2,
)
axes[1].images[0].set_clim(-0.01, 0.02)
likely = structures[structures["probability"] >= 0.3]
axes[1].scatter(
  likely["column"],
  likely["row"],
  s=90 * likely["probability"],
  marker="s",
  facecolors="none",
  edgecolors="white",
  linewidths=0.8,
)
figure.suptitle(
  "X-ray clusters (circles); structures of P > 0.3 (squares, area as probability)"
)
io.write_figure(picture, figure, settings=vars(options), overwrite=options.overwrite)
print(f"wrote {product} and {picture}")
