"""Scores of maps against the truth, in a mask, and tables of them."""

import dataclasses
import itertools

import numpy as np

from tfp_massmap import spectra

# The modes of a field of 1.74 deg with pixels of 0.29 arcmin, without the corners of
# the Fourier plane, and convergence from voids to the highest peaks.
ELL_EDGES = np.geomspace(250, 16000, 8)
KAPPA_EDGES = np.array([-1, -0.02, 0, 0.02, 0.05, 0.1, 0.2, 1])


@dataclasses.dataclass(frozen=True)
class Scores:
  """Scores of a map, after its mean in the mask is removed.

  Attributes:
    rmse: Root mean squared error.
    r: Pearson correlation with the truth.
    band_r: Correlation of the masked maps in the bands of `ELL_EDGES`.
    bin_rmse: Root mean squared error of pixels in the bins `KAPPA_EDGES` of true
      convergence, NaN in empty bins.
  """

  rmse: float
  r: float
  band_r: np.ndarray
  bin_rmse: np.ndarray


def score(kappa, truth, *, mask, grid, samples=None):
  """Returns the `Scores` of a map.

  Args:
    kappa: Map `[ny, nx]`.
    truth: True convergence, `[ny, nx]`.
    mask: Pixels that count, bool `[ny, nx]`.
    grid: `geometry.PixelGrid` of the maps.
    samples: None, or the samples whose mean `kappa` is, `[n, ny, nx]`. The scores are
      then those of the mean of infinitely many: the mean of n samples has their
        variance
      over n as an additional error, which is subtracted.
  """

  def centred(maps):
    mean = np.mean(maps, axis=(-2, -1), where=mask, keepdims=True)
    return np.where(mask, maps - mean, 0)

  power = lambda maps: spectra.band_power(maps, grid, edges=ELL_EDGES)
  estimate, truth_map = centred(kappa), centred(truth)
  spare, spare_power = np.zeros(estimate.shape), 0.0
  if samples is not None:
    scatter, pairs = centred(samples) - estimate, len(samples) * (len(samples) - 1)
    spare = np.sum(scatter**2, axis=0) / pairs
    spare_power = np.sum(power(scatter), axis=0) / pairs
  error = (estimate - truth_map) ** 2 - spare
  variance = np.sum(estimate**2 - spare)
  cross = (power(estimate + truth_map) - power(estimate - truth_map)) / 4
  bin_rmse = []
  for low, high in itertools.pairwise(KAPPA_EDGES):
    inside = mask & (truth > low) & (truth <= high)
    bin_rmse.append(np.sqrt(error[inside].mean()) if inside.any() else np.nan)
  # Of few samples the noise of the mean can exceed its power in a band: no r there.
  own_power = power(estimate) - spare_power
  own_power = np.where(own_power > 0, own_power, np.nan)
  return Scores(
    rmse=np.sqrt(error[mask].mean()),
    r=np.sum(estimate * truth_map) / np.sqrt(variance * np.sum(truth_map**2)),
    band_r=cross / np.sqrt(own_power * power(truth_map)),
    bin_rmse=np.array(bin_rmse),
  )


def pack(scores):
  """Returns n `Scores` as arrays `[n, ...]` by name of the attribute."""
  names = [field.name for field in dataclasses.fields(Scores)]
  return {name: np.array([getattr(each, name) for each in scores]) for name in names}


def unpack(arrays, methods):
  """Returns the argument of `print_tables` from packed scores of all mocks.

  Args:
    arrays: Arrays `[num_mocks, n, ...]`, from `pack`.
    methods: Names of the n methods.
  """
  names = [field.name for field in dataclasses.fields(Scores)]
  mocks = range(len(arrays[names[0]]))
  return {
    method: [Scores(*(arrays[name][mock, number] for name in names)) for mock in mocks]
    for number, method in enumerate(methods)
  }


def mean_of(scores, name):
  """Returns the mean of a score over mocks, ignoring empty bins."""
  return np.nanmean([getattr(s, name) for s in scores], axis=0)


