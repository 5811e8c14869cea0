"""`SampleSet`: posterior samples and how the sampling went."""

import dataclasses
import pathlib

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class SampleSet:
  """Posterior samples and how the sampling went.

  Attributes:
    samples: `[num_samples, ny, nx]`, NumPy; read from `path` as needed, if there is one.
    method: "guided", "guided+hmc" or "annealed".
    num_score_evaluations: per sample, a float.
    seconds: wall time, compilation included; of all sittings of a resumed run.
    settings: the sampler's settings, dict.
    diagnostics: what else the method measures, dict of names to floats.
    path: FITS cube that holds the samples, or None.
  """

  samples: np.ndarray
  method: str
  _: dataclasses.KW_ONLY
  num_score_evaluations: float
  seconds: float
  settings: dict
  diagnostics: dict
  path: pathlib.Path | None = None

  @property
  def acceptance(self):
    """Mean acceptance probability of all HMC steps; None without them."""
    return self.diagnostics.get("acceptance")

  @property
  def final_acceptance(self):
    """The same at the last temperature."""
    return self.diagnostics.get("final acceptance")
