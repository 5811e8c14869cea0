"""Power spectra: units, recovery from Gaussian fields, the shipped table, errors."""

from astropy import units as u
from astropy.table import Table
import numpy as np
import pytest

from tfp_massmap import geometry
from tfp_massmap import spectra
from tfp_massmap import theory


def _grid(shape=(96, 80), scale=1.0):
  return geometry.PixelGrid(shape, scale * u.arcmin)


def test_interpolates_a_power_law_exactly():
  ell = np.geomspace(10, 1e5, 7)
  spectrum = spectra.PowerSpectrum(ell, 3e-7 * ell**-1.3)
  test = np.geomspace(11, 9e4, 50)
  np.testing.assert_allclose(spectrum(test), 3e-7 * test**-1.3, rtol=1e-12)


def test_white_noise_of_unit_variance_has_the_pixel_solid_angle_as_power():
  grid = _grid()
  noise = np.random.default_rng(0).standard_normal((40, *grid.shape))
  power = spectra.band_power(noise, grid, edges=spectra.band_edges(grid, 5))
  # 40 maps leave 4 % in the smallest band (about 30 modes): 4 sigma.
  np.testing.assert_allclose(power.mean(axis=0), grid.pixel_radians**2, rtol=0.16)
  np.testing.assert_allclose(power.mean(axis=0)[-1], grid.pixel_radians**2, rtol=0.02)


def test_gaussian_fields_have_the_power_they_were_made_with(fiducial):
  grid = _grid()
  variance = fiducial.mode_variance(grid)
  fields = spectra.gaussian_field(
    variance, grid.shape, sample_shape=[200], seed=(1, 2)
  ).numpy()
  edges = spectra.band_edges(grid, 6)
  measured = spectra.band_power(fields, grid, edges=edges).mean(axis=0)
  expected = spectra.band_power(
    np.fft.irfft2(np.sqrt(variance), s=grid.shape, norm="ortho"), grid, edges=edges
  )
  # The smallest band has 8 modes: 1 / sqrt(200 * 8 / 2) = 3.5 %; 4 sigma.
  np.testing.assert_allclose(measured, expected, rtol=0.14)
  np.testing.assert_allclose(measured[-2:], expected[-2:], rtol=0.01)
  # Parseval, mean mode included: 200 maps leave about 1 % of the total.
  count = geometry.half_plane_multiplicity(grid.shape)
  total = np.sum(count * variance) / np.prod(grid.shape)
  np.testing.assert_allclose(np.mean(fields**2), total, rtol=0.05)


def test_gaussian_fields_are_reproducible():
  variance = np.ones((8, 5), np.float32)
  draws = [
    spectra.gaussian_field(variance, (8, 8), sample_shape=[2], seed=s)
    for s in ((1, 2),) * 2
  ]
  np.testing.assert_array_equal(*draws)
  other = spectra.gaussian_field(variance, (8, 8), sample_shape=[2], seed=(1, 3))
  assert np.abs(other - draws[0]).max() > 0.1


def test_mean_mode():
  grid = _grid((16, 16))
  spectrum = spectra.PowerSpectrum([1, 1e6], [1e-8, 1e-9])
  assert spectrum.mode_variance(grid, mean_variance=7.0)[0, 0] == 7
  with pytest.raises(ValueError, match="mean_variance must be positive"):
    spectrum.mode_variance(grid, mean_variance=0.0)


def test_mean_of_white_noise_has_the_variance_of_any_mode():
  flat = spectra.PowerSpectrum([1, 1e6], [1e-9, 1e-9])
  variance = flat.mode_variance(_grid((16, 24)))
  np.testing.assert_allclose(variance, variance[0, 1], rtol=1e-6)


def test_mean_of_patches_of_a_larger_map(fiducial):
  """Compares 64 patches of each of 200 maps, which are 8 times as wide.

  The maps lack waves longer than themselves, whose variance is subtracted. The scatter
  is 1.5 % at most; the longest wave that fits has a fifth of the variance.
  """
  large, patch = _grid((256, 256)), _grid((32, 32))
  fields = spectra.gaussian_field(
    fiducial.mode_variance(large), large.shape, sample_shape=[200], seed=(7, 8)
  ).numpy()
  fields -= fields.mean(axis=(1, 2), keepdims=True)
  means = fields.reshape([200, 8, 32, 8, 32]).mean(axis=(2, 4))
  expected = (
    fiducial.patch_mean_variance(patch) - fiducial.patch_mean_variance(large) / 64
  )
  assert means.var() * 32**2 == pytest.approx(expected, rel=0.1)


def test_measured_spectrum_covers_its_grid_and_follows_the_truth(fiducial):
  grid = _grid((128, 128))
  fields = spectra.gaussian_field(
    fiducial.mode_variance(grid), grid.shape, sample_shape=[40], seed=(5, 6)
  )
  measured = spectra.PowerSpectrum.from_maps(fields, grid, num_bands=12)
  ell = np.geomspace(600, 10000, 20)
  # At least 100 modes a band and 40 maps: 2.2 %; 4 sigma and the binning.
  np.testing.assert_allclose(measured(ell), fiducial(ell), rtol=0.12)
  assert np.all(measured.mode_variance(grid) > 0)


