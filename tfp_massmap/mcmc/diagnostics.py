"""Effective sample size of chains, without TensorFlow's warning about complex casts."""

import collections.abc
import contextlib
import typing

import tensorflow as tf
import tensorflow_probability as tfp


def effective_sample_size(states: tf.Tensor, **options: typing.Any) -> tf.Tensor:
  """Returns `tfp.mcmc.effective_sample_size` of real states.

  TFP takes the real part of an autocorrelation by casting, and TensorFlow warns of each
  cast. The imaginary part is rounding error, because states are real.

  Args:
    states: Real, `[num_steps, ...]`.
    **options: Options of `tfp.mcmc.effective_sample_size`.

  Returns:
    The effective sample sizes as TFP returns them: by default `[...]`, the dtype of
    `states`.
  """
  with _muted("casting an input of type complex"):
    return tfp.mcmc.effective_sample_size(states, **options)


@contextlib.contextmanager
def _muted(words: str) -> collections.abc.Iterator[None]:
  """Keeps log entries that contain these words out of TensorFlow's log."""
  logger = tf.get_logger()
  quiet = lambda entry: words not in entry.getMessage()
  logger.addFilter(quiet)
  try:
    yield
  finally:
    logger.removeFilter(quiet)
