"""Trains `cosmos-deepmass` on a prepared `halo_kappa` data set.

    python -m tfp_massmap.pretrained.build_cosmos_deepmass DATASET FOLDER

DATASET is the name of the data set, or its folder down to the version.
`FOLDER/model.json` and `FOLDER/model.weights.h5` are the model; an interrupted training
is resumed.
"""

import argparse

from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.baselines import deepmass
from tfp_massmap.priors import from_dataset


def main() -> None:
  """Trains the model that the command line describes."""
  parser = argparse.ArgumentParser(description="Trains cosmos-deepmass.")
  parser.add_argument("dataset", help="name or folder of a halo_kappa data set")
  parser.add_argument("folder", help="folder of the model and its checkpoints")
  parser.add_argument(
    "--num-steps", type=int, default=3000, help="length of the training"
  )
  parser.add_argument(
    "--mixed-precision", action="store_true", help="convolutions in bfloat16"
  )
  options = parser.parse_args()
  builder = from_dataset.open_dataset(options.dataset)
  maps, pixel_scale, metadata = from_dataset.read_maps(builder)
  sources = from_dataset.sources_of(metadata)
  if sources is None:
    parser.error(f"{options.dataset} does not say the n(z) of its maps")
  spectrum = spectra.PowerSpectrum.theory(sources, small_scales="kappatng")
  settings = deepmass.DeepMassSettings(
    num_steps=options.num_steps, mixed_precision=options.mixed_precision
  )
  ratio = deepmass.train(
    maps["train"],
    simulate.cosmos_like_survey(),
    spectrum=spectrum,
    pixel_scale=pixel_scale,
    folder=options.folder,
    settings=settings,
  )
  print(f"Squared error over the Wiener filter's, in the mask: {ratio:.4f}")


if __name__ == "__main__":
  main()
