"""`ShearMap`: FITS round trip, atomic files, validation, the test of handedness."""

import dataclasses

from astropy import units as u
from astropy.io import fits
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import catalog
from tfp_massmap import geometry
from tfp_massmap import io
from tfp_massmap import lensing
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import sign_check
from tfp_massmap import simulate
from tfp_massmap import spectra


def test_round_trip(tmp_path):
  grid = geometry.PixelGrid.tangent((150.1, 2.2), (12, 17), pixel_scale=0.5 * u.arcmin)
  rng = np.random.default_rng(0)
  mask = rng.uniform(size=grid.shape) > 0.3
  original = shear_map_lib.ShearMap(
    shear=rng.standard_normal((2, *grid.shape)).astype(np.float32),
    noise_std=rng.uniform(0.1, 0.2, (2, *grid.shape)),
    mask=mask,
    grid=grid,
    count=mask * 3,
    settings=dict(sigma_e1=0.3, flip_e2=True, noise="weighted", data="Jos\u00e9"),
  )
  path = tmp_path / "sub" / "shear.fits"
  original.save(path)
  loaded = shear_map_lib.ShearMap.load(path)
  for name in ("shear", "noise_std", "mask", "count"):
    np.testing.assert_array_equal(getattr(loaded, name), getattr(original, name))
  # FITS cards are ASCII.
  assert loaded.settings == {**original.settings, "data": r"Jos\xe9"}
  assert loaded.shear.dtype == np.float32 and loaded.noise_std.dtype == np.float64
  assert loaded.grid.shape == grid.shape
  np.testing.assert_allclose(
    loaded.grid.world_to_pixel(150.15, 2.21), grid.world_to_pixel(150.15, 2.21)
  )
  with fits.open(path, checksum=True) as hdus:
    assert hdus[0].header["CREATOR"].startswith("tfp_massmap")
    assert "BUNIT" in hdus[0].header and hdus["COUNT"].header["BUNIT"] == "count"
    assert hdus[0].header["CTYPE1"] == "RA---TAN"


def test_files_are_not_overwritten_or_left_half_written(tmp_path, make_shear_map):
  path = tmp_path / "shear.fits"
  make_shear_map((8, 8)).save(path)
  before = path.read_bytes()
  with pytest.raises(FileExistsError, match="--overwrite"):
    make_shear_map((8, 8), seed=1).save(path)
  assert path.read_bytes() == before
  with pytest.raises(KeyboardInterrupt):
    with io.atomic_path(path, overwrite=True) as temporary:
      with open(temporary, "w", encoding="utf-8") as half:
        half.write("half")
      raise KeyboardInterrupt
  assert path.read_bytes() == before
  assert list(tmp_path.iterdir()) == [path]
  make_shear_map((8, 8), seed=1).save(path, overwrite=True)
  assert path.read_bytes() != before


def test_unwritable_places_are_named_at_once(tmp_path):
  io.check_writable(tmp_path / "new" / "folder" / "file.fits")
  assert not (tmp_path / "new").exists()
  with pytest.raises(IsADirectoryError, match="name a file"):
    io.check_writable(tmp_path, overwrite=True)
  (tmp_path / "file").write_text("x")
  with pytest.raises(OSError, match="not a folder one may write to"):
    io.check_writable(tmp_path / "file" / "x.fits")
  with pytest.raises(ValueError, match="1 to 40 ASCII characters"):
    io.provenance_header({"x" * 41: 1})


def test_other_fits_files_are_refused(tmp_path):
  path = tmp_path / "image.fits"
  fits.PrimaryHDU(np.zeros((3, 3))).writeto(path)
  with pytest.raises(ValueError, match="is not a shear map"):
    shear_map_lib.ShearMap.load(path)


