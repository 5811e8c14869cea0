"""Guided posterior samples: exactness, time, errors, calibration.

    python examples/benchmarks/posterior.py [SECTION ...] [--data DIR] [--full]
        [--prior NAME] [--json FILE]

360 x 360 pixels of 0.29 arcmin, mask and noise of the released COSMOS maps with --data,
else of a survey like it. Sections, by default all:

  gaussian     Gaussian prior, against exact posterior samples: power in 8 Fourier bands,
               mean in standard deviations of the posterior, for 6 to 24 evaluations. Also
               against the same with 10 times as many, from the same random numbers, which
               shows the discretisation without the scatter of samples; and annealed HMC.
  time         seconds a sample and peak memory with the trained prior; time per pixel at
               720 and 1440 over that at 360.
  genuine      errors of the posterior mean on the kappaTNG field (needs --data), the
               error of a finite number of samples removed; per band, per true kappa.
  calibration  simulated truths that no training saw: the tests of `calibration`.
  refine       guided against guided+hmc, on simulated truths.
"""

import argparse
import dataclasses
import json
import pathlib
import resource
import time

from astropy import units as u
from astropy.io import fits
import numpy as np
import tensorflow as tf

import cosmos_survey
from tfp_massmap import baselines
from tfp_massmap import calibration
from tfp_massmap import gaussian_posterior
from tfp_massmap import geometry
from tfp_massmap import hybrid_prior
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap import summary
from tfp_massmap.samplers import annealed
from tfp_massmap.samplers import guided

PIXEL = 0.29 * u.arcmin
GRID = geometry.PixelGrid((360, 360), PIXEL)
SEED = 30_000_000  # of the simulator; trainings use small ones
NUM_BANDS = 8


def make_posterior(shear_map, prior):
  return posterior_lib.Posterior(likelihood_lib.ShearLikelihood(shear_map), prior)


def simulated_truths(num):
  """Crops of simulated maps, one each, mean removed."""
  simulator = simulate.ConvergenceSimulator(
      geometry.PixelGrid((1024, 1024), PIXEL), seed=SEED
  )
  crops = np.stack([kappa[:360, :360] for kappa in simulator.maps(num)])
  return crops - crops.mean(axis=(1, 2), keepdims=True)


def band_power(maps, edges):
  return spectra.band_power(maps, GRID, edges)


def row(name, values, form="{:7.3f}"):
  print(f"{name:>34s} " + " ".join(form.format(v) for v in values), flush=True)


