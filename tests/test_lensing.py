"""Kaiser-Squires: identities, signs, an independent oracle, gradients, XLA."""

import lenspack.image.inversion
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import lensing

SHAPES = [(8, 8), (7, 9), (8, 9), (9, 12), (12, 10), (2, 2)]


def _random(shape, seed=0):
  return np.random.default_rng(seed).standard_normal(shape)


def _centred(maps):
  return maps - maps.mean(axis=(-2, -1), keepdims=True)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype, atol", [("float32", 1e-5), ("float64", 1e-13)])
def test_unitary_except_for_the_mean(shape, dtype, atol):
  kappa_e, kappa_b = _random((2, 3, *shape)).astype(dtype)
  shear = lensing.shear_from_convergence(kappa_e, kappa_b)
  assert shear.shape == (3, 2, *shape)
  assert shear.dtype == dtype
  back_e, back_b = lensing.convergence_from_shear(shear)
  np.testing.assert_allclose(back_e, _centred(kappa_e), atol=atol)
  np.testing.assert_allclose(back_b, _centred(kappa_b), atol=atol)
  # P P' = 1 holds on shears without a mean, too.
  shear = _centred(_random((2, *shape)).astype(dtype))
  again = lensing.shear_from_convergence(*lensing.convergence_from_shear(shear))
  np.testing.assert_allclose(again, shear, atol=atol)


@pytest.mark.parametrize("shape", SHAPES)
def test_convergence_from_shear_is_the_adjoint(shape):
  kappa, shear = _random(shape), _random((2, *shape), 1)
  left = np.sum(lensing.shear_from_convergence(kappa) * shear)
  right = np.sum(kappa * lensing.convergence_from_shear(shear)[0])
  np.testing.assert_allclose(left, right, rtol=1e-12)


def test_the_mean_is_lost():
  shear = lensing.shear_from_convergence(np.full((6, 8), 3.0))
  np.testing.assert_allclose(shear, 0, atol=1e-14)


def test_one_wave_in_closed_form():
  ny, nx, m, n = 16, 24, 3, 2
  y, x = np.mgrid[:ny, :nx]
  k1, k2 = 2 * np.pi * m / nx, 2 * np.pi * n / ny
  wave = np.cos(k1 * x + k2 * y)
  shear = lensing.shear_from_convergence(wave)
  square = k1**2 + k2**2
  np.testing.assert_allclose(shear[0], (k1**2 - k2**2) / square * wave, atol=1e-13)
  np.testing.assert_allclose(shear[1], 2 * k1 * k2 / square * wave, atol=1e-13)


def _blob(shape, center, width):
  y, x = np.mgrid[: shape[0], : shape[1]]
  return np.exp(-((x - center[1]) ** 2 + (y - center[0]) ** 2) / (2 * width**2))


def test_overdensity_gives_tangential_shear_of_the_right_size():
  shape, center, width = (256, 240), (120.0, 110.0), 4.0
  shear = lensing.shear_from_convergence(_blob(shape, center, width)).numpy()
  tangential, cross = lensing.tangential_shear(shear, center)
  y, x = np.mgrid[: shape[0], : shape[1]]
  radius = np.hypot(x - center[1], y - center[0])
  ring = (radius > 5) & (radius < 20)
  # gamma_t = mean kappa inside - kappa, for a circular mass.
  q = radius[ring] ** 2 / (2 * width**2)
  expected = (1 - np.exp(-q)) / q - np.exp(-q)
  # Periodic images of the mass and the lost mean are 2 pi width^2 / area = 1.6e-3.
  np.testing.assert_allclose(tangential[ring], expected, atol=2e-3)
  np.testing.assert_allclose(cross[ring], 0, atol=1e-3)


def test_signs_of_the_components():
  shear = lensing.shear_from_convergence(_blob((64, 64), (32, 32), 3.0)).numpy()
  assert shear[0, 32, 44] < 0 < shear[0, 44, 32]  # East of it, stretched north-south.
  assert shear[1, 41, 41] < 0 < shear[1, 41, 23]  # North-east of it, stretched NW-SE.


def test_agrees_with_lenspack():
  # Odd sides: at a Nyquist frequency lenspack's complex convention differs.
  shear = _random((2, 31, 45))
  kappa_e, kappa_b = lensing.convergence_from_shear(shear)
  oracle_e, oracle_b = lenspack.image.inversion.ks93(*shear)
  np.testing.assert_allclose(kappa_e, oracle_e, atol=1e-12)
  np.testing.assert_allclose(kappa_b, oracle_b, atol=1e-12)


def test_wrong_sign_of_e2_mixes_e_into_b_evenly():
  # White noise cut to a disk of modes, so that all angles weigh the same.
  radius = np.hypot(np.fft.fftfreq(128)[:, np.newaxis], np.fft.rfftfreq(128))
  modes = np.fft.rfft2(_random((128, 128))) * (radius < 0.45)
  shear = lensing.shear_from_convergence(np.fft.irfft2(modes)).numpy()
  shear[1] *= -1
  kappa_e, kappa_b = lensing.convergence_from_shear(shear)
  share = np.var(kappa_b) / (np.var(kappa_e) + np.var(kappa_b))
  # The share is 1/2 on average over angles. With 5,200 modes its scatter is 0.005: 6
  # sigma.
  assert abs(share - 0.5) < 0.03


@pytest.mark.parametrize("shape", [(6, 8), (5, 7)])
def test_gradients(shape):
  kappa, weight = _random(shape), _random((2, *shape), 1)
  kappa = tf.constant(kappa)

  def loss(k):
    return tf.reduce_sum(weight * lensing.shear_from_convergence(k) ** 2)

  analytic, numeric = tf.test.compute_gradient(loss, [kappa])
  np.testing.assert_allclose(analytic[0], numeric[0], atol=1e-6)
  with tf.GradientTape() as outer:
    outer.watch(kappa)
    with tf.GradientTape() as inner:
      inner.watch(kappa)
      value = loss(kappa)
    first = tf.reduce_sum(inner.gradient(value, kappa) ** 2)
  second = outer.gradient(first, kappa)
  assert np.isfinite(second).all() and np.abs(second).max() > 0


def test_xla_and_graph_agree_with_eager():
  kappa = _random((2, 12, 15)).astype(np.float32)
  eager = lensing.shear_from_convergence(kappa)
  for jit_compile in (False, True):
    compiled = tf.function(lensing.shear_from_convergence, jit_compile=jit_compile)
    np.testing.assert_allclose(compiled(kappa), eager, atol=1e-6)


def test_wrong_shapes():
  with pytest.raises(ValueError, match=r"\[\.\.\., 2, ny, nx\]"):
    lensing.convergence_from_shear(np.zeros((3, 8, 8)))
