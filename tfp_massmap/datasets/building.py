"""What the builders share."""

import contextlib
import json

from etils import epath
import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import shuffle

_SHUFFLE_BYTES = 100 * 2**20


def map_feature(*shape, dtype=np.float32):
  """A map, stored as bytes: text-like encodings are twenty times slower."""
  return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")


@contextlib.contextmanager
def small_shuffle_buffer():
  """Within it, tfds holds 100 MB of examples in memory rather than 1 GB.

  It has no option for that. Beyond the buffer it sorts on disk.
  """
  before = shuffle.MAX_MEM_BUFFER_SIZE
  shuffle.MAX_MEM_BUFFER_SIZE = _SHUFFLE_BYTES
  try:
    yield
  finally:
    shuffle.MAX_MEM_BUFFER_SIZE = before


def check_prepared(builder):
  """Refuses data that were prepared with other settings under the same name.

  tfds looks for prepared data by the configuration's name alone.

  Args:
    builder: a tfds builder whose configuration has a method `settings`, the names and
      values that are in the metadata of its info.

  Raises:
    ValueError: if there are such data.
  """
  path = epath.Path(builder.data_dir) / "metadata.json"
  if not path.exists():
    return
  prepared = json.loads(path.read_text())
  wanted = json.loads(json.dumps(builder.builder_config.settings()))
  differ = [name for name, value in wanted.items() if prepared.get(name) != value]
  if differ:
    raise ValueError(
      f"The data in {builder.data_dir} were prepared with another"
      f" {' and '.join(differ)}. Give the configuration {builder.builder_config.name!r}"
      " another name, or choose another data_dir."
    )
