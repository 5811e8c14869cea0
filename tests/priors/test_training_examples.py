"""Training examples: crops, symmetries and noise of known maps."""

import itertools

import numpy as np
import pytest
from scipy import stats
import tensorflow as tf

from tfp_massmap.priors import noise_laws
from tfp_massmap.priors import training_examples

LAW = noise_laws.LogUniformSigma(0.01, 1.0)
RNG = np.random.default_rng(0)


def _batches(maps, num, *, crop=(4, 4), batch=8, seed=1, periodic=False, first_batch=0):
  settings = training_examples.ExampleSettings(
    crop, batch, sigma_law=LAW, seed=seed, periodic=periodic
  )
  examples = training_examples.training_examples(
    maps, settings, first_batch=first_batch
  )
  batches = list(examples.take(num).as_numpy_iterator())
  return {k: np.concatenate([b[k] for b in batches]) for k in batches[0]}


def _symmetries(square):
  for turn, flip in itertools.product(range(4), (False, True)):
    yield np.rot90(square[:, ::-1] if flip else square, turn)


@pytest.mark.parametrize("periodic", [False, True])
def test_crops_are_turned_pieces_of_the_maps(periodic):
  """All pieces and symmetries appear: 1,600 examples, 3 x 9 (or 25) x 8 outcomes."""
  maps = RNG.standard_normal([3, 5, 5]).astype(np.float32)
  clean = _batches(maps, 200, crop=(3, 3), periodic=periodic)["clean"]
  known = {}
  for number, kappa in enumerate(maps):
    tiled = np.tile(kappa, (2, 2)) if periodic else kappa
    starts = range(5) if periodic else range(3)
    for row, column in itertools.product(starts, starts):
      piece = tiled[row : row + 3, column : column + 3]
      for turn, turned in enumerate(_symmetries(piece)):
        known[turned.tobytes()] = (number, row, column, turn)
  counts = {}
  for crop in clean:
    place = known[crop.tobytes()]  # Fails for anything that is not a piece.
    counts[place] = counts.get(place, 0) + 1
  # chi^2 of the maps and of the symmetries, each with a false alarm once in 10,000.
  for part in (0, 3):
    totals = np.zeros(3 if part == 0 else 8)
    for place, count in counts.items():
      totals[place[part]] += count
    assert stats.chisquare(totals).pvalue > 1e-4
  if not periodic:
    assert len(counts) == 3 * 9 * 8


def test_noise_has_its_sigma():
  """chi^2 of 3,200 pixels is within 5 standard deviations."""
  maps = RNG.standard_normal([4, 16, 16])
  batch = _batches(maps, 25)
  assert {k: v.dtype for k, v in batch.items()} == dict.fromkeys(batch, np.float32)
  white = (batch["noisy"] - batch["clean"]) / batch["sigma"][:, None, None]
  # Differences of float32 numbers near one lose digits at the smallest sigma.
  assert abs((white**2).sum() - white.size) < 5 * np.sqrt(2 * white.size)
  assert len(np.unique(batch["sigma"])) == 200


def test_examples_depend_on_seed_and_number_alone():
  maps = RNG.standard_normal([5, 12, 12])
  all_ = _batches(maps, 6)
  resumed = _batches(maps, 2, first_batch=4)
  other_size = _batches(maps, 3, batch=16)
  for name, values in all_.items():
    np.testing.assert_array_equal(resumed[name], values[32:])
    np.testing.assert_array_equal(other_size[name], values)
  assert not np.array_equal(_batches(maps, 6, seed=2)["noisy"], all_["noisy"])


def test_data_sets_are_taken_in_their_own_order():
  maps = RNG.standard_normal([3, 4, 4]).astype(np.float32)
  source = tf.data.Dataset.from_tensor_slices(dict(kappa=maps, index=[0, 1, 2]))
  clean = _batches(source, 3, batch=4)["clean"]
  for number, crop in enumerate(clean):
    turns = _symmetries(maps[number % 3])
    assert any(np.array_equal(crop, turned) for turned in turns)
  resumed = _batches(source, 2, batch=4, first_batch=1)["clean"]
  np.testing.assert_array_equal(resumed, clean[4:])


@pytest.mark.parametrize(
  "maps, options, message",
  [
    (np.zeros([4, 4]), {}, r"\[n, ny, nx\]"),
    (np.zeros([0, 4, 4]), {}, r"\[n, ny, nx\]"),
    (np.full([1, 4, 4], np.nan), {}, "not finite"),
    (np.zeros([1, 4, 4]), dict(crop=(5, 5)), "do not fit"),
    (np.zeros([1, 4, 4]), dict(crop=(2, 3)), "square"),
    (np.zeros([1, 4, 4]), dict(batch=0), "batch_size"),
    (tf.data.Dataset.from_tensors(dict(shear=np.zeros([4, 4]))), {}, "no feature"),
    (tf.data.Dataset.from_tensors(np.zeros([4])), {}, "one map"),
  ],
)
def test_maps_and_crops_that_do_not_fit_are_refused(maps, options, message):
  with pytest.raises(ValueError, match=message):
    _batches(maps, 1, **options)
