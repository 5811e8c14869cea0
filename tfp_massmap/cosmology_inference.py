"""Cosmology from a shear map, by simulation, so that maps and cosmology fit together.

A map depends on Omega_m and sigma_8, and the data know something of them. Samples of the
map and the cosmology together are drawn in two steps,

  p(kappa, theta | gamma) = p(theta | gamma) p(kappa | gamma, theta).

The second is what the samplers do with the prior of one cosmology. The first has no
density that could be evaluated, for the evidence of a prior that is known by its score is
not. It is taken from simulations: mocks of the survey at cosmologies drawn from their
prior are reduced to band powers and peak counts of their Wiener-filtered maps, and these
to one number for each parameter by linear regression (Fearnhead and Prangle 2012). The
mocks whose numbers are nearest to those of the data, moved along the regression (Beaumont
et al. 2002), are draws of theta given these numbers. They say less than the whole map
does, so that the errors are at least as large as they could be.
"""

import dataclasses
import hashlib
import os
import typing

import numpy as np

from tfp_massmap import baselines
from tfp_massmap import calibration
from tfp_massmap import map_statistics
from tfp_massmap import priors
from tfp_massmap import resumable
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap import theory

PARAMETERS = ("omega_matter", "sigma_8")  # The fields of `theory.Cosmology`.
_NUM_BANDS = 8
# Edges of bins of peak height, over the standard deviation of the Wiener-filtered map.
_PEAK_EDGES = (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, np.inf)
# Share of the mocks that count, the nearest; their weight falls to zero with distance.
_NEAREST = 0.5
_FEWEST_MOCKS = 64
_KNOWN = 1e-9  # Standard deviation below which a parameter does not vary.
# Strength of the ridge of the regression, in units of the statistics' own scatter over
# the mocks: enough to hold statistics that hardly vary.
_RIDGE = 1e-2


class SurveyStatistics:
  """Band powers and peak counts of the Wiener-filtered map, for shear maps of one survey.

  Args:
    survey: `shear_map.ShearMap` with the mask and the noise.
    spectrum: `spectra.PowerSpectrum` of the filter. Any choice is valid; the right one
      loses least.
  """

  def __init__(
    self, survey: shear_map_lib.ShearMap, spectrum: spectra.PowerSpectrum
  ) -> None:
    self._grid = survey.grid
    self._prior = priors.GaussianPrior.from_spectrum(spectrum, survey.grid)
    self._mask = survey.mask
    self._edges = spectra.band_edges(survey.grid, _NUM_BANDS)
    self._unit = self._filtered(simulate.observe_like(self._field(), survey, seed=0))
    self._unit = float(self._unit[self._mask].std())

  def __call__(self, shear_map: shear_map_lib.ShearMap) -> np.ndarray:
    """Returns the statistics, float64 `[17]`.

    Args:
      shear_map: `shear_map.ShearMap` of the survey.
    """
    kappa = self._filtered(shear_map)
    power = spectra.band_power(kappa, self._grid, edges=self._edges)
    inside = np.where(self._mask, kappa, -np.inf)
    edges = self._unit * np.asarray(_PEAK_EDGES)
    counts = map_statistics.peak_counts(inside, edges)
    # Square roots have nearly the same scatter for many peaks as for few.
    return np.concatenate([np.log(power[np.isfinite(power)]), np.sqrt(counts)])

  def _field(self):
    return self._prior.sample(seed=(0, 1)).numpy()

  def _filtered(self, shear_map):
    return np.asarray(baselines.wiener.estimate(shear_map, self._prior).kappa)


