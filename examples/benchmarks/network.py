"""Measures time and memory of the networks.

    python examples/benchmarks/network.py [--full] [--json FILE]

Each row is a process of its own: preset, arithmetic of the convolutions, pixels a side,
batch, with or without XLA. Its figures are the median seconds of an evaluation and of a
training step (loss and gradients), and the peak memory of the process. Maps have 180
pixels a side; with `--full` 180 to 1440.
"""

import argparse
import concurrent.futures
import itertools
import json
import multiprocessing
import pathlib
import resource
import time

import numpy as np

REPEATS = 5  # The median of five times is steady enough to compare networks.


def median_seconds(function):
  function()
  times = []
  for _ in range(REPEATS):
    start = time.perf_counter()
    function()
    times.append(time.perf_counter() - start)
  return float(np.median(times))


def measure(preset, compute_dtype, size, batch, jit_compile, training):
  """Returns the figures of one row, measured in this process."""
  import tensorflow as tf

  from tfp_massmap.nn import architectures

  network = architectures.build(preset, compute_dtype)
  maps = tf.random.stateless_normal(
    [batch, size, size, network.inputs[0].shape[-1]], (1, 2)
  )
  sigma = tf.fill([batch], 0.1)

  @tf.function(jit_compile=jit_compile)
  def evaluate():
    return network([maps, sigma], training=False)

  @tf.function(jit_compile=jit_compile)
  def train():
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean(tf.square(network([maps, sigma], training=True) - 1))
    weights = [w.value for w in network.trainable_weights]
    return sum(tf.reduce_sum(tf.abs(g)) for g in tape.gradient(loss, weights))

  figures = dict(
    preset=preset,
    compute_dtype=compute_dtype,
    size=size,
    batch=batch,
    xla=jit_compile,
    parameters=network.count_params(),
    evaluation_seconds=median_seconds(lambda: evaluate().numpy()),
  )
  if training:
    figures["training_seconds"] = median_seconds(lambda: train().numpy())
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return {**figures, "peak_gib": peak / 2**20}


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--full", action="store_true")
  parser.add_argument("--json", type=pathlib.Path)
  options = parser.parse_args()
  cases = [(180, 1), (180, 8)]
  if options.full:
    cases += [(360, 1), (360, 4), (720, 1), (1440, 1)]
  context = multiprocessing.get_context("spawn")
  rows = []
  print(
    "preset   arithmetic pixels batch  XLA  parameters  evaluate s  train step s"
    "  peak GiB"
  )
  kinds = itertools.product(
    ("default", "paper"), cases, ("float32", "bfloat16"), (False, True)
  )
  for preset, (size, batch), compute_dtype, jit_compile in kinds:
    # Gradients of the largest maps do not fit into the memory of a small machine.
    training = size * size * batch <= 600_000
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
      row = pool.submit(
        measure, preset, compute_dtype, size, batch, jit_compile, training
      ).result()
    rows.append(row)
    step = row.get("training_seconds")
    print(
      f"{preset:<8} {compute_dtype:<10} {size:>6} {batch:>5}  {jit_compile!s:<5}"
      f"{row['parameters']:>10}  {row['evaluation_seconds']:>10.3f}"
      f"  {f'{step:.3f}' if step else '-':>12}  {row['peak_gib']:>8.2f}",
      flush=True,
    )
  if options.json:
    options.json.write_text(json.dumps(rows, indent=2), encoding="utf-8")


if __name__ == "__main__":
  main()
