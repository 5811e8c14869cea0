"""The verdict of a calibration, kept for the headers of the maps that it is a proof of."""

from collections.abc import Mapping
import dataclasses
import hashlib
import json
import os
import pathlib
import typing

from tfp_massmap import io
from tfp_massmap import shear_map as shear_map_lib

_FILE = "calibration.json"


def data_checksum(shear_map: shear_map_lib.ShearMap) -> str:
  """Returns a checksum of the mask and the noise of a shear map.

  Args:
    shear_map: `shear_map.ShearMap`.
  """
  content = shear_map.mask.tobytes() + shear_map.noise_std.tobytes()
  return hashlib.sha256(content).hexdigest()


@dataclasses.dataclass(frozen=True)
class Proof:
  """The verdict of a calibration, and what it is of.

  Attributes:
    corner: First row and column of the part of the survey whose mocks were sampled.
    shape: `(ny, nx)` of that part.
    data: `data_checksum` of that part.
    prior: Description of the prior.
    method: Name of the sampler.
    findings: Verdict and findings by name, see `Verdict.header`.
  """

  corner: tuple[int, int]
  shape: tuple[int, int]
  _: dataclasses.KW_ONLY
  data: str
  prior: str
  method: str
  findings: Mapping[str, str | bool]

  def save(self, folder: str | os.PathLike) -> None:
    """Writes `calibration.json`, which `read` reads.

    Args:
      folder: Name of the folder; a file of the name is replaced.
    """
    path = pathlib.Path(folder) / _FILE
    with io.atomic_path(path, overwrite=True) as partial:
      text = json.dumps(dataclasses.asdict(self), indent=1)
      pathlib.Path(partial).write_text(text, encoding="utf-8")

  @classmethod
  def read(cls, folder: str | os.PathLike) -> typing.Self:
    """Reads the verdict of a finished calibration.

    Args:
      folder: Folder of `tfp-massmap calibrate`.

    Raises:
      FileNotFoundError: If it holds no finished calibration.
      ValueError: If the file is not one.
    """
    path = pathlib.Path(folder) / _FILE
    if not path.is_file():
      raise FileNotFoundError(
        f"There is no {path}: {folder} holds no finished calibration. Run tfp-massmap"
        f" calibrate -o {folder} first."
      )
    try:
      entries = json.loads(path.read_text(encoding="utf-8"))
      corner, shape = (tuple(entries.pop(name)) for name in ("corner", "shape"))
      return cls(corner, shape, **entries)
    except (ValueError, TypeError, KeyError) as error:
      raise ValueError(f"{path} is no verdict of a calibration ({error}).") from error

  def header_for(
    self, shear_map: shear_map_lib.ShearMap, *, prior: str, method: str
  ) -> dict[str, str | bool]:
    """Returns the findings, if they are of this survey, prior and sampler.

    Args:
      shear_map: `shear_map.ShearMap` that is sampled, the whole one.
      prior: Description of the prior.
      method: Name of the sampler.

    Raises:
      ValueError: If the calibration was of another survey, prior or sampler.
    """
    try:
      data = data_checksum(shear_map.crop(self.corner, shape=self.shape))
    except ValueError:  # The map is smaller than the part that was mocked.
      data = ""
    pairs = dict(
      survey=(self.data, data),
      prior=(self.prior, prior),
      method=(self.method, method),
    )
    differ = [name for name, (there, here) in pairs.items() if there != here]
    if differ:
      shown = "".join(
        f" Its {name} was {pairs[name][0]}; here it is {pairs[name][1]}."
        for name in differ
        if name != "survey"
      )
      raise ValueError(
        f"The calibration is of another {' and '.join(differ)}, and proves nothing of"
        f" this map.{shown} Repeat it with the options of this reconstruction."
      )
    return dict(self.findings)
