"""`MassMap`: one convergence estimate."""

import dataclasses

import numpy as np

from tfp_massmap import geometry


@dataclasses.dataclass(frozen=True)
class MassMap:
  """A point estimate of the convergence.

  Attributes:
    kappa: `[ny, nx]`.
    grid: `geometry.PixelGrid`.
    method: its name.
    settings: how it was made.
  """

  kappa: np.ndarray
  grid: geometry.PixelGrid
  method: str
  settings: dict
