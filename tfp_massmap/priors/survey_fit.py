"""Fits of a trained prior to a survey: its power, scales and range of noise.

A prior of one survey has them in its card, and is compared with the survey it is used
for. A prior of many surveys (`priors.survey_training`) computes them from the n(z), the
cosmology and the pixels.
"""

from collections.abc import Mapping
import dataclasses
import os
import warnings

from astropy import units as u

from tfp_massmap import geometry
from tfp_massmap import spectra
from tfp_massmap import theory
from tfp_massmap.nn import network_file
from tfp_massmap.priors import conditions
from tfp_massmap.priors import residual

# A warning is due where the power at this multipole differs by more than this share: 10 %
# in sigma_8 cost 4 % of coverage (docs/calibration.md).
_POWER_TOLERANCE = 0.05
_POWER_ELL = 1000.0
_NEEDED = {
  "conditioning": ("small_scales",),
  "scales": ("spectrum", "pixel_scale_arcmin", "sources"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class SurveyFit:
  """A trained prior on the maps of one survey.

  Attributes:
    spectrum: `spectra.PowerSpectrum` of the Gaussian component.
    scales: `residual.Scales` of the network.
    sigma_range: Smallest and largest sigma at which the network is used.
    survey: `conditions.NetworkSurvey`, what a conditional network is told; None for a
      network of one survey.
    pixel_scale_arcmin: Side of a pixel in arcmin.
    sources, cosmology: What the fit was made for; None for a network of one survey.
  """

  spectrum: spectra.PowerSpectrum
  scales: residual.Scales
  sigma_range: tuple[float, float]
  _: dataclasses.KW_ONLY
  pixel_scale_arcmin: float
  survey: conditions.NetworkSurvey | None = None
  sources: theory.SourceRedshifts | None = None
  cosmology: theory.Cosmology | None = None

  @property
  def is_of_any_survey(self) -> bool:
    """True if the prior serves other surveys, too."""
    return self.sources is not None

  def describe(self) -> str:
    """Returns the survey for headers; empty for a prior of one survey."""
    if self.sources is None or self.survey is None:
      return ""
    values = " ".join(f"{value:.4g}" for value in self.survey.values)
    return (
      f"{self.cosmology}, mean redshift {self.sources.mean:.3f}, conditions {values}"
    )


def serves_any_survey(path: str | os.PathLike) -> bool:
  """Returns whether a prior serves any survey, and needs to know which.

  Args:
    path: Name or path of a trained prior.

  Raises:
    FileNotFoundError: If one of its two files is missing.
    ValueError: If the card is not one.
  """
  card, _ = network_file.find(path, "prior", needed=())
  return "conditioning" in card


def fit(
  card: Mapping,
  grid: geometry.PixelGrid,
  *,
  sources: theory.SourceRedshifts | None,
  cosmology: theory.Cosmology | None,
) -> SurveyFit:
  """Returns a trained prior's fit to a survey, and warns where it was not trained.

  Args:
    card: Card of the prior.
    grid: `geometry.PixelGrid` of the maps.
    sources: n(z) of the galaxies; None if it is not known, which only a prior of one
      survey allows.
    cosmology: None for that of the training; a prior of one survey has no other.

  Raises:
    ValueError: If the card lacks an entry, or the prior cannot take what is given.
  """
  kind = "conditioning" if "conditioning" in card else "scales"
  missing = [name for name in (kind, *_NEEDED[kind]) if name not in card]
  if missing:
    raise ValueError(f"The card of the prior lacks {', '.join(missing)}.")
  if kind == "scales":
    return _of_one_survey(card, grid, sources, cosmology)
  if sources is None:
    raise ValueError(
      "This prior serves any survey, and needs to know the redshifts of the galaxies:"
      " give sources, for example theory.SourceRedshifts.of_mean(0.9) or"
      " SourceRedshifts.from_galaxies(redshifts)."
    )
  return _of_any_survey(card, grid, sources, cosmology or theory.KAPPATNG)


def _of_any_survey(card, grid, sources, cosmology):
  conditioning = conditions.Conditioning(**card["conditioning"])
  spectrum = spectra.PowerSpectrum.theory(
    sources, cosmology, small_scales=card["small_scales"]
  )
  scales = residual.Scales.from_spectrum(spectrum, grid.pixel_scale)
  values = conditions.of_survey(
    grid.pixel_scale, scales.map_std, sources=sources, cosmology=cosmology
  )
  outside = conditioning.outside(
    grid.pixel_scale, sources=sources, cosmology=cosmology, values=values
  )
  if outside:
    warnings.warn(
      f"The prior is used where it was not trained: {'; '.join(outside)}. Check it on"
      " mocks of the survey (calibration.calibrate), or train a prior there.",
      stacklevel=4,
    )
  factor = conditions.REFERENCE_STD / scales.map_std
  low, high = card["sigma_range"]
  return SurveyFit(
    spectrum,
    scales,
    (low / factor, high / factor),
    pixel_scale_arcmin=grid.pixel_scale.to_value(u.arcmin),
    survey=conditions.NetworkSurvey(conditioning.network_values(values), factor),
    sources=sources,
    cosmology=cosmology,
  )


def _of_one_survey(card, grid, sources, cosmology):
  if cosmology is not None:
    raise ValueError(
      "This prior was trained in one cosmology and cannot take another; leave out"
      f" {cosmology}, or use a prior for any survey."
    )
  _check_pixel_scale(card, grid)
  if sources is not None:
    _check_redshifts(card, sources)
  scales = residual.Scales(**{k: tuple(v) for k, v in card["scales"].items()})
  spectrum = spectra.PowerSpectrum(**card["spectrum"])
  survey = card.get("network_survey")
  return SurveyFit(
    spectrum,
    scales,
    card["sigma_range"],
    survey=None if survey is None else conditions.NetworkSurvey.from_card(survey),
    pixel_scale_arcmin=grid.pixel_scale.to_value(u.arcmin),
  )


def _check_pixel_scale(card, grid):
  mismatch = geometry.pixel_scale_mismatch(grid, card["pixel_scale_arcmin"])
  if mismatch is not None:
    warnings.warn(
      f"The prior was {mismatch}: what the network learnt of shapes does not hold"
      " there. Resample the map, or train a prior.",
      stacklevel=5,
    )


def _check_redshifts(card, sources):
  """Warns if the galaxies give another convergence power than those of the training."""
  if card["sources"] is None:
    warnings.warn(
      "The prior does not say for which source redshifts it was trained: they cannot"
      " be compared with those of the galaxies.",
      stacklevel=5,
    )
    return
  trained = theory.SourceRedshifts.from_card(card["sources"])
  powers = [
    theory.convergence_power([_POWER_ELL], n_of_z)[0] for n_of_z in (sources, trained)
  ]
  ratio = powers[0] / powers[1]
  if abs(ratio - 1) > _POWER_TOLERANCE:
    warnings.warn(
      f"The prior was trained for sources of mean redshift {trained.mean:.2f} and is used"
      f" for {sources.mean:.2f}: at ell = {_POWER_ELL:.0f} the power of their convergence"
      f" is {ratio:.2f} times that of the training. Train a prior for them: halo_kappa"
      " takes their redshifts.",
      stacklevel=5,
    )
