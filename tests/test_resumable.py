"""Steps that are kept: the same results after a stop, and nothing mistaken."""

import numpy as np
import pytest

from tfp_massmap import resumable


def _step(index):
  rng = np.random.default_rng(index)
  return dict(maps=rng.standard_normal([2, 3]), snr=0.5 * index, name=f"case {index}")


def test_goes_on_where_it_was_stopped(tmp_path):
  done = []

  def step(index):
    if index == 3 and 2 in done:
      raise KeyboardInterrupt
    done.append(index)
    return _step(index)

  with pytest.raises(KeyboardInterrupt):
    resumable.collect(step, 5, folder=tmp_path, label="a", progress=False)
  assert done == [0, 1, 2] and len(list(tmp_path.iterdir())) == 3
  done.clear()
  found = resumable.collect(step, 5, folder=tmp_path, label="a", progress=False)
  assert done == [3, 4]
  assert set(found) == {"maps", "snr", "name"} and found["maps"].shape == (5, 2, 3)
  for name, values in found.items():
    np.testing.assert_array_equal(values, [_step(index)[name] for index in range(5)])


def test_shows_progress(capsys):
  resumable.collect(_step, 2, unit="mock")
  assert "2/2" in capsys.readouterr().err


def test_other_runs_and_other_files_are_refused(tmp_path):
  resumable.collect(_step, 1, folder=tmp_path, label="a", progress=False)
  with pytest.raises(ValueError, match="of another run, 'a by tfp_massmap .*, not 'b"):
    resumable.collect(_step, 1, folder=tmp_path, label="b", progress=False)
  path = tmp_path / "step_00000.npz"
  np.savez(path, maps=np.zeros(2))
  with pytest.raises(ValueError, match="not a step that was kept"):
    resumable.collect(_step, 1, folder=tmp_path, label="a", progress=False)
  path.write_bytes(b"PK half a file")
  with pytest.raises(ValueError, match="not a step that was kept"):
    resumable.collect(_step, 1, folder=tmp_path, label="a", progress=False)


def test_objects_are_not_kept(tmp_path):
  with pytest.raises(TypeError, match="thing"):
    resumable.collect(
      lambda index: dict(thing=object()), 1, folder=tmp_path, progress=False
    )
  assert not list(tmp_path.iterdir())


def test_steps_of_several_shapes_are_refused():
  with pytest.raises(ValueError, match="Step 1 gives {'x': .1,.}, step 0 {'x': .0,.}"):
    resumable.collect(lambda index: dict(x=np.zeros(index)), 3, progress=False)
