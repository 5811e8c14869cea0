"""From a data set of maps to a trained prior: what `tfp-massmap train` does."""

import dataclasses
import logging
import os
import pathlib

from astropy import units as u
import numpy as np
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import hybrid_prior
from tfp_massmap import spectra
from tfp_massmap.nn import error_scale
from tfp_massmap.nn import linear_response
from tfp_massmap.nn import network_file
from tfp_massmap.nn import training
from tfp_massmap.nn import training_settings

_LOG = logging.getLogger(__name__)
_ELL = np.geomspace(10, 3e5, 240)
_MOST_CROPS = 128


def simulator_spectrum(pixel_scale, plane_weights=None):
  """Power spectrum of the simulator's maps.

  Args:
    pixel_scale: angle.
    plane_weights: as `simulate.ConvergenceSimulator`.

  Returns:
    A `spectra.PowerSpectrum`.
  """
  from tfp_massmap import simulate  # pylint: disable=g-import-not-at-top

  grid = geometry.PixelGrid((32, 32), pixel_scale)
  simulator = simulate.ConvergenceSimulator(grid, plane_weights, mode="fast")
  return spectra.PowerSpectrum(
      _ELL, simulator.wanted_power(_ELL), "kappaTNG power, by the simulator"
  )


def open_dataset(name, data_dir=None):
  """Builder of a tfds data set of maps, prepared if need be.

  Args:
    name: folder where it was prepared, down to the version; or its name, such as
      "halo_kappa" (simulated now, if it is not there) or "kappatng_cosmos/convergence"
      (see `datasets/kappatng_cosmos/README.md` for what it needs).
    data_dir: None, or the folder of all tfds data sets.

  Returns:
    A `tfds.core.DatasetBuilder`.

  Raises:
    ValueError: if there is neither such a folder nor such a data set.
  """
  import tensorflow_datasets as tfds  # pylint: disable=g-import-not-at-top
  import tfp_massmap.datasets  # pylint: disable=g-import-not-at-top

  if (pathlib.Path(name).expanduser() / "dataset_info.json").is_file():
    return tfds.builder_from_directory(str(pathlib.Path(name).expanduser()))
  if str(name).split("/")[0] not in tfp_massmap.datasets.__all__:
    raise ValueError(
        f"{name} is neither a prepared data set (no dataset_info.json in it) nor one of"
        f" {tfp_massmap.datasets.__all__}, as NAME or NAME/CONFIGURATION."
    )
  builder = tfds.builder(str(name), data_dir=data_dir)
  builder.download_and_prepare()
  return builder


def read_maps(builder):
  """Maps of a prepared tfds data set.

  Args:
    builder: see `open_dataset`.

  Returns:
    `(maps, pixel_scale, metadata)`: dict of split to float32 `[n, ny, nx]`, the pixel
    side as an angle, and what the data set says of itself, with its full name as
    `dataset` and the sizes of its splits as `splits`.

  Raises:
    ValueError: if it has no maps `kappa`, no splits train and validation, or does not
      know its pixel scale.
  """
  import tensorflow_datasets as tfds  # pylint: disable=g-import-not-at-top

  metadata = dict(builder.info.metadata or {})
  missing = {"train", "validation"} - set(builder.info.splits)
  if missing:
    raise ValueError(
        f"{builder.data_dir} has no split {' and '.join(sorted(missing))}; it has"
        f" {sorted(builder.info.splits)}."
    )
  if "kappa" not in builder.info.features or "pixel_scale_arcmin" not in metadata:
    raise ValueError(
        f"{builder.data_dir} has no maps `kappa` with a pixel scale; prepare halo_kappa"
        " or kappatng_cosmos/convergence."
    )
  maps = {
      split: np.stack(
          [e["kappa"] for e in tfds.as_numpy(builder.as_dataset(split=split))]
      )
      for split in ("train", "validation")
  }
  metadata["dataset"] = builder.info.full_name
  metadata["splits"] = {split: len(kappa) for split, kappa in maps.items()}
  return maps, metadata["pixel_scale_arcmin"] * u.arcmin, metadata


def choose_strategy():
  """The `tf.distribute` strategy of this machine; None for one device.

  Several machines are those of the environment variable TF_CONFIG.
  """
  if "TF_CONFIG" in os.environ:
    return tf.distribute.MultiWorkerMirroredStrategy()
  if len(tf.config.list_physical_devices("GPU")) > 1:
    return tf.distribute.MirroredStrategy()
  return None


