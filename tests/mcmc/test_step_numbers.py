"""The number of leapfrog steps, fixed or drawn."""

import numpy as np
import pytest
import score_targets
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc
from tfp_massmap.mcmc import step_numbers


def test_number_of_steps_drawn_between_bounds():
  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    lambda x: -x,
    0.3,
    num_leapfrog_steps=(2, 6),
    event_ndims=1,
    path_integral="trajectory",
  )
  evaluations, ratio = tf.function(
    lambda: tfp.mcmc.sample_chain(
      200,
      tf.zeros([10, 2]),
      kernel=kernel,
      seed=(1, 2),
      trace_fn=lambda _, r: (r.num_score_evaluations, r.log_accept_ratio),
    )[1]
  )()
  steps = np.diff(evaluations[:, 0])
  assert set(steps) == {2, 3, 4, 5, 6}
  # Each of five equally likely numbers comes 40 +- 6 times in 199 steps.
  assert np.bincount(steps)[2:].min() > 15
  assert np.isfinite(ratio).all()


def test_a_drawn_number_of_steps_cannot_be_adapted():
  """The error is that of eager mode; in a graph TensorFlow refuses the new shape."""
  kernel = tfp.experimental.mcmc.GradientBasedTrajectoryLengthAdaptation(
    score_targets.hmc_of_three_scales(num_leapfrog_steps=(2, 5)), num_adaptation_steps=3
  )
  with pytest.raises(tf.errors.InvalidArgumentError, match="Give one integer instead"):
    state = score_targets.start_of_three_scales((2,), "float32")
    kernel.one_step(state, kernel.bootstrap_results(state), seed=(1, 2))


@pytest.mark.parametrize(
  "wrong, message",
  [
    (None, "is missing"),
    (0, "positive integer"),
    (2.5, "positive integer"),
    ((3, 2), "smallest, largest"),
    ((0, 2), "both positive"),
  ],
)
def test_numbers_that_are_no_steps_are_refused(wrong, message):
  with pytest.raises(ValueError, match=message):
    step_numbers.check(wrong)


def test_symbolic_numbers_must_be_integers():
  @tf.function
  def check(number):
    step_numbers.check(number)

  check(tf.constant(3))
  with pytest.raises(ValueError, match="must be a positive integer"):
    check(tf.constant(3.0))
