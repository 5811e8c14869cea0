"""Matches of known objects, and the number expected by chance."""

from astropy import units as u
import numpy as np
import pytest
from scipy import stats

from tfp_massmap import detection


def test_matches_and_chance(field):
  region = np.zeros(field.grid.shape, bool)
  region[8:88, 8:72] = True
  structures = np.array([[20, 20, 70], [20, 60, 40]])
  radius = 1.45 * u.arcmin  # 5 pixels
  objects = np.array([[22, 70, 50, 2, np.nan], [23, 44.5, 50, 2, 9]])
  result = detection.match_positions(
    structures, objects, region=region, grid=field.grid, radius=radius
  )
  assert result.matched.tolist() == [True, True, False, False, False]
  assert (result.num_inside, result.num_matched) == (3, 2)
  np.testing.assert_allclose(result.separation[:2], 0.29 * np.hypot([2, 0], [3, 4.5]))
  # Three discs of 5 pixels in 80 x 64; the number matched is binomial.
  share = 3 * np.pi * 25 / (80 * 64)
  assert result.expected == pytest.approx(3 * share, rel=0.1)
  assert result.p_value == pytest.approx(stats.binom.sf(1, 3, share), rel=0.25)
  shifted = detection.match_positions(
    structures, objects, region=region, grid=field.grid, radius=radius, null="shifted"
  )
  assert shifted.expected == pytest.approx(3 * share, rel=0.1)
  none = detection.match_positions(
    np.empty([2, 0]),
    objects,
    region=region,
    grid=field.grid,
    radius=radius,
    num_random=100,
  )
  assert none.num_matched == 0 and none.p_value == 1


def test_shifts_keep_the_clustering_of_objects(field):
  """Ten objects in one place match together or not at all: their number varies more."""
  region = np.ones(field.grid.shape, bool)
  objects = np.full([2, 10], 40.0)
  structures = np.array([[30.0, 70.0], [20.0, 60.0]])
  uniform, shifted = (
    detection.match_positions(
      structures, objects, region=region, grid=field.grid, null=null, num_random=2000
    )
    for null in ("uniform", "shifted")
  )
  assert shifted.expected == pytest.approx(uniform.expected, rel=0.15)
  assert shifted.expected_std > 2.5 * uniform.expected_std


def test_impossible_matches(field):
  region = np.ones(field.grid.shape, bool)
  with pytest.raises(ValueError, match="null"):
    detection.match_positions(
      ([1], [1]), ([1], [1]), region=region, grid=field.grid, null="none"
    )
  with pytest.raises(ValueError, match="None of the 1 objects"):
    detection.match_positions(([1], [1]), ([200], [1]), region=region, grid=field.grid)
  with pytest.raises(ValueError, match="region must have the shape"):
    detection.match_positions(
      ([1], [1]), ([1], [1]), region=region[1:], grid=field.grid
    )
  for wrong in (dict(radius=-1 * u.arcmin), dict(num_random=0)):
    with pytest.raises(ValueError, match="radius and num_random must be positive"):
      detection.match_positions(
        ([1], [1]), ([1], [1]), region=region, grid=field.grid, **wrong
      )


def test_one_object_may_be_numbers(field):
  region = np.ones(field.grid.shape, bool)
  found = detection.match_positions(
    (9, 9), (10.0, 9.0), region=region, grid=field.grid, num_random=5
  )
  assert found.num_matched == 1


def test_shifts_that_never_keep_half_of_the_objects_are_refused(field):
  """Two pixels in opposite corners: a shift hits one of them once in 3,840 draws."""
  region = np.zeros(field.grid.shape, bool)
  region[0, 0] = region[-1, -1] = True
  with pytest.raises(ValueError, match="None of 10000 shifts left half of the 1 obj"):
    detection.match_positions(
      ([1], [1]), ([0], [0]), region=region, grid=field.grid, null="shifted"
    )
