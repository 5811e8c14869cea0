"""Verdicts on samples that are calibrated by construction, and on others."""

import dataclasses

from astropy import units as u
import numpy as np
import pytest

from tfp_massmap import calibration
from tfp_massmap import geometry
from tfp_massmap import priors
from tfp_massmap import samplers
from tfp_massmap import shear_errors
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import spectra
from tfp_massmap import theory
from tfp_massmap.calibration import survey as survey_lib

GRID = geometry.PixelGrid((40, 36), 1.0 * u.arcmin)
NUM_TRUTHS, NUM_SAMPLES = 24, 16


@pytest.fixture(name="survey", scope="module")
def _survey():
  """A survey with holes and uneven noise."""
  rng = np.random.default_rng(0)
  noise = rng.uniform(0.03, 0.08, [2, *GRID.shape])
  mask = rng.uniform(size=GRID.shape) > 0.2
  return shear_map_lib.ShearMap(0 * noise, noise, mask=mask, grid=GRID)


@pytest.fixture(name="prior", scope="module")
def _prior(fiducial):
  return priors.GaussianPrior.from_spectrum(fiducial, GRID)


def _truth_of(prior):
  return lambda index: prior.sample(seed=(index, 7)).numpy()


@pytest.fixture(name="right", scope="module")
def _right(survey, prior, tmp_path_factory):
  """The verdict on truths of the prior, and its folder."""
  folder = tmp_path_factory.mktemp("right")
  verdict = calibration.calibrate(
    survey,
    prior,
    truth=_truth_of(prior),
    num_truths=NUM_TRUTHS,
    num_samples=NUM_SAMPLES,
    folder=folder,
    label="the prior's own",
    progress=False,
  )
  return verdict, folder


def test_truths_of_the_prior_are_calibrated(right):
  """Eight findings of two errors and a tolerance: wrong by chance in some per cent."""
  verdict, _ = right
  assert verdict.is_calibrated, str(verdict)
  text = str(verdict)
  assert text.startswith(f"On {NUM_TRUTHS} mocks of the survey, {NUM_SAMPLES} samples")
  assert "WRONG" not in text and "the samples are calibrated (0 of 8" in text
  header = verdict.header()
  assert header["calibrated"] is True
  assert "Intervals of 68%" in header["calibration 68% in measured pixels"]
  # A Gaussian posterior's mean is the Wiener filter.
  assert verdict.error_over_wiener.value == pytest.approx(1, abs=0.01)


@pytest.mark.usefixtures("without_xla")
def test_samples_over_errors_of_the_shear_are_calibrated(survey, prior):
  """A biased and loud shear, three posteriors: eight findings, as above."""
  errors = shear_errors.ShearErrors(
    bias=0.5, bias_std=0.1, noise_scale=1.6, noise_scale_std=0.05
  )
  over = calibration.calibrate(
    survey,
    prior,
    truth=_truth_of(prior),
    num_truths=NUM_TRUTHS,
    num_samples=9,
    shear_errors=errors,
    progress=False,
  )
  assert over.is_calibrated, str(over)
  assert over.proof.subject.sampler == f"guided, default settings, over {errors}"
  assert f"; 24 errors of the shear of {errors}" in over.label
  # Three posteriors have means of their own: that of all is the Wiener filter's, nearly.
  assert over.error_over_wiener.value == pytest.approx(1, abs=0.03)


@pytest.mark.usefixtures("without_xla")
def test_mocks_may_have_priors_of_their_own(survey, fiducial):
  """Half of the truths have 16 times the power of the others.

  A function of the mock tells the power from the scatter of its shear. Samples with its
  priors are calibrated, eight findings as above, and those with one prior are not.
  """
  made = [
    priors.GaussianPrior.from_spectrum(
      spectra.PowerSpectrum(fiducial.ell, factor * fiducial.c_ell), GRID
    )
    for factor in (1, 16)
  ]
  truth = lambda index: made[index % 2].sample(seed=(index, 7)).numpy()
  quiet = dataclasses.replace(survey, noise_std=0.3 * survey.noise_std)
  given = dict(truth=truth, num_truths=16, num_samples=12, batch_size=12)
  given["progress"] = False

  def priors_of(shear_map):
    # Shears of 16 times the power have 4 times the scatter.
    loud = np.std(shear_map.shear[:, shear_map.mask]) > 0.03
    return [made[int(loud)]] * 6

  verdict = calibration.calibrate(quiet, made[0], priors_of=priors_of, **given)
  assert verdict.is_calibrated, str(verdict)
  assert "; others for each mock of Gaussian" in verdict.label
  seen = []

  def watched(shear_map):
    seen.append(np.std(shear_map.shear[:, shear_map.mask]))
    return priors_of(shear_map)

  for errors in (None, shear_errors.ShearErrors(bias=3.0)):
    calibration.calibrate(
      quiet,
      made[0],
      priors_of=watched,
      shear_errors=errors,
      **{**given, "num_truths": 2},
    )
  # The shear is measured four times too large, and corrected with its noise.
  np.testing.assert_allclose(seen[2:], seen[:2], rtol=0.3)
  alone = calibration.calibrate(quiet, made[0], **given)
  assert not alone.is_calibrated
  assert alone.label != verdict.label


