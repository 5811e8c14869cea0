"""The choice of arithmetic, compiler and strategy of a machine."""

import pytest
import tensorflow as tf

from tfp_massmap import devices


@pytest.fixture(name="set_machine")
def _set_machine(monkeypatch, tmp_path):
  """Returns a function that pretends to be on a machine with these flags and GPUs."""

  def set_machine(flags, num_gpus=0):
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor : 0\nflags\t\t: fpu {flags}\n", encoding="ascii")
    monkeypatch.setattr(devices, "_CPU_INFO", info)
    gpus = ["GPU"] * num_gpus
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)

  return set_machine


@pytest.mark.parametrize(
  "flags, num_gpus, expected",
  [
    ("avx2", 0, "float32"),
    ("avx2 avx512_bf16", 0, "bfloat16"),
    ("amx_bf16", 0, "bfloat16"),
    ("amx_bf16", 1, "float32"),
  ],
)
def test_dtype_of_a_machine(flags, num_gpus, expected, set_machine):
  set_machine(flags, num_gpus)
  assert devices.resolve_compute_dtype("auto") == expected
  assert devices.resolve_compute_dtype("float16") == "float16"


def test_dtype_where_the_processor_is_unknown(monkeypatch, tmp_path):
  monkeypatch.setattr(devices, "_CPU_INFO", tmp_path / "absent")
  monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
  assert devices.resolve_compute_dtype("auto") == "float32"


@pytest.mark.parametrize("num_gpus", [0, 1])
@pytest.mark.parametrize("has_network", [False, True])
def test_xla_serves_all_but_convolutions_on_processors(
  num_gpus, has_network, set_machine
):
  set_machine("avx2", num_gpus)
  chosen = devices.resolve_jit_compile(None, has_network=has_network)
  assert chosen == (num_gpus > 0 or not has_network)
  for given in (False, True):
    assert devices.resolve_jit_compile(given, has_network=has_network) is given


def test_strategy_of_a_machine(set_machine, monkeypatch):
  monkeypatch.delenv("TF_CONFIG", raising=False)
  for num_gpus in (0, 1):
    set_machine("avx2", num_gpus)
    assert devices.choose_strategy() is None
