"""Computes `simulator.npz`, the tables of the convergence simulator.

Run `python -m tfp_massmap.tables.build_simulator`; it needs the `theory` extra (pyccl
with camb). The cosmology is that of `simulate.cosmology`. On a grid of redshifts up to
2.7, the tables are

  matter_power[z, k]         halofit (Takahashi et al. 2012) on camb's linear power,
                             (Mpc/h)^3, with k in h/Mpc;
  mass_function[z, M]        dn/dlnM of haloes (Tinker et al. 2008), comoving
                             (Mpc/h)^-3, with M in Msun/h;
  bias[z, M]                 linear bias of haloes (Tinker et al. 2010).

The mass of a halo is that within the radius of 200 times the mean density of matter.
"""

import argparse
import json
import pathlib
import typing

import numpy as np

import tfp_massmap
from tfp_massmap import io
from tfp_massmap.simulate import cosmology

# The last source plane lies at redshift 2.57. Masses exceed those of the simulator's
# recipe, and wavenumbers reach ell 1e5 at 100 Mpc/h.
REDSHIFT = np.linspace(0, 2.7, 28)
WAVENUMBER = np.geomspace(1e-3, 1e3, 241)  # h/Mpc
MASS = np.geomspace(1e11, 1e16, 101)  # Msun/h


def compute() -> dict[str, np.ndarray]:
  """Returns the tables by name, float64."""
  import pyccl

  h = cosmology.HUBBLE
  universe = pyccl.Cosmology(
    Omega_c=cosmology.OMEGA_MATTER - cosmology.OMEGA_BARYON,
    Omega_b=cosmology.OMEGA_BARYON,
    h=h,
    n_s=cosmology.SPECTRAL_INDEX,
    sigma8=cosmology.SIGMA_8,
    transfer_function="boltzmann_camb",
    matter_power_spectrum="halofit",
  )
  mass_function = pyccl.halos.MassFuncTinker08(mass_def="200m")
  bias = pyccl.halos.HaloBiasTinker10(mass_def="200m")
  power, number, halo_bias = [], [], []
  for redshift in REDSHIFT:
    scale = 1 / (1 + redshift)
    power.append(h**3 * universe.nonlin_matter_power(WAVENUMBER * h, scale))
    per_decade = mass_function(universe, MASS / h, scale)
    number.append(per_decade / np.log(10) / h**3)
    halo_bias.append(bias(universe, MASS / h, scale))
  return dict(
    redshift=REDSHIFT,
    wavenumber=WAVENUMBER,
    mass=MASS,
    matter_power=np.array(power),
    mass_function=np.array(number),
    bias=np.array(halo_bias),
  )


def main() -> None:
  """Writes the tables."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
  parser.add_argument(
    "--output", default=str(pathlib.Path(__file__).with_name("simulator.npz"))
  )
  parser.add_argument("--overwrite", action="store_true")
  arguments = parser.parse_args()
  io.check_writable(arguments.output, arguments.overwrite)
  import pyccl

  tables: dict[str, typing.Any] = {
    name: table.astype(np.float32) for name, table in compute().items()
  }
  card = dict(
    command="python -m tfp_massmap.tables.build_simulator",
    tfp_massmap=tfp_massmap.__version__,
    pyccl=pyccl.__version__,
  )
  with io.atomic_path(arguments.output, arguments.overwrite) as path:
    with open(path, "wb") as file:
      np.savez_compressed(file, card=json.dumps(card), **tables)


if __name__ == "__main__":
  main()
