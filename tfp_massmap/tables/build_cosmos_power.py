"""Computes `cosmos_power.ecsv`, the fiducial convergence power spectrum.

Run `python -m tfp_massmap.tables.build_cosmos_power`; it needs the `theory` extra.

The cosmology is that of the kappaTNG simulations (`theory.KAPPATNG`), with halofit
matter power (Takahashi et al. 2012) and Limber projection. The redshift distribution is
the fit to the COSMOS shape catalogue of Schrabback et al. (2010),

  n(z) proportional to z^2.966 exp(-(z / 0.07275)^0.6335) on [0, 5.5].
"""

import argparse
import pathlib

from astropy.table import Table
import numpy as np

import tfp_massmap
from tfp_massmap.theory import cosmology
from tfp_massmap.theory import source_redshifts

COSMOLOGY = dict(
  Omega_c=cosmology.KAPPATNG.omega_matter - cosmology.OMEGA_BARYON,
  Omega_b=cosmology.OMEGA_BARYON,
  h=cosmology.HUBBLE,
  n_s=cosmology.SPECTRAL_INDEX,
  sigma8=cosmology.KAPPATNG.sigma_8,
)
# Multipoles of all modes of fields up to 36 deg with pixels down to 0.1 arcmin, 27 in a
# decade; redshifts in steps of 0.005.
_ELL = np.geomspace(10, 3e5, 121)
_REDSHIFT = np.linspace(1e-3, 5.5, 1100)


def convergence_power(
  ell: np.ndarray, redshift: np.ndarray, *, density: np.ndarray
) -> np.ndarray:
  """Returns C_ell of the convergence by pyccl, in steradian, `[n]`.

  Args:
    ell: Multipoles, `[n]`.
    redshift: Redshifts, `[m]`.
    density: n(z) of the sources at the redshifts, with any normalisation, `[m]`.
  """
  import pyccl

  universe = pyccl.Cosmology(
    transfer_function="eisenstein_hu",
    matter_power_spectrum="halofit",
    **COSMOLOGY,
  )
  # der_bessel -1 and der_angles 1 give the kernel of the convergence itself. That of
  # the shear has spin-2 factors, which the flat sky leaves out.
  tracer = pyccl.Tracer()
  tracer.add_tracer(
    universe,
    kernel=pyccl.get_lensing_kernel(universe, dndz=(redshift, density)),
    der_bessel=-1,
    der_angles=1,
  )
  return pyccl.angular_cl(universe, tracer, tracer, ell)


def _rounded(values, digits=7):
  return [float(f"{value:.{digits - 1}e}") for value in values]


def main() -> None:
  """Writes the table."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
  parser.add_argument(
    "--output", default=pathlib.Path(__file__).with_name("cosmos_power.ecsv")
  )
  parser.add_argument("--overwrite", action="store_true")
  arguments = parser.parse_args()
  import pyccl

  density = source_redshifts.cosmos_density(_REDSHIFT)
  power = convergence_power(_ELL, _REDSHIFT, density=density)
  table = Table({"ell": _rounded(_ELL), "c_ell": _rounded(power)})
  table["c_ell"].unit = "sr"
  table.meta = {
    "description": "Convergence power spectrum for the COSMOS n(z), halofit",
    "command": "python -m tfp_massmap.tables.build_cosmos_power",
    "tfp_massmap": tfp_massmap.__version__,
    "pyccl": pyccl.__version__,
    "cosmology": COSMOLOGY,
    "n_of_z": "z^2.966 exp(-(z / 0.07275)^0.6335), 0 < z < 5.5",
  }
  table.write(arguments.output, format="ascii.ecsv", overwrite=arguments.overwrite)


if __name__ == "__main__":
  main()
