"""The `tfp-massmap` command: thin sub-commands over the library.

A new sub-command is a module with `run(options)` and a line in `COMMANDS`, with its
options in `arguments`.
"""

import argparse
from collections.abc import Callable
from collections.abc import Sequence
import signal
import sys
import threading
import typing

from tfp_massmap.cli import arguments as arguments_lib
from tfp_massmap.cli import calibrate
from tfp_massmap.cli import console
from tfp_massmap.cli import demo
from tfp_massmap.cli import reconstruct
from tfp_massmap.cli import train

COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
  "calibrate": calibrate.run,
  "demo": demo.run,
  "reconstruct": reconstruct.run,
  "train": train.run,
}


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs a sub-command.

  Args:
    arguments: Words of the command line, without the name of the command; None for
      those of the process.

  Returns:
    The exit status: 0 after success, 1 after bad input (with one line on standard
    error), 130 after an interruption.
  """
  options = arguments_lib.parse(arguments)
  if threading.current_thread() is threading.main_thread():
    # A run that a batch system ends cleans up as if it were interrupted by hand.
    signal.signal(signal.SIGTERM, _interrupt)
  try:
    with console.plain_warnings():
      COMMANDS[options.command](options)
  except KeyboardInterrupt:
    print(
      "tfp-massmap: interrupted. The finished part of a sampling or training is kept,"
      " and the same command resumes there; other unfinished files were removed.",
      file=sys.stderr,
    )
    return 130
  except Exception as error:
    message = console.one_line(error)
    if message is None:
      raise
    print(f"tfp-massmap: {message}", file=sys.stderr)
    return 1
  return 0


def _interrupt(*_: typing.Any) -> None:
  raise KeyboardInterrupt
