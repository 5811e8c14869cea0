# %% [markdown]
# # Score-only kernels inside TFP's own machinery
#
# Each section gives the kernels a score and no density, and prints the exact answer beside
# the sampled one: step-size adaptation, a change of variables, a learnt mass matrix,
# streaming reductions, and replica exchange.
#
#     python examples/03_compose_with_tfp.py

# %%
import argparse

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_massmap import mcmc

parser = argparse.ArgumentParser(description="Composes score-only kernels with TFP.")
parser.add_argument("--full", action="store_true", help="ten times the steps")
options = parser.parse_args()
num_steps = 4000 if options.full else 400


def report(name, samples, *, mean, std):
  """Prints mean and standard deviation beside the exact ones."""
  print(
    f"{name:34s} mean {np.mean(samples):7.3f} (exact {mean:6.3f})   std"
    f" {np.std(samples):6.3f} (exact {std:6.3f})"
  )


def run(kernel, state, **options):
  """Returns `num_steps` samples after as many burn-in steps, compiled."""
  return tf.function(
    lambda: tfp.mcmc.sample_chain(
      num_steps,
      state,
      num_burnin_steps=num_steps,
      kernel=kernel,
      seed=(1, 2),
      **{"trace_fn": None, **options},
    ),
    jit_compile=True,
  )()


# %% [markdown]
# ## Step size by dual averaging

# %%
kernel = tfp.mcmc.DualAveragingStepSizeAdaptation(
  mcmc.ScoreHamiltonianMonteCarlo(
    target_score_fn=lambda x: -(x - 3) / 4,
    step_size=0.01,
    num_leapfrog_steps=5,
    event_ndims=1,
    path_integral="trajectory",
  ),
  num_adaptation_steps=int(0.8 * num_steps),
  target_accept_prob=0.8,
)
samples, step_size = run(
  kernel, tf.zeros([50, 10]), trace_fn=lambda _, r: r.new_step_size
)
report(f"dual averaging, step {float(step_size[-1]):.2f}", samples, mean=3.0, std=2.0)

# %% [markdown]
# ## A positive variable through a bijector
# The score 2 / x - 1 is that of x drawn from Gamma(3, 1). TFP adds the log-determinant of
# the change of variables, and the kernel moves in log x.

# %%
in_x = mcmc.ScoreHamiltonianMonteCarlo(
  lambda x: 2 / x - 1, 0.4, num_leapfrog_steps=4, event_ndims=1
)
kernel = tfp.mcmc.TransformedTransitionKernel(in_x, bijector=tfp.bijectors.Exp())
report(
  "Gamma(3) through Exp", run(kernel, tf.ones([50, 1])), mean=3.0, std=np.sqrt(3.0)
)

# %% [markdown]
# ## A mass matrix learnt during the run
# The four coordinates have scales of 0.1 to 100.

# %%
scales = tf.constant([0.1, 1.0, 10.0, 100.0])
kernel = tfp.experimental.mcmc.DiagonalMassMatrixAdaptation(
  mcmc.ScoreHamiltonianMonteCarlo(
    lambda x: -x / scales**2, 0.15, num_leapfrog_steps=(8, 14), event_ndims=1
  ),
  initial_running_variance=tfp.experimental.stats.RunningVariance.from_stats(
    num_samples=10.0, mean=tf.zeros([4]), variance=scales**2 / 2
  ),
)
samples = run(kernel, tf.zeros([50, 4]))
report("learnt mass, x / scale", samples / scales, mean=0.0, std=1.0)

# %% [markdown]
# ## Variances without stored samples

# %%
reducer = tfp.experimental.mcmc.VarianceReducer()
variance, _, _ = tf.function(
  lambda: tfp.experimental.mcmc.sample_fold(
    num_steps,
    tf.zeros([50, 10]),
    reducer=reducer,
    seed=(1, 2),
    kernel=mcmc.ScoreMetropolisAdjustedLangevinAlgorithm(
      lambda x: -x, 0.5, event_ndims=1
    ),
  )
)()
print(f"{'Langevin, streaming variance':34s} {np.mean(variance):.3f} (exact 1)")

# %% [markdown]
# ## Replica exchange between two wells at +-2
# `tfp.mcmc.ReplicaExchangeMC` needs values of the log-density. `ScoreReplicaExchangeMC`
# decides its swaps by the path integral of the difference of two scores.


# %%
def wells(x, sigma):
  """Returns the score of an even mixture of N(-2, sigma^2) and N(2, sigma^2)."""
  variance = tf.square(tf.cast(sigma, x.dtype))[..., tf.newaxis]
  return (2 * tf.tanh(2 * x / variance) - x) / variance


kernel = mcmc.ScoreReplicaExchangeMC(
  wells,
  sigmas=[0.3, 0.8, 1.6, 3.0],
  make_kernel_fn=lambda score, sigma: mcmc.ScoreHamiltonianMonteCarlo(
    score,
    0.5 * sigma[..., tf.newaxis],
    num_leapfrog_steps=4,
    event_ndims=1,
    path_integral="trajectory",
  ),
  event_ndims=1,
  num_intervals=32,
)
samples, swaps = run(
  kernel,
  tf.fill([50, 1], 2.0),
  trace_fn=lambda _, r: tf.reduce_mean(tf.cast(r.is_swap_accepted[1:3], tf.float32)),
)
report("two wells, all chains from one", samples, mean=0.0, std=np.sqrt(4 + 0.3**2))
