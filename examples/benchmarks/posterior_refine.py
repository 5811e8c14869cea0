"""Section `refine` of `posterior.py`: guided against guided+hmc, on simulated truths.

Means and standard deviations of both are compared in the measured pixels, without the
scatter of finitely many samples. The chains of guided+hmc start from the guided
samples.
"""

import argparse
import dataclasses

import numpy as np
import posterior_setup as setup

from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import resumable
from tfp_massmap import samplers
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate

# Bins of the posterior mean, in which standard deviations are compared.
_MEAN_EDGES = np.array([-1, -0.02, 0, 0.02, 0.05, 0.1, 2])
_NOISE_SEED = 100
_OPTIONS = dict(
  num_steps=int, step_size=float, num_leapfrog_steps=int, num_flow_steps=int
)


@dataclasses.dataclass(frozen=True)
class Comparison:
  """Figures of a mock, or their means or errors over mocks.

  Attributes:
    squared_mean_difference: Squared difference of the means over the variance.
    variance_ratio: Mean variance of guided samples over that of guided+hmc.
    correlation_with_start: Correlation of the ends of chains with their starts.
    acceptance: Acceptance of HMC.
    error_guided, error_refined: Root mean square errors of the means.
    squared_variance_difference: See `variance_difference`.
  """

  squared_mean_difference: float
  variance_ratio: float
  _: dataclasses.KW_ONLY
  correlation_with_start: float
  acceptance: float
  error_guided: float
  error_refined: float
  squared_variance_difference: float

  @classmethod
  def from_row(cls, row: np.ndarray) -> "Comparison":
    """Returns the comparison whose figures are an array in the order of the fields."""
    names = [field.name for field in dataclasses.fields(cls)]
    return cls(**dict(zip(names, row.tolist())))


def run(
  options: argparse.Namespace,
  survey: shear_map_lib.ShearMap,
  *,
  prior: priors.HybridPrior,
) -> dict:
  """Prints the section, and returns its figures by name."""
  num_truths, num = (16, 64) if options.full else (2, 8)
  settings = settings_of(options)
  survey, prior = setup.in_the_middle(options, survey)
  truths = setup.simulated_truths(num_truths, options.size)
  print(f"\nguided against guided+hmc, {num_truths} mocks of {num} samples")

  def compare(index):
    shear_map = simulate.observe_like(truths[index], survey, seed=_NOISE_SEED + index)
    posterior = setup.make_posterior(shear_map, prior)
    first, second = _draw_both(posterior, num, seed=index, settings=settings)
    a, b = (_measured_pixels(r.samples, survey.mask) for r in (first, second))
    comparison = _compare(a, b, truths[index][survey.mask], second.acceptance)
    _print_mock(index, comparison, second)
    row = np.array(dataclasses.astuple(comparison))
    return dict(row=row, by_mean=variance_by_mean(a, b))

  found = resumable.collect(
    compare,
    num_truths,
    folder=options.samples and options.samples / "refine",
    label=setup.run_label(survey, prior, num=num, settings=settings),
    unit="mock",
  )
  return _summarise(found["row"], found["by_mean"])


def add_options(parser: argparse.ArgumentParser) -> None:
  """Adds the settings of guided+hmc."""
  group = parser.add_argument_group("settings of guided+hmc, for refine")
  group.add_argument("--sigmas", type=float, nargs="+")
  for name, kind in _OPTIONS.items():
    group.add_argument(f"--{name.replace('_', '-')}", type=kind)


def settings_of(options: argparse.Namespace) -> samplers.GuidedHmcSettings:
  """Returns the settings of guided+hmc, with defaults for options not given."""
  given = {name: vars(options)[name] for name in ("sigmas", *_OPTIONS)}
  return samplers.GuidedHmcSettings(
    **{name: value for name, value in given.items() if value is not None}
  )


def mean_error(samples: np.ndarray, truth: np.ndarray) -> float:
  """Returns the error of the mean of samples, without the scatter of the samples.

  Args:
    samples: `[n, pixels]`, without their means.
    truth: `[pixels]`.
  """
  squared = np.mean((samples.mean(axis=0) - truth + truth.mean()) ** 2)
  return np.sqrt(squared - np.mean(samples.var(axis=0, ddof=1)) / len(samples))


