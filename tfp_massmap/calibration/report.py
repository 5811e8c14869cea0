"""Tables of all tests of records, and of runs side by side."""

import pathlib

import numpy as np

from tfp_massmap import io
from tfp_massmap.calibration import statistics


def table(records, population=None):
  """All tests as rows.

  Args:
    records: list of `Record`.
    population: None, or as in `population_power`, which is a test then, if there are
      records enough.

  Returns:
    List of dicts: test, value, error, expected, p_value, NaN for none.

  Raises:
    ValueError: as `names`.
  """
  rows = []

  def add(test, estimate):
    p_value = np.nan if estimate.p_value is None else estimate.p_value
    rows.append(
      dict(
        test=test,
        value=float(estimate.value),
        error=float(estimate.error),
        expected=float(estimate.expected),
        p_value=float(p_value),
      )
    )

  for name in statistics.names(records):
    if name.startswith(("pixels", "modes")):
      both = statistics.coverage(records, name)
      for i, level in enumerate(statistics.LEVELS):
        add(
          f"coverage of {level:.0%}, {name}",
          statistics.Estimate(both.value[i], both.error[i], expected=both.expected[i]),
        )
      add(f"std over error, {name}", statistics.std_over_error(records, name))
    if name.startswith("pixels"):
      add(f"bias, {name}", statistics.bias(records, name))
    if name in ("pixels: observed", "pixels: unobserved"):
      add(f"deviation of ranks, {name}", statistics.rank_deviation(records, name))
  for name in statistics.names(records, "distances"):
    add(f"TARP deviation, {name}", statistics.tarp(records, name)[2])
  if records[0].band_power.size:
    power = statistics.band_power(records)
    bands = [n.split(": ")[1] for n in statistics.names(records, "band power")]
    for i, band in enumerate(bands):
      ratio = statistics.Estimate(power.value[i], power.error[i], expected=1.0)
      add(f"power over the truth's, {band}", ratio)
    if _has_population(records, population):
      power = statistics.population_power(records, population)
      for i, band in enumerate(bands):
        ratio = statistics.Estimate(power.value[i], power.error[i], expected=1.0)
        add(f"power over the population's, {band}", ratio)
    if records[0].num_samples > len(bands):
      add("chi-square of band powers", statistics.chi_square(records))
  return rows


def markdown(rows):
  """Rows of `table` as a Markdown table."""
  lines = ["| test | value | expected | p |", "| --- | --- | --- | --- |"]
  for row in rows:
    p_value = "" if np.isnan(row["p_value"]) else f"{row['p_value']:.3f}"
    lines.append(
      f"| {row['test']} | {row['value']:.4f} +- {row['error']:.4f} |"
      f" {row['expected']:.4f} | {p_value} |"
    )
  return "\n".join(lines)


def write_tables(path, runs, *, populations=None):
  """Writes a Markdown file: the comparison of runs, and the tests of each.

  Args:
    path: of the file, replaced if it exists.
    runs: dict of label to list of `Record`.
    populations: None, or dict of label to what `population_power` takes, of some.

  Raises:
    ValueError: as `names` and `population_power`.
  """
  populations = populations or {}
  parts = [compare(runs, populations)]
  for label, records in runs.items():
    rows = table(records, populations.get(label))
    parts.append(f"## {label}\n{markdown(rows)}")
  with io.atomic_path(path, overwrite=True) as temporary:
    pathlib.Path(temporary).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


_COMPARED = {
  "observed pixels": "pixels: observed",
  "near a gap": "from a gap",
  "highest by posterior mean": "pixels: posterior mean, highest",
  "highest by own kappa": "pixels: own kappa, highest",
}


def compare(runs, populations=None):
  """One Markdown row for each run.

  Coverage of 68 and 95 % in percent, of all observed pixels, of those next to a gap and
  of those highest in posterior mean or in kappa itself, there with the expected values
  in brackets; the largest TARP deviation, with that by chance; the lowest and the
  highest ratio of band powers, to those of the truths and of the population.

  Args:
    runs: dict of label to list of `Record`.
    populations: as `write_tables`.

  Raises:
    ValueError: as `coverage`, of the pixels that are observed; as `population_power`.
  """
  head = ["run", "truths x samples", *_COMPARED]
  head += ["std over error", "TARP", "band powers", "over the population's"]
  lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
  for label, records in runs.items():
    cells = [label, f"{len(records)} x {records[0].num_samples}"]
    cells += [_coverage_cell(records, key) for key in _COMPARED.values()]
    spread = statistics.std_over_error(records, "pixels: observed")
    cells.append(f"{spread.value:.3f} +- {spread.error:.3f}")
    tests = statistics.names(records, "distances: patches")
    cells.append("")
    if tests:
      largest = statistics.tarp(records, tests[0])[2]
      cells[-1] = f"{largest.value:.3f} ({largest.expected:.3f})"
    cells.append(_range(statistics.band_power(records)))
    population = (populations or {}).get(label)
    cells.append("")
    if _has_population(records, population):
      cells[-1] = _range(statistics.population_power(records, population))
    lines.append("| " + " | ".join(cells) + " |")
  return "\n".join(lines)


def _has_population(records, population):
  return population is not None and len(records) >= statistics.FEWEST_OF_POPULATION


def _range(estimate):
  if not estimate.value.size:
    return ""
  return f"{estimate.value.min():.2f} to {estimate.value.max():.2f}"


def _coverage_cell(records, key):
  found = [n for n in statistics.names(records, "pixels") if key in n]
  if not found:
    return ""
  estimate = statistics.coverage(records, found[0])
  parts = []
  for value, error, expected in zip(estimate.value, estimate.error, estimate.expected):
    own = f" ({100 * expected:.1f})" if "own" in key else ""
    parts.append(f"{100 * value:.1f} +- {100 * error:.1f}{own}")
  return ", ".join(parts)
