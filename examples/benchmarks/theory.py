"""Compares the convergence power of `theory` with that of pyccl.

    python examples/benchmarks/theory.py [--num 20] [--json FILE]
    python examples/benchmarks/theory.py --boost

The first needs the extra `theory` (pyccl with camb). Cosmologies are drawn from Omega_m
between 0.2 and 0.4 and sigma_8 between 0.6 and 1.0, each with an n(z) of its own: of the
form of Smail et al. (1994) with a mean redshift between 0.4 and 1.6, every other one a
slice of it in photometric redshift. For each the largest deviation over ell from 30 to
30,000 is printed.

The second needs nothing, and fits the table of `theory.kappatng`: the boost of the matter
power at octaves of the wavenumber whose projection for the n(z) of COSMOS is closest to
the ratio of kappaTNG to halofit that the simulator uses. Squared second differences,
with a weight of 0.01, keep neighbours alike.
"""

import argparse
import json
import pathlib

import numpy as np

from tfp_massmap import theory
from tfp_massmap.simulate import source_planes
from tfp_massmap.tables import build_matter_power
from tfp_massmap.theory import kappatng

SEED = 25
ELL = np.geomspace(30, 30_000, 61)


def draw(index):
  """Returns a cosmology and an n(z) as (redshift, density)."""
  rng = np.random.default_rng([SEED, index])
  cosmology = theory.Cosmology(rng.uniform(0.2, 0.4), rng.uniform(0.6, 1.0))
  mean = rng.uniform(0.4, 1.6)
  redshift = np.linspace(0.0025, 5.9975, 1200)
  density = theory.SourceRedshifts.of_mean(mean)
  density = np.interp(redshift, density.redshift, density.weight)
  if index % 2:
    center, scatter = mean * rng.uniform(0.7, 1.3), rng.uniform(0.1, 0.3)
    density = density * np.exp(-0.5 * ((redshift - center) / scatter) ** 2)
  return cosmology, redshift, density


def reference(cosmology, redshift, density):
  """Returns C_ell of the convergence by pyccl."""
  import pyccl

  world = build_matter_power.universe(cosmology.omega_matter, cosmology.sigma_8)
  tracer = pyccl.Tracer()
  kernel = pyccl.get_lensing_kernel(world, dndz=(redshift, density))
  # der_bessel -1 and der_angles 1 give the kernel of the convergence itself.
  tracer.add_tracer(world, kernel=kernel, der_bessel=-1, der_angles=1)
  return pyccl.angular_cl(world, tracer, tracer, ELL)


def fit_boost():
  """Prints the boost at the wavenumbers of `theory.kappatng`."""
  ell = np.geomspace(300, 6e4, 80)
  nodes = np.log(kappatng.WAVENUMBERS)
  sources = theory.SourceRedshifts(
    source_planes.source_redshifts(), source_planes.COSMOS_WEIGHTS
  )
  columns = []
  for unit in np.eye(len(nodes)):
    hat = lambda k, unit=unit: np.interp(np.log(k), nodes, unit)
    columns.append(theory.convergence_power(ell, sources, boost=hat))
  design = np.stack(columns, axis=1)
  design /= theory.convergence_power(ell, sources)[:, np.newaxis]
  wanted = kappatng.over_halofit(ell)
  smooth = 0.1 * np.diff(np.eye(len(nodes)), 2, axis=0)
  rows = np.concatenate([design, smooth])
  found, *_ = np.linalg.lstsq(rows, np.append(wanted, np.zeros(len(smooth))))
  print("k in h/Mpc, boost")
  for wavenumber, value in zip(kappatng.WAVENUMBERS, found):
    print(f"{wavenumber:10g}  {value:.3f}")
  print(f"Largest deviation: {np.abs(design @ found / wanted - 1).max():.4f}")


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
  parser.add_argument("--num", type=int, default=20)
  parser.add_argument("--json", type=pathlib.Path)
  parser.add_argument("--boost", action="store_true")
  options = parser.parse_args()
  if options.boost:
    fit_boost()
    return
  print("Omega_m  sigma_8  mean z   largest deviation, at ell")
  found = []
  for index in range(options.num):
    cosmology, redshift, density = draw(index)
    sources = theory.SourceRedshifts.from_galaxies(redshift, density)
    power = theory.convergence_power(ELL, sources, cosmology=cosmology)
    deviation = power / reference(cosmology, redshift, density) - 1
    worst = int(np.abs(deviation).argmax())
    print(
      f"{cosmology.omega_matter:7.3f}  {cosmology.sigma_8:7.3f}  {sources.mean:6.2f}"
      f"   {deviation[worst]:+.4f}  {ELL[worst]:.0f}",
      flush=True,
    )
    found.append(float(deviation[worst]))
  print(f"Largest of all: {np.abs(found).max():.4f}")
  if options.json:
    options.json.write_text(json.dumps(dict(ell=ELL.tolist(), deviation=found)))


if __name__ == "__main__":
  main()
