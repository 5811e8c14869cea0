"""The verdict of a calibration, kept for the headers of the maps that it is a proof of."""

from collections.abc import Mapping
import dataclasses
import json
import os
import pathlib
import typing

from tfp_massmap import io
from tfp_massmap import shear_errors as shear_errors_lib
from tfp_massmap import shear_map as shear_map_lib

_FILE = "calibration.json"


def sampler_in_words(
  method: str,
  settings: typing.Any = None,
  *,
  reduced_shear: bool = False,
  shear_errors: shear_errors_lib.ShearErrors | None = None,
) -> str:
  """Returns a sampler for a `Subject`.

  Args:
    method: Name of the sampler.
    settings: Its settings; None for the default ones.
    reduced_shear: Whether the shapes measure the reduced shear.
    shear_errors: Errors of the shear that the samples are over, or None.
  """
  default = settings is None or settings == type(settings)()
  words = f"{method}, {'default settings' if default else settings}"
  if shear_errors is not None:
    words += f", over {shear_errors}"
  return f"{words}, reduced shear" if reduced_shear else words


@dataclasses.dataclass(frozen=True)
class Subject:
  """The prior, the n(z) and the sampler that a calibration is of.

  Attributes:
    prior: Description of the prior.
    prior_checksum: Checksum of the prior on the part of the survey that is mocked; empty
      for a prior that exists on one grid alone.
    sources: n(z) that is known of the galaxies, in words; empty if it is not.
    sampler: Name and settings of the sampler.
  """

  prior: str
  prior_checksum: str
  _: dataclasses.KW_ONLY
  sources: str
  sampler: str


@dataclasses.dataclass(frozen=True)
class Proof:
  """The verdict of a calibration, with the survey and the samples that it judges.

  Attributes:
    corner: First row and column of the part of the survey whose mocks were sampled.
    shape: `(ny, nx)` of that part.
    data: `shear_map.ShearMap.noise_checksum` of that part.
    subject: `Subject`.
    findings: Verdict and findings by name, see `Verdict.header`.
  """

  corner: tuple[int, int]
  shape: tuple[int, int]
  _: dataclasses.KW_ONLY
  data: str
  subject: Subject
  findings: Mapping[str, str | bool]

  def window(self, shear_map: shear_map_lib.ShearMap) -> shear_map_lib.ShearMap:
    """Returns the part of a survey that was mocked.

    Args:
      shear_map: `shear_map.ShearMap`, the whole survey or that part.

    Raises:
      ValueError: If the calibration was of another survey.
    """
    fits = all(
      c + n <= side for c, n, side in zip(self.corner, self.shape, shear_map.grid.shape)
    )
    parts = [shear_map]
    if fits:
      parts.append(shear_map.crop(self.corner, shape=self.shape))
    for part in parts:
      if part.noise_checksum() == self.data:
        return part
    raise ValueError(
      "The calibration is of another survey: mask or noise of its part differ. Repeat it"
      " with the options of this reconstruction."
    )

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
      subject = Subject(**entries.pop("subject"))
      return cls(corner, shape, subject=subject, **entries)
    except (ValueError, TypeError, KeyError) as error:
      raise ValueError(f"{path} is no verdict of a calibration ({error}).") from error

  def header_for(self, subject: Subject) -> dict[str, str | bool]:
    """Returns the findings, if they are of this prior, n(z) and sampler.

    Args:
      subject: `Subject` of the map, its checksum on the grid of `window`.

    Raises:
      ValueError: If the calibration was of another one.
    """
    there, here = dataclasses.asdict(self.subject), dataclasses.asdict(subject)
    differ = [name for name in there if there[name] != here[name]]
    if differ:
      words = {"prior_checksum": "prior (data files of the same name)"}
      shown = "".join(
        f" Its {name} was {there[name] or 'unknown'}; here it is"
        f" {here[name] or 'unknown'}."
        for name in differ
        if name != "prior_checksum"
      )
      names = " and ".join(words.get(name, name) for name in differ)
      raise ValueError(
        f"The calibration is of another {names}, and proves nothing of this map.{shown}"
        " Repeat it with the options of this reconstruction."
      )
    return dict(self.findings)
