"""Measurements that complete the card of a prior."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import priors
from tfp_massmap.priors import linear_response
from tfp_massmap.priors import measurement


def test_cards_get_response_and_error_scale(toys, tmp_path, short_chains):
  """Afterwards the residual hardly responds to the maps it was measured on."""
  path = tmp_path / "prior"
  toys.save_prior(path)
  load = lambda: priors.HybridPrior.load(path, toys.grid, compute_dtype="float32")
  before = load()
  maps = toys.make_maps(num=24)
  measurement.measure_card(path, maps, side=32)
  after = load()
  assert after.error_scale is not None and before.linear_response is None
  # Another noise on the same maps gives the typical variance again, to 5 %.
  assert before.constants.typical_variance == 1.0
  found = measurement.typical_variance(after, maps[:8, :32, :32], seed=1)
  assert after.constants.typical_variance == pytest.approx(found, rel=0.05)
  sources = after.card["constants_source"].values()
  assert all(source.startswith("measured by priors.") for source in sources)
  # Weights of chance are no score: chains are asked at the largest share alone.
  assert after.constants.last_sigma == short_chains
  largest = []
  for prior in (before, after):
    residual_fn = lambda x, sigma, p=prior: (
      tf.square(sigma)[:, None, None] * p.residual_score(x, sigma)
    )
    response = linear_response.measure(
      residual_fn, maps[:, :32, :32], grid=toys.grid, sigmas=(0.05, 0.3)
    )
    largest.append(np.abs(response.response).max())
  assert largest[1] < 0.2 * largest[0]
  with pytest.raises(ValueError, match="too few"):
    measurement.measure_card(path, maps[:2], side=32)
  assert load().error_scale is None and load().linear_response is not None


def test_each_constant_of_a_new_card_has_a_source():
  added = measurement.default_constants()
  names = {f.name for f in dataclasses.fields(priors.SamplerConstants)}
  assert set(added["constants"]) == set(added["constants_source"]) == names
  assert priors.SamplerConstants(**added["constants"]) == priors.SamplerConstants()


def test_crops_lie_side_by_side_the_first_of_each_map_first():
  maps = np.arange(2 * 36).reshape(2, 6, 6)
  crops = measurement.crops_of(maps, 3, most=5)
  assert len(crops) == 5
  np.testing.assert_array_equal(crops[1], maps[1, :3, :3])
  np.testing.assert_array_equal(crops[2], maps[0, :3, 3:])