@pytest.mark.parametrize("num, expected", [(32, 8), (26, 2), (7, 7), (11, 1), (24, 8)])
def test_shares_are_equal(num, expected):
  assert calibration.shares(num) == expected


def test_a_verdict_has_tables_and_figures(right, tmp_path):
  verdict, _ = right
  verdict.save(tmp_path)
  page = (tmp_path / "calibration.md").read_text()
  assert str(verdict) in page and "| coverage of 68%, pixels: observed |" in page
  assert (tmp_path / "tarp.png").stat().st_size > 1000


def test_a_proof_finds_its_window():
  """In the whole survey, in the window itself, and in a window of the window."""
  rng = np.random.default_rng(1)
  noise = rng.uniform(1, 2, [2, 30, 50])
  grid = geometry.PixelGrid((30, 50), 1 * u.arcmin)
  whole = shear_map_lib.ShearMap(0 * noise, noise, mask=noise[0] > 1.3, grid=grid)
  window = calibration.densest_window(whole, 12)
  corner, shape = survey_lib._window_of(window)
  proof = calibration.Proof(
    corner,
    shape,
    data=window.noise_checksum(),
    subject=calibration.Subject("", "", sources="", sampler=""),
    findings={},
  )
  assert corner != (0, 0)
  for data in (whole, window):
    np.testing.assert_array_equal(proof.window(data).noise_std, window.noise_std)
  inner = window.crop((1, 2), shape=(6, 6))
  assert survey_lib._window_of(inner) == ((0, 0), (6, 6))


def test_a_proof_is_of_one_survey_prior_and_sampler(right, survey, prior, tmp_path):
  verdict, _ = right
  verdict.save(tmp_path)
  proof = calibration.Proof.read(tmp_path)
  assert proof == verdict.proof
  own = proof.subject
  assert own.prior == prior.description and own.sampler == "guided, default settings"
  assert proof.header_for(own) == verdict.header()
  assert "24 mocks, the prior's own" in verdict.header()["calibration truths"]
  assert proof.window(survey) is survey
  louder = dataclasses.replace(survey, noise_std=2 * survey.noise_std)
  for data in (louder, survey.crop((0, 0), shape=(20, 20))):
    with pytest.raises(ValueError, match="another survey"):
      proof.window(data)
  settings = samplers.GuidedSettings(sweeps=(0.9,), sweep_steps=8)
  words = calibration.sampler_in_words
  for change, message in (
    (dict(prior="x"), "another prior, .*Its prior was Gaussian.*is x"),
    (dict(prior_checksum="x"), "another prior .data files of the same name"),
    (dict(sources="n(z)"), "another sources, .*Its sources was unknown"),
    (dict(sampler=words("annealed")), "another sampler, .*here it is annealed"),
    (dict(sampler=words("guided", settings)), "another sampler"),
    (dict(sampler=words("guided", reduced_shear=True)), "guided.*reduced shear"),
  ):
    with pytest.raises(ValueError, match=message):
      proof.header_for(dataclasses.replace(own, **change))
  (tmp_path / "calibration.json").write_text("[1]")
  with pytest.raises(ValueError, match="is no verdict"):
    calibration.Proof.read(tmp_path)


