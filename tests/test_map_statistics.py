"""Statistics of maps on fields whose statistics are known."""

from astropy import units as u
import numpy as np

from tfp_massmap import geometry
from tfp_massmap import map_statistics

GRID = geometry.PixelGrid((64, 64), 0.5 * u.arcmin)
RNG = np.random.default_rng(1)


def test_moments_of_gamma_variables():
  """They have skewness 2 / sqrt(k) and excess kurtosis 6 / k; 5 standard errors."""
  values = RNG.gamma(4.0, size=[100, 64, 64])
  skewness = map_statistics.skewness(values)
  kurtosis = map_statistics.kurtosis(values)
  assert skewness.shape == (100,)
  assert abs(skewness.mean() - 1) < 5 * skewness.std() / 10 + 0.005
  assert abs(kurtosis.mean() - 1.5) < 5 * kurtosis.std() / 10 + 0.02


def test_smoothing_a_wave():
  """A Gaussian of standard deviation s damps frequency k by exp(-k^2 s^2 / 2)."""
  wave = np.cos(2 * np.pi * np.arange(64) / 16)[None, :] * np.ones([64, 1])
  smooth = map_statistics.smooth(wave, GRID, scale=1 * u.arcmin)
  damping = np.exp(-((2 * np.pi / 16 * 2) ** 2) / 2)
  np.testing.assert_allclose(smooth[:, 20:44], damping * wave[:, 20:44], atol=2e-3)
  np.testing.assert_array_equal(
    map_statistics.smooth(wave, GRID, scale=0 * u.arcmin), wave
  )


def test_peaks_are_counted_by_height():
  kappa = np.zeros([2, 64, 64])
  # Slopes have one peak, their top.
  kappa -= np.hypot(*np.mgrid[-32:32, -32:32])
  for row, column, height in ((10, 10, 0.5), (20, 30, 1.5), (40, 41, 1.7)):
    kappa[0, row, column] = height
  # Peaks at the edge do not count.
  kappa[0, 0, 5] = 1.2
  counts = map_statistics.peak_counts(kappa, [0.2, 1.0, 2.0])
  np.testing.assert_array_equal(counts, [[1, 2], [0, 0]])


def test_l1_norm_of_white_noise_falls_with_scale():
  """In unit white noise, scale 1 has standard deviation 0.891; mean |w| is 0.798 of
  it."""
  noise = RNG.standard_normal([8, 64, 64])
  norm = map_statistics.starlet_l1_norm(noise, 3)
  assert norm.shape == (8, 3)
  expected = np.sqrt(2 / np.pi) * np.array([0.8908, 0.2007, 0.0856])
  np.testing.assert_allclose(norm.mean(axis=0), expected, rtol=0.03)
