"""Compares simulated convergence with kappaTNG, and measures what a map costs.

    python examples/benchmarks/simulator.py --data DIR
        [--full] [--fit] [--halofit] [--json FILE]

DIR holds `kappatng_uniform_weights_256_x10.npz`, ten genuine crops of 256 x 256 pixels
(uniform plane weights, mean removed). Simulated maps of 1024 x 1024 pixels with the
same weights are cut the same way, and compared crop by crop:

  power      mean power of the maps over that of kappaTNG, in bands of ell
  moments    skewness and kurtosis; skewness after Gaussian smoothing
  peaks_snr  peak counts after smoothing by 1 arcmin, by signal-to-noise ratio, with
             shape noise of 64 galaxies per square arcmin
  peaks      the same without noise, in standard deviations of the smoothed crops
  l1         starlet l1 norm over that of the crops, scales 1 to 5

The recipe was fitted to the first five crops by `--fit`; "held out" are the other five.
Without flags there are 4 maps (100 deg^2), with `--full` 32 maps (800 deg^2), in both
modes. `--halofit` prints the power of the genuine crops over that of halofit instead,
at the multipoles of `theory.kappatng.over_halofit`.
"""

import argparse
import dataclasses
import itertools
import json
import pathlib
import subprocess
import sys
import time

from astropy import units as u
import numpy as np

from tfp_massmap import geometry
from tfp_massmap import map_statistics
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap import theory
from tfp_massmap.simulate import source_planes
from tfp_massmap.theory import kappatng

NUM_FITTED = 5
CROP = 256
PIXEL = 300 / 1024 * u.arcmin
UNIFORM = source_planes.sources(np.full(40, 1 / 40))
PEAK_EDGES = np.arange(7)
NUM_SCALES = 5
POWER_EDGES = np.geomspace(900, 30000, 16)
BAND_CENTERS = np.round(np.sqrt(POWER_EDGES[1:] * POWER_EDGES[:-1]))
ELL = np.geomspace(30, 1e5, 400)
COLUMNS = ("simulated", "error", "genuine", "genuine_error", "ratio")
# Shape noise of 64 galaxies per square arcmin: in a pixel, and smoothed by 1 arcmin.
NOISE_STD = 0.305 / np.sqrt(64 * PIXEL.value**2)
SMOOTH_NOISE = NOISE_STD * PIXEL.value / np.sqrt(4 * np.pi)
CROP_GRID = geometry.PixelGrid((CROP, CROP), PIXEL)
MAP_GRID = geometry.PixelGrid((1024, 1024), PIXEL)


def read_crops(data):
  """Returns the genuine crops, float64 `[10, 256, 256]`."""
  name = "kappatng_uniform_weights_256_x10.npz"
  paths = sorted(data.rglob(name))
  if not paths:
    raise SystemExit(f"No {name} in {data}.")
  with np.load(paths[0], allow_pickle=False) as file:
    return file["kappa"].astype(np.float64)


def cut(kappa):
  """Returns all crops of a map without their means, `[n, 256, 256]`."""
  num = kappa.shape[0] // CROP
  crops = kappa[: num * CROP, : num * CROP].reshape(num, CROP, num, CROP)
  crops = crops.transpose(0, 2, 1, 3).reshape(-1, CROP, CROP)
  return crops - crops.mean(axis=(1, 2), keepdims=True)


def measure(crops, unit, *, num_noise=4):
  """Returns the statistics of each crop, `[n, m]`, in the order of NAMES."""
  smooth = [map_statistics.smooth(crops, CROP_GRID, scale=s * u.arcmin) for s in (1, 2)]
  rng = np.random.default_rng(0)
  noisy = 0.0
  for _ in range(num_noise):
    noise = NOISE_STD * rng.standard_normal(crops.shape, dtype=np.float32)
    noise = map_statistics.smooth(noise, CROP_GRID, scale=1 * u.arcmin)
    counts = map_statistics.peak_counts(smooth[0] + noise, PEAK_EDGES * SMOOTH_NOISE)
    noisy = noisy + counts / num_noise
  return np.column_stack(
    [
      map_statistics.skewness(crops),
      map_statistics.kurtosis(crops),
      *map(map_statistics.skewness, smooth),
      noisy,
      map_statistics.peak_counts(smooth[0], PEAK_EDGES * unit),
      map_statistics.starlet_l1_norm(crops, NUM_SCALES),
    ]
  )


