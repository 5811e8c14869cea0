"""Redshift distributions of source galaxies."""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import os
import pathlib
import typing

from astropy.table import Table
import numpy as np
import numpy.typing as npt

# Galaxies and densities are counted in bins of this width, whose mean redshifts are
# kept: the convergence power then changes by less than 0.1 %
# (tests/theory/test_source_redshifts.py).
_STEP = 0.01
MAX_REDSHIFT = 6.0  # The end of the tables of the matter power.
# n(z) proportional to z^2 exp(-(z / z0)^1.5) has the mean redshift 1.505 z0: the ratio
# of the Gamma functions of 8/3 and 2.
_MEAN_OVER_SCALE = 1.5045755
_NAMES = (("z", "redshift", "z_mid"), ("n", "nz", "n_z", "n(z)", "density"))


@dataclasses.dataclass(frozen=True, eq=False)
class SourceRedshifts:
  """A distribution of source redshifts, as weighted redshifts.

  Attributes:
    redshift: Redshifts above 0, increasing, `[n]`.
    weight: Share of the sources at each, of sum 1, `[n]`.
    name: Description for product headers.

  Raises:
    ValueError: If the two differ in length, a redshift is not in (0, 6] or they do not
      increase, or a weight is negative or not finite, or all are zero.
  """

  redshift: np.ndarray
  weight: np.ndarray
  _: dataclasses.KW_ONLY
  name: str = "user n(z)"

  def __post_init__(self) -> None:
    redshift = np.asarray(self.redshift, np.float64)
    weight = np.asarray(self.weight, np.float64)
    if redshift.ndim != 1 or redshift.shape != weight.shape or not redshift.size:
      raise ValueError(
        "An n(z) needs redshifts and weights of one length; got the shapes"
        f" {redshift.shape} and {weight.shape}."
      )
    inside = (redshift > 0) & (redshift <= MAX_REDSHIFT)
    if not inside.all() or (np.diff(redshift) <= 0).any():
      raise ValueError(
        f"The redshifts of an n(z) must increase between 0 and {MAX_REDSHIFT:g}; got"
        f" {redshift.size} from {redshift.min():g} to {redshift.max():g}."
      )
    if not np.isfinite(weight).all() or (weight < 0).any() or not weight.sum() > 0:
      raise ValueError(
        "The weights of an n(z) must be finite and not negative, with a positive sum;"
        f" got values from {weight.min():g} to {weight.max():g}."
      )
    object.__setattr__(self, "redshift", redshift)
    object.__setattr__(self, "weight", weight / weight.sum())

  @property
  def mean(self) -> float:
    """Mean redshift."""
    return float(self.redshift @ self.weight)

  def as_card(self) -> dict[str, typing.Any]:
    """Returns an entry of JSON, which `from_card` takes."""
    return dict(
      redshift=self.redshift.tolist(), weight=self.weight.tolist(), name=self.name
    )

  @classmethod
  def from_card(cls, entry: Mapping[str, typing.Any]) -> typing.Self:
    """Returns the distribution of an entry of a card or of metadata.

    Args:
      entry: What `as_card` returned.

    Raises:
      ValueError: As the class, or if an entry is missing.
    """
    missing = [n for n in ("redshift", "weight", "name") if n not in entry]
    if missing:
      raise ValueError(f"An entry of an n(z) lacks {' and '.join(missing)}.")
    return cls(
      np.asarray(entry["redshift"]), np.asarray(entry["weight"]), name=entry["name"]
    )

  @classmethod
  def from_galaxies(
    cls,
    redshifts: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    *,
    name: str = "n(z) of the catalogue",
  ) -> typing.Self:
    """Counts galaxies in bins of 0.01 in redshift.

    Args:
      redshifts: Redshifts of galaxies, `[n]`. Those outside (0, 6] are left out.
      weights: Weight of each galaxy, `[n]`; None counts each once.
      name: Description for product headers.

    Raises:
      ValueError: If the two differ in length, one is not finite, a weight is negative,
        or more than a tenth of the weight lies outside (0, 6].
    """
    redshifts = np.ravel(np.asarray(redshifts, np.float64))
    weights = np.ones_like(redshifts) if weights is None else np.ravel(weights)
    weights = np.asarray(weights, np.float64)
    if redshifts.shape != weights.shape or not redshifts.size:
      raise ValueError(
        "Galaxies need one weight for each redshift; got the shapes"
        f" {redshifts.shape} and {weights.shape}."
      )
    if not (np.isfinite(redshifts).all() and np.isfinite(weights).all()):
      raise ValueError(
        f"{np.sum(~np.isfinite(redshifts))} redshifts and"
        f" {np.sum(~np.isfinite(weights))} weights are not finite; remove them first."
      )
    if (weights < 0).any():
      raise ValueError(f"Weights must not be negative; the least is {weights.min():g}.")
    inside = (redshifts > 0) & (redshifts <= MAX_REDSHIFT)
    outside = weights[~inside].sum()
    if not outside < 0.1 * weights.sum():
      raise ValueError(
        f"{outside / max(weights.sum(), 1e-300):.0%} of the galaxies, by weight, have"
        f" redshifts outside 0 to {MAX_REDSHIFT:g} (values from {redshifts.min():g} to"
        f" {redshifts.max():g}). Is this the column of redshifts?"
      )
    redshifts, weights = redshifts[inside], weights[inside]
    bins = (redshifts / _STEP).astype(int)
    counts = np.bincount(bins, weights)
    sums = np.bincount(bins, weights * redshifts)
    filled = counts > 0
    return cls(sums[filled] / counts[filled], counts[filled], name=name)

  @classmethod
  def from_density(
    cls, density: Callable[[np.ndarray], npt.ArrayLike], *, name: str = "user n(z)"
  ) -> typing.Self:
    """Evaluates a smooth n(z) in steps of 0.01.

    Args:
      density: Function of redshifts `[n]` that returns n(z), `[n]`, with any
        normalisation.
      name: Description for product headers.

    Raises:
      ValueError: As the class.
    """
    redshift = (np.arange(round(MAX_REDSHIFT / _STEP)) + 0.5) * _STEP
    return cls(redshift, np.asarray(density(redshift), np.float64), name=name)

  @classmethod
  def of_survey(cls, name: str) -> typing.Self:
    """Returns the published n(z) of a survey, all galaxies in one bin.

    Args:
      name: One of `SURVEYS`, where the sources of the n(z) stand.

    Raises:
      ValueError: If there is no survey of the name.
    """
    if name not in SURVEYS:
      raise ValueError(f"The n(z) of {sorted(SURVEYS)} are known; got {name!r}.")
    return cls.from_density(SURVEYS[name], name=f"n(z) of {name.upper()}")

  @classmethod
  def smail(cls, scale: float) -> typing.Self:
    """Returns n(z) proportional to z^2 exp(-(z / scale)^1.5) (Smail et al. 1994).

    Args:
      scale: Redshift z0; the mean redshift is 1.50 times as large.

    Raises:
      ValueError: If the scale is not in (0, 3].
    """
    if not 0 < scale <= 3:
      raise ValueError(f"The scale of an n(z) must be in (0, 3]; got {scale}.")
    return cls.from_density(_falling(scale, 1.5), name=f"z^2 exp(-(z / {scale:g})^1.5)")

  @classmethod
  def of_mean(cls, mean: float) -> typing.Self:
    """Returns the n(z) of `smail` that has a mean redshift.

    Args:
      mean: Mean redshift.

    Raises:
      ValueError: If the mean is not in (0, 4.5].
    """
    if not 0 < mean <= 3 * _MEAN_OVER_SCALE:
      raise ValueError(f"A mean redshift must be in (0, 4.5]; got {mean}.")
    return cls.smail(mean / _MEAN_OVER_SCALE)

  @classmethod
  def read(cls, path: str | os.PathLike) -> typing.Self:
    """Reads n(z) from a table.

    Args:
      path: File that astropy can read as a table. Columns named z and n(z), nz or n are
        taken; of a table of two columns, the first and the second. The redshifts are
        the centres of bins of even width, or points of a smooth n(z).

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If the file is not a table, or it is not clear which columns to take;
        or as the class.
    """
    table = _read_table(path)
    names = {name.lower(): name for name in table.colnames}
    found = [next((names[n] for n in group if n in names), None) for group in _NAMES]
    if None in found:
      if len(table.colnames) != 2:
        raise ValueError(
          f"{path} must have the columns z and nz, or two columns; it has"
          f" {', '.join(table.colnames)}."
        )
      found = list(table.colnames)
    redshift, density = (np.asarray(table[name], np.float64) for name in found)
    name = f"n(z) of {pathlib.Path(path).name}"
    if redshift.size and redshift[0] == 0:
      redshift, density = redshift[1:], density[1:]
    return cls(redshift, density * _widths(redshift), name=name)


