# %% [markdown]
# # Figure 5 of Remy et al. (2022): three ways to the mean of a Gaussian posterior
#
#     python examples/figures/gaussian_validation.py [--data DIR] [--full]
#
# With a Gaussian prior three ways lead to one map: the Wiener filter by conjugate
# gradients, the maximum of the posterior by steps along its score, and the mean of
# samples (1500 of them with `--full`). The figure shows their differences, the ratios
# of their powers, and the power of samples over that of the theory. The script writes
# `gaussian_validation.png`.

# %%
import argparse

from matplotlib import figure as mpl_figure
import numpy as np
import paper_mock
import tensorflow as tf

from tfp_massmap import baselines
from tfp_massmap import io
from tfp_massmap import likelihood
from tfp_massmap import posterior
from tfp_massmap import priors
from tfp_massmap import samplers
from tfp_massmap import simulate
from tfp_massmap import spectra

parser = argparse.ArgumentParser(description="Figure 5 of Remy et al. (2022).")
paper_mock.add_options(parser, "1500 samples instead of 32")
parser.add_argument("--num-samples", type=int)
parser.add_argument("--method", default="guided", choices=sorted(samplers.METHODS))
options = parser.parse_args()
picture = options.output / "gaussian_validation.png"
io.check_writable(picture, options.overwrite)
num_samples = options.num_samples or (1500 if options.full else 32)

# %% [markdown]
# ## Three ways

# %%
survey = paper_mock.empty_survey(options.data)
grid = survey.grid
spectrum = spectra.PowerSpectrum.fiducial_cosmos()
prior = priors.GaussianPrior.from_spectrum(spectrum, grid)
truth = prior.sample(seed=(options.seed, 1)).numpy()
shear_map = simulate.observe_like(truth, survey, seed=options.seed)
target = posterior.Posterior(likelihood.ShearLikelihood(shear_map), prior)
wiener = baselines.wiener.estimate(shear_map, prior, max_iterations=5000).kappa


@tf.function
def ascend(x, num_steps):
  """Climbs along the score, scaled by the posterior's variance, with momentum."""
  variance = 1 / target.fourier_precision()
  previous = x
  for step in tf.range(num_steps):
    weight = tf.cast(step, x.dtype) / (tf.cast(step, x.dtype) + 3)
    ahead = x + weight * (x - previous)
    previous = x
    x = ahead + 0.5 * spectra.fourier_filter(target.score(ahead), variance)
  return x


most_probable = ascend(tf.zeros(grid.shape), tf.constant(300)).numpy()
samples = samplers.sample(
  target,
  num_samples,
  seed=options.seed,
  method=options.method,
  options=samplers.RunOptions(batch_size=16),
).samples
mean = np.mean(samples, axis=0, dtype=np.float64)

# %% [markdown]
# ## Figure
# Powers are measured in bands on the whole, periodic map. The dotted line is the extra
# power of a mean of finitely many samples: their variance over their number.

# %%
edges, ell = paper_mock.BAND_EDGES, paper_mock.BAND_CENTERS
power = lambda maps: spectra.band_power(maps, grid, edges=edges)
sample_power = power(samples)
extra = power(samples - mean).mean(axis=0) / (num_samples - 1) / power(wiener)

figure = mpl_figure.Figure(figsize=(13.5, 7.6), layout="constrained")
axes = figure.subplots(2, 3)
width = grid.extent[1].to_value("arcmin")
style = dict(origin="lower", extent=(0, width, 0, width))
signal = dict(style, cmap="inferno", vmin=-0.03, vmax=0.05)
difference = dict(style, cmap="RdBu_r")
for axis, title, values, look in (
  (axes[0, 0], "Wiener filter", wiener, signal),
  (axes[0, 1], f"Posterior mean, {num_samples} samples", mean, signal),
  (axes[1, 0], "Maximum $-$ Wiener filter", most_probable - wiener, difference),
  (axes[1, 1], "Posterior mean $-$ Wiener filter", mean - wiener, difference),
):
  if look is difference:
    largest = np.percentile(np.abs(values), 99.8)
    look = dict(look, vmin=-largest, vmax=largest)
  image = axis.imshow(values, **look)
  axis.set(title=title, xlabel="x [arcmin]", ylabel="y [arcmin]")
  figure.colorbar(image, ax=axis, extend="both", label=r"$\kappa$", format="%.2g")

for label, values in (("maximum", most_probable), ("mean of samples", mean)):
  axes[0, 2].plot(ell, power(values) / power(wiener) - 1, label=label)
axes[0, 2].plot(ell, extra, "k:", lw=1, label="extra power of a mean of samples")
axes[0, 2].set(ylabel=r"$C_\ell / C_\ell^{\rm Wiener} - 1$", xscale="log")
axes[0, 2].set_yscale("symlog", linthresh=1e-2)
theory = spectrum(ell)
axes[1, 2].axhline(0, color="k", lw=0.6)
axes[1, 2].fill_between(
  ell, *np.percentile(sample_power / theory - 1, (16, 84), axis=0), alpha=0.3
)
axes[1, 2].plot(ell, sample_power.mean(axis=0) / theory - 1, label="samples, 68 %")
axes[1, 2].plot(ell, power(truth) / theory - 1, "k--", lw=1, label="truth")
axes[1, 2].set(ylabel=r"$C_\ell / C_\ell^{\rm theory} - 1$", xscale="log")
axes[1, 2].set_ylim(-0.6, 0.6)
for axis in axes[:, 2]:
  axis.set_xlabel(r"multipole $\ell$")
  axis.legend(fontsize=8)
io.write_figure(picture, figure, settings=vars(options), overwrite=options.overwrite)

variance = np.var(samples, axis=0, ddof=1).mean()
print(
  f"maximum - Wiener: {np.std(most_probable - wiener) / np.std(wiener):.1e} of the"
  f" map's standard deviation; mean - Wiener:"
  f" {np.sqrt(np.mean((mean - wiener) ** 2) / variance * num_samples):.3f} of its"
  f" Monte-Carlo error\nwrote {picture}"
)
