"""Corrections of a trained prior that are measured for the survey it is used on.

How much a network of many surveys adds to each scale (`priors.linear_response`), and
how its error depends on the convergence (`priors.error_scale`), differ from survey to
survey. Both are measured on a few maps that are simulated with the n(z), the cosmology
and the pixels of the survey, and kept in the cache folder of the user: that of
`TFP_MASSMAP_CACHE`, or `tfp_massmap` in `XDG_CACHE_HOME` or `~/.cache`.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import hashlib
import json
import logging
import os
import pathlib

from astropy import units as u
import numpy as np
import tensorflow as tf
import tqdm

from tfp_massmap import geometry
from tfp_massmap import io
from tfp_massmap import theory
from tfp_massmap.priors import error_scale
from tfp_massmap.priors import linear_response
from tfp_massmap.simulate import convergence

_LOG = logging.getLogger(__name__)

SIDE = 192  # Side of the crops in pixels: the smallest maps of the training.
_CROPS_A_SIDE = 2
_NUM_MAPS = 6
_NUM_SIGMAS = 12  # Two for each e-folding of sigma.
_SEED = 2**30  # No training has it.
_FORMAT = 1  # Raised when the measurement changes, so that earlier ones are not read.


@dataclasses.dataclass(frozen=True)
class Corrections:
  """Tables that are measured for a survey.

  Attributes:
    linear_response: `linear_response.LinearResponse`.
    error_scale: `error_scale.ErrorScale`.
  """

  linear_response: linear_response.LinearResponse
  error_scale: error_scale.ErrorScale


@dataclasses.dataclass(frozen=True, eq=False)
class Survey:
  """The maps that a prior is used on.

  Attributes:
    pixel_scale_arcmin: Side of a pixel in arcmin.
    sources: `theory.SourceRedshifts`.
    cosmology: `theory.Cosmology`.
  """

  pixel_scale_arcmin: float
  sources: theory.SourceRedshifts
  cosmology: theory.Cosmology

  @property
  def crop_grid(self) -> geometry.PixelGrid:
    """The grid of the crops that are denoised."""
    return geometry.PixelGrid((SIDE, SIDE), self.pixel_scale_arcmin * u.arcmin)

  def crops(self) -> Iterator[np.ndarray]:
    """Simulates maps, and yields crops of them, `[192, 192]` each."""
    side = _CROPS_A_SIDE * SIDE
    simulator = convergence.ConvergenceSimulator(
      geometry.PixelGrid((side, side), self.pixel_scale_arcmin * u.arcmin),
      self.sources,
      cosmology=self.cosmology,
      seed=_SEED,
    )
    starts = range(0, side, SIDE)
    for kappa in simulator.maps(_NUM_MAPS):
      for row in starts:
        for column in starts:
          yield kappa[row : row + SIDE, column : column + SIDE]


def get(
  residual_fn: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
  survey: Survey,
  *,
  mode_variance: np.ndarray,
  sigma_range: tuple[float, float],
  network: str,
  compute_dtype: str,
  shipped: Mapping[str, Mapping],
  progress: bool = True,
) -> Corrections:
  """Returns the corrections of a network for a survey: shipped, kept, or measured now.

  Args:
    residual_fn: What the network adds to the Wiener filter: a function of noisy crops
      `[batch, 192, 192]` and sigma `[batch]`.
    survey: `Survey`.
    mode_variance: S of the crops, `[192, 97]`.
    sigma_range: Smallest and largest sigma of the network on this survey.
    network: Checksum of the network, its conditions and its ranges.
    compute_dtype: Dtype of its convolutions.
    shipped: Corrections of some surveys that the card has, by their `key`.
    progress: Whether to show a progress bar on standard error.
  """
  name = key(survey, network)
  if name in shipped:
    return _parse(shipped[name])
  # Maps of one seed must not depend on the arithmetic of the one who measured first.
  path = cache_folder() / f"corrections-{name}-{compute_dtype}.json"
  found = _read(path)
  if found is not None:
    return found
  corrections = measure(
    residual_fn,
    survey,
    mode_variance=mode_variance,
    sigma_range=sigma_range,
    progress=progress,
  )
  text = json.dumps(dataclasses.asdict(corrections), allow_nan=False)
  _write(path, text)
  return _parse(json.loads(text))  # As from the cache, to the last bit.


def measure(
  residual_fn: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
  survey: Survey,
  *,
  mode_variance: np.ndarray,
  sigma_range: tuple[float, float],
  progress: bool = True,
) -> Corrections:
  """Measures the corrections of a network for a survey; arguments as `get`."""
  sigmas = np.geomspace(*sigma_range, _NUM_SIGMAS)
  num_crops = _NUM_MAPS * _CROPS_A_SIDE**2
  bar = tqdm.tqdm(
    total=num_crops * (1 + len(sigmas)),
    desc="Fitting the prior to the survey",
    unit="map",
    disable=not progress,
  )
  seen = []

  def watched(noisy, sigma):
    added = residual_fn(noisy, sigma)
    seen.append((np.asarray(noisy[0]), np.asarray(added[0])))
    bar.update()
    return added

  with bar:
    crops = []
    for crop in survey.crops():
      crops.append(crop)
      bar.update()
    response = linear_response.measure(
      watched, crops, grid=survey.crop_grid, sigmas=sigmas
    )
  corrected = response.on(survey.crop_grid)
  curves, errors = [], []
  for index, sigma in enumerate(sigmas):
    first = index * len(crops)
    noisy, added = map(np.stack, zip(*seen[first : first + len(crops)]))
    transfer = mode_variance / (mode_variance + sigma**2)
    transfer = transfer - np.asarray(corrected(tf.constant([sigma], tf.float64)))[0]
    linear = np.fft.irfft2(np.fft.rfft2(noisy) * transfer, s=noisy.shape[-2:])
    curves.append((linear + added, crops))
    errors.append(error_scale.wiener_error(mode_variance, sigma, shape=(SIDE, SIDE)))
  scale = error_scale.from_denoised(sigmas, curves, gaussian_errors=errors)
  return Corrections(response, scale)


def cache_folder() -> pathlib.Path:
  """Returns the folder in which corrections are kept; it need not exist."""
  own = os.environ.get("TFP_MASSMAP_CACHE")
  if own:
    return pathlib.Path(own)
  shared = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
  return pathlib.Path(shared) / "tfp_massmap"


def key(survey: Survey, network: str) -> str:
  """Returns a checksum of all that decides the corrections.

  Args:
    survey: `Survey`.
    network: Checksum of the network.
  """
  digest = hashlib.sha256(f"{_FORMAT} {io.CREATOR} {network}".encode())
  # An angle is rounded when its unit is changed.
  digest.update(f" {survey.pixel_scale_arcmin:.6g} {survey.cosmology!r} ".encode())
  for values in (survey.sources.redshift, survey.sources.weight):
    digest.update(np.ascontiguousarray(values).tobytes())
  return digest.hexdigest()[:24]


def _read(path):
  """Returns the corrections in a file; None if there is none, or it cannot be read."""
  if not path.is_file():
    return None
  try:
    return _parse(json.loads(path.read_text(encoding="utf-8")))
  except (OSError, ValueError, TypeError, KeyError) as error:
    _LOG.warning("%s cannot be read (%s); it is measured again.", path, error)
    return None


def _parse(found):
  return Corrections(
    linear_response.LinearResponse(**found["linear_response"]),
    error_scale.ErrorScale(**found["error_scale"]),
  )


def _write(path, text):
  """Keeps corrections; a folder that cannot be written costs time alone."""
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with io.atomic_path(path, overwrite=True) as partial:
      pathlib.Path(partial).write_text(text, encoding="utf-8")
  except OSError as error:
    _LOG.warning(
      "The corrections for this survey are not kept (%s), and will be measured again."
      " Set TFP_MASSMAP_CACHE to a folder that can be written.",
      error,
    )
