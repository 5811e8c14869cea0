# %% [markdown]
# # Sampling two moons from their score
#
# This example draws Figures 1 and 2 of Remy et al. (2022): the score field of a
# distribution smoothed by sigma, the denoiser that follows from it (Tweedie's formula),
# and annealed Hamiltonian Monte Carlo, which never evaluates the density.
#
#     python examples/02_score_hmc.py
#
# writes `two_moons_score.png` and `two_moons_annealing.png` in this folder or --output.

# %%
import argparse
import pathlib

from matplotlib import figure as mpl_figure
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import io
from tfp_massmap import mcmc

parser = argparse.ArgumentParser(description="Samples two moons from their score.")
parser.add_argument("--output", default=pathlib.Path("."), type=pathlib.Path)
parser.add_argument("--overwrite", action="store_true")
parser.add_argument("--full", action="store_true", help="10,000 chains, not 1,000")
options = parser.parse_args()
NAMES = ("two_moons_score.png", "two_moons_annealing.png")
for name in NAMES:
  io.check_writable(options.output / name, options.overwrite)

# %% [markdown]
# ## The target
# The density is a mixture of Gaussians of width 0.08, centred on points along two half
# circles. Smoothing by sigma adds the widths in squares, so the score is known at every
# sigma: score(x) = sum_i p(i | x) (centre_i - x) / (0.08^2 + sigma^2).

# %%
WIDTH = 0.08
angle = np.linspace(0, np.pi, 100)
upper = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=-1)
centers = tf.constant(np.concatenate([upper, lower]) - [0.5, 0.25], tf.float32)


def moons(x, sigma):
  """Returns log-density and score of points `[..., 2]` smoothed by sigma `[...]`."""
  variance = (WIDTH**2 + sigma**2)[..., tf.newaxis]
  offsets = centers - x[..., tf.newaxis, :]
  exponent = -0.5 * tf.reduce_sum(offsets**2, axis=-1) / variance
  weights = tf.nn.softmax(exponent, axis=-1)
  score = tf.reduce_sum(weights[..., tf.newaxis] * offsets, axis=-2) / variance
  return tf.reduce_logsumexp(exponent, axis=-1) - tf.math.log(variance[..., 0]), score


def score_fn(x, sigma):
  """Returns the score of the moons smoothed by sigma."""
  return moons(x, sigma)[1]


# %% [markdown]
# ## Figure 1: score field, a noisy point, and the same point denoised


# %%
def show_field(axis, sigma, arrows=19, size=2.4):
  """Draws density and score of the moons smoothed by sigma."""
  fine = np.stack(np.meshgrid(*[np.linspace(-size, size, 160)] * 2), axis=-1)
  sigma_of = lambda points: tf.fill(points.shape[:-1], tf.constant(sigma, tf.float32))
  fine = tf.constant(fine, tf.float32)
  density = tf.exp(moons(fine, sigma_of(fine))[0])
  axis.imshow(density, origin="lower", extent=[-size, size] * 2, cmap="Blues")
  coarse = np.stack(np.meshgrid(*[np.linspace(-size, size, arrows)] * 2), axis=-1)
  coarse = coarse.astype(np.float32)
  field = (WIDTH**2 + sigma**2) * score_fn(coarse, sigma_of(coarse)).numpy()
  style = dict(angles="xy", scale_units="xy", scale=4, width=0.003, alpha=0.7)
  axis.quiver(*np.moveaxis(coarse, -1, 0), *np.moveaxis(field, -1, 0), **style)
  axis.set(xlim=(-size, size), ylim=(-size, size), xlabel="$x_1$", ylabel="$x_2$")


figure = mpl_figure.Figure(figsize=(5.6, 5.4), layout="constrained")
axes = figure.subplots()
sigma = 0.3
show_field(axes, sigma)
noisy = np.array([[-1.45, 0.95], [0.35, 0.55], [1.9, -0.1]], np.float32)
noise = tf.fill([len(noisy)], sigma)
denoised = noisy + sigma**2 * score_fn(tf.constant(noisy), noise).numpy()
axes.plot(*noisy.T, "o", color="red", label="noisy point")
axes.plot(*denoised.T, "o", color="orange", label=r"$x + \sigma^2\,$score, denoised")
for start, end in zip(noisy, denoised):
  axes.annotate("", end, start, arrowprops=dict(arrowstyle="->"))
axes.legend(loc="lower left")
axes.set_title(rf"Score field of two moons, $\sigma$ = {sigma}")
io.write_figure(
  options.output / NAMES[0], figure, settings=vars(options), overwrite=options.overwrite
)

# %% [markdown]
# ## Figure 2: annealing
# All chains start from white noise of sigma = 2. The last states must fill both moons
# alike: their rms distance to the nearest arc is WIDTH, and half of them lie on each arc.

# %%
num_chains = 10000 if options.full else 1000
kernel = mcmc.TemperedMC(
  score_fn,
  lambda score, sigma: mcmc.ScoreHamiltonianMonteCarlo(
    score,
    0.5 * tf.sqrt(WIDTH**2 + sigma**2)[:, tf.newaxis],
    num_leapfrog_steps=4,
    event_ndims=1,
  ),
  initial_sigma=2.0,
  min_sigma=0.01,
  cooling=0.9,
  min_steps=4,
)
start = 2.0 * tf.random.stateless_normal([num_chains, 2], seed=(1, 2))
states, (sigmas, ratio) = tf.function(
  lambda: tfp.mcmc.sample_chain(
    240,
    start,
    kernel=kernel,
    seed=(3, 4),
    trace_fn=lambda _, r: (r.sigma[0], r.inner_results.log_accept_ratio),
  ),
  jit_compile=True,
)()
figure = mpl_figure.Figure(figsize=(9, 9), layout="constrained")
for axis, wanted in zip(figure.subplots(2, 2).ravel(), (2.0, 0.5, 0.2, 0.01)):
  index = int(np.flatnonzero(sigmas <= wanted * 1.05)[0])
  index = len(sigmas) - 1 if wanted == 0.01 else index + 3
  show_field(axis, float(sigmas[index]))
  axis.plot(*states[index][:400].numpy().T, ".", color="red", markersize=2)
  axis.set_title(rf"$\sigma$ = {float(sigmas[index]):.2f}")
io.write_figure(
  options.output / NAMES[1], figure, settings=vars(options), overwrite=options.overwrite
)
last = states[-1]
distance = tf.reduce_min(tf.norm(centers - last[:, tf.newaxis], axis=-1), axis=-1)
nearest = tf.argmin(tf.norm(centers - last[:, tf.newaxis], axis=-1), axis=-1)
print(
  f"mean acceptance {np.mean(np.exp(np.minimum(ratio, 0))):.2f}; rms distance to the"
  f" arcs {np.sqrt(np.mean(distance**2)):.3f} (width {WIDTH}); on the upper moon"
  f" {np.mean(nearest < 100):.2f} +- {0.5 / np.sqrt(num_chains):.2f}"
)