def test_shipped_table_is_the_convergence_power_of_cosmos(fiducial):
  # Halofit for COSMOS: of order 1e-4 in ell^2 C_ell / 2 pi at ell = 1000, falling.
  assert 5e-5 < 1000**2 * fiducial(1000.0) / (2 * np.pi) < 1e-4
  assert np.all(np.diff(fiducial(np.geomspace(100, 2e5, 50))) < 0)


def test_shipped_table_against_the_power_spectrum_of_the_paper(kappatng_data, fiducial):
  ell, c_ell = np.load(kappatng_data / "ktng_PS_theory.npy")
  # Another code and another description of the same n(z): within 8 %.
  np.testing.assert_allclose(fiducial(ell), c_ell, rtol=0.08)


def test_reads_tables(tmp_path):
  table = Table({"ell": [10.0, 1e5], "c_ell": [1e-8, 1e-12]})
  table.write(tmp_path / "power.csv")
  spectrum = spectra.PowerSpectrum.read(tmp_path / "power.csv")
  np.testing.assert_allclose(spectrum.c_ell, [1e-8, 1e-12])
  with_unit = table.copy()
  with_unit["c_ell"] = table["c_ell"] * u.arcmin**2
  with_unit.write(tmp_path / "unit.ecsv")
  spectrum = spectra.PowerSpectrum.read(tmp_path / "unit.ecsv")
  steradian = (np.pi / 180 / 60) ** 2
  np.testing.assert_allclose(spectrum.c_ell, [1e-8 * steradian, 1e-12 * steradian])
  with_unit["c_ell"] = table["c_ell"] * u.m
  with_unit.write(tmp_path / "metre.ecsv")
  with pytest.raises(ValueError, match="no solid angle"):
    spectra.PowerSpectrum.read(tmp_path / "metre.ecsv")
  table.rename_column("c_ell", "power")
  table.write(tmp_path / "other.csv")
  with pytest.raises(ValueError, match="no column c_ell; its columns are ell, power"):
    spectra.PowerSpectrum.read(tmp_path / "other.csv")
  (tmp_path / "text.fits").write_text("no table")
  with pytest.raises(ValueError, match="cannot read"):
    spectra.PowerSpectrum.read(tmp_path / "text.fits")
  with pytest.raises(FileNotFoundError):
    spectra.PowerSpectrum.read(tmp_path / "absent.csv")


@pytest.mark.parametrize(
  "ell, c_ell, message",
  [
    ([10, 20], [1.0, -1.0], r"first at ell = 20 \(C_ell = -1\)"),
    ([10, 20], [1.0, np.nan], "finite and positive"),
    ([0, 20], [1.0, 1.0], "Leave out ell = 0"),
    ([20, 10], [1.0, 1.0], "increasing"),
    ([10, 20, 30], [1.0, 1.0], "same length"),
  ],
)
def test_bad_tables(ell, c_ell, message):
  with pytest.raises(ValueError, match=message):
    spectra.PowerSpectrum(ell, c_ell)


def test_table_that_does_not_cover_the_map():
  spectrum = spectra.PowerSpectrum([500, 5000], [1e-8, 1e-9], name="short")
  with pytest.raises(ValueError, match="'short' covers ell 500 to 5000, but the map"):
    spectrum.mode_variance(_grid())


def test_maps_of_another_shape():
  with pytest.raises(ValueError, match="like their grid"):
    spectra.band_power(np.zeros((4, 4)), _grid(), edges=[10, 100])


def test_spectra_from_theory():
  """All kinds of n(z) are the same, and kappaTNG has less power at small scales."""
  sources = theory.SourceRedshifts.of_mean(0.8)
  spectrum = spectra.PowerSpectrum.theory(sources, theory.Cosmology(0.3, 0.7))
  assert spectrum.ell[0] == pytest.approx(10) and spectrum.ell[-1] == pytest.approx(3e5)
  assert spectrum.name.startswith("halofit, Omega_m=0.3, sigma_8=0.7, z^2 exp(-(z")
  ell = np.array([50.0, 1000.0, 30000.0])
  cosmology = theory.Cosmology(0.3, 0.7)
  direct = theory.convergence_power(ell, sources, cosmology=cosmology)
  np.testing.assert_allclose(spectrum(ell), direct, rtol=2e-3)
  galaxies = [spectra.PowerSpectrum.theory(s) for s in ([0.5, 1.0], np.array([1, 0.5]))]
  np.testing.assert_array_equal(galaxies[0].c_ell, galaxies[1].c_ell)
  plain, baryons = (
    spectra.PowerSpectrum.theory(sources, small_scales=name)(ell)
    for name in spectra.SMALL_SCALES
  )
  assert baryons[2] < 0.7 * plain[2] and baryons[0] == pytest.approx(plain[0], rel=0.06)
  with pytest.raises(ValueError, match="small_scales must be one of"):
    spectra.PowerSpectrum.theory(sources, small_scales="hmcode")
