"""The guided sampler against exact posteriors."""

import dense_gaussian
import numpy as np
import pytest
from scipy import stats
import tensorflow as tf

from tfp_massmap import samplers
from tfp_massmap.samplers import guided

QUIET = samplers.RunOptions(progress=False, jit_compile=False)


def test_gaussian_posterior_is_exact(fiducial, make_shear_map, posterior):
  """Sample covariance and mean of 4,000 draws; false alarm about 1 in 1,000."""
  shear_map = make_shear_map(posterior.shape, pixel_scale=3.0)
  single = dense_gaussian.problem(fiducial, shear_map, dtype=tf.float32)
  draw = tf.function(
    lambda: guided.draw(single, 4000, seed=(3, 4))[0], jit_compile=True
  )
  exact = dense_gaussian.moments(posterior.likelihood, posterior.prior.mode_variance)
  white = dense_gaussian.whiten(draw().numpy(), *exact)
  count, size = white.shape
  slack = 0.02
  assert np.abs(white.mean(axis=0)).max() < stats.norm.isf(1e-4 / size) / 60 + slack
  eigenvalues = np.linalg.eigvalsh(white.T @ white / count)
  edge = np.sqrt(size / count)
  assert eigenvalues[-1] < (1 + edge) ** 2 * 1.05 * (1 + slack)
  assert eigenvalues[0] > (1 - edge) ** 2 * 0.95 * (1 - slack)
  assert abs(np.mean(white**2) - 1) < 3.5 * np.sqrt(2 / white.size) + slack


def test_posterior_of_a_mixture_is_reached(mixture):
  """Total variance and mean of 1,200 draws with the default settings.

  With 2,400 draws the mean is off by 0.06 posterior standard deviations (rms, with a
  scatter of 0.02) and the variance by 3.8 %; with twice the evaluations by 0.05 and
  3.2 %. This is the price of a rho above the smallest noise, for a power spectrum that is
  40 % away. The scatter of 1,200 draws is 0.03 and 0.7 %: the bounds are 4 of these and
  more above, one false alarm in 16,000.
  """
  posterior, mean, exact = mixture
  options = samplers.RunOptions(batch_size=1200, progress=False)
  result = samplers.sample(posterior, 1200, seed=7, options=options)
  assert result.method == "guided" and result.num_score_evaluations == 24
  flat = result.samples.reshape(1200, -1) - mean
  offset = flat.mean(axis=0) / np.sqrt(np.diag(exact))
  assert np.sqrt(np.mean(offset**2)) < 0.11
  assert abs(np.mean(np.sum(flat**2, axis=1)) / np.trace(exact) - 1) < 0.08


@pytest.mark.parametrize(
  "settings",
  [
    dict(tolerance=0.0),
    dict(max_iterations=0),
    dict(sweeps=(0.9, 0.5, 1.5)),
    dict(sweep_steps=2),
    dict(sweeps=(0.5,)),
    dict(sweep_steps=(7, 7, 2)),
    dict(sweeps=()),
  ],
)
def test_settings_out_of_range_are_refused(settings):
  with pytest.raises(ValueError, match="got"):
    guided.GuidedSettings(**settings)


def test_evaluations_of_the_sweeps():
  """One number of steps is for all sweeps."""
  same = guided.GuidedSettings(sweeps=(0.5, 0.1), sweep_steps=6)
  assert same.steps_of_sweeps == (6, 6) and same.num_score_evaluations == 12
  settings = guided.GuidedSettings(sweeps=(0.5, 0.1), sweep_steps=(4, 6))
  assert settings.num_score_evaluations == 10 and settings.num_solutions == 11


def test_the_iteration_cap_is_reported(posterior, caplog):
  """The cap concerns the sweeps; the start has a cap of its own."""
  settings = guided.GuidedSettings(max_iterations=2)
  result = samplers.sample(posterior, 2, seed=0, settings=settings, options=QUIET)
  assert result.diagnostics["steps at the iteration cap"] > 4
  assert settings.num_solutions == 1 + 7 + 7 + 10
  assert "reached their cap of 2 iterations (500 at the start)" in caplog.text
  assert " of 25 solutions" in caplog.text


@pytest.mark.parametrize("start_cap", [1, 500])
def test_every_solution_counts_against_the_cap(
  start_cap, posterior, least_noise, caplog, monkeypatch
):
  """With one iteration every solution is capped, also the start where its cap is one.

  The centre of a chain has a cap of its own. The sigmas are above the smallest noise:
  below it the flow of "guided+hmc" has no equations to solve.
  """
  monkeypatch.setattr(guided, "_START_ITERATIONS", start_cap)
  start = guided.GuidedSettings(sweeps=(0.9,), sweep_steps=4, max_iterations=1)
  settings = samplers.GuidedHmcSettings(
    start,
    sigmas=(2 * least_noise, 1.5 * least_noise),
    num_steps=2,
    num_leapfrog_steps=2,
    num_flow_steps=3,
  )
  at_start = int(start_cap == 1)
  for method, method_settings, rest, num_centers in (
    ("guided", start, 4, 0),
    ("guided+hmc", settings, 4 + 2 * 3, 2),
  ):
    caplog.clear()
    result = samplers.sample(
      posterior, 2, seed=0, method=method, settings=method_settings, options=QUIET
    )
    assert result.diagnostics["steps at the iteration cap"] == at_start + rest
    of_all = f"{at_start + rest:.1f} of {1 + rest + num_centers} solutions"
    assert of_all in caplog.text
