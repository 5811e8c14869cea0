# %% [markdown]
# # Figures 6 and 7 of Remy et al. (2022): posterior samples of a mock COSMOS field
#
#     python examples/figures/posterior_samples.py [--data DIR] [--full]
#
# `posterior_samples.png` shows the truth, the mean and the standard deviation of
# samples, the DeepMass estimate and four samples. `posterior_power.png` shows the power
# of samples under the Gaussian and the hybrid prior. `--full` draws 400 samples.

# %%
import argparse

from matplotlib import figure as mpl_figure
import numpy as np
import paper_mock

from tfp_massmap import baselines
from tfp_massmap import gaussian_posterior
from tfp_massmap import io
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import plot
from tfp_massmap import posterior
from tfp_massmap import priors
from tfp_massmap import samplers
from tfp_massmap import spectra
from tfp_massmap import summary

parser = argparse.ArgumentParser(description="Figures 6 and 7 of Remy et al. (2022).")
paper_mock.add_options(parser, "400 samples instead of 8")
parser.add_argument("--num-samples", type=int)
parser.add_argument("--prior", default="cosmos-halo", help="name or path of a prior")
parser.add_argument("--deepmass", default="cosmos-deepmass", help="a trained DeepMass")
parser.add_argument("--method", default="guided", choices=sorted(samplers.METHODS))
options = parser.parse_args()
maps_picture = options.output / "posterior_samples.png"
power_picture = options.output / "posterior_power.png"
for path in (maps_picture, power_picture):
  io.check_writable(path, options.overwrite)
num_samples = options.num_samples or (400 if options.full else 8)

# %%
truth, name, shear_map = paper_mock.observe(options.data, options.seed)
truth = truth - truth.mean()
grid, mask = shear_map.grid, shear_map.mask
prior = priors.HybridPrior.load(options.prior, grid)
likelihood = likelihood_lib.ShearLikelihood(shear_map)
target = posterior.Posterior(likelihood, prior)
samples = samplers.sample(
  target, num_samples, seed=options.seed, method=options.method
).samples
spectrum = spectra.PowerSpectrum.fiducial_cosmos()
fiducial = priors.GaussianPrior.from_spectrum(spectrum, grid)
gaussian = gaussian_posterior.sample(
  likelihood, fiducial, num_samples=1, seed=(options.seed, 1)
)
result = summary.summarise(samples)
estimates = {"posterior mean": result.mean}
try:
  estimates["DeepMass"] = baselines.deepmass.estimate(shear_map, options.deepmass).kappa
except FileNotFoundError as error:
  print(f"Without DeepMass: {error}")

# %% [markdown]
# ## Maps

# %%
maps = {
  f"Truth, {name}": truth,
  f"Mean of {num_samples} samples": result.mean,
  f"Standard deviation of {num_samples} samples": result.std,
}
if "DeepMass" in estimates:
  maps["DeepMass"] = estimates["DeepMass"]
shown = min(num_samples, 8 - len(maps))
maps |= {f"Sample {i + 1}": samples[i] for i in range(shown)}
figure, axes = plot.plot_maps(maps, grid, mask=mask)
for axis in [axes[i] for i in range(len(axes)) if i != 2]:
  axis.images[0].set_clim(-0.05, 0.15)
io.write_figure(
  maps_picture, figure, settings=vars(options), overwrite=options.overwrite
)
for label, estimate in estimates.items():
  error = summary.root_mean_square_error(estimate, truth, mask=mask)
  correlation = summary.pearson_correlation(estimate, truth, mask=mask)
  print(f"{label}: RMSE {error:.4f}, Pearson correlation {correlation:.3f} in the mask")

# %% [markdown]
# ## Power
# Power is measured on whole maps. The truth is not periodic, which adds some power at
# the highest multipoles.

# %%
edges, ell = paper_mock.BAND_EDGES, paper_mock.BAND_CENTERS
scale = ell * (ell + 1) / (2 * np.pi)
power = lambda maps: scale * spectra.band_power(np.asarray(maps), grid, edges=edges)
white = np.random.default_rng(options.seed).standard_normal(grid.shape)

figure = mpl_figure.Figure(figsize=(6.6, 4.8), layout="constrained")
axes = figure.subplots()
hybrid = power(samples)
axes.plot(ell, power(white), color="C2", label=r"white noise, $\sigma$ = 1")
axes.plot(ell, scale * spectrum(ell), "k--", label="fiducial spectrum, halofit")
axes.plot(ell, power(truth), color="C3", label=f"truth, {name}")
axes.plot(ell, power(gaussian)[0], color="C1", label="a sample, Gaussian prior")
mean, spread = hybrid.mean(axis=0), hybrid.std(axis=0, ddof=1)
axes.plot(ell, mean, color="C0", label="samples, hybrid prior")
axes.fill_between(ell, mean - spread, mean + spread, color="C0", alpha=0.3)
axes.set(xscale="log", yscale="log", xlabel=r"multipole $\ell$")
axes.set_ylabel(r"$\ell (\ell + 1) C_\ell / 2\pi$")
axes.set_ylim(1e-5, 1)
axes.legend(fontsize=8)
io.write_figure(
  power_picture, figure, settings=vars(options), overwrite=options.overwrite
)
ratio = (mean / power(truth))[(ell > 1000) & (ell < 20000)]
print(
  f"power of hybrid samples over the truth's, ell 1,000 to 20,000: {ratio.min():.2f}"
  f" to {ratio.max():.2f}\nwrote {maps_picture} and {power_picture}"
)
