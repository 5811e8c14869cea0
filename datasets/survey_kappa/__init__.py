"""tfds builder `survey_kappa`; see README.md."""
