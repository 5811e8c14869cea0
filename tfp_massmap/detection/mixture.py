"""A prior under which the probability of a cluster is known exactly.

The convergence is a Gaussian field, plus, with probability pi, a given cluster t at a
given place. With C = A S A' + N the covariance of the data without cluster,

  ln [P(data | cluster) / P(data | none)] = (A t)' C^-1 data - 1/2 (A t)' C^-1 A t,

and C^-1 y = N^-1 (y - A m(y)), m(y) the Wiener filter of y: two solutions of
`gaussian_posterior` are all it takes. The oracle for what samples of other priors say.
"""

import dataclasses

import numpy as np
from scipy import special
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import gaussian_posterior
from tfp_massmap import likelihood as likelihood_lib


class ClusterMixture:
  """Gaussian field with or without one known cluster.

  Args:
    prior: `priors.GaussianPrior`.
    cluster: its convergence, `[ny, nx]`; its shear is that of `lensing`.
    probability: pi, in (0, 1).

  Raises:
    ValueError: for a probability outside, or a cluster of another shape than the prior;
      by the methods, for a shear map of another shape.
  """

  def __init__(self, prior, cluster, *, probability=0.5):
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

  def draw(self, seed):
    """`(kappa, has_cluster)`: a map `[ny, nx]`, and whether the cluster is in it."""
    field_seed, choice_seed = tfp.random.split_seed(seed, n=2, salt="cluster_mixture")
    has_cluster = bool(tf.random.stateless_uniform([], choice_seed) < self.probability)
    return self.prior.sample(seed=field_seed) + has_cluster * self.cluster, has_cluster

  def posterior_probability(self, shear_map, rtol=1e-5):
    """P(cluster | data), exact, a float.

    Args:
      shear_map: `shear_map.ShearMap`.
      rtol: of the Wiener filters.

    Raises:
      RuntimeError: if conjugate gradients do not reach it.
    """
    return self._probability_and_missed(shear_map, rtol)[0]

  def sample(self, shear_map, num_samples, *, seed, rtol=1e-5):
    """Exact draws of the posterior.

    Args:
      shear_map: `shear_map.ShearMap`.
      num_samples: how many.
      seed: stateless TFP seed.
      rtol: of the linear solutions.

    Returns:
      `(samples, has_cluster)`: `[num_samples, ny, nx]` and bool `[num_samples]`.

    Raises:
      RuntimeError: if conjugate gradients do not reach `rtol`.
    """
    field_seed, choice_seed = tfp.random.split_seed(seed, n=2, salt="cluster_mixture")
    uniform = tf.random.stateless_uniform([num_samples], choice_seed, dtype=tf.float64)
    probability, missed = self._probability_and_missed(shear_map, rtol)
    has_cluster = uniform.numpy() < probability
    likelihood = likelihood_lib.ShearLikelihood(shear_map, self.prior.dtype)
    fields = gaussian_posterior.sample(
      likelihood, self.prior, num_samples=num_samples, seed=field_seed, rtol=rtol
    )
    # A draw is linear in the data, so taking the cluster from them shifts it.
    shift = has_cluster[:, np.newaxis, np.newaxis] * (self.cluster - missed).numpy()
    return fields.numpy() + shift, has_cluster

  def _probability_and_missed(self, shear_map, rtol):
    """P(cluster | data), and the Wiener filter of the cluster's shear, m(A t)."""
    if shear_map.grid.shape != tuple(self.prior.shape):
      raise ValueError(
        f"The shear map has shape {shear_map.grid.shape}, the prior"
        f" {tuple(self.prior.shape)}. Make both from the same grid."
      )
    likelihood = likelihood_lib.ShearLikelihood(shear_map, self.prior.dtype)
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
    """Wiener filter of another shear with the noise of the map."""
    shear_map = dataclasses.replace(shear_map, shear=shear.numpy())
    likelihood = likelihood_lib.ShearLikelihood(shear_map, self.prior.dtype)
    return gaussian_posterior.mean(likelihood, self.prior, rtol=rtol)[0]
