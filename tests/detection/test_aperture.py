"""The filter against an oracle, and the signal-to-noise ratio of a cluster."""

from lenspack.image import filters
import numpy as np
import pytest
from scipy import ndimage

from tfp_massmap import detection


def test_filter_against_lenspack():
  image = ndimage.gaussian_filter(
    np.random.default_rng(0).standard_normal([129, 129]), 2.0
  )
  for scale in (3, 4):
    ours = detection.aperture_mass(image, scale)
    oracle = filters.aperture_mass(image, 2**scale, "starlet")
    inner = (slice(40, -40), slice(40, -40))
    # The starlet is a product of two splines; lenspack's filter is the same in every
    # direction.
    assert np.corrcoef(ours[inner].ravel(), oracle[inner].ravel())[0, 1] > 0.999
    assert ours[inner].std() / oracle[inner].std() == pytest.approx(1, abs=0.05)


def test_filter_is_compensated_and_linear():
  maps = np.random.default_rng(1).standard_normal([2, 64, 64])
  coefficients = detection.aperture_mass(maps, 3)
  np.testing.assert_allclose(
    detection.aperture_mass(2 * maps[0] - maps[1] + 5.0, 3),
    2 * coefficients[0] - coefficients[1],
    atol=1e-12,
  )
  point = np.zeros([64, 64])
  point[32, 32] = 1
  assert abs(detection.aperture_mass(point, 3).sum()) < 1e-12


def test_input_signal_to_noise(field):
  background = np.random.default_rng(2).standard_normal([3, *field.grid.shape])
  mask = np.zeros(field.grid.shape, bool)
  mask[20:70, 10:60] = True
  cluster = field.bump((40, 40))
  std = detection.background_std(background, mask=mask)
  assert std == np.std(detection.aperture_mass(background)[:, mask])
  expected = detection.aperture_mass(cluster).max() / std
  found = detection.input_snr(np.array([cluster, 3 * cluster]), std)
  np.testing.assert_allclose(found, [expected, 3 * expected])
