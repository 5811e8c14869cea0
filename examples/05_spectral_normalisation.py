# %% [markdown]
# # The effect of a bound on the spectral norm outside of the data
#
# A small network learns the score of a swiss roll by denoising score matching, with and
# without a bound on the spectral norm of its layers. Near the roll both agree. Far from
# it, where no data constrain them, the bounded one varies less (Remy et al. 2022, Fig.
# C.1). A bound that is too small spoils the fit, as 2 does here.
#
#     python examples/05_spectral_normalisation.py [--full]

# %%
import argparse
import pathlib

import keras
from matplotlib import figure as mpl_figure
import numpy as np
import tensorflow as tf

from tfp_massmap import io
from tfp_massmap.nn import spectral_norm

parser = argparse.ArgumentParser(description="Learns the score of a swiss roll twice.")
parser.add_argument("--output", default=pathlib.Path("."), type=pathlib.Path)
parser.add_argument("--full", action="store_true", help="train ten times longer")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--overwrite", action="store_true")
options = parser.parse_args()
path = options.output / "spectral_normalisation.png"
io.check_writable(path, options.overwrite)
num_steps = 20000 if options.full else 2000
BOUND, SHOWN_SIGMA = 3.0, 0.15


# %%
def swiss_roll(num, rng):
  angle = 1.5 * np.pi * (1 + 2 * rng.uniform(size=num))
  points = angle * np.array([np.cos(angle), np.sin(angle)]) / 10
  return points.T.astype(np.float32)


def make_network(bound):
  """Returns a network of points and sigma to the score times sigma."""
  dense = lambda units: keras.layers.Dense(units)
  if bound is not None:
    dense = lambda units: spectral_norm.SpectralBound(keras.layers.Dense(units), bound)
  points, sigma = keras.Input([2]), keras.Input([1])
  x = keras.layers.Concatenate()([points, sigma])
  for _ in range(4):
    x = keras.layers.Activation("relu")(dense(128)(x))
  return keras.Model([points, sigma], dense(2)(x))


def train(network, rng):
  """Trains; returns the mean squared error of the last tenth, per coordinate."""
  optimizer = keras.optimizers.Adam(
    keras.optimizers.schedules.CosineDecay(2e-3, num_steps)
  )
  optimizer.build(network.trainable_variables)

  @tf.function
  def step(clean, sigma, noise):
    with tf.GradientTape() as tape:
      # Minus E[noise | x + sigma noise] is the score times sigma.
      output = network([clean + sigma * noise, sigma], training=True)
      loss = tf.reduce_mean(tf.square(output + noise))
    variables = network.trainable_variables
    optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
    return loss

  losses = []
  for _ in range(num_steps):
    sigma = np.exp(rng.uniform(np.log(0.05), np.log(1.0), (512, 1))).astype(np.float32)
    noise = rng.standard_normal((512, 2)).astype(np.float32)
    losses.append(step(swiss_roll(512, rng), sigma, noise))
  return float(np.mean(losses[-num_steps // 10 :]))


# %%
rng = np.random.default_rng(options.seed)
networks, losses = {}, {}
for name, bound in (("without a bound", None), (f"norms of at most {BOUND:g}", BOUND)):
  keras.utils.set_random_seed(options.seed)
  networks[name] = make_network(bound)
  losses[name] = train(networks[name], rng)

# %% [markdown]
# ## The fields on a grid, near the roll and far away

# %%
side = np.linspace(-4, 4, 33, dtype=np.float32)
grid = np.stack(np.meshgrid(side, side), axis=-1)
flat = grid.reshape(-1, 2)
roll = swiss_roll(4000, rng)
distance = np.min(np.linalg.norm(flat[:, None] - roll[None, ::8], axis=-1), axis=1)
near, far = distance < 0.15, distance > 1.5


def field(network):
  sigma = np.full([len(flat), 1], SHOWN_SIGMA, np.float32)
  return np.array(network([flat, sigma])) / SHOWN_SIGMA


def exact_field():
  """Returns the score of the kernel density of many points of the roll."""
  points = swiss_roll(20000, np.random.default_rng(1))
  squared = np.sum((flat[:, None] - points) ** 2, axis=-1) / (2 * SHOWN_SIGMA**2)
  weights = np.exp(squared.min(axis=1, keepdims=True) - squared)
  mean = weights @ points / weights.sum(axis=1, keepdims=True)
  return (mean - flat) / SHOWN_SIGMA**2


def unit(vectors):
  return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


exact = exact_field()
figure = mpl_figure.Figure(figsize=(11, 5.4), layout="constrained")
for index, (name, network) in enumerate(networks.items()):
  scores = field(network)
  error = np.linalg.norm((scores - exact)[near]) / np.linalg.norm(exact[near])
  home = np.sum(unit(scores) * unit(exact), axis=-1)[far]
  slopes = np.linalg.norm(np.diff(scores.reshape(grid.shape), axis=1), axis=-1)
  slope = (slopes / (side[1] - side[0]))[far.reshape(33, 33)[:, 1:]]
  print(
    f"{name}: loss {losses[name]:.3f}; error near the roll {error:.2f}; far away:"
    f" cosine with the exact score {home.mean():.3f}, at least {home.min():.2f}; slope"
    f" {slope.mean():.1f} +- {slope.std():.1f}"
  )
  axis = figure.add_subplot(1, 2, index + 1)
  axis.scatter(*roll.T, s=2, color="tab:blue", alpha=0.3)
  axis.quiver(
    *flat.T,
    *unit(scores).T,
    np.log10(np.linalg.norm(scores, axis=-1)),
    cmap="magma",
    scale=40,
    width=0.003,
    clim=(0, 2.2),
  )
  axis.set(title=name, aspect="equal", xlabel="$x_1$", ylabel="$x_2$")
figure.colorbar(
  axis.collections[-1], ax=figure.axes, label="log10 of the score's length"
)
figure.suptitle(rf"Score of a swiss roll, $\sigma$ = {SHOWN_SIGMA:g}")
io.write_figure(
  path, figure, settings=vars(options), overwrite=options.overwrite, dpi=130
)
print(f"Wrote {path}")
