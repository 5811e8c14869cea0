"""Source planes of the kappaTNG maps, and weights that combine them to an n(z).

The suite (Osato et al. 2021) gives the convergence for 40 source planes, at comoving
distances of 102.5 n Mpc/h. The convergence of a survey with the redshift distribution
n(z) is their weighted mean, sum_n w_n kappa_n. A galaxy counts for the source plane
whose slab, from the lens plane before it to the one behind it, holds its redshift.
Galaxies behind the last slab are recycled: they count for the last plane, 1.2 times
each (Remy et al. 2022, section 6.1).
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tfp_massmap import theory

NUM_PLANES = 40
SPACING = 102.5  # Mpc/h
RECYCLING = 1.2
# The published weights follow from edges rounded to three decimals, and from galaxies
# up to redshift 5, where the catalogue ends.
_DECIMALS = 3
_LAST_EDGE = 5.0
# Redshifts at which a smooth n(z) is counted: 100 or more in each slab.
_NUM_REDSHIFTS = 20001

# Weights of the 40 planes for the shape catalogue of Schrabback et al. (2010), as used
# by Remy et al. (2022).
COSMOS_WEIGHTS = (
  0.0025972,
  0.00282821,
  0.00547208,
  0.00394597,
  0.0065455,
  0.00995475,
  0.00816962,
  0.01029778,
  0.01376537,
  0.01401739,
  0.01235127,
  0.01561818,
  0.01502547,
  0.01662392,
  0.02416116,
  0.02685403,
  0.030863,
  0.03450561,
  0.02412149,
  0.03820889,
  0.04268923,
  0.03597806,
  0.02898686,
  0.03332719,
  0.0457648,
  0.03326885,
  0.03681345,
  0.02626132,
  0.03751817,
  0.02449252,
  0.02652501,
  0.02184865,
  0.02355912,
  0.01751766,
  0.02866484,
  0.0193798,
  0.01721197,
  0.0184604,
  0.01650958,
  0.14929563,
)


def sources(weights: npt.ArrayLike | None = None) -> theory.SourceRedshifts:
  """Returns weighted planes as a redshift distribution.

  Args:
    weights: Weights of the planes, `[40]`; None for `COSMOS_WEIGHTS`.

  Raises:
    ValueError: As `check_weights`.
  """
  name = "n(z) of COSMOS on 40 planes" if weights is None else "n(z) on 40 planes"
  weights = check_weights(COSMOS_WEIGHTS if weights is None else weights)
  used = weights > 0
  return theory.SourceRedshifts(source_redshifts()[used], weights[used], name=name)


def source_distances() -> np.ndarray:
  """Returns the comoving distances of the 40 source planes in Mpc/h, `[40]`."""
  return SPACING * np.arange(1, NUM_PLANES + 1)


def source_redshifts() -> np.ndarray:
  """Returns the redshifts of the 40 source planes, from 0.034 to 2.568, `[40]`."""
  return theory.KAPPATNG.redshift_at(source_distances())


def redshift_edges() -> np.ndarray:
  """Returns the edges of the slabs of the planes and of the recycled galaxies, `[42]`.

  They are the lens planes, which lie half a spacing before the source planes, the end
  of the last slab at redshift 2.635, and redshift 5, where the galaxies end.
  """
  lens_distances = SPACING * (np.arange(1, NUM_PLANES + 2) - 0.5)
  edges = np.round(theory.KAPPATNG.redshift_at(lens_distances), _DECIMALS)
  return np.append(edges, _LAST_EDGE)


def weights_from_redshifts(
  redshifts: npt.ArrayLike,
  counts: npt.ArrayLike | None = None,
  *,
  recycling: float = RECYCLING,
) -> np.ndarray:
  """Returns the weights of the planes for a catalogue of redshifts, or its histogram.

  Args:
    redshifts: Redshifts of galaxies, or of the bins of a histogram, `[n]`.
    counts: Weight of each galaxy or count of each bin, `[n]`; None counts each once.
      The published COSMOS weights follow from counts truncated to whole galaxies.
    recycling: Weight in the last plane of a galaxy behind its slab (redshift 2.635 to
      5). 0 excludes these galaxies.

  Returns:
    Weights with sum 1, float64 `[40]`.

  Raises:
    ValueError: If redshifts or counts are not finite or differ in length, a count is
      negative, or no galaxy lies between redshifts 0.017 and 5.
  """
  redshifts = np.asarray(redshifts, np.float64)
  counts = np.ones_like(redshifts) if counts is None else np.asarray(counts, np.float64)
  if redshifts.ndim != 1 or redshifts.shape != counts.shape:
    raise ValueError(
      "redshifts and counts must be vectors of one length; got shapes"
      f" {redshifts.shape} and {counts.shape}."
    )
  if not (np.isfinite(redshifts).all() and np.isfinite(counts).all()):
    raise ValueError("redshifts and counts must be finite; remove the others first.")
  if (counts < 0).any():
    raise ValueError(f"counts must not be negative; the least is {counts.min():.4g}.")
  if recycling < 0:
    raise ValueError(f"recycling must not be negative; got {recycling}.")
  edges = redshift_edges()
  histogram, _ = np.histogram(redshifts, edges, weights=counts)
  weights = histogram[:NUM_PLANES]
  weights[-1] += recycling * histogram[NUM_PLANES]
  if not weights.sum() > 0:
    raise ValueError(
      f"No galaxy has a redshift between {edges[0]} and {edges[-1]}, the range of"
      " the source planes."
    )
  return weights / weights.sum()


def weights_from_density(
  redshift_density: Callable[[np.ndarray], np.ndarray], recycling: float = RECYCLING
) -> np.ndarray:
  """Returns the weights of the planes for a smooth n(z).

  Args:
    redshift_density: Function of redshifts `[n]` that returns n(z), `[n]`, with any
      normalisation.
    recycling: As in `weights_from_redshifts`.

  Returns:
    Weights with sum 1, float64 `[40]`.
  """
  redshifts = np.linspace(0, _LAST_EDGE, _NUM_REDSHIFTS)[1:]
  return weights_from_redshifts(
    redshifts, redshift_density(redshifts), recycling=recycling
  )


def check_weights(weights: npt.ArrayLike) -> np.ndarray:
  """Returns weights as float64 `[40]` of sum 1.

  Args:
    weights: Weights of the planes, `[40]`.

  Raises:
    ValueError: If there are not 40 finite weights, one is negative, or all are zero.
  """
  weights = np.asarray(weights, np.float64)
  if weights.shape != (NUM_PLANES,):
    raise ValueError(
      f"One weight for each of the {NUM_PLANES} source planes is needed; got shape"
      f" {weights.shape}."
    )
  if not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum() > 0:
    raise ValueError(
      "Plane weights must be finite and not negative, with a positive sum; got"
      f" values from {weights.min()} to {weights.max()}."
    )
  return weights / weights.sum()
