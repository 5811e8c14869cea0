"""Fourier components are complete and independent; gaps are told from holes."""

from astropy import units as u
import numpy as np

from tfp_massmap import geometry
from tfp_massmap import spectra
from tfp_massmap.calibration import fourier_modes


def test_fourier_components_are_all_and_each_once():
  rng = np.random.default_rng(5)
  for shape in ((16, 16), (15, 16), (16, 15), (15, 15)):
    grid = geometry.PixelGrid(shape, 1 * u.arcmin)
    maps = rng.standard_normal([400, *shape])
    edges = spectra.band_edges(grid, 3)
    values, bands, power = fourier_modes.modes(
      maps, np.ones(shape, bool), grid=grid, edges=edges
    )
    assert values.shape[1] == np.prod(shape)  # as many as pixels, with k = 0
    assert (bands < 0).sum() == 1
    correlation = np.corrcoef(values.T) - np.eye(values.shape[1])
    assert abs(correlation).max() < 6 / np.sqrt(400)
    other = spectra.band_power(maps, grid, edges=edges)
    np.testing.assert_allclose(power.mean(axis=0), other.mean(axis=0), rtol=0.1)


def test_gaps_are_gaps_and_sparse_pixels_are_not():
  mask = np.ones([40, 40], bool)
  mask[0:4, 0:4] = False
  mask[20, 20] = False
  distance = fourier_modes.gap_distance(mask, 0.5)
  assert distance[0, 4] == 0.5 and distance[0, 39] == 0.5  # maps are periodic
  assert distance[20, 21] > 5
  assert np.isinf(fourier_modes.gap_distance(np.ones([9, 9], bool))).all()
