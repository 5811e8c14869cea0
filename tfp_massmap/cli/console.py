"""What appears on the terminal: warnings and errors of one line, nothing else."""

import contextlib
import logging
import os
import pathlib
import sys
import tempfile
import warnings


@contextlib.contextmanager
def plain_warnings():
  """Prints each warning and logged message of the package once, as one plain line."""
  # It puts a function of its own in the place of the one replaced here when imported.
  import astropy  # pylint: disable=g-import-not-at-top,unused-import

  handler = logging.StreamHandler()
  handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
  # Not the root, whose handlers would repeat what astropy's own logger prints.
  logger = logging.getLogger("tfp_massmap")
  logger.addHandler(handler)
  replaced = warnings.showwarning
  warnings.showwarning = _show_warning
  try:
    yield
  finally:
    warnings.showwarning = replaced
    logger.removeHandler(handler)


def _show_warning(message, category, filename, lineno, file=None, line=None):
  del category, filename, lineno, line
  print(f"WARNING: {' '.join(str(message).split())}", file=file or sys.stderr)


def one_line(error):
  """What to tell the user of an error of the input, or None for one of the program."""
  reason = str(error).splitlines()[0] if str(error) else "no detail"
  if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
    return (
      "not enough memory. Use a smaller --batch-size or --size, or a larger"
      f" --pixel-scale ({reason})."
    )
  # Loaded only if the command came that far.
  tensorflow = sys.modules.get("tensorflow")
  if tensorflow is not None and isinstance(error, tensorflow.errors.OpError):
    return (
      f"TensorFlow failed ({type(error).__name__}: {reason}). Check the size of the map"
      " and of its pixels."
    )
  expected = (ValueError, OSError, RuntimeError, FloatingPointError)
  return str(error) if isinstance(error, expected) else None


def start_tensorflow():
  """Loads TensorFlow without the lines that its C++ part prints at every start.

  They come before its log level is read. They go to a temporary file, which stays
  behind if the process dies there. Users who set the level see everything.
  """
  if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
    return
  os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
  sys.stderr.flush()
  kept = os.dup(2)
  log, log_path = tempfile.mkstemp(prefix="tfp-massmap-startup-", suffix=".log")
  os.dup2(log, 2)
  try:
    import tensorflow as tf  # pylint: disable=g-import-not-at-top

    tf.config.list_logical_devices()
    from tfp_massmap import devices  # pylint: disable=g-import-not-at-top

    if devices.resolve_compute_dtype("auto") == "bfloat16":
      # It fails on networks in bfloat16, with a line for every graph, and saves no time.
      tf.config.optimizer.set_experimental_options({"remapping": False})
  except Exception:
    os.dup2(kept, 2)
    print(pathlib.Path(log_path).read_text(encoding="utf-8"), file=sys.stderr)
    raise
  finally:
    os.dup2(kept, 2)
    os.close(kept)
    os.close(log)
    os.remove(log_path)