def test_bad_maps(make_shear_map):
  good = make_shear_map((6, 8))
  inside = np.argwhere(good.mask)[0]
  outside = np.argwhere(~good.mask)[0]

  def changed(name, where, value):
    array = getattr(good, name).copy()
    array[(slice(None), *where)] = value
    return {name: array}

  where = f"row {inside[0]}, column {inside[1]}"
  for changes, message in [
    (changed("noise_std", inside, 0.0), f"positive and finite.*{where}"),
    (changed("noise_std", inside, np.inf), "positive and finite"),
    (changed("shear", inside, np.nan), f"shear must be finite.*{where}"),
    (dict(mask=np.zeros((6, 8), bool)), "mask is empty"),
    (dict(mask=np.ones((6, 8)) * 0.5), "mask must be boolean"),
    (dict(mask=np.ones((8, 6), bool)), r"mask must have shape \(6, 8\)"),
    (dict(shear=np.zeros((6, 8))), "shear must have shape"),
    (dict(noise_std=np.ones((2, 6, 7))), "noise_std must have shape"),
    (dict(count=np.ones((2, 2))), "count must have shape"),
  ]:
    with pytest.raises(ValueError, match=message):
      dataclasses.replace(good, **changes)
  # Outside the mask anything goes; one noise map serves both components.
  dataclasses.replace(good, **changed("shear", outside, np.nan))
  dataclasses.replace(good, **changed("noise_std", outside, 0.0))
  both = dataclasses.replace(good, noise_std=good.noise_std[0])
  np.testing.assert_array_equal(both.noise_std[1], good.noise_std[0])


def _mock(seed):
  grid = geometry.PixelGrid((128, 128), 0.8 * u.arcmin)
  variance = spectra.PowerSpectrum.fiducial_cosmos().mode_variance(grid)
  kappa = spectra.gaussian_field(variance, grid.shape, seed=(seed, 1)).numpy()
  return simulate.mock_observation(
    kappa, grid, survey=simulate.cosmos_like_survey(), seed=seed
  )


def test_handedness_of_mock_surveys():
  for seed in range(3):
    mock = _mock(seed)
    good = sign_check.check_handedness(mock)
    assert good.verdict == "consistent", str(good)
    # Pure E modes: the B-mode excess is what the mask mixes in, 10 to 20 %.
    assert abs(good.b_mode) < 0.25 * good.e_mode
    flip = np.array([1, -1])[:, np.newaxis, np.newaxis]
    wrong = dataclasses.replace(mock, shear=mock.shear * flip)
    bad = sign_check.check_handedness(wrong)
    assert bad.verdict == "wrong sign of e2"
    assert bad.difference == pytest.approx(-good.difference, rel=1e-4)
    np.testing.assert_array_equal(wrong.shear, mock.shear * flip)  # left as it was


def test_handedness_without_signal_is_undecided():
  differences = []
  for seed in range(12):
    mock = _mock(0)
    noise = mock.noise_std * np.random.default_rng(seed).standard_normal(
      mock.shear.shape
    )
    differences.append(
      sign_check.check_handedness(dataclasses.replace(mock, shear=noise)).difference
    )
  # Unit normal: the largest of 12 is beyond 4 in 1 of 1,300 runs.
  assert np.abs(differences).max() < 4
  assert 0.4 < np.std(differences) < 1.8


def test_a_handful_of_pixels_decides_nothing():
  mock = _mock(0)
  mask = np.zeros(mock.grid.shape, bool)
  mask[60, 60:63] = True
  few = dataclasses.replace(mock, mask=mask, noise_std=np.full(mask.shape, 0.1))
  few = dataclasses.replace(few, shear=np.ones_like(few.shear))
  assert sign_check.check_handedness(few).verdict == "undecided"


def test_pure_b_modes_are_seen_as_such():
  mock = _mock(1)
  kappa = spectra.gaussian_field(
    spectra.PowerSpectrum.fiducial_cosmos().mode_variance(mock.grid),
    mock.grid.shape,
    seed=(9, 9),
  )
  shear = lensing.shear_from_convergence(tf.zeros_like(kappa), kappa).numpy()
  noise = mock.noise_std * np.random.default_rng(3).standard_normal(shear.shape)
  result = sign_check.check_handedness(dataclasses.replace(mock, shear=shear + noise))
  assert abs(result.e_mode) < 0.25 * result.b_mode and result.b_mode > 20


def test_handedness_of_cosmos(cosmos_data):
  galaxies = catalog.read_schrabback2010(cosmos_data)
  grid = catalog.tangent_grid(galaxies, 0.5 * u.arcmin)
  as_given = sign_check.check_handedness(catalog.bin_catalogue(galaxies, grid))
  assert as_given.verdict == "wrong sign of e2", str(as_given)
  flipped = sign_check.check_handedness(
    catalog.bin_catalogue(galaxies, grid, flip_e2=True)
  )
  assert flipped.verdict == "consistent" and abs(flipped.b_mode) < 4.5