def variance_difference(a: np.ndarray, b: np.ndarray) -> float:
  """Returns the mean squared relative difference of the variances of two sample sets.

  It is the product of the differences that the two halves of the samples show, so that
  neither their scatter adds to it, nor the correlation of `a` with `b`, pair by pair.
  The denominator is the sum of all four variances. With variances about the common mean
  of both halves instead, the halves would depend on each other where samples are
  skewed, and equal sets of 16 samples would differ. Where the variances of so many
  samples scatter, the result is too small: by two fifths for a difference of 6 % with
  16 samples of these posteriors, and by next to nothing with 64.

  Args:
    a, b: `[n, pixels]`.
  """
  halves = slice(0, None, 2), slice(1, None, 2)
  of_a, of_b = (np.stack([x[h].var(axis=0, ddof=1) for h in halves]) for x in (a, b))
  first, second = 4 * (of_b - of_a) / np.sum(of_a + of_b, axis=0)
  return np.mean(first * second)


def variance_by_mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Returns sums of the variances of both sets, `[2, bins]`, in bins of their mean."""
  bins = np.searchsorted(_MEAN_EDGES[1:-1], (a.mean(axis=0) + b.mean(axis=0)) / 2)
  return np.array(
    [
      np.bincount(bins, maps.var(axis=0, ddof=1), len(_MEAN_EDGES) - 1)
      for maps in (a, b)
    ]
  )


def _draw_both(posterior: posterior_lib.Posterior, num, *, seed, settings):
  """Draws guided samples, and those of guided+hmc that start from them."""
  return (
    samplers.sample(
      posterior,
      num,
      seed=seed,
      method=method,
      settings=own,
      options=samplers.RunOptions(progress=False),
    )
    for method, own in (("guided", settings.start), ("guided+hmc", settings))
  )


def _measured_pixels(samples, mask):
  """Returns the measured pixels of maps without their means, `[n, pixels]`."""
  means = samples.mean(axis=(1, 2), dtype=np.float64)
  return np.asarray(samples, np.float64)[:, mask] - means[:, np.newaxis]


def _compare(a, b, truth, acceptance):
  variances = [np.mean(maps.var(axis=0, ddof=1)) for maps in (a, b)]
  scatter = np.mean((b - a).var(axis=0, ddof=1))
  offset = np.mean((b - a).mean(axis=0) ** 2) - scatter / len(a)
  errors = [
    mean_error(maps - maps.mean(axis=1, keepdims=True), truth) for maps in (a, b)
  ]
  return Comparison(
    squared_mean_difference=offset / variances[1],
    variance_ratio=variances[0] / variances[1],
    correlation_with_start=1 - scatter / sum(variances),
    acceptance=acceptance,
    error_guided=errors[0],
    error_refined=errors[1],
    squared_variance_difference=variance_difference(a, b),
  )


def _print_mock(index, mock: Comparison, refined: samplers.SampleSet):
  print(
    f"  mock {index}: squared difference of means {mock.squared_mean_difference:7.4f}"
    f" of the variance, std ratio {mock.variance_ratio**0.5:.3f}, correlation with the"
    f" start {mock.correlation_with_start:.2f}; acceptance {mock.acceptance:.2f};"
    f" {refined.num_score_evaluations:.0f} evaluations,"
    f" {refined.seconds / len(refined.samples):.1f} s a sample; errors"
    f" {100 * mock.error_guided:.3f} and {100 * mock.error_refined:.3f}e-2; squared"
    f" difference of variances {mock.squared_variance_difference:.4f} of their squares",
    flush=True,
  )


def _summarise(rows, by_mean):
  mean = Comparison.from_row(rows.mean(axis=0))
  error = Comparison.from_row(rows.std(axis=0, ddof=1) / np.sqrt(len(rows)))
  print(
    f"All: squared difference of means {mean.squared_mean_difference:.4f} +-"
    f" {error.squared_mean_difference:.4f} of the variance (root"
    f" {max(mean.squared_mean_difference, 0) ** 0.5:.3f}), std ratio"
    f" {mean.variance_ratio**0.5:.3f} +- {error.variance_ratio / 2:.3f}, errors"
    f" {100 * mean.error_guided:.3f} and {100 * mean.error_refined:.3f}e-2; std maps"
    f" differ by {max(mean.squared_variance_difference, 0) ** 0.5 / 2:.3f} (rms;"
    f" squared difference of variances {mean.squared_variance_difference:.4f} +-"
    f" {error.squared_variance_difference:.4f})"
  )
  total = np.sum(by_mean, axis=0)
  with np.errstate(invalid="ignore"):  # Bins without a pixel are NaN.
    std_by_mean = np.sqrt(total[0] / total[1])
  setup.print_row("posterior mean below", _MEAN_EDGES[1:])
  setup.print_row("std of guided over guided+hmc", std_by_mean)
  return dict(
    dataclasses.asdict(mean),
    std_ratio=mean.variance_ratio**0.5,
    squared_variance_difference_error=error.squared_variance_difference,
    std_ratio_by_mean=std_by_mean.tolist(),
  )
