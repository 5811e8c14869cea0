"""Measures how good a trained prior is.

    python examples/benchmarks/prior.py [--prior NAME] [--data DIR] [--full]
        [--chains] [--json FILE]

The maps are simulated, of seeds that no training used, with 360 x 360 pixels of 0.29
arcmin; with --data the genuine field `ktng_kappa360v2.fits` is denoised too.

1. Mean squared error of the hybrid denoiser over that of its Gaussian component, by
   sigma.
2. The same on Gaussian fields, where no denoiser is better than the Wiener filter.
3. Integral of the score around triangles of noisy maps, over that along one side. It is
   0 for the gradient of a density.
4. Two constants of the card as far as they can be measured without chains: the median
   over pixels of `relative_error` squared, beside `typical_variance`; and the scatter
   of the residual over the eight symmetries of the square, which a perfect denoiser
   has, beside `residual_error`. The scatter is a lower bound: errors that have the
   symmetries themselves do not appear in it.
5. Samples of the prior against simulated maps: power in 8 bands from ell 500 to 20,000,
   one-point distribution, skewness, maxima and peak counts. The flow of the Gaussian
   component from the same noise ends in a Gaussian field of the simulator's power. The
   power of samples is compared with it, which removes the scatter between fields.
6. Time of an evaluation, and of its parts.
7. With --chains alone: what becomes of chains that start at exact draws of their target,
   by `residual_error` and share of the noise, and the constants that follow
   (`priors.chain_constants`); half an hour of one core.
"""

import argparse
import dataclasses
import json
import pathlib
import time

from astropy import units as u
from astropy.io import fits
import cosmos_survey
import numpy as np
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import map_statistics
from tfp_massmap import mcmc
from tfp_massmap import priors
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.priors import chain_constants
from tfp_massmap.priors import measurement
from tfp_massmap.samplers import probability_flow

GRID = geometry.PixelGrid((360, 360), 0.29 * u.arcmin)
SIGMAS = (0.02, 0.05, 0.1, 0.2, 0.5)
SEED = 20_000_000  # Seed of the simulator; trainings use small ones.
SMALL_SIGMAS = (0.006, 0.012, 0.025, 0.05)  # Where errors of the denoiser drive chains.
# Multipoles where the map stands out of the noise at all of them.
SIGNAL_ELL = (400.0, 5000.0)


