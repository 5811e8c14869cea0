"""The COSMOS shape catalogue of Schrabback et al. (2010), as galaxies or as maps."""

from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import hashlib
import typing

from astropy import units as u
from astropy.io import fits
from etils import epath
import numpy as np
import tensorflow_datasets as tfds

from tfp_massmap import catalog
from tfp_massmap import geometry
from tfp_massmap.catalog import files
from tfp_massmap.datasets import building

_URL = "https://github.com/CosmoStat/jax-lensing/raw/master/data/COSMOS/"

# The catalogue has its bright galaxies in the first rows.
_NUM_BRIGHT = 165159

# The box of the released maps: the medians of the positions, in degrees, and 360 x 360
# pixels of 0.29 arcmin.
_CENTER = (150.1161025, 2.247490268)
_SHAPE = (360, 360)
_PIXEL_SCALE = 0.29 * u.arcmin


@dataclasses.dataclass(eq=False, kw_only=True)
class CosmosShearConfig(building.Config):
  """The form in which the catalogue is given.

  Attributes:
    product: "galaxies", or "maps" for one example with the shear in pixels.
    noise: "weighted" or "unweighted", as in `catalog.bin_catalogue`.
    num_bright: Number of rows, from the first, with bright galaxies.

  Raises:
    ValueError: If the product is unknown.
  """

  product: str = "galaxies"
  noise: str = "weighted"
  num_bright: int = _NUM_BRIGHT

  def __post_init__(self) -> None:
    if self.product not in ("galaxies", "maps"):
      raise ValueError(f"product must be galaxies or maps; got {self.product!r}.")


class Builder(building.PackagedBuilder):
  """Builder of `cosmos_shear`; see README.md."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: typing.ClassVar = {"1.0.0": "First version."}
  BUILDER_CONFIGS: typing.ClassVar = [
    CosmosShearConfig(
      name="galaxies", description="Position, ellipticity and weight per galaxy."
    ),
    CosmosShearConfig(
      name="maps",
      product="maps",
      description="Shear in the 360 x 360 pixels of 0.29 arcmin of the paper.",
    ),
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  Nothing to do with a connection to the internet. Without one, put ra.fits, dec.fits,
  e1.fits, e2.fits and nhweight_int.fits of
  https://github.com/CosmoStat/jax-lensing/tree/master/data/COSMOS into manual_dir.
  """

  def _info(self) -> tfds.core.DatasetInfo:
    number = np.float64
    if self.builder_config.product == "galaxies":
      features = {
        role: tfds.features.Scalar(number) for role in files.SCHRABBACK2010_FILES
      }
      features["bright"] = tfds.features.Scalar(np.bool_)
    else:
      features = dict(
        shear=building.map_feature(2, *_SHAPE),
        noise_std=building.map_feature(2, *_SHAPE),
        mask=building.map_feature(*_SHAPE, dtype=np.bool_),
        count=building.map_feature(*_SHAPE, dtype=np.int32),
      )
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(features),
      homepage="https://doi.org/10.1051/0004-6361/200913577",
      metadata=tfds.core.MetadataDict(
        center_deg=list(_CENTER),
        pixel_scale_arcmin=_PIXEL_SCALE.value,
        **self.builder_config.settings(),
      ),
    )

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, Iterator]:
    return {"train": self._generate_examples(self._paths(dl_manager))}

  def _paths(self, dl_manager):
    """Returns the files by role: those of manual_dir, or downloaded ones."""
    names = files.SCHRABBACK2010_FILES
    try:
      folder = dl_manager.manual_dir
    except AssertionError:  # There is no manual_dir.
      folder = None
    if folder is not None and (folder / names["ra"]).exists():
      paths = {role: folder / name for role, name in names.items()}
      self._check_manual(paths)
      return paths
    urls = {role: _URL + name for role, name in names.items()}
    return {role: epath.Path(p) for role, p in dl_manager.download(urls).items()}

  def _check_manual(self, paths):
    for role, path in paths.items():
      if not path.exists():
        raise FileNotFoundError(
          f"No {path}; the catalogue consists of the files"
          f" {sorted(p.name for p in paths.values())}."
        )
      expected = self.url_infos[_URL + path.name]
      content = path.read_bytes()
      if hashlib.sha256(content).hexdigest() != expected.checksum:
        raise ValueError(
          f"{path} is not the published file ({role}): {len(content)} bytes, expected"
          f" {expected.size}, or other content. Download it again."
        )

  def _generate_examples(
    self, paths: Mapping[str, epath.Path]
  ) -> Iterator[tuple[int | str, dict]]:
    columns = {role: _read_column(path) for role, path in paths.items()}
    lengths = {role: len(column) for role, column in columns.items()}
    if len(set(lengths.values())) > 1:
      raise ValueError(
        f"The columns of the catalogue differ in length: {lengths}. Download the files"
        " again."
      )
    if self.builder_config.product == "maps":
      yield "cosmos", self._maps(columns)
      return
    for row in range(lengths["ra"]):
      values = {role: column[row] for role, column in columns.items()}
      yield row, values | dict(bright=row < self.builder_config.num_bright)

  def _maps(self, columns):
    grid = geometry.PixelGrid.plate_carree(_CENTER, _SHAPE, pixel_scale=_PIXEL_SCALE)
    # The catalogue's x axis runs to the west.
    shear_map = catalog.bin_catalogue(
      catalog.ShearCatalogue(**columns),
      grid,
      noise=self.builder_config.noise,
      flip_e2=True,
    )
    return dict(
      shear=shear_map.shear.astype(np.float32),
      noise_std=shear_map.noise_std.astype(np.float32),
      mask=shear_map.mask,
      count=shear_map.count.astype(np.int32),
    )


def _read_column(path):
  with path.open("rb") as file, fits.open(file) as hdus:
    return np.asarray(hdus[0].data, np.float64).ravel()
