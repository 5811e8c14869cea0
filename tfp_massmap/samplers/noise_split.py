"""The data split into white noise and the rest, which makes a map with exact posterior.

The noise of the shear is a sum of white noise of standard deviation rho and a rest:

  s = A x + rho n,    gamma = s + (N - rho^2)^1/2 n'.

With v = A' s = x + rho z the noisy map, and s - A v the white noise that no convergence
can produce (B modes, means),

  p(v | gamma, s - A v) is proportional to p_rho(v) N(gamma - (s - A v); A v, N - rho^2),

where p_rho is the prior smoothed by rho, whose score a denoiser gives. Given v, x is
independent of the data. Nothing is approximated, if rho is below the noise. For a map
under white noise of its own, independent of the data's, the likelihood is known in closed
form for a Gaussian prior alone (`posterior.Posterior`).
"""

import dataclasses
import typing

import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import gaussian_posterior
from tfp_massmap import lensing

if typing.TYPE_CHECKING:
  from tfp_massmap import likelihood as likelihood_lib
  from tfp_massmap import priors


@dataclasses.dataclass(frozen=True)
class Split:
  """The data split at a draw of the white part; all attributes are tensors.

  Attributes:
    rho: Standard deviation of the white part, scalar.
    noisy: The noisy map x + rho noise: A' s, with the mean of the map,
      `[batch, ny, nx]`.
    rest_shear: gamma - (s - A noisy), `[batch, 2, ny, nx]`.
    rest_weight: Inverse variance of `rest_shear` given the noisy map. Zero in masked
      pixels; infinite where the noise is smaller than rho, because the white part then
      accounts for all of it. Broadcasts with `rest_shear`, as do the next two.
    shear: gamma.
    extra: Inverse variance of the data that both parts leave over, where the noise is
      smaller than rho. Such pixels measure x a second time with it.
  """

  rho: tf.Tensor
  noisy: tf.Tensor
  _: dataclasses.KW_ONLY
  rest_shear: tf.Tensor
  rest_weight: tf.Tensor
  shear: tf.Tensor
  extra: tf.Tensor

  def residual(self, clean: tf.Tensor) -> tf.Tensor:
    """Returns gamma - A clean, `[batch, 2, ny, nx]`."""
    return self.shear - lensing.shear_from_convergence(clean)

  def precision(self, prior: "priors.Prior") -> tf.Tensor:
    """Returns the precision of x given the data, for the prior's Gaussian component.

    The remaining weight of the data enters by its mean over the map.

    Returns:
      `[..., ny, nx // 2 + 1]`.
    """
    extra = tf.reduce_mean(self.extra, axis=(-3, -2, -1))[..., tf.newaxis, tf.newaxis]
    return 1 / prior.gaussian.mode_variance + 1 / tf.square(self.rho) + extra


def split(
  likelihood: "likelihood_lib.Likelihood",
  x: tf.Tensor,
  *,
  rho: tf.Tensor,
  seed: typing.Any,
  margin: float = 1.0,
) -> Split:
  """Draws the white part given the map and the data.

  Given both, every pixel of s is an independent Gaussian; no equation has to be solved.

  Args:
    likelihood: `likelihood.Likelihood`; one that is not linear is linearised at x.
    x: Posterior samples, `[batch, ny, nx]`.
    rho: Standard deviation of the white part, scalar.
    seed: Stateless TFP seed.
    margin: The two parts together have a variance of at least `margin` rho^2.

  Returns:
    A `Split`.
  """
  shear_seed, mean_seed = tfp.random.split_seed(seed, n=2)
  variance = tf.square(rho)
  shear, weight = likelihood.equivalent_shear(x)
  measured = weight > 0
  both = tf.maximum(1 / tf.where(measured, weight, 1), margin * variance)
  rest = both - variance
  # The weights of x and of the shear in the mean of s.
  share = tf.where(measured, rest / both, 1)
  model = lensing.shear_from_convergence(x)
  white = share * model + (1 - share) * shear
  white += rho * tf.sqrt(share) * normal(model, shear_seed)
  noisy = lensing.convergence_from_shear(white)[0]
  # Shear carries no information about the mean; the noisy map's mean is drawn from x.
  pixels = tf.cast(x.shape[-1] * x.shape[-2], x.dtype)
  level = tf.reduce_mean(x, axis=(-2, -1), keepdims=True)
  level += rho * tf.math.rsqrt(pixels) * normal(level, mean_seed)
  noisy += level - tf.reduce_mean(noisy, axis=(-2, -1), keepdims=True)
  return Split(
    rho=rho,
    noisy=noisy,
    rest_shear=shear - (white - lensing.shear_from_convergence(noisy)),
    rest_weight=tf.where(measured, 1 / rest, 0),
    shear=shear,
    extra=tf.maximum(weight - 1 / (margin * variance), 0),
  )


class NoisyPosterior:
  """p(v | gamma, s - A v), the exact posterior of the noisy map v of a `Split`.

  Args:
    prior: `priors.Prior`.
    parts: `Split` with a margin above 1.
  """

  def __init__(self, prior: "priors.Prior", parts: Split) -> None:
    self._prior, self._parts = prior, parts
    self._variance = prior.gaussian.smoothed_variance(parts.rho)
    self._weighted = gaussian_posterior.Weighted(parts.rest_weight)

  def score(self, noisy: tf.Tensor) -> tf.Tensor:
    """Returns the score, of the shape of `noisy`, `[batch, ny, nx]`."""
    weighted = self._parts.rest_weight * self._residual(noisy)
    data = lensing.convergence_from_shear(weighted)[0]
    return data + self._prior.score(noisy, self._parts.rho)

  def misfit(self, noisy: tf.Tensor) -> tf.Tensor:
    """Returns -2 log-likelihood up to a constant, `[batch]`."""
    squares = self._parts.rest_weight * tf.square(self._residual(noisy))
    return tf.reduce_sum(squares, axis=(-3, -2, -1))

  def analytic_log_prob(self, noisy: tf.Tensor) -> tf.Tensor:
    """Returns the log-density with the prior's Gaussian component alone, `[batch]`."""
    gaussian = self._prior.gaussian.log_prob(noisy, self._parts.rho)
    return gaussian - 0.5 * self.misfit(noisy)

  def fourier_precision(self) -> tf.Tensor:
    """Returns the precision with the mean noise everywhere, `[..., ny, nx // 2 + 1]`."""
    noise = gaussian_posterior.mean_noise(self._weighted, self._variance.dtype)
    return 1 / self._variance + noise

  def gaussian_mean(
    self, *, rtol: float = 1e-3, max_iterations: int = 500
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the mean with the prior's Gaussian component alone, and the iterations.

    Args:
      rtol, max_iterations: As `gaussian_posterior.solve`.

    Returns:
      `[batch, ny, nx]`, and an int32 scalar.
    """
    weighted = self._parts.rest_weight * self._parts.rest_shear
    data = lensing.convergence_from_shear(weighted)[0]
    modes, iterations, _ = gaussian_posterior.solve(
      self._weighted,
      self._variance,
      right_side=tf.signal.rfft2d(data),
      rtol=rtol,
      max_iterations=max_iterations,
    )
    return tf.signal.irfft2d(modes, fft_length=list(data.shape[-2:])), iterations

  def _residual(self, noisy):
    return self._parts.rest_shear - lensing.shear_from_convergence(noisy)


def normal(like: tf.Tensor, seed: typing.Any) -> tf.Tensor:
  """Returns white noise of the shape and dtype of `like`."""
  return tf.random.stateless_normal(tf.shape(like), seed, dtype=like.dtype)
