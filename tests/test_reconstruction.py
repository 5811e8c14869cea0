"""What `reconstruct` checks before it samples, and the likelihoods it takes."""

from astropy import units as u
import numpy as np
import pytest

from tfp_massmap import geometry
from tfp_massmap import reconstruction
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.samplers import runs

GRID = geometry.PixelGrid((24, 24), 1 * u.arcmin)


def _reconstruct(**options):
  survey = simulate.uniform_survey(60 / u.arcmin**2, 0.3)
  shear_map = simulate.mock_observation(
    np.zeros(GRID.shape), GRID, survey=survey, seed=0
  )
  spectrum = spectra.PowerSpectrum.fiducial_cosmos()
  return reconstruction.reconstruct(
    shear_map, spectrum, num_samples=2, seed=0, progress=False, **options
  )


def test_shapes_may_be_of_reduced_shear():
  shear, reduced = (_reconstruct(reduced_shear=given) for given in (False, True))
  assert reduced.settings["reduced_shear"] is True
  assert shear.settings["reduced_shear"] is False
  assert reduced.settings["batch_size"] == 2
  difference = reduced.sample_set.samples - shear.sample_set.samples
  # Second order in a convergence of .02.
  assert 0 < np.abs(difference).max() < 0.01


@pytest.mark.parametrize(
  "options, message",
  [
    (dict(quantiles=(16,)), "Quantiles must lie in"),
    (dict(thresholds=(np.nan,)), "Thresholds must be finite"),
    (dict(reduced_shear=True, method="annealed"), "reduced shear is singular"),
  ],
)  # pyformat: disable
def test_what_cannot_be_is_refused_before_sampling(options, message, monkeypatch):
  monkeypatch.setattr(batches, "run", lambda *_, **__: pytest.fail("has sampled"))
  with pytest.raises(ValueError, match=message):
    _reconstruct(**options)
