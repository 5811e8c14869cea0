"""Computes checksums of posterior samples, which show that no number has changed.

    python examples/benchmarks/sample_checksums.py [--compare]

The samples are those of three methods with a Gaussian prior and with the shipped one,
on a masked map of 32 x 32 pixels, with fixed seeds and one thread. The script records
the checksums in `sample_checksums.json`, beside this file. With --compare it compares
them with the record instead, and exits with status 1 if one differs. The bits depend on
the processor and on the versions of TensorFlow and NumPy, which the file names: on
another machine, record them before the change of the code.
"""

import argparse
from collections.abc import Iterator
import hashlib
import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from astropy import units as u
import numpy as np
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import io
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import priors
from tfp_massmap import samplers
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import spectra

RECORD = pathlib.Path(__file__).with_suffix(".json")
SHAPE = (32, 32)
METHODS = ("guided", "guided+hmc", "annealed")
SEED = 5


def make_shear_map() -> shear_map_lib.ShearMap:
  """Returns a masked map of noise."""
  rng = np.random.default_rng(SEED)
  noise_std = rng.uniform(0.05, 0.2, [2, *SHAPE])
  mask = rng.uniform(size=SHAPE) > 0.2
  shear = noise_std * rng.standard_normal(noise_std.shape)
  grid = geometry.PixelGrid(SHAPE, 0.29 * u.arcmin)
  return shear_map_lib.ShearMap(shear, noise_std, mask=mask, grid=grid)


def checksums() -> Iterator[tuple[str, str]]:
  """Yields the name of a run and the checksum of its samples."""
  shear_map = make_shear_map()
  likelihood = likelihood_lib.ShearLikelihood(shear_map)
  all_priors = {
    "gaussian": priors.GaussianPrior.from_spectrum(
      spectra.PowerSpectrum.fiducial_cosmos(), shear_map.grid
    ),
    # In bfloat16, which some processors have, bits would differ more often.
    "cosmos-halo": priors.HybridPrior.load(
      "cosmos-halo", shear_map.grid, compute_dtype="float32"
    ),
  }
  options = samplers.RunOptions(batch_size=2, jit_compile=False, progress=False)
  for prior_name, prior in all_priors.items():
    posterior = posterior_lib.Posterior(likelihood, prior)
    for method in METHODS:
      result = samplers.sample(posterior, 3, seed=SEED, method=method, options=options)
      samples = np.ascontiguousarray(result.samples)
      digest = hashlib.sha256(samples.tobytes()).hexdigest()[:16]
      yield f"{method}, {prior_name}", digest


def processor() -> str:
  """Returns the name of the processor."""
  lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
  return next(line.split(": ")[1] for line in lines if line.startswith("model name"))


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument(
    "--compare", action="store_true", help="compare with the recorded checksums"
  )
  options = parser.parse_args()
  # The order of sums depends on the number of threads.
  tf.config.threading.set_intra_op_parallelism_threads(1)
  tf.config.threading.set_inter_op_parallelism_threads(1)
  recorded = json.loads(RECORD.read_text(encoding="utf-8")) if options.compare else {}
  found = {}
  for name, digest in checksums():
    found[name] = digest
    same = ""
    if options.compare:
      same = "  same" if recorded["checksums"].get(name) == digest else "  DIFFERS"
    print(f"{name:28s} {digest}{same}", flush=True)
  if options.compare:
    sys.exit(0 if recorded["checksums"] == found else 1)
  made = dict(processor=processor(), versions=io.library_versions(), checksums=found)
  RECORD.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
  main()
