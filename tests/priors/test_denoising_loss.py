"""The loss of a residual denoiser."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap.priors import training


def _batch(toys, settings, sigma):
  examples = training.validation_examples(
    toys.make_maps(seed=5), settings, periodic=False
  )
  return examples[sigma][0]


def test_weighting_by_the_score(toys, tmp_path):
  """Eq. 24 of Remy et al. (2022) differs from the default by c^2 / sigma^2."""
  losses = []
  for weighting in ("error", "score"):
    trainer = toys.make_trainer(tmp_path / weighting, weighting=weighting)
    losses.append(
      float(trainer.loss.of(_batch(toys, toys.settings, 0.5), training=False))
    )
  scale = trainer.denoiser.error_std(tf.constant(0.5)) / 0.5
  assert losses[1] == pytest.approx(losses[0] * float(scale) ** 2, rel=1e-4)


def test_the_residual_of_gaussian_fields_should_be_zero(toys, tmp_path):
  """A network that adds something has a loss of the square of it."""
  trainer = toys.make_trainer(tmp_path, gaussian_share=0.999, gaussian_weight=1.0)
  batch = _batch(toys, toys.settings, 0.1)

  def loss():
    fields = trainer.loss.with_gaussian_fields(
      batch, step=tf.constant(0, tf.int64), replica=0
    )
    return float(trainer.loss.of(fields, training=False))

  assert loss() == pytest.approx(0, abs=1e-9)
  trainer.denoiser.network.weights[-1].assign(np.full(4, 0.5, np.float32))
  assert loss() == pytest.approx(0.25, rel=1e-3)


def test_gaussian_fields_are_set_by_step_and_replica(toys, tmp_path):
  """Half of the maps are replaced, the noise stays, and the others are untouched."""
  trainer = toys.make_trainer(tmp_path, gaussian_share=0.5)
  batch = _batch(toys, toys.settings, 0.1)
  make = lambda step, replica: trainer.loss.with_gaussian_fields(
    batch, step=tf.constant(step, tf.int64), replica=replica
  )
  first = make(1, 0)
  np.testing.assert_array_equal(first["clean"], make(1, 0)["clean"])
  for other in (make(2, 0), make(1, 1)):
    assert not np.array_equal(first["clean"], other["clean"])
  chosen = first["is_gaussian"].numpy().ravel()
  same = (first["clean"].numpy() == batch["clean"].numpy()).all(axis=(1, 2))
  np.testing.assert_array_equal(same, ~chosen)
  noise, before = (b["noisy"] - b["clean"] for b in (first, batch))
  np.testing.assert_allclose(noise, before, atol=1e-6)
