"""Batches of different posteriors: each is what the guided sampler draws of its own."""

import numpy as np
import pytest

from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import samplers
from tfp_massmap import spectra
from tfp_massmap.samplers import over_posteriors

OPTIONS = samplers.RunOptions(2, progress=False, jit_compile=False)


@pytest.fixture(name="make")
def _make(posterior, fiducial):
  """A function of the number of a batch to a posterior of more and more power."""
  grid = posterior.likelihood.grid

  def make(batch):
    spectrum = spectra.PowerSpectrum(fiducial.ell, 2**batch * fiducial.c_ell)
    prior = priors.GaussianPrior.from_spectrum(spectrum, grid, dtype=posterior.dtype)
    return posterior_lib.Posterior(posterior.likelihood, prior)

  return make


def test_every_batch_is_of_its_posterior(make):
  found = over_posteriors.sample(make, 5, seed=3, label="powers", options=OPTIONS)
  assert over_posteriors.num_batches(5, OPTIONS) == 3
  for batch in range(3):
    alone = samplers.sample(make(batch), 6, seed=3, options=OPTIONS).samples
    rows = slice(2 * batch, min(2 * batch + 2, 5))
    np.testing.assert_array_equal(found.samples[rows], alone[rows])
  assert found.header["over"] == "powers"


def test_a_run_resumes_with_its_label_alone(make, tmp_path):
  options = samplers.RunOptions(
    2, tmp_path / "cube.fits", progress=False, jit_compile=False
  )
  made = []

  def stops(batch):
    made.append(batch)
    if batch == 1 and len(made) < 3:
      raise KeyboardInterrupt
    return make(batch)

  sample = lambda fn, label: over_posteriors.sample(
    fn, 4, seed=3, label=label, options=options
  )
  with pytest.raises(KeyboardInterrupt):
    sample(stops, "powers")
  with pytest.raises(ValueError, match="another over"):
    sample(make, "other powers")
  found = sample(stops, "powers")
  assert made == [0, 1, 0, 1]  # The first names the run; it is not sampled again.
  whole = over_posteriors.sample(make, 4, seed=3, label="powers", options=OPTIONS)
  np.testing.assert_array_equal(found.samples, whole.samples.astype(np.float32))
