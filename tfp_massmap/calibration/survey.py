"""A test of samples on mocks of a user's own survey, with a verdict in words.

`calibrate` observes simulated truths with the mask and the noise of the data, samples
each as the data would be, and reports whether errors, powers and credible regions are
right there. It says nothing of what the simulations lack, nor of errors of the data.
"""

from collections.abc import Callable
from collections.abc import Sequence
import functools
import hashlib
import os
import pathlib
import re

import numpy as np
from scipy import ndimage

from tfp_massmap import baselines
from tfp_massmap import geometry
from tfp_massmap import priors
from tfp_massmap import samplers
from tfp_massmap import shear_errors as shear_errors_lib
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate
from tfp_massmap import theory
from tfp_massmap.calibration import estimates
from tfp_massmap.calibration import mocks as mocks_lib
from tfp_massmap.calibration import proof as proof_lib
from tfp_massmap.calibration import ranks
from tfp_massmap.calibration import runs
from tfp_massmap.calibration import statistics
from tfp_massmap.calibration import verdict as verdict_lib

# A Latin hypercube of eight has the standard deviation of its distribution to 5 %.
_MOST_SHARES = 8
_MOST_KEPT = 24  # Compiled samplers in memory.
_WINDOW = re.compile(r"(\d+) x (\d+) at \((\d+), (\d+)\)")
# Truths are cut from a simulated map of at least this many times their side.
_CUT = 1.5


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
  priors_of: Callable[[shear_map_lib.ShearMap], Sequence[priors.Prior]] | None = None,
  shear_errors: shear_errors_lib.ShearErrors | None = None,
  subject: proof_lib.Subject | None = None,
  progress: bool = True,
) -> verdict_lib.Verdict:
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
    batch_size: Most samples drawn together.
    folder: None, or a folder for the records, in which an interrupted run resumes.
    seed: Integer; of the noise. Samples are seeded by the number of the truth.
    label: Description of the truths. A run of another label, data, truths or prior is
      not resumed.
    central: The prior in the middle of several, for the Wiener filter; None for the
      first.
    priors_of: None, or a function of a mock to the priors of equal shares of its samples,
      `shares(num_samples)` of them, where the data say what the cosmology is; `prior` is
      then the one in the middle. The mock is corrected by the mean of `shear_errors`. A
      prior that is returned again finds its compiled sampler.
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
  several = _several(prior, num_samples, errors.is_uncertain or priors_of is not None)
  central = central or several[0]
  of_mock = priors_of or (lambda _: several)
  sampler = _over(
    lambda shear_map: of_mock(errors.mean.apply(shear_map)),
    errors.draw(len(several), seed + 1),
    make=_maker(num_samples, len(several), method=method, batch_size=batch_size),
  )
  subject = subject or _subject(central, method, shear_errors)
  run = f"{method}, {num_samples} samples, batches of {batch_size}, seed {seed}"
  words = _in_words(several)
  if priors_of is not None:
    words += f"; others for each mock of {subject.prior}"
  words += _errors_in_words(shear_errors, num_truths)
  label = f"{label}; {_data_in_words(mocks)}; {run}; {words}"
  records = runs.run(
    mocks.draw(sampler),
    num_truths,
    grid=shear_map.grid,
    settings=settings,
    path=None if folder is None else pathlib.Path(folder) / "records.npz",
    label=label,
    progress=progress,
  )
  over_wiener = _over_wiener(mocks, records, central, errors.mean)
  about = _about(shear_map, subject)
  return verdict_lib.Verdict(records, over_wiener, label=label, about=about)


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


def _subject(prior, method, shear_errors):
  """Returns the subject of a calibration whose n(z) is not known."""
  words = proof_lib.sampler_in_words(method, shear_errors=shear_errors)
  return proof_lib.Subject(
    prior.description, prior.fingerprint(), sources="", sampler=words
  )


def _several(prior, num_samples, is_uncertain):
  """Returns the prior of each share of the samples."""
  several = list(prior) if isinstance(prior, Sequence) else [prior]
  if not several:
    raise ValueError("There is no prior to calibrate with; got an empty sequence.")
  if is_uncertain and len(several) == 1:
    several *= shares(num_samples)
  return several


def _about(shear_map, subject):
  """Returns the entries of `proof.Proof` that say what a verdict is of."""
  corner, shape = _window_of(shear_map)
  data = shear_map.noise_checksum()
  return dict(corner=corner, shape=shape, data=data, subject=subject)


def _window_of(shear_map):
  """Returns corner and shape of a window, as `densest_window` notes them."""
  found = _WINDOW.fullmatch(str(shear_map.settings.get("window", "")))
  if found is None:
    return (0, 0), shear_map.grid.shape
  ny, nx, row, column = map(int, found.groups())
  return (row, column), (ny, nx)


def _data_in_words(mocks):
  """Returns noise and truths for labels: records of others must not be gone on with."""
  return (
    f"noise and mask {mocks.survey.noise_checksum()[:16]}, first truth of standard"
    f" deviation {np.std(mocks.truth(0)):.4g}"
  )


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


def _over(priors_of, factors, *, make):
  """Returns a sampler with equal shares of each prior and the factors beside it."""
  kept: dict[tuple, tuple[priors.Prior, mocks_lib.Sampler]] = {}

  def sampler_of(prior, pair):
    # A compiled sampler is of one prior and one noise. The prior is kept, too, so that
    # no other one gets its identity.
    key = (id(prior), pair)
    if key not in kept:
      if len(kept) == _MOST_KEPT:
        del kept[next(iter(kept))]
      kept[key] = (prior, make(prior))
    return kept[key][1]

  def sample(shear_map, seed):
    pairs = zip(priors_of(shear_map), factors, strict=True)
    return np.concatenate(
      [
        sampler_of(prior, pair)(pair.apply(shear_map), len(factors) * seed + i)
        for i, (prior, pair) in enumerate(pairs)
      ]
    )

  return sample


def _maker(num_samples, num_shares, *, method, batch_size):
  """Returns a function of a prior to the sampler of a share."""
  if num_samples % num_shares:
    raise ValueError(
      f"num_samples = {num_samples} must be a multiple of the {num_shares} priors."
    )
  if method not in samplers.METHODS:
    raise ValueError(
      f"method must be one of {sorted(samplers.METHODS)}; got {method!r}."
    )
  share = num_samples // num_shares
  if method == "guided":
    return functools.partial(
      mocks_lib.guided_sampler, num_samples=share, batch_size=batch_size
    )
  return functools.partial(
    mocks_lib.posterior_sampler,
    num_samples=share,
    method=method,
    options=samplers.RunOptions(batch_size=batch_size),
  )


def _over_wiener(mocks, records, prior, factors):
  """Errors of posterior means over those of the Wiener filter, of the same mocks."""
  mask = mocks.survey.mask
  sums = []
  for index, record in enumerate(records):
    truth, shear_map = mocks.observe(index)
    corrected = factors.apply(shear_map)
    error = baselines.wiener.estimate(corrected, prior.gaussian).kappa - truth
    wiener = np.sum((error - error.mean())[mask] ** 2)
    sums.append([statistics.squared_error(record), wiener])
  return estimates.ratio_of_errors(sums)
