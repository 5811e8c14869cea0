"""Samples of a mixture of posteriors: another one for every batch.

Where the prior itself is uncertain, as with a cosmology that is known within errors, each
batch has a prior of its own. All samples together are those of the mixture.
"""

from collections.abc import Callable
import dataclasses
import typing

from tfp_massmap.samplers import guided
from tfp_massmap.samplers import runs
from tfp_massmap.samplers import sample_set

if typing.TYPE_CHECKING:
  from tfp_massmap import posterior as posterior_lib


# Posteriors of a mixture, as far as there are samples: with eight, the error of the
# parameter that they differ in is known to a fifth (Latin hypercubes have a smaller one).
FEWEST = 8


def batches(num_samples: int, options: runs.RunOptions) -> tuple[int, runs.RunOptions]:
  """Returns the number of posteriors of a run, and its options with smaller batches.

  There are as many as batches, and eight or more if there are so many samples.

  Args:
    num_samples: Number of samples, positive.
    options: `runs.RunOptions`.

  Raises:
    ValueError: If the number of samples is not positive.
  """
  if num_samples < 1:
    raise ValueError(f"num_samples must be positive; got {num_samples}.")
  size = min(options.batch_size, max(1, num_samples // FEWEST))
  return -(-num_samples // size), dataclasses.replace(options, batch_size=size)


def sample(
  make_posterior: Callable[[int], "posterior_lib.Posterior"],
  num_samples: int,
  *,
  seed: int,
  label: str,
  settings: guided.GuidedSettings | None = None,
  options: runs.RunOptions = runs.RunOptions(),
) -> sample_set.SampleSet:
  """Returns samples of the guided sampler, each batch of another posterior.

  Args:
    make_posterior: Function of the number of a batch to its `posterior.Posterior`. All
      are for maps of one grid.
    num_samples: Number of samples.
    seed: Integer.
    label: Description of the posteriors. Only runs of one label, and of one posterior of
      the first batch, are resumed.
    settings: `guided.GuidedSettings`.
    options: `runs.RunOptions`, for example of `batches`.

  Raises:
    FloatingPointError, FileExistsError, ValueError: As `guided.sample`.
  """
  settings = settings or guided.GuidedSettings()
  first = make_posterior(0)

  def draw_batch(seed, bar):
    _, number = seed
    posterior = first if number == 0 else make_posterior(number)
    draw = guided.batch_sampler(
      posterior, num_samples, settings=settings, options=options
    )
    return draw(seed, bar)

  described = {**dataclasses.asdict(settings), "over": label}
  run = runs.run(
    draw_batch,
    num_samples,
    seed=seed,
    posterior=first,
    record=runs.record("guided", first, settings=described),
    options=options,
  )
  guided.warn_of_cap(run.diagnostics, settings.num_solutions, settings=settings)
  return run.sample_set(
    "guided",
    num_score_evaluations=settings.num_score_evaluations,
    settings=described,
  )
