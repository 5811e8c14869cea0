"""Power spectrum of the convergence from masked shear, by maximum likelihood.

ln C_ell is that of a fiducial spectrum plus a piecewise linear function of ln ell with
values a_b at its nodes. With the Wiener filter mu of the data and of simulations of the
model, the derivatives of the marginal likelihood of the shear are

  d ln L / d a_b = 1/2 sum_k h_b(k) (|mu_k|^2 - <|mu_k|^2>) / S_k,
  F_bc = 1/2 sum_k h_b(k) h_c(k) R_k r_k, approximately,

where h_b is the hat function of a node, R = <|mu|^2> / S is the response of the masked
map, and r = S / (S + N) is that of measured pixels. A step is F^-1 times the gradient
(Bond, Jaffe and Knox 1998). F only steers the steps and gives the errors, so that its
approximation does not bias the estimate. A weak Gaussian prior on a_b holds the nodes
that the data do not constrain.
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

# Largest change of a node in a step, a factor e in power: F is that of the current
# spectrum, so that a step from a far start would overshoot.
_LARGEST_STEP = 1.0
# Residual of the Wiener filters: their error is far below the scatter of simulations.
_RTOL = 1e-4
# Points of the estimated spectrum: linear interpolation in log-log between them follows
# the curvature of the fiducial spectrum.
_NUM_POINTS = 200


@dataclasses.dataclass(frozen=True)
class EstimatedPower:
  """A measured spectrum.

  Attributes:
    spectrum: `spectra.PowerSpectrum` on every mode of the map.
    ell: Multipoles of the nodes, `[num_nodes]`.
    log_ratio: a, the ln of the power over the fiducial one at the nodes, `[num_nodes]`.
    covariance: Covariance of `log_ratio` with the weak prior, `[num_nodes, num_nodes]`.
    last_step: Largest change of a node in the last iteration.
  """

  spectrum: spectra.PowerSpectrum
  ell: np.ndarray
  _: dataclasses.KW_ONLY
  log_ratio: np.ndarray
  covariance: np.ndarray
  last_step: float


def estimate(
  shear_map: shear_map_lib.ShearMap,
  fiducial: spectra.PowerSpectrum,
  *,
  num_nodes: int = 8,
  num_iterations: int = 8,
  num_simulations: int = 8,
  log_ratio_std: float = 1.0,
  seed: int = 0,
  tolerance: float = 0.1,
) -> EstimatedPower:
  """Estimates the power spectrum from the data.

  Args:
    shear_map: Data with their noise and mask.
    fiducial: Spectrum that covers the map: the start, and the shape between the nodes.
    num_nodes: Number of nodes, equally spaced in ln ell over the modes of the map.
    num_iterations: Number of steps. From a spectrum that is wrong by a factor of 3, the
      eighth step moves no node by 0.01.
    num_simulations: Number of simulations of the model, with the same random numbers in
      every step. They add a fraction 1 / num_simulations to the squared error.
    log_ratio_std: Standard deviation of the prior of a node.
    seed: Seed of the simulations.
    tolerance: Largest change of a node in the last step, in its standard deviations.

  Returns:
    An `EstimatedPower`.

  Raises:
    TypeError: If `shear_map` is not a `shear_map.ShearMap`.
    ValueError: If there are fewer than 2 nodes, 1 iteration or 2 simulations, or the
      fiducial spectrum does not cover the map.
    RuntimeError: If a node moves by more than `tolerance` in the last step, or a Wiener
      filter does not converge.
  """
  _check(shear_map, num_nodes, num_iterations, num_simulations)
  grid = shear_map.grid
  edges = spectra.band_edges(grid, num_nodes - 1)
  model = _Model(shear_map, fiducial.mode_variance(grid), edges)
  prior_precision = np.eye(num_nodes) / log_ratio_std**2
  nodes = np.zeros(num_nodes)
  for _ in range(num_iterations):
    gradient, fisher = model.derivatives(nodes, num_simulations, seed)
    precision = fisher + prior_precision
    step = np.linalg.solve(precision, gradient - prior_precision @ nodes)
    step = np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
    nodes = nodes + step
  covariance = np.linalg.inv(precision)
  _check_converged(step, covariance, num_iterations, tolerance)
  return EstimatedPower(
    _spectrum(fiducial, edges, nodes),
    edges,
    log_ratio=nodes,
    covariance=covariance,
    last_step=float(np.abs(step).max()),
  )


class _Model:
  """The marginal likelihood of the shear as a function of the nodes."""

  def __init__(self, shear_map, base, edges):
    grid = shear_map.grid
    self._likelihood = likelihood_lib.ShearLikelihood(shear_map)
    self._base = base
    self._hats = _hats(grid, edges)
    self._multiplicity = np.broadcast_to(
      geometry.half_plane_multiplicity(grid.shape), base.shape
    ).copy()
    self._multiplicity[0, 0] = 0
    self._noise = 1 / np.mean(shear_map.noise_std[:, shear_map.mask] ** -2.0)

  def derivatives(self, nodes, num_simulations, seed):
    """Returns the gradient `[num_nodes]` and F."""
    hats = self._hats
    variance = self._base * np.exp(np.tensordot(nodes, hats, 1))
    data, model = _wiener_power(self._likelihood, variance, num_simulations, seed)
    excess = self._multiplicity * (data - model) / variance
    gradient = 0.5 * np.tensordot(hats, excess, 2)
    response = self._multiplicity * model / (variance + self._noise)
    fisher = 0.5 * np.einsum("aij,bij,ij->ab", hats, hats, response, optimize=True)
    return gradient, fisher


def _spectrum(fiducial, edges, nodes):
  """Returns the fiducial spectrum times exp(a), as a table."""
  points = np.geomspace(edges[0], edges[-1], _NUM_POINTS)
  ell = np.unique(np.concatenate([edges, points]))
  ratio = np.exp(np.interp(np.log(ell), np.log(edges), nodes))
  ell[[0, -1]] = edges[[0, -1]]
  inside = np.clip(ell, fiducial.ell[0], fiducial.ell[-1])
  return spectra.PowerSpectrum(
    ell, fiducial(inside) * ratio, name="measured from the shear"
  )


def _check(shear_map, num_nodes, num_iterations, num_simulations):
  if not isinstance(shear_map, shear_map_lib.ShearMap):
    raise TypeError(
      "The likelihood of the spectrum needs a shear_map.ShearMap, with noise_std and"
      f" mask; got {type(shear_map).__name__}. Write ShearMap(shear, noise_std,"
      " mask=mask, grid=grid), or bin a catalogue."
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
  """Returns hat functions of ln ell on the modes, `[num_nodes, ny, nx // 2 + 1]`."""
  ell = grid.multipoles()
  ell[0, 0] = edges[0]
  place = np.interp(np.log(ell), np.log(edges), np.arange(len(edges)))
  return np.maximum(0, 1 - np.abs(place - np.arange(len(edges))[:, None, None]))


def _wiener_power(likelihood, variance, num_simulations, seed):
  """Returns |mu|^2 of the data, and its mean over simulations of the model.

  Both are those of unitary modes, `[ny, nx // 2 + 1]`.
  """
  prior = priors.GaussianPrior(variance, likelihood.shape)
  kappa = prior.sample([num_simulations], seed=(seed, 0))
  noise = likelihood.sample_noise([num_simulations], seed=(seed, 1))
  simulated = likelihood.model(kappa) + noise
  shear = tf.concat([likelihood.shear[tf.newaxis], simulated], axis=0)
  modes, iterations, residual = _filter(
    shear, likelihood.inverse_variance(), prior.mode_variance
  )
  gaussian_posterior.check_converged(
    iterations,
    residual,
    rtol=_RTOL,
    solver="The Wiener filter",
    advice="Pixels whose noise_std is far below that of the others make it slow: mask"
    " them, or raise their noise.",
  )
  power = np.abs(modes.numpy()) ** 2 / np.prod(likelihood.shape)
  return power[0], power[1:].mean(axis=0)


@tf.function(autograph=False)
def _filter(shear, weight, variance):
  right_side = lensing.modes_from_shear(weight * shear)
  weighted = gaussian_posterior.Weighted(weight)
  return gaussian_posterior.solve(weighted, variance, right_side=right_side, rtol=_RTOL)