@dataclasses.dataclass(frozen=True, eq=False)
class Mocks:
  """Statistics of mocks of a survey, and their cosmologies.

  Attributes:
    parameters: Values of `PARAMETERS`, `[n, 2]`.
    statistics: `SurveyStatistics` of each, `[n, k]`.
    cosmologies: `theory.CosmologyPrior` that they were drawn from.

  Raises:
    ValueError: If there are fewer than 64, or their numbers differ.
  """

  parameters: np.ndarray
  statistics: np.ndarray
  cosmologies: theory.CosmologyPrior

  def __post_init__(self) -> None:
    if len(self.parameters) != len(self.statistics):
      raise ValueError(
        f"Every mock needs a cosmology; got {len(self.statistics)} mocks and"
        f" {len(self.parameters)} cosmologies."
      )
    if len(self.parameters) < _FEWEST_MOCKS:
      raise ValueError(
        f"An inference needs {_FEWEST_MOCKS} mocks or more; got {len(self.parameters)}."
      )

  def without(self, index: int) -> "Mocks":
    """Returns all mocks but one, for a test of the inference on that one.

    Args:
      index: Number of the mock.
    """
    return Mocks(
      np.delete(self.parameters, index, axis=0),
      np.delete(self.statistics, index, axis=0),
      self.cosmologies,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class CosmologyPosterior:
  """Cosmologies given the statistics of a shear map, as weighted draws.

  It can be given to `reconstruction.reconstruct` for the cosmology.

  Attributes:
    parameters: Values of `PARAMETERS`, `[n, 2]`.
    weights: Weight of each, `[n]`, of sum 1.
    prior: `theory.CosmologyPrior` that the mocks were drawn from.
  """

  parameters: np.ndarray
  weights: np.ndarray
  prior: theory.CosmologyPrior
  is_uncertain = True

  def __str__(self) -> str:
    mean, std = self._moments()
    return (
      f"Omega_m={mean[0]:.4f}+-{std[0]:.4f}, sigma_8={mean[1]:.4f}+-{std[1]:.4f}"
      " by the data"
    )

  @property
  def center(self) -> theory.Cosmology:
    """The mean of the prior, which is the same for all data of a survey."""
    return self.prior.mean

  @property
  def name(self) -> str:
    """The prior and the number of mocks, the same for all data of a survey."""
    return _name(self.prior, len(self.weights))

  @property
  def mean(self) -> theory.Cosmology:
    """The mean cosmology."""
    return theory.Cosmology(*self._moments()[0])

  @property
  def std(self) -> np.ndarray:
    """Standard deviations of `PARAMETERS`, `[2]`."""
    return self._moments()[1]

  def draw(self, num: int, seed: int) -> list[theory.Cosmology]:
    """Returns cosmologies that fill the distribution evenly, in random order.

    Values are rounded to a quarter to a half of their standard deviation, which adds two
    per cent to it at most: cosmologies of different data are then often the same, and
    share what is made for them.

    Args:
      num: Their number.
      seed: Integer.
    """
    rng = np.random.default_rng(seed)
    # One of each share of the weight, in the order of sigma_8.
    order = np.argsort(self.parameters[:, 1])
    places = (rng.permutation(num) + rng.uniform(size=num)) / num
    ranks = np.searchsorted(np.cumsum(self.weights[order]), places)
    chosen = self.parameters[order[np.minimum(ranks, len(order) - 1)]]
    return [theory.Cosmology(*map(float, row)) for row in self._rounded(chosen)]

  def rank(self, truth: np.ndarray) -> np.ndarray:
    """Returns the weight below a cosmology in each parameter, `[2]`.

    Args:
      truth: Values of `PARAMETERS`, `[2]`.
    """
    return self.weights @ (self.parameters < np.asarray(truth))

  def _rounded(self, values):
    known = self.std < _KNOWN
    step = 2.0 ** np.floor(np.log2(np.where(known, 1, self.std / 2)))
    rounded = np.where(known, values, np.round(values / step) * step)
    return np.clip(rounded, *_limits())

  def _moments(self):
    mean = self.weights @ self.parameters
    return mean, np.sqrt(self.weights @ (self.parameters - mean) ** 2)


@dataclasses.dataclass(frozen=True, eq=False)
class Inference:
  """A function of a shear map of one survey to its `CosmologyPosterior`.

  Attributes:
    statistics: `SurveyStatistics` of the survey.
    mocks: `Mocks` of it.
  """

  statistics: SurveyStatistics
  mocks: Mocks

  @property
  def name(self) -> str:
    """As that of each `CosmologyPosterior`."""
    return _name(self.mocks.cosmologies, len(self.mocks.parameters))

  def __call__(self, shear_map: shear_map_lib.ShearMap) -> CosmologyPosterior:
    """Returns the cosmology given a shear map.

    Args:
      shear_map: `shear_map.ShearMap` of the survey.
    """
    return infer(self.mocks, self.statistics(shear_map))

  @classmethod
  def of_survey(
    cls,
    survey: shear_map_lib.ShearMap,
    sources: theory.SourceRedshifts,
    *,
    cosmologies: theory.CosmologyPrior,
    **options: typing.Any,
  ) -> typing.Self:
    """Simulates the mocks of a survey.

    Args:
      survey: `shear_map.ShearMap` with the mask and the noise.
      sources: The n(z).
      cosmologies: `theory.CosmologyPrior`.
      **options: As of `simulate_mocks`.

    Raises:
      ValueError: As `simulate_mocks`.
    """
    statistics = make_statistics(survey, sources, cosmology=cosmologies.mean)
    mocks = simulate_mocks(survey, sources, cosmologies=cosmologies, **options)
    return cls(statistics, mocks)


def simulate_mocks(
  survey: shear_map_lib.ShearMap,
  sources: theory.SourceRedshifts,
  *,
  cosmologies: theory.CosmologyPrior,
  num_mocks: int = 256,
  seed: int = 90_000_000,
  folder: str | os.PathLike | None = None,
  progress: bool = True,
) -> Mocks:
  """Simulates mocks of a survey in cosmologies drawn from a distribution.

  A mock of 192 x 192 pixels takes about two seconds of one core.

  Args:
    survey: `shear_map.ShearMap` with the mask and the noise.
    sources: The n(z).
    cosmologies: `theory.CosmologyPrior`.
    num_mocks: Number of mocks, 64 or more.
    seed: Seed of the simulator and the noise.
    folder: None, or a folder for the mocks' statistics, in which an interrupted call
      resumes.
    progress: Whether to show a progress bar.

  Raises:
    ValueError: If there are too few mocks, or the folder has those of another survey.
  """
  statistics = make_statistics(survey, sources, cosmology=cosmologies.mean)
  drawn = cosmologies.draw(num_mocks, seed)

  def step(index):
    truth = _truth(survey.grid, sources, drawn[index], seed=seed + index)
    noise = np.random.SeedSequence([seed, index])
    shear_map = simulate.observe_like(truth, survey, seed=noise)
    return dict(
      parameters=np.array(dataclasses.astuple(drawn[index])),
      statistics=statistics(shear_map),
    )

  n_of_z = sources.redshift.tobytes() + sources.weight.tobytes()
  found = resumable.collect(
    step,
    num_mocks,
    folder=folder,
    label=dict(
      survey=survey.noise_checksum()[:16],
      sources=hashlib.sha256(n_of_z).hexdigest()[:16],
      pixel_scale=str(survey.grid.pixel_scale),
      cosmologies=str(cosmologies),
      num_mocks=num_mocks,
      seed=seed,
    ),
    unit="mock",
    progress=progress,
  )
  return Mocks(found["parameters"], found["statistics"], cosmologies)


def make_statistics(
  survey: shear_map_lib.ShearMap,
  sources: theory.SourceRedshifts,
  *,
  cosmology: theory.Cosmology,
) -> SurveyStatistics:
  """Returns the statistics whose Wiener filter is right for one cosmology.

  Args:
    survey: `shear_map.ShearMap` with the mask and the noise.
    sources: The n(z).
    cosmology: `theory.Cosmology`.
  """
  spectrum = spectra.PowerSpectrum.theory(sources, cosmology, small_scales="kappatng")
  return SurveyStatistics(survey, spectrum)


def infer(mocks: Mocks, statistics: np.ndarray) -> CosmologyPosterior:
  """Returns the cosmology given the statistics of a shear map.

  Args:
    mocks: `Mocks` of its survey.
    statistics: Its `SurveyStatistics`, `[k]`.

  Raises:
    ValueError: If there is another number of statistics than those of the mocks.
  """
  statistics = np.asarray(statistics, np.float64)
  if statistics.shape != mocks.statistics.shape[1:]:
    raise ValueError(
      f"The mocks have {mocks.statistics.shape[1]} statistics; got {statistics.shape}."
    )
  predict = _regression(mocks.statistics, mocks.parameters)
  found, wanted = predict(mocks.statistics), predict(statistics)
  scale = found.std(axis=0)
  known = scale > _KNOWN  # A parameter that does not vary has no regression.
  distance = np.linalg.norm(((found - wanted) / np.where(known, scale, 1)), axis=1)
  reach = np.quantile(distance, _NEAREST)
  weights = np.maximum(1 - (distance / reach) ** 2, 0)  # Epanechnikov's kernel.
  moved = mocks.parameters + (wanted - found)
  return CosmologyPosterior(
    np.clip(moved, *_limits()), weights / weights.sum(), mocks.cosmologies
  )


def _regression(statistics, parameters):
  """Returns the linear function of statistics that predicts the parameters best."""
  center, scale = statistics.mean(axis=0), statistics.std(axis=0)
  scale = np.where(scale > 0, scale, 1)
  standard = (statistics - center) / scale
  mean = parameters.mean(axis=0)
  normal = standard.T @ standard / len(standard)
  slopes = np.linalg.solve(
    normal + _RIDGE * np.eye(len(normal)),
    standard.T @ (parameters - mean) / len(standard),
  )
  return lambda values: mean + (values - center) / scale @ slopes


def _limits():
  """Returns the lowest and the highest values of the tables of the matter power."""
  return np.transpose([theory.cosmology_ranges()[n] for n in PARAMETERS])


def _name(prior, num_mocks):
  return f"{prior}, inferred with {num_mocks} mocks"


def _truth(grid, sources, cosmology, *, seed):
  return calibration.simulated_truths(grid, sources, cosmology=cosmology, seed=seed)(0)
