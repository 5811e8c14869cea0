"""The convergence power against pyccl, and its integral."""

import numpy as np
import pytest

from tfp_massmap import spectra
from tfp_massmap import theory

ELL = (30.0, 300.0, 3000.0, 30000.0)
# C_ell of pyccl 3.3.6 for n(z) of Smail et al. (1994), by Omega_m, sigma_8 and mean
# redshift. `examples/benchmarks/theory.py` compares 20 more.
PYCCL = {
  (0.3089, 0.8159, 1.0): (2.128e-08, 1.5118e-09, 7.6704e-11, 7.9276e-13),
  (0.2, 1.0, 0.5): (7.0003e-09, 3.9302e-10, 1.3504e-11, 9.764e-14),
  (0.38, 0.65, 1.5): (2.3287e-08, 2.2324e-09, 1.0888e-10, 1.6487e-12),
}


@pytest.mark.parametrize("parameters, expected", PYCCL.items())
def test_power_against_pyccl(parameters, expected):
  *cosmology, mean = parameters
  sources = theory.SourceRedshifts.of_mean(mean)
  power = theory.convergence_power(ELL, sources, cosmology=theory.Cosmology(*cosmology))
  np.testing.assert_allclose(power, expected, rtol=3e-3)


def test_more_steps_change_nothing():
  sources = theory.SourceRedshifts.of_mean(0.4)
  few, many = (
    theory.convergence_power(ELL, sources, num_distances=n) for n in (240, 4000)
  )
  np.testing.assert_allclose(few, many, rtol=1e-3)


def test_the_fiducial_table_is_the_theory_for_cosmos():
  """The table has another transfer function, without wiggles in the right places."""
  ell = np.geomspace(300, 3e4, 20)
  fiducial = spectra.PowerSpectrum.fiducial_cosmos()(ell)
  found = theory.convergence_power(ell, theory.SourceRedshifts.of_survey("cosmos"))
  np.testing.assert_allclose(found, fiducial, rtol=0.05)


def test_a_boost_of_the_matter_is_one_of_the_convergence():
  sources = theory.SourceRedshifts.of_mean(1.0)
  plain = theory.convergence_power(ELL, sources)
  double = theory.convergence_power(ELL, sources, boost=lambda k: 0 * k + 2)
  np.testing.assert_allclose(double, 2 * plain, rtol=1e-12)


def test_lensing_kernel_of_one_plane():
  """W = 3/2 Omega_m (H0/c)^2 (1 + z) chi (1 - chi/chi_s), and nothing behind."""
  source = theory.SourceRedshifts([theory.KAPPATNG.redshift_at(1025.0)], [1.0])
  kernel = theory.lensing_kernel([512.5, 1025.0, 1500.0], source)
  redshift = theory.KAPPATNG.redshift_at(512.5)
  expected = 1.5 * 0.3089 / 2997.92458**2 * (1 + redshift) * 512.5 * 0.5
  np.testing.assert_allclose(kernel, [expected, 0, 0], rtol=1e-6, atol=1e-18)


def test_the_mean_lens_of_one_source_lies_in_the_middle():
  """Near z = 0 the kernel is chi (1 - chi / chi_s), symmetric about chi_s / 2."""
  source = theory.SourceRedshifts([0.02], [1.0])
  distance = theory.KAPPATNG.comoving_distance(0.02)
  assert theory.mean_lens_distance(source) == pytest.approx(distance / 2, rel=0.01)
