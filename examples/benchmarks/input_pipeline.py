"""Measures how fast training examples come, and how fast a network can use them.

    python examples/benchmarks/input_pipeline.py [--full] [--json FILE]

Examples have 360 x 360 pixels, cut from maps of 1024 x 1024. The fastest network of
interest evaluates one in 0.15 s on two CPU cores, and a training step takes three times
as long. The printed ratio is to the evaluation.
"""

import argparse
import json
import pathlib
import time

import numpy as np

from tfp_massmap.priors import noise_laws
from tfp_massmap.priors import training_examples

NETWORK_SECONDS = 0.15  # See above.


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--full", action="store_true", help="1,600 examples, not 320")
  parser.add_argument("--json", type=pathlib.Path)
  arguments = parser.parse_args()
  maps = np.random.default_rng(0).standard_normal([16, 1024, 1024], np.float32)
  settings = training_examples.ExampleSettings(
    (360, 360),
    8,
    sigma_law=noise_laws.LogUniformSigma(0.01, 1.0),
    seed=0,
    periodic=True,
  )
  examples = training_examples.training_examples(maps, settings)
  num_batches = 200 if arguments.full else 40
  batches = iter(examples)
  for _ in range(10):  # These fill the buffers and start the threads.
    next(batches)
  start = time.perf_counter()
  for _ in range(num_batches):
    next(batches)
  rate = 8 * num_batches / (time.perf_counter() - start)
  ratio = rate * NETWORK_SECONDS
  print(f"{rate:.0f} examples a second, {ratio:.0f} times what the network can use")
  if arguments.json:
    figures = dict(examples_per_second=rate, ratio_to_network=ratio)
    arguments.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
  main()
