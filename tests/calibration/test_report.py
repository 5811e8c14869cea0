"""Tables hold every figure of merit that is listed, and show flaws."""

import numpy as np
import pytest

from tfp_massmap import calibration
from tfp_massmap.calibration import estimates
from tfp_massmap.calibration import statistics


def test_table_has_every_test(calibrated):
  rows = calibration.table(calibrated)
  assert all(np.isfinite([r["value"], r["error"], r["expected"]]).all() for r in rows)
  by_test = {row["test"]: row for row in rows}
  pixels = calibration.names(calibrated, "pixels")
  biases = [test.removeprefix("bias, ") for test in by_test if test.startswith("bias")]
  assert biases == pixels and "pixels: own kappa, highest 1 %" in biases
  ranks = [row for row in rows if row["test"].startswith("deviation of ranks")]
  assert len(ranks) == 2
  for row in ranks:
    # Calibrated samples lie within 4.5 standard deviations of chance.
    assert abs(row["value"] - row["expected"]) < 4.5 * row["error"]
    name = row["test"].split(", ", 1)[1]
    assert row["p_value"] == calibration.rank_histogram(calibrated, name).p_value > 1e-3
  assert len(calibration.markdown(rows).splitlines()) == len(rows) + 2


def test_population_is_in_tables_if_given(toy, calibrated, tmp_path):
  rows = calibration.table(calibrated)
  power = np.stack([r.band_power for r in calibrated])
  more = calibration.table(calibrated, power[:, 1])
  assert sum("population" in row["test"] for row in more) == toy.settings.num_bands
  assert [row for row in more if "population" not in row["test"]] == rows
  calibration.write_tables(
    tmp_path / "tables.md", {"toy": calibrated}, populations={"toy": power[:, 1]}
  )
  written = (tmp_path / "tables.md").read_text()
  assert written.count("power over the population's") == toy.settings.num_bands


def test_comparison_has_a_row_for_each_run(calibrated):
  text = calibration.compare({"toy": calibrated})
  assert text.count("\n") == 2 and "40 x 12" in text


def test_a_statistic_of_the_list_is_in_tables_and_comparison(calibrated, monkeypatch):
  """One line in the list of statistics is all that another one needs."""
  median = lambda records, name: estimates.Estimate(
    np.float64(len(records)), np.float64(0), expected=1.0
  )
  new = statistics.Statistic(
    ("number",), median, tests=("distances",), columns={"truths": "distances: map"}
  )
  monkeypatch.setattr(statistics, "STATISTICS", (*statistics.STATISTICS, new))
  tests = {row["test"]: row["value"] for row in calibration.table(calibrated)}
  assert tests["number, distances: map"] == len(calibrated)
  head, _, row = calibration.compare({"toy": calibrated}).splitlines()
  column = head.split(" | ").index("truths")
  assert row.split(" | ")[column] == f"{len(calibrated):.3f} +- 0.000"


def test_the_table_shows_a_shift(toy):
  """Half a standard deviation shows in every class of many pixels and in the ranks."""
  rows = calibration.table(toy.records(shift=0.5, num_truths=20))
  for row in rows:
    if row["test"].startswith("bias") and "1 %" not in row["test"]:
      assert row["value"] > 4 * row["error"], row
    if row["test"].startswith("deviation of ranks, pixels: observed"):
      assert row["value"] > 2 * row["expected"] and row["p_value"] < 0.002


def test_no_records_are_refused():
  with pytest.raises(ValueError, match="no records"):
    calibration.table([])
