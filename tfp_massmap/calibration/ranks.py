"""`Record`: what one simulated truth says of the samples of its posterior.

If samples are calibrated, the truth and the n samples are n + 1 exchangeable maps,
given the data. Every test follows from this alone. For a scalar (a pixel, a Fourier
mode, a band power, a distance from a reference point), each of the n + 1 *members* has
a rank among them, and the truth's is uniform on 0 ... n, exactly, at any n. A record
keeps the histograms of ranks, for every member: those of the samples, each in the
truth's place, show what to expect, correlations between pixels included.

Which pixels enter must not tell truth and samples apart. They may be chosen by
position, or by the mean of all members, which is the posterior mean but for a share
of 1 / (n + 1) of the truth: ranks stay uniform. Where pixels are chosen by the truth
itself, ranks are *not* uniform, for an exact posterior either: the highest pixels of
the truth lie above most samples, by regression to the mean. There each sample chooses
by itself when it takes the truth's place, and the mean over members is what to expect.
"""

import dataclasses
import json
import pathlib

from astropy import units as u
import numpy as np
from scipy import ndimage

from tfp_massmap import geometry
from tfp_massmap import io
from tfp_massmap import spectra


@dataclasses.dataclass(frozen=True)
class Settings:
  """What a record holds.

  Attributes:
    remove_mean: whether the mean of every map is subtracted first. Shear does not
      know it; truths that are crops of larger maps have one that no prior describes.
    kappa_quantiles: limits between classes of convergence, as shares of the observed
      pixels of each map.
    mask_distances: limits between classes of distance from the nearest gap, arcmin.
    num_bands: of multipoles, from the longest wave to Nyquist's; 0 for no test in
      Fourier space.
    patch: side, in pixels, of the patches in which distances from random reference
      points are ranked (TARP); 0 for none. Patches of which less than half is observed
      do not count, nor does the whole map if less than half of it is.
    num_references: reference points a patch.
  """

  remove_mean: bool = False
  kappa_quantiles: tuple = (0.1, 0.5, 0.9, 0.99)
  _: dataclasses.KW_ONLY
  mask_distances: tuple = (1.0, 3.0)
  num_bands: int = 8
  patch: int = 16
  num_references: int = 4

  def __post_init__(self):
    for name in ("kappa_quantiles", "mask_distances"):
      limits = np.asarray(getattr(self, name), float)
      upper = 1 if name == "kappa_quantiles" else np.inf
      if (np.diff(limits) <= 0).any() or (limits <= 0).any() or (limits >= upper).any():
        raise ValueError(
          f"{name} must increase, between 0 and {upper}; got {limits.tolist()}."
        )
      object.__setattr__(self, name, tuple(limits.tolist()))
    if min(self.num_bands, self.patch) < 0 or self.num_references < 1:
      raise ValueError(
        "num_bands and patch must not be negative and num_references be positive;"
        f" got {self.num_bands}, {self.patch} and {self.num_references}."
      )


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
  """Ranks of a truth and of its posterior samples; small. M = num_samples + 1 members.

  Attributes:
    ranks: dict of test name to int `[M, M]`: row m is the histogram of the ranks of
      member m. The truth is member 0.
    residuals: dict of test name to `[M, 2]`: sums, over the same elements, of a
      member minus the mean of all members, and of its square.
    band_power: `[M, num_bands]`, of the observed part of the maps.
    band_edges: multipoles, `[num_bands + 1]`.
    settings: `Settings`.
    label: what the run was: samples of other data or samplers have another.
  """

  ranks: dict
  residuals: dict
  _: dataclasses.KW_ONLY
  band_power: np.ndarray
  band_edges: np.ndarray
  settings: Settings
  label: str = ""

  @property
  def num_samples(self):
    return len(self.band_power) - 1

  def save(self, path):
    """Writes an `.npz` without pickles; an interrupted write leaves nothing behind."""
    arrays = {f"ranks/{name}": value for name, value in self.ranks.items()}
    arrays |= {f"residuals/{name}": value for name, value in self.residuals.items()}
    header = dict(settings=dataclasses.asdict(self.settings), label=self.label)
    with io.atomic_path(pathlib.Path(path), overwrite=True) as temporary:
      with open(temporary, "wb") as file:
        np.savez_compressed(
          file,
          header=np.array(json.dumps(header)),
          band_power=self.band_power,
          band_edges=self.band_edges,
          **arrays,
        )

  @classmethod
  def load(cls, path):
    """Reads what `save` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
      if "header" not in arrays:
        raise ValueError(f"{path} is not a calibration record: it has {arrays.files}.")
      header = json.loads(str(arrays["header"]))
      parts = dict(ranks={}, residuals={})
      for name in arrays.files:
        if "/" in name:
          kind, test = name.split("/", 1)
          parts[kind][test] = arrays[name]
      return cls(
        **parts,
        band_power=arrays["band_power"],
        band_edges=arrays["band_edges"],
        settings=Settings(**header["settings"]),
        label=header["label"],
      )


def measure(samples, truth, *, grid, mask=None, settings=Settings(), seed=0, label=""):
  """Ranks a truth among its posterior samples.

  Args:
    samples: `[num_samples, ny, nx]`, independent, at least two.
    truth: `[ny, nx]`.
    grid: `geometry.PixelGrid`.
    mask: bool `[ny, nx]`, true where there are data; None for everywhere.
    settings: `Settings`.
    seed: integer; for the reference points and for ties, which are broken at random.
    label: kept in the record.

  Returns:
    A `Record`.

  Raises:
    ValueError: for shapes that do not fit, fewer than two samples, or values that are
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
    values, bands, power = modes(members, mask, grid=grid, edges=edges)
    names = band_names(edges)
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


