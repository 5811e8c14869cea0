"""Figures of detections. Every function that plots returns `(figure, axes)`."""

from collections.abc import Mapping
import typing

from astropy import table as astropy_table
from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure
import numpy as np
from scipy import stats

from tfp_massmap import geometry
from tfp_massmap.detection import criterion
from tfp_massmap.detection import reliability_diagram

# Range and bins of the histograms, in standard deviations; higher coefficients widen
# it.
_LOWEST, _HIGHEST, _WIDTH = -5.0, 14.0, 0.25

# Cutouts are shown from -3 standard deviations to this many thresholds.
_BRIGHTEST = 2.5


def plot_coefficients(
  backgrounds: Mapping[str, np.ndarray],
  clusters: Mapping[str, np.ndarray],
  *,
  threshold: float,
) -> tuple[mpl_figure.Figure, mpl_axes.Axes]:
  """Plots the aperture mass without and with clusters (Remy et al. 2022, Fig. 8).

  Args:
    backgrounds: Coefficients of a field without the cluster by label, any shape, in
      standard deviations; the last one is drawn with its Gaussian.
    clusters: Highest coefficients of samples by label, `[num_samples]`.
    threshold: Threshold of a detection.
  """
  figure = mpl_figure.Figure(figsize=(7, 4.4), layout="constrained")
  axes = figure.subplots()
  highest = max(np.max(values) for values in clusters.values()) if clusters else 0
  # The types of matplotlib leave out that edges may be an array.
  bins: typing.Any = np.arange(_LOWEST, max(_HIGHEST, highest) + 2 * _WIDTH, _WIDTH)
  hatches = ("////", "....")
  for hatch, (label, values) in zip(hatches, backgrounds.items()):
    axes.hist(
      np.clip(values, bins[0], bins[-1]).ravel(),
      bins,
      density=True,
      histtype="step",
      color="0.35",
      hatch=hatch,
      label=label,
    )
  last = list(backgrounds.values())[-1]
  gaussian = stats.norm.pdf(bins, np.mean(last), np.std(last))
  axes.plot(bins, gaussian, "k:", lw=1.2, label="Gaussian of the same width")
  for index, (label, values) in enumerate(clusters.items()):
    axes.hist(
      np.maximum(values, bins[0]),
      bins[::2],
      density=True,
      histtype="stepfilled",
      alpha=0.55,
      color=f"C{index}",
      label=label,
    )
  axes.axvline(threshold, color="k", ls="--", lw=1)
  axes.set(
    xlabel="aperture mass / standard deviation of the field without cluster",
    ylabel="probability density",
    xlim=(bins[0], bins[-1]),
  )
  axes.legend(fontsize=8)
  return figure, axes


def plot_detection_rate(
  series: Mapping[str, astropy_table.Table],
  background_rate: tuple[np.ndarray | int, np.ndarray | int],
  *,
  threshold: float,
) -> tuple[mpl_figure.Figure, mpl_axes.Axes]:
  """Plots the share of samples that detect a cluster against its input SNR.

  It is Fig. 9 of Remy et al. (2022). Samples of one field share its data, so the
  interval of all fields together is the wider of the binomial one and the scatter over
  fields.

  Args:
    series: Tables with the columns `snr`, `field`, `detected` and `num_samples`, by
      label.
    background_rate: `(detected, num_samples)` of places without a cluster, integers or
      arrays `[num_fields]`.
    threshold: Threshold of a detection.
  """
  figure = mpl_figure.Figure(figsize=(6.4, 4.4), layout="constrained")
  axes = figure.subplots()
  _, low, high = pooled_rate(*background_rate)
  axes.axhspan(low, high, color="0.8", label="places without a cluster")
  for index, (label, table) in enumerate(series.items()):
    color = f"C{index}"
    if len(np.unique(table["field"])) > 1:
      _plot_fields(axes, table, color)
    snr = np.unique(table["snr"])
    cases = [table[table["snr"] == value] for value in snr]
    share, low, high = np.array(
      [pooled_rate(case["detected"], case["num_samples"]) for case in cases]
    ).T
    axes.errorbar(
      snr,
      share,
      [share - low, high - share],
      fmt="o-",
      color=color,
      label=label,
      markersize=4,
      capsize=2,
    )
  axes.axvline(threshold, color="k", ls="--", lw=1)
  axes.set(
    xlabel="input signal-to-noise ratio",
    ylim=(-0.02, 1.04),
    ylabel=rf"share of samples above {threshold:g}$\sigma$",
  )
  axes.legend(fontsize=8, loc="lower right")
  return figure, axes


