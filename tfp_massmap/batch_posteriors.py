"""The posterior of each batch of samples, where a cosmology or the shear is uncertain."""

from collections.abc import Callable
import dataclasses
import typing

from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import prior_choice
from tfp_massmap import priors
from tfp_massmap import shear_errors
from tfp_massmap import shear_map as shear_map_lib


class Drawn(typing.NamedTuple):
  """Posteriors that were drawn: one for each number of a batch, and their description."""

  of_batch: Callable[[int], posterior_lib.Posterior]
  label: str


@dataclasses.dataclass(frozen=True, eq=False)
class BatchPosteriors:
  """The posterior of each batch: all are the same, unless something is uncertain.

  Attributes:
    shear_map: The data, `shear_map.ShearMap`.
    prior: The prior at the mean cosmology, on the grid of the data.
    choice: `prior_choice.PriorChoice`, whose cosmology may be uncertain.
    errors: `shear_errors.ShearErrors`.
    reduced_shear: Whether the shapes measure the reduced shear.
  """

  shear_map: shear_map_lib.ShearMap
  prior: priors.Prior
  _: dataclasses.KW_ONLY
  choice: prior_choice.PriorChoice
  errors: shear_errors.ShearErrors
  reduced_shear: bool

  @property
  def differ(self) -> bool:
    """True if batches have posteriors of their own."""
    return self.errors.is_uncertain or self.choice.distribution is not None

  def middle(self) -> posterior_lib.Posterior:
    """Returns the posterior at the means of all that may be uncertain."""
    return self._posterior(self.errors.mean, self.prior)

  def draw(self, num: int, seed: int) -> Drawn:
    """Returns posteriors whose cosmologies and errors of the shear are drawn.

    Args:
      num: Number of batches.
      seed: Integer.
    """
    factors, words = [self.errors.mean] * num, []
    cosmologies = None
    if self.choice.distribution is not None:
      cosmologies = self.choice.distribution.draw(num, seed)
      words.append(f"{num} cosmologies of {self.choice.distribution}")
    if self.errors.is_uncertain:
      # The same ranks would tie the errors of the shear to those of the cosmology.
      factors = self.errors.draw(num, seed + 1)
      words.append(f"{num} errors of the shear of {self.errors}")

    def of_batch(batch):
      prior = self.prior
      if cosmologies is not None:
        prior = self.choice.on(self.shear_map.grid, cosmologies[batch])
      return self._posterior(factors[batch], prior)

    return Drawn(of_batch, "; ".join(words))

  def _posterior(self, factors, prior):
    likelihood = likelihood_lib.ShearLikelihood
    if self.reduced_shear:
      likelihood = likelihood_lib.ReducedShearLikelihood
    return posterior_lib.Posterior(likelihood(factors.apply(self.shear_map)), prior)
