"""What `reconstruct` checks before it samples, and the priors and data it takes."""

import dataclasses

from astropy import units as u
import mixture_prior
import numpy as np
import pytest

from tfp_massmap import geometry
from tfp_massmap import priors
from tfp_massmap import reconstruction
from tfp_massmap import shear_errors
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap import theory
from tfp_massmap.samplers import runs

GRID = geometry.PixelGrid((24, 24), 1 * u.arcmin)


# Compiling a sampler by XLA takes far longer than two samples of so small a map. The
# command `reconstruct` compiles, in its own tests.
_SAMPLER = reconstruction.Sampler(jit_compile=False)


def _reconstruct(prior=None, *, num_samples=2, seed=0, **options):
  survey = simulate.uniform_survey(60 / u.arcmin**2, 0.3)
  shear_map = simulate.mock_observation(
    np.zeros(GRID.shape), GRID, survey=survey, seed=0
  )
  return reconstruction.reconstruct(
    shear_map,
    prior or spectra.PowerSpectrum.fiducial_cosmos(),
    num_samples=num_samples,
    seed=seed,
    progress=False,
    **{"sampler": _SAMPLER, **options},
  )


def test_shapes_may_be_of_reduced_shear():
  shear, reduced = (_reconstruct(reduced_shear=given) for given in (False, True))
  assert reduced.settings["reduced_shear"] is True
  assert shear.settings["reduced_shear"] is False
  assert reduced.settings["batch_size"] == 2
  difference = reduced.sample_set.samples - shear.sample_set.samples
  # The difference is of second order in a convergence of 0.02.
  assert 0 < np.abs(difference).max() < 0.01


def test_samples_depend_on_the_seed_alone():
  first, same, other = (
    _reconstruct(seed=seed).sample_set.samples for seed in (1, 1, 2)
  )
  np.testing.assert_array_equal(first, same)
  assert (first != other).all()
  with pytest.raises(ValueError, match="num_samples must be positive; got 0"):
    _reconstruct(num_samples=0)


def test_a_prior_of_a_user_is_taken(tmp_path):
  """Its description is in the header; products are as those of a shipped prior."""
  spectrum = spectra.PowerSpectrum.fiducial_cosmos()
  gaussian = priors.GaussianPrior.from_spectrum(spectrum, GRID)
  result = _reconstruct(mixture_prior.MixturePrior(gaussian))
  assert result.settings["prior"] == "mixture of two Gaussian fields"
  result.save(tmp_path / "posterior.fits")
  assert np.isfinite(result.sample_set.samples).all()


def test_products_have_circles_around_positions(tmp_path):
  """On a grid with a WCS; without one both files are left unwritten."""
  grid = geometry.PixelGrid.tangent((150.0, 2.0), GRID.shape, pixel_scale=1 * u.arcmin)
  result = _reconstruct(products=reconstruction.Products(thresholds=(0.05,)))
  paths = tmp_path / "posterior.fits", tmp_path / "posterior.png"
  with pytest.raises(ValueError, match="leave out the markers"):
    result.save_products(*paths, markers=([150.0], [2.0]))
  assert not any(path.exists() for path in paths)
  shear_map = dataclasses.replace(result.shear_map, grid=grid)
  placed = dataclasses.replace(result, shear_map=shear_map)
  placed.save_products(*paths, markers=([150.0], [2.0]), title="Circles")
  assert all(path.stat().st_size > 1000 for path in paths)


def test_an_uncertain_cosmology_gives_each_batch_its_own():
  """Batches of one sample are those of a fixed cosmology with the same number."""
  uncertain = theory.CosmologyPrior(sigma_8_std=0.2)
  of = lambda cosmology: spectra.PowerSpectrum.theory(
    theory.SourceRedshifts.of_survey("cosmos"), cosmology
  )
  sampler = reconstruction.Sampler(batch_size=1, jit_compile=False)
  # Batches shrink until there are as many cosmologies as samples.
  found = _reconstruct(of, cosmology=uncertain)
  words = "2 cosmologies of Omega_m=0.3089, sigma_8=0.8159+-0.2"
  assert found.settings["over"] == words and found.settings["batch_size"] == 1
  for batch, drawn in enumerate(uncertain.draw(2, seed=0)):
    fixed = _reconstruct(of, cosmology=drawn, sampler=sampler)
    np.testing.assert_array_equal(
      found.sample_set.samples[batch], fixed.sample_set.samples[batch]
    )
  certain = _reconstruct(of, cosmology=theory.CosmologyPrior(), sampler=sampler)
  assert "over" not in certain.settings


