"""Section `gaussian` of `posterior.py`: a Gaussian prior, against exact samples.

The section measures the power of samples in 8 Fourier bands and the bias of their mean
in standard deviations of the posterior. It compares them with exact samples, and with
the same sampler at many more evaluations and the same random numbers, which shows the
discretisation without the scatter of samples. Annealed HMC is measured in the same way.
"""

import argparse
import dataclasses

import numpy as np
import posterior_setup as setup

from tfp_massmap import gaussian_posterior
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import samplers
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate
from tfp_massmap import spectra

# Exact draws for each sample, so that nearly all scatter is that of the samples.
_EXACT_PER_SAMPLE = 16
_SETTINGS = (
  samplers.GuidedSettings(sweeps=(0.9, 0.1), sweep_steps=6),
  samplers.GuidedSettings(),
)
# These evaluations in a sweep, and this tolerance, count as converged.
_CONVERGED = dict(sweep_steps=60, tolerance=1e-4)
_QUIET = samplers.RunOptions(progress=False)


class ExactPosterior:
  """The posterior of a mock, with the statistics of its exact samples.

  Attributes:
    posterior: `posterior.Posterior`.
    edges: Edges of 8 bands in ell.
    mean: Exact mean, `[ny, nx]`.
    std: Standard deviation of exact samples, `[ny, nx]`.
    power: Mean power of exact samples about the mean, `[8]`.
    scatter: Scatter of the power of one sample, over `power`.
    num_exact: Number of exact samples.
  """

  def __init__(self, posterior: posterior_lib.Posterior, *, num_exact: int) -> None:
    self.posterior = posterior
    self.num_exact = num_exact
    self.edges = spectra.band_edges(setup.GRID, 8)
    likelihood, prior = posterior.likelihood, posterior.prior
    self.mean = gaussian_posterior.mean(likelihood, prior, rtol=1e-6)[0].numpy()
    exact = self.draw(num_exact, seed=5)
    powers = self.powers(exact)
    self.power = powers.mean(axis=0)
    self.scatter = powers.std(axis=0) / self.power
    self.std = exact.std(axis=0)

  def draw(self, num: int, *, seed: int) -> np.ndarray:
    """Returns exact samples, `[num, ny, nx]`; num is a multiple of 32."""
    likelihood, prior = self.posterior.likelihood, self.posterior.prior
    batches = [
      gaussian_posterior.sample(likelihood, prior, num_samples=32, seed=(seed, batch))
      for batch in range(num // 32)
    ]
    return np.concatenate(batches)

  def powers(self, samples: np.ndarray) -> np.ndarray:
    """Returns the power of samples about the exact mean, `[num, 8]`."""
    return spectra.band_power(samples - self.mean, setup.GRID, edges=self.edges)

  def squared_bias(self, samples: np.ndarray) -> tuple[float, float]:
    """Returns the squared bias of the mean of samples over the variance, and its error.

    It comes from products of pairs of different samples, so that their scatter does not
    add to it. It may be negative by chance.
    """
    relative = ((samples - self.mean) / self.std).reshape(len(samples), -1)
    products = relative @ relative.T / relative.shape[1]
    pairs = products[np.triu_indices(len(samples), 1)]
    return float(pairs.mean()), float(pairs.std(ddof=1) / np.sqrt(len(pairs)))


def run(
  options: argparse.Namespace,
  survey: shear_map_lib.ShearMap,
  *,
  prior: priors.HybridPrior,
) -> dict:
  """Prints the section, and returns its figures by name of the settings."""
  truth = prior.gaussian.sample(seed=(0, 1)).numpy()
  shear_map = simulate.observe_like(truth, survey, seed=1)
  num = 64 if options.full else 32
  exact = ExactPosterior(
    setup.make_posterior(shear_map, prior.gaussian), num_exact=_EXACT_PER_SAMPLE * num
  )
  print(
    f"\nGaussian prior: power of {num} samples over that of {exact.num_exact} exact"
    " ones"
  )
  setup.print_row("lowest ell of the band", exact.edges[:-1], form="{:7.0f}")
  setup.print_row("expected scatter", exact.scatter / np.sqrt(num))
  again = exact.powers(exact.draw(num, seed=6)).mean(axis=0)
  setup.print_row(f"{num} exact ones", again / exact.power)
  figures = {}
  for settings in _SETTINGS:
    evaluations, sweeps = settings.num_score_evaluations, len(settings.sweeps)
    name = f"{evaluations} evaluations, {sweeps} sweeps"
    figures[name] = _measure_guided(exact, num, name=name, settings=settings)
  figures["annealed"] = _measure_annealed(exact, num)
  return figures


def _measure_guided(exact, num, *, name, settings):
  sample = lambda settings: samplers.sample(
    exact.posterior, num, seed=1, settings=settings, options=_QUIET
  )
  converged = sample(dataclasses.replace(settings, **_CONVERGED)).samples
  result = sample(settings)
  powers = exact.powers(result.samples).mean(axis=0)
  ratio, paired = powers / exact.power, powers / exact.powers(converged).mean(axis=0)
  offset = (result.samples - converged).mean(axis=0)
  bias = np.sqrt(np.mean(offset**2 / exact.std**2))
  iterations = result.diagnostics["conjugate-gradient iterations"]
  setup.print_row(name, ratio)
  setup.print_row("the same over the converged one", paired)
  print(
    f"{'':35s}mean within {bias:.4f} std of the converged one's;"
    f" {iterations:.0f} CG iterations"
  )
  return dict(
    power=ratio.tolist(),
    power_over_converged=paired.tolist(),
    bias=float(bias),
    iterations=iterations,
    **_print_bias(exact, result.samples),
  )


def _measure_annealed(exact, num):
  result = samplers.sample(
    exact.posterior, num, seed=1, method="annealed", options=_QUIET
  )
  ratio = exact.powers(result.samples).mean(axis=0) / exact.power
  setup.print_row(f"annealed, {result.num_score_evaluations:.0f} evaluations", ratio)
  return dict(
    power=ratio.tolist(),
    evaluations=result.num_score_evaluations,
    **_print_bias(exact, result.samples),
  )


def _print_bias(exact, samples):
  squared, error = exact.squared_bias(samples)
  print(
    f"{'':35s}bias of the mean {max(squared, 0) ** 0.5:.4f} std, below"
    f" {max(squared + 2 * error, 0) ** 0.5:.4f} (squared {squared:.5f} +- {error:.5f})"
  )
  return dict(squared_bias=squared, squared_bias_error=error)
