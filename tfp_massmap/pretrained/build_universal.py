"""Trains `universal`, the prior of any survey, and everything that it needs.

    python -m tfp_massmap.pretrained.build_universal FOLDER

The maps of `survey_kappa` are simulated in FOLDER (50 minutes of one core), and the
network is trained on them, from the weights of `cosmos-halo`, in the parts of `PARTS`.
`FOLDER/universal.json` and `FOLDER/universal.weights.h5` are the prior. What an
interrupted call has done is not done again.
"""

import argparse
import json
import os
import pathlib
import shutil
import tempfile

from astropy import units as u

from tfp_massmap import geometry
from tfp_massmap import theory
from tfp_massmap.datasets.survey_kappa import (
  survey_kappa_dataset_builder as survey_kappa,
)
from tfp_massmap.nn import network_file
from tfp_massmap.priors import from_dataset
from tfp_massmap.priors import hybrid
from tfp_massmap.priors import survey_training
from tfp_massmap.priors import training_settings

# Each part starts from the weights of the one before.
PARTS = (
  training_settings.TrainingSettings(
    num_steps=2600,
    batch_size=8,
    crop=128,
    learning_rate=1e-3,
    warmup_steps=100,
    validate_every=400,
    num_validation=48,
    checkpoint_every=100,
  ),
)
_FIRST = "cosmos-halo"


def main() -> None:
  """Simulates, trains and writes the prior."""
  parser = argparse.ArgumentParser(description="Trains the prior of any survey.")
  parser.add_argument("folder", type=pathlib.Path, help="folder of all that is made")
  parser.add_argument(
    "--num-processes", type=int, default=2, help="processes that simulate maps"
  )
  options = parser.parse_args()
  config = survey_kappa.SurveyKappaConfig(
    name="universal", num_processes=options.num_processes
  )
  builder = survey_kappa.Builder(data_dir=str(options.folder / "tfds"), config=config)
  builder.download_and_prepare()
  maps, ranges, metadata = from_dataset.read_surveys(builder)
  start: str | pathlib.Path = _FIRST
  for number, settings in enumerate(PARTS, start=1):
    start = survey_training.train(
      maps["train"],
      maps["validation"],
      ranges=ranges,
      folder=options.folder / f"part{number}",
      settings=settings,
      data=metadata,
      start=start,
    )
  export(start, options.folder / "universal")


def export(trained: str | pathlib.Path, path: pathlib.Path) -> None:
  """Writes the prior that ships: compact, with the corrections of COSMOS in its card.

  Args:
    trained: Path of the trained prior, without suffix.
    path: Path of the two files to write, without suffix.
  """
  for suffix in (".json", ".weights.h5"):
    shutil.copy(f"{trained}{suffix}", f"{path}{suffix}")
  network_file.compact(path)
  with tempfile.TemporaryDirectory() as cache:
    os.environ["TFP_MASSMAP_CACHE"] = cache
    hybrid.HybridPrior.load(
      path,
      geometry.PixelGrid((64, 64), 0.29 * u.arcmin),
      sources=theory.SourceRedshifts.of_survey("cosmos"),
      compute_dtype="float32",
    )
    (file,) = pathlib.Path(cache).iterdir()
    _, key, _ = file.name.split("-")
    corrections = {key: json.loads(file.read_text(encoding="utf-8"))}
  card, _ = network_file.find(path, "prior", needed=())
  network_file.rewrite_card(path, {**card, "corrections": corrections})


if __name__ == "__main__":
  main()
