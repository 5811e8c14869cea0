"""A prior under which the probability of a cluster is known exactly.

The convergence is a Gaussian field, plus, with probability pi, a given cluster t at a
given place. With C = A S A' + N the covariance of the data without the cluster,

  ln [P(data | cluster) / P(data | none)] = (A t)' C^-1 data - 1/2 (A t)' C^-1 A t,

where C^-1 y = N^-1 (y - A m(y)) and m(y) is the Wiener filter of y. So two solutions of
`gaussian_posterior` give the posterior probability. It shows what samples of other
priors should give.
"""

import dataclasses
import typing

import numpy as np
from scipy import special
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import gaussian_posterior
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import priors
from tfp_massmap import shear_map as shear_map_lib

_SALT = "cluster_mixture"


class ClusterMixture:
  """Gaussian field with or without one known cluster.

  Args:
    prior: `priors.GaussianPrior`.
    cluster: Convergence of the cluster, `[ny, nx]`; its shear is that of `lensing`.
    probability: pi, in (0, 1).

  Attributes:
    prior: As given.
    cluster: The cluster as a tensor of the prior's dtype.
    probability: As given.

  Raises:
    ValueError: If the probability lies outside (0, 1), or the cluster has another shape
      than the prior.
  """

  def __init__(
    self,
    prior: priors.GaussianPrior,
    cluster: np.ndarray,
    *,
    probability: float = 0.5,
  ) -> None:
    if not 0 < probability < 1:
      raise ValueError(f"probability must lie in (0, 1); got {probability}.")
    if np.shape(cluster) != tuple(prior.shape):
      raise ValueError(
        f"The cluster must have the prior's shape {tuple(prior.shape)}; got"
        f" {np.shape(cluster)}."
      )
    self.prior = prior
    self.cluster = tf.constant(cluster, prior.dtype)
    self.probability = float(probability)

  def draw(self, seed: typing.Any) -> tuple[tf.Tensor, bool]:
    """Returns a map `[ny, nx]` of this prior, and whether the cluster is in it.

    Args:
      seed: Stateless TFP seed.
    """
    field_seed, choice_seed = tfp.random.split_seed(seed, n=2, salt=_SALT)
    has_cluster = bool(tf.random.stateless_uniform([], choice_seed) < self.probability)
    return self.prior.sample(seed=field_seed) + has_cluster * self.cluster, has_cluster

  def posterior_probability(
    self, shear_map: shear_map_lib.ShearMap, rtol: float = 1e-5
  ) -> float:
    """Returns P(cluster | data), which is exact.

    Args:
      shear_map: `shear_map.ShearMap`.
      rtol: Relative tolerance of the Wiener filters.

    Raises:
      ValueError: If the shear map has another shape than the prior.
      RuntimeError: If conjugate gradients do not reach the tolerance.
    """
    return self._probability_and_missed(shear_map, rtol)[0]

  def sample(
    self,
    shear_map: shear_map_lib.ShearMap,
    num_samples: int,
    *,
    seed: typing.Any,
    rtol: float = 1e-5,
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns exact draws of the posterior.

    Args:
      shear_map: `shear_map.ShearMap`.
      num_samples: Number of draws.
      seed: Stateless TFP seed.
      rtol: Relative tolerance of the linear solutions.

    Returns:
      `(samples, has_cluster)`: `[num_samples, ny, nx]` and bool `[num_samples]`.

    Raises:
      ValueError: If the shear map has another shape than the prior.
      RuntimeError: If conjugate gradients do not reach the tolerance.
    """
    field_seed, choice_seed = tfp.random.split_seed(seed, n=2, salt=_SALT)
    uniform = tf.random.stateless_uniform([num_samples], choice_seed, dtype=tf.float64)
    probability, missed = self._probability_and_missed(shear_map, rtol)
    has_cluster = uniform.numpy() < probability
    likelihood = likelihood_lib.ShearLikelihood(shear_map, dtype=self.prior.dtype)
    fields = gaussian_posterior.sample(
      likelihood, self.prior, num_samples=num_samples, seed=field_seed, rtol=rtol
    )
    # A draw is linear in the data, so taking the cluster from them shifts it.
    shift = has_cluster[:, np.newaxis, np.newaxis] * (self.cluster - missed).numpy()
    return fields.numpy() + shift, has_cluster

  def _probability_and_missed(self, shear_map, rtol):
    """Returns P(cluster | data), and m(A t), the filter of the cluster's shear."""
    if shear_map.grid.shape != tuple(self.prior.shape):
      raise ValueError(
        f"The shear map has shape {shear_map.grid.shape}, the prior"
        f" {tuple(self.prior.shape)}. Make both from the same grid."
      )
    likelihood = likelihood_lib.ShearLikelihood(shear_map, dtype=self.prior.dtype)
    template = likelihood.model(self.cluster)
    weighted = likelihood.inverse_variance() * template
    log_ratio, factor = 0.0, 1.0
    for shear in (likelihood.shear, template):
      mean = self._wiener(shear_map, shear, rtol)
      residual = shear - likelihood.model(mean)
      log_ratio += factor * float(tf.reduce_sum(weighted * residual))
      factor = -0.5
    return float(special.expit(special.logit(self.probability) + log_ratio)), mean

  def _wiener(self, shear_map, shear, rtol):
    """Returns the Wiener filter of another shear with the noise of the map."""
    shear_map = dataclasses.replace(shear_map, shear=shear.numpy())
    likelihood = likelihood_lib.ShearLikelihood(shear_map, dtype=self.prior.dtype)
    return gaussian_posterior.mean(likelihood, self.prior, rtol=rtol)[0]
