"""The map under white noise that the data have: an exact smoothed posterior.

The noise of the shear is cut in two, white noise of standard deviation rho and the rest:

  s = A x + rho n,    gamma = s + (N - rho^2)^1/2 n'.

With v = A' s = x + rho z the noisy map, and s - A v the white noise that is no convergence
(B modes, means),

  p(v | gamma, s - A v) ~ p_rho(v) N(gamma - (s - A v); A v, N - rho^2),

where p_rho is the prior smoothed by rho, whose score a denoiser knows, and x given v is
independent of the data. Nothing is approximated, while of a map under white noise of its
own, not the data's, the likelihood is known for a Gaussian prior alone
(`posterior.Posterior`). It asks for rho below the noise.
"""

import dataclasses

import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import gaussian_posterior
from tfp_massmap import lensing


@dataclasses.dataclass(frozen=True)
class Split:
  """Data cut in two at a draw of the white part; tensors.

  Attributes:
    rho: standard deviation of the white part, scalar.
    noisy: x + rho noise: A' s, with the mean of the map, `[batch, ny, nx]`.
    rest_shear: gamma - (s - A noisy), `[batch, 2, ny, nx]`.
    rest_weight: inverse variance of the noise between the noisy map's shear and that: zero
      in masked pixels, infinite for none. Broadcasts with `rest_shear`, like the next two.
    shear: gamma.
    extra: what the data weigh beyond the two parts, where the noise is less than rho. Such
      pixels measure x once more.
  """

  rho: tf.Tensor
  noisy: tf.Tensor
  rest_shear: tf.Tensor
  rest_weight: tf.Tensor
  shear: tf.Tensor
  extra: tf.Tensor


def split(likelihood, x, rho, seed, margin=1.0):
  """Draws the white part given x and the data.

  Given both, every pixel of s is a Gaussian of its own: no equations to solve.

  Args:
    likelihood: `likelihood.ShearLikelihood`, or of reduced shear: taken as linear at x.
    x: posterior samples, `[batch, ny, nx]`.
    rho: standard deviation of the white part, scalar.
    seed: stateless TFP seed.
    margin: the two parts have a variance of `margin` rho^2 or more in all pixels.

  Returns:
    A `Split`.
  """
  shear_seed, mean_seed = tfp.random.split_seed(seed, n=2)
  variance = tf.square(rho)
  shear, weight = likelihood.equivalent_shear(x)
  measured = weight > 0
  both = tf.maximum(1 / tf.where(measured, weight, 1), margin * variance)
  rest = both - variance
  # What x and the shear weigh in the mean of s.
  share = tf.where(measured, rest / both, 1)
  model = lensing.shear_from_convergence(x)
  white = share * model + (1 - share) * shear
  white += rho * tf.sqrt(share) * normal(model, shear_seed)
  noisy = lensing.convergence_from_shear(white)[0]
  # Shear does not know the mean of the map; the noisy map has one.
  pixels = tf.cast(x.shape[-1] * x.shape[-2], x.dtype)
  level = tf.reduce_mean(x, axis=(-2, -1), keepdims=True)
  level += rho * tf.math.rsqrt(pixels) * normal(level, mean_seed)
  noisy += level - tf.reduce_mean(noisy, axis=(-2, -1), keepdims=True)
  return Split(
      rho=rho, noisy=noisy,
      rest_shear=shear - (white - lensing.shear_from_convergence(noisy)),
      rest_weight=tf.where(measured, 1 / rest, 0), shear=shear,
      extra=tf.maximum(weight - 1 / (margin * variance), 0),
  )


class NoisyPosterior:
  """p(v | gamma, s - A v), v the noisy map of a `Split`.

  Args:
    prior: has `score` and `smoothed_variance`; it, or its `gaussian`, has `log_prob`.
    parts: `Split`, of a margin above 1.
  """

  def __init__(self, prior, parts):
    self._prior, self._parts = prior, parts
    self._gaussian = getattr(prior, "gaussian", prior)
    self._variance = prior.smoothed_variance(parts.rho)
    self._weighted = gaussian_posterior.Weighted(parts.rest_weight)

  def score(self, noisy):
    """Its score, shape of `noisy`, `[batch, ny, nx]`."""
    weighted = self._parts.rest_weight * self._residual(noisy)
    data = lensing.convergence_from_shear(weighted)[0]
    return data + self._prior.score(noisy, self._parts.rho)

  def misfit(self, noisy):
    """-2 log-likelihood but for a constant, `[batch]`."""
    squares = self._parts.rest_weight * tf.square(self._residual(noisy))
    return tf.reduce_sum(squares, axis=(-3, -2, -1))

  def analytic_log_prob(self, noisy):
    """Log-density without the prior's network, if it has one, `[batch]`."""
    return self._gaussian.log_prob(noisy, self._parts.rho) - 0.5 * self.misfit(noisy)

  def fourier_precision(self):
    """With the mean noise everywhere, `[..., ny, nx // 2 + 1]`."""
    noise = gaussian_posterior.mean_noise(self._weighted, self._variance.dtype)
    return 1 / self._variance + noise

  def gaussian_mean(self, rtol=1e-3, max_iterations=500):
    """Mean with the Gaussian half of the prior alone.

    Returns:
      `(mean, iterations)`: `[batch, ny, nx]`, int32.
    """
    weighted = self._parts.rest_weight * self._parts.rest_shear
    data = lensing.convergence_from_shear(weighted)[0]
    modes, iterations, _ = gaussian_posterior.solve(
        self._weighted, self._variance, tf.signal.rfft2d(data), rtol,
        max_iterations=max_iterations,
    )
    return tf.signal.irfft2d(modes, fft_length=list(data.shape[-2:])), iterations

  def _residual(self, noisy):
    return self._parts.rest_shear - lensing.shear_from_convergence(noisy)


def normal(like, seed):
  """White noise, shape of `like`."""
  return tf.random.stateless_normal(tf.shape(like), seed, dtype=like.dtype)
