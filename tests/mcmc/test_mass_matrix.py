"""Mass matrices against dense normals, and the chains that they precondition."""

import functools

import numpy as np
import pytest
import score_targets
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc


def _mass(shape, dtype=tf.float64):
  rng = np.random.default_rng(0)
  half = rng.uniform(0.5, 4.0, (shape[0], shape[1] // 2 + 1))
  # The columns k1 = 0 and Nyquist must be symmetric for a real field.
  columns = [0] + ([-1] if shape[1] % 2 == 0 else [])
  for column in columns:
    half[1:, column] = 0.5 * (half[1:, column] + half[1:, column][::-1])
  return mcmc.FourierDiagonalNormal(tf.constant(half, dtype), shape)


@pytest.mark.parametrize("shape", [(4, 6), (5, 7), (4, 5)])
def test_fourier_diagonal_normal_against_a_dense_one(shape):
  distribution = _mass(shape)
  size = int(np.prod(shape))
  basis = np.eye(size).reshape(size, *shape)
  precision = distribution.velocity(basis).numpy().reshape(size, size)
  np.testing.assert_allclose(precision, precision.T, atol=1e-12)
  # Entries are off by about variance / sqrt(40,000) = 2 %; the worst of 1,225 by 5 times
  # that.
  score_targets.assert_is_dense_normal(
    distribution, np.linalg.inv(precision), num_draws=40000, atol=0.1
  )


def test_mass_matrix_of_the_wrong_layout_is_refused():
  with pytest.raises(ValueError, match=r"must end in \(4, 4\)"):
    mcmc.FourierDiagonalNormal(tf.ones([4, 6]), (4, 6))


def test_operators_that_are_no_mass_matrices_are_refused():
  with pytest.raises(ValueError, match=r"square tf\.linalg\.LinearOperator"):
    mcmc.LinearOperatorNormal(tf.eye(3))
  with pytest.raises(ValueError, match="Make it with is_self_adjoint=True"):
    mcmc.LinearOperatorNormal(tf.linalg.LinearOperatorFullMatrix(tf.eye(3)))
  with pytest.raises(tf.errors.InvalidArgumentError, match="must be positive"):
    mcmc.FourierDiagonalNormal(-tf.ones([4, 3]), (4, 4), validate_args=True)


def _preconditioned(shape, rule):
  """Returns a mass matrix, and a kernel whose modes all have the same frequency."""
  mass = _mass(shape)
  # The precision is twice the mass.
  inverse = mcmc.FourierDiagonalNormal(1 / mass.mode_variance, shape)
  return mass, mcmc.ScoreHamiltonianMonteCarlo(
    lambda x: -2.0 * inverse.velocity(x),
    tf.constant(0.25, tf.float64),
    num_leapfrog_steps=4,
    event_ndims=2,
    path_integral=rule,
    momentum_distribution=mass,
  )


@pytest.mark.parametrize("rule", score_targets.RULES)
def test_preconditioned_chains_are_the_same_in_a_graph(rule):
  _, kernel = _preconditioned((4, 6), rule)
  eager, in_graph = (
    score_targets.run(
      functools.partial(
        tfp.mcmc.sample_chain,
        4,
        tf.ones([3, 4, 6], tf.float64),
        kernel=kernel,
        seed=(1, 2),
        trace_fn=score_targets.accepted_and_ratio,
      ),
      mode,
    )
    for mode in ("eager", "graph")
  )
  np.testing.assert_allclose(eager[0], in_graph[0], atol=1e-11)
  np.testing.assert_allclose(eager[1][1], in_graph[1][1], atol=1e-11)


@pytest.mark.parametrize("rule, mode", [("straight", "graph"), ("trajectory", "xla")])
def test_preconditioned_chains_have_the_targets_covariance(rule, mode):
  """The mass matrix changes the path, not the target."""
  shape = (4, 6)
  mass, kernel = _preconditioned(shape, rule)
  start = tf.zeros([400, *shape], tf.float64)
  states = score_targets.run(
    lambda: tfp.mcmc.sample_chain(
      100, start, num_burnin_steps=20, kernel=kernel, trace_fn=None, seed=(1, 2)
    ),
    mode,
  )
  modes = np.fft.rfft2(states, norm="ortho")
  ratio = np.mean(np.abs(modes) ** 2, axis=(0, 1)) * 2 * mass.mode_variance
  # 40,000 nearly independent draws of one or two numbers a mode: 0.7 %, 5 sigma.
  np.testing.assert_allclose(ratio, 1, atol=0.035)


@pytest.mark.parametrize("kind", ["diag", "full", "circulant"])
def test_linear_operators_as_mass_matrices(kind):
  rng = np.random.default_rng(0)
  if kind == "diag":
    operator = tf.linalg.LinearOperatorDiag(tf.constant(rng.uniform(0.5, 4, 6)))
  elif kind == "full":
    root = rng.standard_normal((6, 6))
    operator = tf.linalg.LinearOperatorFullMatrix(
      root @ root.T + np.eye(6), is_self_adjoint=True, is_positive_definite=True
    )
  else:
    spectrum = 1 + np.abs(np.fft.fftfreq(3))[:, np.newaxis] + np.abs(np.fft.fftfreq(2))
    operator = tf.linalg.LinearOperatorCirculant2D(
      tf.constant(spectrum, tf.complex128),
      input_output_dtype=tf.complex128,
      is_self_adjoint=True,
      is_positive_definite=True,
    )
  normal = mcmc.LinearOperatorNormal(operator)
  dense = np.real(operator.to_dense().numpy())
  # Entries are off by about 1 % of the largest; the worst of 36 by 4 times that.
  score_targets.assert_is_dense_normal(
    normal, dense, num_draws=50000, atol=0.05 * dense.max()
  )
  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    lambda x: -tf.linalg.matvec(tf.constant(dense), x),
    tf.constant(0.4, tf.float64),
    num_leapfrog_steps=4,
    event_ndims=1,
    momentum_distribution=operator,
    path_integral="trajectory",
  )
  states = tf.function(
    lambda: tfp.mcmc.sample_chain(
      60,
      tf.zeros([500, 6], tf.float64),
      num_burnin_steps=10,
      kernel=kernel,
      trace_fn=None,
      seed=(1, 2),
    )
  )()
  covariance = np.linalg.inv(dense)
  np.testing.assert_allclose(
    score_targets.sample_covariance(states), covariance, atol=0.06 * covariance.max()
  )
