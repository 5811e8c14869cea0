"""Compares how simulated maps change with cosmology and n(z) with a prediction.

    python examples/benchmarks/simulator_scaling.py [--full] [--json FILE]

The prediction is hyperextended perturbation theory (Scoccimarro & Couchman 2001, MNRAS
325, 1312), which knows nothing of haloes: the bispectrum of matter is 3 Q(n) P^2 for
equilateral triangles, and Q(n) (P1 P2 + P2 P3 + P3 P1) here for all, with

  Q(n) = (4 - 2^n) / (1 + 2^(n+1)),

where n is the slope of the linear power. With Limber's approximation and Gaussian
smoothing by theta the third moment of the convergence is

  <kappa^3> = 3 int dchi W^3 / chi^4 int l dl / (2 pi) int m dm / (2 pi)
              Q P(l / chi) P(m / chi) exp(-theta^2 (l^2 + m^2)) I_0(theta^2 l m).

S_3 = <kappa^3> / <kappa^2>^2 is compared. The prediction is for strongly nonlinear
scales, where it has an error of 15 %; at 4 arcmin it is too large, as triangles are not
all alike there yet. What counts is that the ratio of simulated and predicted S_3 is the
same for all cosmologies and sources. Maps have 10 x 10 deg; the smoothing is 4 arcmin.
"""

import argparse
import json
import pathlib

from astropy import units as u
import numpy as np
from scipy import ndimage
from scipy import special

from tfp_massmap import geometry
from tfp_massmap import simulate
from tfp_massmap import theory

GRID = geometry.PixelGrid((480, 480), 1.25 * u.arcmin)
SMOOTHING = 4 * u.arcmin
ELL = np.geomspace(20, 8000, 140)
# Omega_m, sigma_8 and mean redshift of the sources.
CASES = (
  (0.3089, 0.8159, 1.0),
  (0.3089, 0.65, 1.0),
  (0.3089, 0.95, 1.0),
  (0.22, 0.8159, 1.0),
  (0.4, 0.8159, 1.0),
  (0.3089, 0.8159, 0.5),
  (0.3089, 0.8159, 1.6),
)


def predicted(cosmology, sources):
  """Returns S_3 of the smoothed convergence."""
  theta = SMOOTHING.to_value(u.rad)
  linear = theory.LinearPower(cosmology)
  slope = np.gradient(np.log(linear.power), np.log(linear.wavenumber))
  matter = theory.MatterPower(cosmology)
  farthest = float(cosmology.comoving_distance(sources.redshift[-1]))
  distance = farthest * (np.arange(60) + 0.5) / 60
  kernel = theory.lensing_kernel(distance, sources, cosmology=cosmology)
  step = ELL**2 * np.log(ELL[1] / ELL[0]) / (2 * np.pi)
  # exp(-a^2 - b^2) I_0(2 a b) without overflow, for a = theta l / sqrt 2.
  product = theta**2 * np.outer(ELL, ELL)
  exponent = product - theta**2 * (ELL[:, np.newaxis] ** 2 + ELL**2)
  window = special.ive(0, product) * np.exp(exponent)
  third = variance = 0.0
  for chi, weight in zip(distance, kernel):
    redshift = float(cosmology.redshift_at(chi))
    wavenumber = ELL / chi
    power = matter(wavenumber, redshift)
    power *= theory.kappatng_boost(wavenumber)
    n = np.interp(np.log(wavenumber), np.log(linear.wavenumber), slope)
    # The geometric mean of both sides of the triangle decides Q.
    n = 0.5 * (n[:, np.newaxis] + n)
    strength = (4 - 2**n) / (1 + 2 ** (n + 1))
    side = step * power
    third += weight**3 / chi**4 * 3 * (side @ (window * strength) @ side)
    variance += weight**2 / chi**2 * (side @ np.exp(-((theta * ELL) ** 2)))
  spacing = distance[1] - distance[0]
  return third * spacing / (variance * spacing) ** 2


def simulated(cosmology, sources, num_maps, seed=0):
  """Returns S_3 of the smoothed maps, and its standard error."""
  simulator = simulate.ConvergenceSimulator(
    GRID, sources, cosmology=cosmology, mode="fast", seed=seed
  )
  pixels = (SMOOTHING / GRID.pixel_scale).to_value(u.one)
  moments = []
  for index in range(num_maps):
    kappa = ndimage.gaussian_filter(simulator.map(index), pixels, mode="wrap")
    kappa = kappa.astype(np.float64) - kappa.mean()
    moments.append([np.mean(kappa**3), np.mean(kappa**2)])
  third, second = np.transpose(moments)
  value = third.mean() / second.mean() ** 2
  # Of a ratio, linearised.
  parts = third / third.mean() - 2 * second / second.mean()
  return value, value * parts.std(ddof=1) / np.sqrt(num_maps)


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--full", action="store_true", help="48 maps a case, not 8")
  parser.add_argument("--json", type=pathlib.Path)
  options = parser.parse_args()
  print("Omega_m  sigma_8  mean z  S_3 simulated   predicted  ratio")
  rows = []
  for omega_matter, sigma_8, mean in CASES:
    cosmology = theory.Cosmology(omega_matter, sigma_8)
    sources = theory.SourceRedshifts.of_mean(mean)
    value, error = simulated(cosmology, sources, 48 if options.full else 8)
    expected = predicted(cosmology, sources)
    print(
      f"{omega_matter:7.3f}  {sigma_8:7.3f}  {mean:6.2f}  {value:6.1f} +- {error:4.1f}"
      f"   {expected:9.1f}  {value / expected:.3f} +- {error / expected:.3f}",
      flush=True,
    )
    rows.append([omega_matter, sigma_8, mean, value, error, expected])
  if options.json:
    options.json.write_text(json.dumps(rows))


if __name__ == "__main__":
  main()
