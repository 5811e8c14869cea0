"""Simulated convergence maps, mock surveys and mock shear observations.

Names load on first use: the simulator needs NumPy and SciPy only, while the mock
observations need TensorFlow.
"""

import importlib
import typing

if typing.TYPE_CHECKING:
  from tfp_massmap.simulate.cluster import nfw_cluster
  from tfp_massmap.simulate.convergence import MODES
  from tfp_massmap.simulate.convergence import ConvergenceSimulator
  from tfp_massmap.simulate.observation import mock_observation
  from tfp_massmap.simulate.observation import observe_like
  from tfp_massmap.simulate.recipe import Recipe
  from tfp_massmap.simulate.survey import Survey
  from tfp_massmap.simulate.survey import cosmos_like_survey
  from tfp_massmap.simulate.survey import uniform_survey

_HOMES = {
  "ConvergenceSimulator": "convergence",
  "MODES": "convergence",
  "Recipe": "recipe",
  "Survey": "survey",
  "cosmos_like_survey": "survey",
  "mock_observation": "observation",
  "nfw_cluster": "cluster",
  "observe_like": "observation",
  "uniform_survey": "survey",
}

__all__ = [
  "MODES",
  "ConvergenceSimulator",
  "Recipe",
  "Survey",
  "cosmos_like_survey",
  "mock_observation",
  "nfw_cluster",
  "observe_like",
  "uniform_survey",
]


def __getattr__(name: str) -> typing.Any:
  if name in _HOMES:
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
  return __all__
