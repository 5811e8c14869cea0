"""Surveys, priors and truths that the sections of `posterior.py` share."""

import argparse
from collections.abc import Iterable

from astropy import units as u
import cosmos_survey
import numpy as np

from tfp_massmap import geometry
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate

# The grid of the released COSMOS maps.
PIXEL = 0.29 * u.arcmin
GRID = geometry.PixelGrid((360, 360), PIXEL)

# Seed of the simulator. Trainings use smaller seeds.
_SEED = 30_000_000


def make_posterior(
  shear_map: shear_map_lib.ShearMap, prior: priors.Prior
) -> posterior_lib.Posterior:
  """Returns the posterior of a shear map."""
  return posterior_lib.Posterior(likelihood_lib.ShearLikelihood(shear_map), prior)


def in_the_middle(
  options: argparse.Namespace, survey: shear_map_lib.ShearMap
) -> tuple[shear_map_lib.ShearMap, priors.HybridPrior]:
  """Returns survey and prior on the inner pixels that `--size` asks for."""
  survey = cosmos_survey.center(survey, options.size)
  return survey, priors.HybridPrior.load(options.prior, survey.grid)


def simulated_truths(num: int, size: int) -> np.ndarray:
  """Returns crops of simulated maps without their mean, `[num, size, size]`."""
  simulator = simulate.ConvergenceSimulator(
    geometry.PixelGrid((1024, 1024), PIXEL), seed=_SEED
  )
  crops = np.stack([kappa[:size, :size] for kappa in simulator.maps(num)])
  return crops - crops.mean(axis=(1, 2), keepdims=True)


def run_label(
  survey: shear_map_lib.ShearMap, prior: priors.Prior, *, num: int, settings: object
) -> str:
  """Returns a label of all that decides the results of a section that is resumed."""
  pixels = f"{survey.mask.sum()} of {survey.mask.shape} pixels measured"
  noise = np.mean(survey.noise_std[:, survey.mask])
  checksum = prior.fingerprint()[:16]
  return f"{pixels}, noise {noise:.6f}, {num} samples, prior {checksum}, {settings}"


def print_row(name: str, values: Iterable[float], *, form: str = "{:7.3f}") -> None:
  """Prints a named row of a table."""
  print(f"{name:>34s} " + " ".join(form.format(v) for v in values), flush=True)
