"""Figures of calibration. Every function that plots returns `(figure, axes)`."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import os
import pathlib
import typing

from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure
import numpy as np

from tfp_massmap import io
from tfp_massmap.calibration import band_powers
from tfp_massmap.calibration import chains
from tfp_massmap.calibration import ranks
from tfp_massmap.calibration import statistics

Runs = Mapping[str, Sequence[ranks.Record]]

_LEVELS = np.linspace(0.02, 0.98, 49)

# Panels of `plot_classes`: titles, and beginnings of the names of tests.
_CLASSES = {
  "By scale": "modes",
  "By posterior mean": "pixels: posterior mean",
  "By own kappa": "pixels: own kappa",
  "By distance from a gap": "pixels",
}


def plot_coverage(
  runs: Runs, name: str = statistics.OBSERVED
) -> tuple[mpl_figure.Figure, mpl_axes.Axes]:
  """Plots coverage minus level against the level, with one and two standard errors.

  Args:
    runs: Records by label of a run.
    name: Name of the test.
  """
  figure, axis = _one_panel(baseline=0)
  for index, (label, records) in enumerate(runs.items()):
    estimate = statistics.coverage(records, name, levels=_LEVELS)
    difference = 100 * (estimate.value - estimate.expected)
    axis.plot(100 * _LEVELS, difference, color=f"C{index}", label=label)
    _band(axis, 100 * _LEVELS, difference, 100 * estimate.error, f"C{index}")
  axis.set(xlabel="level of the interval [%]", ylabel="coverage - expected [%]")
  axis.set_title(name, fontsize=10)
  axis.legend(fontsize=8)
  return figure, axis


def plot_classes(
  runs: Runs, statistic: statistics.Statistic = statistics.STATISTICS[0]
) -> tuple[mpl_figure.Figure, np.ndarray]:
  """Plots a figure of merit minus what is expected, by classes of pixels and by scale.

  Args:
    runs: Records by label of a run.
    statistic: One of `statistics.STATISTICS`; its first element is shown.

  Returns:
    `(figure, axes)`, with axes for the scale, the posterior mean, the own convergence
    and the distance from a gap, `[4]`. Those without a test of the statistic are empty.
  """
  figure = mpl_figure.Figure(figsize=(12, 8), layout="constrained")
  axes = figure.subplots(2, 2).ravel()
  unit = " [%]" if statistic.in_percent else ""
  drawn = []
  for axis, (title, group) in zip(axes, _CLASSES.items()):
    present = [_class_names(records, group, statistic) for records in runs.values()]
    if not any(present):
      axis.set_axis_off()
      continue
    _plot_one_class(axis, runs, present, group, statistic)
    axis.axhline(0, color="k", linewidth=0.8)
    axis.set_title(title, fontsize=10)
    axis.set_ylabel(f"{statistic.rows[0]} - expected{unit}")
    drawn.append(axis)
  drawn[0].legend(fontsize=8)
  return figure, axes


def _plot_one_class(axis, runs, present, group, statistic):
  """Draws the points of all runs in one panel, `present` the tests that each has."""
  shift = np.linspace(-0.15, 0.15, len(runs)) if len(runs) > 1 else [0]
  longest_first = sorted(present, key=len, reverse=True)
  everywhere = list(dict.fromkeys(n for names in longest_first for n in names))
  factor = 100 if statistic.in_percent else 1
  for index, (label, records) in enumerate(runs.items()):
    names = present[index]
    estimates = [statistic.compute(records, n).scalars()[0] for n in names]
    place = np.array([everywhere.index(n) for n in names]) + shift[index]
    if group == "modes":
      edges = records[0].band_edges
      place = np.sqrt(edges[1:] * edges[:-1]) * np.exp(shift[index])
    axis.errorbar(
      place,
      [factor * (e.value - e.expected) for e in estimates],
      [factor * e.error for e in estimates],
      fmt="o",
      color=f"C{index}",
      label=label,
      markersize=4,
    )
  if group == "modes":
    axis.set(xscale="log", xlabel=r"multipole $\ell$")
    return
  labels = [n.split(": ")[1].split(", ")[-1] for n in everywhere]
  labels = [text.removesuffix(" from a gap") for text in labels]
  axis.set_xticks(range(len(labels)), labels, rotation=20, ha="right", fontsize=8)


def _class_names(records, group, statistic):
  names = statistics.names(records, group)
  if group == "pixels":
    names = [n for n in names if n.endswith("from a gap")]
  return [n for n in names if n.startswith(statistic.tests)]


def plot_ranks(
  runs: Runs, name: str = statistics.OBSERVED
) -> tuple[mpl_figure.Figure, mpl_axes.Axes]:
  """Plots rank histograms over what is expected, with errors.

  Args:
    runs: Records by label of a run.
    name: Name of the test.
  """
  figure, axis = _one_panel(baseline=1)
  for index, (label, records) in enumerate(runs.items()):
    estimate = statistics.rank_histogram(records, name)
    ratio = np.asarray(estimate.value / estimate.expected)
    axis.errorbar(
      (np.arange(len(ratio)) + 0.5) / len(ratio),
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


def plot_tarp(
  runs: Runs, name: str = "distances: patches"
) -> tuple[mpl_figure.Figure, mpl_axes.Axes]:
  """Plots expected coverage minus credibility (`statistics.tarp`).

  Args:
    runs: Records by label of a run.
    name: Name of the test.
  """
  figure, axis = _one_panel(baseline=0)
  for index, (label, records) in enumerate(runs.items()):
    levels, covered, deviation = statistics.tarp(records, name)
    label = f"{label}: at most {deviation.value:.3f} (chance: {deviation.expected:.3f})"
    axis.plot(levels, covered.value - levels, color=f"C{index}", label=label)
    _band(axis, levels, covered.value - levels, covered.error, f"C{index}")
  axis.set(xlabel="credibility", ylabel="expected coverage - credibility")
  axis.set_title(f"TARP, {name}", fontsize=10)
  axis.legend(fontsize=8)
  return figure, axis


def plot_band_power(runs: Runs) -> tuple[mpl_figure.Figure, mpl_axes.Axes]:
  """Plots the power of the samples over that of the truths, with chi-squares.

  Args:
    runs: Records by label of a run.
  """
  figure, axis = _one_panel(baseline=1)
  axis.axhspan(0.95, 1.05, color="0.9")
  for index, (label, records) in enumerate(runs.items()):
    estimate, edges = band_powers.band_power(records), records[0].band_edges
    center = np.sqrt(edges[1:] * edges[:-1]) * 1.03**index
    if records[0].num_samples > len(center):
      square = band_powers.chi_square(records)
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


def plot_chains(
  diagnostics: chains.ChainDiagnostics,
) -> tuple[mpl_figure.Figure, np.ndarray]:
  """Plots R-hat and effective sizes: the medians, and where the worst 5 % begin.

  Args:
    diagnostics: Result of `chains.diagnose`.
  """
  figure = mpl_figure.Figure(figsize=(10, 4), layout="constrained")
  axes = figure.subplots(1, 2)
  place = np.arange(len(diagnostics.names))
  r_hat = diagnostics.r_hat, diagnostics.r_hat_highest, diagnostics.r_hat_error
  size = (
    diagnostics.effective_size,
    diagnostics.effective_size_lowest,
    diagnostics.effective_size_error,
  )
  labels = "R-hat", f"effective size of {diagnostics.num_states}"
  for axis, (median, worst, error), label in zip(axes, (r_hat, size), labels):
    axis.errorbar(place, median, error, fmt="o", label="median")
    axis.plot(place, worst, "v", color="C3", label="worst 5 % begin here")
    axis.set_xticks(place, diagnostics.names, rotation=25, ha="right", fontsize=7)
    axis.set_ylabel(label)
  axes[0].axhline(1, color="k", linewidth=0.8)
  axes[0].legend(fontsize=8)
  return figure, axes


def save_all(folder: str | os.PathLike, runs: Runs) -> None:
  """Writes a PNG of every test into a folder.

  Args:
    folder: Name of the folder.
    runs: Records by label of a run. Runs without Fourier modes or distances are left
      out of the figures that show these.
  """
  everything = {
    label: records
    for label, records in runs.items()
    if records[0].settings.num_bands and records[0].settings.patch
  }
  figures: dict[str, tuple[Callable[..., tuple[mpl_figure.Figure, typing.Any]], Runs]]
  figures = {"coverage": (plot_coverage, runs), "ranks": (plot_ranks, runs)}
  for statistic in statistics.STATISTICS:
    if statistic.figure:
      plot_one = lambda shown, statistic=statistic: plot_classes(shown, statistic)
      figures[statistic.figure] = plot_one, everything
  figures["tarp"] = plot_tarp, everything
  figures["band_power"] = plot_band_power, everything
  for name, (plot, shown) in figures.items():
    if shown:
      path = pathlib.Path(folder) / f"{name}.png"
      labels = {name: records[0].label for name, records in shown.items()}
      io.write_figure(path, plot(shown)[0], settings=labels, overwrite=True, dpi=120)


def _one_panel(baseline):
  figure = mpl_figure.Figure(figsize=(7, 4.5), layout="constrained")
  axis = figure.subplots()
  axis.axhline(baseline, color="k", linewidth=0.8)
  return figure, axis


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
