"""Runs resume and are kept in one file; other runs are refused."""

import dataclasses

from astropy import units as u
import numpy as np
import pytest

from tfp_massmap import calibration
from tfp_massmap import geometry
from tfp_massmap.calibration import statistics


@pytest.fixture
def draw(toy):
  """Draws a truth and four samples, and keeps the numbers it was asked for."""

  def draw_truth(index):
    if index == draw_truth.interrupted_at:
      raise KeyboardInterrupt
    draw_truth.calls.append(index)
    rng = np.random.default_rng(index)
    return toy.field(rng), toy.field(rng, 4), toy.mask

  draw_truth.calls, draw_truth.interrupted_at = [], None
  return draw_truth


def _assert_same(first, second):
  """Checks that two runs have the same records, to the last bit and in order."""
  assert len(first) == len(second)
  for one, other in zip(first, second):
    one, other = one.to_arrays(), other.to_arrays()
    assert list(one) == list(other)
    for name, values in one.items():
      assert values.dtype == other[name].dtype
      np.testing.assert_array_equal(values, other[name])


def test_an_interrupted_run_resumes(draw, toy, tmp_path):
  path = tmp_path / "run.npz"
  given = dict(grid=toy.grid, settings=toy.settings, label="a", progress=False)
  draw.interrupted_at = 2
  with pytest.raises(KeyboardInterrupt):
    calibration.run(draw, 3, path=path, **given)
  assert [p.name for p in tmp_path.iterdir()] == ["run.npz.part"]
  draw.interrupted_at = None
  records = calibration.run(draw, 3, path=path, **given)
  assert draw.calls == [0, 1, 2]
  assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]
  _assert_same(records, calibration.run(draw, 3, **given))


def test_a_finished_run_is_read_and_can_be_extended(draw, toy, tmp_path):
  path = tmp_path / "run.npz"
  given = dict(grid=toy.grid, settings=toy.settings, path=path, label="a")
  first = calibration.run(draw, 2, **given)
  _assert_same(first, calibration.run(draw, 2, **given))
  _assert_same(first[:1], calibration.run(draw, 1, **given))
  more = calibration.run(draw, 3, **given)
  assert draw.calls == [0, 1, 2]
  _assert_same(first, more[:2])
  _assert_same(more, calibration.load_run(path))


def test_other_runs_are_refused(draw, toy, tmp_path):
  """Whether finished or going on; the message names the difference."""
  coarse = geometry.PixelGrid(toy.grid.shape, 0.6 * u.arcmin)
  fewer = dataclasses.replace(toy.settings, num_references=2)
  given = dict(grid=toy.grid, settings=toy.settings, label="a", progress=False)
  draw.interrupted_at = 2
  unfinished, finished = tmp_path / "unfinished.npz", tmp_path / "finished.npz"
  with pytest.raises(KeyboardInterrupt):
    calibration.run(draw, 3, path=unfinished, **given)
  calibration.run(draw, 2, path=finished, **given)
  for path, scale in (
    (unfinished, "pixel_arcmin 0.29, not 0.6"),
    (finished, "another size or pixel scale"),
  ):
    for change, message in (
      (dict(label="b"), "label 'a', not 'b'"),
      (dict(settings=fewer), "num_references 4, not 2"),
      (dict(grid=coarse), scale),
    ):
      with pytest.raises(ValueError, match=f"of another run, with .*{message}"):
        calibration.run(draw, 2, path=path, **{**given, **change})


def test_a_run_in_one_file_gives_the_same_table(calibrated, tmp_path):
  path = tmp_path / "run.npz"
  calibration.save_run(path, calibrated)
  loaded = calibration.load_run(path)
  _assert_same(calibrated, loaded)
  assert str(calibration.table(loaded)) == str(calibration.table(calibrated))
  with pytest.raises(FileExistsError):
    calibration.save_run(path, calibrated)
  with np.load(path, allow_pickle=False) as arrays:
    assert not any(arrays[name].dtype.hasobject for name in arrays.files)


