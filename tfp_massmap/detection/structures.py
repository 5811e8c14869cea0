"""Catalogue of structures with their posterior probabilities."""

import logging

from astropy import units as u
from astropy.table import Table
import numpy as np
from scipy import ndimage

from tfp_massmap import geometry
from tfp_massmap.detection import aperture
from tfp_massmap.detection import criterion

_LOG = logging.getLogger(__name__)

# With 32 samples aperture masses are a tenth too high.
_FEW_SAMPLES = 32

_DESCRIPTIONS = {
  "row": "row of the peak, from 0",
  "column": "column of the peak, from 0",
  "probability": "share of samples with the aperture mass above the threshold nearby",
  "probability_low": "lower end of the 68 % Clopper-Pearson interval of the share",
  "probability_high": "upper end of it",
  "aperture_mass": "posterior mean of the aperture mass at the peak",
  "aperture_mass_low": "lower end of its central interval",
  "aperture_mass_high": "upper end of it",
  "signal_to_noise": "aperture_mass over the background's standard deviation",
  "coverage": "measured share of the pixels in the aperture",
}


def peak_probabilities(
  samples,
  grid,
  *,
  mask=None,
  scale=aperture.DEFAULT_SCALE,
  threshold=criterion.DEFAULT_THRESHOLD,
  background_std=None,
  radius=criterion.DEFAULT_RADIUS,
  min_probability=0.1,
  min_coverage=0.5,
  confidence=0.6827,
):
  """Structures of a posterior, the most probable first.

  Places are the peaks of the posterior mean's aperture mass; a lower peak within
  `radius` of a higher one is not listed. A structure's probability is the share of
  samples whose aperture mass exceeds the threshold within `radius` of the place; its
  signal is that at the place itself, in every sample.

  The samples that choose the places measure them too: with few samples signals and
  probabilities of listed structures are too high. On the COSMOS field, aperture masses
  by a third and probabilities by a factor of two with 8 samples, by a sixth and .07 with
  16; on a mock, aperture masses by a tenth with 32, and by .5 % with 64.

  Args:
    samples: posterior samples `[num_samples, ny, nx]`; may lie on disk, and are read
      three times, some at a time.
    grid: `geometry.PixelGrid`.
    mask: bool `[ny, nx]`, the measured pixels; None for all.
    scale: of the filter; the aperture is 2^scale pixels.
    threshold: in standard deviations of the background, positive.
    background_std: that of the aperture mass of a field without the structures; None
      for that of the samples in the mask, all pixels and samples together.
    radius: of the search around a place, an angle.
    min_probability: structures below it are not listed.
    min_coverage: share of measured pixels in the aperture that a place must have.
    confidence: of the interval of the signal.

  Returns:
    An `astropy.table.Table`: `ra` and `dec` if the grid has a WCS, `row`, `column`,
    and the columns described in it. `meta` holds the settings.

  Raises:
    ValueError: for samples or a mask of another shape, values that are not finite, an
      empty mask, or numbers out of their range.
  """
  if np.ndim(samples) != 3 or np.shape(samples)[1:] != grid.shape or not len(samples):
    raise ValueError(
      f"samples must be [num_samples, {grid.shape[0]}, {grid.shape[1]}] as the grid;"
      f" got {np.shape(samples)}."
    )
  for name, value in dict(
    min_probability=min_probability, min_coverage=min_coverage, confidence=confidence
  ).items():
    if not 0 <= value <= 1:
      raise ValueError(f"{name} must lie between 0 and 1; got {value}.")
  mask = geometry.checked_mask(mask, grid.shape)
  if len(samples) < _FEW_SAMPLES:
    _LOG.warning(
      "%d samples choose the structures and measure them: aperture masses and"
      " probabilities are too high. From %d samples on that is little.",
      len(samples),
      _FEW_SAMPLES,
    )
  mean, std = _moments(samples, scale, mask)
  background_std = std if background_std is None else float(background_std)
  for name, value in dict(threshold=threshold, background_std=background_std).items():
    if not 0 < value < np.inf:
      raise ValueError(f"{name} must be positive; got {value}.")
  reach = (radius / grid.pixel_scale).to_value(u.one)
  disc = _disc(reach)
  above = np.zeros(grid.shape, int)
  for block in aperture.blocks(samples, scale):
    highest = ndimage.maximum_filter(block, footprint=disc[np.newaxis], mode="nearest")
    above += np.sum(highest > threshold * background_std, axis=0)
  coverage = _coverage(mask, scale)
  rows, columns = _separate_peaks(mean, coverage >= min_coverage, reach)
  likely = above[rows, columns] >= min_probability * len(samples)
  rows, columns = rows[likely], columns[likely]
  signals = np.concatenate(
    [block[:, rows, columns] for block in aperture.blocks(samples, scale)]
  )
  table = _table(grid, rows, columns, above[rows, columns], signals, confidence)
  table["signal_to_noise"] = table["aperture_mass"] / background_std
  table["coverage"] = coverage[rows, columns]
  for name, text in _DESCRIPTIONS.items():
    table[name].description = text
  table.meta.update(
    num_samples=len(samples),
    scale=int(scale),
    aperture_arcmin=float(2**scale * grid.pixel_scale.to_value(u.arcmin)),
    threshold=float(threshold),
    background_std=background_std,
    radius_arcmin=float(radius.to_value(u.arcmin)),
    confidence=float(confidence),
    min_probability=float(min_probability),
    min_coverage=float(min_coverage),
  )  # pyformat: disable
  order = np.lexsort((-table["signal_to_noise"], -table["probability"]))
  return table[order]


