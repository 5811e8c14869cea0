"""The contract of a prior, and the constants that samplers need to know of one.

Any object with these members is a prior: samplers, `reconstruction.reconstruct` and
`calibration` ask for nothing else, and ask no object which class it is.
`priors.GaussianPrior` and `priors.HybridPrior` are the two that ship.
"""

import dataclasses
import typing

import tensorflow as tf

if typing.TYPE_CHECKING:
  from tfp_massmap.priors import gaussian as gaussian_prior


@dataclasses.dataclass(frozen=True)
class SamplerConstants:
  """Numbers that depend on how well a prior's score is known.

  A prior with an exact score has the values of `EXACT`. A trained prior has its own in
  its card, where `constants_source` says how each was found. The defaults are those of a
  newly trained prior (`priors.measurement.default_constants`).

  Attributes:
    residual_error: Squared error of the score's denoiser in a Fourier mode, over
      sigma^2. `HybridPrior.chain_score` weighs the residual score by it.
    typical_variance: Variance that the denoiser leaves in a typical pixel, over the mean
      variance, to which haloes contribute most. The steps of the probability flow are
      exact for a Gaussian of this variance.
    last_sigma: Smallest smoothing at which annealed chains stay on the target, over the
      typical noise of a pixel.
    last_sigma_of_factors: The same for `posterior.Posterior` with smoothing "factors",
      the choice of Remy et al. (2022).
    step_size: Leapfrog step of annealed chains at 360 x 360 pixels, in units of the mass
      matrix.
  """

  residual_error: float = 0.01
  typical_variance: float = 1.0
  _: dataclasses.KW_ONLY
  last_sigma: float = 0.4
  last_sigma_of_factors: float = 0.25
  step_size: float = 0.07

  def __post_init__(self) -> None:
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      positive = value > 0 or (field.name == "residual_error" and value == 0)
      if not positive:
        raise ValueError(f"{field.name} must be positive; got {value}.")


# With an exact score, 0.08 of the noise narrows variances by 1.3 % at most (see
# `samplers.annealed.AnnealedSettings`), and a step of 0.13 is accepted three times in
# four; `examples/benchmarks/annealed.py` measures both.
EXACT = SamplerConstants(
  residual_error=0.0,
  typical_variance=1.0,
  last_sigma=0.08,
  last_sigma_of_factors=0.08,
  step_size=0.13,
)


class Prior(typing.Protocol):
  """A distribution of convergence maps, known by its smoothed score.

  Smoothed by white noise of standard deviation sigma it has the score s(x, sigma), and
  the denoiser D(x, sigma) = x + sigma^2 s(x, sigma) (Remy et al. 2022, Eq. 18 and 19).
  All methods are traced without AutoGraph: conditions on tensors must be `tf.cond` or
  `tf.where`.

  Attributes:
    shape: `(ny, nx)` of the maps.
    dtype: Dtype of the maps.
    gaussian: `priors.GaussianPrior`, the Gaussian component. It starts chains, gives the
      preconditioner, and has the density of which only the rest is integrated.
    is_gaussian: Whether the prior is its Gaussian component, and nothing else.
    sigma_range: Smallest and largest sigma at which the score is that of the data; the
      smallest is 0 for a score that is exact everywhere.
    constants: `SamplerConstants`.
    description: One line for headers of products.
  """

  @property
  def shape(self) -> tuple[int, int]:
    """`(ny, nx)` of the maps."""
    ...

  @property
  def dtype(self) -> tf.DType:
    """Dtype of the maps."""
    ...

  @property
  def gaussian(self) -> "gaussian_prior.GaussianPrior":
    """The Gaussian component."""
    ...

  @property
  def is_gaussian(self) -> bool:
    """True if the prior is its Gaussian component, and nothing else."""
    ...

  @property
  def sigma_range(self) -> tuple[float, float]:
    """Smallest and largest sigma at which the score is that of the data."""
    ...

  @property
  def constants(self) -> SamplerConstants:
    """Constants that depend on how well the score is known."""
    ...

  @property
  def description(self) -> str:
    """One line for headers of products."""
    ...

  def score(self, x: tf.Tensor, sigma: tf.Tensor | float) -> tf.Tensor:
    """Returns the score of the smoothed prior, of the shape of `x`.

    Args:
      x: `[..., ny, nx]`.
      sigma: Broadcasts with the leading axes of `x`; may be 0.
    """
    ...

  def chain_score(self, x: tf.Tensor, sigma: tf.Tensor | float) -> tf.Tensor:
    """Returns the score for chains that stay at one sigma, of the shape of `x`.

    It is `score` for an exact prior. A prior whose score errs returns one in which its
    errors cannot add up along a chain.
    """
    ...

  def denoise(self, x: tf.Tensor, sigma: tf.Tensor | float) -> tf.Tensor:
    """Returns E[kappa | kappa + sigma noise = x], of the shape of `x`."""
    ...

  def relative_error(self, denoised: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """Returns the standard deviation that `denoise` leaves, over the Gaussian component's.

    Args:
      denoised: `[batch, ny, nx]`, what `denoise` returned.
      sigma: Scalar.

    Returns:
      The shape of `denoised`, or a scalar 1.
    """
    ...

  def fingerprint(self) -> str:
    """Returns a checksum of all that decides the score; runs are resumed by it."""
    ...