def error_of_mean(differences):
  """Returns the standard error over mocks, the first axis, ignoring empty bins.

  It is NaN for one mock.
  """
  finite = np.ma.masked_invalid(differences)
  return np.ma.filled(
    finite.std(axis=0, ddof=1) / np.sqrt(finite.count(axis=0)), np.nan
  )


def differences(scores, others, *, name, ratio=1):
  """Returns a score minus `ratio` times that of another method, mock by mock."""
  pairs = zip(scores, others, strict=True)
  return np.array([getattr(a, name) - ratio * getattr(b, name) for a, b in pairs])


def print_tables(found, references):
  """Prints all scores.

  Args:
    found: Lists of `Scores` by method, one for each mock, the same mocks for all.
    references: Methods that the others are compared with, mock by mock. The tables by
      scale and by convergence compare with the first only.
  """
  for reference in references:
    print(f"{'':>20s} {'100 RMSE':>9s} {'r':>7s}   minus {reference}'s: 100 RMSE, r")
    for name, scores in found.items():
      pairs = []
      for figure, factor in (("rmse", 100), ("r", 1)):
        paired = factor * differences(scores, found[reference], name=figure)
        pairs.append(f"{paired.mean():+.4f} +- {error_of_mean(paired):.4f}")
      rmse, r = 100 * mean_of(scores, "rmse"), mean_of(scores, "r")
      print(f"{name:>20s} {rmse:9.4f} {r:7.4f}   {pairs[0]}, {pairs[1]}")
  others = found[references[0]]
  print(
    "In brackets is the error, in the last digits, of the difference from"
    f" {references[0]}."
  )
  for figure, edges, title in (
    ("band_r", ELL_EDGES, "correlation with the truth, ell up to"),
    ("bin_rmse", KAPPA_EDGES, f"RMSE over {references[0]}'s, true kappa up to"),
  ):
    columns = " ".join(f"{edge:10.4g}" for edge in edges[1:])
    print(f"{title}\n{'':>20s} {columns}")
    is_ratio = figure == "bin_rmse"
    scale = mean_of(others, figure) if is_ratio else 1
    for name, scores in found.items():
      values = mean_of(scores, figure) / scale
      ratio = values if is_ratio else 1
      paired = differences(scores, others, name=figure, ratio=ratio)
      errors = 1000 * error_of_mean(paired / scale)
      cells = (f"{value:.3f}({error:.0f})" for value, error in zip(values, errors))
      print(f"{name:>20s} " + " ".join(f"{cell:>10s}" for cell in cells))


def print_seconds(names, seconds):
  """Prints median times without those of the first mock, which include compilation.

  Args:
    names: What was timed, n names.
    seconds: Times `[num_mocks, n]`.
  """
  medians = zip(names, np.median(seconds[1:], axis=0))
  print(
    "median seconds, without the first mock: "
    + ", ".join(f"{name} {value:.2f}" for name, value in medians)
  )


def plot(found, reference, *, axes, title):
  """Plots the correlation with the truth by scale, and the error by true convergence.

  Args:
    found: As `print_tables`.
    reference: Method whose error divides those of the others.
    axes: Two matplotlib axes.
    title: Title of both.
  """
  left, right = axes
  norm = mean_of(found[reference], "bin_rmse")
  for number, (name, scores) in enumerate(found.items()):
    style = dict(color=f"C{number}", label=name, marker=".")
    centers = np.sqrt(ELL_EDGES[1:] * ELL_EDGES[:-1])
    left.plot(centers, mean_of(scores, "band_r"), **style)
    right.plot(mean_of(scores, "bin_rmse") / norm, **style)
  left.set(xscale="log", xlabel=r"multipole $\ell$", title=title)
  left.set_ylabel("correlation with the truth")
  right.set(title=title, ylabel=f"RMSE over that of {reference}")
  right.set_xlabel(r"bins of true $\kappa$, up to")
  right.set_xticks(range(len(norm)), [f"{edge:g}" for edge in KAPPA_EDGES[1:]])
