"""Tables of the simulator: matter power, halo abundance and bias against redshift."""

from collections.abc import Callable
import dataclasses
import json
import os
import pathlib
import typing

import numpy as np
from scipy import interpolate

_SHIPPED = pathlib.Path(__file__).parents[1] / "tables" / "simulator.npz"
NAMES = ("redshift", "wavenumber", "mass", "matter_power", "mass_function", "bias")
# Stands for an abundance of 0, whose logarithm is interpolated.
LEAST_ABUNDANCE = 1e-300


@dataclasses.dataclass(frozen=True)
class CosmologyTables:
  """Matter power, halo abundance and halo bias of a cosmology.

  Attributes:
    redshift: Redshifts, increasing from 0, `[nz]`.
    wavenumber: Comoving wavenumbers in h/Mpc, increasing, `[nk]`.
    mass: Halo masses in Msun/h within 200 times the mean density, increasing, `[nm]`.
    matter_power: Nonlinear matter power in (Mpc/h)^3, positive, `[nz, nk]`.
    mass_function: Comoving dn/dlnM in (Mpc/h)^-3, not negative, `[nz, nm]`.
    bias: Linear halo bias, `[nz, nm]`.
    card: How the tables were made.

  Raises:
    ValueError: If a table has another shape or impossible values.
  """

  redshift: np.ndarray
  wavenumber: np.ndarray
  _: dataclasses.KW_ONLY
  mass: np.ndarray
  matter_power: np.ndarray
  mass_function: np.ndarray
  bias: np.ndarray
  card: dict[str, typing.Any] = dataclasses.field(default_factory=dict)

  def __post_init__(self) -> None:
    for name in NAMES:
      table = np.asarray(getattr(self, name), np.float64)
      if not np.isfinite(table).all():
        raise ValueError(f"{name} has values that are not finite.")
      object.__setattr__(self, name, table)
    for name in ("redshift", "wavenumber", "mass"):
      axis = getattr(self, name)
      if axis.ndim != 1 or axis.size < 4 or not (np.diff(axis) > 0).all():
        raise ValueError(
          f"{name} must be an increasing vector of at least four values."
        )
    for name, columns in (
      ("matter_power", self.wavenumber),
      ("mass_function", self.mass),
      ("bias", self.mass),
    ):
      expected = (self.redshift.size, columns.size)
      if getattr(self, name).shape != expected:
        raise ValueError(
          f"{name} must have the shape {expected} of its axes; got"
          f" {getattr(self, name).shape}."
        )
    if not (self.matter_power > 0).all() or (self.mass_function < 0).any():
      raise ValueError("matter_power must be positive and mass_function not negative.")

  @classmethod
  def load(cls, path: str | os.PathLike | None = None) -> typing.Self:
    """Reads tables as written by `tables/build_simulator.py`.

    Args:
      path: An `.npz` file; None for the tables that ship with the package, of the
        cosmology of kappaTNG.

    Raises:
      ValueError: If a table is missing, or the file holds pickled objects.
    """
    path = _SHIPPED if path is None else path
    with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
      missing = [name for name in (*NAMES, "card") if name not in file]
      if missing:
        raise ValueError(f"{path} lacks the tables {missing}; it has {sorted(file)}.")
      tables = {name: file[name] for name in NAMES}
      return cls(**tables, card=json.loads(str(file["card"])))

  def power_at(self, redshift: float) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the matter power at one redshift.

    Args:
      redshift: Redshift within the tables.

    Returns:
      Function of wavenumbers in h/Mpc that returns (Mpc/h)^3. Beyond the ends of the
      table it is a power law.

    Raises:
      ValueError: If the redshift lies outside the tables.
    """
    spline = interpolate.make_interp_spline(
      np.log(self.wavenumber), self._row(np.log(self.matter_power), redshift), k=1
    )
    return lambda wavenumber: np.exp(spline(np.log(wavenumber)))

  def abundance_at(self, redshift: float) -> np.ndarray:
    """Returns dn/dlnM in (Mpc/h)^-3 at one redshift, `[nm]`.

    Args:
      redshift: Redshift within the tables.

    Raises:
      ValueError: If the redshift lies outside the tables.
    """
    positive = np.maximum(self.mass_function, LEAST_ABUNDANCE)
    return np.exp(self._row(np.log(positive), redshift))

  def bias_at(self, redshift: float) -> np.ndarray:
    """Returns the halo bias at one redshift, `[nm]`.

    Args:
      redshift: Redshift within the tables.

    Raises:
      ValueError: If the redshift lies outside the tables.
    """
    return self._row(self.bias, redshift)

  def _row(self, table, redshift):
    if not self.redshift[0] <= redshift <= self.redshift[-1]:
      raise ValueError(
        f"The tables hold redshifts {self.redshift[0]} to {self.redshift[-1]}; got"
        f" {redshift:.4g}."
      )
    upper = np.clip(np.searchsorted(self.redshift, redshift), 1, self.redshift.size - 1)
    low, high = self.redshift[upper - 1], self.redshift[upper]
    share = (redshift - low) / (high - low)
    return (1 - share) * table[upper - 1] + share * table[upper]
