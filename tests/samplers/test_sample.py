"""Tests of the requests that `samplers.sample` refuses, and of the contract of priors."""

import pytest

from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import samplers


def test_unknown_methods_are_refused(posterior):
  with pytest.raises(ValueError, match=r"annealed.*guided.*got 'hmc'"):
    samplers.sample(posterior, 1, seed=0, method="hmc")


def test_reduced_shear_cannot_be_annealed(posterior):
  reduced = posterior_lib.Posterior(
    likelihood_lib.ReducedShearLikelihood(
      posterior.likelihood.shear_map, dtype=posterior.dtype
    ),
    posterior.prior,
  )
  with pytest.raises(ValueError, match="reduced shear is singular"):
    samplers.sample(reduced, 1, seed=0, method="annealed")


def test_members_of_a_prior_are_those_of_the_contract(mixture, posterior):
  """The Gaussian prior and the mixture have every member that `priors.Prior` names."""
  names = [n for n in dir(priors.Prior) if not n.startswith("_")]
  assert len(names) == 12
  for prior in (mixture[0].prior, posterior.prior):
    for name in names:
      getattr(prior, name)
