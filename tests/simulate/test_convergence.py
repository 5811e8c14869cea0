"""The simulator's parts against theory, and its maps against the power it promises."""

import json
import pickle
import subprocess
import sys

from astropy import units as u
import numpy as np
import pytest
from scipy import fft

from tfp_massmap import geometry
from tfp_massmap import simulate
from tfp_massmap import spectra
from tfp_massmap.simulate import cosmology_tables
from tfp_massmap.simulate import halo_population
from tfp_massmap.simulate import nfw
from tfp_massmap.simulate import painting
from tfp_massmap.simulate import power_model
from tfp_massmap.simulate import shells
from tfp_massmap.simulate import source_planes

GRID = geometry.PixelGrid((128, 128), 1.2 * u.arcmin)
SMALL = geometry.PixelGrid((48, 40), 1 * u.arcmin)
TABLES = cosmology_tables.CosmologyTables.load()
WEIGHTS = np.full(40, 1 / 40)


def _field(shape=(128, 128), amplitude=40.0, shift=1.5):
  k1, k2 = geometry.fourier_frequencies(shape)
  k = np.hypot(k1, k2)
  power = amplitude * np.exp(-((k / 0.6) ** 2)) * (k > 0)
  return shells.LognormalField(power, shape, shift=shift), power


def _population(field, pixel_radians):
  return halo_population.HaloPopulation(
    shells.Shell(820.0, 1025.0),
    field,
    lensing_kernel=lambda d: shells.lensing_kernel(d, WEIGHTS),
    pixel_radians=pixel_radians,
    tables=TABLES,
    mass_range=(3e12, 6e14),
    concentration_factor=0.7,
    concentration_scatter=0.2,
  )


def test_lensing_kernel_of_one_plane():
  """W = 3/2 Omega_m (H0/c)^2 (1 + z) chi (1 - chi/chi_s), and nothing behind."""
  plane = np.eye(40)[9]
  kernel = shells.lensing_kernel([512.5, 1025.0, 1500.0], plane)
  redshift = source_planes.source_redshifts()[4]
  expected = 1.5 * 0.3089 / 2997.92458**2 * (1 + redshift) * 512.5 * 0.5
  np.testing.assert_allclose(kernel, [expected, 0, 0], rtol=1e-6)


def test_limber_power_against_the_shipped_spectrum():
  """For the COSMOS n(z), which the planes only sample; another transfer function."""
  fiducial = spectra.PowerSpectrum.fiducial_cosmos()
  weights = source_planes.weights_from_density(source_planes.cosmos_redshift_density)
  ell = np.geomspace(300, 20000, 12)
  power = shells.convergence_power(ell, weights, tables=TABLES)
  np.testing.assert_allclose(power, fiducial(ell), rtol=0.06)


def test_shells_have_the_power_of_all_matter():
  """Without damping, the sum of W^2 width^2 C(ell) is Limber's integral."""
  ell = np.array([400.0, 3000.0, 20000.0])
  total = 0.0
  for shell in shells.shells_before(4100, 40):
    kernel = shells.lensing_kernel(shell.distances(), WEIGHTS).mean()
    power = shell.overdensity_power(ell, TABLES, damping=0.0)
    total = total + (kernel * shell.width) ** 2 * power
  expected = shells.convergence_power(ell, WEIGHTS, tables=TABLES)
  np.testing.assert_allclose(total, expected, rtol=0.02)


def test_lognormal_field_has_its_power_and_bound():
  """Band power of 200 fields within 4.5 standard errors: 1 in 10,000 for ten bands."""
  field, power = _field()
  rng = np.random.default_rng(0)
  fields = np.stack([field.sample(rng) for _ in range(200)])
  assert fields.dtype == np.float32 and fields.min() > -field.shift
  grid = geometry.PixelGrid((128, 128), 1 * u.rad)
  edges = np.linspace(0.03, 1.0, 11)
  measured = spectra.band_power(fields, grid, edges=edges)
  flat = fft.irfft2(np.sqrt(power) * 128, s=(128, 128))
  expected = spectra.band_power(flat, grid, edges=edges)
  error = measured.std(axis=0, ddof=1) / np.sqrt(200)
  assert (
    np.abs(measured.mean(axis=0) - expected) < 4.5 * error + 0.01 * expected
  ).all()


