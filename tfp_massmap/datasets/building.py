"""The base classes of builders and their configurations, and what both need."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import inspect
import json
import typing

from etils import epath
import numpy as np
import numpy.typing as npt
import tensorflow_datasets as tfds
from tensorflow_datasets.core import shuffle

# tfds holds 1 GB of examples in memory by default, which is much beside a simulator.
_SHUFFLE_BYTES = 100 * 2**20
# Simulated maps of different splits have different numbers, hence independent random
# numbers. No split has a thousand million maps.
_FIRST_INDEX = {"train": 0, "validation": 10**9, "test": 2 * 10**9}


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(tfds.core.BuilderConfig):
  """A configuration whose own fields are kept with the data, as metadata.

  Attributes:
    FREE: Names of fields that do not change the data, and are not kept.
  """

  FREE: typing.ClassVar[frozenset[str]] = frozenset()

  def settings(self) -> dict[str, typing.Any]:
    """Returns the fields that decide the data, by name."""
    shared = {field.name for field in dataclasses.fields(tfds.core.BuilderConfig)}
    names = [field.name for field in dataclasses.fields(self)]
    return {n: getattr(self, n) for n in names if n not in shared | self.FREE}


class PackagedBuilder(  # type: ignore[call-arg]  # tfds has no types.
  tfds.core.GeneratorBasedBuilder, skip_registration=True
):
  """A builder in a folder of this package, whose configurations are `Config`s.

  Prepared data are found by the name of their configuration alone, so that data with
  other settings under the same name are refused.

  Raises:
    ValueError: If there are data with other settings under this name.
  """

  def __init_subclass__(cls, **options: typing.Any) -> None:
    super().__init_subclass__(**options)
    # tfds would look for checksums and README below the package, where a checkout has
    # no such folder.
    cls.code_path = epath.Path(inspect.getfile(cls))
    cls.pkg_dir_path = cls.code_path.parent

  def __init__(self, **kwargs: typing.Any) -> None:
    super().__init__(**kwargs)
    _check_prepared(self)

  def _download_and_prepare(
    self,
    dl_manager: tfds.download.DownloadManager,
    download_config: tfds.download.DownloadConfig,
  ) -> None:
    with _small_shuffle_buffer():
      super()._download_and_prepare(dl_manager, download_config)


def check_num_maps(num_maps: Sequence[int]) -> None:
  """Refuses anything but a number of maps for each split of a simulated data set.

  Args:
    num_maps: Numbers of maps for train, validation and test.

  Raises:
    ValueError: If there are not three numbers, or one is negative.
  """
  if len(num_maps) != len(_FIRST_INDEX) or min(num_maps) < 0:
    raise ValueError(
      f"num_maps must be the numbers of {tuple(_FIRST_INDEX)} maps; got {num_maps}."
    )


def simulated_splits(
  generate: Callable[[int, int], Iterator], num_maps: Sequence[int]
) -> dict[str, Iterator]:
  """Returns the generators of the splits of a simulated data set, by name.

  Args:
    generate: Function of the number of the first map and the number of maps to an
      iterator over examples.
    num_maps: Numbers of maps for train, validation and test.
  """
  return {
    split: generate(first, num)
    for (split, first), num in zip(_FIRST_INDEX.items(), num_maps)
    if num
  }


def map_feature(
  *shape: int | None, dtype: npt.DTypeLike = np.float32
) -> tfds.features.Tensor:
  """Returns the feature of a map, stored as bytes.

  Other encodings, which resemble text, are twenty times slower.

  Args:
    *shape: Sides, such as `ny, nx`; None for sides that vary.
    dtype: Dtype of the map.
  """
  return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")


@contextlib.contextmanager
def _small_shuffle_buffer() -> Iterator[None]:
  """Limits the examples that tfds holds in memory; it sorts the others on disk."""
  # There is no option for it.
  before = shuffle.MAX_MEM_BUFFER_SIZE
  shuffle.MAX_MEM_BUFFER_SIZE = _SHUFFLE_BYTES
  try:
    yield
  finally:
    shuffle.MAX_MEM_BUFFER_SIZE = before


def _check_prepared(builder):
  """Refuses data that were prepared with other settings under the same name."""
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
