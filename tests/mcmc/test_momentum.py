"""Distributions of the momenta."""

import numpy as np
import pytest
import score_targets
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc

tfd = tfp.distributions


def test_any_distribution_does_as_momentum():
  log_prob, score = score_targets.gaussian("float64")
  del log_prob
  scale = np.linalg.cholesky(score_targets.PRECISION)
  momentum = tfd.MultivariateNormalTriL(tf.zeros(3, tf.float64), scale)
  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    score,
    tf.constant(0.5, tf.float64),
    num_leapfrog_steps=4,
    event_ndims=1,
    momentum_distribution=momentum,
  )
  states = tf.function(
    lambda: tfp.mcmc.sample_chain(
      100,
      tf.zeros([300, 3], tf.float64),
      num_burnin_steps=20,
      kernel=kernel,
      trace_fn=None,
      seed=(1, 2),
    )
  )()
  np.testing.assert_allclose(
    score_targets.sample_covariance(states),
    np.linalg.inv(score_targets.PRECISION),
    atol=0.06,
  )


_SCALE_OF_MOMENTA = 1 / np.array([0.7, 1.0, 2.0])


def _momenta():
  return tfd.MultivariateNormalDiag(scale_diag=tf.constant(_SCALE_OF_MOMENTA))


def _variances(kernel):
  """Returns the variances of the coordinates in chains of three scales."""
  states = tf.function(
    lambda: tfp.mcmc.sample_chain(
      150,
      score_targets.start_of_three_scales((50,), "float64"),
      num_burnin_steps=50,
      kernel=kernel,
      trace_fn=None,
      seed=(1, 2),
    )
  )()
  return np.var(states, axis=(0, 1))


@pytest.fixture(scope="module")
def variances_of_tfps():
  """Variances in the chains of TFP's own kernel with the same momenta."""
  kernel = tfp.experimental.mcmc.PreconditionedHamiltonianMonteCarlo(
    lambda x: -0.5 * tf.reduce_sum(((x - 1) / score_targets.SCALE) ** 2, axis=-1),
    tf.constant(0.4, tf.float64),
    4,
    momentum_distribution=_momenta(),
  )
  return _variances(kernel)


@pytest.mark.parametrize("joint", [False, True])
def test_momenta_of_tfps_preconditioned_kernel(joint, variances_of_tfps):
  """The same momentum distribution gives the same chain as TFP's own kernel."""
  momentum = _momenta()
  if joint:
    momentum = tfd.JointDistributionSequential([momentum])
  kernel = score_targets.hmc_of_three_scales("float64", momentum_distribution=momentum)
  variances = _variances(kernel)
  np.testing.assert_allclose(variances, variances_of_tfps, rtol=0.15)
  np.testing.assert_allclose(variances, score_targets.SCALE**2, rtol=0.15)


def test_every_chain_draws_momenta_of_its_own():
  for distribution in (
    None,
    tfd.MultivariateNormalDiag(tf.zeros([3])),
    tfd.MultivariateNormalDiag(tf.zeros([5, 3])),
  ):
    _, results = score_targets.one_step(
      score_targets.proposal_kernel(
        target_score_fn=lambda x: -x,
        step_size=0.1,
        momentum_distribution=distribution,
      ),
      tf.zeros([5, 3]),
    )
    momentum = results.initial_momentum[0].numpy()
    assert len(np.unique(momentum)) == 15


def test_momenta_that_do_not_fit_are_refused():
  start = tf.zeros([5, 3])
  for distribution in (
    tfd.Normal(tf.zeros([3]), 1.0),  # three scalars, not a vector
    tfd.MultivariateNormalDiag(tf.zeros([1, 3])),  # one batch for five chains
    tfd.MultivariateNormalDiag(tf.zeros([4])),
  ):
    kernel = score_targets.proposal_kernel(
      target_score_fn=lambda x: -x, step_size=0.1, momentum_distribution=distribution
    )
    with pytest.raises(ValueError, match=r"Wrap it in tfd\.Independent"):
      score_targets.one_step(kernel, start)
  with pytest.raises(ValueError, match="needs a momentum distribution with the"):
    score_targets.one_step(
      score_targets.proposal_kernel(
        target_score_fn=lambda x: -x,
        step_size=0.1,
        integrator="split",
        momentum_distribution=tfd.MultivariateNormalDiag(tf.zeros([3])),
      ),
      start,
    )
  with pytest.raises(ValueError, match="momentum_distribution has 2 entries"):
    score_targets.one_step(
      score_targets.proposal_kernel(
        target_score_fn=lambda x: -x, step_size=0.1, momentum_distribution=[None, None]
      ),
      start,
    )


def test_momenta_of_shards_must_be_independent():
  @tfd.JointDistributionCoroutineAutoBatched
  def chained():
    first = yield tfd.Normal(tf.zeros([3]), 1.0)
    yield tfd.Normal(first[:2], 1.0)

  kernel = score_targets.hmc_of_three_scales(
    parts=2, momentum_distribution=chained, experimental_shard_axis_names="space"
  )
  with pytest.raises(ValueError, match="a list with one distribution per part"):
    state = score_targets.start_of_three_scales((), "float32", 2)
    kernel.one_step(state, kernel.bootstrap_results(state), seed=(1, 2))


def test_log_densities_that_are_differentiated_give_the_closed_form():
  """A distribution without `velocity` and a `MassMatrix` of the same covariance agree."""
  scale = tf.constant([0.5, 1.0, 2.0, 3.0], tf.float64)
  ends = [
    score_targets.one_step(
      score_targets.proposal_kernel(momentum_distribution=momentum),
      score_targets.rippled_start(5),
    )[1]
    for momentum in (
      tfd.MultivariateNormalDiag(scale_diag=scale),
      tf.linalg.LinearOperatorDiag(scale**2),
    )
  ]
  assert not isinstance(tfd.MultivariateNormalDiag(scale_diag=scale), mcmc.MassMatrix)
  np.testing.assert_allclose(ends[0].final_momentum[0], ends[1].final_momentum[0])
  np.testing.assert_allclose(
    ends[0].log_acceptance_correction, ends[1].log_acceptance_correction, atol=1e-12
  )


@pytest.mark.parametrize("shape", [[None, None], [None, 3], [5, None]])
def test_momenta_fit_states_of_unknown_shape(shape):
  @tf.function(input_signature=[tf.TensorSpec(shape)])
  def sample(start):
    kernel = mcmc.ScoreHamiltonianMonteCarlo(
      lambda x: -x,
      0.1,
      num_leapfrog_steps=2,
      event_ndims=1,
      momentum_distribution=tfd.MultivariateNormalDiag(scale_diag=tf.ones([3])),
    )
    return tfp.mcmc.sample_chain(2, start, kernel=kernel, seed=(1, 2), trace_fn=None)

  assert sample(tf.zeros([5, 3])).shape == (2, 5, 3)
