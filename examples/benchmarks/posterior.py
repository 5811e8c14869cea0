"""Guided posterior samples: exactness, time, errors, calibration.

    python examples/benchmarks/posterior.py [SECTION ...] [--data DIR] [--full]
        [--prior NAME] [--size N] [--seeds N] [--samples DIR] [--json FILE]

360 x 360 pixels of 0.29 arcmin, mask and noise of the released COSMOS maps with --data,
else of a survey like it; N x N in their middle for `calibration` and `refine`. With
--samples, those of `genuine` are kept, 33 MB a seed, and what these two have found, and
the same command goes on where it was stopped. Sections, by default all:

  gaussian     Gaussian prior, against exact posterior samples: power in 8 Fourier bands,
               bias of the mean in standard deviations of the posterior without the scatter
               of samples, for 6 to 24 evaluations. Also against the same with 10 times as
               many, from the same random numbers, which shows the discretisation without
               the scatter of samples; and annealed HMC.
  time         seconds a sample and peak memory with the trained prior; time per pixel at
               720 and 1440 over that at 360.
  genuine      errors of the posterior mean on the kappaTNG field (needs --data), the
               error of a finite number of samples removed; correlation per band and
               error per true kappa, beside the Wiener filter's.
  calibration  simulated truths that no training saw: the tests of `calibration`.
  refine       guided against guided+hmc, on simulated truths: means, and maps of the
               standard deviation.
"""

import argparse
import dataclasses
import json
import pathlib
import resource
import time

from astropy import units as u
from astropy.io import fits
import cosmos_survey
import map_scores
import numpy as np
import tensorflow as tf

from tfp_massmap import baselines
from tfp_massmap import calibration
from tfp_massmap import gaussian_posterior
from tfp_massmap import geometry
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import resumable
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.samplers import annealed
from tfp_massmap.samplers import guided
from tfp_massmap.samplers import guided_hmc

PIXEL = 0.29 * u.arcmin
GRID = geometry.PixelGrid((360, 360), PIXEL)
SEED = 30_000_000  # of the simulator; trainings use small ones
NUM_BANDS = 8
MEAN_EDGES = np.array([-1, -0.02, 0, 0.02, 0.05, 0.1, 2])


def make_posterior(shear_map, prior):
  return posterior_lib.Posterior(likelihood_lib.ShearLikelihood(shear_map), prior)


def run_label(survey, prior, num, settings):
  """What decides the samples of `calibration` and `refine`."""
  depth = f"{survey.mask.sum()} of {survey.mask.shape} pixels measured, noise"
  noise = np.mean(survey.noise_std[:, survey.mask])
  card = prior.card["card_sha256"][:16]
  return f"{depth} {noise:.6f}, {num} samples, prior {card}, {settings}"


def simulated_truths(num, size):
  """Crops of simulated maps, one each, mean removed."""
  simulator = simulate.ConvergenceSimulator(
    geometry.PixelGrid((1024, 1024), PIXEL), seed=SEED
  )
  crops = np.stack([kappa[:size, :size] for kappa in simulator.maps(num)])
  return crops - crops.mean(axis=(1, 2), keepdims=True)


def in_the_middle(options, survey):
  """Survey and prior on the inner pixels that --size asks for."""
  survey = cosmos_survey.center(survey, options.size)
  return survey, priors.HybridPrior.load(options.prior, survey.grid)


def band_power(maps, edges):
  return spectra.band_power(maps, GRID, edges=edges)


def row(name, values, form="{:7.3f}"):
  print(f"{name:>34s} " + " ".join(form.format(v) for v in values), flush=True)


def squared_bias(maps, mean, std):
  """Squared bias of the mean of maps, in units of the variance, and its error.

  From products of pairs of different maps, so that their scatter does not add to it; it
  may be negative by chance.
  """
  relative = ((maps - mean) / std).reshape(len(maps), -1)
  products = relative @ relative.T / relative.shape[1]
  pairs = products[np.triu_indices(len(maps), 1)]
  return pairs.mean(), pairs.std(ddof=1) / np.sqrt(len(pairs))


