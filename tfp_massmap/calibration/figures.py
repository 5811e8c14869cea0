"""Figures of calibration. Every function returns `(figure, axes)`."""

import pathlib

from matplotlib import figure as mpl_figure
import numpy as np

from tfp_massmap import io
from tfp_massmap.calibration import statistics

_LEVELS = np.linspace(0.02, 0.98, 49)
_CLASSES = {
  "By scale": "modes",
  "By posterior mean": "pixels: posterior mean",
  "By own kappa": "pixels: own kappa",
  "By distance from a gap": "pixels",
}


def plot_coverage(runs, name="pixels: observed"):
  """Coverage minus level, against the level, with one and two standard errors.

  Args:
    runs: dict of label to list of `Record`.
    name: of the test.
  """
  figure, axis = _one_panel()
  axis.axhline(0, color="k", linewidth=0.8)
  for index, (label, records) in enumerate(runs.items()):
    estimate = statistics.coverage(records, name, levels=_LEVELS)
    difference = 100 * (estimate.value - estimate.expected)
    axis.plot(100 * _LEVELS, difference, color=f"C{index}", label=label)
    _band(axis, 100 * _LEVELS, difference, 100 * estimate.error, f"C{index}")
  axis.set(xlabel="level of the interval [%]", ylabel="coverage - expected [%]")
  axis.set_title(name, fontsize=10)
  axis.legend(fontsize=8)
  return figure, axis


def plot_classes(runs, level=0.68):
  """Coverage by scale, by kappa and by distance from a gap, minus what is expected."""
  figure = mpl_figure.Figure(figsize=(12, 8), layout="constrained")
  axes = figure.subplots(2, 2).ravel()
  shift = np.linspace(-0.15, 0.15, len(runs)) if len(runs) > 1 else [0]
  for axis, (title, group) in zip(axes, _CLASSES.items()):
    by_scale = group == "modes"
    present = [_class_names(records, group) for records in runs.values()]
    longest_first = sorted(present, key=len, reverse=True)
    everywhere = list(dict.fromkeys(n for names in longest_first for n in names))
    for index, (label, records) in enumerate(runs.items()):
      names = present[index]
      estimates = [statistics.coverage(records, n, levels=[level]) for n in names]
      place = np.array([everywhere.index(n) for n in names]) + shift[index]
      if by_scale:
        edges = records[0].band_edges
        place = np.sqrt(edges[1:] * edges[:-1]) * np.exp(shift[index])
      axis.errorbar(
        place,
        [100 * float(e.value[0] - e.expected[0]) for e in estimates],
        [100 * float(e.error[0]) for e in estimates],
        fmt="o",
        color=f"C{index}",
        label=label,
        markersize=4,
      )
    axis.axhline(0, color="k", linewidth=0.8)
    if by_scale:
      axis.set(xscale="log", xlabel=r"multipole $\ell$")
    else:
      labels = [n.split(": ")[1].split(", ")[-1] for n in everywhere]
      labels = [text.removesuffix(" from a gap") for text in labels]
      axis.set_xticks(range(len(labels)), labels, rotation=20, ha="right", fontsize=8)
    axis.set_title(title, fontsize=10)
    axis.set_ylabel(f"{level:.0%} coverage - expected [%]")
  axes[0].legend(fontsize=8)
  return figure, axes


def plot_ranks(runs, name="pixels: observed"):
  """Rank histograms over what is expected, with errors."""
  figure, axis = _one_panel()
  axis.axhline(1, color="k", linewidth=0.8)
  for index, (label, records) in enumerate(runs.items()):
    estimate = statistics.rank_histogram(records, name)
    ratio = estimate.value / estimate.expected
    place = (np.arange(len(ratio)) + 0.5) / len(ratio)
    axis.errorbar(
      place,
      ratio,
      estimate.error / estimate.expected,
      fmt=".-",
      color=f"C{index}",
      label=f"{label} (p = {estimate.p_value:.2g})",
      linewidth=0.8,
    )
  axis.set(xlabel="rank of the truth / number of ranks", ylabel="frequency / expected")
  axis.set_title(name, fontsize=10)
  axis.legend(fontsize=8)
  return figure, axis


