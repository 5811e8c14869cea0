"""The examples in the docstrings run as they stand."""

import contextlib
import doctest
import importlib

import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc

MODULES = {
  "mass_matrix": 2,
  "replica_exchange": 1,
  "score_hmc": 1,
  "score_langevin": 1,
  "tempering": 1,
}


@pytest.mark.parametrize("name, at_least", MODULES.items())
def test_examples_in_docstrings(name, at_least):
  module = importlib.import_module(f"tfp_massmap.mcmc.{name}")
  names = {key: getattr(mcmc, key) for key in mcmc.__all__}
  # TFP warns, rightly, that the target of cooling chains is not one distribution.
  warns = pytest.warns(UserWarning) if name == "tempering" else contextlib.nullcontext()
  with warns:
    failed, attempted = doctest.testmod(
      module, extraglobs={"tf": tf, "tfp": tfp, "tfd": tfp.distributions, **names}
    )
  assert failed == 0 and attempted >= at_least
