"""Section `calibration` of `posterior.py`: its tests on simulated truths."""

import argparse

import posterior_setup as setup

from tfp_massmap import calibration
from tfp_massmap import priors
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap.samplers import guided

# Seed of the noise of the mocks, apart from that of other sections.
_NOISE_SEED = 100


def run(
  options: argparse.Namespace,
  survey: shear_map_lib.ShearMap,
  *,
  prior: priors.HybridPrior,
) -> dict:
  """Prints the section, and returns its tests and a rank histogram."""
  num_truths, num = (16, 32) if options.full else (4, 16)
  survey, prior = setup.in_the_middle(options, survey)
  truths = setup.simulated_truths(num_truths, options.size)
  mocks = calibration.Mocks(truths.__getitem__, survey, seed=_NOISE_SEED)
  records = calibration.run(
    mocks.draw(calibration.guided_sampler(prior, num)),
    num_truths,
    grid=survey.grid,
    # The truths are without their mean.
    settings=calibration.Settings(remove_mean=True),
    path=options.samples and options.samples / "calibration.npz",
    label=setup.run_label(survey, prior, num=num, settings=guided.GuidedSettings()),
  )
  rows = calibration.table(records)
  print(f"\nCalibration on {num_truths} simulated truths, {num} samples each")
  print(calibration.markdown(rows))
  histogram = calibration.rank_histogram(records, "pixels: observed")
  return dict(tests=rows, rank_histogram=histogram.value.tolist())
