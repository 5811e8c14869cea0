"""Computes `cosmos_power.ecsv`, the fiducial convergence power spectrum.

Run `python -m tfp_massmap.tables.build_cosmos_power`; needs the `theory` extra.

Cosmology of the kappaTNG simulations (Osato et al. 2021): flat LCDM, H0 = 67.74,
Omega_m = 0.3089, Omega_b = 0.0486, n_s = 0.9667, sigma_8 = 0.8159. Halofit matter
power (Takahashi et al. 2012), Limber projection. The redshift distribution is a fit
to the COSMOS shape catalogue of Schrabback et al. (2010),

  n(z) ~ z^2.966 exp(-(z / 0.07275)^0.6335) on [0, 5.5].
"""

import argparse
import pathlib

from astropy.table import Table
import numpy as np

import tfp_massmap

COSMOLOGY = dict(
  Omega_c=0.3089 - 0.0486, Omega_b=0.0486, h=0.6774, n_s=0.9667, sigma8=0.8159
)


def cosmos_redshift_distribution(z):
  """n(z) of the COSMOS shape catalogue, not normalised."""
  return z**2.966 * np.exp(-((z / 0.07275) ** 0.6335))


def convergence_power(ell, z, *, n_of_z):
  """C_ell of the convergence by pyccl, in steradian.

  Args:
    ell: multipoles `[n]`.
    z: redshifts `[m]`.
    n_of_z: source distribution at `z`, any normalisation.
  """
  import pyccl  # pylint: disable=g-import-not-at-top

  cosmology = pyccl.Cosmology(
    transfer_function="eisenstein_hu",
    matter_power_spectrum="halofit",
    **COSMOLOGY,
  )
  # der_bessel -1 and der_angles 1: the convergence's own kernel, not the shear's
  # spin-2 factors, which the flat sky leaves out.
  tracer = pyccl.Tracer()
  tracer.add_tracer(
    cosmology,
    kernel=pyccl.get_lensing_kernel(cosmology, dndz=(z, n_of_z)),
    der_bessel=-1,
    der_angles=1,
  )
  return pyccl.angular_cl(cosmology, tracer, tracer, ell)


def _rounded(values, digits=7):
  return [float(f"{value:.{digits - 1}e}") for value in values]


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
  parser.add_argument(
    "--output", default=pathlib.Path(__file__).with_name("cosmos_power.ecsv")
  )
  parser.add_argument("--overwrite", action="store_true")
  arguments = parser.parse_args()
  import pyccl  # pylint: disable=g-import-not-at-top

  ell = np.geomspace(10, 3e5, 121)
  z = np.linspace(1e-3, 5.5, 1100)
  power = convergence_power(ell, z, n_of_z=cosmos_redshift_distribution(z))
  table = Table({"ell": _rounded(ell), "c_ell": _rounded(power)})
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