def test_errors_of_the_shear_give_each_batch_its_own():
  """Batches are those of the factors given alone; the header says what they are over."""
  errors = shear_errors.ShearErrors(bias=0.3, bias_std=0.05, noise_scale_std=0.02)
  sampler = reconstruction.Sampler(batch_size=1, jit_compile=False)
  found = _reconstruct(shear_errors=errors)
  words = "2 errors of the shear of m=0.3+-0.05, noise=1+-0.02"
  assert found.settings["over"] == words and found.settings["batch_size"] == 1
  assert found.settings["shear_errors"] == str(errors)
  for batch, (bias, noise_scale) in enumerate(errors.draw(2, seed=1)):
    alone = shear_errors.ShearErrors(bias=bias, noise_scale=noise_scale)
    fixed = _reconstruct(shear_errors=alone, sampler=sampler)
    assert "over" not in fixed.settings
    np.testing.assert_array_equal(
      found.sample_set.samples[batch], fixed.sample_set.samples[batch]
    )
  plain = _reconstruct()
  # A Kaiser-Squires map is linear in the shear, whose known bias is corrected.
  np.testing.assert_allclose(
    1.3 * found.kaiser_squires.kappa, plain.kaiser_squires.kappa, atol=1e-6
  )
  assert "shear_errors" not in plain.settings


def test_cosmology_and_shear_may_both_be_uncertain():
  """Each batch has its own of both, which are not tied to each other."""
  cosmologies = theory.CosmologyPrior(sigma_8_std=0.1)
  errors = shear_errors.ShearErrors(bias_std=0.05)
  of = lambda cosmology: spectra.PowerSpectrum.theory(
    theory.SourceRedshifts.of_survey("cosmos"), cosmology
  )
  found = _reconstruct(of, cosmology=cosmologies, shear_errors=errors)
  assert found.settings["over"] == (
    "2 cosmologies of Omega_m=0.3089, sigma_8=0.8159+-0.1; 2 errors of the shear of"
    " m=0+-0.05, noise=1"
  )
  fixed = _reconstruct(
    of,
    cosmology=cosmologies.draw(2, seed=0)[1],
    shear_errors=shear_errors.ShearErrors(bias=errors.draw(2, seed=1)[1].bias),
    sampler=reconstruction.Sampler(batch_size=1, jit_compile=False),
  )
  np.testing.assert_array_equal(
    found.sample_set.samples[1], fixed.sample_set.samples[1]
  )


@pytest.mark.parametrize(
  "options, message",
  [
    (
      dict(
        shear_errors=shear_errors.ShearErrors(bias_std=0.01),
        sampler=reconstruction.Sampler(method="annealed"),
      ),
      "error of the shear is for the method 'guided'",
    ),
    (dict(products=reconstruction.Products(quantiles=(16,))), "Quantiles must lie in"),
    (dict(products=reconstruction.Products(thresholds=(np.nan,))), "must be finite"),
    (dict(products=reconstruction.Products(header={"\n": 1})), "name of a setting"),
    (
      dict(reduced_shear=True, sampler=reconstruction.Sampler(method="annealed")),
      "reduced shear is singular",
    ),
    (dict(truth=np.zeros([3, 3])), "truth must have shape"),
    (dict(cosmology=theory.KAPPATNG), "this prior has its own"),
    (
      dict(
        prior=lambda _: spectra.PowerSpectrum.fiducial_cosmos(),
        cosmology=theory.CosmologyPrior(sigma_8_std=0.1),
        sampler=reconstruction.Sampler(method="annealed"),
      ),
      "uncertain cosmology is for the method 'guided'",
    ),
  ],
)
def test_bad_requests_are_refused_before_sampling(options, message, monkeypatch):
  monkeypatch.setattr(runs, "run", lambda *_, **__: pytest.fail("has sampled"))
  with pytest.raises(ValueError, match=message):
    _reconstruct(**options)
