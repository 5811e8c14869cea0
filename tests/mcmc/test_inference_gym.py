"""Targets with ground truth, sampled from their scores alone."""

from inference_gym import using_tensorflow as gym
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc


def _score_fn(model, names):
  def log_prob(*parts):
    value = dict(zip(names, parts)) if names else parts[0]
    return model.unnormalized_log_prob(value)

  def score(*parts):
    return tfp.math.value_and_gradient(log_prob, list(parts))[1]

  return score


def _compare(states, truth, num_effective):
  """Compares mean and standard deviation of each coordinate, within 5 errors."""
  mean = truth.ground_truth_mean
  std = truth.ground_truth_standard_deviation
  error = std / np.sqrt(num_effective)
  given = truth.ground_truth_mean_standard_error
  if given is not None:
    error = np.hypot(error, given)
  flat = np.reshape(states, [-1, *np.shape(mean)])
  assert np.max(np.abs(flat.mean(axis=0) - mean) / error) < 5
  # Tails heavier than Gaussian make the error of a std up to twice as large.
  np.testing.assert_allclose(
    flat.std(axis=0), std, rtol=5 * 2 / np.sqrt(2 * num_effective)
  )


@pytest.mark.parametrize("name", ["banana", "ill_conditioned_gaussian"])
def test_vectors(name):
  if name == "banana":
    model, size, step_size, num_steps = gym.targets.Banana(), 2, 0.9, 12
    num_results, thin, num_effective = 500, 10, 3000
  else:
    model, size = gym.targets.IllConditionedGaussian(), 100
    step_size, num_steps, num_results, thin, num_effective = 0.4, 6, 60, 2, 1000
  momentum = None
  if name == "ill_conditioned_gaussian":
    # The mass matrix is the target's precision, minus the Jacobian of its score.
    with tf.GradientTape() as tape:
      origin = tf.zeros([size])
      tape.watch(origin)
      score = _score_fn(model, None)(origin)[0]
    precision = -tape.jacobian(score, origin)
    momentum = tf.linalg.LinearOperatorFullMatrix(
      precision, is_self_adjoint=True, is_positive_definite=True
    )
  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    _score_fn(model, None),
    step_size,
    num_leapfrog_steps=(num_steps // 2, num_steps),
    event_ndims=1,
    path_integral="straight",
    num_intervals=8,
    momentum_distribution=momentum,
  )
  states = tf.function(
    lambda: tfp.mcmc.sample_chain(
      num_results,
      tf.zeros([100, size]),
      num_burnin_steps=200,
      num_steps_between_results=thin - 1,
      kernel=kernel,
      trace_fn=None,
      seed=(1, 2),
    ),
    jit_compile=True,
  )()
  _compare(states, model.sample_transformations["identity"], num_effective)


def test_eight_schools():
  model = gym.targets.EightSchools()
  names = list(model.event_shape)
  axes = [len(model.event_shape[name]) for name in names]
  start = [tf.zeros([100, *model.event_shape[name]]) + 0.1 for name in names]
  start[names.index("log_stddev")] += 2.3
  sizes = {"avg_effect": 0.8, "log_stddev": 0.12, "school_effects": 0.8}
  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    _score_fn(model, names),
    [sizes[name] for name in names],
    num_leapfrog_steps=(8, 16),
    event_ndims=axes,
    path_integral="straight",
    num_intervals=8,
  )
  states = tf.function(
    lambda: tfp.mcmc.sample_chain(
      400,
      start,
      num_burnin_steps=300,
      num_steps_between_results=4,
      kernel=kernel,
      trace_fn=None,
      seed=(1, 2),
    ),
    jit_compile=True,
  )()
  truth = model.sample_transformations["identity"]
  for name, values in zip(names, states):
    _compare(values, _Part(truth, name), num_effective=2000)


class _Part:
  """The ground truth of one named part."""

  def __init__(self, truth, name):
    self.ground_truth_mean = truth.ground_truth_mean[name]
    self.ground_truth_standard_deviation = truth.ground_truth_standard_deviation[name]
    error = truth.ground_truth_mean_standard_error
    self.ground_truth_mean_standard_error = None if error is None else error[name]
