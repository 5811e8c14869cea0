"""Settings of a training: learning rate, range of sigma and what is refused."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from tfp_massmap.priors import training_settings

SETTINGS = training_settings.TrainingSettings()


def test_learning_rate_rises_and_falls():
  settings = dataclasses.replace(
    SETTINGS, num_steps=20, warmup_steps=10, learning_rate=1.0, final_learning_rate=0.1
  )
  rates = [settings.rate_at(step) for step in (0, 9, 10, 15, 20, 30)]
  np.testing.assert_allclose(rates, [0.1, 1, 1, 0.55, 0.1, 0.1])


def test_range_of_sigma_is_that_of_the_law():
  assert SETTINGS.sigma_range == (0.003, 1.5)
  half_normal = dataclasses.replace(SETTINGS, sigma_law="half_normal", sigma_high=0.2)
  assert half_normal.sigma_range == pytest.approx((0.003, 0.6))


@pytest.mark.parametrize(
  "changes, message",
  [
    (dict(weighting="none"), "weighting must be one of"),
    (dict(sigma_law="uniform"), "sigma_law must be one of .*log_uniform"),
    (dict(optimizer="sgd"), "optimizer must be one of"),
    (dict(num_steps=0), "num_steps"),
    (dict(sigma_low=2.0), "sigma_low must be positive and sigma_high at least as"),
    (dict(averaging=1.0), "averaging"),
    (dict(gaussian_share=-0.1), "gaussian_share"),
    (dict(validate_every=0), "validate_every must be positive; got 0"),
    (dict(learning_rate=-1.0), "learning_rate"),
    (dict(clip_norm=float("nan")), "clip_norm"),
    (dict(gaussian_weight=1.5), r"\[0, 1\]; got 1.5"),
    (dict(crop=8), "crop must be at least 16"),
    (dict(seed=-1), "seed must lie in"),
  ],
)
def test_impossible_settings_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(SETTINGS, **changes)


def test_only_the_length_and_the_rhythm_may_change():
  assert set(training_settings.MAY_CHANGE) == {
    "num_steps",
    "learning_rate",
    "final_learning_rate",
    "warmup_steps",
    "validate_every",
    "num_validation",
    "checkpoint_every",
  }


def test_settings_load_without_tensorflow():
  """The help of the command must be fast."""
  code = (
    "import sys, tfp_massmap.cli.train_options;"
    "print([m for m in ('tensorflow', 'keras', 'astropy') if m in sys.modules])"
  )
  result = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert result.stdout.strip() == "[]"
