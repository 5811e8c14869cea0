"""Figures show every run, under the names of the classes that it has."""

import numpy as np
import pytest

from tfp_massmap import calibration
from tfp_massmap.calibration import figures
from tfp_massmap.calibration import statistics


@pytest.mark.parametrize(
  "plot",
  [
    figures.plot_coverage,
    figures.plot_classes,
    figures.plot_ranks,
    figures.plot_tarp,
    figures.plot_band_power,
  ],
)
def test_figures_show_all_runs(plot, calibrated):
  _, axes = plot({"toy": calibrated, "the same": calibrated[:10]})
  drawn = np.ravel(axes)[0]
  assert drawn.get_ylabel() and len(drawn.get_legend().get_texts()) == 2


def test_figure_has_classes_that_only_some_runs_have(toy):
  """A run without gaps has no pixels near them; its point is under its own name."""
  whole = []
  for index in range(2):
    maps = toy.field(np.random.default_rng(index), toy.num_samples + 1)
    whole.append(
      calibration.measure(
        maps[1:], maps[0], grid=toy.grid, settings=toy.settings, seed=index
      )
    )
  gaps = toy.records(num_truths=2)
  for runs, place in (
    ({"gaps": gaps, "none": whole}, 1.15),
    ({"none": whole, "gaps": gaps}, 0.85),
  ):
    _, axes = figures.plot_classes(runs)
    labels = [text.get_text() for text in axes[3].get_xticklabels()]
    assert labels == ["0 to 1 arcmin", "beyond 1 arcmin"]
    points = axes[3].containers[list(runs).index("none")].lines[0]
    np.testing.assert_allclose(points.get_xdata(), [place])


def test_every_listed_statistic_has_its_figure(calibrated, tmp_path):
  """Statistics without a value by scale leave that panel out."""
  figures.save_all(tmp_path, {"toy": calibrated[:10]})
  listed = {s.figure for s in statistics.STATISTICS if s.figure}
  wanted = {"coverage", "ranks", "tarp", "band_power", *listed}
  assert {path.stem for path in tmp_path.iterdir()} == wanted
  bias = next(s for s in statistics.STATISTICS if s.compute is statistics.bias)
  _, axes = figures.plot_classes({"toy": calibrated[:10]}, bias)
  assert not axes[0].get_ylabel() and axes[1].get_ylabel() == "bias - expected"
  value = axes[3].containers[0].lines[0].get_ydata()[0]
  name = "pixels: 0 to 1 arcmin from a gap"
  assert value == calibration.bias(calibrated[:10], name).value
