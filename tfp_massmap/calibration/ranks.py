"""Ranks of a simulated truth among the samples of its posterior.

If samples are calibrated, the truth and its n samples are n + 1 exchangeable maps,
given the data. Every test follows from this alone. For a scalar (a pixel, a Fourier
mode, a band power, a distance from a reference point) each of the M = n + 1 *members*
has a rank among them, and the rank of the truth is uniform on 0 ... n, exactly, for any
n. A `Record` keeps the histograms of ranks of every member. Those of the samples, each
put in the place of the truth, show what to expect, including the correlations between
pixels.

The choice of pixels must not tell truth and samples apart. Pixels may be chosen by
position, or by the mean of all members, which is the posterior mean except for a share
1 / (n + 1) of the truth: ranks stay uniform. Where pixels are chosen by the truth
itself, ranks are *not* uniform, even for an exact posterior: the highest pixels of the
truth lie above most samples, by regression to the mean. There each sample chooses its
own pixels when it takes the place of the truth, and the mean over members is the
expectation.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import itertools
import json
import typing

from astropy import units as u
import numpy as np

from tfp_massmap import geometry
from tfp_massmap import spectra
from tfp_massmap.calibration import fourier_modes

# Patches, and the whole map, are ranked if at least this share of them is observed: the
# distance of an empty patch is 0 for all members, and its ranks are noise.
_LEAST_OBSERVED = 0.5


@dataclasses.dataclass(frozen=True)
class Settings:
  """Contents of a record.

  Attributes:
    remove_mean: Whether the mean of every map is subtracted first. Shear carries no
      information about it, and truths that are crops of larger maps have one that no
      prior describes.
    kappa_quantiles: Limits between classes of convergence, as shares of the observed
      pixels of each map. The outer classes show the haloes and the voids.
    mask_distances: Limits between classes of distance from the nearest gap, arcmin.
      Pixels within the first have data on one side only.
    num_bands: Number of bands of multipoles, from the longest wave to the Nyquist
      frequency; 0 for no test in Fourier space. It must be less than the number of
      samples for `chi_square`.
    patch: Side, in pixels, of the patches in which distances from random reference
      points are ranked (TARP); 0 for none. A patch of 16 pixels of 0.29 arcmin is as
      large as a cluster. Patches of which less than half is observed are left out, and
      so is the whole map if less than half of it is observed.
    num_references: Number of reference points for each patch, whose ranks are counted
      together: more of them reduce the scatter of TARP.

  Raises:
    ValueError: If limits do not increase, or a number is out of its range.
  """

  remove_mean: bool = False
  kappa_quantiles: tuple[float, ...] = (0.1, 0.5, 0.9, 0.99)
  _: dataclasses.KW_ONLY
  mask_distances: tuple[float, ...] = (1.0, 3.0)
  num_bands: int = 8
  patch: int = 16
  num_references: int = 4

  def __post_init__(self) -> None:
    for name, upper in (("kappa_quantiles", 1), ("mask_distances", np.inf)):
      limits = np.asarray(getattr(self, name), float)
      if (np.diff(limits) <= 0).any() or (limits <= 0).any() or (limits >= upper).any():
        raise ValueError(
          f"{name} must increase, between 0 and {upper}; got {limits.tolist()}."
        )
      object.__setattr__(self, name, tuple(limits.tolist()))
    if min(self.num_bands, self.patch) < 0 or self.num_references < 1:
      raise ValueError(
        "num_bands and patch must not be negative, and num_references must be positive;"
        f" got {self.num_bands}, {self.patch} and {self.num_references}."
      )


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
  """Ranks of a truth and of its posterior samples, M = num_samples + 1 members.

  Attributes:
    ranks: Arrays `[M, M]`, int, by name of a test. Row m is the histogram of the ranks
      of member m; the truth is member 0.
    residuals: Arrays `[M, 2]` by name of a test: sums, over the same elements, of a
      member minus the mean of all members, and of the square of this.
    band_power: Power of the observed part of the maps, `[M, num_bands]`.
    band_edges: Multipoles between the bands, `[num_bands + 1]`.
    settings: `Settings`.
    label: Description of the run. Records of other data or samplers have another.
  """

  ranks: dict[str, np.ndarray]
  residuals: dict[str, np.ndarray]
  _: dataclasses.KW_ONLY
  band_power: np.ndarray
  band_edges: np.ndarray
  settings: Settings
  label: str = ""

  @property
  def num_samples(self) -> int:
    """Number of posterior samples."""
    return len(self.band_power) - 1

  def to_arrays(self) -> dict[str, np.ndarray]:
    """Returns the record as arrays by name, for a file without pickles."""
    header = dict(settings=dataclasses.asdict(self.settings), label=self.label)
    return {
      "header": np.array(json.dumps(header)),
      "band_power": self.band_power,
      "band_edges": self.band_edges,
      **{f"ranks/{name}": values for name, values in self.ranks.items()},
      **{f"residuals/{name}": values for name, values in self.residuals.items()},
    }

  @classmethod
  def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Record":
    """Returns the record that `to_arrays` took apart."""
    header = json.loads(str(arrays["header"]))
    parts: dict[str, typing.Any] = dict(ranks={}, residuals={})
    for name, values in arrays.items():
      if "/" in name:
        kind, test = name.split("/", 1)
        parts[kind][test] = values
    return cls(
      **parts,
      band_power=arrays["band_power"],
      band_edges=arrays["band_edges"],
      settings=Settings(**header["settings"]),
      label=header["label"],
    )


def measure(
  samples: np.ndarray,
  truth: np.ndarray,
  *,
  grid: geometry.PixelGrid,
  mask: np.ndarray | None = None,
  settings: Settings = Settings(),
  seed: int = 0,
  label: str = "",
) -> Record:
  """Ranks a truth among its posterior samples.

  Args:
    samples: `[num_samples, ny, nx]`, independent, at least two.
    truth: `[ny, nx]`.
    grid: `geometry.PixelGrid`.
    mask: Bool `[ny, nx]`, true where there are data; None for everywhere.
    settings: `Settings`.
    seed: Integer; for the reference points, and for ties, which are broken at random.
    label: Kept in the record.

  Returns:
    A `Record`.

  Raises:
    ValueError: If shapes do not fit, there are fewer than two samples, or values are
      not finite.
  """
  samples, truth = np.asarray(samples), np.asarray(truth)
  mask = geometry.checked_mask(mask, grid.shape)
  _check(samples, truth, grid)
  rng = np.random.default_rng(seed)
  members = np.concatenate([truth[np.newaxis].astype(samples.dtype), samples])
  members = members.astype(np.float64)
  if settings.remove_mean:
    members -= members.mean(axis=(1, 2), keepdims=True)
  flat = members.reshape([len(members), -1])
  groups = [("pixels", flat, _pixel_classes(flat, mask, grid, settings))]
  edges, power = np.zeros(0), np.zeros([len(members), 0])
  if settings.num_bands:
    edges = spectra.band_edges(grid, settings.num_bands)
    values, bands, power = fourier_modes.modes(members, mask, grid=grid, edges=edges)
    names = fourier_modes.band_names(edges)
    groups.append(("modes", values, {n: bands == b for b, n in enumerate(names)}))
    one = np.eye(len(names), dtype=bool)
    groups.append(("band power", power, dict(zip(names, one))))
  if settings.patch:
    for name, side in (("patches", settings.patch), ("map", max(grid.shape))):
      distances = _distances(members, mask, side, settings.num_references, rng)
      if distances.shape[1]:
        everywhere = np.ones(distances.shape[1], bool)
        groups.append(("distances", distances, {name: everywhere}))
  ranks, residuals = {}, {}
  for group, values, classes in groups:
    for name, (histogram, sums) in tally(values, classes, rng=rng).items():
      ranks[f"{group}: {name}"], residuals[f"{group}: {name}"] = histogram, sums
  return Record(
    ranks, residuals, band_power=power, band_edges=edges, settings=settings, label=label
  )


def map_band_power(
  maps: np.ndarray,
  grid: geometry.PixelGrid,
  *,
  mask: np.ndarray | None = None,
  settings: Settings = Settings(),
) -> np.ndarray:
  """Returns the band powers of the observed part of maps, as records have them.

  Args:
    maps: `[n, ny, nx]`.
    grid: `geometry.PixelGrid`.
    mask: Bool `[ny, nx]`, true where there are data; None for everywhere.
    settings: `Settings`, of which `remove_mean` and `num_bands` are used.

  Returns:
    C_ell of the bands, `[n, settings.num_bands]`.

  Raises:
    ValueError: If shapes do not fit, or values are not finite.
  """
  maps = np.asarray(maps, np.float64)
  mask = geometry.checked_mask(mask, grid.shape)
  if maps.ndim != 3 or maps.shape[1:] != grid.shape:
    raise ValueError(
      f"maps must be [n, {grid.shape[0]}, {grid.shape[1]}]; got shape {maps.shape}."
    )
  if not np.isfinite(maps).all():
    raise ValueError("maps contain values that are not finite.")
  if settings.remove_mean:
    maps = maps - maps.mean(axis=(1, 2), keepdims=True)
  edges = spectra.band_edges(grid, settings.num_bands)
  return fourier_modes.modes(maps, mask, grid=grid, edges=edges)[2]


def member_ranks(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Returns the rank of every member in each column, `[M, elements]`.

  Args:
    values: `[M, elements]`.
    rng: Breaks ties at random.
  """
  columns = np.ascontiguousarray(np.asarray(values).T)
  order = np.argsort(columns, axis=1, kind="stable")
  ordered = np.take_along_axis(columns, order, axis=1)
  tied = (np.diff(ordered, axis=1) == 0).any(axis=1)
  if tied.any():
    order[tied] = np.lexsort((rng.random(columns[tied].shape), columns[tied]), axis=1)
  ranks = np.empty(order.shape, np.int64)
  np.put_along_axis(ranks, order, np.arange(order.shape[1])[np.newaxis], axis=1)
  return ranks.T