NAMES = (
  "skewness",
  "kurtosis",
  "skewness_1_arcmin",
  "skewness_2_arcmin",
  *(f"peaks_snr_{low}_{low + 1}" for low in PEAK_EDGES[:-1]),
  *(f"peaks_{low}_{low + 1}" for low in PEAK_EDGES[:-1]),
  *(f"l1_{scale + 1}" for scale in range(NUM_SCALES)),
)


def peak_unit(crops):
  smooth = map_statistics.smooth(crops, CROP_GRID, scale=1 * u.arcmin)
  return float(smooth.std(axis=(1, 2)).mean())


def simulate_statistics(simulator, num_maps, *, unit):
  """Returns statistics of all crops, power of maps over the target, CPU-seconds a
  map."""
  simulator.map(0)  # makes the templates
  target = theory.convergence_power(ELL, simulator.sources, boost=theory.kappatng_boost)
  wanted = np.interp(MAP_GRID.multipoles(), ELL, target)
  whiten = (MAP_GRID.pixel_radians / np.sqrt(wanted)).astype(np.float32)
  statistics, power, seconds = [], [], 0.0
  for index in range(num_maps):
    start = time.process_time()
    kappa = simulator.map(index)
    seconds += time.process_time() - start
    statistics.append(measure(cut(kappa), unit))
    white = spectra.fourier_filter(kappa, whiten)
    power.append(spectra.band_power(white, MAP_GRID, edges=POWER_EDGES))
  power = np.array(power) / MAP_GRID.pixel_radians**2
  return np.concatenate(statistics), power, seconds / num_maps


def compare(statistics, crops):
  """Returns rows of simulated mean and error, genuine mean and error, and their
  ratio."""
  simulated, simulated_error = mean_and_error(statistics)
  genuine, genuine_error = mean_and_error(crops)
  return np.column_stack(
    [simulated, simulated_error, genuine, genuine_error, simulated / genuine]
  )


def mean_and_error(statistics):
  return statistics.mean(axis=0), standard_error(statistics)


def standard_error(statistics):
  return statistics.std(axis=0, ddof=1) / np.sqrt(len(statistics))


def print_comparison(title, rows):
  print(f"{title:<20}{'simulated':>18}{'kappaTNG':>18}{'ratio':>8}")
  for name, (mean, error, genuine, genuine_error, relative) in zip(NAMES, rows):
    print(
      f"{name:<20}{mean:>10.4g} +-{error:>5.2g}{genuine:>10.4g} +-"
      f"{genuine_error:>5.2g}{relative:>8.3f}"
    )


def fit(crops, num_maps, *, unit):
  """Prints the recipes of a grid by chi^2 of the fitted crops' statistics."""
  genuine, error = mean_and_error(measure(crops[:NUM_FITTED], unit, num_noise=100))
  results = []
  for shift, heaviest, factor in itertools.product(
    (1.0, 1.4, 2.0), (5e14, 7e14, 1e15), (0.68, 0.72, 0.76)
  ):
    recipe = simulate.Recipe(
      shift=shift, mass_range=(3e11, heaviest), concentration_factor=factor
    )
    simulator = simulate.ConvergenceSimulator(MAP_GRID, UNIFORM, recipe=recipe)
    statistics, _, _ = simulate_statistics(simulator, num_maps, unit=unit)
    mean, own_error = mean_and_error(statistics)
    chi2 = (((mean - genuine) ** 2) / (error**2 + own_error**2)).sum()
    results.append((chi2, recipe))
    print(f"chi2 {chi2:7.2f}  {dataclasses.asdict(recipe)}", flush=True)
    print("         " + " ".join(f"{m:.3g}" for m in mean), flush=True)
  print("best:", min(results, key=lambda result: result[0]))


def start_up():
  """Returns the seconds from starting Python to a simulator that is ready."""
  code = (
    "from astropy import units as u;"
    "from tfp_massmap import geometry, simulate;"
    "simulate.ConvergenceSimulator(geometry.PixelGrid((1024, 1024), 0.293 * u.arcmin))"
  )
  start = time.perf_counter()
  subprocess.run([sys.executable, "-c", code], check=True)
  return time.perf_counter() - start


