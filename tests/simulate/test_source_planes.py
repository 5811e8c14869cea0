"""Source planes of kappaTNG, and the weights that combine them to an n(z)."""

from astropy import units as u
from astropy.cosmology import FlatLambdaCDM
from astropy.cosmology import z_at_value
import numpy as np
import pytest

from tfp_massmap.simulate import source_planes
from tfp_massmap.theory import source_redshifts


def test_published_weights_follow_from_the_catalogue_histogram(cosmos_data):
  redshifts = np.load(cosmos_data / "hist_z.npy")
  counts = np.floor(np.load(cosmos_data / "hist_n_z.npy"))
  weights = source_planes.weights_from_redshifts(redshifts, counts)
  np.testing.assert_allclose(weights, source_planes.COSMOS_WEIGHTS, atol=1e-5)


def test_planes_lie_where_the_suite_puts_them():
  redshifts = source_planes.source_redshifts()
  np.testing.assert_allclose(redshifts[[0, -1]], [0.034467, 2.568175], atol=1e-6)
  universe = FlatLambdaCDM(H0=100, Om0=0.3089)  # A Mpc is a Mpc/h.
  expected = z_at_value(universe.comoving_distance, 102.5 * 7 * u.Mpc)
  np.testing.assert_allclose(redshifts[6], expected, rtol=1e-6)
  edges = source_planes.redshift_edges()
  assert edges.shape == (42,) and edges[-2] == 2.635 and edges[-1] == 5


def test_a_galaxy_counts_for_the_plane_of_its_slab():
  at_a_plane = source_planes.source_redshifts()[11]
  np.testing.assert_array_equal(
    source_planes.weights_from_redshifts([at_a_plane]), np.eye(40)[11]
  )
  weights = source_planes.weights_from_redshifts([at_a_plane, 3.0])
  np.testing.assert_allclose(weights[[11, 39]], [1 / 2.2, 1.2 / 2.2])
  weights = source_planes.weights_from_redshifts([at_a_plane, 3.0], recycling=0)
  np.testing.assert_array_equal(weights, np.eye(40)[11])


def test_smooth_density_lies_near_the_published_weights():
  weights = source_planes.weights_from_density(source_redshifts.cosmos_density)
  # The fit smooths the structure of the photometric redshifts but keeps their mean.
  redshifts = source_planes.source_redshifts()
  published = np.dot(source_planes.COSMOS_WEIGHTS, redshifts)
  assert abs(np.dot(weights, redshifts) / published - 1) < 0.02


@pytest.mark.parametrize(
  "arguments, message",
  [
    (dict(redshifts=[1.0, np.nan]), "finite"),
    (dict(redshifts=[1.0], counts=[-1.0]), "negative"),
    (dict(redshifts=[1.0, 2.0], counts=[1.0]), "one length"),
    (dict(redshifts=[7.0]), "No galaxy"),
    (dict(redshifts=[1.0], recycling=-1), "recycling"),
  ],
)
def test_bad_redshifts(arguments, message):
  with pytest.raises(ValueError, match=message):
    source_planes.weights_from_redshifts(**arguments)


@pytest.mark.parametrize("weights", [np.ones(39), -np.ones(40), np.zeros(40)])
def test_bad_weights(weights):
  with pytest.raises(ValueError, match=r"[Ww]eight"):
    source_planes.check_weights(weights)


def test_planes_are_a_distribution():
  found = source_planes.sources(2 * np.eye(40)[3])
  np.testing.assert_allclose(found.redshift, source_planes.source_redshifts()[3])
  mean = source_planes.source_redshifts() @ np.array(source_planes.COSMOS_WEIGHTS)
  assert source_planes.sources().mean == pytest.approx(mean, rel=1e-5)
