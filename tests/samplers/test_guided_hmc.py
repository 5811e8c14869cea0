"""Guided samples with Hamiltonian Monte Carlo against exact posteriors."""

import dataclasses

import numpy as np
import pytest

from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import samplers

QUIET = samplers.RunOptions(batch_size=2, progress=False, jit_compile=False)


def test_posterior_of_a_mixture_is_reached(mixture):
  """Total variance and mean of 600 draws.

  5 % of the variance are 5 standard errors, and the largest of 120 offsets of the mean
  exceeds 4 by chance once in 130 runs; the seed is fixed.
  """
  posterior, mean, exact = mixture
  settings = samplers.GuidedHmcSettings(
    sigmas=(0.02, 0.005), num_steps=30, step_size=0.03, num_leapfrog_steps=12
  )
  result = samplers.sample(
    posterior,
    600,
    seed=7,
    method="guided+hmc",
    settings=settings,
    options=samplers.RunOptions(batch_size=300, progress=False, jit_compile=True),
  )
  flat = result.samples.reshape(600, -1) - mean
  assert abs(np.mean(np.sum(flat**2, axis=1)) / np.trace(exact) - 1) < 0.05
  offset = flat.mean(axis=0) / np.sqrt(np.diag(exact))
  assert np.abs(offset).max() < 0.2
  assert result.acceptance > 0.9 and result.diagnostics["R-hat of the misfit"] < 1.03
  # 2 x 30 steps of 12, a start and a flow at each sigma, and the guided sampler.
  assert result.num_score_evaluations == 2 * (30 * 12 + 1 + 12) + 24


def test_chains_start_from_the_guided_samples_of_the_seed(posterior):
  """With steps too small to move, samples are the guided ones plus a little noise."""
  settings = samplers.GuidedHmcSettings(sigmas=(2e-3,), num_steps=2, step_size=1e-5)

  def draw(seed, method, settings=None):
    result = samplers.sample(
      posterior, 4, seed=seed, method=method, settings=settings, options=QUIET
    )
    return result.samples.ravel()

  corrected = draw(3, "guided+hmc", settings)
  same, other = (np.corrcoef(corrected, draw(seed, "guided"))[0, 1] for seed in (3, 4))
  assert same > 0.98 and other < 0.9


@pytest.mark.parametrize(
  "settings",
  [
    dict(sigmas=(0.01, 0.02)),
    dict(sigmas=()),
    dict(num_steps=1),
    dict(num_flow_steps=2),
  ],
)
def test_settings_out_of_range_are_refused(settings):
  with pytest.raises(ValueError, match="got"):
    samplers.GuidedHmcSettings(**settings)


def test_sigma_of_the_chains_and_its_warning(posterior, caplog):
  """0.8 of the smallest noise, at most 0.4 and at least 0.25 of the typical one."""
  shear_map = posterior.likelihood.shear_map
  row, column = np.argwhere(shear_map.mask)[0]

  def with_least(least):
    noise_std = np.full(shear_map.noise_std.shape, 0.2)
    noise_std[:, row, column] = least
    changed = dataclasses.replace(shear_map, noise_std=noise_std)
    likelihood = likelihood_lib.ShearLikelihood(changed, dtype=posterior.dtype)
    return posterior_lib.Posterior(likelihood, posterior.prior)

  settings = samplers.GuidedHmcSettings(
    samplers.GuidedSettings(sweeps=(0.9,), sweep_steps=3),
    num_steps=2,
    num_leapfrog_steps=2,
    num_flow_steps=3,
  )
  for least, by_typical, by_least in ((0.2, 0.4, 0), (0.08, 0, 0.8), (0.02, 0.25, 0)):
    changed = with_least(least)
    (sigma,) = settings.resolve(changed).sigmas
    typical = changed.likelihood.typical_noise_std
    assert sigma == pytest.approx(by_typical * typical + by_least * least)
    caplog.clear()
    result = samplers.sample(
      changed, 2, seed=0, method="guided+hmc", settings=settings, options=QUIET
    )
    assert np.isfinite(result.samples).all()
    assert ("The smallest noise of a pixel is 0.02" in caplog.text) == (least == 0.02)
  given = samplers.GuidedHmcSettings(sigmas=(0.02, 0.01))
  assert given.resolve(posterior) == given