def print_halofit_ratios(crops):
  """Prints the power of the genuine crops over that of halofit.

  A Hann window fades out the edges of the crops. Its effect on the power is computed:
  the expected power is the transform of halofit's correlation function times the
  window's.
  """
  multipoles = np.array(kappatng.MULTIPOLES, float)
  inner = np.sqrt(multipoles[1:] * multipoles[:-1])
  first, last = multipoles[0] ** 2 / inner[0], multipoles[-1] ** 2 / inner[-1]
  edges = np.array([first, *inner, last])
  window = np.outer(np.hanning(CROP), np.hanning(CROP))
  measured = spectra.band_power(window * crops, CROP_GRID, edges=edges)

  padded = geometry.PixelGrid((2 * CROP, 2 * CROP), PIXEL)
  halofit = theory.convergence_power(ELL, UNIFORM)
  boosted = theory.convergence_power(ELL, UNIFORM, boost=theory.kappatng_boost)
  power = np.interp(padded.multipoles(), ELL, halofit, left=0, right=0)
  correlation = np.fft.irfft2(power / PIXEL.to_value(u.rad) ** 2, s=padded.shape)
  overlap = np.abs(np.fft.rfft2(window, s=padded.shape)) ** 2
  product = correlation * np.fft.irfft2(overlap, s=padded.shape)
  # The periodic transform of a crop adds up lags that differ by its side.
  folded = product.reshape(2, CROP, 2, CROP).sum(axis=(0, 2))
  expected = np.sqrt(np.maximum(np.fft.rfft2(folded).real, 0)) / CROP
  expected = np.fft.irfft2(expected, s=(CROP, CROP), norm="ortho")
  ratios = measured / spectra.band_power(expected, CROP_GRID, edges=edges)
  print("    ell  kappaTNG over halofit  in the simulator")
  for ell, mean, error in zip(multipoles, *mean_and_error(ratios)):
    used = np.interp(ell, ELL, boosted / halofit)
    print(f"{ell:>7.0f}        {mean:.3f} +- {error:.3f}             {used:.3f}")


def compare_mode(mode, num_maps, *, unit, genuine):
  """Prints the comparison of one mode, and returns its figures."""
  simulator = simulate.ConvergenceSimulator(MAP_GRID, UNIFORM, mode=mode)
  statistics, power, seconds = simulate_statistics(simulator, num_maps, unit=unit)
  print(f"\n{mode} mode: {seconds:.2f} CPU-seconds a map of 1024 x 1024 pixels")
  print("ell     " + " ".join(f"{ell:>7.0f}" for ell in BAND_CENTERS))
  print("power   " + " ".join(f"{p:>7.3f}" for p in power.mean(axis=0)))
  print("  error " + " ".join(f"{p:>7.3f}" for p in standard_error(power)))
  rows = compare(statistics, genuine)
  print_comparison("all ten crops", rows)
  print_comparison("held out", compare(statistics, genuine[NUM_FITTED:]))
  scatter = statistics.std(axis=0, ddof=1)[2] / genuine.std(axis=0, ddof=1)[2]
  print(f"scatter of the skewness at 1 arcmin over the genuine: {scatter:.2f}")
  return dict(
    cpu_seconds_per_map=seconds,
    power_ratio=dict(zip(map(str, BAND_CENTERS), power.mean(axis=0).tolist())),
    skewness_scatter_ratio=scatter,
    **{name: dict(zip(COLUMNS, row)) for name, row in zip(NAMES, rows.tolist())},
  )


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--data", type=pathlib.Path, required=True)
  parser.add_argument("--full", action="store_true")
  parser.add_argument("--fit", action="store_true", help="fit the recipe instead")
  parser.add_argument("--halofit", action="store_true", help="compare with halofit")
  parser.add_argument("--json", type=pathlib.Path)
  arguments = parser.parse_args()
  num_maps = 32 if arguments.full else 4
  crops = read_crops(arguments.data)
  if arguments.halofit:
    print_halofit_ratios(crops)
    return
  unit = peak_unit(crops)
  if arguments.fit:
    fit(crops, num_maps // 2, unit=unit)
    return
  genuine = measure(crops, unit, num_noise=100)
  figures = {"start_up_seconds": start_up()}
  print(f"start-up {figures['start_up_seconds']:.2f} s")
  for mode in ("quality", "fast"):
    figures[mode] = compare_mode(mode, num_maps, unit=unit, genuine=genuine)
  if arguments.json:
    arguments.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
  main()
