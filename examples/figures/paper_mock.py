"""The mock of Remy et al. (2022), sections 7.1 and 7.2, or a simulated one like it."""

import argparse
import os
import pathlib

from astropy import units as u
from astropy.io import fits
import numpy as np

from tfp_massmap import catalog
from tfp_massmap import geometry
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate

# The released COSMOS maps have this shape.
SHAPE = (360, 360)

# Multipoles of bands none of which is empty. Modes are uniform in the plane of
# multipoles, so the centre of a band is the root mean square of its edges.
BAND_EDGES = np.geomspace(190, 36000, 18)
BAND_CENTERS = np.sqrt((BAND_EDGES[1:] ** 2 + BAND_EDGES[:-1] ** 2) / 2)


def find(data: str | os.PathLike, name: str) -> pathlib.Path | None:
  """Returns the first file of that name in a folder or below, or None."""
  paths = sorted(pathlib.Path(data).rglob(name))
  return paths[0] if paths else None


def cosmos_shear_map(
  data: str | os.PathLike | None, noise: str = "unweighted"
) -> shear_map_lib.ShearMap | None:
  """Returns the COSMOS catalogue of Schrabback et al. (2010), binned as in the paper.

  Args:
    data: Folder that holds the catalogue, there or below; None if there is none.
    noise: "weighted" or "unweighted", as `catalog.bin_catalogue` takes it.

  Returns:
    A `ShearMap`, or None without the catalogue.
  """
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


def empty_survey(
  data: str | os.PathLike | None, noise: str = "unweighted"
) -> shear_map_lib.ShearMap:
  """Returns a survey to observe with: COSMOS if `data` holds it, else one like it."""
  real = cosmos_shear_map(data, noise)
  if real is not None:
    return real
  grid = geometry.PixelGrid(SHAPE, 0.29 * u.arcmin)
  survey = simulate.cosmos_like_survey()
  return simulate.mock_observation(np.zeros(SHAPE), grid, survey=survey, seed=1)


def truth(data: str | os.PathLike | None, seed: int) -> tuple[np.ndarray, str]:
  """Returns the paper's kappaTNG field, or a simulated one, and its name.

  Args:
    data: Folder that holds the kappaTNG field, there or below, or None.
    seed: Integer of the simulated field.
  """
  path = None if data is None else find(data, "ktng_kappa360v2.fits")
  if path is not None:
    return fits.getdata(path).astype(np.float64), "kappaTNG field"
  grid = geometry.PixelGrid((1024, 1024), 0.29 * u.arcmin)
  # No training used seeds as large as this.
  simulator = simulate.ConvergenceSimulator(grid, seed=60_000_000 + seed)
  return next(iter(simulator.maps(1)))[: SHAPE[0], : SHAPE[1]], "simulated field"


def observe(
  data: str | os.PathLike | None, seed: int, *, noise: str = "unweighted"
) -> tuple[np.ndarray, str, shear_map_lib.ShearMap]:
  """Returns the truth, its name, and its mock observation."""
  kappa, name = truth(data, seed)
  return kappa, name, simulate.observe_like(kappa, empty_survey(data, noise), seed=seed)


def add_options(parser: argparse.ArgumentParser, full: str) -> None:
  """Adds the options that all figures have; `full` is the help of `--full`."""
  parser.add_argument("--data", type=pathlib.Path, help="folder of the real data")
  parser.add_argument("--output", default=pathlib.Path("."), type=pathlib.Path)
  parser.add_argument("--full", action="store_true", help=full)
  parser.add_argument("--seed", default=0, type=int)
  parser.add_argument("--overwrite", action="store_true")
