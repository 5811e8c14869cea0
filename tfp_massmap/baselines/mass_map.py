"""`MassMap`, the result of every reference method, and the checks that they share."""

import dataclasses
import typing

import numpy as np

from tfp_massmap import geometry
from tfp_massmap import priors
from tfp_massmap import shear_map as shear_map_lib


@dataclasses.dataclass(frozen=True)
class MassMap:
  """A point estimate of the convergence.

  Attributes:
    kappa: Convergence, `[ny, nx]`.
    grid: Grid of the map.
    method: Name of the method.
    settings: Settings of the method and figures of its run, for headers of products.
  """

  kappa: np.ndarray
  grid: geometry.PixelGrid
  _: dataclasses.KW_ONLY
  method: str
  settings: dict[str, typing.Any]


def check_shear_map(shear_map: shear_map_lib.ShearMap, method: str) -> None:
  """Refuses data without a noise map.

  Args:
    shear_map: Argument to be checked.
    method: Name of the method, which begins the message.

  Raises:
    TypeError: If `shear_map` is not a `shear_map.ShearMap`.
  """
  if not isinstance(shear_map, shear_map_lib.ShearMap):
    raise TypeError(
      f"{method} weights pixels by their noise and needs a shear_map.ShearMap, with"
      f" noise_std and mask; got {type(shear_map).__name__}. Write"
      " ShearMap(shear, noise_std, mask=mask, grid=grid), or bin a catalogue."
    )


def check_prior(
  prior: priors.GaussianPrior, shear_map: shear_map_lib.ShearMap, *, method: str
) -> None:
  """Refuses a prior that is not diagonal in the Fourier modes of the map.

  Args:
    prior: Argument to be checked.
    shear_map: Data that the prior is to be used with.
    method: Name of the method, which begins the message.

  Raises:
    TypeError: If `prior` is not a `priors.GaussianPrior`.
    ValueError: If it is for maps of another shape, or its power is not that of a real
      periodic field, S(k) = S(-k).
  """
  advice = "GaussianPrior.from_spectrum(spectrum, shear_map.grid) makes one."
  if not isinstance(prior, priors.GaussianPrior):
    raise TypeError(
      f"{method} needs a priors.GaussianPrior, a variance for each mode of the"
      f" periodic map; got {type(prior).__name__}. {advice}"
    )
  if prior.shape != shear_map.grid.shape:
    raise ValueError(
      f"The prior is for periodic maps of shape {prior.shape}, the shear map has"
      f" {shear_map.grid.shape}. {advice}"
    )
  variance = prior.mode_variance.numpy()
  own_conjugates = variance[:, :: max(1, variance.shape[1] - 1)]
  if shear_map.grid.shape[1] % 2:
    own_conjugates = own_conjugates[:, :1]
  mirrored = np.roll(own_conjugates[::-1], 1, axis=0)
  if not np.allclose(own_conjugates, mirrored, rtol=1e-3):
    raise ValueError(
      "The prior's mode_variance is not that of a real periodic field: S(k) and S(-k)"
      f" differ in the column of zero frequency. {advice}"
    )