def map_band_power(maps, grid, *, mask=None, settings=Settings()):
  """Band powers of the observed part of maps, as records have them.

  Args:
    maps: `[n, ny, nx]`.
    grid: `geometry.PixelGrid`.
    mask: bool `[ny, nx]`, true where there are data; None for everywhere.
    settings: `Settings`, of which `remove_mean` and `num_bands` matter.

  Returns:
    C_ell of the bands, `[n, settings.num_bands]`.

  Raises:
    ValueError: for shapes that do not fit, or values that are not finite.
  """
  maps = np.asarray(maps, np.float64)
  mask = geometry.checked_mask(mask, grid.shape)
  if maps.ndim != 3 or maps.shape[1:] != grid.shape:
    raise ValueError(
      f"maps must be [n, {grid.shape[0]}, {grid.shape[1]}]; got shape {maps.shape}."
    )
  if not np.isfinite(maps).all():
    raise ValueError("maps hold values that are not finite.")
  if settings.remove_mean:
    maps = maps - maps.mean(axis=(1, 2), keepdims=True)
  edges = spectra.band_edges(grid, settings.num_bands)
  return modes(maps, mask, grid=grid, edges=edges)[2]


def member_ranks(values, rng):
  """Rank of every member in each column, ties broken at random; `[M, elements]`."""
  columns = np.ascontiguousarray(np.asarray(values).T)
  order = np.argsort(columns, axis=1, kind="stable")
  ordered = np.take_along_axis(columns, order, axis=1)
  tied = (np.diff(ordered, axis=1) == 0).any(axis=1)
  if tied.any():
    order[tied] = np.lexsort((rng.random(columns[tied].shape), columns[tied]), axis=1)
  ranks = np.empty(order.shape, np.int64)
  np.put_along_axis(ranks, order, np.arange(order.shape[1])[np.newaxis], axis=1)
  return ranks.T


