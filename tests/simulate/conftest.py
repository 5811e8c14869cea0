"""A lognormal field and a projected halo, shared by the tests of this folder."""

import numpy as np
import pytest
from scipy import integrate

from tfp_massmap import geometry
from tfp_massmap.simulate import shells


@pytest.fixture(scope="session")
def make_field():
  """Function of (amplitude): a lognormal field of 128 x 128 pixels, and its power."""

  def make(amplitude=40.0, shape=(128, 128)):
    k1, k2 = geometry.fourier_frequencies(shape)
    k = np.hypot(k1, k2)
    power = amplitude * np.exp(-((k / 0.6) ** 2)) * (k > 0)
    return shells.LognormalField(power, shape, shift=1.5), power

  return make


@pytest.fixture(scope="session")
def projected_nfw():
  """Function of (x, c): line-of-sight integral of 1 / (r (1 + r)^2) within r < c."""

  def project(x, c):
    if x >= c:
      return 0.0

    def density(depth):
      r = np.hypot(x, depth)
      return 1 / (r * (1 + r) ** 2)

    return integrate.quad(density, 0, np.sqrt(c**2 - x**2))[0]

  return project
