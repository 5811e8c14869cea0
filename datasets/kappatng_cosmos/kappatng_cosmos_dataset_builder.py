"""kappaTNG convergence maps, combined for the redshifts of a survey."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import functools
import itertools
import typing

from astropy.io import fits
from etils import epath
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tfp_massmap import lensing
from tfp_massmap.datasets import building
from tfp_massmap.datasets.kappatng_cosmos import releases
from tfp_massmap.simulate import source_planes

_PRODUCTS = ("convergence", "mock", "planes")
_COSMOS_URL = "https://github.com/CosmoStat/jax-lensing/raw/master/data/COSMOS/"
_NOISE_FILES = ("std1.fits", "std2.fits", "cosmos_full_mask_0.29arcmin360.fits")

# First and last lens-potential set. Splits share no set, that is, no structure.
_SPLITS = {"train": (1, 80), "validation": (81, 90), "test": (91, 100)}


@dataclasses.dataclass(eq=False, kw_only=True)
class KappatngConfig(building.Config):
  """The maps to make of kappaTNG.

  Attributes:
    product: "convergence" for maps combined with `plane_weights`; "mock" for crops of
      them observed as COSMOS (Remy et al. 2022, section 6.3); "planes" for single
      source planes.
    physics: "fullphys" or "dmonly".
    plane_weights: Weights of the 40 source planes, or a density of redshifts n(z). The
      default are the published weights of COSMOS.
    planes: Numbers, 1 to 40, of the source planes of "planes".
    seed: Seed of the crops and the noise of "mock".
    map_size: Pixels a side of the maps, 1024 in the release.

  Raises:
    ValueError: If the product, the physics or a plane is unknown, or the weights are
      not 40 or are negative.
  """

  product: str = "convergence"
  physics: str = "fullphys"
  plane_weights: tuple[float, ...] | Callable[[np.ndarray], np.ndarray] = (
    source_planes.COSMOS_WEIGHTS
  )
  planes: tuple[int, ...] = (10, 20, 30, 40)
  seed: int = 0
  map_size: int = 1024

  def __post_init__(self) -> None:
    if self.product not in _PRODUCTS:
      raise ValueError(f"product must be one of {_PRODUCTS}; got {self.product!r}.")
    if self.physics not in releases.PHYSICS:
      raise ValueError(
        f"physics must be one of {releases.PHYSICS}; got {self.physics!r}."
      )
    weights = self.plane_weights
    if callable(weights):
      weights = source_planes.weights_from_density(weights)
    self.plane_weights = tuple(source_planes.check_weights(weights).tolist())
    bad = [n for n in self.planes if not 1 <= n <= releases.NUM_PLANES]
    if bad or not self.planes:
      raise ValueError(f"planes must be numbers from 1 to 40; got {self.planes}.")


def _configs():
  descriptions = dict(
    convergence="Maps of 1024 x 1024 pixels for the redshifts of COSMOS",
    mock="Crops observed with the noise and mask of COSMOS",
    planes="Source planes 10, 20, 30 and 40",
  )
  for physics in releases.PHYSICS:
    suffix = "" if physics == "fullphys" else "_dmonly"
    of = "full physics" if physics == "fullphys" else "dark matter only"
    for product, description in descriptions.items():
      yield KappatngConfig(
        name=product + suffix,
        description=f"{description}; {of}.",
        product=product,
        physics=physics,
      )


class Builder(building.PackagedBuilder):
  """Builder of `kappatng_cosmos`; see README.md."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: typing.ClassVar = {"1.0.0": "First version."}
  BUILDER_CONFIGS: typing.ClassVar = list(_configs())
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  Get maps of kappaTNG from https://columbialensing.org and put them, in any of the
  three formats of their releases, into a folder fullphys/ or dmonly/ of manual_dir:
    LP*/LP*_run*_maps.hdf5, or LP*/run*/kappa*.dat, or kappaTNGCosmos.tar.gz.
  Any subset of the lens-potential sets (LP) and runs will do.
  """

  _use_beam = False

  def _info(self) -> tfds.core.DatasetInfo:
    config = self.builder_config
    size = config.map_size
    kappa = building.map_feature(size, size)
    if config.product == "convergence":
      features = dict(kappa=kappa)
    elif config.product == "planes":
      features = dict(kappa=building.map_feature(len(config.planes), size, size))
    else:
      crop = (None, None)
      features = dict(
        kappa=building.map_feature(*crop),
        shear=building.map_feature(2, *crop),
        noise_std=building.map_feature(2, *crop),
        mask=building.map_feature(*crop, dtype=np.bool_),
        corner=tfds.features.Tensor(shape=(2,), dtype=np.int32),
      )
    features |= dict(
      lens_set=tfds.features.Scalar(np.int32), run=tfds.features.Scalar(np.int32)
    )
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(features),
      homepage="https://columbialensing.org",
      metadata=tfds.core.MetadataDict(
        config.settings() | dict(pixel_scale_arcmin=300 / size)
      ),
    )

  def _download_and_prepare(
    self,
    dl_manager: tfds.download.DownloadManager,
    download_config: tfds.download.DownloadConfig,
  ) -> None:
    # Those who give options or a runner ask for Beam.
    self._use_beam = bool(download_config.beam_runner or download_config.beam_options)
    super()._download_and_prepare(dl_manager, download_config)

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, typing.Any]:
    config = self.builder_config
    release = releases.find_release(
      dl_manager.manual_dir, config.physics, map_size=config.map_size
    )
    noise = None
    if config.product == "mock":
      noise = _read_noise(_noise_paths(dl_manager), config.map_size)
    if release.combined:
      _check_combined(config)
    all_runs = release.runs()
    splits = {
      split: [run for run in all_runs if first <= run[0] <= last]
      for split, (first, last) in _SPLITS.items()
    }
    return {
      split: self._generate_examples(release, noise, runs=runs)
      for split, runs in splits.items()
      if runs
    }

  def _generate_examples(
    self,
    release: releases.Release,
    noise: tuple[np.ndarray, np.ndarray] | None,
    *,
    runs: Sequence[tuple[int, int]],
  ) -> typing.Any:
    """Returns an iterator over keys and examples, or a Beam pipeline of them."""
    make = functools.partial(_examples, release, noise, self.builder_config)
    # An archive is one stream; of the other releases each run is work of its own.
    parts = [runs] if release.combined else [[run] for run in runs]
    if self._use_beam:
      beam = tfds.core.lazy_imports.apache_beam
      return beam.Create(parts) | beam.Reshuffle() | beam.FlatMap(make)
    return itertools.chain.from_iterable(map(make, parts))


def _noise_paths(dl_manager):
  """Returns the paths of the noise maps: those in manual_dir, or downloaded ones."""
  manual = [dl_manager.manual_dir / name for name in _NOISE_FILES]
  if all(path.exists() for path in manual):
    return manual
  paths = dl_manager.download({name: _COSMOS_URL + name for name in _NOISE_FILES})
  return [paths[name] for name in _NOISE_FILES]


def _read_noise(paths, map_size):
  """Returns the noise of COSMOS, `[2, n, n]` and 0 where masked, and its mask."""
  maps = []
  for path in paths:
    with epath.Path(path).open("rb") as file, fits.open(file) as hdus:
      maps.append(np.asarray(hdus[0].data, np.float32))
  noise_std, mask = np.stack(maps[:2]), maps[2] > 0
  if max(mask.shape) > map_size or noise_std.shape[1:] != mask.shape:
    raise ValueError(
      f"The noise maps {paths} have shapes {[m.shape for m in maps]}; they must be"
      f" equal and at most {map_size} pixels wide."
    )
  return noise_std * mask, mask


def _check_combined(config):
  """Refuses what the archive, whose maps are already combined, has not."""
  weights_differ = not np.allclose(
    config.plane_weights, source_planes.COSMOS_WEIGHTS, atol=1e-6
  )
  if config.product == "planes" or weights_differ:
    raise ValueError(
      "kappaTNGCosmos.tar.gz holds maps that are already combined with the weights of"
      " COSMOS; single planes and other weights need the HDF5 or binary release."
    )


def _examples(
  release: releases.Release,
  noise: tuple[np.ndarray, np.ndarray] | None,
  config: KappatngConfig,
  runs: Sequence[tuple[int, int]],
) -> Iterator[tuple[str, dict]]:
  """Yields the key and the features of each run."""
  for run, kappa in _maps(release, config, runs):
    features = dict(kappa=kappa)
    if config.product == "mock":
      features = _observe(kappa, *noise, np.random.SeedSequence([config.seed, *run]))
    key = f"LP{run[0]:03d}_run{run[1]:03d}"
    yield key, features | dict(lens_set=run[0], run=run[1])


def _maps(release, config, runs):
  if release.combined:
    yield from release.stream(set(runs))
    return
  for run in runs:
    if config.product == "planes":
      yield run, np.stack([release.plane(run, number) for number in config.planes])
    else:
      yield run, releases.combine(release, run, weights=config.plane_weights)


def _observe(kappa, noise_std, mask, seed):
  """Returns a crop with its noisy shear (Remy et al. 2022, section 6.3)."""
  rng = np.random.default_rng(seed)
  ny, nx = mask.shape
  row = int(rng.integers(kappa.shape[0] - ny + 1))
  column = int(rng.integers(kappa.shape[1] - nx + 1))
  crop = kappa[row : row + ny, column : column + nx]
  shear = lensing.shear_from_convergence(tf.constant(crop)).numpy()
  noise = noise_std * rng.standard_normal(noise_std.shape, dtype=np.float32)
  return dict(
    kappa=crop,
    shear=(shear + noise) * mask,
    noise_std=noise_std,
    mask=mask,
    corner=np.array([row, column], np.int32),
  )
