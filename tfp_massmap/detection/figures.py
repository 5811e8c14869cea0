"""Figures of detections. Every function returns `(figure, axes)`."""

from matplotlib import figure as mpl_figure
import numpy as np
from scipy import stats

from tfp_massmap.detection import criterion

# Of the histograms, in standard deviations; higher coefficients widen them.
_LOWEST, _HIGHEST, _WIDTH = -5.0, 14.0, 0.25


def plot_coefficients(backgrounds, clusters, *, threshold):
  """Histograms of the aperture mass, without and with clusters (paper Fig. 8).

  Args:
    backgrounds: dict of a label to coefficients of a field without the cluster, any
      shape, in standard deviations; the last one is drawn with its Gaussian.
    clusters: dict of a label to the highest coefficients of samples, `[num_samples]`.
    threshold: of a detection.
  """
  figure = mpl_figure.Figure(figsize=(7, 4.4), layout="constrained")
  axes = figure.subplots()
  highest = max(np.max(values) for values in clusters.values()) if clusters else 0
  bins = np.arange(_LOWEST, max(_HIGHEST, highest) + 2 * _WIDTH, _WIDTH)
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
  axes.plot(
    bins,
    stats.norm.pdf(bins, np.mean(values), np.std(values)),
    "k:",
    lw=1.2,
    label="Gaussian of the same width",
  )
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


def plot_detection_rate(series, background_rate, *, threshold):
  """Share of samples that detect a cluster against its input SNR (paper Fig. 9).

  Samples of one field share its data. The interval of all fields together is the wider
  of the binomial one and the scatter over fields.

  Args:
    series: dict of a label to a table with columns `snr`, `field`, `detected` and
      `num_samples`.
    background_rate: `(detected, num_samples)` of places without a cluster, ints or
      arrays `[num_fields]`.
    threshold: of a detection.
  """
  figure = mpl_figure.Figure(figsize=(6.4, 4.4), layout="constrained")
  axes = figure.subplots()
  _, low, high = pooled_rate(*background_rate)
  axes.axhspan(low, high, color="0.8", label="places without a cluster")
  for index, (label, table) in enumerate(series.items()):
    color = f"C{index}"
    low, high = criterion.binomial_interval(table["detected"], table["num_samples"])
    share = np.asarray(table["detected"] / table["num_samples"])
    if len(np.unique(table["field"])) > 1:
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


def pooled_rate(detected, num_samples):
  """Share of all samples that detect a cluster, and its interval.

  Args:
    detected, num_samples: ints, or arrays `[num_fields]`.

  Returns:
    `(share, low, high)`: the interval is the wider, at each end, of the binomial one of
    all samples and one standard error over the fields, if there are several.

  Raises:
    ValueError: for more detections than samples, or no samples.
  """
  detected, num_samples = np.broadcast_arrays(np.atleast_1d(detected), num_samples)
  total = num_samples.sum()
  share = detected.sum() / total
  low, high = criterion.binomial_interval(detected.sum(), total)
  if len(detected) > 1:
    error = stats.sem(detected / num_samples)
    low, high = max(min(low, share - error), 0), min(max(high, share + error), 1)
  return share, float(low), float(high)


def plot_cutouts(cutouts, highest, *, grid, threshold, num_columns=4):
  """Filtered samples around a cluster, detected above, missed below (paper Fig. F.1).

  Args:
    cutouts: aperture mass in standard deviations, `[num_samples, ny, nx]`.
    highest: that of the samples near the cluster, `[num_samples]`.
    grid: `geometry.PixelGrid`, for the pixel scale.
    threshold: of a detection.
    num_columns: cutouts in a row.
  """
  figure = mpl_figure.Figure(
    figsize=(1.9 * num_columns + 0.9, 4.3), layout="constrained"
  )
  axes = figure.subplots(2, num_columns, sharex=True, sharey=True)
  half = grid.pixel_scale.to_value("arcmin") * cutouts.shape[-1] / 2
  is_detected = highest > threshold
  for row, (label, chosen) in zip(
    axes, (("detection", is_detected), ("no detection", ~is_detected))
  ):
    row[0].set_ylabel(f"{label}\n[arcmin]")
    shown = cutouts[chosen][:num_columns]
    for axis, values in zip(row, shown):
      image = axis.imshow(
        values,
        origin="lower",
        extent=[-half, half] * 2,
        cmap="inferno",
        vmin=-3,
        vmax=2.5 * threshold,
      )
    for axis in row[len(shown) :]:
      axis.set_axis_off()
  for axis in axes[-1]:
    axis.set_xlabel("arcmin")
  figure.colorbar(image, ax=axes, label="aperture mass / background", extend="both")
  return figure, axes


def plot_reliability(results):
  """Observed share against posterior probability.

  Args:
    results: dict of a label to a `Reliability`.
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
