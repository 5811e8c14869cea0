"""From a shear map to products: samples, mean and standard deviation, FITS, figure."""

import dataclasses
import pathlib

import numpy as np

from tfp_massmap import baselines
from tfp_massmap import hybrid_prior
from tfp_massmap import io
from tfp_massmap import likelihood as likelihood_lib
from tfp_massmap import plot
from tfp_massmap import posterior as posterior_lib
from tfp_massmap import prior as prior_lib
from tfp_massmap import samplers
from tfp_massmap import shear_map as shear_map_lib
from tfp_massmap import spectra
from tfp_massmap import summary as summary_lib


@dataclasses.dataclass(frozen=True, eq=False)
class Reconstruction:
  """Posterior samples of the convergence of a field, and point estimates beside.

  Attributes:
    shear_map: the data, `shear_map.ShearMap`.
    sample_set: `samplers.SampleSet`.
    summary: `summary.Summary`: mean, standard deviation, quantiles, probabilities.
    kaiser_squires, wiener: `baselines.MassMap`.
    truth: `[ny, nx]` of a mock, or None.
    settings: seed, prior, sampler, data: a flat dict.
  """

  shear_map: shear_map_lib.ShearMap
  sample_set: samplers.SampleSet
  summary: summary_lib.Summary
  kaiser_squires: baselines.MassMap
  wiener: baselines.MassMap
  truth: np.ndarray | None
  settings: dict

  def save(self, path, overwrite=False):
    """Writes one FITS file with WCS, units and provenance; maps as float32.

    The primary image is the mean; extensions STD, QUANTILE_q and PROBABILITY_t (that
    kappa exceeds t) for those asked for, SAMPLES (a cube, unless the samples have a file
    of their own), WIENER, KAISER_SQUIRES, MASK, COUNT, and TRUTH for a mock.
    """
    io.write_fits(path, self._hdus(), overwrite)

  def save_products(self, fits_path, figure_path, overwrite=False, **figure_options):
    """`save` and `save_figure`, both or neither."""
    with io.atomic_path(figure_path, overwrite) as temporary:
      self._draw(temporary, **figure_options)
      self.save(fits_path, overwrite)

  def _hdus(self):
    grid = self.shear_map.grid

    def image(values, name, description="convergence"):
      return io.image_hdu(np.asarray(values, np.float32), grid, name, description)

    hdus = [
        io.primary_hdu(
            np.asarray(self.summary.mean, np.float32), grid, "posterior mean of kappa",
            self.settings,
        ),
        image(self.summary.std, "STD", "posterior std of kappa"),
    ]
    for level, values in self.summary.quantiles.items():
      hdus.append(image(values, f"QUANTILE_{level:g}", f"quantile {level:g} of kappa"))
    for threshold, values in self.summary.probabilities.items():
      hdus.append(
          image(values, f"PROBABILITY_{threshold:g}", f"share with kappa > {threshold:g}")
      )
    if self.sample_set.path is None:
      hdus.append(image(self.sample_set.samples, "SAMPLES"))
    hdus += [
        image(self.wiener.kappa, "WIENER"),
        image(self.kaiser_squires.kappa, "KAISER_SQUIRES"),
        io.image_hdu(self.shear_map.mask, grid, "MASK", "1 = measured"),
    ]
    if self.shear_map.count is not None:
      count = np.asarray(self.shear_map.count, np.int32)
      hdus.append(io.image_hdu(count, grid, "COUNT", "galaxies per pixel", "count"))
    if self.truth is not None:
      hdus.append(image(self.truth, "TRUTH"))
    return hdus

  def plot(self, markers=None, title=None):
    """Truth, Kaiser-Squires, Wiener, mean, std and two samples; `(figure, axes)`."""
    maps = {} if self.truth is None else {"Truth": self.truth}
    smoothing = self.kaiser_squires.settings["smoothing_arcmin"]
    maps[f"Kaiser-Squires, {smoothing:g} arcmin"] = self.kaiser_squires.kappa
    maps["Wiener filter"] = self.wiener.kappa
    maps[f"Mean of {self.summary.num_samples} samples"] = self.summary.mean
    if self.summary.num_samples > 1:
      maps["Standard deviation of samples"] = self.summary.std
    for index in range(min(2, self.summary.num_samples)):
      maps[f"Sample {index + 1}"] = self.sample_set.samples[index]
    columns = 4 if self.truth is not None else 3
    return plot.plot_maps(
        maps, self.shear_map.grid, self.shear_map.mask, markers, columns, title
    )

  def save_figure(self, path, overwrite=False, markers=None, title=None, dpi=150):
    """Writes `plot` to an image file; a PNG carries the settings as metadata."""
    with io.atomic_path(path, overwrite) as temporary:
      self._draw(temporary, markers, title, dpi)

  def _draw(self, path, markers=None, title=None, dpi=150):
    figure, _ = self.plot(markers, title)
    metadata = io.figure_metadata(path, self.settings)
    figure.savefig(path, dpi=dpi, metadata=metadata)


