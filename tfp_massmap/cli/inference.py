"""`--infer-cosmology`: mocks of the survey that tell the cosmology from the data."""

import argparse
import pathlib
import typing

if typing.TYPE_CHECKING:
  from tfp_massmap import cosmology_inference
  from tfp_massmap import shear_map as shear_map_lib
  from tfp_massmap.cli import survey as survey_lib


def prepare(
  options: argparse.Namespace,
  survey: "survey_lib.Survey",
  *,
  shear_map: "shear_map_lib.ShearMap",
  folder: pathlib.Path,
) -> "cosmology_inference.Inference | None":
  """Simulates the mocks of a survey, or returns None without `--infer-cosmology`.

  Args:
    options: See `arguments`.
    survey: The survey, with its n(z) and the errors of its cosmology.
    shear_map: `shear_map.ShearMap` of it, or of the part that is mocked, corrected by the
      mean errors of the shear, as those must be that the result is called with.
    folder: Folder of the mocks, in which an interrupted call resumes.

  Raises:
    ValueError: If the cosmology has no errors, or the n(z) is not known.
  """
  if not options.infer_cosmology:
    return None
  from tfp_massmap import cosmology_inference
  from tfp_massmap import theory

  cosmologies = survey.cosmology
  if not isinstance(cosmologies, theory.CosmologyPrior) or not cosmologies.is_uncertain:
    raise ValueError(
      "--infer-cosmology needs to know where to look: give --cosmology with errors, for"
      " example sigma_8=0.80+-0.10."
    )
  if survey.sources is None:
    raise ValueError(
      "--infer-cosmology needs the n(z) of the galaxies: give --redshift, --nz or"
      " --mean-redshift."
    )
  return cosmology_inference.Inference.of_survey(
    shear_map,
    survey.sources,
    cosmologies=cosmologies,
    num_mocks=options.infer_cosmology,
    folder=folder,
    progress=not options.quiet,
  )
