"""Which arithmetic and compiler serve a device best, as measured.

On a processor with bfloat16 instructions, convolutions of the default network at 360 x
360 pixels take .074 s in bfloat16 and .118 s in float32 (one core, oneDNN), .13 to .15 s
through XLA. `examples/benchmarks/network.py` measures it. On a GPU nothing was measured:
float32, and XLA.
"""

import pathlib

import tensorflow as tf

_CPU_INFO = pathlib.Path("/proc/cpuinfo")
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}


def resolve_compute_dtype(compute_dtype):
  """Name of a dtype: `compute_dtype`, or what "auto" means on this machine."""
  if compute_dtype != "auto":
    return compute_dtype
  if tf.config.list_physical_devices("GPU"):
    return "float32"
  return "bfloat16" if _has_bfloat16() else "float32"


def compile_networks():
  """Whether XLA serves graphs with convolutions: not on processors."""
  return bool(tf.config.list_physical_devices("GPU"))


def _has_bfloat16():
  """Whether the processor multiplies bfloat16; false where that is unknown."""
  try:
    lines = _CPU_INFO.read_text(encoding="ascii", errors="replace").splitlines()
  except OSError:
    return False
  for line in lines:
    name, _, flags = line.partition(":")
    if name.strip() == "flags":
      return bool(_BFLOAT16_FLAGS & set(flags.split()))
  return False
