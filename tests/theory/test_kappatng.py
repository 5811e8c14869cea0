"""The table of wavenumbers against the ratios of multipoles that it stands for."""

import numpy as np

from tfp_massmap import theory
from tfp_massmap.simulate import source_planes
from tfp_massmap.theory import kappatng


def test_the_boost_projects_to_the_ratio_of_the_simulator():
  """For the n(z) of COSMOS, from ell 300 to 60,000, within 1.5 %."""
  ell = np.geomspace(300, 6e4, 40)
  sources = source_planes.sources()
  plain = theory.convergence_power(ell, sources)
  boosted = theory.convergence_power(ell, sources, boost=theory.kappatng_boost)
  expected = kappatng.over_halofit(ell)
  np.testing.assert_allclose(boosted / plain, expected, rtol=0.015)


def test_the_boost_moves_with_the_lenses():
  """The power that near lenses lose at one ell, far lenses lose at a larger ell."""
  ratios = []
  for mean in (0.4, 1.5):
    sources = theory.SourceRedshifts.of_mean(mean)
    ell = 8.0 * theory.mean_lens_distance(sources)
    plain, boosted = (
      theory.convergence_power([ell], sources, boost=boost)[0]
      for boost in (None, theory.kappatng_boost)
    )
    ratios.append(boosted / plain)
  assert abs(ratios[0] - ratios[1]) < 0.05
  np.testing.assert_allclose(theory.kappatng_boost([1e-3, 1e3]), [0.954, 0.56])


def test_the_ratio_has_its_ends():
  """0.96 below ell 1,500, where the ratio is 1; constant beyond 46,000."""
  ratio = kappatng.over_halofit(np.array([100.0, 1500.0, 46000.0, 1e5]))
  np.testing.assert_allclose(ratio, [0.96, 0.96, 0.55, 0.55], rtol=1e-6)
