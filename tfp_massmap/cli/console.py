"""The output on the terminal: warnings and errors are one line each."""

from collections.abc import Iterator
import contextlib
import logging
import os
import pathlib
import sys
import tempfile
import warnings


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
  """Prints each warning and logged message of the package once, as one plain line."""
  import astropy  # noqa: F401 (it replaces `showwarning` too, and must come first)

  handler = logging.StreamHandler()
  handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
  # Handlers of the root logger would repeat what astropy's own logger prints.
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


def one_line(error: Exception) -> str | None:
  """Returns the message for users of bad input, or None for an error of the program.

  Args:
    error: The error that ended a sub-command.
  """
  reason = str(error).splitlines()[0] if str(error) else "no detail"
  if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
    return (
      "not enough memory. Use a smaller --batch-size or --size, or a larger"
      f" --pixel-scale ({reason})."
    )
  # TensorFlow is loaded only if the command came that far.
  tensorflow = sys.modules.get("tensorflow")
  if tensorflow is not None and isinstance(error, tensorflow.errors.OpError):
    return (
      f"TensorFlow failed ({type(error).__name__}: {reason}). Check the size of the map"
      " and of its pixels."
    )
  expected = (ValueError, OSError, RuntimeError, FloatingPointError)
  return str(error) if isinstance(error, expected) else None


def start_tensorflow() -> None:
  """Loads TensorFlow without the lines that its C++ part prints at every start.

  They come before its log level is read. They are caught in a temporary file, which
  remains if the process dies there. Users who set the level see everything.
  """
  if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
    return
  os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
  sys.stderr.flush()
  kept = os.dup(2)
  log, log_path = tempfile.mkstemp(prefix="tfp-massmap-startup-", suffix=".log")
  os.dup2(log, 2)
  try:
    import tensorflow as tf

    tf.config.list_logical_devices()
    from tfp_massmap import devices

    if devices.resolve_compute_dtype("auto") == "bfloat16":
      # Remapping fails on networks in bfloat16, with a line for every graph, and saves
      # no time.
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
