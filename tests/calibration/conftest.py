"""A conjugate Gaussian model on small maps, for which calibration is known."""

import types

from astropy import units as u
import numpy as np
import pytest
from scipy import stats

from tfp_massmap import calibration
from tfp_massmap import geometry

GRID = geometry.PixelGrid((32, 32), 0.29 * u.arcmin)
SETTINGS = calibration.Settings(num_bands=4, patch=8, mask_distances=(1.0,))
NUM_TRUTHS, NUM_SAMPLES = 40, 12
MASK = np.ones(GRID.shape, bool)
MASK[:8, :12] = False
TRANSFER = 1 / (1 + (GRID.multipoles() / 5000) ** 2)
TRANSFER /= np.sqrt(
  np.sum(TRANSFER**2 * geometry.half_plane_multiplicity(GRID.shape)) / MASK.size
)


def _field(rng, *shape):
  """Returns maps of correlated pixels of unit variance."""
  white = rng.standard_normal([*shape, *GRID.shape])
  return np.fft.irfft2(np.fft.rfft2(white) * TRANSFER, s=GRID.shape)


def _records(scale=1.0, shift=0.0, num_truths=NUM_TRUTHS):
  """Returns records of truths and samples that are a common mean plus a field each.

  Samples are too wide by `scale` and too high by `shift`.
  """
  records = []
  for index in range(num_truths):
    rng = np.random.default_rng([7, index])
    mean = 2 * _field(rng)
    truth = mean + _field(rng)
    samples = mean + scale * _field(rng, NUM_SAMPLES) + shift
    records.append(
      calibration.measure(
        samples, truth, grid=GRID, mask=MASK, settings=SETTINGS, seed=index
      )
    )
  return records


def _expected_ranks(scale, shift, num):
  """Returns the probability of ranks 0 ... num, by quadrature over the truth.

  The truth has a unit normal distribution, the samples another width and mean.
  """
  x = np.linspace(-9, 9, 20001)
  below = stats.norm.cdf((x - shift) / scale)
  weight = stats.norm.pdf(x) * (x[1] - x[0])
  return np.array([stats.binom.pmf(k, num, below) @ weight for k in range(num + 1)])


@pytest.fixture(scope="session")
def toy():
  """The grid, mask and settings of the model, and functions that draw from it."""
  return types.SimpleNamespace(
    grid=GRID,
    mask=MASK,
    settings=SETTINGS,
    num_truths=NUM_TRUTHS,
    num_samples=NUM_SAMPLES,
    field=_field,
    records=_records,
    expected_ranks=_expected_ranks,
  )


@pytest.fixture(scope="session")
def calibrated():
  """Records of 40 truths with 12 calibrated samples each."""
  return _records()
