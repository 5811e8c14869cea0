"""The prior of a reconstruction, by name, spectrum or cosmology, on any grid."""

from collections.abc import Callable
import functools
import inspect
import os
import typing

from tfp_massmap import calibration
from tfp_massmap import geometry
from tfp_massmap import priors
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import spectra
from tfp_massmap import theory

_MOST_KEPT = 32  # Priors in memory, each with a network of 10 MB.
# A trained prior by name or path; the spectrum of a Gaussian prior; a prior; or a function
# of a `theory.Cosmology` to one of the last two.
Choice: typing.TypeAlias = (
  str
  | os.PathLike
  | spectra.PowerSpectrum
  | priors.Prior
  | Callable[[theory.Cosmology], spectra.PowerSpectrum | priors.Prior]
)


class PriorChoice:
  """A prior before it is known on which grid and in which cosmology it is needed.

  Args:
    choice: Name or path of a trained prior (`priors.HybridPrior.load`); a
      `spectra.PowerSpectrum`, for a Gaussian prior; any `priors.Prior`, which exists on
      one grid alone; or a function of a `theory.Cosmology` to one of the last two.
    sources: The n(z) of the galaxies, which a trained prior of any survey needs.
    cosmology: `theory.Cosmology`, or a distribution of them, for a trained prior of any
      survey, or for a function; None for that of kappaTNG.
    progress: Whether to show a progress bar where a prior is fitted to a survey.

  Attributes:
    distribution: The distribution of cosmologies; None if there is one cosmology alone.
  """

  def __init__(
    self,
    choice: Choice,
    *,
    sources: theory.SourceRedshifts | None = None,
    cosmology: theory.Cosmology | theory.CosmologyDistribution | None = None,
    progress: bool = True,
  ) -> None:
    self._choice, self._sources = choice, sources
    self._progress = progress
    self._central: theory.Cosmology | None
    self.distribution: theory.CosmologyDistribution | None = None
    if cosmology is None or isinstance(cosmology, theory.Cosmology):
      self._central = cosmology
    else:
      self._central = cosmology.center
      self.distribution = cosmology if cosmology.is_uncertain else None

  def on(
    self, grid: geometry.PixelGrid, cosmology: theory.Cosmology | None = None
  ) -> priors.Prior:
    """Returns the prior on a grid.

    Args:
      grid: `geometry.PixelGrid`.
      cosmology: One of the distribution; None for the one in its middle.

    Raises:
      FileNotFoundError: If there is no trained prior of the name.
      ValueError: If a spectrum does not cover the grid, a prior cannot be read or cannot
        take the n(z), or a cosmology is given for a prior that has its own.
    """
    choice, cosmology = self._choice, cosmology or self._central
    if isinstance(choice, (str, os.PathLike)):
      return priors.HybridPrior.load(
        choice,
        grid,
        sources=self._sources,
        cosmology=cosmology,
        corrected_at=self._central,
        progress=self._progress,
      )
    if _is_function(choice):
      made = choice(cosmology or theory.KAPPATNG)
    elif cosmology is not None:
      raise ValueError(
        "cosmology is for a trained prior of any survey, by name, or a function of the"
        " cosmology; this prior has its own."
      )
    else:
      made = typing.cast(spectra.PowerSpectrum | priors.Prior, choice)
    if isinstance(made, spectra.PowerSpectrum):
      return priors.GaussianPrior.from_spectrum(made, grid)
    return made

  def several(
    self, grid: geometry.PixelGrid, num_samples: int, *, seed: int
  ) -> list[priors.Prior]:
    """Returns the prior; where the cosmology is uncertain, one for each share of samples.

    Args:
      grid: `geometry.PixelGrid`.
      num_samples: Number of samples, see `calibration.shares`.
      seed: Integer, of the cosmologies.
    """
    if self.distribution is None:
      return [self.on(grid)]
    num = calibration.shares(num_samples)
    return [self.on(grid, c) for c in self.distribution.draw(num, seed)]

  def several_of(
    self,
    grid: geometry.PixelGrid,
    num_samples: int,
    *,
    infer: Callable[[shear_map_lib.ShearMap], theory.CosmologyDistribution],
    seed: int,
  ) -> Callable[[shear_map_lib.ShearMap], list[priors.Prior]]:
    """Returns a function of a shear map to the priors of cosmologies that fit it.

    Args:
      grid: `geometry.PixelGrid`.
      num_samples: Number of samples, see `calibration.shares`.
      infer: Function of a shear map to its distribution of cosmologies, such as
        `cosmology_inference.Inference`.
      seed: Integer, of the cosmologies.
    """
    num = calibration.shares(num_samples)
    on = functools.lru_cache(_MOST_KEPT)(lambda cosmology: self.on(grid, cosmology))
    return lambda shear_map: [on(c) for c in infer(shear_map).draw(num, seed)]

  def describe(self, prior: priors.Prior) -> str:
    """Returns the prior for headers, with the errors of the cosmology if there are any.

    Args:
      prior: What `on` returned for the cosmology in the middle.
    """
    if self.distribution is None:
      return prior.description
    return f"{prior.description}, over {self.distribution}"

  def subject(
    self, grid: geometry.PixelGrid, sampler: str, *, distribution: str | None = None
  ) -> calibration.Subject:
    """Returns what a calibration is of, and what a map is for it to be its proof.

    Args:
      grid: `geometry.PixelGrid` of the part of the survey that is mocked.
      sampler: `calibration.sampler_in_words`.
      distribution: Name of the distribution of cosmologies, if another one takes the
        place of that of the choice.
    """
    prior, sources = self.on(grid), self._sources
    if distribution is None and self.distribution is not None:
      distribution = self.distribution.name
    over = "" if distribution is None else f", over {distribution}"
    # A prior that was made for one grid has another checksum than for a part of it.
    refits = _is_function(self._choice) or isinstance(
      self._choice, (str, os.PathLike, spectra.PowerSpectrum)
    )
    return calibration.Subject(
      f"{prior.description}{over}",
      prior.fingerprint() if refits else "",
      sources="" if sources is None else f"{sources.name}, mean {sources.mean:.4f}",
      sampler=sampler,
    )


def _is_function(
  choice: Choice,
) -> typing.TypeGuard[
  Callable[[theory.Cosmology], spectra.PowerSpectrum | priors.Prior]
]:
  """Returns whether a prior is given as a function of the cosmology."""
  return inspect.isroutine(choice) or isinstance(choice, functools.partial)
