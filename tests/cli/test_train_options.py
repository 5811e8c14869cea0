"""Options of the training, beside the settings they are made from."""

import argparse
import dataclasses

import pytest

from tfp_massmap.cli import train_options
from tfp_massmap.priors import training_settings


def _parse(*arguments):
  parser = argparse.ArgumentParser(exit_on_error=False)
  train_options.add_options(parser)
  return train_options.settings_from(parser.parse_args(arguments))


def test_without_options_settings_are_the_defaults():
  assert _parse() == training_settings.TrainingSettings()


@pytest.mark.parametrize(
  "field", dataclasses.fields(training_settings.TrainingSettings), ids=lambda f: f.name
)
def test_every_setting_has_an_option(field):
  """With help, and of the type of the setting."""
  assert field.metadata["help"]
  option = f"--{field.name.replace('_', '-')}"
  if field.type is bool:
    value, arguments = True, [option]
  elif field.type is str:
    value = field.metadata["choices"][-1]
    arguments = [option, value]
  else:
    value = field.type(field.default * 2) if field.default >= 1 else field.default / 2
    value = field.type(value)
    arguments = [option, str(value)]
  expected = dataclasses.replace(
    training_settings.TrainingSettings(), **{field.name: value}
  )
  assert _parse(*arguments) == expected


def test_values_that_are_not_allowed_are_refused():
  with pytest.raises(argparse.ArgumentError, match="invalid choice"):
    _parse("--optimizer", "sgd")
  with pytest.raises(ValueError, match="num_steps must be positive"):
    _parse("--num-steps", "0")
