"""Options of `tfp-massmap train`, made from the fields of `TrainingSettings`."""

import argparse
import dataclasses

from tfp_massmap.priors import training_settings


def add_options(parser: argparse.ArgumentParser) -> None:
  """Adds one option for each field of `TrainingSettings`.

  Args:
    parser: Parser of the command.
  """
  for field in _fields():
    name = f"--{field.name.replace('_', '-')}"
    text = field.metadata["help"]
    if field.type is bool:
      parser.add_argument(name, action="store_true", help=text)
    else:
      parser.add_argument(
        name,
        type=field.type,
        default=field.default,
        choices=field.metadata.get("choices"),
        help=text,
      )


def settings_from(options: argparse.Namespace) -> training_settings.TrainingSettings:
  """Returns the settings that parsed options ask for.

  Args:
    options: Options of a parser with those of `add_options`.

  Raises:
    ValueError: If a value is not allowed.
  """
  values = vars(options)
  return training_settings.TrainingSettings(
    **{field.name: values[field.name] for field in _fields()}
  )


def _fields():
  return dataclasses.fields(training_settings.TrainingSettings)
