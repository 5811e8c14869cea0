"""Batches of different posteriors: each is what the guided sampler draws of its own."""

import numpy as np
import pytest

from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import samplers
from tfp_massmap import spectra
from tfp_massmap.samplers import guided
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
  for batch in range(3):
    alone = samplers.sample(make(batch), 6, seed=3, options=OPTIONS).samples
    rows = slice(2 * batch, min(2 * batch + 2, 5))
    np.testing.assert_array_equal(found.samples[rows], alone[rows])
  assert found.header["over"] == "powers"


def test_a_run_resumes_with_its_label_alone(make, tmp_path, monkeypatch):
  options = samplers.RunOptions(
    2, tmp_path / "cube.fits", progress=False, jit_compile=False
  )
  made, drawn = [], []
  whole_batch = guided.batch_sampler

  def counted(posterior, *arguments, **given):
    draw = whole_batch(posterior, *arguments, **given)
    return lambda seed, bar: drawn.append(seed[1]) or draw(seed, bar)

  monkeypatch.setattr(guided, "batch_sampler", counted)

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
  # The first names the run, and is not sampled again.
  assert made == [0, 1, 0, 1] and drawn == [0, 1]
  whole = over_posteriors.sample(make, 4, seed=3, label="powers", options=OPTIONS)
  np.testing.assert_array_equal(found.samples, whole.samples.astype(np.float32))


@pytest.mark.parametrize(
  "num_samples, size, expected",
  [(8, 8, (8, 1)), (64, 8, (8, 8)), (96, 8, (12, 8)), (3, 8, (3, 1)), (20, 2, (10, 2))],
)
def test_there_are_eight_posteriors_or_more(num_samples, size, expected):
  options = samplers.RunOptions(size)
  num, smaller = over_posteriors.batches(num_samples, options)
  assert (num, smaller.batch_size) == expected
  with pytest.raises(ValueError, match="must be positive; got 0"):
    over_posteriors.batches(0, options)
