"""Distances of the cosmology against astropy."""

from astropy import units as u
import numpy as np
import pytest

from tfp_massmap.simulate import cosmology


def test_distances_against_astropy():
  redshifts = np.array([0.01, 0.5, 2.568, 9.0])
  expected = cosmology.BACKGROUND.comoving_distance(redshifts).to_value(u.Mpc)
  distances = cosmology.comoving_distance(redshifts)
  np.testing.assert_allclose(distances, expected * cosmology.HUBBLE, rtol=1e-9)
  np.testing.assert_allclose(cosmology.redshift_at(distances), redshifts, rtol=1e-9)


def test_redshift_outside_the_table():
  with pytest.raises(ValueError, match="between 0 and 12"):
    cosmology.comoving_distance(13.0)
