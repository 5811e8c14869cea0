"""Simulated convergence maps, mock surveys and mock shear observations.

Names load on first use: the simulator needs NumPy and SciPy only, and the mock
observations TensorFlow.
"""

import importlib

_HOMES = {
  "ConvergenceSimulator": "convergence",
  "CosmologyTables": "cosmology_tables",
  "MODES": "convergence",
  "Recipe": "convergence",
  "Survey": "survey",
  "convergence_spectrum": "spectrum",
  "cosmos_like_survey": "survey",
  "kappatng_power": "convergence_power",
  "mock_observation": "observation",
  "nfw_cluster": "cluster",
  "observe_like": "observation",
  "uniform_survey": "survey",
}

__all__ = sorted(_HOMES)


def __getattr__(name):
  if name in _HOMES:
    module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    return getattr(module, name)
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
  return __all__
