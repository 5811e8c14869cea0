"""How fast training examples come, against how fast a network can take them.

    python examples/benchmarks/training_examples.py [--full] [--json FILE]

Examples of 360 x 360 pixels from maps of 1024 x 1024. The fastest network of interest
evaluates one in 0.15 s on two CPU cores, and trains on it three times slower; the ratio
printed is to the evaluation.
"""

import argparse
import json
import pathlib
import time

import numpy as np

from tfp_massmap.priors import training_examples

NETWORK_SECONDS = 0.15


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--full", action="store_true", help="1,600 examples, not 320")
  parser.add_argument("--json", type=pathlib.Path)
  arguments = parser.parse_args()
  maps = np.random.default_rng(0).standard_normal([16, 1024, 1024], np.float32)
  examples = training_examples.training_examples(
    maps,
    (360, 360),
    batch_size=8,
    sigma_law=training_examples.LogUniformSigma(0.01, 1.0),
    seed=0,
    periodic=True,
  )  # pyformat: disable
  num_batches = 200 if arguments.full else 40
  batches = iter(examples)
  for _ in range(10):  # fills the buffers, starts the threads
    next(batches)
  start = time.perf_counter()
  for _ in range(num_batches):
    next(batches)
  rate = 8 * num_batches / (time.perf_counter() - start)
  ratio = rate * NETWORK_SECONDS
  print(f"{rate:.0f} examples a second, {ratio:.0f} times what the network takes")
  if arguments.json:
    figures = dict(examples_per_second=rate, ratio_to_network=ratio)
    arguments.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
  main()
