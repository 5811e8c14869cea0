"""Procedures that draw samples of a posterior; `sample` chooses one by name.

A new sampler is a module with `sample(posterior, num_samples, *, seed, settings, options)`
and a line in `METHODS`.
"""

from collections.abc import Callable
import typing

from tfp_massmap.samplers import annealed
from tfp_massmap.samplers import guided
from tfp_massmap.samplers import guided_hmc
from tfp_massmap.samplers import over_posteriors
from tfp_massmap.samplers import probability_flow
from tfp_massmap.samplers import split_gibbs
from tfp_massmap.samplers.annealed import AnnealedSettings
from tfp_massmap.samplers.guided import GuidedSettings
from tfp_massmap.samplers.guided_hmc import GuidedHmcSettings
from tfp_massmap.samplers.runs import RunOptions
from tfp_massmap.samplers.sample_set import SampleSet

if typing.TYPE_CHECKING:
  from tfp_massmap import posterior as posterior_lib

__all__ = [
  "METHODS",
  "AnnealedSettings",
  "GuidedHmcSettings",
  "GuidedSettings",
  "RunOptions",
  "SampleSet",
  "annealed",
  "guided",
  "guided_hmc",
  "over_posteriors",
  "probability_flow",
  "sample",
  "split_gibbs",
]

METHODS: dict[str, Callable[..., SampleSet]] = {
  "guided": guided.sample,
  "guided+hmc": guided_hmc.sample,
  "annealed": annealed.sample,
}


def sample(
  posterior: "posterior_lib.Posterior",
  num_samples: int,
  *,
  seed: int,
  method: str = "guided",
  settings: GuidedSettings | GuidedHmcSettings | AnnealedSettings | None = None,
  options: RunOptions = RunOptions(),
) -> SampleSet:
  """Returns independent samples of a posterior.

  Args:
    posterior: `posterior.Posterior`.
    num_samples: Number of samples.
    seed: Integer.
    method: "guided", 24 evaluations of the prior's denoiser a sample; "guided+hmc", which
      adds Hamiltonian Monte Carlo on the noisy map; or "annealed", after the procedure of
      Remy et al. (2022).
    settings: Settings of the method; None for its defaults.
    options: `RunOptions`: size of batches, output file, XLA, progress bar.

  Raises:
    ValueError: If the method is unknown, and what the method refuses.
  """
  if method not in METHODS:
    raise ValueError(f"method must be one of {sorted(METHODS)}; got {method!r}.")
  return METHODS[method](
    posterior, num_samples, seed=seed, settings=settings, options=options
  )
