"""Which arithmetic, compiler and distribution strategy serve this machine best.

All samplers, solvers and trainings ask this module; no other module has a default of its
own. `examples/benchmarks/network.py` measures the choices: on a processor with bfloat16
instructions the convolutions of the default network take 0.074 s in bfloat16 and 0.118 s
in float32 for a map of 360 x 360 pixels (one core, oneDNN), and 0.13 to 0.15 s through
XLA. Nothing has been measured on a GPU, where the choice is float32 and XLA.
"""

import os
import pathlib

import tensorflow as tf

_CPU_INFO = pathlib.Path("/proc/cpuinfo")
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}


def resolve_compute_dtype(compute_dtype: str) -> str:
  """Returns `compute_dtype`, or the dtype that "auto" stands for on this machine."""
  if compute_dtype != "auto":
    return compute_dtype
  if tf.config.list_physical_devices("GPU"):
    return "float32"
  return "bfloat16" if _has_bfloat16() else "float32"


def resolve_jit_compile(jit_compile: bool | None, *, has_network: bool) -> bool:
  """Returns `jit_compile`, or the choice for this machine where it is None.

  Fourier transforms and sampler loops gain from XLA everywhere. Convolutions lose on
  processors, where oneDNN is faster than the code that XLA generates.

  Args:
    jit_compile: True, False, or None for the choice of this module.
    has_network: Whether the compiled function contains convolutions.
  """
  if jit_compile is not None:
    return jit_compile
  return not has_network or bool(tf.config.list_physical_devices("GPU"))


def choose_strategy() -> tf.distribute.Strategy | None:
  """Returns the `tf.distribute` strategy of this machine; None for one device.

  Several GPUs share every batch. Several machines do so too where the environment
  variable `TF_CONFIG` names them.
  """
  if "TF_CONFIG" in os.environ:
    return tf.distribute.MultiWorkerMirroredStrategy()
  if len(tf.config.list_physical_devices("GPU")) > 1:
    return tf.distribute.MirroredStrategy()
  return None


def _has_bfloat16() -> bool:
  """Returns whether the processor multiplies bfloat16; False where that is unknown."""
  try:
    lines = _CPU_INFO.read_text(encoding="ascii", errors="replace").splitlines()
  except OSError:
    return False
  for line in lines:
    name, _, flags = line.partition(":")
    if name.strip() == "flags":
      return bool(_BFLOAT16_FLAGS & set(flags.split()))
  return False
