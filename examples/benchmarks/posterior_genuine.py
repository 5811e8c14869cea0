"""Section `genuine` of `posterior.py`: errors on the kappaTNG field.

The section measures the root mean square error and the correlation of the posterior
mean in the field of Remy et al. (2022), in bands of ell and in bins of true
convergence, beside those of the Wiener filter, and the power of samples. The error that
a finite number of samples adds to their mean is removed.
"""

import argparse

from astropy.io import fits
import cosmos_survey
import map_scores
import numpy as np
import posterior_setup as setup

from tfp_massmap import baselines
from tfp_massmap import priors
from tfp_massmap import samplers
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import simulate
from tfp_massmap import spectra

# Multipoles at which the samples have power that the data constrain in part.
_EDGES = np.geomspace(500, 10000, 7)
_METHODS = ("Posterior mean", "with its scatter", "Wiener")


def run(
  options: argparse.Namespace,
  survey: shear_map_lib.ShearMap,
  *,
  prior: priors.HybridPrior,
) -> dict:
  """Prints the section, and returns its figures by name."""
  if options.data is None:
    print("\nThe genuine field needs --data.")
    return {}
  path = cosmos_survey.find(options.data, "ktng_kappa360v2.fits")
  truth = fits.getdata(path).astype(np.float64)
  num_seeds, num = (8, 64) if options.full else (2, 16)
  found, powers = {method: [] for method in _METHODS}, []
  for seed in range(options.seeds or num_seeds):
    shear_map = simulate.observe_like(truth, survey, seed=seed)
    output = options.samples and options.samples / f"genuine_{num}_seed{seed}.fits"
    result = samplers.sample(
      setup.make_posterior(shear_map, prior),
      num,
      seed=seed,
      options=samplers.RunOptions(output=output),
    )
    samples = np.asarray(result.samples, np.float64)
    wiener = baselines.wiener.estimate(shear_map, prior.gaussian).kappa
    scores = _scores(samples, wiener, truth=truth, mask=survey.mask)
    for method, score in zip(_METHODS, scores):
      found[method].append(score)
    powers.append(_band_power(samples).mean(axis=0))
    maxima = np.median(samples[:, survey.mask].max(axis=1)), truth[survey.mask].max()
    _print_seed(seed, *scores, maxima=maxima)
  print(f"Genuine field, {len(powers)} seeds, {num} samples")
  map_scores.print_tables(found, ["Wiener"])
  power = np.mean(powers, axis=0)
  _print_powers(power, truth, prior)
  return _figures(found, power, truth)


def _band_power(maps):
  return spectra.band_power(maps, setup.GRID, edges=_EDGES)


def _scores(samples, wiener, *, truth, mask):
  """Returns the scores of all `_METHODS`."""
  mean = samples.mean(axis=0)
  return [
    map_scores.score(mean, truth, mask=mask, grid=setup.GRID, samples=samples),
    map_scores.score(mean, truth, mask=mask, grid=setup.GRID),
    map_scores.score(wiener, truth, mask=mask, grid=setup.GRID),
  ]


def _print_seed(seed, free, raw, wiener, *, maxima):
  print(
    f"  seed {seed}: RMSE {100 * free.rmse:.3f}e-2 (with the scatter of samples"
    f" {100 * raw.rmse:.3f}), Wiener {100 * wiener.rmse:.3f}; r {free.r:.4f}"
    f" ({raw.r:.4f}), Wiener {wiener.r:.4f}; maxima {maxima[0]:.2f}, truth"
    f" {maxima[1]:.2f}",
    flush=True,
  )


def _print_powers(power, truth, prior):
  # The Gaussian component has the power of all maps; this field is one of them.
  ensemble = _band_power(prior.gaussian.sample([100], seed=(0, 2)).numpy())
  mean, field = ensemble.mean(axis=0), _band_power(truth)
  setup.print_row("lowest ell of the band", _EDGES[:-1], form="{:7.0f}")
  setup.print_row("power of samples over the field's", power / field)
  setup.print_row("over that of all maps", power / mean)
  setup.print_row("the field's over that of all maps", field / mean)
  setup.print_row("scatter of one field", ensemble.std(axis=0) / mean)


def _figures(found, power, truth):
  better = [a.rmse < b.rmse for a, b in zip(found["Posterior mean"], found["Wiener"])]
  figures = dict(
    seeds_better_than_wiener=int(np.sum(better)),
    power=power.tolist(),
    power_over_field=(power / _band_power(truth)).tolist(),
  )
  for suffix, method in zip(("", "_raw", "_wiener"), _METHODS):
    for name in ("rmse", "r", "band_r", "bin_rmse"):
      figures[name + suffix] = map_scores.mean_of(found[method], name).tolist()
  return figures
