"""Wiener filter (Remy et al. 2022, section 3.2, Eq. 13), by conjugate gradients.

The mean of the posterior with a Gaussian prior; `gaussian_posterior` solves it, and
draws samples beside.
"""

from tfp_massmap import gaussian_posterior
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap.baselines import mass_map


def estimate(shear_map, prior, rtol=1e-5, max_iterations=500):
  """Wiener filter: the mean of the posterior with a Gaussian prior.

  Args:
    shear_map: `shear_map.ShearMap`.
    prior: `prior.GaussianPrior` on the same grid.
    rtol: residual at which to stop, relative to the right-hand side.
    max_iterations: cap of the iterations.

  Returns:
    A `MassMap`.

  Raises:
    RuntimeError: if the cap is reached first.
  """
  likelihood = likelihood_lib.ShearLikelihood(shear_map, dtype=prior.dtype)
  kappa, iterations, residual = gaussian_posterior.mean(
      likelihood, prior, rtol, max_iterations
  )
  settings = dict(iterations=int(iterations), relative_residual=float(residual))
  return mass_map.MassMap(kappa.numpy(), shear_map.grid, "wiener", settings)