def test_truths_of_one_file_may_have_different_tests(toy, tmp_path):
  """A truth whose mask has no gap has no pixels near one."""
  maps = toy.field(np.random.default_rng(0), 4)
  records = [
    calibration.measure(
      maps[1:], maps[0], grid=toy.grid, mask=mask, settings=toy.settings
    )
    for mask in (None, toy.mask, None)
  ]
  calibration.save_run(tmp_path / "run.npz", records)
  _assert_same(records, calibration.load_run(tmp_path / "run.npz"))


def test_files_that_are_no_runs_are_refused(calibrated, tmp_path):
  np.savez(tmp_path / "x.npz", a=1)
  (tmp_path / "y.npz").write_bytes(b"PK half a file")
  for name in ("x.npz", "y.npz"):
    with pytest.raises(ValueError, match="was not written by `save_run`"):
      calibration.load_run(tmp_path / name)
    with pytest.raises(ValueError, match="was not written by `population`"):
      calibration.load_population(tmp_path / name)
  other = dataclasses.replace(calibrated[0], label="other")
  with pytest.raises(ValueError, match="one label"):
    calibration.save_run(tmp_path / "z.npz", [*calibrated[1:3], other])


def test_population_of_pieces_is_kept(toy, tmp_path, capsys):
  calls, rng = [], np.random.default_rng(11)
  large = rng.standard_normal([3, 2, 64, 96])

  def maps(index):
    calls.append(index)
    return large[index]

  path = tmp_path / "population.npz"
  given = dict(grid=toy.grid, mask=toy.mask, settings=toy.settings, path=path)
  calibration.population(maps, 2, **given)
  power = calibration.population(maps, 3, **given)
  pieces = [
    large[1, i, 32 * y : 32 * y + 32, 32 * x : 32 * x + 32]
    for i in range(2)
    for y in range(2)
    for x in range(3)
  ]
  one = calibration.map_band_power(
    pieces, toy.grid, mask=toy.mask, settings=toy.settings
  ).mean(axis=0)
  np.testing.assert_allclose(power[1], one)
  np.testing.assert_array_equal(calibration.population(maps, 2, **given), power[:2])
  np.testing.assert_array_equal(calibration.load_population(path), power)
  assert calls == [0, 1, 2] and "map/s" in capsys.readouterr().err
  assert [p.name for p in tmp_path.iterdir()] == ["population.npz"]
  for change in (
    dict(grid=geometry.PixelGrid((32, 32), 0.6 * u.arcmin)),
    dict(mask=None),
    dict(settings=dataclasses.replace(toy.settings, remove_mean=True)),
    dict(label="more"),
  ):
    with pytest.raises(ValueError, match="is of another run"):
      calibration.population(maps, 3, **{**given, **change})
  with pytest.raises(ValueError, match="maps must be"):
    calibration.population(lambda _: np.ones([1, 32, 40]), 2, grid=toy.grid)


def test_intervals_as_samples(toy):
  """A mean with its error passes the tests of pixels, with half the error it fails."""
  results, num = {}, toy.num_samples
  for factor in (1.0, 0.5):
    records = []
    for index in range(20):
      rng = np.random.default_rng([3, index])
      mean = toy.field(rng)
      truth = mean + toy.field(rng)
      std = factor * np.ones(toy.grid.shape)
      samples = calibration.samples_of_intervals(mean, std, num_samples=num, seed=index)
      settings = calibration.Settings(num_bands=0, patch=0)
      records.append(
        calibration.measure(samples, truth, grid=toy.grid, settings=settings)
      )
    results[factor] = calibration.coverage(records, "pixels: observed")
  assert (abs(results[1.0].value - [0.68, 0.95]) < 4 * results[1.0].error).all()
  wanted = toy.expected_ranks(0.5, 0.0, num)
  wanted = wanted @ statistics.interval_weights(0.68, num + 1)
  assert abs(results[0.5].value[0] - wanted) < 4 * results[0.5].error[0]
  with pytest.raises(ValueError, match="must not be negative"):
    calibration.samples_of_intervals(
      np.zeros([2, 2]), -np.ones([2, 2]), num_samples=3, seed=0
    )