def cosmos_density(redshift: npt.ArrayLike) -> np.ndarray:
  """Returns n(z) of the catalogue of Schrabback et al. (2010), not normalised.

  It is the fit z^2.966 exp(-(z / 0.07275)^0.6335), for redshifts up to 5.5. On the 40
  planes of kappaTNG, the weights that follow from it give a convergence power within
  1.2 % of that of the published weights (`simulate.source_planes.COSMOS_WEIGHTS`).

  Args:
    redshift: Redshifts of any shape.
  """
  redshift = np.asarray(redshift, np.float64)
  density = redshift**2.966 * np.exp(-((redshift / 0.07275) ** 0.6335))
  return np.where(redshift <= 5.5, density, 0)


def _falling(scale, power):
  """Returns z^2 exp(-(z / scale)^power) as a function."""
  return lambda z: z**2 * np.exp(-((z / scale) ** power))


# Densities of redshifts by the name of a survey.
SURVEYS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
  # Schrabback et al. (2010), the fit of `cosmos_density`.
  "cosmos": cosmos_density,
  # The wide survey, of median 0.9 (Laureijs et al. 2011).
  "euclid": _falling(0.9 / 1.412, 1.5),
  # After ten years, of mean 1.05 (LSST Dark Energy Science Collaboration, Mandelbaum et
  # al. 2018). Their numbers for one year have another mean than the one they give.
  "lsst-y10": _falling(0.11, 0.68),
}


def resolve(
  sources: SourceRedshifts | npt.ArrayLike | Callable[[np.ndarray], npt.ArrayLike],
) -> SourceRedshifts:
  """Returns the distribution that a user describes.

  Args:
    sources: `SourceRedshifts`; redshifts of galaxies, `[n]`; or a function n(z).

  Raises:
    ValueError: As `SourceRedshifts`.
  """
  if isinstance(sources, SourceRedshifts):
    return sources
  if callable(sources):
    return SourceRedshifts.from_density(sources)
  return SourceRedshifts.from_galaxies(sources)


def _read_table(path):
  try:
    return Table.read(path)
  except FileNotFoundError:
    raise
  except Exception as error:
    try:
      return Table.read(path, format="ascii")
    except Exception:
      raise ValueError(
        f"astropy cannot read {path} as a table ({type(error).__name__}: {error})."
      ) from error


def _widths(redshift):
  """Widths of the bins around redshifts: what the trapezoidal rule takes."""
  return np.gradient(redshift) if redshift.size > 1 else np.ones_like(redshift)
