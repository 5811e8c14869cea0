"""Tables and catalogues of a small field, with values that a test may change."""

from astropy.table import Table
import numpy as np
import pytest

from tfp_massmap import catalog


@pytest.fixture(scope="session")
def make_table():
  """A function of the number of rows, which returns a table of unlensed galaxies."""

  def make(num_rows=200):
    rng = np.random.default_rng(0)
    return Table(
      {
        "ra": rng.uniform(150.0, 150.2, num_rows),
        "dec": rng.uniform(2.0, 2.2, num_rows),
        "e1": rng.normal(0, 0.3, num_rows).clip(-0.6, 0.6),
        "e2": rng.normal(0, 0.3, num_rows).clip(-0.6, 0.6),
        "w": rng.uniform(0.5, 1.5, num_rows),
      }
    )

  return make


@pytest.fixture(scope="session")
def make_catalogue(make_table):
  """A function of columns to replace, which returns the catalogue of the table."""

  def make(**changes):
    table = make_table()
    for name, value in changes.items():
      table[name] = value
    return catalog.catalogue_from_table(table)

  return make
