# %% [markdown]
# # Clusters added to a mock field, and the share of posterior samples that detect them
#
#     python examples/09_detect_clusters.py [--full]
#
# Figures 8, 9 and F.1 of Remy et al. (2022): the shear of NFW haloes at redshift 0.5 is
# added to a simulated field, samples of the posterior are filtered by starlets, and a
# cluster is detected where the filtered sample exceeds three standard deviations of the
# filtered field without it, within 1.5 arcmin of its place. Writes `cluster_*.png` and
# `cluster_detections.ecsv`.

# %%
import argparse
import pathlib
import shutil

from astropy import units as u
from astropy.table import Table
import numpy as np
from scipy import stats

from tfp_massmap import baselines
from tfp_massmap import calibration
from tfp_massmap import detection
from tfp_massmap import geometry
from tfp_massmap import io
from tfp_massmap import priors
from tfp_massmap import resumable
from tfp_massmap import simulate
from tfp_massmap import theory
from tfp_massmap.detection import figures

parser = argparse.ArgumentParser(description="Detects injected clusters.")
parser.add_argument("--output", default=pathlib.Path("."), type=pathlib.Path)
parser.add_argument("--prior", default="universal", help="name, or path of a card")
parser.add_argument("--threshold", default=3.0, type=float)
parser.add_argument("--full", action="store_true", help="6 fields, 40 samples each")
parser.add_argument("--seed", default=0, type=int)
parser.add_argument("--overwrite", action="store_true")
options = parser.parse_args()
names = ("histograms.png", "detection_rate.png", "cutouts.png", "detections.ecsv")
paths = [options.output / f"cluster_{name}" for name in names]
for path in paths:
  io.check_writable(path, options.overwrite)
num_fields, num_samples, SIZE = (6, 40, 128) if options.full else (2, 12, 64)
SHOWN = (9e13, 3e14, 6e14)  # the paper's masses
SCALE = 4  # an aperture of 4.6 arcmin, as wide as these haloes
masses, concentrations = [*SHOWN, 1.5e15], {1.0: "c = 1"}
if options.full:
  masses = sorted([*masses, 1.8e14, 4.5e14, 8e14, 1.1e15, 2e15])
  concentrations[None] = "c of Duffy et al. (2008)"

# %% [markdown]
# ## Fields without a cluster
# These are parts of a simulated map that no training has used, observed by one survey.
# The standard deviation of the background is that of the whole map.

# %%
SKY = 1024 if options.full else 512
large = geometry.PixelGrid((SKY, SKY), 0.29 * u.arcmin)
grid = geometry.PixelGrid((SIZE, SIZE), large.pixel_scale)
simulator = simulate.ConvergenceSimulator(large, seed=40_000_000 + options.seed)
sky = next(iter(simulator.maps(1)))
std = detection.background_std(sky, SCALE)
corners = np.random.default_rng(options.seed).integers(0, SKY - SIZE, [num_fields, 2])
survey = simulate.uniform_survey(64.2 / u.arcmin**2, 0.305)
empty = simulate.mock_observation(
  0 * sky[:SIZE, :SIZE], grid, survey=survey, seed=options.seed
)
fields = [sky[r : r + SIZE, c : c + SIZE] for r, c in corners]
first = 1000 * options.seed
mocks = [
  simulate.observe_like(f, empty, seed=first + 100 + k) for k, f in enumerate(fields)
]
noise = [
  simulate.observe_like(np.zeros(grid.shape), empty, seed=first + k) for k in range(20)
]
noise = [baselines.kaiser_squires.estimate(n, 0 * u.arcmin).kappa for n in noise]
backgrounds = {
  "simulated field": detection.aperture_mass(sky, SCALE) / std,
  "noise of the data": detection.aperture_mass(noise, SCALE) / std,
}
for name, values in backgrounds.items():
  skewness, kurtosis = stats.skew(values, None), stats.kurtosis(values, None)
  print(
    f"{name}: standard deviation {values.std():.2f}, skewness {skewness:.2f},"
    f" kurtosis {kurtosis:.2f}"
  )

