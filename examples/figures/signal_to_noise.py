# %% [markdown]
# # Figure E.1 of Remy et al. (2022): power of the convergence over that of the noise
#
#     python examples/figures/signal_to_noise.py [--data DIR]
#
# The noise is that of the survey's shear after a Kaiser-Squires inversion. One curve
# takes its mean variance in the mask, the other its mean inverse variance, which is the
# noise that a reconstruction can reach. Where the ratio falls below 0.1, the prior
# determines a map. The script writes `signal_to_noise.png`.

# %%
import argparse

from matplotlib import figure as mpl_figure
import numpy as np
import paper_mock

from tfp_massmap import io
from tfp_massmap import likelihood
from tfp_massmap import spectra

parser = argparse.ArgumentParser(description="Figure E.1 of Remy et al. (2022).")
paper_mock.add_options(parser, "changes nothing here")
options = parser.parse_args()
picture = options.output / "signal_to_noise.png"
io.check_writable(picture, options.overwrite)

# %%
survey = paper_mock.empty_survey(options.data)
spectrum = spectra.PowerSpectrum.fiducial_cosmos()
ell = np.geomspace(200, 36000, 200)
signal = spectrum(ell)
pixel = survey.grid.pixel_radians**2
noise_std = survey.noise_std[:, survey.mask]
typical = likelihood.ShearLikelihood(survey).typical_noise_std
levels = {
  "mean variance of the noise": np.mean(noise_std**2) * pixel,
  "mean inverse variance": typical**2 * pixel,
}

figure = mpl_figure.Figure(figsize=(6, 4.2), layout="constrained")
axes = figure.subplots()
for label, noise in levels.items():
  axes.plot(ell, signal / noise, label=label)
  reach = ell[np.argmin(np.abs(np.log(signal / noise / 0.1)))]
  print(f"{label}: the ratio is 0.1 at ell = {reach:.0f}")
for level in (1, 0.1):
  axes.axhline(level, color="k", ls="--", lw=0.8)
axes.set(xscale="log", yscale="log", xlabel=r"multipole $\ell$")
axes.set_ylabel(r"$C_\ell^{\kappa} \;/\; C_\ell^{\rm noise}$")
axes.legend(fontsize=8)
io.write_figure(picture, figure, settings=vars(options), overwrite=options.overwrite)
print(f"wrote {picture}")
