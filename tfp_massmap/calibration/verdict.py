"""The verdict of a calibration: its figures in words, and whether each is right."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import os
import pathlib
import typing

import numpy as np

from tfp_massmap import io
from tfp_massmap.calibration import band_powers
from tfp_massmap.calibration import estimates
from tfp_massmap.calibration import figures
from tfp_massmap.calibration import proof as proof_lib
from tfp_massmap.calibration import ranks
from tfp_massmap.calibration import report
from tfp_massmap.calibration import statistics

_HIGHEST = "pixels: posterior mean, highest"
# Deviations that count as calibrated, beyond two standard errors.
_COVERAGE, _STD, _POWER = (0.02, 0.01), 0.03, 0.05
_WIENER = 0.01
_LEAST_P = 0.01
# Names of classes of pixels in headers, which are short, and in sentences.
_WHERE = {
  "measured pixels": "measured pixels",
  "highest pixels": "the highest 1 % of pixels",
}


@dataclasses.dataclass(frozen=True)
class Finding:
  """One line of a verdict.

  Attributes:
    name: Short name, for headers.
    text: The figure, in words.
    is_right: Whether calibrated samples give such a figure.
  """

  name: str
  text: str
  is_right: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Verdict:
  """Judgement on samples by mocks of a survey.

  Attributes:
    records: `ranks.Record` of each truth.
    error_over_wiener: Rms error of the posterior mean over that of the Wiener filter
      with the prior's Gaussian component, in measured pixels, an `Estimate`.
    label: Description of the run.
    about: Entries of `proof.Proof` that say what the verdict is of.
  """

  records: Sequence[ranks.Record]
  error_over_wiener: estimates.Estimate
  _: dataclasses.KW_ONLY
  label: str
  about: Mapping[str, typing.Any]

  @functools.cached_property
  def findings(self) -> list[Finding]:
    """The figures of merit, and whether each is right."""
    found = [
      *_coverage_findings(self.records, statistics.OBSERVED, "measured pixels"),
      *_coverage_findings(self.records, _HIGHEST, "highest pixels"),
      _std_finding(self.records),
      _power_finding(self.records),
    ]
    if statistics.names(self.records, "distances: patches"):
      found.append(_tarp_finding(self.records))
    value, error = self.error_over_wiener.value, self.error_over_wiener.error
    text = (
      f"The error of the mean is {value:.3f} +- {error:.3f} of the Wiener filter's."
    )
    return [
      *found,
      Finding("error over Wiener", text, bool(value <= 1 + _WIENER + 2 * error)),
    ]

  @property
  def is_calibrated(self) -> bool:
    """True if all findings are right."""
    return all(finding.is_right for finding in self.findings)

  def __str__(self) -> str:
    """The verdict in sentences, one a line."""
    wrong = sum(not finding.is_right for finding in self.findings)
    num = f"{len(self.records)} mocks of the survey, {self.records[0].num_samples}"
    head = f"On {num} samples each, the samples are"
    head += " calibrated" if self.is_calibrated else " NOT calibrated"
    head += f" ({wrong} of {len(self.findings)} findings are wrong):"
    lines = [f"  {'right' if f.is_right else 'WRONG'}  {f.text}" for f in self.findings]
    return "\n".join([head, *lines])

  def header(self) -> dict[str, str | bool]:
    """Returns the findings by name, for headers of products."""
    found: dict[str, str | bool] = {"calibrated": self.is_calibrated}
    found["calibration truths"] = f"{len(self.records)} mocks, {self.label}"
    return found | {f"calibration {f.name}": f.text for f in self.findings}

  @property
  def proof(self) -> proof_lib.Proof:
    """The verdict for `reconstruction.Products`, whose headers it goes into."""
    return proof_lib.Proof(**self.about, findings=self.header())

  def save(self, folder: str | os.PathLike) -> None:
    """Writes `calibration.md`, with the verdict and all tables, and figures beside it.

    `calibration.json` has the verdict for the headers of products (`proof.Proof`).

    Args:
      folder: Name of the folder; files of the same names are replaced.
    """
    table = report.markdown(report.table(self.records))
    text = f"# Calibration\n\n{self.label}\n\n```\n{self}\n```\n\n{table}\n"
    path = pathlib.Path(folder) / "calibration.md"
    with io.atomic_path(path, overwrite=True) as temporary:
      pathlib.Path(temporary).write_text(text, encoding="utf-8")
    figures.save_all(folder, {"mocks of the survey": self.records})
    self.proof.save(folder)


def _first(records, beginning):
  return next(n for n in statistics.names(records) if n.startswith(beginning))


def _coverage_findings(records, beginning, where):
  estimate = statistics.coverage(records, _first(records, beginning))
  findings = []
  for level, tolerance, each in zip(statistics.LEVELS, _COVERAGE, estimate.scalars()):
    text = (
      f"Intervals of {level:.0%} cover {100 * each.value:.1f} +- {100 * each.error:.1f} %"
      f" of the truths in {_WHERE[where]}."
    )
    is_right = abs(each.value - level) <= tolerance + 2 * each.error
    findings.append(Finding(f"{level:.0%} in {where}", text, bool(is_right)))
  return findings


def _std_finding(records):
  estimate = statistics.std_over_error(records, statistics.OBSERVED)
  value, error = estimate.value, estimate.error
  text = f"Standard deviations are {value:.3f} +- {error:.3f} of the errors."
  is_right = abs(estimate.value - 1) <= _STD + 2 * estimate.error
  return Finding("std over error", text, bool(is_right))


def _power_finding(records):
  estimate: typing.Any = band_powers.band_power(records)
  excess = np.abs(estimate.value - 1) - _POWER - 2 * estimate.error
  text = (
    f"Samples have {estimate.value.min():.2f} to {estimate.value.max():.2f} of the"
    f" truths' power in {len(estimate.value)} bands, with errors up to"
    f" {estimate.error.max():.2f}."
  )
  return Finding("band powers", text, bool((excess <= 0).all()))


def _tarp_finding(records):
  _, _, deviation = statistics.tarp(records)
  text = (
    f"Credible regions of patches (TARP) deviate by {deviation.value:.3f}, where chance"
    f" gives {deviation.expected:.3f} +- {deviation.error:.3f}."
  )
  return Finding("TARP", text, bool((deviation.p_value or 0) >= _LEAST_P))