def reconstruct(shear_map, prior, num_samples, seed, method="guided", sampler=None,
                truth=None, settings=None, batch_size=8, samples_path=None,
                overwrite=False, quantiles=(), thresholds=(), source_redshifts=None,
                source_counts=None, reduced_shear=False, progress=True):
  """Samples the posterior of a shear map.

  Args:
    shear_map: `shear_map.ShearMap`.
    prior: name or path of a trained prior (`hybrid_prior.HybridPrior.load`), or a prior
      on the grid of the map; or a `spectra.PowerSpectrum`, for a Gaussian prior.
    num_samples: number of independent posterior samples.
    seed: integer.
    method: of `posterior.Posterior.sample`.
    sampler: its settings.
    truth: `[ny, nx]` of a mock, kept beside the results.
    settings: further entries for the headers of the products.
    batch_size: samples drawn together; bounds the memory.
    samples_path: None, or FITS cube for the samples; an interrupted run goes on there.
    overwrite: whether the samples of another run may be replaced there.
    quantiles, thresholds: see `summary.summarise`.
    source_redshifts: None, or redshifts of the galaxies; those that a trained prior is
      not for give a warning.
    source_counts: weight of each of these galaxies; None counts each once.
    reduced_shear: whether shapes measure shear / (1 - kappa), which they do, instead of
      the shear, which differs little but in clusters
      (`likelihood.ReducedShearLikelihood`); not with "annealed". The Wiener filter and
      the Kaiser-Squires map take it for shear.
    progress: whether to show a progress bar.

  Returns:
    A `Reconstruction`.

  Raises:
    ValueError: before any sampling, for a truth of another shape, a spectrum that
      does not cover the map, settings that no header can hold, quantiles or thresholds
      out of their range, or reduced shear with a method that cannot take it.
    RuntimeError: before any sampling, if the Wiener filter does not converge.
  """
  grid = shear_map.grid
  if truth is not None and np.shape(truth) != grid.shape:
    raise ValueError(f"truth must have shape {grid.shape}; got {np.shape(truth)}.")
  io.provenance_header({**shear_map.settings, **(settings or {})})
  summary_lib.check_levels(quantiles, thresholds)
  likelihood = likelihood_lib.ShearLikelihood(shear_map)
  if reduced_shear:
    likelihood = likelihood_lib.ReducedShearLikelihood(shear_map)
  prior, description = _make_prior(prior, grid, source_redshifts, source_counts)
  # What is cheap and can fail comes first, before the sampling.
  gaussian = getattr(prior, "gaussian", prior)
  wiener = baselines.wiener.estimate(shear_map, gaussian, max_iterations=5000)
  sample_set = posterior_lib.Posterior(likelihood, prior).sample(
      num_samples, seed, method, sampler, batch_size=batch_size, output=samples_path,
      overwrite=overwrite, progress=progress,
  )
  return Reconstruction(
      shear_map=shear_map,
      sample_set=sample_set,
      summary=summary_lib.summarise(sample_set.samples, quantiles, thresholds),
      kaiser_squires=baselines.kaiser_squires.estimate(shear_map),
      wiener=wiener,
      truth=truth,
      settings={
          **shear_map.settings,
          **(settings or {}),
          "seed": int(seed),
          "num_samples": int(num_samples),
          "batch_size": min(int(batch_size), int(num_samples)),
          "reduced_shear": bool(reduced_shear),
          "method": sample_set.method,
          "prior": description,
          "score evaluations per sample": sample_set.num_score_evaluations,
          **sample_set.diagnostics,
          **sample_set.settings,
      },
  )


def _make_prior(prior, grid, source_redshifts, source_counts):
  """A prior and its description, of all that `reconstruct` takes for one."""
  if isinstance(prior, spectra.PowerSpectrum):
    description = f"Gaussian, {prior.name}"
    return prior_lib.GaussianPrior.from_spectrum(prior, grid), description
  if isinstance(prior, (str, pathlib.Path)):
    name = pathlib.Path(prior).name
    prior = hybrid_prior.HybridPrior.load(
        prior, grid, source_redshifts=source_redshifts, source_counts=source_counts
    )
    checksum = prior.card["weights_sha256"][:16]
    return prior, f"{name}, weights {checksum}, {prior.compute_dtype}"
  return prior, type(prior).__name__
