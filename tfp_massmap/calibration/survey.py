"""A test of samples on mocks of a user's own survey, with a verdict in words.

`calibrate` observes simulated truths with the mask and the noise of the data, samples
each as the data would be, and reports whether errors, powers and credible regions are
right there. It says nothing of what the simulations lack, nor of errors of the data.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import hashlib
import os
import pathlib
import re
import typing

import numpy as np
from scipy import ndimage

from tfp_massmap import baselines
from tfp_massmap import geometry
from tfp_massmap import io
from tfp_massmap import priors
from tfp_massmap import samplers
from tfp_massmap import shear_errors as shear_errors_lib
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate
from tfp_massmap import theory
from tfp_massmap.calibration import band_powers
from tfp_massmap.calibration import estimates
from tfp_massmap.calibration import figures
from tfp_massmap.calibration import mocks as mocks_lib
from tfp_massmap.calibration import proof as proof_lib
from tfp_massmap.calibration import ranks
from tfp_massmap.calibration import report
from tfp_massmap.calibration import runs
from tfp_massmap.calibration import statistics

_OBSERVED = "pixels: observed"
_HIGHEST = "pixels: posterior mean, highest"
# Deviations that count as calibrated, beyond two standard errors.
_COVERAGE, _STD, _POWER = (0.02, 0.01), 0.03, 0.05
_WIENER = 0.01
_LEAST_P = 0.01
# A Latin hypercube of eight has the standard deviation of its distribution to 5 %.
_MOST_SHARES = 8
# Names of classes of pixels in headers, which are short, and in sentences.
_WHERE = {
  "measured pixels": "measured pixels",
  "highest pixels": "the highest 1 % of pixels",
}
_WINDOW = re.compile(r"(\d+) x (\d+) at \((\d+), (\d+)\)")
# Truths are cut from a simulated map of at least this many times their side.
_CUT = 1.5


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
      *_coverage_findings(self.records, _OBSERVED, "measured pixels"),
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


def calibrate(
  shear_map: shear_map_lib.ShearMap,
  prior: priors.Prior | Sequence[priors.Prior],
  *,
  truth: Callable[[int], np.ndarray],
  num_truths: int = 16,
  num_samples: int = 32,
  method: str = "guided",
  batch_size: int = 8,
  folder: str | os.PathLike | None = None,
  seed: int = 0,
  label: str = "",
  central: priors.Prior | None = None,
  shear_errors: shear_errors_lib.ShearErrors | None = None,
  subject: proof_lib.Subject | None = None,
  progress: bool = True,
) -> Verdict:
  """Tests samples on mocks of a survey.

  Args:
    shear_map: `shear_map.ShearMap` whose mask and noise the mocks get. A part of it, see
      `densest_window`, takes less time.
    prior: `priors.Prior` on its grid; or several, which get equal shares of the samples,
      for example of a cosmology that is known within errors.
    truth: Function of a number to a convergence map `[ny, nx]`, see `simulated_truths`.
    num_truths: Number of mocks. Errors of coverage are about 2 % with 16.
    num_samples: Samples of each; 9 or more.
    method: Name of the sampler, see `samplers.sample`, with its default settings.
    batch_size: Samples drawn together, a divisor of `num_samples` or larger than it.
    folder: None, or a folder for the records, in which an interrupted run resumes.
    seed: Integer; of the noise. Samples are seeded by the number of the truth.
    label: Description of the truths. A run of another label, data, truths or prior is
      not resumed.
    central: The prior in the middle of several, for the Wiener filter; None for the
      first.
    shear_errors: `shear_errors.ShearErrors`, as of `reconstruction.reconstruct`: each mock
      has a bias and a scale of the noise of its own, and samples are over both. None for
      none.
    subject: `proof.Subject`, by which the proof is recognised; None for the prior and the
      sampler without an n(z).
    progress: Whether to show a progress bar.

  Returns:
    A `Verdict`.

  Raises:
    ValueError: If numbers do not fit, the method is unknown, or the folder has another
      run.
  """
  settings = ranks.Settings(remove_mean=True, num_bands=_num_bands(num_samples))
  errors = shear_errors or shear_errors_lib.ShearErrors()
  mocks = mocks_lib.Mocks(
    truth, shear_map, factors=errors.draw(num_truths, seed + 2).__getitem__, seed=seed
  )
  several = _several(prior, num_samples, errors)
  factors = errors.draw(len(several), seed + 1)
  central = central or several[0]
  data = shear_map.noise_checksum()
  # Records of other data or truths must not be gone on with.
  label = (
    f"{label}; noise and mask {data[:16]}, first truth of standard deviation"
    f" {np.std(truth(0)):.4g}; {method}, {num_samples} samples, batches of {batch_size},"
    f" seed {seed}; {_in_words(several)}"
    f"{_errors_in_words(shear_errors, num_truths)}"
  )
  records = runs.run(
    mocks.draw(_over(several, factors, num_samples, method, batch_size)),
    num_truths,
    grid=shear_map.grid,
    settings=settings,
    path=None if folder is None else pathlib.Path(folder) / "records.npz",
    label=label,
    progress=progress,
  )
  corner, shape = _window_of(shear_map)
  subject = subject or _subject(central, method, shear_errors)
  about = dict(corner=corner, shape=shape, data=data, subject=subject)
  over_wiener = _over_wiener(mocks, records, central, errors.mean)
  return Verdict(records, over_wiener, label=label, about=about)


def shares(num_samples: int) -> int:
  """Returns the number of equal shares, eight at most, that samples can be divided into.

  Each share has a posterior of its own where a cosmology or the shear is uncertain.

  Args:
    num_samples: Number of samples.
  """
  return max(n for n in range(1, _MOST_SHARES + 1) if num_samples % n == 0)


def simulated_truths(
  grid: geometry.PixelGrid,
  sources: theory.SourceRedshifts | None = None,
  *,
  cosmology: theory.Cosmology | Sequence[theory.Cosmology] = theory.KAPPATNG,
  seed: int = 60_000_000,
) -> Callable[[int], np.ndarray]:
  """Returns a function of a number to a simulated map, cut from a larger one.

  Args:
    grid: `geometry.PixelGrid`.
    sources: The n(z), `theory.SourceRedshifts`; None for COSMOS.
    cosmology: `theory.Cosmology`, or one for each number.
    seed: Seed of the simulator, none of a training.
  """
  if not isinstance(cosmology, theory.Cosmology):
    return lambda index: simulated_truths(
      grid, sources, cosmology=cosmology[index], seed=seed
    )(index)
  sides = [int(np.ceil(_CUT * side)) for side in grid.shape]
  simulator = simulate.ConvergenceSimulator(
    geometry.PixelGrid((sides[0], sides[1]), grid.pixel_scale),
    sources,
    cosmology=cosmology,
    seed=seed,
  )
  rows, columns = grid.shape
  return lambda index: simulator.map(index)[:rows, :columns]


def densest_window(
  shear_map: shear_map_lib.ShearMap, size: int
) -> shear_map_lib.ShearMap:
  """Returns the square part of a shear map that has the most measured pixels.

  Args:
    shear_map: `shear_map.ShearMap`.
    size: Side in pixels; a shorter side of the map is kept whole.
  """
  ny, nx = (min(size, side) for side in shear_map.grid.shape)
  measured = shear_map.mask.astype(np.float64)
  # The mean over a window is at its middle.
  share = ndimage.uniform_filter(measured, (ny, nx), mode="constant")
  rows, columns = shear_map.grid.shape
  valid = share[ny // 2 : rows - ny + ny // 2 + 1, nx // 2 : columns - nx + nx // 2 + 1]
  row, column = np.unravel_index(np.argmax(valid), valid.shape)
  window = shear_map.crop((int(row), int(column)), shape=(ny, nx))
  window.settings["window"] = f"{ny} x {nx} at ({row}, {column})"
  return window


def squared_error(record: ranks.Record) -> float:
  """Returns the sum of squared errors of the posterior mean over measured pixels.

  It is that of infinitely many samples: the scatter of a mean of a few is no error of
  the posterior mean.

  Args:
    record: Record of a truth, without the means of the maps.
  """
  num = record.num_samples
  # The truth is a member of the mean that residuals are taken about.
  squares = record.residuals[_OBSERVED][:, 1]
  mean = squares[0] * ((num + 1) / num) ** 2
  scatter = (squares[1:].sum() - mean * num / (num + 1) ** 2) / (num - 1)
  return float(mean - scatter / num)


def _subject(prior, method, shear_errors):
  """Returns the subject of a calibration whose n(z) is not known."""
  words = proof_lib.sampler_in_words(method, shear_errors=shear_errors)
  return proof_lib.Subject(
    prior.description, prior.fingerprint(), sources="", sampler=words
  )


def _several(prior, num_samples, errors):
  """Returns the prior of each share of the samples."""
  several = list(prior) if isinstance(prior, Sequence) else [prior]
  if not several:
    raise ValueError("There is no prior to calibrate with; got an empty sequence.")
  if errors.is_uncertain and len(several) == 1:
    several *= shares(num_samples)
  return several


def _window_of(shear_map):
  """Returns corner and shape of a window, as `densest_window` notes them."""
  found = _WINDOW.fullmatch(str(shear_map.settings.get("window", "")))
  if found is None:
    return (0, 0), shear_map.grid.shape
  ny, nx, row, column = map(int, found.groups())
  return (row, column), (ny, nx)


def _in_words(several):
  """Returns priors with a checksum of all, for labels."""
  checksums = "".join(each.fingerprint() for each in several)
  if len(several) > 1:
    checksums = hashlib.sha256(checksums.encode()).hexdigest()
  first = several[0].description
  return f"{len(several)} priors, the first {first}, {checksums[:16]}"


def _errors_in_words(shear_errors, num_truths):
  """Returns errors of the shear for labels; how they are drawn depends on the number."""
  if shear_errors is None:
    return ""
  return f"; {num_truths} errors of the shear of {shear_errors}"


def _num_bands(num_samples):
  """As many bands as the chi-square of band powers allows."""
  if num_samples < 9:
    raise ValueError(f"num_samples must be 9 or more; got {num_samples}.")
  return min(ranks.Settings().num_bands, num_samples - 1)


def _over(several, factors, num_samples, method, batch_size):
  """Returns a sampler with equal shares of each prior and the factors beside it."""
  if num_samples % len(several):
    raise ValueError(
      f"num_samples = {num_samples} must be a multiple of the {len(several)} priors."
    )
  share = num_samples // len(several)
  parts = [_sampler(each, share, method, batch_size) for each in several]
  return lambda shear_map, seed: np.concatenate(
    [
      part(pair.apply(shear_map), len(parts) * seed + i)
      for i, (part, pair) in enumerate(zip(parts, factors))
    ]
  )


def _sampler(prior, num_samples, method, batch_size):
  if method == "guided":
    return mocks_lib.guided_sampler(prior, num_samples, batch_size=batch_size)
  if method not in samplers.METHODS:
    raise ValueError(
      f"method must be one of {sorted(samplers.METHODS)}; got {method!r}."
    )
  options = samplers.RunOptions(batch_size=batch_size)
  return mocks_lib.posterior_sampler(prior, num_samples, method=method, options=options)


def _over_wiener(mocks, records, prior, factors):
  """Errors of posterior means over those of the Wiener filter, of the same mocks."""
  mask = mocks.survey.mask
  sums = []
  for index, record in enumerate(records):
    truth, shear_map = mocks.observe(index)
    corrected = factors.apply(shear_map)
    error = baselines.wiener.estimate(corrected, prior.gaussian).kappa - truth
    wiener = np.sum((error - error.mean())[mask] ** 2)
    sums.append([squared_error(record), wiener])
  return estimates.ratio_of_errors(sums)


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
  estimate = statistics.std_over_error(records, _OBSERVED)
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