def print_bias(figures, maps, mean, std):
  squared, error = squared_bias(maps, mean, std)
  figures.update(squared_bias=float(squared), squared_bias_error=float(error))
  print(
    f"{'':35s}bias of the mean {max(squared, 0) ** 0.5:.4f} std, below"
    f" {max(squared + 2 * error, 0) ** 0.5:.4f} (squared {squared:.5f} +- {error:.5f})"
  )


def gaussian_section(options, survey, prior):
  gaussian = prior.gaussian
  truth = gaussian.sample(seed=(0, 1)).numpy()
  posterior = make_posterior(simulate.observe_like(truth, survey, seed=1), gaussian)
  likelihood = posterior.likelihood
  edges = spectra.band_edges(GRID, NUM_BANDS)
  mean = gaussian_posterior.mean(likelihood, gaussian, rtol=1e-6)[0].numpy()
  num = 64 if options.full else 32
  draw_exact = lambda seed, n: np.concatenate(
    [
      gaussian_posterior.sample(likelihood, gaussian, num_samples=32, seed=(seed, i))
      for i in range(n // 32)
    ]
  )
  # Many exact draws, so that the scatter is that of the samples alone.
  exact = draw_exact(5, 16 * num)
  power = band_power(exact - mean, edges)
  std = exact.std(axis=0)
  scatter = power.std(axis=0) / power.mean(axis=0)
  print(
    f"\nGaussian prior: power of {num} samples over that of {len(exact)} exact ones"
  )
  row("lowest ell of the band", edges[:-1], "{:7.0f}")
  row("expected scatter", scatter / np.sqrt(num))
  row(
    f"{num} exact ones",
    band_power(draw_exact(6, num) - mean, edges).mean(axis=0) / power.mean(axis=0),
  )
  figures = {}
  for settings in (
    guided.GuidedSettings(num_steps=6, sweeps=()),
    guided.GuidedSettings(num_steps=12, sweeps=()),
    guided.GuidedSettings(sweeps=(0.9, 0.1), sweep_steps=6),
    guided.GuidedSettings(),
  ):
    fine = dataclasses.replace(
      settings, num_steps=settings.num_steps and 100, sweep_steps=60, tolerance=1e-4
    )
    reference = posterior.sample(
      num, 1, seed="guided", rtol=fine, progress=False
    ).samples
    result = posterior.sample(num, 1, seed="guided", rtol=settings, progress=False)
    powers, own = (
      band_power(maps - mean, edges).mean(axis=0)
      for maps in (result.samples, reference)
    )
    ratio, paired = powers / power.mean(axis=0), powers / own
    bias = np.sqrt(np.mean((result.samples - reference).mean(axis=0) ** 2 / std**2))
    name = (
      f"{settings.num_score_evaluations} evaluations, {len(settings.sweeps)} sweeps"
    )
    figures[name] = dict(
      power=ratio.tolist(),
      power_over_converged=paired.tolist(),
      bias=float(bias),
      iterations=result.diagnostics["conjugate-gradient iterations"],
    )
    row(name, ratio)
    row("the same over the converged one", paired)
    print(
      f"{'':35s}mean within {bias:.4f} std of the converged one's;"
      f" {figures[name]['iterations']:.0f} CG iterations"
    )
    print_bias(figures[name], result.samples, mean, std)
  result = annealed.sample(posterior, num, seed=1, progress=False)
  ratio = band_power(result.samples - mean, edges).mean(axis=0) / power.mean(axis=0)
  figures["annealed"] = dict(
    power=ratio.tolist(), evaluations=result.num_score_evaluations
  )
  row(f"annealed, {result.num_score_evaluations:.0f} evaluations", ratio)
  print_bias(figures["annealed"], result.samples, mean, std)
  return figures


def time_section(options, survey, prior):
  posterior = make_posterior(survey, prior)
  figures = {}
  print(f"\nTime with the trained prior, {prior.compute_dtype}")
  base = None
  for size, batch in ((360, 8), (720, 2), (1440, 1)):
    if size > 360:
      if size > 720 and not options.full:
        continue
      tiles = size // 360
      mask = np.tile(survey.mask, (tiles, tiles))
      grid = geometry.PixelGrid((size, size), PIXEL)
      tiled = dataclasses.replace(
        survey,
        shear=np.tile(survey.shear, (1, tiles, tiles)),
        mask=mask,
        grid=grid,
        noise_std=np.tile(survey.noise_std, (1, tiles, tiles)),
        count=None,
      )
      larger = priors.HybridPrior.load(options.prior, grid)
      posterior = make_posterior(tiled, larger)
    settings = guided.GuidedSettings()
    compiled = tf.function(
      lambda seed, p=posterior, b=batch: guided.draw(
        p, b, seed=seed, settings=settings
      )[0]
    )
    compiled(tf.constant([0, 0]))
    start = time.perf_counter()
    for seed in range(2):
      compiled(tf.constant([1, seed])).numpy()
    seconds = (time.perf_counter() - start) / 2 / batch
    base = base or seconds
    per_pixel = seconds / base * (360 / size) ** 2
    figures[size] = dict(seconds=seconds, time_per_pixel_ratio=per_pixel)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    figures[size]["peak_memory_gib"] = memory
    print(
      f"{size:6d} pixels a side: {seconds:7.2f} s a sample"
      f" ({settings.num_score_evaluations} evaluations), {per_pixel:.2f} times that of 360 per pixel; process at most"
      f" {memory:.2f} GiB",
      flush=True,
    )
  return figures


def mean_error(samples, truth):
  """Rms error of the mean of samples `[n, pixels]`, without the samples' own part."""
  squared = np.mean((samples.mean(axis=0) - truth + truth.mean()) ** 2)
  return np.sqrt(squared - np.mean(samples.var(axis=0, ddof=1)) / len(samples))


def genuine_section(options, survey, prior):
  if options.data is None:
    print("\nThe genuine field needs --data.")
    return {}
  path = cosmos_survey.find(options.data, "ktng_kappa360v2.fits")
  truth = fits.getdata(path).astype(np.float64)
  mask = survey.mask
  num_seeds, num = (8, 64) if options.full else (2, 16)
  num_seeds = options.seeds or num_seeds
  edges = np.geomspace(500, 10000, 7)
  found = {"Posterior mean": [], "with its scatter": [], "Wiener": []}
  power = []
  for seed in range(num_seeds):
    shear_map = simulate.observe_like(truth, survey, seed=seed)
    wiener = baselines.wiener.estimate(shear_map, prior.gaussian).kappa
    output = options.samples and options.samples / f"genuine_{num}_seed{seed}.fits"
    result = make_posterior(shear_map, prior).sample(num, seed, output=output)
    samples = np.asarray(result.samples, np.float64)
    mean = samples.mean(axis=0)
    free, raw, other = (
      map_scores.score(kappa, truth, mask, GRID, *more)
      for kappa, *more in ((mean, samples), (mean,), (wiener,))
    )
    for scores, score in zip(found.values(), (free, raw, other)):
      scores.append(score)
    power.append(band_power(samples, edges).mean(axis=0))
    maxima = np.median(samples[:, mask].max(axis=1)), truth[mask].max()
    print(
      f"  seed {seed}: RMSE {100 * free.rmse:.3f}e-2 (with the samples' part"
      f" {100 * raw.rmse:.3f}), Wiener {100 * other.rmse:.3f}; r {free.r:.4f}"
      f" ({raw.r:.4f}), Wiener {other.r:.4f}; maxima {maxima[0]:.2f}, truth"
      f" {maxima[1]:.2f}",
      flush=True,
    )
  print(f"Genuine field, {num_seeds} seeds, {num} samples")
  map_scores.print_tables(found, ["Wiener"])
  row("lowest ell of the band", edges[:-1], "{:7.0f}")
  power = np.mean(power, axis=0)
  # The Gaussian half has the power of all maps; this field is one of them.
  ensemble = band_power(prior.gaussian.sample([100], seed=(0, 2)).numpy(), edges)
  row("power of samples over the field's", power / band_power(truth, edges))
  row("over that of all maps", power / ensemble.mean(axis=0))
  row(
    "the field's over that of all maps",
    band_power(truth, edges) / ensemble.mean(axis=0),
  )
  row("scatter of one field", ensemble.std(axis=0) / ensemble.mean(axis=0))
  figures = dict(
    seeds_better_than_wiener=int(
      np.sum([a.rmse < b.rmse for a, _, b in zip(*found.values())])
    ),
    power=power.tolist(),
    power_over_field=(power / band_power(truth, edges)).tolist(),
  )
  for suffix, scores in zip(("", "_raw", "_wiener"), found.values()):
    for name in ("rmse", "r", "band_r", "bin_rmse"):
      figures[name + suffix] = map_scores.mean_of(scores, name).tolist()
  return figures


def calibration_section(options, survey, prior):
  num_truths, num = (16, 32) if options.full else (4, 16)
  survey, prior = in_the_middle(options, survey)
  truths = simulated_truths(num_truths, options.size)
  mocks = calibration.Mocks(truths.__getitem__, survey, seed=100)
  settings = calibration.Settings(remove_mean=True)
  draw = mocks.draw(calibration.guided_sampler(prior, num))
  path = options.samples and options.samples / "calibration.npz"
  label = run_label(survey, prior, num, guided.GuidedSettings())
  records = calibration.run(
    draw, num_truths, grid=survey.grid, settings=settings, path=path, label=label
  )
  print(f"\nCalibration on {num_truths} simulated truths, {num} samples each")
  print(calibration.markdown(calibration.table(records)))
  return dict(
    tests=calibration.table(records),
    rank_histogram=calibration.rank_histogram(
      records, "pixels: observed"
    ).value.tolist(),
  )


def variance_difference(a, b):
  """Mean squared relative difference of the variances of two sets of samples.

  The product of what the two halves of the samples say, so that their scatter does not
  add to it, nor the correlation of `a` with `b`, pair by pair. It is over the variances of
  all four halves: those about the means of both halves would know, where samples are skewed,
  whether both halves say the same, and equal sets of 16 samples would differ. Where the
  variances of so many samples scatter by themselves, differences come out smaller than they
  are: by two fifths of 6 % with 16 samples of these posteriors, next to nothing with 64.
  """
  halves = slice(0, None, 2), slice(1, None, 2)
  of_a, of_b = (np.stack([x[h].var(axis=0, ddof=1) for h in halves]) for x in (a, b))
  first, second = 4 * (of_b - of_a) / np.sum(of_a + of_b, axis=0)
  return np.mean(first * second)


def variance_by_mean(a, b):
  """Sums of the variances of both sets, `[2, bins]`, in bins of their common mean."""
  bins = np.searchsorted(MEAN_EDGES[1:-1], (a.mean(axis=0) + b.mean(axis=0)) / 2)
  return np.array(
    [
      np.bincount(bins, maps.var(axis=0, ddof=1), len(MEAN_EDGES) - 1)
      for maps in (a, b)
    ]
  )


def refine_section(options, survey, prior):
  num_truths, num = (16, 64) if options.full else (2, 8)
  survey, prior = in_the_middle(options, survey)
  mask = survey.mask
  truths = simulated_truths(num_truths, options.size)
  print(f"\nguided against guided+hmc, {num_truths} mocks of {num} samples")
  print(
    "without the scatter of means of finitely many; chains start from the guided ones"
  )

  def compare(index):
    truth = truths[index]
    shear_map = simulate.observe_like(truth, survey, seed=100 + index)
    posterior = make_posterior(shear_map, prior)
    first = posterior.sample(num, index, seed="guided", progress=False)
    second = posterior.sample(num, index, seed="guided+hmc", progress=False)
    a, b = (
      np.asarray(r.samples, np.float64)[:, mask]
      - r.samples.mean(axis=(1, 2), dtype=np.float64)[:, np.newaxis]
      for r in (first, second)
    )
    variances = [np.mean(maps.var(axis=0, ddof=1)) for maps in (a, b)]
    scatter = np.mean((b - a).var(axis=0, ddof=1))
    offset = np.mean((b - a).mean(axis=0) ** 2) - scatter / num
    errors = [
      mean_error(maps - maps.mean(axis=1, keepdims=True), truth[mask])
      for maps in (a, b)
    ]
    row = [
      offset / variances[1],
      variances[0] / variances[1],
      1 - scatter / sum(variances),
      second.acceptance,
      *errors,
      variance_difference(a, b),
    ]
    print(
      f"  mock {index}: squared difference of means {row[0]:7.4f} of the variance,"
      f" std ratio {row[1] ** 0.5:.3f}, correlation with the start {row[2]:.2f};"
      f" acceptance {row[3]:.2f}; {second.num_score_evaluations:.0f} evaluations,"
      f" {second.seconds / num:.1f} s a sample; errors {100 * errors[0]:.3f} and"
      f" {100 * errors[1]:.3f}e-2; squared difference of variances {row[6]:.4f} of"
      " their squares",
      flush=True,
    )
    return dict(row=row, by_mean=variance_by_mean(a, b))

  label = run_label(survey, prior, num, guided_hmc.RefineSettings())
  folder = options.samples and options.samples / "refine"
  found = resumable.collect(
    compare, num_truths, folder=folder, label=label, unit="mock"
  )
  rows = found["row"]
  mean = np.mean(rows, axis=0)
  error = np.std(rows, axis=0, ddof=1) / np.sqrt(len(rows))
  print(
    f"All: squared difference of means {mean[0]:.4f} +- {error[0]:.4f} of the variance"
    f" (root {max(mean[0], 0) ** 0.5:.3f}), std ratio {mean[1] ** 0.5:.3f} +-"
    f" {error[1] / 2:.3f}, errors {100 * mean[4]:.3f} and {100 * mean[5]:.3f}e-2;"
    f" std maps differ by {max(mean[6], 0) ** 0.5 / 2:.3f} (rms; squared difference of"
    f" variances {mean[6]:.4f} +- {error[6]:.4f})"
  )
  total = np.sum(found["by_mean"], axis=0)
  with np.errstate(invalid="ignore"):  # bins without a pixel
    std_by_mean = np.sqrt(total[0] / total[1])
  row("posterior mean below", MEAN_EDGES[1:])
  row("std of guided over guided+hmc", std_by_mean)
  return dict(
    squared_mean_difference=mean[0],
    std_ratio=mean[1] ** 0.5,
    correlation_with_start=mean[2],
    acceptance=mean[3],
    error_guided=mean[4],
    error_refined=mean[5],
    squared_variance_difference=mean[6],
    squared_variance_difference_error=error[6],
    std_ratio_by_mean=std_by_mean.tolist(),
  )


SECTIONS = dict(
  gaussian=gaussian_section,
  time=time_section,
  genuine=genuine_section,
  calibration=calibration_section,
  refine=refine_section,
)


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], metavar="SECTION")
  parser.add_argument("--data", type=pathlib.Path)
  parser.add_argument("--prior", default="cosmos-halo")
  parser.add_argument("--full", action="store_true", help="more seeds, truths, samples")
  parser.add_argument(
    "--size",
    type=int,
    default=GRID.shape[0],
    help="pixels a side of calibration and refine",
  )
  parser.add_argument(
    "--seeds", type=int, help="of the noise, for genuine: 2, --full 8"
  )
  parser.add_argument("--samples", type=pathlib.Path, help="folder to keep them in")
  parser.add_argument("--json", type=pathlib.Path)
  options = parser.parse_args()
  if not 32 <= options.size <= GRID.shape[0]:
    parser.error(f"--size must be from 32 to {GRID.shape[0]}; got {options.size}")
  if options.seeds is not None and options.seeds < 1:
    parser.error(f"--seeds must be 1 or more; got {options.seeds}")
  survey = cosmos_survey.released_maps(options.data, GRID)
  prior = priors.HybridPrior.load(options.prior, GRID)
  figures = {
    name: SECTIONS[name](options, survey, prior)
    for name in options.sections or SECTIONS
  }
  if options.json:
    text = json.dumps(figures, indent=2, default=float)
    options.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
  main()