def simulated_maps(num_maps):
  """Returns crops of maps that no training used, `[n, 360, 360]`."""
  size = 1024
  grid = geometry.PixelGrid((size, size), GRID.pixel_scale)
  simulator = simulate.ConvergenceSimulator(grid, seed=SEED)
  crops = []
  for kappa in simulator.maps(-(-num_maps // 4)):
    for row, column in ((0, 0), (0, 512), (512, 0), (512, 512)):
      crops.append(kappa[row : row + 360, column : column + 360])
  return np.stack(crops[:num_maps])


def error_ratio(denoise, prior, clean, sigma, seed):
  """Returns the squared error over the Gaussian denoiser's, with its standard error."""
  pairs = []
  for index, kappa in enumerate(clean):
    noise = tf.random.stateless_normal(kappa.shape, (seed, index))
    noisy = kappa + sigma * noise
    hybrid = denoise(noisy[tf.newaxis], tf.constant([sigma], tf.float32))[0]
    wiener = prior.gaussian.denoise(noisy, sigma)
    pairs.append([np.mean((d - kappa) ** 2) for d in (hybrid, wiener)])
  hybrid, wiener = np.array(pairs).T
  ratio = hybrid.mean() / wiener.mean()
  scatter = np.std(hybrid - ratio * wiener, ddof=1) / np.sqrt(len(pairs))
  return float(ratio), float(scatter / wiener.mean())


def loop_integral(score, clean, sigma, num_loops):
  """Returns the rms integral around triangles over that along their sides."""
  rule = mcmc.gauss_lobatto(5)
  total = lambda parts: tf.reduce_sum(parts[0])
  sides, loops = [], []
  for index in range(num_loops):
    corners = [
      clean[(3 * index + k) % len(clean)]
      + sigma * tf.random.stateless_normal(GRID.shape, (index, k))
      for k in range(3)
    ]
    scores = [score(c) for c in corners]
    around = [
      float(
        rule(
          lambda x: [score(x[0])],
          mcmc.PathEnds(
            [corners[k]],
            [corners[k - 2]],
            score_start=[scores[k]],
            score_end=[scores[k - 2]],
            total=total,
          ),
        )
      )
      for k in range(3)
    ]
    sides += around
    loops.append(sum(around))
  rms = lambda values: np.sqrt(np.mean(np.square(values)))
  return float(rms(loops) / rms(sides))


def residual_scatter(prior, clean, sigma):
  """Returns the variance of the residual over the symmetries, over sigma^2, per mode.

  Args:
    prior: `priors.HybridPrior` of square maps.
    clean: `[n, ny, nx]`.
    sigma: Standard deviation of the noise.
  """
  rng = np.random.default_rng(SEED)
  residual = tf.function(lambda x: sigma**2 * prior.residual_score(x, sigma))
  noisy = clean + np.float32(sigma) * rng.standard_normal(clean.shape, np.float32)
  scatter = []
  for x in noisy:
    modes = []
    for flip in (False, True):
      for turn in range(4):
        turned = np.rot90(x[:, ::-1] if flip else x, turn)
        back = np.rot90(residual(turned[np.newaxis].copy())[0], -turn)
        modes.append(np.fft.rfft2(back[:, ::-1] if flip else back, norm="ortho"))
    scatter.append(np.var(modes, axis=0, ddof=1))
  return np.mean(scatter, axis=0) / sigma**2


def print_constants(prior, clean, figures):
  ell = GRID.multipoles()
  has_signal = (ell > SIGNAL_ELL[0]) & (ell < SIGNAL_ELL[1])
  found = dict(
    typical_variance=measurement.typical_variance(prior, clean),
    residual_error=float(
      np.mean([residual_scatter(prior, clean, s)[has_signal] for s in SMALL_SIGMAS])
    ),
  )
  print("\nConstants: measured, and in the card")
  for name, value in found.items():
    kept = prior.card.get("constants", {}).get(name)
    print(f"  {name:<17} {value:.4f}  {kept}", flush=True)
  figures["constants"] = found


def draw_samples(prior, num, sigmas, batch_size=4):
  """Returns samples of the prior, and of its Gaussian component from the same noise."""
  gaussian = prior.gaussian
  shrink = tf.sqrt(gaussian.mode_variance / gaussian.smoothed_variance(sigmas[0]))

  @tf.function
  def draw(seed):
    noise = tf.random.stateless_normal([batch_size, *GRID.shape], seed + 1)
    start = gaussian.sample([batch_size], seed=seed) + sigmas[0] * noise
    sample, _ = probability_flow.flow(
      prior.denoise, start, sigmas=sigmas, variance=gaussian.mode_variance
    )
    return sample, spectra.fourier_filter(start, shrink)

  batches = [draw(tf.constant([3, k])) for k in range(-(-num // batch_size))]
  return tuple(np.concatenate(maps)[:num] for maps in zip(*batches))


def power_ratio(samples, controls, gaussian):
  """Returns power over the Gaussian component's, and its standard error, per band."""
  edges = np.geomspace(500, 20000, 9)
  power = lambda maps: spectra.band_power(maps, GRID, edges=edges)
  expected = power(gaussian.sample([200], seed=(5, 6)).numpy()).mean(axis=0)
  change = (power(samples) - power(controls)) / expected
  return 1 + change.mean(axis=0), change.std(axis=0, ddof=1) / np.sqrt(len(change))


def sample_statistics(maps):
  """Returns one-point distribution, moments and peak counts, per map."""
  maps = maps - maps.mean(axis=(1, 2), keepdims=True)
  smooth = map_statistics.smooth(maps, GRID, scale=1 * u.arcmin)
  bins = np.array([-1, -0.04, -0.02, 0, 0.02, 0.04, 0.08, 0.12, 0.2, 2])
  return {
    "one-point": np.stack([np.histogram(kappa, bins)[0] for kappa in maps]),
    "skewness": map_statistics.skewness(maps)[:, None],
    "skewness, 1 arcmin": map_statistics.skewness(smooth)[:, None],
    "maximum": maps.max(axis=(1, 2))[:, None],
    "peaks": map_statistics.peak_counts(smooth, np.array([0, 0.02, 0.04, 0.06, 0.1])),
  }


def print_samples(prior, num, clean, figures):
  low, _ = prior.sigma_range
  sigmas = probability_flow.sigma_ladder(2.0, max(low, 0.004), num_steps=24)
  samples, controls = draw_samples(prior, num, sigmas)
  print(
    f"\nSamples of the prior ({num}, 24 evaluations) over simulated maps ({len(clean)})"
  )
  rows = {"power": power_ratio(samples, controls, prior.gaussian)}
  simulated, drawn = sample_statistics(clean), sample_statistics(samples)
  for name, values in simulated.items():
    means = [v.mean(axis=0) for v in (drawn[name], values)]
    errors = [v.std(axis=0, ddof=1) / np.sqrt(len(v)) for v in (drawn[name], values)]
    error = np.hypot(errors[0] / means[1], means[0] * errors[1] / means[1] ** 2)
    rows[name] = means[0] / means[1], error
  for name, (ratio, error) in rows.items():
    print(f"  {name:<19}" + " ".join(f"{r:6.3f}" for r in ratio))
    print(f"  {'+-':>19}" + " ".join(f"{e:6.3f}" for e in error), flush=True)
  figures["samples"] = {
    name: dict(ratio=ratio.tolist(), error=error.tolist())
    for name, (ratio, error) in rows.items()
  }


def seconds(function, repeats=10):
  function()
  times = []
  for _ in range(repeats):
    start = time.perf_counter()
    function()
    times.append(time.perf_counter() - start)
  return float(np.median(times))


def print_errors(title, denoise, prior, maps, figures, name):
  print(f"\n{title}: squared error over the Gaussian denoiser's")
  figures[name] = {}
  for sigma in SIGMAS:
    ratio, error = error_ratio(denoise, prior, maps, sigma, seed=1)
    figures[name][str(sigma)] = ratio
    print(f"  sigma {sigma:<5g} {ratio:.3f} +- {error:.3f}", flush=True)


def print_loop_integrals(prior, clean, num_loops, figures):
  print("\nIntegral of the score around triangles, over that along a side")
  figures["loop_integral"] = {}
  for sigma in (0.05, 0.2):
    score = tf.function(lambda x, sigma=sigma: prior.score(x, sigma))
    value = loop_integral(score, clean, sigma, num_loops)
    figures["loop_integral"][str(sigma)] = value
    print(f"  sigma {sigma:<5g} {value:.4f}", flush=True)


def print_chains(name, crops, figures):
  """Prints what chains of a prior do, on crops of 128 x 128 pixels."""
  grid = geometry.PixelGrid((128, 128), GRID.pixel_scale)
  prior = priors.HybridPrior.load(name, grid)
  maps = crops[:, :128, :128]
  print("\nChange of power in five bands and of the highest 0.1 %, in percent")
  tried = {}
  for (share, error), outcome in chain_constants.outcomes(prior, maps):
    tried[share, error] = outcome
    changes = ", ".join(
      f"{100 * change:+.0f} +- {100 * scatter:.0f}"
      for change, scatter in zip(outcome.change, outcome.error)
    )
    verdict = "stays" if outcome.stays else "does not stay"
    print(
      f"  share {share:g}, residual_error {error:g}: {changes}; {verdict}", flush=True
    )
  figures["chains"] = dataclasses.asdict(chain_constants.conclude(prior, tried))
  print(figures["chains"])


def print_seconds(prior, denoise, noisy, figures):
  network = tf.function(lambda x: prior.residual(x, x, tf.constant([0.1])))
  wiener = tf.function(lambda x: prior.gaussian.denoise(x, 0.1))
  figures["seconds"] = dict(
    denoise=seconds(lambda: denoise(noisy, tf.constant([0.1])).numpy()),
    network=seconds(lambda: network(noisy).numpy()),
    wiener=seconds(lambda: wiener(noisy).numpy()),
  )
  found = ", ".join(f"{name} {value:.3f}" for name, value in figures["seconds"].items())
  print(f"\nSeconds: {found}")


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--prior", default="cosmos-halo")
  parser.add_argument("--data", type=pathlib.Path)
  parser.add_argument("--full", action="store_true", help="more maps, noise and loops")
  parser.add_argument("--chains", action="store_true", help="constants of chains alone")
  parser.add_argument("--json", type=pathlib.Path)
  options = parser.parse_args()
  figures = {}
  if options.chains:
    print_chains(options.prior, simulated_maps(6), figures)
  else:
    print_all(options, figures)
  if options.json:
    options.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")


def print_all(options, figures):
  prior = priors.HybridPrior.load(options.prior, GRID)
  denoise = tf.function(prior.denoise)
  num_maps = 24 if options.full else 8
  crops = simulated_maps(8 * num_maps)
  clean = crops[:num_maps]
  print_errors("Simulated maps", denoise, prior, clean, figures, "simulated")
  if options.data is not None:
    path = cosmos_survey.find(options.data, "ktng_kappa360v2.fits")
    genuine = fits.getdata(path).astype(np.float32)
    copies = np.stack([genuine] * (8 if options.full else 3))
    print_errors("Genuine kappaTNG", denoise, prior, copies, figures, "genuine")
  fields = prior.gaussian.sample([num_maps], seed=(1, 2)).numpy()
  print_errors("Gaussian fields", denoise, prior, fields, figures, "gaussian_fields")
  print_loop_integrals(prior, clean, 8 if options.full else 6, figures)
  print_constants(prior, clean, figures)
  print_samples(prior, 2 * num_maps, crops, figures)
  print_seconds(prior, denoise, tf.constant(clean[:1]), figures)


if __name__ == "__main__":
  main()
