"""The `tfp-massmap` command: thin sub-commands over the library."""

import signal
import sys
import threading

from tfp_massmap.cli import arguments as arguments_lib
from tfp_massmap.cli import commands
from tfp_massmap.cli import console


def main(arguments=None):
  """Runs a sub-command; returns the exit status.

  0 success, 1 bad input (one line on standard error), 130 interrupted.
  """
  options = arguments_lib.parse(arguments)
  if threading.current_thread() is threading.main_thread():
    # Ended by a batch system, a run cleans up as if interrupted by hand.
    signal.signal(signal.SIGTERM, _interrupt)
  try:
    with console.plain_warnings():
      commands.COMMANDS[options.command](options)
  except KeyboardInterrupt:
    print(
      "tfp-massmap: interrupted. What was done of a sampling or training is kept: the"
      " same command goes on; other unfinished files were removed.",
      file=sys.stderr,
    )
    return 130
  except Exception as error:  # pylint: disable=broad-exception-caught
    message = console.one_line(error)
    if message is None:
      raise
    print(f"tfp-massmap: {message}", file=sys.stderr)
    return 1
  return 0


def _interrupt(*_):
  raise KeyboardInterrupt
