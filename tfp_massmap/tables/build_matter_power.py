"""Computes `matter_power.npz`, the matter power spectrum of flat LCDM cosmologies.

Run `python -m tfp_massmap.tables.build_matter_power`; it needs the `theory` extra (pyccl
with camb) and takes some minutes. Omega_m and sigma_8 vary, all else is as in
`theory.cosmology`. The tables are

  matter_power[m, s, z, k]   halofit (Takahashi et al. 2012) on camb's linear power,
                             (Mpc/h)^3, with k in h/Mpc;
  linear_power[m, k]         camb's linear power at redshift 0 for sigma_8 = 1;
  growth[m, z]               linear growth factor, 1 at redshift 0.
"""

import argparse
import json
import pathlib
import sys
import typing

import numpy as np

import tfp_massmap
from tfp_massmap import io
from tfp_massmap.theory import cosmology

# Logarithms of the power are smooth in all axes: cubic splines between these nodes agree
# with pyccl to 0.1 % in convergence powers (`examples/benchmarks/theory.py`). Redshifts are
# even in ln(1 + z); multipole 10 is at 0.002 h/Mpc before a source at redshift 3.
OMEGA_MATTER = np.linspace(0.15, 0.45, 7)
SIGMA_8 = np.linspace(0.5, 1.1, 7)
REDSHIFT = np.expm1(np.linspace(0, np.log(7), 21))
WAVENUMBER = np.geomspace(1e-4, 1e3, 241)  # h/Mpc


def universe(omega_matter: float, sigma_8: float) -> typing.Any:
  """Returns the `pyccl.Cosmology` of two parameters."""
  import pyccl

  return pyccl.Cosmology(
    Omega_c=omega_matter - cosmology.OMEGA_BARYON,
    Omega_b=cosmology.OMEGA_BARYON,
    h=cosmology.HUBBLE,
    n_s=cosmology.SPECTRAL_INDEX,
    sigma8=sigma_8,
    transfer_function="boltzmann_camb",
    matter_power_spectrum="halofit",
  )


def compute() -> dict[str, np.ndarray]:
  """Returns the tables by name, float64."""
  h = cosmology.HUBBLE
  scales = 1 / (1 + REDSHIFT)
  nonlinear = np.zeros([*map(len, (OMEGA_MATTER, SIGMA_8, REDSHIFT, WAVENUMBER))])
  linear = np.zeros([len(OMEGA_MATTER), len(WAVENUMBER)])
  growth = np.zeros([len(OMEGA_MATTER), len(REDSHIFT)])
  for m, omega in enumerate(OMEGA_MATTER):
    for s, sigma_8 in enumerate(SIGMA_8):
      world = universe(omega, sigma_8)
      for z, scale in enumerate(scales):
        nonlinear[m, s, z] = h**3 * world.nonlin_matter_power(WAVENUMBER * h, scale)
      print(f"Omega_m = {omega:.2f}, sigma_8 = {sigma_8:.2f}", file=sys.stderr)
    linear[m] = h**3 * world.linear_matter_power(WAVENUMBER * h, 1.0) / sigma_8**2
    growth[m] = world.growth_factor(scales)
  return dict(
    omega_matter=OMEGA_MATTER,
    sigma_8=SIGMA_8,
    redshift=REDSHIFT,
    wavenumber=WAVENUMBER,
    matter_power=nonlinear,
    linear_power=linear,
    growth=growth,
  )


def main() -> None:
  """Writes the tables."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
  parser.add_argument(
    "--output", default=str(pathlib.Path(__file__).with_name("matter_power.npz"))
  )
  parser.add_argument("--overwrite", action="store_true")
  arguments = parser.parse_args()
  io.check_writable(arguments.output, arguments.overwrite)
  import pyccl

  tables: dict[str, typing.Any] = {
    # Axes stay exact, so that a node is found at its own value.
    name: table if table.ndim == 1 else table.astype(np.float32)
    for name, table in compute().items()
  }
  card = dict(
    command="python -m tfp_massmap.tables.build_matter_power",
    tfp_massmap=tfp_massmap.__version__,
    pyccl=pyccl.__version__,
    hubble=cosmology.HUBBLE,
    omega_baryon=cosmology.OMEGA_BARYON,
    spectral_index=cosmology.SPECTRAL_INDEX,
  )
  with io.atomic_path(arguments.output, arguments.overwrite) as path:
    with open(path, "wb") as file:
      np.savez_compressed(file, card=json.dumps(card), **tables)


if __name__ == "__main__":
  main()
