"""Scores of a map against the truth, in a mask, and tables of them."""

import dataclasses

import numpy as np

from tfp_massmap import spectra

ELL_EDGES = np.geomspace(250, 16000, 8)
KAPPA_EDGES = np.array([-1, -0.02, 0, 0.02, 0.05, 0.1, 0.2, 1])


@dataclasses.dataclass(frozen=True)
class Scores:
  """Of maps without their mean in the mask.

  Attributes:
    rmse, r: root mean squared error and Pearson correlation.
    band_r: correlation in the bands of `ELL_EDGES`, masked maps.
    bin_rmse: error of pixels in the bins `KAPPA_EDGES` of true convergence.
  """

  rmse: float
  r: float
  band_r: np.ndarray
  bin_rmse: np.ndarray


def score(kappa, truth, mask, grid, samples=None):
  """`Scores` of `kappa`; with `samples`, whose mean it is, those of the mean of many.

  The mean of n samples has their variance over n as an error of its own.
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
  for low, high in zip(KAPPA_EDGES, KAPPA_EDGES[1:]):
    inside = mask & (truth > low) & (truth <= high)
    bin_rmse.append(np.sqrt(error[inside].mean()) if inside.any() else np.nan)
  return Scores(
    rmse=np.sqrt(error[mask].mean()),
    r=np.sum(estimate * truth_map) / np.sqrt(variance * np.sum(truth_map**2)),
    band_r=cross / np.sqrt((power(estimate) - spare_power) * power(truth_map)),
    bin_rmse=np.array(bin_rmse),
  )


def pack(scores):
  """Dict of arrays `[n, ...]`, one a figure, of n `Scores`."""
  names = [field.name for field in dataclasses.fields(Scores)]
  return {name: np.array([getattr(each, name) for each in scores]) for name in names}


def unpack(arrays, methods):
  """What `print_tables` takes, from those of all mocks, `[num_mocks, n, ...]`."""
  names = [field.name for field in dataclasses.fields(Scores)]
  mocks = range(len(arrays[names[0]]))
  return {
    method: [Scores(*(arrays[name][mock, number] for name in names)) for mock in mocks]
    for number, method in enumerate(methods)
  }


def mean_of(scores, name):
  """Mean of one of the figures over mocks, ignoring empty bins."""
  return np.nanmean([getattr(s, name) for s in scores], axis=0)


def error_of_mean(differences):
  """Standard error over mocks, the first axis, ignoring empty bins; nan for one mock."""
  finite = np.ma.masked_invalid(differences)
  return np.ma.filled(
    finite.std(axis=0, ddof=1) / np.sqrt(finite.count(axis=0)), np.nan
  )


def differences(scores, others, name, ratio=1):
  """One of the figures minus `ratio` times that of another method, mock by mock."""
  pairs = zip(scores, others, strict=True)
  return np.array([getattr(a, name) - ratio * getattr(b, name) for a, b in pairs])


def print_tables(found, references):
  """Prints all figures.

  Args:
    found: dict of method to a list of `Scores`, one a mock, the same mocks for all.
    references: methods with which the others are compared, mock by mock; the tables by
      scale and by convergence compare with the first only.
  """
  for reference in references:
    print(f"{'':>20s} {'100 RMSE':>9s} {'r':>7s}   minus {reference}'s: 100 RMSE, r")
    for name, scores in found.items():
      pairs = []
      for figure, factor in (("rmse", 100), ("r", 1)):
        paired = factor * differences(scores, found[reference], figure)
        pairs.append(f"{paired.mean():+.4f} +- {error_of_mean(paired):.4f}")
      rmse, r = 100 * mean_of(scores, "rmse"), mean_of(scores, "r")
      print(f"{name:>20s} {rmse:9.4f} {r:7.4f}   {pairs[0]}, {pairs[1]}")
  others = found[references[0]]
  print(
    f"In brackets: error, in the last digits, of the difference from {references[0]}"
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
      paired = differences(scores, others, figure, values if is_ratio else 1)
      errors = 1000 * error_of_mean(paired / scale)
      cells = (f"{value:.3f}({error:.0f})" for value, error in zip(values, errors))
      print(f"{name:>20s} " + " ".join(f"{cell:>10s}" for cell in cells))


def plot(found, reference, axes, title):
  """Correlation with the truth by scale, and error by true convergence.

  Args:
    found: as `print_tables`.
    reference: method by whose error others' are divided.
    axes: two of matplotlib.
    title: of both.
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
