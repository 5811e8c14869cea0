"""Warnings and errors are one line each."""

import logging
import os
import signal
import warnings

from astropy.utils import exceptions
import pytest
import tensorflow as tf

from tfp_massmap import cli
from tfp_massmap.cli import console


def _run(monkeypatch, function):
  """Runs a function in place of the demo, and returns the exit status."""
  monkeypatch.setitem(cli.COMMANDS, "demo", function)
  return cli.main(["demo"])


@pytest.mark.parametrize(
  "error, message",
  [
    (
      tf.errors.InvalidArgumentError(None, None, "paddings\nand more"),
      "InvalidArgumentError: paddings",
    ),
    (MemoryError("Unable to allocate"), "Use a smaller --batch-size"),
    (OSError("no space left"), "no space left"),
  ],
)
def test_errors_of_the_input_are_one_line(capsys, monkeypatch, error, message):
  def fail(_):
    raise error

  assert _run(monkeypatch, fail) == 1
  shown = capsys.readouterr().err
  assert message in shown and shown.count("\n") == 1


def test_errors_of_the_program_are_raised(monkeypatch):
  with pytest.raises(AttributeError):
    _run(monkeypatch, lambda options: options.nothing)


def test_termination_by_a_batch_system_is_an_interruption(capsys, monkeypatch):
  before = signal.getsignal(signal.SIGTERM)
  try:
    status = _run(monkeypatch, lambda _: os.kill(os.getpid(), signal.SIGTERM))
  finally:
    signal.signal(signal.SIGTERM, before)
  assert status == 130 and "interrupted" in capsys.readouterr().err


@pytest.mark.filterwarnings("default")
def test_warnings_are_one_plain_line_each(capsys, monkeypatch):
  def warn(_):
    warnings.warn("of numbers\nin the input", stacklevel=1)
    warnings.warn("of astropy", exceptions.AstropyUserWarning, stacklevel=1)
    logging.getLogger("tfp_massmap.catalog").warning("of a catalogue")
    logging.getLogger("astropy").warning("its own")

  before = warnings.showwarning
  assert _run(monkeypatch, warn) == 0 and warnings.showwarning is before
  lines = capsys.readouterr().err.splitlines()
  assert lines[:3] == [
    "WARNING: of numbers in the input",
    "WARNING: of astropy",
    "WARNING: of a catalogue",
  ]
  assert len(lines) == 4 and "its own" in lines[3]


@pytest.mark.parametrize("error, shown", [(KeyboardInterrupt, 0), (OSError, 1)])
def test_the_log_of_the_start_is_shown_for_errors_only(
  capfd, monkeypatch, error, shown
):
  def fail():
    os.write(2, b"cannot find the drivers\n")
    raise error

  monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
  monkeypatch.setattr(tf.config, "list_logical_devices", fail)
  with pytest.raises(error):
    console.start_tensorflow()
  assert capfd.readouterr().err.count("cannot find the drivers") == shown
