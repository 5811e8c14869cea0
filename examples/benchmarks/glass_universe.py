"""Makes convergence maps of another universe: the lognormal shells of GLASS.

    pip install glass ducc0
    python examples/benchmarks/glass_universe.py --output truths.npz [--num-maps 16]
        [--pixel-scale 2.5] [--smail-scale 0.42] [--seed 0]

GLASS (Tessore et al. 2023, Open J. Astrophys. 6, 11) is a simulator that shares nothing
with that of this package but the power spectrum of matter, which is given to it so that
the Gaussian component of a prior is right. Its matter is lognormal in shells of 150 Mpc/h
on the whole sky, without haloes. Maps are in tangent planes, of `--side` pixels, and well
apart on one sky. `surveys.py posterior --truths-of truths.npz` takes them for truths;
defaults are those of the survey DES-like. TensorFlow is not needed.
"""

import argparse
import itertools
import json
import pathlib

from astropy import units as u
import ducc0
import glass
import numpy as np
from scipy import fft
import tqdm

from tfp_massmap import geometry
from tfp_massmap import theory

THICKNESS = 150.0  # Of the shells, in Mpc/h.
FEWEST_SOURCES = 1e-3  # Share of the sources before which there are no shells.
# A lognormal field is made on pixels of half the size, in planes that are wider than the
# maps by a quarter, so that its small scales neither alias nor ring at the edges.
OVERSAMPLING, MARGIN = 2, 1.25
DECLINATIONS = (-45.0, -15.0, 15.0, 45.0)
EPSILON = 1e-5  # Relative error of the spherical harmonics.


def shells_of(sources, cosmology):
  """Yields distances that fill a shell of matter, and the lensing weight of it."""
  behind = np.cumsum(sources.weight[::-1])[::-1]
  farthest = sources.redshift[behind > FEWEST_SOURCES][-1]
  last = float(cosmology.comoving_distance(farthest))
  edges = np.linspace(0, last, int(np.ceil(last / THICKNESS)) + 1)
  for low, high in itertools.pairwise(edges):
    distance = np.linspace(low, high, 33)[1:]
    kernel = theory.lensing_kernel(distance, sources, cosmology=cosmology)
    yield distance, float(kernel.mean() * (high - low))


def shell_power(distance, ell, cosmology):
  """Returns the power of the mean overdensity of a shell, by Limber's approximation."""
  wavenumber = (ell[:, np.newaxis] + 0.5) / distance
  power = theory.MatterPower(cosmology)(wavenumber, cosmology.redshift_at(distance))
  power = power * theory.kappatng_boost(wavenumber)
  thickness = np.ptp(distance) * len(distance) / (len(distance) - 1)
  return (power / distance**2).mean(axis=1) / thickness


def places(num, grid_of):
  """Returns colatitudes and longitudes of the pixels of planes, `[num, n, n, 2]`."""
  per_row = -(-num // len(DECLINATIONS))
  centers = [
    (360 * column / per_row, dec) for column in range(per_row) for dec in DECLINATIONS
  ]
  found = []
  for center in centers[:num]:
    grid = grid_of(center)
    ra, dec = grid.pixel_to_world(*np.indices(grid.shape))
    found.append(np.stack([np.pi / 2 - np.radians(dec), np.radians(ra % 360)], axis=-1))
  return np.stack(found)


def gaussian_modes(power, rng):
  """Returns coefficients of spherical harmonics of m >= 0, in the order of m, then ell."""
  lmax = len(power) - 1
  first, second = rng.standard_normal([2, (lmax + 1) * (lmax + 2) // 2])
  ell = np.concatenate([np.arange(m, lmax + 1) for m in range(lmax + 1)])
  modes = (first + 1j * second) / 2**0.5
  modes[: lmax + 1] = first[: lmax + 1]  # Those of m = 0 are real.
  return np.sqrt(power)[ell] * modes


def coarse(fine, side):
  """Returns the inner part of maps, their pixels twice as large, without aliases."""
  num = fine.shape[-1] // OVERSAMPLING
  modes = fft.fftshift(fft.fft2(fine), axes=(-2, -1))
  low = (fine.shape[-1] - num) // 2
  modes = modes[..., low : low + num, low : low + num]
  kappa = fft.ifft2(fft.ifftshift(modes, axes=(-2, -1))).real / OVERSAMPLING**2
  edge = (num - side) // 2
  return kappa[..., edge : edge + side, edge : edge + side].astype(np.float32)


def make(options):
  """Returns the convergence of all planes, `[num_maps, side, side]`."""
  cosmology, sources = (
    theory.KAPPATNG,
    theory.SourceRedshifts.smail(options.smail_scale),
  )
  pixel_scale = options.pixel_scale * u.arcmin
  fine = int(MARGIN * options.side) // 2 * 2 * OVERSAMPLING
  where = places(
    options.num_maps,
    lambda center: geometry.PixelGrid.tangent(
      center, (fine, fine), pixel_scale=pixel_scale / OVERSAMPLING
    ),
  )
  # To the corner of the plane of Fourier modes of the maps.
  lmax = int(np.pi / pixel_scale.to_value(u.rad) * 2**0.5)
  ell = np.arange(lmax + 1.0)
  kappa = np.zeros(where.shape[:-1])
  rng = np.random.default_rng(options.seed)
  for distance, weight in tqdm.tqdm(list(shells_of(sources, cosmology)), unit="shell"):
    power = shell_power(distance, ell, cosmology)
    power[0] = 0
    field = glass.grf.Lognormal()
    (gaussian,) = glass.solve_gaussian_spectra([field], [power])
    values = ducc0.sht.synthesis_general(
      alm=gaussian_modes(gaussian, rng)[np.newaxis],
      spin=0,
      lmax=lmax,
      loc=where.reshape(-1, 2),
      epsilon=EPSILON,
      nthreads=options.threads,
    )[0]
    variance = np.sum((2 * ell + 1) * gaussian) / (4 * np.pi)
    kappa += weight * field(values, variance).reshape(kappa.shape)
  return coarse(kappa, options.side)


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--num-maps", type=int, default=16)
  parser.add_argument("--side", type=int, default=192)
  parser.add_argument("--pixel-scale", type=float, default=2.5, help="in arcmin")
  parser.add_argument("--smail-scale", type=float, default=0.42, help="z0 of n(z)")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--threads", type=int, default=2)
  parser.add_argument("--output", type=pathlib.Path, required=True)
  options = parser.parse_args()
  kappa = make(options)
  settings = {name: value for name, value in vars(options).items() if name != "output"}
  settings["glass"] = glass.__version__
  np.savez_compressed(options.output, kappa=kappa, settings=json.dumps(settings))
  print(f"Wrote {len(kappa)} maps, standard deviation {kappa.std():.4f}.")


if __name__ == "__main__":
  main()
