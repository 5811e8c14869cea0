"""`SampleSet`: posterior samples with how they were drawn."""

import dataclasses
import pathlib

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class SampleSet:
  """Posterior samples with how they were drawn.

  Attributes:
    samples: `[num_samples, ny, nx]`, NumPy; read from `path` as needed, if there is one.
    method: Name of the sampler, see `samplers.METHODS`.
    num_score_evaluations: Evaluations of the prior's score or denoiser for a sample.
    seconds: Wall time, compilation included; the sum over all sittings of a resumed run.
    settings: Settings of the sampler, by name.
    diagnostics: What else the method measures, floats by name.
    path: FITS cube that holds the samples, or None.
  """

  samples: np.ndarray
  method: str
  _: dataclasses.KW_ONLY
  num_score_evaluations: float
  seconds: float
  settings: dict
  diagnostics: dict[str, float]
  path: pathlib.Path | None = None

  @property
  def acceptance(self) -> float | None:
    """Mean acceptance probability of all HMC steps; None without them."""
    return self.diagnostics.get("acceptance")

  @property
  def final_acceptance(self) -> float | None:
    """Mean acceptance probability at the last temperature; None without HMC steps."""
    return self.diagnostics.get("final acceptance")

  @property
  def header(self) -> dict:
    """Method, evaluations, diagnostics and settings, flat, for headers of products."""
    return {
      "method": self.method,
      "score evaluations per sample": self.num_score_evaluations,
      **self.diagnostics,
      **self.settings,
    }
