"""`tfp-massmap demo`: the posterior of a mock field."""

import argparse

from tfp_massmap.cli import console
from tfp_massmap.cli import sampling

# Side of a pixel in arcmin, as in Remy et al. (2022).
_PIXEL_SCALE = 0.29

# Centre of the COSMOS field in degrees, so that the files open like those of a real
# one.
_CENTER = (150.12, 2.25)


def run(options: argparse.Namespace) -> None:
  """Simulates a field, observes it like COSMOS, and samples its posterior.

  Args:
    options: See `arguments`.
  """
  paths = sampling.product_paths(options.output, options.overwrite)
  shape = (options.size, options.size)
  sampling.require_size(shape, _PIXEL_SCALE, remedy="Give a larger --size.")
  console.start_tensorflow()
  from astropy import units as u

  from tfp_massmap import geometry
  from tfp_massmap import simulate
  from tfp_massmap import spectra
  from tfp_massmap import theory

  prior = sampling.choose_prior(options.prior)
  if prior == "gaussian":
    prior = spectra.PowerSpectrum.fiducial_cosmos()
  sources = theory.SourceRedshifts.of_survey("cosmos")
  grid = geometry.PixelGrid.tangent(_CENTER, shape, pixel_scale=_PIXEL_SCALE * u.arcmin)
  simulator = simulate.ConvergenceSimulator(
    geometry.PixelGrid(grid.shape, grid.pixel_scale), sources, seed=options.seed
  )
  truth = next(iter(simulator.maps(1)))
  shear_map = simulate.mock_observation(
    truth, grid, survey=simulate.cosmos_like_survey(), seed=options.seed
  )
  print(
    f"Mock field of {options.size} x {options.size} pixels,"
    f" {shear_map.settings['num_galaxies']} galaxies in"
    f" {shear_map.mask.mean():.0%} of it."
  )
  sampling.sample_and_save(
    shear_map,
    prior,
    options=options,
    paths=paths,
    header={"data": "mock field"},
    title="Mock COSMOS-like field",
    truth=truth,
    sources=sources,
  )
