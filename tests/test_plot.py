"""Figures have the axes, limits and colour scales that they should."""

from astropy import units as u
import numpy as np
import pytest

from tfp_massmap import geometry
from tfp_massmap import plot


@pytest.fixture(name="maps", scope="module")
def _maps():
  kappa = np.random.default_rng(0).standard_normal((30, 40))
  return {"A": kappa, "B": 2 * kappa, "Standard deviation": np.abs(kappa)}


@pytest.fixture(name="mask", scope="module")
def _mask():
  mask = np.zeros((30, 40), bool)
  mask[5:25, 5:35] = True
  return mask


def test_maps_in_the_sky_have_east_to_the_left_and_one_scale(maps, mask):
  grid = geometry.PixelGrid.tangent((150.0, 2.0), (30, 40), pixel_scale=1 * u.arcmin)
  # A marker outside the map leaves its limits.
  markers = ([150.0, 170.0], [2.0, 2.0])
  figure, axes = plot.plot_maps(maps, grid, mask=mask, markers=markers, num_columns=2)
  figure.canvas.draw()
  assert [axis.get_title() for axis in axes] == list(maps)
  for axis in axes:
    assert axis.get_xlim() == (39.5, -0.5) and axis.get_ylim() == (-0.5, 29.5)
  limits = [axis.images[0].get_clim() for axis in axes]
  assert limits[0] == limits[1] != limits[2]
  assert limits[0][0] == np.percentile(maps["B"], 1)
  assert limits[2][0] == 0


def test_markers_lie_at_their_positions(maps):
  grid = geometry.PixelGrid.tangent((150.0, 2.0), (30, 40), pixel_scale=1 * u.arcmin)
  row, column = 7.0, 31.0
  ra, dec = (float(x) for x in grid.pixel_to_world(row, column))
  figure, axes = plot.plot_maps(maps, grid, markers=([ra], [dec]))
  figure.canvas.draw()
  points = axes[0].collections[-1]
  drawn = points.get_offset_transform().transform(points.get_offsets())[0]
  expected = axes[0].transData.transform((column, row))
  np.testing.assert_allclose(drawn, expected, atol=0.01)


def test_maps_without_a_wcs_are_in_arcmin(maps, mask):
  flat = geometry.PixelGrid((30, 40), 2 * u.arcmin)
  _, axes = plot.plot_maps(maps, flat, mask=mask, title="Mock")
  assert axes[0].get_xlim() == (0, 80) and axes[0].get_ylim() == (0, 60)
  assert axes[0].get_xlabel() == "x [arcmin]"
  with pytest.raises(ValueError, match="no WCS"):
    plot.plot_maps(maps, flat, markers=([1], [1]))