@pytest.mark.parametrize("slope", [0.5, 3.0])
def test_bias_of_clipped_density(slope):
  """Against sample averages over 60 fields; 5 standard errors."""
  field, _ = _field(amplitude=90.0)
  rng = np.random.default_rng(1)
  responses = []
  for _ in range(60):
    delta = field.sample(rng).astype(np.float64)
    density = np.maximum(1 + slope * delta, 0)
    responses.append([density.mean(), (density * delta).mean(), (delta**2).mean()])
  mean, product, variance = np.mean(responses, axis=0)
  expected_mean, expected_bias = field.moments_of_clipped(slope)
  assert mean == pytest.approx(expected_mean, rel=0.02)
  assert product / mean / variance == pytest.approx(expected_bias, rel=0.05)


def test_haloes_have_the_abundance_and_mass_of_the_tables():
  """Poisson numbers, 4.5 sigma; the mean mass within 3 %."""
  field, _ = _field()
  pixel = 3e-4
  population = _population(field, pixel)
  rng = np.random.default_rng(2)
  overdensity = field.sample(rng)
  volume = population.shell.volume(overdensity.size * pixel**2)
  haloes = population.sample(overdensity, rng)
  abundance = TABLES.abundance_at(population.shell.redshift)
  inside = (TABLES.mass > 3e12) & (TABLES.mass < 6e14)
  table = np.interp(
    np.linspace(np.log(3e12), np.log(6e14), 2000),
    np.log(TABLES.mass[inside]),
    np.log(abundance[inside]),
  )
  step = np.log(200) / 1999
  expected = np.exp(table).sum() * step * volume
  number = sum(h.pixel.size for h in haloes)
  assert abs(number - expected) < 4.5 * np.sqrt(expected) + 0.01 * expected
  for mass_bin in population.bins[:3]:
    masses = mass_bin.sample_mass(20000, rng)
    mean = mass_bin.density @ mass_bin.mass / mass_bin.expected
    assert masses.mean() == pytest.approx(mean, rel=0.03)


def test_haloes_follow_the_overdensity_with_their_bias():
  field, _ = _field(amplitude=10.0)
  rng = np.random.default_rng(3)
  population = _population(field, 2e-3)
  overdensity = field.sample(rng)
  counts = np.bincount(population.sample(overdensity, rng)[0].pixel, minlength=128**2)
  contrast = counts / counts.mean() - 1
  delta = overdensity.ravel().astype(np.float64)
  slope = (contrast @ delta) / (delta @ delta)
  error = 1 / np.sqrt(counts.mean() * (delta @ delta))
  assert slope == pytest.approx(population.bins[0].bias, abs=4.5 * error + 0.05)


def _haloes(pixel, angle, concentration, amplitude):
  arrays = (np.atleast_1d(a) for a in (pixel, angle, concentration, amplitude))
  return halo_population.Haloes(*arrays)


@pytest.mark.parametrize("elliptical", [False, True])
def test_painting_keeps_mass(elliptical):
  painter = painting.HaloPainter((64, 72), 1e-4, elliptical=elliptical)
  rng = np.random.default_rng(4)
  haloes = _haloes(
    rng.integers(64 * 72, size=300),
    1e-4 * rng.uniform(0.1, 40, 300),
    rng.uniform(0.5, 20, 300),
    rng.uniform(0, 1, 300),
  )
  modes = painter.paint(
    painter.assign(haloes, rng), haloes.pixel, amplitude=haloes.amplitude
  )
  kappa = fft.irfft2(modes, s=(64, 72))
  assert kappa.sum() == pytest.approx(haloes.amplitude.sum(), rel=1e-4)
  assert kappa.min() > -1e-5


def test_painted_halo_is_an_nfw_halo():
  """Of the mean template, between whose nodes haloes are assigned at random."""
  painter = painting.HaloPainter((64, 64), 1e-4, elliptical=False)
  rng = np.random.default_rng(5)
  radius, concentration = 12.0, 4.0
  many = np.ones(4000)
  haloes = _haloes(
    (many * (32 * 64 + 32)).astype(int),
    many * radius * 1e-4,
    many * concentration,
    many / many.size,
  )  # pyformat: disable
  modes = painter.paint(
    painter.assign(haloes, rng), haloes.pixel, amplitude=haloes.amplitude
  )
  kappa = fft.irfft2(modes, s=(64, 64))
  distance = np.arange(2, 9)
  profile = nfw.convergence_shape(distance * concentration / radius, concentration)
  norm = 2 * np.pi * (radius / concentration) ** 2 * nfw.mass_factor(concentration)
  np.testing.assert_allclose(kappa[32, 32 + distance], profile / norm, rtol=0.08)


