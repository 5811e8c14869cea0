"""The mock of the paper's sections 7.1 and 7.2, or one like it without any data."""

import pathlib

from astropy import units as u
from astropy.io import fits
import numpy as np

from tfp_massmap import catalog
from tfp_massmap import geometry
from tfp_massmap import simulate

SHAPE = (360, 360)

# Multipoles; no band is empty. Their centres are those of the modes.
BAND_EDGES = np.geomspace(190, 36000, 18)
BAND_CENTERS = np.sqrt((BAND_EDGES[1:] ** 2 + BAND_EDGES[:-1] ** 2) / 2)


def find(data, name):
  """The first file of that name in a folder or below; None without one."""
  paths = sorted(pathlib.Path(data).rglob(name))
  return paths[0] if paths else None


def cosmos_shear_map(data, noise="unweighted"):
  """The COSMOS catalogue of Schrabback et al. (2010), binned as in the paper; or None."""
  path = None if data is None else find(data, "nhweight_int.fits")
  if path is None:
    return None
  catalogue = catalog.read_schrabback2010(path.parent)
  grid = geometry.PixelGrid.plate_carree(
    center=(np.median(catalogue.ra), np.median(catalogue.dec)),
    shape=SHAPE,
    pixel_scale=1.74 * u.deg / SHAPE[0],
  )
  return catalog.bin_catalogue(catalogue, grid, flip_e2=True, noise=noise)


def empty_survey(data, noise="unweighted"):
  """`ShearMap` to observe with: COSMOS if `data` has it, a survey like it if not."""
  real = cosmos_shear_map(data, noise)
  if real is not None:
    return real
  grid = geometry.PixelGrid(SHAPE, 0.29 * u.arcmin)
  survey = simulate.cosmos_like_survey()
  return simulate.mock_observation(np.zeros(SHAPE), grid, survey=survey, seed=1)


def truth(data, seed):
  """`(kappa, name)`: the paper's kappaTNG field, or a simulated one."""
  path = None if data is None else find(data, "ktng_kappa360v2.fits")
  if path is not None:
    return fits.getdata(path).astype(np.float64), "kappaTNG field"
  grid = geometry.PixelGrid((1024, 1024), 0.29 * u.arcmin)
  simulator = simulate.ConvergenceSimulator(grid, seed=60_000_000 + seed)
  return next(iter(simulator.maps(1)))[: SHAPE[0], : SHAPE[1]], "simulated field"


def observe(data, seed, noise="unweighted"):
  """`(kappa, name, shear_map)`: the truth and its mock observation."""
  kappa, name = truth(data, seed)
  return kappa, name, simulate.observe_like(kappa, empty_survey(data, noise), seed=seed)


def add_options(parser, full):
  """The options that all figures have."""
  parser.add_argument("--data", type=pathlib.Path, help="folder of the real data")
  parser.add_argument("--output", default=pathlib.Path("."), type=pathlib.Path)
  parser.add_argument("--full", action="store_true", help=full)
  parser.add_argument("--seed", default=0, type=int)
  parser.add_argument("--overwrite", action="store_true")
