"""Makes maps in several processes, in order."""

import collections
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from concurrent import futures
from concurrent.futures import process
import contextlib
import multiprocessing
import pathlib
import pickle
import tempfile
import typing

import numpy as np
import tqdm

# Maps made ahead of the one that is taken, for each process: one in work, one waiting.
_NUM_AHEAD = 2

# In a worker process, the simulator that `_keep` has read.
_KEPT: dict[str, typing.Any] = {}


def maps(
  simulator: typing.Any,
  num_maps: int,
  *,
  first: int,
  num_processes: int,
  progress: bool,
) -> Iterator[np.ndarray]:
  """Yields the maps of a simulator, in the order of their numbers.

  Args:
    simulator: As `mapper`.
    num_maps: Number of maps.
    first: Number of the first map.
    num_processes: Number of processes that make them.
    progress: Whether to show a progress bar on standard error.

  Yields:
    float32 `[ny, nx]`.

  Raises:
    ValueError: If a number is out of its range.
    RuntimeError: If a process dies.
  """
  if num_maps < 0 or first < 0 or num_processes < 1:
    raise ValueError(
      "num_maps and first must not be negative and num_processes positive; got"
      f" {num_maps}, {first} and {num_processes}."
    )
  bar = tqdm.tqdm(total=num_maps, unit="map", disable=not progress)
  with bar, mapper(simulator, min(num_processes, num_maps)) as mapped:
    for kappa in mapped(range(first, first + num_maps)):
      yield kappa
      bar.update()


@contextlib.contextmanager
def mapper(
  simulator: typing.Any, num_processes: int
) -> Iterator[Callable[[Iterable[int]], Iterator[np.ndarray]]]:
  """Yields a function from indices to an iterator over maps, and ends its processes.

  Args:
    simulator: Object with a method `map(index)`, which can be pickled.
    num_processes: Number of processes; with 1, maps are made in this one.

  Yields:
    Function of indices that yields the maps in their order.

  Raises:
    RuntimeError: If a process dies.
  """
  if num_processes <= 1:
    yield lambda indices: map(simulator.map, indices)
    return
  with tempfile.TemporaryDirectory() as folder:
    # Starting a process blocks forever if this much is sent to one that has died, so it
    # gets the name of a file.
    path = pathlib.Path(folder) / "simulator"
    path.write_bytes(pickle.dumps(simulator))
    # Forking is unsafe once TensorFlow or another library has started threads.
    context = multiprocessing.get_context("spawn")
    executor = futures.ProcessPoolExecutor(num_processes, context, _keep, (path,))
    try:
      yield lambda indices: _in_order(executor, indices, _NUM_AHEAD * num_processes)
    except process.BrokenProcessPool as error:
      raise RuntimeError(
        "A process that makes maps died: for lack of memory, or because processes start"
        " by importing the script that asks for them. Scripts have to call"
        ' `maps(..., num_processes=2)` under `if __name__ == "__main__":`, or leave'
        " num_processes out."
      ) from error
    finally:
      executor.shutdown(cancel_futures=True)


def _in_order(executor, indices, num_ahead):
  """Yields results in order; at most `num_ahead` maps wait to be taken."""
  pending = collections.deque()
  for index in indices:
    pending.append(executor.submit(_make, index))
    if len(pending) > num_ahead:
      yield pending.popleft().result()
  while pending:
    yield pending.popleft().result()


def _keep(path):
  _KEPT["simulator"] = pickle.loads(path.read_bytes())


def _make(index):
  return _KEPT["simulator"].map(index)