def _plot_fields(axes, table, color):
  """Draws each field by itself, faintly, beside its signal-to-noise ratio."""
  low, high = criterion.binomial_interval(table["detected"], table["num_samples"])
  share = np.asarray(table["detected"] / table["num_samples"])
  offset = 0.03 * (np.asarray(table["field"]) - np.mean(table["field"]))
  axes.errorbar(
    table["snr"] + offset,
    share,
    [share - low, high - share],
    fmt=".",
    color=color,
    alpha=0.25,
    markersize=4,
    elinewidth=0.8,
  )


def pooled_rate(
  detected: np.ndarray | int, num_samples: np.ndarray | int
) -> tuple[float, float, float]:
  """Returns the share of all samples that detect a cluster, and its interval.

  Args:
    detected: Number of samples that detect it, an integer or `[num_fields]`.
    num_samples: Number of samples, an integer or `[num_fields]`.

  Returns:
    `(share, low, high)`: at each end the interval is the wider of the binomial one of
    all samples and one standard error over the fields, if there are several.

  Raises:
    ValueError: If there are more detections than samples, or no samples.
  """
  detected, num_samples = np.broadcast_arrays(np.atleast_1d(detected), num_samples)
  total = num_samples.sum()
  share = detected.sum() / total
  low, high = map(float, criterion.binomial_interval(detected.sum(), total))
  if len(detected) > 1:
    error = stats.sem(detected / num_samples)
    low, high = max(min(low, share - error), 0), min(max(high, share + error), 1)
  return share, float(low), float(high)


def plot_cutouts(
  cutouts: np.ndarray,
  highest: np.ndarray,
  *,
  grid: geometry.PixelGrid,
  threshold: float,
  num_columns: int = 4,
) -> tuple[mpl_figure.Figure, np.ndarray]:
  """Plots filtered samples around a cluster (Remy et al. 2022, Fig. F.1).

  Samples that detect it are in the upper row, others in the lower one.

  Args:
    cutouts: Aperture mass in standard deviations, `[num_samples, ny, nx]`.
    highest: Highest aperture mass of the samples near the cluster, `[num_samples]`.
    grid: `geometry.PixelGrid`, for the pixel scale.
    threshold: Threshold of a detection.
    num_columns: Number of cutouts in a row.
  """
  figure = mpl_figure.Figure(
    figsize=(1.9 * num_columns + 0.9, 4.3), layout="constrained"
  )
  axes = figure.subplots(2, num_columns, sharex=True, sharey=True)
  half = grid.pixel_scale.to_value("arcmin") * cutouts.shape[-1] / 2
  is_detected = highest > threshold
  rows = (("detection", is_detected), ("no detection", ~is_detected))
  for row, (label, chosen) in zip(axes, rows):
    row[0].set_ylabel(f"{label}\n[arcmin]")
    shown = cutouts[chosen][:num_columns]
    for axis, values in zip(row, shown):
      image = axis.imshow(
        values,
        origin="lower",
        extent=[-half, half] * 2,
        cmap="inferno",
        vmin=-3,
        vmax=_BRIGHTEST * threshold,
      )
    for axis in row[len(shown) :]:
      axis.set_axis_off()
  for axis in axes[-1]:
    axis.set_xlabel("arcmin")
  figure.colorbar(image, ax=axes, label="aperture mass / background", extend="both")
  return figure, axes


def plot_reliability(
  results: Mapping[str, reliability_diagram.Reliability],
) -> tuple[mpl_figure.Figure, mpl_axes.Axes]:
  """Plots the observed share against the posterior probability.

  Args:
    results: `Reliability` by label.
  """
  figure = mpl_figure.Figure(figsize=(4.9, 4.7), layout="constrained")
  axes = figure.subplots()
  axes.plot([0, 1], [0, 1], "k--", lw=1)
  for index, (label, result) in enumerate(results.items()):
    axes.errorbar(
      result.predicted,
      result.observed,
      [result.observed - result.low, result.high - result.observed],
      fmt="os^D"[index % 4] + "-",
      color=f"C{index}",
      markersize=4,
      capsize=2,
      lw=1,
      label=f"{label} ({result.count.sum()} cases, z = {result.z:.1f})",
    )
  axes.set(
    xlabel="posterior probability of a detection",
    ylabel="share with one in truth",
    xlim=(-0.02, 1.02),
    ylim=(-0.02, 1.02),
    aspect="equal",
  )
  axes.legend(fontsize=8)
  return figure, axes
