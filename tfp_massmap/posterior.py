"""The posterior: a likelihood and a prior, at a common temperature, and its samples."""

import hashlib

import numpy as np
import tensorflow as tf

from tfp_massmap import samplers

METHODS = {
    "guided": samplers.guided,
    "guided+hmc": samplers.refine,
    "annealed": samplers.annealed,
}


class Posterior:
  """Sum of a likelihood and a prior (paper Eq. 8), annealed by sigma.

  Smoothing the product is not the product of the smoothed factors, so for sigma > 0
  this is a proxy of the smoothed posterior; at sigma = 0 it is exact (paper section
  5.3).

  Args:
    likelihood: has `score(x, sigma)` and `mean_inverse_variance(sigma)`.
    prior: has `score(x, sigma)` and `smoothed_variance(sigma)`; `sample` traces them
      (and `denoise`) without AutoGraph, so that conditions on tensors are `tf.cond`.

  Raises:
    ValueError: if the two differ in map shape or dtype.
  """

  def __init__(self, likelihood, prior):
    if tuple(likelihood.shape) != tuple(prior.shape):
      raise ValueError(
          f"The likelihood is for maps of shape {tuple(likelihood.shape)}, the prior"
          f" for {tuple(prior.shape)}. Make both from the same grid."
      )
    if likelihood.dtype != prior.dtype:
      raise ValueError(
          f"The likelihood has dtype {likelihood.dtype.name}, the prior"
          f" {prior.dtype.name}. Give both the same dtype."
      )
    self.likelihood = likelihood
    self.prior = prior
    self.shape = tuple(prior.shape)
    self.dtype = prior.dtype

  def score(self, x, sigma=0.0):
    """Score at temperature sigma^2.

    Args:
      x: `[..., ny, nx]`.
      sigma: float, broadcasts with the leading axes of `x`.

    Returns:
      Shape of `x`.
    """
    return self.likelihood.score(x, sigma) + self.prior.score(x, sigma)

  def chain_score(self, x, sigma=0.0):
    """Score for chains that stay at one temperature, shape of `x`.

    That of `score`, but for a prior that has a `chain_score` of its own: one that errs,
    as networks do (`hybrid_prior.HybridPrior.chain_score`).

    Args:
      x: `[..., ny, nx]`.
      sigma: float, broadcasts with the leading axes of `x`.
    """
    prior_score = getattr(self.prior, "chain_score", self.prior.score)
    return self.likelihood.score(x, sigma) + prior_score(x, sigma)

  def analytic_log_prob(self, x, sigma=0.0):
    """Log-density at temperature sigma^2 without the prior's network, if it has one.

    All of it for a Gaussian prior; shape of the leading axes of `x`.
    """
    gaussian = getattr(self.prior, "gaussian", self.prior)
    return self.likelihood.log_prob(x, sigma) + gaussian.log_prob(x, sigma)

  def sample(self, num_samples, seed, method="guided", settings=None, **options):
    """Independent samples.

    Args:
      num_samples: number of samples.
      seed: integer.
      method: "guided", 24 network evaluations a sample; "guided+hmc", which adds
        Metropolis-corrected steps at a small temperature; or "annealed", the procedure of
        Remy et al. (2022).
      settings: of the method: `samplers.guided.GuidedSettings`,
        `samplers.refine.RefineSettings` or `samplers.annealed.AnnealedSettings`.
      **options: of the method's `sample`: `batch_size`, `output` (a FITS cube for the
        samples, from which an interrupted run goes on), `jit_compile`, `progress`.

    Returns:
      A `samplers.sample_set.SampleSet`.

    Raises:
      ValueError: for another method, and what the method refuses.
    """
    if method not in METHODS:
      raise ValueError(f"method must be one of {sorted(METHODS)}; got {method!r}.")
    return METHODS[method].sample(self, num_samples, seed, settings, **options)

  def fingerprint(self):
    """Checksum of data, noise and prior: what must agree for a run to go on.

    Of a prior's network, the checksum of its card, which has that of the weights and all
    that was measured of them; or that of its weights without one.
    """
    arrays = [
        self.likelihood.shear,
        self.likelihood.inverse_variance(),
        self.prior.mode_variance,
    ]
    digest = hashlib.sha256(type(self.likelihood).__name__.encode())
    for array in arrays:
      digest.update(np.ascontiguousarray(array).tobytes())
    checksum = _network_checksum(self.prior)
    compute_dtype = getattr(self.prior, "compute_dtype", None)
    scale = getattr(self.prior, "error_scale", None)
    error = getattr(self.prior, "residual_error", None)
    digest.update(f"{checksum} {compute_dtype} {scale} {error}".encode())
    return digest.hexdigest()[:16]

  def fourier_precision(self, sigma=0.0):
    """Fourier-diagonal approximation of minus the Jacobian of the score.

    1 / (S + sigma^2) plus the mean inverse noise. With this as the mass matrix the
    COSMOS posterior has condition number 20 instead of 9,300. The mode k = 0, which
    the data leave free, keeps its prior precision and is exact.

    Returns:
      `[ny, nx // 2 + 1]`, with the axes of `sigma` in front.
    """
    noise = self.likelihood.mean_inverse_variance(sigma)[..., tf.newaxis, tf.newaxis]
    sides = tf.shape(self.prior.mode_variance)
    is_mean = tf.scatter_nd([[0, 0]], tf.ones([1], self.dtype), sides)
    return 1 / self.prior.smoothed_variance(sigma) + (1 - is_mean) * noise


def _network_checksum(prior):
  """Of the card or the network's weights, a string; None without a Keras network."""
  checksum = getattr(prior, "card", {}).get("card_sha256")
  network = getattr(getattr(prior, "residual", None), "network", None)
  if checksum is not None or network is None:
    return checksum
  digest = hashlib.sha256()
  for weights in network.get_weights():
    digest.update(np.ascontiguousarray(weights).tobytes())
  return digest.hexdigest()
