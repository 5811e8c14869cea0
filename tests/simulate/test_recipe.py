"""Impossible recipes."""

import pytest

from tfp_massmap import simulate


def test_impossible_recipes():
  with pytest.raises(ValueError, match="shift"):
    simulate.Recipe(shift=0.0)
  with pytest.raises(ValueError, match="scatter"):
    simulate.Recipe(concentration_scatter=-0.1)