def test_profiles_are_the_templates_transforms():
  painter = painting.HaloPainter((64, 64), 1e-4, elliptical=False)
  frequency = 2 * np.pi * np.fft.rfftfreq(64)[1:]
  profiles, squares = painter.profiles(frequency)
  rng = np.random.default_rng(6)
  for angle, concentration in ((2, 1), (9, 3), (13, 2)):
    radius = 0.25 * 10 ** (0.15 * angle)
    c = 0.9 * 10 ** (0.2 * concentration)
    haloes = _haloes([0], [radius * 1e-4 * 1.0000001], [c * 1.0000001], [1.0])
    modes = painter.paint(
      painter.assign(haloes, rng), haloes.pixel, amplitude=haloes.amplitude
    )
    column = modes[0, 1:].real
    diagonal = modes[np.arange(1, 33), np.arange(1, 33)].real
    diagonal = np.interp(frequency, np.sqrt(2) * frequency, diagonal)
    low, high = np.minimum(column, diagonal), np.maximum(column, diagonal)
    mean, square = profiles[angle, concentration], squares[angle, concentration]
    assert ((low - 0.02 < mean) & (mean < high + 0.02)).all()
    assert ((low - 0.02) ** 2 < square + 0.02).all() and (
      square >= mean**2 - 1e-12
    ).all()


@pytest.mark.parametrize("mode", simulate.MODES)
def test_maps_have_the_wanted_power(mode):
  """Mean of 24 maps (157 deg^2) within 8 %, or 4.5 standard errors where larger."""
  simulator = simulate.ConvergenceSimulator(GRID, WEIGHTS, mode=mode, seed=1)
  maps = np.stack([simulator.map(index) for index in range(24)])
  assert maps.dtype == np.float32 and abs(maps.mean()) < 1e-6
  wanted = np.interp(
    GRID.multipoles(),
    simulator.multipoles,
    simulator.wanted_power(simulator.multipoles),
  )
  white = spectra.fourier_filter(maps, (1 / np.sqrt(wanted)).astype(np.float32))
  edges = np.geomspace(900, 8500, 7)
  ratio = spectra.band_power(white, GRID, edges=edges)
  error = ratio.std(axis=0, ddof=1) / np.sqrt(24)
  assert (np.abs(ratio.mean(axis=0) - 1) < np.maximum(0.08, 4.5 * error)).all(), ratio


def test_power_can_be_asked_for():
  spectrum = spectra.PowerSpectrum.fiducial_cosmos()
  half = simulate.ConvergenceSimulator(SMALL, power=lambda ell: spectrum(ell) / 4)
  full = simulate.ConvergenceSimulator(SMALL, power=spectrum)
  np.testing.assert_allclose(half.map(0), full.map(0) / 2, rtol=1e-4, atol=1e-7)


def test_a_map_depends_on_seed_and_index_alone():
  simulator = simulate.ConvergenceSimulator(SMALL, seed=5)
  fourth = simulator.map(3)
  np.testing.assert_array_equal(list(simulator.maps(4))[3], fourth)
  again = simulate.ConvergenceSimulator(SMALL, seed=5)
  np.testing.assert_array_equal(next(again.maps(1, first=3)), fourth)
  assert np.abs(simulate.ConvergenceSimulator(SMALL, seed=6).map(3) - fourth).max() > 0
  assert np.abs(simulator.map(2) - fourth).max() > 0


def test_processes_make_the_same_maps(capsys):
  simulator = simulate.ConvergenceSimulator(
    SMALL, seed=5, mode="fast", power=lambda ell: 1e-9 / (1 + ell / 1e3)
  )
  alone = list(simulator.maps(3))
  together = list(simulator.maps(3, num_processes=2, progress=True))
  np.testing.assert_array_equal(alone, together)
  assert "3/3" in capsys.readouterr().err


def test_scripts_that_start_themselves_anew_end(tmp_path):
  """A process imports the script that it was started by, which here starts one."""
  script = tmp_path / "script.py"
  script.write_text(
    "from astropy import units as u\n"
    "from tfp_massmap import geometry, simulate\n"
    "grid = geometry.PixelGrid((32, 32), 2 * u.arcmin)\n"
    "simulator = simulate.ConvergenceSimulator(grid, mode='fast')\n"
    "list(simulator.maps(3, num_processes=2))\n",
    encoding="utf-8",
  )
  ended = subprocess.run(
    [sys.executable, str(script)],
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )
  assert ended.returncode and "under `if __name__ ==" in ended.stderr


