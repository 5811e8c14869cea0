"""Tables of all figures of merit of records, and of runs side by side.

The rows and columns are those that `statistics.STATISTICS` and `band_powers.STATISTICS`
list.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import os
import pathlib

import numpy as np

from tfp_massmap import io
from tfp_massmap.calibration import band_powers
from tfp_massmap.calibration import estimates
from tfp_massmap.calibration import ranks
from tfp_massmap.calibration import statistics


def table(
  records: Sequence[ranks.Record], population: np.ndarray | None = None
) -> list[dict[str, str | float]]:
  """Returns all figures of merit as rows.

  Args:
    records: `Record`s of one number of samples.
    population: None, or as in `population_power`, which is then in the table if there
      are records enough.

  Returns:
    A dict for each row: `test`, `value`, `error`, `expected` and `p_value`, which is
    NaN for figures without one.

  Raises:
    ValueError: As `statistics.names` and `population_power`.
  """
  rows = []
  for name in statistics.names(records):
    for statistic in statistics.STATISTICS:
      if name.startswith(statistic.tests):
        each = statistic.compute(records, name).scalars()
        titles = [f"{title}, {name}" for title in statistic.rows]
        rows += [_row(title, one) for title, one in zip(titles, each)]
  if records[0].band_power.size:
    bands = [n.split(": ")[1] for n in statistics.names(records, "band power")]
    for of_bands in band_powers.STATISTICS:
      estimate = of_bands.compute(records, population)
      if estimate is not None:
        titles = [of_bands.row]
        if np.ndim(estimate.value):
          titles = [f"{of_bands.row}, {band}" for band in bands]
        rows += [_row(title, one) for title, one in zip(titles, estimate.scalars())]
  return rows


def markdown(rows: Sequence[Mapping[str, str | float]]) -> str:
  """Returns the rows of `table` as a Markdown table."""
  lines = ["| test | value | expected | p |", "| --- | --- | --- | --- |"]
  for row in rows:
    p_value = "" if np.isnan(row["p_value"]) else f"{row['p_value']:.3f}"
    lines.append(
      f"| {row['test']} | {row['value']:.4f} +- {row['error']:.4f} |"
      f" {row['expected']:.4f} | {p_value} |"
    )
  return "\n".join(lines)


def write_tables(
  path: str | os.PathLike,
  runs: Mapping[str, Sequence[ranks.Record]],
  *,
  populations: Mapping[str, np.ndarray] | None = None,
) -> None:
  """Writes a Markdown file with the comparison of runs and the table of each.

  Args:
    path: Name of the file, which is replaced if it exists.
    runs: Records by label of a run.
    populations: None, or the `population` of some runs by label, see `table`.

  Raises:
    ValueError: As `table`.
  """
  populations = populations or {}
  parts = [compare(runs, populations)]
  for label, records in runs.items():
    rows = table(records, populations.get(label))
    parts.append(f"## {label}\n{markdown(rows)}")
  with io.atomic_path(path, overwrite=True) as temporary:
    pathlib.Path(temporary).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def compare(
  runs: Mapping[str, Sequence[ranks.Record]],
  populations: Mapping[str, np.ndarray] | None = None,
) -> str:
  """Returns a Markdown table with one row for each run.

  Coverages are in percent. Of band powers the lowest and the highest ratio is shown. A
  cell is empty where the run has no such test.

  Args:
    runs: Records by label of a run.
    populations: As `write_tables`.

  Raises:
    ValueError: As `table`.
  """
  head = ["run", "truths x samples"]
  head += [heading for s in statistics.STATISTICS for heading in s.columns]
  head += [s.column for s in band_powers.STATISTICS if s.column]
  lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
  for label, records in runs.items():
    cells = [label, f"{len(records)} x {records[0].num_samples}"]
    for statistic in statistics.STATISTICS:
      cells += [_cell(statistic, records, part) for part in statistic.columns.values()]
    population = (populations or {}).get(label)
    for of_bands in band_powers.STATISTICS:
      if of_bands.column:
        cells.append(_range(of_bands.compute(records, population)))
    lines.append("| " + " | ".join(cells) + " |")
  return "\n".join(lines)


def _row(title, estimate):
  p_value = np.nan if estimate.p_value is None else float(estimate.p_value)
  return dict(
    test=title,
    value=estimate.value,
    error=estimate.error,
    expected=estimate.expected,
    p_value=p_value,
  )


def _cell(statistic, records, part):
  found = [name for name in statistics.names(records) if part in name]
  if not found:
    return ""
  return statistic.cell(statistic.compute(records, found[0]), found[0])


def _range(estimate: estimates.Estimate | None) -> str:
  if estimate is None or not np.size(estimate.value):
    return ""
  return f"{np.min(estimate.value):.2f} to {np.max(estimate.value):.2f}"
