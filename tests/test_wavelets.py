"""The starlet transform against lenspack and its own identities."""

from lenspack.image import transforms
import numpy as np
import pytest
import tensorflow as tf

from tfp_massmap import wavelets

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize("shape", [(64, 64), (48, 33)])
def test_against_lenspack(shape, dtype, tolerance):
  image = RNG.standard_normal(shape).astype(dtype)
  scales = wavelets.starlet(image, 3)
  assert scales.dtype == dtype
  expected = transforms.starlet2d(image.astype(np.float64), nscales=3)
  # lenspack repeats the last sample beyond the edge; the kernels reach 14 pixels.
  inner = (slice(None), slice(14, -14), slice(14, -14))
  np.testing.assert_allclose(scales[inner], expected[inner], atol=tolerance)


def test_scales_add_up_and_batches_agree():
  maps = RNG.standard_normal([3, 2, 32, 40])
  scales = wavelets.starlet(maps, 5)
  assert scales.shape == (3, 2, 6, 32, 40)
  np.testing.assert_allclose(tf.reduce_sum(scales, axis=-3), maps, atol=1e-12)
  np.testing.assert_allclose(scales[1, 0], wavelets.starlet(maps[1, 0], 5), atol=1e-14)


def test_smoothed_image_of_a_point_is_the_kernel():
  image = np.zeros([33, 33])
  image[16, 16] = 1
  smooth = wavelets.starlet(image, 1)[-1].numpy()
  kernel = np.array([1, 4, 6, 4, 1]) / 16
  np.testing.assert_allclose(smooth[14:19, 14:19], np.outer(kernel, kernel))


def test_compiles():
  maps = RNG.standard_normal([2, 32, 32]).astype(np.float32)
  compiled = tf.function(lambda x: wavelets.starlet(x, 3), jit_compile=True)
  np.testing.assert_allclose(compiled(maps), wavelets.starlet(maps, 3), atol=1e-6)


@pytest.mark.parametrize("num_scales", [0, 6])
def test_number_of_scales_must_fit(num_scales):
  with pytest.raises(ValueError, match="between 1 and 5"):
    wavelets.starlet(np.zeros([32, 40]), num_scales)


@pytest.mark.parametrize("shape", [(64, 64), (65, 80)])
def test_fourier_filters_are_the_transform_of_a_periodic_map(shape):
  image = RNG.standard_normal(shape)
  filters = wavelets.fourier_filters(shape, 3)
  np.testing.assert_allclose(filters.sum(axis=0), 1, atol=1e-14)
  found = np.fft.irfft2(filters * np.fft.rfft2(image), s=shape)
  inner = (slice(None), slice(14, -14), slice(14, -14))
  np.testing.assert_allclose(
    found[inner], wavelets.starlet(image, 3).numpy()[inner], atol=1e-12
  )
