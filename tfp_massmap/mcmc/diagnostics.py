"""Effective sample size of chains, by TFP, without a warning that means nothing."""

import contextlib

import tensorflow as tf
import tensorflow_probability as tfp


def effective_sample_size(states, **options):
  """`tfp.mcmc.effective_sample_size`.

  TFP takes the real part of an autocorrelation by casting it, and TensorFlow warns of
  each: the imaginary part is rounding error, as states are real.

  Args:
    states: real, `[num_steps, ...]`.
    **options: of `tfp.mcmc.effective_sample_size`.

  Returns:
    As TFP's.
  """
  with _unheard("casting an input of type complex"):
    return tfp.mcmc.effective_sample_size(states, **options)


@contextlib.contextmanager
def _unheard(words):
  logger = tf.get_logger()
  quiet = lambda entry: words not in entry.getMessage()
  logger.addFilter(quiet)
  try:
    yield
  finally:
    logger.removeFilter(quiet)
