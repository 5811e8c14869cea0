"""Matter power spectra of flat LCDM cosmologies, from tables that ship.

`tfp_massmap/tables/build_matter_power.py` computes the tables with pyccl and camb.
"""

import dataclasses
import functools
import pathlib

import numpy as np
import numpy.typing as npt
from scipy import interpolate

from tfp_massmap.theory import cosmology as cosmology_lib

_SHIPPED = pathlib.Path(__file__).parents[1] / "tables" / "matter_power.npz"


class MatterPower:
  """Nonlinear matter power of one cosmology, halofit of Takahashi et al. (2012).

  The logarithm of the power is interpolated by cubic splines in Omega_m, ln sigma_8,
  ln(1 + z) and ln k. Convergence powers agree with those of pyccl to 0.1 %
  (`examples/benchmarks/theory.py`).

  Args:
    cosmology: `theory.Cosmology` within the tables.

  Attributes:
    cosmology: As given.

  Raises:
    ValueError: If the cosmology lies outside the tables.
  """

  def __init__(
    self, cosmology: cosmology_lib.Cosmology = cosmology_lib.KAPPATNG
  ) -> None:
    tables = _load()
    self.cosmology = cosmology
    _check_range("Omega_m", cosmology.omega_matter, tables.omega_matter)
    _check_range("sigma_8", cosmology.sigma_8, tables.sigma_8)
    log_power = tables.by_omega(cosmology.omega_matter)
    log_power = interpolate.CubicSpline(np.log(tables.sigma_8), log_power, axis=0)(
      np.log(cosmology.sigma_8)
    )
    self._log_redshift = np.log1p(tables.redshift)
    self._log_wavenumber = np.log(tables.wavenumber)
    self._spline = interpolate.RectBivariateSpline(
      self._log_redshift, self._log_wavenumber, log_power
    )

  def __call__(self, wavenumber: npt.ArrayLike, redshift: npt.ArrayLike) -> np.ndarray:
    """Returns the power in (Mpc/h)^3.

    Args:
      wavenumber: Comoving wavenumbers in h/Mpc, positive. Beyond the tables' 1e-4 and
        1e3 the power is a power law.
      redshift: Redshifts from 0 to 6, broadcast with the wavenumbers.

    Raises:
      ValueError: If a redshift lies outside the tables.
    """
    log_k, log_z = np.broadcast_arrays(np.log(wavenumber), np.log1p(redshift))
    highest = self._log_redshift[-1]
    if log_z.size and not (0 <= log_z.min() and log_z.max() <= highest + 1e-9):
      raise ValueError(
        f"The matter power is tabulated for redshifts from 0 to {np.expm1(highest):g};"
        f" got values from {np.expm1(log_z.min()):.4g} to {np.expm1(log_z.max()):.4g}."
      )
    inside = np.clip(log_k, self._log_wavenumber[0], self._log_wavenumber[-1])
    log_power = self._spline(log_z, inside, grid=False)
    if (inside != log_k).any():
      slope = self._spline(log_z, inside, dy=1, grid=False)
      log_power = log_power + slope * (log_k - inside)
    return np.exp(log_power)


class LinearPower:
  """Linear matter power at redshift 0, and its growth.

  Args:
    cosmology: `theory.Cosmology` within the tables.

  Attributes:
    wavenumber: Wavenumbers at equal ratios, h/Mpc, `[n]`.
    power: Linear power at redshift 0 in (Mpc/h)^3, of camb, `[n]`.

  Raises:
    ValueError: If the cosmology lies outside the tables.
  """

  def __init__(
    self, cosmology: cosmology_lib.Cosmology = cosmology_lib.KAPPATNG
  ) -> None:
    tables = _load()
    _check_range("Omega_m", cosmology.omega_matter, tables.omega_matter)
    omega = cosmology.omega_matter
    log_power = interpolate.CubicSpline(tables.omega_matter, tables.log_linear)(omega)
    self.wavenumber = tables.wavenumber
    self.power = np.exp(log_power) * cosmology.sigma_8**2
    growth = interpolate.CubicSpline(tables.omega_matter, tables.growth)(omega)
    self._growth = interpolate.CubicSpline(np.log1p(tables.redshift), growth)

  def growth(self, redshift: npt.ArrayLike) -> np.ndarray:
    """Returns the linear growth factor, 1 at redshift 0, of the shape of the redshift.

    Args:
      redshift: Redshifts from 0 to 6.
    """
    return self._growth(np.log1p(redshift))


@dataclasses.dataclass(frozen=True)
class _Tables:
  """The shipped tables; `log_power` is `[omega_matter, sigma_8, redshift, k]`."""

  omega_matter: np.ndarray
  sigma_8: np.ndarray
  redshift: np.ndarray
  wavenumber: np.ndarray
  log_power: np.ndarray
  log_linear: np.ndarray
  growth: np.ndarray

  def by_omega(self, omega_matter: float) -> np.ndarray:
    """Returns the logarithm of the power at one Omega_m, without its first axis."""
    return interpolate.CubicSpline(self.omega_matter, self.log_power)(omega_matter)


def ranges() -> dict[str, tuple[float, float]]:
  """Returns the least and largest `omega_matter` and `sigma_8` of the tables."""
  tables = _load()
  return {
    name: (float(axis[0]), float(axis[-1]))
    for name, axis in (
      ("omega_matter", tables.omega_matter),
      ("sigma_8", tables.sigma_8),
    )
  }


@functools.cache
def _load() -> _Tables:
  with open(_SHIPPED, "rb") as raw, np.load(raw, allow_pickle=False) as file:
    axes = {n: file[n] for n in ("omega_matter", "sigma_8", "redshift", "wavenumber")}
    power, linear, growth = (
      file[name].astype(np.float64)
      for name in ("matter_power", "linear_power", "growth")
    )
  return _Tables(
    **axes, log_power=np.log(power), log_linear=np.log(linear), growth=growth
  )


def _check_range(name: str, value: float, axis: np.ndarray) -> None:
  if not axis[0] - 1e-9 <= value <= axis[-1] + 1e-9:
    raise ValueError(
      f"The matter power is tabulated for {name} from {axis[0]:g} to {axis[-1]:g}; got"
      f" {value:g}. Give a spectrum of your own for another cosmology."
    )