def plot_tarp(runs, name="distances: patches"):
  """Expected coverage minus credibility (TARP)."""
  figure, axis = _one_panel()
  axis.axhline(0, color="k", linewidth=0.8)
  for index, (label, records) in enumerate(runs.items()):
    levels, covered, deviation = statistics.tarp(records, name)
    label = f"{label}: at most {deviation.value:.3f} (chance: {deviation.expected:.3f})"
    axis.plot(levels, covered.value - levels, color=f"C{index}", label=label)
    _band(axis, levels, covered.value - levels, covered.error, f"C{index}")
  axis.set(xlabel="credibility", ylabel="expected coverage - credibility")
  axis.set_title(f"TARP, {name}", fontsize=10)
  axis.legend(fontsize=8)
  return figure, axis


def plot_band_power(runs):
  """Power of the samples over that of the truths; chi-square in the legend."""
  figure, axis = _one_panel()
  axis.axhline(1, color="k", linewidth=0.8)
  axis.axhspan(0.95, 1.05, color="0.9")
  for index, (label, records) in enumerate(runs.items()):
    estimate, edges = statistics.band_power(records), records[0].band_edges
    center = np.sqrt(edges[1:] * edges[:-1]) * 1.03**index
    if records[0].num_samples > len(center):
      square = statistics.chi_square(records)
      label += f": chi-square {square.value:.1f} +- {square.error:.1f}"
      label += f" ({square.expected:.1f})"
    axis.errorbar(
      center,
      estimate.value,
      estimate.error,
      fmt="o",
      color=f"C{index}",
      label=label,
      markersize=4,
    )
  axis.set(xscale="log", xlabel=r"multipole $\ell$", ylabel="power of samples / truths")
  axis.legend(fontsize=8)
  return figure, axis


def plot_chains(diagnostics):
  """R-hat and effective size of `chains.diagnose`: median, and the worst 5 %."""
  figure = mpl_figure.Figure(figsize=(10, 4), layout="constrained")
  axes = figure.subplots(1, 2)
  place = np.arange(len(diagnostics.names))
  for axis, median, worst, error, label in (
    (
      axes[0],
      diagnostics.r_hat,
      diagnostics.r_hat_highest,
      diagnostics.r_hat_error,
      "R-hat",
    ),
    (
      axes[1],
      diagnostics.effective_size,
      diagnostics.effective_size_lowest,
      diagnostics.effective_size_error,
      f"effective size of {diagnostics.num_states}",
    ),
  ):  # pyformat: disable
    axis.errorbar(place, median, error, fmt="o", label="median")
    axis.plot(place, worst, "v", color="C3", label="worst 5 % begin here")
    axis.set_xticks(place, diagnostics.names, rotation=25, ha="right", fontsize=7)
    axis.set_ylabel(label)
  axes[0].axhline(1, color="k", linewidth=0.8)
  axes[0].legend(fontsize=8)
  return figure, axes


def save_all(folder, runs):
  """Writes a PNG of every test into a folder.

  Args:
    folder: path.
    runs: dict of label to list of `Record`; those without Fourier modes or distances
      are left out where these are shown.
  """
  everything = {n: r for n, r in runs.items() if r[0].settings.num_bands}
  everything = {n: r for n, r in everything.items() if r[0].settings.patch}
  for name, plot, shown in (
    ("coverage", plot_coverage, runs),
    ("ranks", plot_ranks, runs),
    ("classes", plot_classes, everything),
    ("tarp", plot_tarp, everything),
    ("band_power", plot_band_power, everything),
  ):  # pyformat: disable
    if shown:
      path = pathlib.Path(folder) / f"{name}.png"
      labels = {name: records[0].label for name, records in shown.items()}
      io.write_figure(path, plot(shown)[0], settings=labels, overwrite=True, dpi=120)


def _one_panel():
  figure = mpl_figure.Figure(figsize=(7, 4.5), layout="constrained")
  return figure, figure.subplots()


def _band(axis, x, middle, error, color):
  for width in (1, 2):
    axis.fill_between(
      x,
      middle - width * error,
      middle + width * error,
      color=color,
      alpha=0.15,
      linewidth=0,
    )


def _class_names(records, group):
  names = statistics.names(records, group)
  if group == "pixels":
    names = [n for n in names if n.endswith("from a gap")]
  return names