def train(
    maps,
    validation_maps,
    pixel_scale,
    spectrum,
    folder,
    architecture="default",
    settings=training_settings.TrainingSettings(),
    periodic=False,
    data=None,
    start=None,
    strategy=None,
    progress=True,
    start_name=None,
):
  """Trains a prior, or goes on with it, and writes it as `prior` into a folder.

  Args:
    maps, validation_maps: `[n, ny, nx]`.
    pixel_scale: angle.
    spectrum: `spectra.PowerSpectrum` of the maps.
    folder: of the prior, the checkpoints and the log.
    architecture: `nn.unet.Architecture`, or the name of a preset.
    settings: `nn.training_settings.TrainingSettings`.
    periodic: whether the maps are tori.
    data: dict that describes them, for the card; a training goes on only with data of
      the same description.
    start: `hybrid_prior.HybridPrior` whose weights a new training starts from.
    strategy: None, or a `tf.distribute` strategy, see `nn.training.Trainer`.
    progress: whether to show a progress bar.
    start_name: what `start` is called, for the card; None for the name that it ships
      with, if it does. The card has the checksum of its weights in any case.

  Returns:
    The `hybrid_prior.HybridPrior` on maps of the size of the crops. Without the linear
    response and the error scale, and with a warning, if the validation maps are too few
    for them.

  Raises:
    FloatingPointError, ValueError: as `nn.training.Trainer` and its `train`.
  """
  grid = geometry.PixelGrid((settings.crop, settings.crop), pixel_scale)
  if start is not None and start_name is None:
    start_name = _shipped_name(start)
  trainer = training.Trainer(
      spectrum, grid, architecture, settings, folder, start, strategy, data, start_name
  )
  losses = trainer.train(maps, validation_maps, periodic, progress)
  path = pathlib.Path(folder) / "prior"
  record = dict(
      trainer.origin,
      data=data or trainer.origin.get("data") or {},
      num_maps=len(maps),
      settings=trainer.record,
      num_steps=int(trainer.step.read_value()),
      validation_loss={f"{sigma:g}": loss for sigma, loss in losses.items()},
  )
  with trainer.averaged_weights():
    hybrid_prior.save(
        path, trainer.denoiser, spectrum, pixel_scale,
        settings.sigma_range, record,
        plane_weights=record["data"].get("plane_weights"), overwrite=True,
    )  # pyformat: disable
  num_pixels = np.size(_crops(validation_maps, settings.crop, _MOST_CROPS))
  if num_pixels >= error_scale.FEWEST_PIXELS:
    calibrate(path, validation_maps, settings.crop)
  else:
    _LOG.warning(
        "The prior gets no linear_response and no error_scale: the validation maps have %d"
        " pixels in crops of %d x %d, and %d are needed. Without them samples may have"
        " too much or too little power on large scales, and samplers take the network's"
        " error for a Gaussian field's, at haloes too, where it is larger. Give more"
        " validation maps, or call prior_training.calibrate(%r, maps, %d) with other maps"
        " of that kind.",
        num_pixels, settings.crop, settings.crop, error_scale.FEWEST_PIXELS, str(path),
        settings.crop,
    )  # pyformat: disable
  return hybrid_prior.HybridPrior.load(path, grid)


def _shipped_name(prior):
  """Name of the shipped prior that has these weights; None for another one."""
  checksum = prior.card.get("weights_sha256")
  for name in hybrid_prior.shipped():
    if network_file.find(name, "prior", ())[0]["weights_sha256"] == checksum:
      return name
  return None


def calibrate(path, maps, side, most=_MOST_CROPS):
  """Measures the linear response and the error scale of a prior, for its card.

  Args:
    path: of the card, the weights, or both without ending.
    maps: `[n, ny, nx]` of the prior's pixel scale; best not of its training.
    side: of the crops that are denoised, in pixels.
    most: number of crops.

  Raises:
    As `hybrid_prior.HybridPrior.load` and `nn.error_scale.measure`.
  """
  card, _ = network_file.find(path, "prior", ())
  for name in ("linear_response", "error_scale"):
    card.pop(name, None)
  network_file.rewrite_card(path, card)
  grid = geometry.PixelGrid((side, side), card["pixel_scale_arcmin"] * u.arcmin)
  crops = _crops(maps, side, most)
  prior = hybrid_prior.HybridPrior.load(path, grid)
  residual_fn = tf.function(
      lambda x, sigma: tf.square(sigma)[:, None, None] * prior.residual_score(x, sigma),
      autograph=False,
  )
  sigmas = np.geomspace(*prior.sigma_range, 12)
  response = linear_response.measure(residual_fn, crops, grid, sigmas)
  card["linear_response"] = dataclasses.asdict(response)
  network_file.rewrite_card(path, card)
  prior = hybrid_prior.HybridPrior.load(path, grid)
  card["error_scale"] = dataclasses.asdict(error_scale.measure(prior, crops))
  network_file.rewrite_card(path, card)


def _crops(maps, side, most):
  """Crops side by side, at most `most`, first one of each map."""
  size = min(np.shape(maps)[1:])
  corners = [
      (row, column)
      for row in range(0, size - side + 1, side)
      for column in range(0, size - side + 1, side)
  ]
  return [
      kappa[row : row + side, column : column + side]
      for row, column in corners
      for kappa in maps
  ][:most]