def covered(mask, scale=aperture.DEFAULT_SCALE, *, min_coverage=0.5):
  """Where structures may be listed, bool `[ny, nx]`.

  Args:
    mask: bool `[ny, nx]`, the measured pixels.
    scale, min_coverage: as for `peak_probabilities`.
  """
  return _coverage(np.asarray(mask, bool), scale) >= min_coverage


def _moments(samples, scale, mask):
  """Mean map of the aperture mass, and the standard deviation of all in the mask."""
  mean, total, squares = 0.0, 0.0, 0.0
  for block in aperture.blocks(samples, scale):
    mean = mean + block.sum(axis=0) / len(samples)
    inside = block[:, mask]
    total += inside.mean(axis=1).sum() / len(samples)
    squares += np.mean(inside**2, axis=1).sum() / len(samples)
  return mean, float(np.sqrt(squares - total**2))


def _disc(reach):
  size = int(np.floor(reach))
  offsets = np.arange(-size, size + 1)
  return np.hypot(offsets[:, np.newaxis], offsets) <= reach


def _coverage(mask, scale):
  """Share of the pixels within 2^scale that are measured; outside the map none are."""
  disc = _disc(2**scale).astype(float)
  return ndimage.convolve(mask.astype(float), disc, mode="constant") / disc.sum()


def _separate_peaks(mean, allowed, reach):
  """Local maxima, the highest first, none within `reach` of a higher one."""
  is_peak = (mean >= ndimage.maximum_filter(mean, 3)) & (mean > 0) & allowed
  places = np.argwhere(is_peak)
  places = places[np.argsort(-mean[is_peak], kind="stable")]
  kept = np.empty([0, 2], int)
  for place in places:
    if np.all(np.hypot(*(kept - place).T) > reach):
      kept = np.vstack([kept, place])
  return kept.T


def _table(grid, rows, columns, above, signals, confidence):
  num = len(signals)
  low, high = criterion.binomial_interval(above, num, method="clopper-pearson")
  tail = (1 - confidence) / 2
  signal_low, signal_high = np.quantile(signals, [tail, 1 - tail], axis=0)
  table = Table()
  if grid.wcs is not None:
    table["ra"], table["dec"] = grid.pixel_to_world(rows, columns)
    for name in ("ra", "dec"):
      table[name].unit = u.deg
      table[name].description = "position of the peak, J2000"
  table["row"], table["column"] = rows, columns
  table["probability"] = above / num
  table["probability_low"], table["probability_high"] = low, high
  table["aperture_mass"] = signals.mean(axis=0)
  table["aperture_mass_low"], table["aperture_mass_high"] = signal_low, signal_high
  return table