def test_a_run_is_read_again_and_no_other(right, survey, prior):
  verdict, folder = right
  given = dict(num_truths=3, num_samples=NUM_SAMPLES, folder=folder, progress=False)
  refuse = lambda index: pytest.fail("a kept truth is drawn again")

  def truth(index):
    return _truth_of(prior)(index) if index < 3 else refuse(index)

  again = calibration.calibrate(
    survey, prior, truth=truth, label="the prior's own", **given
  )
  assert len(again.records) == 3
  np.testing.assert_array_equal(
    again.records[2].band_power, verdict.records[2].band_power
  )
  louder = dataclasses.replace(survey, noise_std=2 * survey.noise_std)
  larger = lambda index: 1.1 * truth(index)
  own = "the prior's own"
  for data, kappa, label in (
    (survey, truth, "others"),
    (survey, larger, own),
    (louder, truth, own),
  ):
    with pytest.raises(ValueError, match="another"):
      calibration.calibrate(data, prior, truth=kappa, label=label, **given)


def test_a_prior_of_too_little_power_is_found_out(survey, prior, fiducial):
  """Truths have four times the power: errors are larger than they are said to be."""
  weak = spectra.PowerSpectrum(fiducial.ell, fiducial.c_ell / 4)
  verdict = calibration.calibrate(
    survey,
    priors.GaussianPrior.from_spectrum(weak, GRID),
    truth=_truth_of(prior),
    num_truths=8,
    num_samples=NUM_SAMPLES,
    progress=False,
  )
  wrong = {f.name for f in verdict.findings if not f.is_right}
  assert {"68% in measured pixels", "std over error", "band powers"} <= wrong
  assert "NOT calibrated (" in str(verdict) and not verdict.is_calibrated
  assert verdict.header()["calibrated"] is False


def test_the_window_has_the_most_data():
  mask = np.zeros([30, 50], bool)
  mask[11:19, 33:41] = True
  mask[2:6, 2:6] = True
  noise = np.ones([2, 30, 50])
  count = mask.astype(int)
  grid = geometry.PixelGrid((30, 50), 1 * u.arcmin)
  whole = shear_map_lib.ShearMap(0 * noise, noise, mask=mask, grid=grid, count=count)
  for size in (8, 7, 9):
    window = calibration.densest_window(whole, size)
    assert window.grid.shape == (size, size) and window.mask.sum() == min(size, 8) ** 2
    assert window.count.sum() == window.mask.sum()
  tall = calibration.densest_window(whole, 40)
  assert tall.grid.shape == (30, 40) and tall.mask.sum() == 64 + 16
  assert "30 x 40 at (0, " in tall.settings["window"]


def test_simulated_truths_are_of_the_survey():
  near, far = (
    calibration.simulated_truths(GRID, theory.SourceRedshifts.of_mean(z), seed=1)
    for z in (0.4, 1.5)
  )
  assert near(0).shape == GRID.shape and near(0).std() < 0.6 * far(0).std()
  np.testing.assert_array_equal(near(1), near(1))


@pytest.mark.usefixtures("without_xla")
def test_several_priors_share_the_samples(survey, prior, fiducial):
  """Two different priors, and two in another order, are other runs than two equal."""
  halved = spectra.PowerSpectrum(fiducial.ell, fiducial.c_ell / 2)
  other = priors.GaussianPrior.from_spectrum(halved, GRID)
  judge = lambda several: calibration.calibrate(
    survey,
    several,
    truth=_truth_of(prior),
    num_truths=2,
    num_samples=16,
    progress=False,
  )
  same, mixed = judge([prior, prior]), judge([prior, other])
  assert "; 2 priors, the first Gaussian" in same.label
  assert same.label != mixed.label != judge([other, prior]).label
  assert same.records[0].num_samples == 16
  assert not np.array_equal(
    same.records[0].residuals["pixels: observed"],
    mixed.records[0].residuals["pixels: observed"],
  )
  with pytest.raises(ValueError, match="multiple of the 3 priors"):
    judge([prior] * 3)
  with pytest.raises(ValueError, match="no prior to calibrate with"):
    judge([])


@pytest.mark.parametrize(
  "change, message",
  [
    (dict(num_samples=8), "9 or more; got 8"),
    (dict(method="gibbs"), "one of .* got 'gibbs'"),
    (dict(batch_size=0), "must be positive; got 32, 0"),
  ],
)
def test_bad_requests_are_refused(survey, prior, change, message):
  with pytest.raises(ValueError, match=message):
    calibration.calibrate(
      survey, prior, truth=_truth_of(prior), progress=False, **change
    )