def tally(
  values: np.ndarray,
  classes: Mapping[str, np.ndarray],
  *,
  rng: np.random.Generator,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Returns histograms of ranks and sums of residuals of each class of elements.

  Args:
    values: `[M, elements]`, the truth first.
    classes: Bool `[elements]` by name, or `[M, elements]` where each member chooses its
      own elements.
    rng: Breaks ties at random.

  Returns:
    `(histograms, sums)` by name, `[M, M]` and `[M, 2]`.
  """
  ranks = member_ranks(values, rng)
  residual = values - values.mean(axis=0)
  result = {}
  for name, chosen in classes.items():
    chosen = np.broadcast_to(chosen, ranks.shape)
    histogram = [np.bincount(r[c], minlength=len(ranks)) for r, c in zip(ranks, chosen)]
    sums = [(r[c].sum(), np.square(r[c]).sum()) for r, c in zip(residual, chosen)]
    result[name] = np.array(histogram, np.int32), np.array(sums)
  return result


def _pixel_classes(flat, mask, grid, settings):
  """Returns bool `[pixels]`, or `[M, pixels]`, by name of a class of pixels."""
  observed = mask.ravel()
  classes = {"observed": observed}
  if not observed.all():
    classes["unobserved"] = ~observed
  pixel_arcmin = grid.pixel_scale.to_value(u.arcmin)
  distance = fourier_modes.gap_distance(mask, pixel_arcmin).ravel()
  limits = (0.0, *settings.mask_distances, np.inf)
  for low, high in itertools.pairwise(limits):
    name = f"{low:g} to {high:g} arcmin from a gap"
    if high == np.inf:
      name = f"beyond {low:g} arcmin from a gap"
    classes[name] = observed & (distance > low) & (distance <= high)
  choosers = {"posterior mean": flat.mean(axis=0, keepdims=True), "own kappa": flat}
  for name, chooser in choosers.items():
    limits = np.quantile(chooser[:, observed], settings.kappa_quantiles, axis=1).T
    levels = np.stack(
      [np.searchsorted(edges, row) for edges, row in zip(limits, chooser)]
    )
    for level, label in enumerate(_quantile_names(settings.kappa_quantiles)):
      classes[f"{name}, {label}"] = observed & (levels == level)
  return {name: chosen for name, chosen in classes.items() if chosen.any()}


def _quantile_names(quantiles: Sequence[float]) -> list[str]:
  limits = [f"{100 * q:g}" for q in quantiles]
  names = [f"lowest {limits[0]} %"]
  names += [f"{low} to {high} %" for low, high in itertools.pairwise(limits)]
  return [*names, f"highest {100 * (1 - quantiles[-1]):.3g} %"]


def _distances(members, mask, side, num_references, rng):
  """Returns distances of members from random points, `[M, points x patches]`.

  The points are Gaussian fields with the mean power of the members, and distances are
  in units of the members' standard deviation in each pixel. Both are functions that
  treat all members alike, as the test requires. Only observed pixels enter.
  """
  power = np.mean(np.abs(np.fft.rfft2(members, norm="ortho")) ** 2, axis=0)
  # A floor for pixels in which all members agree.
  weight = mask / np.maximum(members.var(axis=0), 1e-30)
  height, width = (-(-n // side) for n in mask.shape)
  rows, columns = (np.arange(n) // side for n in mask.shape)
  patch = (rows[:, np.newaxis] * width + columns).ravel()
  share = np.bincount(patch, mask.ravel()) / np.bincount(patch)
  result = []
  for _ in range(num_references):
    white = np.fft.rfft2(rng.standard_normal(mask.shape), norm="ortho")
    point = np.fft.irfft2(white * np.sqrt(power), s=mask.shape, norm="ortho")
    squares = weight * (members - point) ** 2
    result += [[np.bincount(patch, s.ravel(), height * width) for s in squares]]
  return np.concatenate(
    [np.array(r)[:, share >= _LEAST_OBSERVED] for r in result], axis=1
  )


def _check(samples, truth, grid):
  if samples.ndim != 3 or samples.shape[1:] != grid.shape or len(samples) < 2:
    raise ValueError(
      f"samples must be [num_samples, {grid.shape[0]}, {grid.shape[1]}], at least"
      f" two; got shape {samples.shape}."
    )
  if truth.shape != grid.shape:
    raise ValueError(f"truth must have shape {grid.shape}; got {truth.shape}.")
  if not (np.isfinite(samples).all() and np.isfinite(truth).all()):
    raise ValueError("samples or truth contain values that are not finite.")