@pytest.mark.parametrize("shape", [(41, 64), (64, 41)])
def test_any_shape(shape):
  grid = geometry.PixelGrid(shape, 1.5 * u.arcmin)
  kappa = simulate.ConvergenceSimulator(grid).map(0)
  assert kappa.shape == shape and np.isfinite(kappa).all() and kappa.std() > 0.005


def test_a_map_that_is_no_torus():
  """Edges of a torus continue each other; those of a cut map do not."""
  kappa = simulate.ConvergenceSimulator(SMALL, periodic=False, seed=1).map(0)
  assert kappa.shape == SMALL.shape
  torus = simulate.ConvergenceSimulator(GRID, seed=1).map(0)
  neighbours = np.corrcoef(torus[0], torus[-1])[0, 1]
  cut = simulate.ConvergenceSimulator(GRID, seed=1, periodic=False).map(0)
  assert neighbours > 0.5 > np.abs(np.corrcoef(cut[0], cut[-1])[0, 1])


def test_nearer_sources_see_less():
  near, far = (
    simulate.ConvergenceSimulator(SMALL, np.eye(40)[plane]).map(0).std()
    for plane in (9, 39)
  )
  assert near < 0.5 * far


def test_redshift_density_instead_of_weights():
  density = source_planes.cosmos_redshift_density
  simulator = simulate.ConvergenceSimulator(SMALL, density)
  np.testing.assert_array_equal(
    simulator.plane_weights, source_planes.weights_from_density(density)
  )


def test_simulator_starts_without_tensorflow():
  code = (
    "import sys; from tfp_massmap import simulate; simulate.ConvergenceSimulator;"
    "print([m for m in ('tensorflow', 'matplotlib') if m in sys.modules])"
  )
  output = subprocess.run(
    [sys.executable, "-c", code], check=True, capture_output=True, text=True
  )
  assert output.stdout.strip() == "[]"


@pytest.mark.parametrize(
  "arguments, message",
  [
    (dict(mode="best"), "fast.*quality"),
    (dict(seed=-1), "seed"),
    (dict(plane_weights=np.ones(39)), "40"),
    (dict(recipe=simulate.Recipe(mass_range=(1e9, 1e15))), "mass_range"),
  ],
)
def test_impossible_simulators(arguments, message):
  with pytest.raises(ValueError, match=message):
    simulate.ConvergenceSimulator(SMALL, **arguments)


def test_impossible_recipes():
  with pytest.raises(ValueError, match="shift"):
    simulate.Recipe(shift=0.0)
  with pytest.raises(ValueError, match="scatter"):
    simulate.Recipe(concentration_scatter=-0.1)


def test_impossible_numbers_of_maps():
  simulator = simulate.ConvergenceSimulator(SMALL)
  with pytest.raises(ValueError, match="num_maps"):
    next(simulator.maps(-1))


def test_tables_round_trip_and_bad_tables(tmp_path):
  tables = {n: getattr(TABLES, n) for n in cosmology_tables.NAMES}
  path = tmp_path / "tables.npz"
  np.savez(path, card=json.dumps(TABLES.card), **tables)
  loaded = cosmology_tables.CosmologyTables.load(path)
  np.testing.assert_array_equal(loaded.bias, TABLES.bias)
  np.savez(path, card="{}", **{n: t for n, t in tables.items() if n != "bias"})
  with pytest.raises(ValueError, match="bias"):
    cosmology_tables.CosmologyTables.load(path)
  with pytest.raises(ValueError, match="shape"):
    cosmology_tables.CosmologyTables(**{**tables, "bias": tables["bias"].T})
  with pytest.raises(ValueError, match="positive"):
    cosmology_tables.CosmologyTables(
      **{**tables, "matter_power": -tables["matter_power"]}
    )
  with pytest.raises(ValueError, match="redshift"):
    TABLES.power_at(5.0)


def test_tables_hold_no_code(tmp_path):
  path = tmp_path / "tables.npz"
  np.savez(
    path,
    **{n: getattr(TABLES, n) for n in cosmology_tables.NAMES},
    card=np.array([{}], dtype=object),
  )
  with pytest.raises(ValueError, match=r"[Pp]ickle"):
    cosmology_tables.CosmologyTables.load(path)
  assert pickle.dumps(TABLES)  # processes need it


def test_wanted_power_over_halofit():
  ratio = power_model.kappatng_over_halofit(np.array([100.0, 1500.0, 46000.0, 1e5]))
  np.testing.assert_allclose(ratio[1:], [ratio[0], 0.55, 0.55], rtol=1e-6)