def tally(values, classes, *, rng):
  """Histograms of ranks, and sums of residuals.

  Args:
    values: `[M, elements]`, the truth first.
    classes: dict of name to bool `[elements]`, or `[M, elements]` where each member
      chooses by itself.
    rng: for ties.

  Returns:
    Dict of name to `(histograms, sums)`, `[M, M]` and `[M, 2]`.
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


def band_names(edges):
  return [f"ell {low:.0f} to {high:.0f}" for low, high in zip(edges[:-1], edges[1:])]


def quantile_names(quantiles):
  limits = [f"{100 * q:g}" for q in quantiles]
  names = [f"lowest {limits[0]} %"]
  names += [f"{low} to {high} %" for low, high in zip(limits[:-1], limits[1:])]
  return names + [f"highest {100 * (1 - quantiles[-1]):.3g} %"]


def _pixel_classes(flat, mask, grid, settings):
  observed = mask.ravel()
  classes = {"observed": observed}
  if not observed.all():
    classes["unobserved"] = ~observed
  distance = gap_distance(mask, grid.pixel_scale.to_value(u.arcmin)).ravel()
  limits = (0.0, *settings.mask_distances, np.inf)
  for low, high in zip(limits[:-1], limits[1:]):
    name = f"{low:g} to {high:g} arcmin from a gap"
    if high == np.inf:
      name = f"beyond {low:g} arcmin from a gap"
    classes[name] = observed & (distance > low) & (distance <= high)
  choosers = {"posterior mean": flat.mean(axis=0, keepdims=True), "own kappa": flat}
  for name, chooser in choosers.items():
    limits = np.quantile(chooser[:, observed], settings.kappa_quantiles, axis=1).T
    levels = np.stack([np.searchsorted(l, c) for l, c in zip(limits, chooser)])
    for level, label in enumerate(quantile_names(settings.kappa_quantiles)):
      classes[f"{name}, {label}"] = observed & (levels == level)
  return {name: chosen for name, chosen in classes.items() if chosen.any()}


def gap_distance(mask, pixel_arcmin=1.0):
  """Distance of pixels from the nearest gap, infinite without one; maps are periodic.

  Empty pixels that are too few to hold 3 x 3 of them are holes of the sampling and do
  not count.
  """
  margin = [(n // 2, n // 2) for n in mask.shape]
  gaps = ndimage.binary_opening(np.pad(~mask, margin, mode="wrap"), np.ones([3, 3]))
  if not gaps.any():
    return np.full(mask.shape, np.inf)
  (top, _), (left, _) = margin
  inner = np.s_[top : top + mask.shape[0], left : left + mask.shape[1]]
  return ndimage.distance_transform_edt(~gaps)[inner] * pixel_arcmin


def modes(members, mask, *, grid, edges):
  """Fourier components of the observed part of maps.

  Args:
    members: `[M, ny, nx]`.
    mask: bool `[ny, nx]`; maps fade over four pixels towards its gaps.
    grid: `geometry.PixelGrid`.
    edges: of bands of multipoles, `[num_bands + 1]`.

  Returns:
    `(values, bands, power)`: real and imaginary parts of all modes, each once,
    `[M, ny nx]`; the band of each, -1 for the mean; C_ell of the bands,
    `[M, num_bands]`.

  Raises:
    ValueError: if a band holds no mode.
  """
  window = np.minimum(gap_distance(mask) / 4, 1)
  window /= np.sqrt(np.mean(window**2))
  ny, nx = grid.shape
  modes = np.fft.rfft2(window * members, norm="ortho")
  half = np.ones(modes.shape[1:], bool)
  half[ny // 2 + 1 :, 0] = False
  real_columns = (0, nx // 2) if nx % 2 == 0 else (0,)
  for column in real_columns:
    half[ny // 2 + 1 :, column] = False
  imaginary = half.copy()
  real_rows = (0, ny // 2) if ny % 2 == 0 else (0,)
  for column in real_columns:
    imaginary[list(real_rows), column] = False
  values = np.concatenate([modes.real[:, half], modes.imag[:, imaginary]], axis=1)
  ell = grid.multipoles()
  ell = np.concatenate([ell[half], ell[imaginary]])
  bands = np.digitize(ell, edges) - 1
  bands[ell == 0] = -1
  if not np.isin(np.arange(len(edges) - 1), bands).all():
    raise ValueError(
      f"A band of multipoles has no mode on a map of {ny} x {nx} pixels: num_bands ="
      f" {len(edges) - 1} is too many."
    )
  power = [np.mean(values[:, bands == b] ** 2, axis=1) for b in range(len(edges) - 1)]
  return values, bands, 2 * np.stack(power, axis=1) * grid.pixel_radians**2


def _distances(members, mask, side, num_references, rng):
  """Distances of members from random points, in patches; `[M, points x patches]`.

  The points are Gaussian fields with the mean power of the members, and distances are
  in units of the members' standard deviation in each pixel: functions of all members
  alike, as the test needs. They are of observed pixels, in patches of which at least
  half is observed.
  """
  power = np.mean(np.abs(np.fft.rfft2(members, norm="ortho")) ** 2, axis=0)
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
  return np.concatenate([np.array(r)[:, share >= 0.5] for r in result], axis=1)


def _check(samples, truth, grid):
  if samples.ndim != 3 or samples.shape[1:] != grid.shape or len(samples) < 2:
    raise ValueError(
      f"samples must be [num_samples, {grid.shape[0]}, {grid.shape[1]}], at least"
      f" two; got shape {samples.shape}."
    )
  if truth.shape != grid.shape:
    raise ValueError(f"truth must have shape {grid.shape}; got {truth.shape}.")
  if not (np.isfinite(samples).all() and np.isfinite(truth).all()):
    raise ValueError("samples or truth hold values that are not finite.")
