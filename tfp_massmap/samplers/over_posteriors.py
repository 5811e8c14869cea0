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


def num_batches(num_samples: int, options: runs.RunOptions) -> int:
  """Returns the number of batches of a run, and of posteriors that it needs.

  Args:
    num_samples: Number of samples.
    options: `runs.RunOptions`.
  """
  return -(-num_samples // options.size_of(num_samples))


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
    options: `runs.RunOptions`. Smaller batches are of more posteriors.

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
