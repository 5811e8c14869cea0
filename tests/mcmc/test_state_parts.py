"""States as lists of parts."""

import functools

import numpy as np
import pytest
import score_targets
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc
from tfp_massmap.mcmc import state_parts


@pytest.mark.parametrize(
  "changes, message",
  [
    (dict(event_ndims=3), "more than the 2 axes"),
    (dict(event_ndims=[1, 1]), "event_ndims has 2 entries for 1"),
    (dict(step_size=[0.1, 0.2]), "2 values of step_size for 1"),
  ],
)
def test_arguments_that_do_not_fit_the_state_are_refused(changes, message):
  arguments = dict(
    target_score_fn=lambda x: -x, step_size=0.1, num_leapfrog_steps=4, event_ndims=1
  )
  kernel = mcmc.ScoreHamiltonianMonteCarlo(**{**arguments, **changes})
  with pytest.raises(ValueError, match=message):
    score_targets.one_step(kernel, tf.zeros([5, 3]))


def test_events_sum_over_their_axes_and_all_parts():
  parts = [tf.ones([4, 5, 2, 3]), tf.fill([4, 5], 10.0)]
  events = state_parts.Events.of(parts, [2, 0])
  np.testing.assert_array_equal(events.sum(parts), np.full([4, 5], 16.0))
  np.testing.assert_array_equal(events.zeros(parts), np.zeros([4, 5]))
  np.testing.assert_array_equal(events.chain_shape(parts), [4, 5])
  assert events.static_chain_shape(parts) == (4, 5)


def test_one_name_of_shard_axes_serves_all_parts():
  parts = [tf.ones([4, 3]), tf.ones([4, 2])]
  of = functools.partial(state_parts.Events.of, parts, 1)
  assert of().names_per_part() == [None, None]
  assert of(shard_axis_names="space").names_per_part() == ["space", "space"]
  assert of(shard_axis_names=["space", None]).names_per_part() == ["space", None]


def test_choose_takes_whole_events_of_the_chosen_chains():
  is_chosen = tf.constant([True, False])
  new = {"a": tf.ones([2, 3]), "b": [tf.constant([5, 6])]}
  old = {"a": tf.zeros([2, 3]), "b": [tf.constant([7, 8])]}
  chosen = state_parts.choose(is_chosen, new, old=old)
  np.testing.assert_array_equal(chosen["a"], [[1, 1, 1], [0, 0, 0]])
  np.testing.assert_array_equal(chosen["b"][0], [5, 8])


def test_parts_have_the_same_chains():
  with pytest.raises(ValueError, match="different numbers of chain axes"):
    state_parts.Events.of([tf.zeros([4]), tf.zeros([4, 3])], [0, 2])


def test_named_tuples_stay_what_they_are():
  """Samples of a joint distribution are such states."""
  root = tfp.distributions.JointDistributionCoroutine.Root

  def model():
    yield root(tfp.distributions.MultivariateNormalDiag(tf.zeros([3]), name="a"))
    yield root(tfp.distributions.Normal(0.0, 1.0, name="b"))

  point = tfp.distributions.JointDistributionCoroutine(model).sample(4, seed=(1, 2))
  kernel = mcmc.ScoreHamiltonianMonteCarlo(
    lambda a, b: [-a, -b], 0.1, num_leapfrog_steps=2, event_ndims=[1, 0]
  )
  states = tfp.mcmc.sample_chain(
    3, current_state=point, kernel=kernel, seed=(1, 2), trace_fn=None
  )
  assert type(states) is type(point) and states.a.shape == (3, 4, 3)
