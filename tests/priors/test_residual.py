"""Scales of a network's inputs and outputs, and the residual made of them."""

from astropy import units as u
import numpy as np
import tensorflow as tf

from tfp_massmap import geometry
from tfp_massmap import priors
from tfp_massmap.nn import architectures
from tfp_massmap.priors import residual


def test_scales_are_the_standard_deviations_of_a_gaussian_field(fiducial):
  """Those of y, of its Wiener filter and of the filter's error, in 6 maps, to 4 %."""
  grid = geometry.PixelGrid((360, 360), 0.29 * u.arcmin)
  scales = residual.Scales.from_spectrum(fiducial, grid.pixel_scale)
  gaussian = priors.GaussianPrior.from_spectrum(fiducial, grid)
  clean = gaussian.sample([6], seed=(1, 2))
  for sigma in (0.02, 0.3):
    noisy = clean + sigma * tf.random.stateless_normal(clean.shape, (3, 4))
    wiener = gaussian.denoise(noisy, sigma)
    measured = [np.std(m) for m in (noisy, wiener, wiener - clean)]
    np.testing.assert_allclose(scales.at(tf.constant(sigma)), measured, rtol=0.04)


def _run(architecture, fiducial, grid, output):
  """Returns inputs of a network that is a function, and the residual it leads to."""
  calls = []

  def network(inputs, training):
    del training
    calls.append(inputs)
    return output(*inputs)

  scales = residual.Scales.from_spectrum(fiducial, grid.pixel_scale)
  denoiser = residual.ResidualDenoiser(network, architecture, scales=scales)
  gaussian = priors.GaussianPrior.from_spectrum(fiducial, grid)
  noisy = tf.random.stateless_normal([2, 32, 32], (1, 2))
  sigma = tf.constant([0.1, 0.4])
  added = denoiser(noisy, gaussian.denoise(noisy, sigma), sigma)
  return calls[0][0], added, gaussian.score(noisy, sigma), denoiser.error_std(sigma)


def test_the_network_of_the_paper_has_the_gaussian_score_as_input(toys, fiducial):
  """Remy et al. (2022), Eq. 23 and appendix C: its output over sigma is the score."""
  maps, added, score, _ = _run(
    architectures.PRESETS["paper"],
    fiducial,
    toys.grid,
    lambda maps, sigma: tf.ones_like(maps[..., 0]) / sigma[:, None, None],
  )
  sigma = np.array([0.1, 0.4])[:, None, None]
  np.testing.assert_allclose(added, np.broadcast_to(sigma, added.shape), rtol=1e-5)
  np.testing.assert_allclose(maps[..., 1], sigma * score, rtol=1e-3, atol=1e-4)


def test_the_default_network_has_the_wiener_filter_as_input(toys, fiducial):
  """Its output of one is the standard deviation of the filter's error."""
  maps, added, score, error_std = _run(
    toys.tiny, fiducial, toys.grid, lambda maps, sigma: tf.ones_like(maps[..., 0])
  )
  expected = np.broadcast_to(error_std[:, None, None], added.shape)
  np.testing.assert_allclose(added, expected, rtol=1e-6)
  del score
  assert maps.shape == (2, 32, 32, 2)
