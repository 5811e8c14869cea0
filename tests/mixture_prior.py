"""A user's own prior: a mixture of Gaussian fields, whose score is known exactly."""

import dataclasses

import dense_gaussian
import numpy as np
from scipy import stats
import tensorflow as tf

from tfp_massmap import lensing
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import spectra


class MixturePrior:
  """Two Gaussian fields, of powers 0.7 S and 1.9 S; a `priors.Prior` of 30 lines."""

  is_gaussian = False
  sigma_range = (0.0, np.inf)
  description = "mixture of two Gaussian fields"
  # The score is exact; the Gaussian component's model of the error is not.
  constants = dataclasses.replace(priors.interface.EXACT, step_size=0.07)

  def __init__(self, gaussian, *, weights=(0.7, 0.3), factors=(0.7, 1.9)):
    self.weights, self.shape, self.dtype = weights, gaussian.shape, gaussian.dtype
    mean = sum(w * f for w, f in zip(weights, factors))
    self.gaussian, *self.parts = (
      priors.GaussianPrior(
        gaussian.mode_variance.numpy() * f, gaussian.shape, dtype=gaussian.dtype
      )
      for f in (mean, *factors)
    )

  def _mean(self, values, x, sigma):
    logits = [
      np.log(w) + p.log_prob(x, sigma) for w, p in zip(self.weights, self.parts)
    ]
    shares = tf.nn.softmax(tf.stack(logits, axis=0), axis=0)[..., None, None]
    return tf.reduce_sum(shares * tf.stack(values), axis=0)

  def score(self, x, sigma):
    return self._mean([part.score(x, sigma) for part in self.parts], x, sigma)

  chain_score = score

  def denoise(self, x, sigma):
    return self._mean([part.denoise(x, sigma) for part in self.parts], x, sigma)

  def relative_error(self, denoised, sigma):
    return tf.ones([], denoised.dtype)

  def fingerprint(self):
    return self.gaussian.fingerprint() + str(self.weights)


def problem(posterior):
  """Returns the posterior of the mixture, with its exact mean and covariance.

  The data leave no doubt which of the two fields is the true one, while the samplers'
  Gaussian model of the covariance is 40 % away from its power.

  Args:
    posterior: Posterior of a Gaussian prior, float64, with the same data.
  """
  prior = MixturePrior(posterior.prior)
  likelihood, shape = posterior.likelihood, posterior.shape
  mixture = posterior_lib.Posterior(likelihood, prior)
  all_moments, evidence = [], []
  operator = dense_gaussian.matrix(lensing.shear_from_convergence, shape)
  weight = likelihood.inverse_variance().numpy().ravel()
  seen = weight > 0
  data = likelihood.shear.numpy().ravel()[seen]
  for share, part in zip(prior.weights, prior.parts):
    variance = part.mode_variance
    all_moments.append(dense_gaussian.moments(likelihood, variance))
    covariance = dense_gaussian.matrix(
      lambda x, variance=variance: spectra.fourier_filter(x, variance), shape
    )
    data_covariance = operator[seen] @ covariance @ operator[seen].T
    data_covariance += np.diag(1 / weight[seen])
    evidence.append(
      np.log(share) + stats.multivariate_normal(cov=data_covariance).logpdf(data)
    )
  shares = np.exp(np.array(evidence) - np.logaddexp(*evidence))
  mean = sum(s * m for s, (m, _) in zip(shares, all_moments))
  second = sum(s * (c + np.outer(m, m)) for s, (m, c) in zip(shares, all_moments))
  return mixture, mean, second - np.outer(mean, mean)
