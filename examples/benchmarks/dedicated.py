"""Compares the prior `universal` with networks that were trained for one survey alone.

    python examples/benchmarks/dedicated.py deepmass [--survey Euclid-like]
        [--steps 3000] [--model NAME] [--records surveys] [--output dedicated]
    python examples/benchmarks/dedicated.py prior [--survey Euclid-like]
        [--steps 3000] [--batch-size 8] [--output dedicated]

`deepmass` trains a DeepMass with the survey's own mask, noise and n(z), and prints the
rms errors of posterior means of `surveys.py posterior`, whose records it reads in the
folder `--records`, over its errors on the same truths; `--model cosmos-deepmass` takes the
one that ships instead. `prior` trains `universal` further
on maps of the survey alone, as `tfp-massmap train --start universal` does, and prints the
squared errors of the denoiser of `universal` over those of this prior. Maps, trainings
and their checkpoints are kept in DIR, where an interrupted command resumes.
"""

import argparse
import pathlib

import numpy as np
import surveys
import tensorflow_datasets as tfds

from tfp_massmap import baselines
from tfp_massmap import calibration
from tfp_massmap import geometry
from tfp_massmap import priors
from tfp_massmap import spectra
from tfp_massmap.calibration import estimates
from tfp_massmap.datasets.halo_kappa import halo_kappa_dataset_builder as halo_kappa
from tfp_massmap.priors import from_dataset
from tfp_massmap.priors import training
from tfp_massmap.priors import training_settings

NUM_MAPS = (160, 16, 0)
LARGEST_SIDE, WIDEST_ARCMIN = 512, 600
SEED = 31  # Of the maps of the trainings; truths have `surveys.SEED`.
NUM_TESTED = 16
CROP, LEARNING_RATE = 128, 5e-4


def maps_of(name, folder):
  """Returns maps, pixel scale and metadata of the data set of a survey."""
  survey = surveys.SURVEYS[name]
  side = min(LARGEST_SIDE, int(WIDEST_ARCMIN / survey.pixel_scale))
  config = halo_kappa.HaloKappaConfig(
    name=name.lower(),
    num_maps=NUM_MAPS,
    shape=(side, side),
    pixel_scale_arcmin=survey.pixel_scale,
    sources=survey.sources,
    seed=SEED,
  )
  builder = tfds.builder("halo_kappa", config=config, data_dir=str(folder / "tfds"))
  builder.download_and_prepare()
  return from_dataset.read_maps(builder)


def spectrum_of(survey):
  return spectra.PowerSpectrum.theory(survey.sources, small_scales="kappatng")


def deepmass(options):
  """Trains a DeepMass, and prints errors of posterior means over its errors."""
  survey = surveys.SURVEYS[options.survey]
  observation = surveys.observation(survey)
  model = options.model or train_deepmass(survey, observation, options)
  path = options.records / f"{options.survey}-universal" / "records.npz"
  records = calibration.load_run(path)
  truth = calibration.simulated_truths(survey.grid, survey.sources, seed=surveys.SEED)
  mocks = calibration.Mocks(truth, observation)
  squares = [
    (calibration.squared_error(record), error_of(mocks, index, model))
    for index, record in enumerate(records)
  ]
  found = estimates.ratio_of_errors(squares)
  print(
    f"{options.survey}, {len(records)} truths: error of the posterior mean over that of"
    f" DeepMass {found.value:.4f} +- {found.error:.4f}"
  )


def train_deepmass(survey, observation, options):
  """Returns the path of a DeepMass that was trained for a survey."""
  maps, pixel_scale, _ = maps_of(options.survey, options.output)
  folder = options.output / options.survey / "deepmass"
  ratio = baselines.deepmass.train(
    maps["train"],
    observation,
    spectrum=spectrum_of(survey),
    pixel_scale=pixel_scale,
    folder=folder,
    settings=baselines.deepmass.DeepMassSettings(num_steps=options.steps),
  )
  print(f"Squared error of DeepMass over the Wiener filter's in training: {ratio:.4f}")
  return folder / "model"


def error_of(mocks, index, model):
  """Returns the sum of squared errors of DeepMass in measured pixels of a mock."""
  truth, shear_map = mocks.observe(index)
  error = baselines.deepmass.estimate(shear_map, model).kappa - truth
  inside = error[mocks.survey.mask]
  return np.sum((inside - inside.mean()) ** 2)


def prior(options):
  """Trains a prior of the survey, and prints squared errors of `universal` over its."""
  survey = surveys.SURVEYS[options.survey]
  maps, pixel_scale, metadata = maps_of(options.survey, options.output)
  folder = options.output / options.survey / "prior"
  crop_grid = geometry.PixelGrid((CROP, CROP), pixel_scale)
  training.train(
    maps["train"],
    maps["validation"],
    pixel_scale=pixel_scale,
    spectrum=spectrum_of(survey),
    folder=folder,
    settings=training_settings.TrainingSettings(
      options.steps, options.batch_size, crop=CROP, learning_rate=LEARNING_RATE
    ),
    periodic=True,
    data=metadata,
    start=priors.HybridPrior.load(
      "universal", crop_grid, sources=survey.sources, corrections=False
    ),
  )
  truth = calibration.simulated_truths(survey.grid, survey.sources, seed=surveys.SEED)
  tested = np.stack([truth(index) for index in range(NUM_TESTED)])
  universal, dedicated = [
    surveys.choice_of(name, survey).on(survey.grid)
    for name in ("universal", str(folder / "prior"))
  ]
  for share in surveys.SHARES:
    found = surveys.ratio(universal, tested, share * survey.noise, over=dedicated)
    print(
      f"{options.survey}, sigma {share:g} of the noise: squared error of universal over"
      f" that of the dedicated prior {found}",
      flush=True,
    )


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("what", choices=("deepmass", "prior"))
  parser.add_argument("--survey", default="Euclid-like", choices=surveys.SURVEYS)
  parser.add_argument("--steps", type=int, default=3000)
  parser.add_argument("--model", help="a DeepMass that ships")
  parser.add_argument("--batch-size", type=int, default=8)
  parser.add_argument("--records", type=pathlib.Path, default=pathlib.Path("surveys"))
  parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("dedicated"))
  options = parser.parse_args()
  {"deepmass": deepmass, "prior": prior}[options.what](options)


if __name__ == "__main__":
  main()