def gaussian_section(options, survey, prior):
  gaussian = prior.gaussian
  truth = gaussian.sample(seed=(0, 1)).numpy()
  posterior = make_posterior(simulate.observe_like(truth, survey, seed=1), gaussian)
  likelihood = posterior.likelihood
  edges = spectra.band_edges(GRID, NUM_BANDS)
  mean = gaussian_posterior.mean(likelihood, gaussian, rtol=1e-6)[0].numpy()
  num = 64 if options.full else 32
  draw_exact = lambda seed, n: np.concatenate(
      [gaussian_posterior.sample(likelihood, gaussian, 32, (seed, i)) for i in range(n // 32)]
  )
  # Many exact draws, so that the scatter is that of the samples alone.
  exact = draw_exact(5, 16 * num)
  power = band_power(exact - mean, edges)
  std = exact.std(axis=0)
  scatter = power.std(axis=0) / power.mean(axis=0)
  print(f"\nGaussian prior: power of {num} samples over that of {len(exact)} exact ones")
  row("lowest ell of the band", edges[:-1], "{:7.0f}")
  row("expected scatter", scatter / np.sqrt(num))
  row(f"{num} exact ones", band_power(draw_exact(6, num) - mean, edges).mean(axis=0) / power.mean(axis=0))
  figures = {}
  for settings in (
      guided.GuidedSettings(num_steps=6, sweeps=()),
      guided.GuidedSettings(num_steps=12, sweeps=()),
      guided.GuidedSettings(num_steps=6, sweeps=(0.5,), sweep_steps=6),
      guided.GuidedSettings(),
  ):
    fine = dataclasses.replace(settings, num_steps=100, sweep_steps=60, tolerance=1e-4)
    reference = posterior.sample(num, 1, "guided", fine, progress=False).samples
    result = posterior.sample(num, 1, "guided", settings, progress=False)
    powers, own = (
        band_power(maps - mean, edges).mean(axis=0)
        for maps in (result.samples, reference)
    )
    ratio, paired = powers / power.mean(axis=0), powers / own
    bias = np.sqrt(np.mean((result.samples - reference).mean(axis=0) ** 2 / std**2))
    name = f"{settings.num_score_evaluations} evaluations, {len(settings.sweeps)} sweeps"
    figures[name] = dict(
        power=ratio.tolist(), power_over_converged=paired.tolist(), bias=float(bias),
        iterations=result.diagnostics["conjugate-gradient iterations"],
    )
    row(name, ratio)
    row("the same over the converged one", paired)
    print(
        f"{'':35s}mean within {bias:.4f} std of the converged one's;"
        f" {figures[name]['iterations']:.0f} CG iterations"
    )
  result = annealed.sample(posterior, num, 1, progress=False)
  ratio = band_power(result.samples - mean, edges).mean(axis=0) / power.mean(axis=0)
  figures["annealed"] = dict(
      power=ratio.tolist(), evaluations=result.num_score_evaluations
  )
  row(f"annealed, {result.num_score_evaluations:.0f} evaluations", ratio)
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
          survey, shear=np.tile(survey.shear, (1, tiles, tiles)), mask=mask, grid=grid,
          noise_std=np.tile(survey.noise_std, (1, tiles, tiles)), count=None,
      )
      larger = hybrid_prior.HybridPrior.load(options.prior, grid)
      posterior = make_posterior(tiled, larger)
    settings = guided.GuidedSettings()
    compiled = tf.function(
        lambda seed, p=posterior, b=batch: guided.draw(p, b, seed, settings)[0]
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
        f" {memory:.2f} GiB", flush=True,
    )
  return figures


def mean_errors(samples, truth, mask):
  """Squared error of the posterior mean in the mask, and without the samples' part."""
  samples = samples - samples[:, mask].mean(axis=1)[:, None, None]
  centred = truth - truth[mask].mean()
  squared = np.mean((samples.mean(axis=0) - centred)[mask] ** 2)
  scatter = np.mean(samples[:, mask].var(axis=0, ddof=1)) / len(samples)
  return squared, squared - scatter, samples.mean(axis=0), scatter


def genuine_section(options, survey, prior):
  if options.data is None:
    print("\nThe genuine field needs --data.")
    return {}
  path = cosmos_survey.find(options.data, "ktng_kappa360v2.fits")
  truth = fits.getdata(path).astype(np.float64)
  mask = survey.mask
  num_seeds, num = (8, 64) if options.full else (2, 16)
  rows, power, by_kappa = [], [], []
  edges = np.geomspace(500, 10000, 7)
  bins = np.array([-1, 0, 0.05, 0.1, 0.2, 1])
  for seed in range(num_seeds):
    shear_map = simulate.observe_like(truth, survey, seed)
    wiener = baselines.wiener.estimate(shear_map, prior.gaussian).kappa
    result = make_posterior(shear_map, prior).sample(num, seed, progress=False)
    samples = np.asarray(result.samples)
    raw, free, mean, scatter = mean_errors(samples, truth, mask)
    covariance = np.cov(mean[mask], truth[mask])
    # The samples' scatter adds to the variance of the mean, not to its covariance.
    free_r = covariance[0, 1] / np.sqrt((covariance[0, 0] - scatter) * covariance[1, 1])
    rows.append([
        np.sqrt(raw), np.sqrt(free),
        summary.root_mean_square_error(wiener, truth, mask),
        summary.pearson_correlation(mean, truth, mask), free_r,
        summary.pearson_correlation(wiener, truth, mask),
    ])
    power.append(band_power(samples, edges).mean(axis=0) / band_power(truth, edges))
    centred = truth - truth[mask].mean()
    errors = [
        [np.sqrt(np.mean((m - centred)[mask & (truth > low) & (truth <= high)] ** 2))
         for low, high in zip(bins[:-1], bins[1:])]
        for m in (mean, wiener - wiener[mask].mean())
    ]
    by_kappa.append(np.divide(*errors))
    maxima = np.median(samples[:, mask].max(axis=1)), truth[mask].max()
    print(
        f"  seed {seed}: RMSE {100 * rows[-1][1]:.3f}e-2 (with the samples' part"
        f" {100 * rows[-1][0]:.3f}), Wiener {100 * rows[-1][2]:.3f}; r {rows[-1][4]:.4f}"
        f" ({rows[-1][3]:.4f}), Wiener {rows[-1][5]:.4f}; maxima {maxima[0]:.2f}, truth"
        f" {maxima[1]:.2f}", flush=True,
    )
  mean = np.mean(rows, axis=0)
  print(
      f"Genuine field, {num_seeds} seeds, {num} samples: RMSE {100 * mean[1]:.3f}e-2"
      f" (Wiener {100 * mean[2]:.3f}e-2), r {mean[4]:.4f} (Wiener {mean[5]:.4f})"
  )
  row("lowest ell of the band", edges[:-1], "{:7.0f}")
  row("power of samples over truth", np.mean(power, axis=0))
  row("true kappa below", bins[1:])
  row("error over Wiener's", np.mean(by_kappa, axis=0))
  names = ("rmse_raw", "rmse", "rmse_wiener", "r_raw", "r", "r_wiener")
  return dict(
      zip(names, mean.tolist()),
      seeds_better_than_wiener=int(np.sum([r[1] < r[2] for r in rows])),
      power=np.mean(power, axis=0).tolist(),
      error_over_wiener_by_kappa=np.mean(by_kappa, axis=0).tolist(),
  )


def calibration_section(options, survey, prior):
  num_truths, num = (16, 32) if options.full else (4, 16)
  truths = simulated_truths(num_truths)
  mocks = calibration.Mocks(truths.__getitem__, survey, seed=100)
  settings = calibration.Settings(remove_mean=True)
  records = calibration.run(
      mocks.draw(calibration.guided_sampler(prior, num)), num_truths, GRID, settings
  )
  print(f"\nCalibration on {num_truths} simulated truths, {num} samples each")
  print(calibration.markdown(calibration.table(records)))
  return dict(
      tests=calibration.table(records),
      rank_histogram=calibration.rank_histogram(records, "pixels: observed").value.tolist(),
  )


def refine_section(options, survey, prior):
  num_truths, num = (16, 16) if options.full else (2, 8)
  mask = survey.mask
  rows = []
  print(f"\nguided against guided+hmc, {num_truths} mocks of {num} samples")
  print("without the scatter of means of finitely many; chains start from the guided ones")
  for index, truth in enumerate(simulated_truths(num_truths)):
    shear_map = simulate.observe_like(truth, survey, seed=100 + index)
    posterior = make_posterior(shear_map, prior)
    first = posterior.sample(num, index, "guided", progress=False)
    second = posterior.sample(num, index, "guided+hmc", progress=False)
    a, b = (np.asarray(r.samples) - r.samples.mean(axis=(1, 2), keepdims=True)
            for r in (first, second))
    variances = [np.mean(maps[:, mask].var(axis=0, ddof=1)) for maps in (a, b)]
    change = (b - a)[:, mask]
    scatter = np.mean(change.var(axis=0, ddof=1))
    offset = np.mean(change.mean(axis=0) ** 2) - scatter / num
    errors = [mean_errors(maps, truth, mask)[1] ** 0.5 for maps in (a, b)]
    rows.append([
        offset / variances[1], variances[0] / variances[1],
        1 - scatter / sum(variances), second.acceptance, *errors,
    ])
    print(
        f"  mock {index}: squared difference of means {rows[-1][0]:7.4f} of the variance,"
        f" std ratio {rows[-1][1] ** 0.5:.3f}, correlation with the start"
        f" {rows[-1][2]:.2f}; acceptance {rows[-1][3]:.2f};"
        f" {second.num_score_evaluations:.0f} evaluations, {second.seconds / num:.1f} s a"
        f" sample; errors {100 * errors[0]:.3f} and {100 * errors[1]:.3f}e-2", flush=True,
    )
  mean = np.mean(rows, axis=0)
  error = np.std(rows, axis=0, ddof=1) / np.sqrt(len(rows))
  print(
      f"All: squared difference of means {mean[0]:.4f} +- {error[0]:.4f} of the variance"
      f" (root {max(mean[0], 0) ** 0.5:.3f}), std ratio {mean[1] ** 0.5:.3f} +-"
      f" {error[1] / 2:.3f}, errors {100 * mean[4]:.3f} and {100 * mean[5]:.3f}e-2"
  )
  return dict(
      squared_mean_difference=mean[0], std_ratio=mean[1] ** 0.5,
      correlation_with_start=mean[2], acceptance=mean[3],
      error_guided=mean[4], error_refined=mean[5],
  )


SECTIONS = dict(
    gaussian=gaussian_section, time=time_section, genuine=genuine_section,
    calibration=calibration_section, refine=refine_section,
)


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], metavar="SECTION")
  parser.add_argument("--data", type=pathlib.Path)
  parser.add_argument("--prior", default="cosmos-halo")
  parser.add_argument("--full", action="store_true", help="more seeds, truths, samples")
  parser.add_argument("--json", type=pathlib.Path)
  options = parser.parse_args()
  survey = cosmos_survey.released_maps(options.data, GRID)
  prior = hybrid_prior.HybridPrior.load(options.prior, GRID)
  figures = {
      name: SECTIONS[name](options, survey, prior)
      for name in options.sections or SECTIONS
  }
  if options.json:
    text = json.dumps(figures, indent=2, default=float)
    options.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
  main()
