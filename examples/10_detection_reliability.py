# %% [markdown]
# # Is the share of samples with a cluster its probability?
#
#     python examples/10_detection_reliability.py [--full]
#
# Mocks with and without a cluster are sampled, and clusters are detected as in
# `09_detect_clusters.py`. Of the places where a share p of the samples detects
# something, the truth should have it in a share p. Three tests are made:
#
# - Half of the Gaussian fields have a cluster of 3e14 solar masses. They are sampled
#   exactly under the prior they are drawn from (`detection.ClusterMixture`).
# - Simulated fields are sampled under the trained prior. Places are fixed in advance.
# - A cluster is added to the same fields. The prior does not include these clusters, so
#   shares below the truth are no fault of the samples.
#
# Writes `detection_reliability.png` and `detection_reliability.ecsv`. An interrupted
# run resumes.

# %%
import argparse
import pathlib
import shutil

from astropy import units as u
import numpy as np

from tfp_massmap import calibration
from tfp_massmap import detection
from tfp_massmap import geometry
from tfp_massmap import io
from tfp_massmap import priors
from tfp_massmap import resumable
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap import theory
from tfp_massmap.detection import figures

parser = argparse.ArgumentParser(description="Reliability of detections.")
parser.add_argument("--output", default=pathlib.Path("."), type=pathlib.Path)
parser.add_argument("--prior", default="universal", help="name, or path of a card")
parser.add_argument("--threshold", default=2.0, type=float)
parser.add_argument("--full", action="store_true", help="96 simulated fields, not 1")
parser.add_argument("--seed", default=0, type=int)
parser.add_argument("--overwrite", action="store_true")
options = parser.parse_args()
picture = options.output / "detection_reliability.png"
product = options.output / "detection_reliability.ecsv"
for path in (picture, product):
  io.check_writable(path, options.overwrite)
num_mocks, num_fields, SIZE = (200, 96, 128) if options.full else (12, 1, 64)
NUM_SAMPLES, SCALE, MASS = 31, 4, 3e14 * u.Msun
EDGES = np.linspace(0, 1, 6)
settings = dict(
  prior=options.prior,
  seed=options.seed,
  full=options.full,
  scale=SCALE,
  threshold=options.threshold,
  num_samples=NUM_SAMPLES,
)
records = options.output / "detection_records"

grid = geometry.PixelGrid((SIZE, SIZE), 0.29 * u.arcmin)
survey = simulate.uniform_survey(64.2 / u.arcmin**2, 0.305)
middle = (SIZE // 2, SIZE // 2)
first = 1000 * options.seed  # of the seeds of noise and samples
empty = simulate.mock_observation(
  np.zeros(grid.shape), grid, survey=survey, seed=options.seed
)
kappa_cluster = detection.inject_cluster(empty, MASS, center=middle)[1]


def detects(maps, places, std):
  highest = detection.highest_coefficient(maps, grid, centers=places, scale=SCALE)
  return highest > options.threshold * std


# %% [markdown]
# ## A known prior

# %%
gaussian = priors.GaussianPrior.from_spectrum(
  spectra.PowerSpectrum.fiducial_cosmos(), grid
)
known = detection.ClusterMixture(gaussian, kappa_cluster - kappa_cluster.mean())
std = detection.background_std(gaussian.sample([50], (options.seed, 0)), SCALE)


def draw_known(mock):
  kappa, has_cluster = known.draw((options.seed, 2 * mock + 1))
  observed = simulate.observe_like(kappa, empty, seed=first + mock)
  seed = (options.seed, 2 * mock + 2)
  drawn, _ = known.sample(observed, NUM_SAMPLES, seed=seed, rtol=1e-4)
  found = [detects(maps, middle, std) for maps in (drawn, kappa[np.newaxis])]
  return dict(samples=found[0], truth=found[1][0], present=has_cluster)


run = lambda step, num, name: resumable.collect(
  step, num, folder=records / name, label=settings
)
found = run(draw_known, num_mocks, "known")
results = {
  "known prior": detection.reliability(found["samples"], found["truth"], edges=EDGES)
}
share, present = found["samples"].mean(axis=1), found["present"]
print(
  f"known prior: share of samples {share[present].mean():.2f} with a cluster,"
  f" {share[~present].mean():.2f} without"
)

# %% [markdown]
# ## The trained prior
# The places are the middle of every field, and eight places around it.

# %%
SKY = 1024 if options.full else 512
large = geometry.PixelGrid((SKY, SKY), grid.pixel_scale)
simulator = simulate.ConvergenceSimulator(large, seed=50_000_000 + options.seed)
starts = range(0, SKY - SIZE, 256)
corners = [(row, column) for row in starts for column in starts]
skies = list(simulator.maps(-(-num_fields // len(corners))))
std = detection.background_std(skies, SCALE)
sources = theory.SourceRedshifts.of_survey("cosmos")
prior = priors.HybridPrior.load(options.prior, grid, sources=sources)
sample = calibration.guided_sampler(prior, NUM_SAMPLES, batch_size=NUM_SAMPLES)
places = np.meshgrid(*[SIZE // 2 + np.array([-0.3, 0, 0.3]) * SIZE] * 2)
places = tuple(axis.ravel() for axis in places)
settings |= dict(card=prior.card["card_sha256"], background_std=std)


def draw_trained(index):
  row, column = corners[index % len(corners)]
  field = skies[index // len(corners)][row : row + SIZE, column : column + SIZE]
  field = field - field.mean()
  plain = simulate.observe_like(field, empty, seed=first + index)
  with_cluster, _ = detection.inject_cluster(plain, MASS, center=middle)
  pairs = (plain, field), (with_cluster, field + kappa_cluster)
  drawn = [
    detects(sample(shear_map, first + index), places, std) for shear_map, _ in pairs
  ]
  truths = [detects(truth[np.newaxis], places, std)[0] for _, truth in pairs]
  return dict(samples=drawn, truths=truths)


found = run(draw_trained, num_fields, "trained")
samples, truths = found["samples"], found["truths"]
for name, drawn, truth in (
  ("trained prior, simulated fields", samples[:, 0].swapaxes(1, 2), truths[:, 0]),
  ("trained prior, injected clusters", samples[..., 4], truths[..., 4]),  # the middle
):
  drawn = drawn.reshape([-1, NUM_SAMPLES])
  results[name] = detection.reliability(drawn, truth.ravel(), edges=EDGES)

# %%
table = detection.reliability_table(results)
io.write_table(product, table, settings=settings, overwrite=options.overwrite)
for name, result in results.items():
  number = result.count.sum()
  print(f"{name}: {number} cases, z = {result.z:.2f}, p = {result.p_value:.2g}")
figure, _ = figures.plot_reliability(results)
io.write_figure(picture, figure, settings=settings, overwrite=options.overwrite)
shutil.rmtree(records)
print(f"wrote {picture} and {product}")
