"""Power spectrum of the convergence from masked shear, by maximum likelihood.

ln C_ell is that of a fiducial spectrum plus a piecewise linear function of ln ell with
nodes a_b. With the Wiener filter mu of the data, and of simulations of the model, the
derivatives of the marginal likelihood of the shear are

  d ln L / d a_b = 1/2 sum_k h_b(k) (|mu_k|^2 - <|mu_k|^2>) / S_k,
  F_bc ~ 1/2 sum_k h_b(k) h_c(k) R_k r_k,

h_b the hat function of a node, R = <|mu|^2> / S the response of the masked map and
r = S / (S + N) that of measured pixels. A step is F^-1 times the gradient (Bond, Jaffe
and Knox 1998); F only steers it, and gives the errors. A weak Gaussian prior on a_b
holds the nodes of which the data know nothing.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from tfp_massmap import gaussian_posterior
from tfp_massmap import geometry
from tfp_massmap import lensing
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import priors
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import spectra

_LARGEST_STEP = 1.0
_RTOL = 1e-4


@dataclasses.dataclass(frozen=True)
class EstimatedPower:
  """A measured spectrum.

  Attributes:
    spectrum: `spectra.PowerSpectrum` on every mode of the map.
    ell: nodes, `[num_nodes]`.
    log_ratio: ln of the power over the fiducial one at the nodes, a.
    covariance: of `log_ratio`, with the weak prior, `[num_nodes, num_nodes]`.
    last_step: largest change of a node in the last iteration.
  """

  spectrum: spectra.PowerSpectrum
  ell: np.ndarray
  _: dataclasses.KW_ONLY
  log_ratio: np.ndarray
  covariance: np.ndarray
  last_step: float


def estimate(
  shear_map,
  fiducial,
  *,
  num_nodes=8,
  num_iterations=8,
  num_simulations=8,
  log_ratio_std=1.0,
  seed=0,
  tolerance=0.1,
):
  """Estimates the power spectrum from the data.

  Args:
    shear_map: `shear_map.ShearMap`.
    fiducial: `spectra.PowerSpectrum` that covers the map: shape between the nodes, and
      the start.
    num_nodes: nodes, equally spaced in ln ell over the modes of the map.
    num_iterations: steps.
    num_simulations: of the model, with the same random numbers in every step. They add
      a share 1 / num_simulations to the squared error of the estimate.
    log_ratio_std: standard deviation of the prior of a node.
    seed: integer, of the simulations.
    tolerance: how much of its standard deviation a node may still move in the last
      step. Steps converge fast: from a spectrum wrong by a factor of 3, the eighth
      moves none by a hundredth.

  Returns:
    An `EstimatedPower`.

  Raises:
    TypeError: for what is no `ShearMap`.
    ValueError: for fewer than 2 nodes, 1 iteration or 2 simulations, or a fiducial
      spectrum that does not cover the map.
    RuntimeError: if a node moves by more than `tolerance` in the last step, or a Wiener
      filter does not converge.
  """
  _check(shear_map, num_nodes, num_iterations, num_simulations)
  grid = shear_map.grid
  likelihood = likelihood_lib.ShearLikelihood(shear_map)
  edges = spectra.band_edges(grid, num_nodes - 1)
  hats = _hats(grid, edges)
  multiplicity = np.broadcast_to(
    geometry.half_plane_multiplicity(grid.shape), hats.shape[1:]
  ).copy()
  multiplicity[0, 0] = 0
  base = fiducial.mode_variance(grid)
  noise = 1 / np.mean(shear_map.noise_std[:, shear_map.mask] ** -2.0)
  prior_precision = np.eye(num_nodes) / log_ratio_std**2
  nodes = np.zeros(num_nodes)
  for _ in range(num_iterations):
    variance = base * np.exp(np.tensordot(nodes, hats, 1))
    data, model = _wiener_power(likelihood, variance, num_simulations, seed)
    gradient = 0.5 * np.tensordot(hats, multiplicity * (data - model) / variance, 2)
    response = multiplicity * model / (variance + noise)
    fisher = 0.5 * np.einsum("aij,bij,ij->ab", hats, hats, response, optimize=True)
    precision = fisher + prior_precision
    step = np.linalg.solve(precision, gradient - prior_precision @ nodes)
    step = np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
    nodes = nodes + step
  covariance = np.linalg.inv(precision)
  _check_converged(step, covariance, num_iterations, tolerance)
  ell = np.unique(np.concatenate([edges, np.geomspace(edges[0], edges[-1], 200)]))
  ratio = np.exp(np.interp(np.log(ell), np.log(edges), nodes))
  ell[[0, -1]] = edges[[0, -1]]
  inside = np.clip(ell, fiducial.ell[0], fiducial.ell[-1])
  return EstimatedPower(
    spectra.PowerSpectrum(
      ell, fiducial(inside) * ratio, name="measured from the shear"
    ),
    edges,
    log_ratio=nodes,
    covariance=covariance,
    last_step=float(np.abs(step).max()),
  )


def _check(shear_map, num_nodes, num_iterations, num_simulations):
  if not isinstance(shear_map, shear_map_lib.ShearMap):
    raise TypeError(
      "The likelihood of the spectrum needs a shear_map.ShearMap, with noise_std and"
      f" mask; got {type(shear_map).__name__}. Write ShearMap(shear, noise_std, mask,"
      " grid), or bin a catalogue."
    )
  for name, value, least in (
    ("num_nodes", num_nodes, 2),
    ("num_iterations", num_iterations, 1),
    ("num_simulations", num_simulations, 2),
  ):
    if value < least:
      raise ValueError(f"{name} must be at least {least}; got {value}.")


def _check_converged(step, covariance, num_iterations, tolerance):
  moved = np.max(np.abs(step) / np.sqrt(np.diag(covariance)))
  if not moved <= tolerance:
    raise RuntimeError(
      f"In the last of {num_iterations} steps a node of the spectrum still moved by"
      f" {moved:.2g} of its standard deviation, above tolerance = {tolerance:g}. Allow"
      " more with num_iterations, start from a closer fiducial spectrum, or raise"
      " tolerance."
    )


def _hats(grid, edges):
  """Hat functions of ln ell on the modes, `[num_nodes, ny, nx // 2 + 1]`."""
  ell = grid.multipoles()
  ell[0, 0] = edges[0]
  place = np.interp(np.log(ell), np.log(edges), np.arange(len(edges)))
  return np.maximum(0, 1 - np.abs(place - np.arange(len(edges))[:, None, None]))


def _wiener_power(likelihood, variance, num_simulations, seed):
  """|mu|^2 of the data and its mean over simulations of the model, unitary modes."""
  prior = priors.GaussianPrior(variance, likelihood.shape)
  kappa = prior.sample([num_simulations], seed=(seed, 0))
  noise = likelihood.sample_noise([num_simulations], seed=(seed, 1))
  simulated = likelihood.model(kappa) + noise
  shear = tf.concat([likelihood.shear[tf.newaxis], simulated], axis=0)
  modes, iterations, residual = _filter(
    shear, likelihood.inverse_variance(), prior.mode_variance
  )
  if not residual <= _RTOL:
    raise RuntimeError(
      f"The Wiener filter stopped after {int(iterations)} iterations at a relative"
      f" residual of {float(residual):.2g}, above {_RTOL:g}. Pixels whose noise_std is"
      " far below that of the others make it slow: mask them, or raise their noise."
    )
  power = np.abs(modes.numpy()) ** 2 / np.prod(likelihood.shape)
  return power[0], power[1:].mean(axis=0)


@tf.function(autograph=False)
def _filter(shear, weight, variance):
  right_side = lensing.modes_from_shear(weight * shear)
  weighted = gaussian_posterior.Weighted(weight)
  return gaussian_posterior.solve(weighted, variance, right_side=right_side, rtol=_RTOL)
