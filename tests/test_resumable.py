"""Steps that are kept: the same results after an interruption, and nothing mistaken."""

import numpy as np
import pytest

from tfp_massmap import resumable


def _step(index):
  rng = np.random.default_rng(index)
  return dict(maps=rng.standard_normal([2, 3]), snr=0.5 * index, name=f"case {index}")


def test_resumes_where_it_was_interrupted(tmp_path):
  done = []

  def step(index):
    if index == 3 and 2 in done:
      raise KeyboardInterrupt
    done.append(index)
    return _step(index)

  given = dict(folder=tmp_path, label="a", progress=False)
  with pytest.raises(KeyboardInterrupt):
    resumable.collect(step, 5, **given)
  assert done == [0, 1, 2] and len(list(tmp_path.iterdir())) == 3
  done.clear()
  found = resumable.collect(step, 5, **given)
  assert done == [3, 4]
  assert set(found) == {"maps", "snr", "name"} and found["maps"].shape == (5, 2, 3)
  for name, values in found.items():
    np.testing.assert_array_equal(values, [_step(index)[name] for index in range(5)])


def test_shows_progress(capsys):
  resumable.collect(_step, 2, unit="mock")
  assert "2/2" in capsys.readouterr().err


def test_other_runs_are_refused_and_the_difference_is_named(tmp_path):
  """Entries that agree are not in the message; tuples and arrays of text are kept."""
  made = dict(seed=1, shape=(2, 3), sampler="guided")
  given = dict(folder=tmp_path, progress=False)
  resumable.collect(_step, 1, label=made, **given)
  resumable.collect(_step, 1, label=dict(made), **given)
  with pytest.raises(
    ValueError, match="of another run, with seed 1, not 2; shape"
  ) as e:
    resumable.collect(_step, 1, label=dict(made, seed=2, shape=(2, 4)), **given)
  assert "sampler" not in str(e.value) and "tfp_massmap 0" not in str(e.value)
  with pytest.raises(ValueError, match="label None, not 'b'"):
    resumable.collect(_step, 1, label="b", **given)


def test_files_that_are_no_steps_are_refused(tmp_path):
  given = dict(folder=tmp_path, label="a", progress=False)
  path = tmp_path / "step_00000.npz"
  np.savez(path, maps=np.zeros(2))
  with pytest.raises(ValueError, match="not a step that was kept"):
    resumable.collect(_step, 1, **given)
  path.write_bytes(b"PK half a file")
  with pytest.raises(ValueError, match="not a step that was kept"):
    resumable.collect(_step, 1, **given)


def test_objects_are_not_kept(tmp_path):
  with pytest.raises(TypeError, match="thing"):
    resumable.collect(
      lambda index: dict(thing=object()), 1, folder=tmp_path, progress=False
    )
  assert not list(tmp_path.iterdir())


def test_steps_of_several_shapes_are_kept_but_not_stacked():
  step = lambda index: dict(x=np.zeros(index))
  found = resumable.run_steps(step, 3, progress=False)
  assert [arrays["x"].shape for arrays in found] == [(0,), (1,), (2,)]
  with pytest.raises(ValueError, match=r"step 1 gives {'x': \(1,\)}, step 0 {'x': \(0"):
    resumable.collect(step, 3, progress=False)


def test_no_steps_are_refused():
  with pytest.raises(ValueError, match="num_steps must be positive; got 0"):
    resumable.collect(_step, 0, progress=False)
