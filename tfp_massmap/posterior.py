"""The posterior: a likelihood and a prior, at a common temperature, and its samples."""

import hashlib

import numpy as np
import tensorflow as tf

from tfp_massmap import samplers
from tfp_massmap import spectra

SMOOTHINGS = ("posterior", "factors")

METHODS = {
    "guided": samplers.guided,
    "guided+hmc": samplers.refine,
    "annealed": samplers.annealed,
}


class Posterior:
  """A likelihood and a prior (paper Eq. 8), annealed by sigma.

  `score` is the sum of the two, each smoothed, as in the paper (Eq. 25). Smoothing the
  product is not the product of the smoothed factors: variances come out up to
  2 sigma^2 / noise^2 too small, and means move. `annealed` takes `smoothed_score`, of the
  posterior smoothed by white noise of standard deviation sigma: with x_s = x + sigma z,

    p(x_s | gamma) ~ p(x_s) p(gamma | x_s),

  where the prior gives the score of p(x_s). Were the prior Gaussian, of variance S in a
  Fourier mode, x would be w x_s with w = S / (S + sigma^2), and an error of variance
  w sigma^2. So p(gamma | x_s) is the likelihood of w x_s with this error added to the
  noise. In pixels that is a variance of sigma^2 <w>, with <w> = sum w^2 / sum w the mean
  where w x_s has its power. Variances of a Gaussian posterior are then within .3 % of the
  exact smoothed ones where sigma is a quarter of the noise, and the mean hardly moves.
  `smoothing="factors"` makes it take the paper's. At sigma = 0 both are the same.

  Args:
    likelihood: has `score(x, sigma)`, `log_prob(x, sigma)` and
      `mean_inverse_variance(sigma)`.
    prior: has `score(x, sigma)`, `mode_variance` and `smoothed_variance(sigma)`; `sample`
      traces them (and `denoise`) without AutoGraph, so that conditions on tensors are
      `tf.cond`.
    smoothing: "posterior" or "factors".

  Raises:
    ValueError: if the two differ in map shape or dtype, or for another smoothing.
  """

  def __init__(self, likelihood, prior, smoothing="posterior"):
    if smoothing not in SMOOTHINGS:
      raise ValueError(f"smoothing must be one of {SMOOTHINGS}; got {smoothing!r}.")
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
    self.smoothing = smoothing
    self.shape = tuple(prior.shape)
    self.dtype = prior.dtype

  def score(self, x, sigma=0.0):
    """Sum of the scores at temperature sigma^2 (paper Eq. 25); exact at sigma = 0.

    Args:
      x: `[..., ny, nx]`.
      sigma: float, broadcasts with the leading axes of `x`.

    Returns:
      Shape of `x`.
    """
    return self.likelihood.score(x, sigma) + self.prior.score(x, sigma)

  def smoothed_score(self, x, sigma=0.0):
    """Score of the posterior smoothed by sigma; arguments and shape as `score`."""
    return self._likelihood_score(x, sigma) + self.prior.score(x, sigma)

  def chain_score(self, x, sigma=0.0):
    """Score for chains that stay at one temperature, shape of `x`.

    That of `smoothed_score`, but for a prior that has a `chain_score` of its own: one
    that errs, as networks do (`hybrid_prior.HybridPrior.chain_score`).

    Args:
      x: `[..., ny, nx]`.
      sigma: float, broadcasts with the leading axes of `x`.
    """
    prior_score = getattr(self.prior, "chain_score", self.prior.score)
    return self._likelihood_score(x, sigma) + prior_score(x, sigma)

  def log_likelihood(self, x, sigma=0.0):
    """Log-density of the data given x smoothed by sigma; arguments as `score`.

    Returns:
      Shape of the leading axes of `x`.
    """
    transfer, sigma = self._below(sigma)
    if transfer is not None:
      x = spectra.fourier_filter(x, transfer)
    return self.likelihood.log_prob(x, sigma)

  def analytic_log_prob(self, x, sigma=0.0):
    """Log-density of `smoothed_score` without the prior's network, if it has one.

    All of it for a Gaussian prior; shape of the leading axes of `x`.
    """
    gaussian = getattr(self.prior, "gaussian", self.prior)
    return self.log_likelihood(x, sigma) + gaussian.log_prob(x, sigma)

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
    found = f"{checksum} {compute_dtype} {scale} {error} {self.smoothing}"
    digest.update(found.encode())
    return digest.hexdigest()[:16]

  def fourier_precision(self, sigma=0.0):
    """Fourier-diagonal approximation of minus the Jacobian of `smoothed_score`.

    1 / (S + sigma^2) plus w^2 times the mean inverse noise. With this as the mass
    matrix the COSMOS posterior has condition number 20 instead of 9,300. The mode
    k = 0, which the data leave free, keeps its prior precision and is exact.

    Returns:
      `[ny, nx // 2 + 1]`, with the axes of `sigma` in front.
    """
    transfer, noise_sigma = self._below(sigma)
    noise = self.likelihood.mean_inverse_variance(noise_sigma)
    noise = noise[..., tf.newaxis, tf.newaxis]
    if transfer is not None:
      noise *= tf.square(transfer)
    sides = tf.shape(self.prior.mode_variance)
    is_mean = tf.scatter_nd([[0, 0]], tf.ones([1], self.dtype), sides)
    return 1 / self.prior.smoothed_variance(sigma) + (1 - is_mean) * noise

  def _below(self, sigma):
    """What x_s tells of x: w of each mode, None where it is 1, and the error's sigma."""
    is_zero = isinstance(sigma, (int, float)) and sigma == 0
    if self.smoothing == "factors" or is_zero:
      return None, sigma
    transfer = self.prior.mode_variance / self.prior.smoothed_variance(sigma)
    total, squares = (
        tf.reduce_sum(values, axis=(-2, -1)) for values in (transfer, transfer**2)
    )
    return transfer, tf.convert_to_tensor(sigma, self.dtype) * tf.sqrt(squares / total)

  def _likelihood_score(self, x, sigma):
    transfer, sigma = self._below(sigma)
    if transfer is None:
      return self.likelihood.score(x, sigma)
    score = self.likelihood.score(spectra.fourier_filter(x, transfer), sigma)
    return spectra.fourier_filter(score, transfer)


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
