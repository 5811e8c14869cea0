"""The catalogue of structures: places, probabilities, signals, and its survey."""

from astropy import units as u
from astropy.table import Table
import numpy as np
import pytest
from scipy import stats

from tfp_massmap import detection
from tfp_massmap import geometry
from tfp_massmap import io


@pytest.fixture
def samples(field):
  """Twenty samples: a bump in 15 of them, one in all, a twin beside that, noise."""
  noise = 0.002 * np.random.default_rng(8).standard_normal([20, *field.grid.shape])
  certain = field.bump((60, 50)) + field.bump((60, 53), 0.9)
  samples = noise + 0.3 * certain
  samples[:15] += 0.2 * field.bump((25, 20))
  return samples


def test_catalogue_gives_places_shares_and_signals(field, samples, tmp_path):
  std = 0.01
  table = detection.peak_probabilities(samples, field.grid, background_std=std)
  assert len(table) == 2
  certain, likely = table
  assert certain["probability"] == 1 and likely["probability"] == 0.75
  assert (likely["row"], likely["column"]) == (25, 20)
  ra, dec = field.grid.pixel_to_world(25, 20)
  assert (likely["ra"], likely["dec"]) == (ra, dec)
  signals = detection.aperture_mass(samples)[:, 25, 20]
  np.testing.assert_allclose(likely["aperture_mass"], signals.mean())
  np.testing.assert_allclose(
    [likely["aperture_mass_low"], likely["aperture_mass_high"]],
    np.quantile(signals, [0.15865, 0.84135]),
  )
  assert likely["signal_to_noise"] == likely["aperture_mass"] / std
  expected = stats.binomtest(15, 20).proportion_ci(0.6827, "exact")
  np.testing.assert_allclose(
    [likely["probability_low"], likely["probability_high"]], expected
  )
  path = tmp_path / "structures.ecsv"
  io.write_table(path, table, settings=dict(seed=3, nothing=None))
  back = Table.read(path, format="ascii.ecsv")
  assert back.meta["SETTINGS"] == {"seed": 3} and back.meta["num_samples"] == 20
  assert back["ra"].unit == u.deg and back.meta["CREATOR"].startswith("tfp_massmap")
  np.testing.assert_array_equal(back["probability"], table["probability"])
  with pytest.raises(FileExistsError):
    io.write_table(path, table, settings={})


def test_catalogue_keeps_to_the_survey(field, samples):
  mask = np.ones(field.grid.shape, bool)
  mask[45:75, 35:70] = False
  table = detection.peak_probabilities(
    samples, field.grid, mask=mask, background_std=0.01
  )
  assert table["row"].tolist() == [25] and table["coverage"][0] == 1
  region = detection.covered(mask)
  assert region[25, 20] and not region[60, 50]
  # The corner's aperture is three quarters outside.
  assert not detection.covered(np.ones(field.grid.shape, bool))[0, 0]
  flat = geometry.PixelGrid(field.grid.shape, field.grid.pixel_scale)
  everything = detection.peak_probabilities(samples, flat, background_std=0.01)
  assert "ra" not in everything.colnames and len(everything) == 2
  nothing = detection.peak_probabilities(samples, field.grid, background_std=1.0)
  assert not len(nothing) and "ra" in nothing.colnames


def test_background_of_the_samples_themselves(field, samples):
  mask = np.zeros(field.grid.shape, bool)
  mask[10:90, 10:70] = True
  table = detection.peak_probabilities(samples, field.grid, mask=mask)
  assert table.meta["background_std"] == pytest.approx(
    detection.background_std(samples, mask=mask), rel=1e-9
  )


@pytest.mark.parametrize(
  "arguments, message",
  [
    (dict(samples=np.zeros([3, 8, 8])), "samples must be"),
    (dict(background_std=0.0), "background_std"),
    (dict(background_std=np.nan), "background_std"),
    (dict(mask=np.ones([8, 8])), "mask must have shape"),
    (dict(mask=np.zeros([96, 80])), "mask is empty"),
    (dict(samples=np.full([3, 96, 80], np.nan), background_std=1.0), "not finite"),
    (dict(settings=detection.PeakSettings(scale=7)), "num_scales"),
  ],
)
def test_impossible_catalogues(field, samples, arguments, message):
  given = dict(samples=samples, grid=field.grid)
  with pytest.raises(ValueError, match=message):
    detection.peak_probabilities(**{**given, **arguments})


@pytest.mark.parametrize(
  "settings, message",
  [
    (dict(threshold=-3.0), "threshold must be positive"),
    (dict(threshold=np.nan), "threshold must be positive"),
    (dict(min_probability=1.2), "min_probability must lie between 0 and 1"),
    (dict(min_coverage=-0.1), "min_coverage must lie between 0 and 1"),
    (dict(confidence=1.1), "confidence must lie between 0 and 1"),
  ],
)
def test_impossible_settings(settings, message):
  with pytest.raises(ValueError, match=message):
    detection.PeakSettings(**settings)


def test_catalogue_of_few_samples_warns_of_its_bias(field, caplog):
  """In noise, places are chosen because the samples are high there."""
  noise = np.random.default_rng(5).standard_normal([40, *field.grid.shape])
  few, others = noise[:8], noise[8:]
  everything = detection.PeakSettings(min_probability=0)
  table = detection.peak_probabilities(few, field.grid, settings=everything)
  assert "same 8 samples choose the structures and measure them" in caplog.text
  again = detection.aperture_mass(others)[:, table["row"], table["column"]].mean()
  assert table["aperture_mass"].mean() > 5 * abs(again)
  caplog.clear()
  detection.peak_probabilities(noise, field.grid)
  assert not caplog.text
