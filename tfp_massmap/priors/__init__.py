"""Priors of the convergence map: a Gaussian field, alone or with a trained residual.

Names load on first use: a Gaussian prior needs no Keras.
"""

import importlib
import typing

if typing.TYPE_CHECKING:
  from tfp_massmap.priors.gaussian import GaussianPrior
  from tfp_massmap.priors.hybrid import HybridPrior
  from tfp_massmap.priors.hybrid import shipped
  from tfp_massmap.priors.interface import Prior
  from tfp_massmap.priors.interface import SamplerConstants

_HOMES = {
  "GaussianPrior": "gaussian",
  "HybridPrior": "hybrid",
  "Prior": "interface",
  "SamplerConstants": "interface",
  "shipped": "hybrid",
}

__all__ = ["GaussianPrior", "HybridPrior", "Prior", "SamplerConstants", "shipped"]


def __getattr__(name):
  if name in _HOMES:
    module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    return getattr(module, name)
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
  return __all__
