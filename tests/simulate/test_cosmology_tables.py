"""Tables of the cosmology: round trip, impossible ones, no code in files."""

import json
import pickle

import numpy as np
import pytest

from tfp_massmap.simulate import cosmology_tables

TABLES = cosmology_tables.CosmologyTables.load()


def test_tables_round_trip_and_bad_tables(tmp_path):
  tables = {n: getattr(TABLES, n) for n in cosmology_tables.NAMES}
  path = tmp_path / "tables.npz"
  np.savez(path, card=json.dumps(TABLES.card), **tables)
  loaded = cosmology_tables.CosmologyTables.load(path)
  np.testing.assert_array_equal(loaded.bias, TABLES.bias)
  np.savez(path, card="{}", **{n: t for n, t in tables.items() if n != "bias"})
  with pytest.raises(ValueError, match="bias"):
    cosmology_tables.CosmologyTables.load(path)
  with pytest.raises(ValueError, match="shape"):
    cosmology_tables.CosmologyTables(**{**tables, "bias": tables["bias"].T})
  with pytest.raises(ValueError, match="positive"):
    cosmology_tables.CosmologyTables(
      **{**tables, "matter_power": -tables["matter_power"]}
    )
  with pytest.raises(ValueError, match="redshift"):
    TABLES.power_at(5.0)


def test_tables_hold_no_code(tmp_path):
  path = tmp_path / "tables.npz"
  np.savez(
    path,
    **{n: getattr(TABLES, n) for n in cosmology_tables.NAMES},
    card=np.array([{}], dtype=object),
  )
  with pytest.raises(ValueError, match=r"[Pp]ickle"):
    cosmology_tables.CosmologyTables.load(path)
  # Processes get the simulator, and with it the tables, as a pickle.
  assert pickle.dumps(TABLES)
