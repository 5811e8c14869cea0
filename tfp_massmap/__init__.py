"""Posterior samples of weak-lensing convergence maps, with TensorFlow Probability.

A catalogue becomes a `ShearMap`, which makes a likelihood; a power spectrum, alone or with
a trained network, makes a prior. `Posterior` multiplies the two, `sample` draws from it,
and `reconstruct` does all of this and summarises the samples. The kernels in `mcmc` need
only a score, and nothing of lensing.

Modules and names load on first use, so that `import tfp_massmap` stays light.
"""

import importlib
import typing

if typing.TYPE_CHECKING:
  from tfp_massmap.catalog import read_catalogue
  from tfp_massmap.posterior import Posterior
  from tfp_massmap.priors import GaussianPrior
  from tfp_massmap.priors import HybridPrior
  from tfp_massmap.reconstruction import reconstruct
  from tfp_massmap.samplers import sample
  from tfp_massmap.shear_map import ShearMap

__version__ = "0.1.0"

_SUBMODULES = (
  "baselines",
  "batch_posteriors",
  "calibration",
  "catalog",
  "cosmology_inference",
  "datasets",
  "detection",
  "devices",
  "gaussian_posterior",
  "geometry",
  "io",
  "latin_hypercube",
  "lensing",
  "likelihood",
  "map_statistics",
  "mcmc",
  "nn",
  "plot",
  "posterior",
  "power_estimation",
  "prior_choice",
  "priors",
  "reconstruction",
  "resumable",
  "samplers",
  "shear_errors",
  "shear_map",
  "sign_check",
  "simulate",
  "spectra",
  "summary",
  "theory",
  "wavelets",
)

_HOMES = {
  "GaussianPrior": "priors",
  "HybridPrior": "priors",
  "Posterior": "posterior",
  "ShearMap": "shear_map",
  "read_catalogue": "catalog",
  "reconstruct": "reconstruction",
  "sample": "samplers",
}

__all__ = [
  "GaussianPrior",
  "HybridPrior",
  "Posterior",
  "ShearMap",
  "__version__",
  "read_catalogue",
  "reconstruct",
  "sample",
  *_SUBMODULES,
]


def __getattr__(name: str) -> typing.Any:
  if name in _SUBMODULES:
    return importlib.import_module(f"{__name__}.{name}")
  if name in _HOMES:
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
  return sorted(__all__)
