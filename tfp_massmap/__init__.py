"""Posterior samples of weak-lensing convergence maps, with TensorFlow Probability.

Data flow: catalogue -> `ShearMap` -> likelihood; power spectrum -> prior; both ->
posterior score -> score-only kernels -> samples -> summary, FITS, figures.

Sub-modules load on first use, so that `import tfp_massmap` stays light.
"""

import importlib

__version__ = "0.1.0"

_SUBMODULES = (
  "baselines",
  "calibration",
  "catalog",
  "datasets",
  "detection",
  "devices",
  "gaussian_posterior",
  "geometry",
  "io",
  "lensing",
  "likelihood",
  "map_statistics",
  "mcmc",
  "nn",
  "plot",
  "posterior",
  "power_estimation",
  "priors",
  "reconstruction",
  "resumable",
  "samplers",
  "shear_map",
  "sign_check",
  "simulate",
  "spectra",
  "summary",
  "wavelets",
)

__all__ = ["__version__", *_SUBMODULES]


def __getattr__(name):
  if name in _SUBMODULES:
    return importlib.import_module(f"{__name__}.{name}")
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
  return sorted(__all__)
