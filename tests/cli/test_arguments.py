"""The options agree with the library, name their errors, and load nothing heavy."""

import dataclasses
import subprocess
import sys

import pytest

from tfp_massmap import cli
from tfp_massmap import reconstruction
from tfp_massmap import samplers
from tfp_massmap.cli import arguments
from tfp_massmap.cli import train_options
from tfp_massmap.priors import training_settings


def test_defaults_of_sampling_are_those_of_the_library():
  sampler = reconstruction.Sampler()
  for words in (["demo"], ["reconstruct", "shapes.fits", "-o", "out"]):
    options = arguments.parse(words)
    assert options.command == words[0]
    assert options.method == sampler.method
    assert options.batch_size == sampler.batch_size
  for method in samplers.METHODS:
    assert arguments.parse(["demo", "--method", method]).method == method


def test_settings_of_training_are_those_of_the_library():
  words = ["train", "--dataset", "halo_kappa", "-o", "out"]
  default = train_options.settings_from(arguments.parse(words))
  assert default == training_settings.TrainingSettings()
  words += ["--num-steps", "7", "--optimizer", "adam", "--mixed-precision"]
  changed = train_options.settings_from(arguments.parse(words))
  assert changed == dataclasses.replace(
    default, num_steps=7, optimizer="adam", mixed_precision=True
  )


@pytest.mark.parametrize(
  "options",
  [["--seed", "-1"], ["--seed", str(2**40)], ["--num-samples", "0"], ["--size", "abc"]],
)
def test_bad_numbers_name_their_option(capsys, options):
  with pytest.raises(SystemExit):
    cli.main(["demo", *options])
  assert f"argument {options[0]}: must be a" in capsys.readouterr().err


def test_parsing_loads_nothing_heavy():
  code = (
    "import sys; import tfp_massmap.cli; from tfp_massmap.cli import arguments;"
    "arguments.parse(['demo']); arguments.parse(['reconstruct', 'a.fits', '-o', 'b']);"
    "print('tensorflow' in sys.modules)"
  )
  result = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert result.stdout.strip() == "False"