# %% [markdown]
# ## Samples with clusters of every mass
# All have the same noise and the same seed of the sampler. An interrupted run resumes.

# %%
sources = theory.SourceRedshifts.of_survey("cosmos")
prior = priors.HybridPrior.load(options.prior, grid, sources=sources)
sample = calibration.guided_sampler(prior, num_samples, batch_size=20)
center = (SIZE // 2, SIZE // 2)
zoom = slice(SIZE // 2 - 24, SIZE // 2 + 24)
kinds = [(1.0, 0.0), *((c, mass) for c in concentrations for mass in masses)]
cases = [(*kind, index) for kind in kinds for index in range(num_fields)]


def draw(number):
  concentration, mass, index = cases[number]
  observed, snr = mocks[index], 0.0
  if mass:
    observed, kappa = detection.inject_cluster(
      observed, mass * u.Msun, concentration=concentration, center=center
    )
    snr = detection.input_snr(kappa, std, scale=SCALE)
  samples = sample(observed, first + index)
  highest = detection.highest_coefficient(samples, grid, centers=center, scale=SCALE)
  cutouts = detection.aperture_mass(samples, SCALE)[:, zoom, zoom] / std
  return dict(snr=snr, highest=highest / std, cutouts=cutouts)


settings = dict(
  prior=options.prior,
  card=prior.card["card_sha256"],
  seed=options.seed,
  fields=num_fields,
  full=options.full,
  threshold=options.threshold,
  scale=SCALE,
  background_std=std,
)
records = options.output / "cluster_records"
drawn = resumable.collect(draw, len(cases), folder=records, label=settings, unit="mock")

# %%
peaks = drawn["highest"]
detected = np.sum(peaks > options.threshold, axis=1)
rates = detected.reshape([len(kinds), num_fields]) / num_samples
for (concentration, mass), snr, some in zip(kinds, drawn["snr"][::num_fields], rates):
  scatter = f" +- {stats.sem(some):.3f} over fields" if num_fields > 1 else ""
  label = f"{concentrations[concentration]}, {mass:.1e} Msun, SNR {snr:.2f}"
  print(f"{label}: detected in {some.mean():.3f}{scatter}")

concentration, mass, field = zip(*cases)
table = Table(
  dict(
    concentration=np.array(concentration, float),
    mass=mass * u.Msun,
    snr=drawn["snr"],
    field=field,
    detected=detected,
    num_samples=np.full(len(cases), num_samples),
    highest=peaks,
  )
)
table["highest"].description = "aperture mass near the place / background, each sample"
io.write_table(paths[3], table, settings=settings, overwrite=options.overwrite)

# %% [markdown]
# ## Figures

# %%
highest = dict(zip(kinds, peaks.reshape([len(kinds), -1])))
shown = {"samples, no cluster": highest[1.0, 0.0]}
for mass in SHOWN:
  label = rf"samples, $M = {mass / 1e14:g} \times 10^{{14}}\,M_\odot$"
  shown[label] = highest[1.0, mass]
series = {
  label: table[np.isnan(table["concentration"]) == (value is None)]
  for value, label in concentrations.items()
}
rate = [table[table["mass"] == 0][name] for name in ("detected", "num_samples")]
even = np.argmin(np.abs(detected / num_samples - 0.5))
for path, (figure, _) in zip(
  paths,
  (
    figures.plot_coefficients(backgrounds, shown, threshold=options.threshold),
    figures.plot_detection_rate(series, rate, threshold=options.threshold),
    figures.plot_cutouts(
      drawn["cutouts"][even], peaks[even], grid=grid, threshold=options.threshold
    ),
  ),
):
  io.write_figure(path, figure, settings=settings, overwrite=options.overwrite)
shutil.rmtree(records)
print(f"wrote {', '.join(map(str, paths))}")
