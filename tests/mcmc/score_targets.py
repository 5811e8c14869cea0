"""Targets, drivers and oracles that several tests of the score-only kernels share."""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc

tfd = tfp.distributions

MODES = {"eager": None, "graph": False, "xla": True}
RULES = ["straight", "trajectory"]
# TFP says so of kernels whose target changes while they run. Tests that use one on
# purpose are marked with this filter.
UNCALIBRATED = "ignore:supplied `TransitionKernel` is not calibrated:UserWarning"
PRECISION = np.array([[1.0, 0.5, 0.0], [0.5, 2.0, 0.3], [0.0, 0.3, 0.7]])


def run(function, mode):
  """Calls a function eagerly, in a graph or under XLA."""
  if MODES[mode] is None:
    return function()
  return tf.function(function, jit_compile=MODES[mode])()


def accepted_and_ratio(_, results):
  """Returns the fields that the tests of acceptance trace."""
  return results.is_accepted, results.log_accept_ratio


def gaussian(dtype):
  """Returns log-density and score of three coupled Gaussian numbers."""
  precision = tf.constant(PRECISION, dtype)

  def log_prob(x):
    return -0.5 * tf.einsum("...i,ij,...j->...", x, precision, x)

  return log_prob, lambda x: -tf.einsum("ij,...j->...i", precision, x)


def sample_covariance(states):
  """Returns the covariance of zero-mean draws `[..., size]`."""
  flat = np.reshape(states, [-1, np.shape(states)[-1]])
  return flat.T @ flat / len(flat)


def assert_is_dense_normal(distribution, covariance, *, num_draws, atol):
  """Compares a mass matrix with the multivariate normal of a dense covariance.

  Args:
    distribution: Zero-mean distribution with the methods of `mcmc.MassMatrix`.
    covariance: `[size, size]`, of its flattened events.
    num_draws: Number of draws whose covariance is compared.
    atol: Tolerance of the entries of that covariance.
  """
  size = len(covariance)
  oracle = tfd.MultivariateNormalFullCovariance(tf.zeros(size, tf.float64), covariance)
  x = np.random.default_rng(1).standard_normal((3, size))
  events = x.reshape(3, *distribution.event_shape)
  np.testing.assert_allclose(
    distribution.log_prob(events), oracle.log_prob(x), rtol=1e-9
  )
  velocity = distribution.velocity(events)
  np.testing.assert_allclose(
    np.reshape(velocity, [3, size]), np.linalg.solve(covariance, x.T).T, atol=1e-9
  )
  np.testing.assert_allclose(distribution.momentum(velocity), events, atol=1e-9)
  draws = distribution.sample(num_draws, seed=(1, 2)).numpy().reshape(-1, size)
  np.testing.assert_allclose(sample_covariance(draws), covariance, atol=atol)


def power_spectrum(shape=(6, 8)):
  """Returns a power spectrum on the half plane, symmetric as a real field's must be."""
  k1 = 2 * np.pi * np.fft.rfftfreq(shape[1])[np.newaxis, :]
  k2 = 2 * np.pi * np.fft.fftfreq(shape[0])[:, np.newaxis]
  return tf.constant(1 / (0.3 + k1**2 + k2**2))


def ripples(x):
  """Returns the part of `rippled_log_prob` that is not Gaussian."""
  return tf.reduce_sum(-0.25 * x**4 + 0.3 * tf.sin(3 * x), axis=-1)


def rippled_log_prob(x):
  """Returns a log-density: not Gaussian, no polynomial, not symmetric, coupled."""
  return ripples(x) - 0.5 * tf.square(tf.reduce_sum(x, axis=-1))


def rippled_score(x):
  """Returns the gradient of `rippled_log_prob`."""
  return tfp.math.value_and_gradient(rippled_log_prob, x)[1]


def rippled_start(num_chains=100, seed=(5, 6), scale=0.6):
  """Returns states that are typical of `rippled_log_prob`."""
  return scale * tf.random.stateless_normal([num_chains, 4], seed, dtype=tf.float64)


def proposal_kernel(**changes):
  """Returns a Hamiltonian kernel without a test, of the rippled target by default."""
  arguments = dict(
    target_score_fn=rippled_score,
    step_size=tf.constant(0.1, tf.float64),
    num_leapfrog_steps=6,
    event_ndims=1,
  )
  return mcmc.ScoreUncalibratedHamiltonianMonteCarlo(**{**arguments, **changes})


def one_step(kernel, start, seed=(1, 2)):
  """Returns state and results after the first step of a chain."""
  return kernel.one_step(start, kernel.bootstrap_results(start), seed=seed)


def quadrature_error(kernel, start, seed=(1, 2)):
  """Returns the root mean square error of a step's path integral, in nats."""
  end, results = one_step(kernel, start, seed)
  exact = rippled_log_prob(end) - rippled_log_prob(start)
  return float(np.sqrt(np.mean((results.log_prob_difference - exact) ** 2)))


def hmc_of_three_scales(dtype="float32", parts=1, **changes):
  """Returns a kernel of a normal about 1 with standard deviations `SCALE`.

  With two parts, the second one is a standard normal.
  """
  arguments = dict(
    target_score_fn=score_of_three_scales if parts == 1 else _score_of_two_parts,
    step_size=tf.constant(0.4, dtype),
    num_leapfrog_steps=4,
    event_ndims=1,
    path_integral="trajectory",
  )
  return mcmc.ScoreHamiltonianMonteCarlo(**{**arguments, **changes})


SCALE = np.array([0.5, 1.0, 3.0])


def score_of_three_scales(x):
  """Returns the score of a normal about 1 with standard deviations `SCALE`."""
  return -(x - 1) / tf.constant(SCALE, x.dtype) ** 2


def _score_of_two_parts(x, y):
  return [score_of_three_scales(x), -y]


def start_of_three_scales(chains, dtype, parts=1):
  """Returns zeros for the kernels of `hmc_of_three_scales`."""
  start = tf.zeros([*chains, 3], dtype)
  return start if parts == 1 else [start, tf.zeros([*chains, 2], dtype)]
